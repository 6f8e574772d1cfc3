"""Freezing a project's code: every file is copied by content while nothing about it changes."""

import contextlib
import gc
import os
import stat
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from choline_tui.codestate import lfs
from choline_tui.codestate.frozen import line_of, write_manifest
from choline_tui.codestate.listing import IGNORE_FILE, Listing, find_files
from choline_tui.codestate.memory import Known, Memory, mark_of, settled
from choline_tui.codestate.objects import Objects
from choline_tui.codestate.patterns import Patterns, read_patterns
from choline_tui.codestate.repository import Position, in_repository, position
from choline_tui.codestate.unchanged import Shortcut
from choline_tui.kernel.errors import ProjectError, StoreError
from choline_tui.model.code import CodeFile, CodeState

__all__ = ["BIG_FILE", "BIG_TOTAL", "cannot_keep", "capture", "describe", "link_out"]

BIG_FILE = 100 * 1000 * 1000
"""bytes of one file from which a person is told"""
BIG_TOTAL = 1000 * 1000 * 1000
"""bytes of all files from which a person is told"""
_STALE = 0.1
"""part of what is known that may be of files that have changed or gone, before it is written anew"""
_TRIES = 3
_NAMED = 5
"""warnings of one kind that are spelled out"""


def capture(
    project: Path, into: Path, *, exclude: Iterable[str] = (), objects: Path | None = None
) -> CodeState:
    """Freeze what of ``project`` would be sent now; the manifest goes to ``into``, the contents to
    ``objects`` (default: ``into/objects``), which runs may share.

    With git: tracked files and untracked ones that are not ignored, as they are in the working tree,
    submodules included; without: all but the usual litter. Less ``exclude`` and ``.cholineignore``
    (patterns as in ``.gitignore``). Symbolic links stay links; one that leads out of the project is left
    out and named in ``warnings``. Empty directories are not kept, of modes only "executable".

    Blocks: call it in a thread. ``ProjectError`` when the project cannot be read or does not keep still;
    ``StoreError`` when the copy cannot be written.
    """
    top = os.path.abspath(project)
    if not top.isprintable():
        # paths travel as text (store, socket); names of files below it may be any bytes
        raise ProjectError(f"the path {top!r} holds characters that cannot be shown", hint="Rename it.")
    if not os.path.isdir(top):
        raise ProjectError(f"there is no directory {top}")
    try:
        ignored = read_patterns(os.path.join(top, IGNORE_FILE))
    except OSError as error:
        raise ProjectError(f"cannot read {os.path.join(top, IGNORE_FILE)}: {error.strerror}") from None
    rules: list[bytes | str] = [*ignored, *exclude]
    patterns = Patterns(rules)
    store = Objects(os.path.abspath(objects if objects is not None else into / "objects"))
    memory = Memory(store.directory, top, store.sign())
    shortcut = Shortcut(top, memory.file, rules, memory.sign)
    if shortcut.possible and (state := shortcut.take(into)) is not None:
        return state
    where, listing = _look(top, patterns)
    with _no_collecting():
        freezer = _Freezer(os.fsencode(top), store, listing.used_git, memory.read())
    try:
        with _no_collecting():
            freezer.take_all(listing.files)
        store.settle()
        digest = write_manifest(into, freezer.lines)
        if freezer.learned or len(freezer.known) - len(freezer.keep) > _STALE * len(freezer.known):
            # the sign of before: what was taken away meanwhile must not count as kept
            memory.sign = memory.sign or store.sign()
            memory.write(freezer.keep)
    except OSError as error:
        raise cannot_keep(store, error) from None
    state = describe(
        where or Position(), freezer.sizes, digest, into, store, listing.warnings, freezer.links_out
    )
    if where is not None and os.path.isdir(os.path.join(top, ".git")):
        shortcut.learn(state, freezer.keep, same=not freezer.read and not state.warnings)
    return state


@contextlib.contextmanager
def _no_collecting() -> Iterator[None]:
    """Tens of thousands of small things are made, none of them in a circle: to look through all of them
    again and again takes a quarter of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _look(top: str, patterns: Patterns) -> tuple[Position | None, Listing]:
    """Where it stands, and which files it has: asked at the same time, for most of it is git's work."""
    with ThreadPoolExecutor(1) as pool, _no_collecting():
        asked = pool.submit(position, top, patterns)
        listing, trouble = None, None
        if in_repository(top):
            try:
                listing = find_files(top, patterns, git=True)
            except ProjectError as error:
                trouble = error
        where = asked.result()
    if where is None:
        return None, find_files(top, patterns, git=False)
    if listing is None:
        raise trouble or ProjectError(f"{top} changes while it is looked at", hint="Try it again.")
    return (where if listing.used_git else None), listing


def describe(
    where: Position,
    sizes: list[tuple[bytes, int]],
    digest: str,
    into: Path,
    store: Objects,
    warnings: list[str],
    links_out: list[str],
) -> CodeState:
    """The summary of a frozen copy whose manifest lies in ``into``, with what a person should know of it.
    ``sizes``: path and bytes of every file."""
    total = sum(size for _, size in sizes)
    return CodeState(
        commit=where.commit,
        message=where.message,
        branch=where.branch,
        remote=where.remote,
        dirty_count=where.dirty_count,
        changed_lines=where.changed_lines,
        digest=digest,
        file_count=len(sizes),
        total_bytes=total,
        frozen_dir=os.path.abspath(into),
        objects_dir=store.directory,
        warnings=tuple(_few(warnings) + _few(links_out) + _few(_big(sizes)) + _much(total)),
    )


