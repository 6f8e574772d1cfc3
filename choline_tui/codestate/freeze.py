"""Freezing a project's code: every file is copied by content while nothing about it changes."""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from choline_tui.codestate import lfs
from choline_tui.codestate.frozen import write_manifest
from choline_tui.codestate.listing import IGNORE_FILE, find_files
from choline_tui.codestate.objects import Objects
from choline_tui.codestate.patterns import Patterns, read_patterns
from choline_tui.codestate.repository import Position, position
from choline_tui.kernel.errors import ProjectError, StoreError
from choline_tui.model.code import CodeFile, CodeState

__all__ = ["BIG_FILE", "BIG_TOTAL", "cannot_keep", "capture", "describe", "link_out"]

BIG_FILE = 100 * 1000 * 1000
"""bytes of one file from which a person is told"""
BIG_TOTAL = 1000 * 1000 * 1000
"""bytes of all files from which a person is told"""
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
    patterns = Patterns([*ignored, *exclude])
    where = position(top, patterns)
    listing = find_files(top, patterns, git=where is not None)
    if not listing.used_git:
        where = None
    store = Objects(os.path.abspath(objects if objects is not None else into / "objects"))
    freezer = _Freezer(os.fsencode(top), store, listing.used_git)
    try:
        for path, seen in listing.files:
            freezer.take(path, seen)
        store.settle()
        digest = write_manifest(into, freezer.files)
    except OSError as error:
        raise cannot_keep(store, error) from None
    return describe(
        where or Position(), freezer.files, digest, into, store, listing.warnings, freezer.links_out
    )


def describe(
    where: Position,
    files: list[CodeFile],
    digest: str,
    into: Path,
    store: Objects,
    warnings: list[str],
    links_out: list[str],
) -> CodeState:
    """The summary of a frozen copy whose manifest lies in ``into``, with what a person should know of it."""
    total = sum(file.size for file in files)
    return CodeState(
        commit=where.commit,
        message=where.message,
        branch=where.branch,
        remote=where.remote,
        dirty_count=where.dirty_count,
        changed_lines=where.changed_lines,
        digest=digest,
        file_count=len(files),
        total_bytes=total,
        frozen_dir=os.path.abspath(into),
        objects_dir=store.directory,
        warnings=tuple(_few(warnings) + _few(links_out) + _few(_big(files)) + _much(total)),
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
    def __init__(self, top: bytes, store: Objects, git: bool) -> None:
        self.top, self.store, self.git = top, store, git
        self.files: list[CodeFile] = []
        self.links_out: list[str] = []

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
        self.files.append(CodeFile.model_construct(path=path, size=0, mode=0o777, digest="", link=target))

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
        self.files.append(
            CodeFile.model_construct(
                path=path, size=size, mode=0o755 if executable else 0o644, digest=digest, link=None
            )
        )
        return True


def _mark(seen: os.stat_result) -> tuple[int, int, int]:
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _few(texts: list[str]) -> list[str]:
    if len(texts) <= _NAMED:
        return texts
    return [*texts[:_NAMED], f"... and {len(texts) - _NAMED} more like that"]


def _big(files: list[CodeFile]) -> list[str]:
    return [
        f"{os.fsdecode(file.path)!r} is big ({file.size / 1e6:,.0f} MB); 'send' suits data better"
        for file in files
        if file.size > BIG_FILE
    ]


def _much(total: int) -> list[str]:
    if total <= BIG_TOTAL:
        return []
    return [f"the code is {total / 1e9:.1f} GB in all; is something missing in 'exclude'?"]