def link_out(path: bytes, target: bytes) -> str:
    """Why a symbolic link is not sent; '' when it stays inside the project."""
    end = os.path.normpath(os.path.join(os.path.dirname(path), target))
    if os.path.isabs(target) or end == b".." or end.startswith(b"../"):
        return f"link {os.fsdecode(path)!r} leads out of the project, to {os.fsdecode(target)!r}; not sent"
    return ""


def cannot_keep(store: Objects, error: OSError) -> StoreError:
    return StoreError(
        f"cannot keep a copy of the code in {store.directory}: {error.strerror or error}",
        hint="Make room on that disk, or leave big files out: name them in 'exclude' or .cholineignore.",
    )


class _Gone(Exception):
    """The file is not there any more."""


@contextlib.contextmanager
def _reading(path: bytes) -> Iterator[None]:
    """Tells trouble with the project's file from trouble with our store."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise _Gone from None
    except OSError as error:
        raise ProjectError(
            f"cannot read {os.fsdecode(path)!r}: {error.strerror}",
            hint="Correct its permissions, or leave it out: name it in 'exclude'.",
        ) from None


class _Freezer:
    """``known``: files that need not be read again while they are the same; ``keep``: those of the next
    time."""

    def __init__(self, top: bytes, store: Objects, git: bool, known: dict[bytes, Known]) -> None:
        self.top, self.store, self.git, self.known = top, store, git, known
        self.lines: list[bytes] = []
        self.sizes: list[tuple[bytes, int]] = []
        self.links_out: list[str] = []
        self.keep: dict[bytes, Known] = {}
        self.learned = 0
        self.read = 0
        """files whose content was read, known or not"""
        self._now = time.time_ns()

    def take_all(self, files: list[tuple[bytes, os.stat_result]]) -> None:
        for path, seen in files:
            known = self.known.get(path)
            if known is not None and known[0] == mark_of(seen):
                self.keep[path] = known
                self.lines.append(known[1])
                self.sizes.append((path, known[2]))
            else:
                self.take(path, seen)

    def _add(self, file: CodeFile) -> bytes:
        line = line_of(file)
        self.lines.append(line)
        self.sizes.append((file.path, file.size))
        return line

    def take(self, path: bytes, seen: os.stat_result) -> None:
        for _ in range(_TRIES):
            try:
                if stat.S_ISLNK(seen.st_mode):
                    return self._link(path)
                if stat.S_ISREG(seen.st_mode) and self._file(path):
                    return None
                with _reading(path):
                    seen = os.lstat(os.path.join(self.top, path))
            except _Gone:
                return None  # deleted since it was listed: not there is what it is now
        raise ProjectError(
            f"{os.fsdecode(path)!r} changes while it is copied",
            hint="Wait until whatever writes it is done, or leave it out: name it in 'exclude'.",
        )

    def _link(self, path: bytes) -> None:
        with _reading(path):
            target = os.readlink(os.path.join(self.top, path))
        if out := link_out(path, target):
            self.links_out.append(out)
            return
        self._add(CodeFile.model_construct(path=path, size=0, mode=0o777, digest="", link=target))

    def _file(self, path: bytes) -> bool:
        """Copy one file; False when it was not the same before and after."""
        name = os.path.join(self.top, path)
        with _reading(path):
            if os.path.islink(name):
                return False
            # O_NONBLOCK: a file that has just become a pipe must not hold us
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                return False
            if self.git and before.st_size < lfs.MOST and lfs.read_pointer(os.pread(handle, lfs.MOST, 0)):
                raise ProjectError(
                    f"{os.fsdecode(path)!r} is a Git LFS pointer: its content is not here",
                    hint="'git lfs pull' fetches it; or leave it out: name it in 'exclude'.",
                )
            executable = bool(before.st_mode & 0o100)
            digest, size = self.store.put(handle, executable, before.st_size, before.st_mtime_ns)
            after = os.fstat(handle)
        finally:
            os.close(handle)
        if size != after.st_size or _mark(before) != _mark(after):
            return False
        self.read += 1
        line = self._add(
            CodeFile.model_construct(
                path=path, size=size, mode=0o755 if executable else 0o644, digest=digest, link=None
            )
        )
        mark = mark_of(after)
        if settled(mark, self._now):
            self.keep[path] = (mark, line, size)
            self.learned += 1
        return True


def _mark(seen: os.stat_result) -> tuple[int, int, int]:
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _few(texts: list[str]) -> list[str]:
    if len(texts) <= _NAMED:
        return texts
    return [*texts[:_NAMED], f"... and {len(texts) - _NAMED} more like that"]


def _big(sizes: list[tuple[bytes, int]]) -> list[str]:
    return [
        f"{os.fsdecode(path)!r} is big ({size / 1e6:,.0f} MB); 'send' suits data better"
        for path, size in sizes
        if size > BIG_FILE
    ]


def _much(total: int) -> list[str]:
    if total <= BIG_TOTAL:
        return []
    return [f"the code is {total / 1e9:.1f} GB in all; is something missing in 'exclude'?"]
