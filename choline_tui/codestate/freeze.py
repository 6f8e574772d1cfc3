"""Freezing a project's code: every file is copied by content while nothing about it changes."""

import contextlib
import gc
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from choline_tui.codestate.freezer import Freezer
from choline_tui.codestate.frozen import write_manifest
from choline_tui.codestate.listing import IGNORE_FILE, Listing, find_files, look_at
from choline_tui.codestate.memory import Memory, Row
from choline_tui.codestate.objects import Objects
from choline_tui.codestate.patterns import Patterns, read_patterns
from choline_tui.codestate.repository import Position, in_repository, position, position_of
from choline_tui.codestate.unchanged import STALE, Shortcut
from choline_tui.kernel.errors import ProjectError, StoreError
from choline_tui.model.code import CodeState

__all__ = ["BIG_FILE", "BIG_TOTAL", "cannot_keep", "capture", "describe"]

BIG_FILE = 100 * 1000 * 1000
"""bytes of one file from which a person is told"""
BIG_TOTAL = 1000 * 1000 * 1000
"""bytes of all files from which a person is told"""
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
    with _no_collecting():
        state = _by_git(top, patterns, shortcut, store, into)
        return state if state is not None else _by_all(top, patterns, shortcut, memory, store, into)


def _by_git(top: str, patterns: Patterns, shortcut: Shortcut, store: Objects, into: Path) -> CodeState | None:
    """By looking at those files only that git does not find as they were; None when that does not do."""
    seen = shortcut.look()
    if seen is None:
        return None
    if (state := shortcut.same(seen, into)) is not None:
        return state.model_copy(update={"objects_dir": store.directory})
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(position_of, top, b"", seen.stand, seen.config, patterns)
        split = shortcut.split(seen, patterns)
        if split is None:
            return None
        listing = look_at(top, split.names, patterns)
        freezer = Freezer(os.fsencode(top), store, True, split.known)
        try:
            freezer.take_all(listing.files)
            rows = sorted(split.rows + freezer.rows)
            store.settle()
            digest = write_manifest(into, [row[1] for row in rows])
        except OSError as error:
            raise cannot_keep(store, error) from None
        where = asked.result()
    if not rows:
        return None  # a project of which git names no file is looked at in another way
    more = split.count, sum(size for _, _, size in split.rows)
    sizes = _sizes(freezer.rows)
    state = describe(where, sizes, digest, into, store, listing.warnings, freezer.links_out, more=more)
    shortcut.remember(seen, split, state, freezer.keep, freezer.began_ns)
    return state


def _by_all(
    top: str, patterns: Patterns, shortcut: Shortcut, memory: Memory, store: Objects, into: Path
) -> CodeState:
    """By looking at every file."""
    where, listing = _look(top, patterns)
    freezer = Freezer(os.fsencode(top), store, listing.used_git, memory.read())
    try:
        freezer.take_all(listing.files)
        store.settle()
        digest = write_manifest(into, [row[1] for row in freezer.rows])
    except OSError as error:
        raise cannot_keep(store, error) from None
    # the sign of before: what was taken away meanwhile must not count as kept
    memory.sign = memory.sign or store.sign()
    if freezer.learned or len(freezer.known) - len(freezer.keep) > STALE * len(freezer.known):
        memory.write(freezer.keep)
    state = describe(
        where or Position(), _sizes(freezer.rows), digest, into, store, listing.warnings, freezer.links_out
    )
    if where is not None:
        shortcut.sign = memory.sign
        shortcut.learn(freezer.keep, patterns)
    return state


def _sizes(rows: list[Row]) -> list[tuple[bytes, int]]:
    return [(path, size) for path, _, size in rows]


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
    with ThreadPoolExecutor(1) as pool:
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
    *,
    more: tuple[int, int] = (0, 0),
) -> CodeState:
    """The summary of a frozen copy whose manifest lies in ``into``, with what a person should know of it.
    ``sizes``: path and bytes of every file, but for ``more`` small ones: how many, and their bytes."""
    total = sum(size for _, size in sizes) + more[1]
    return CodeState(
        commit=where.commit,
        message=where.message,
        branch=where.branch,
        remote=where.remote,
        dirty_count=where.dirty_count,
        changed_lines=where.changed_lines,
        digest=digest,
        file_count=len(sizes) + more[0],
        total_bytes=total,
        frozen_dir=os.path.abspath(into),
        objects_dir=store.directory,
        warnings=tuple(_few(warnings) + _few(links_out) + _few(_big(sizes)) + _much(total)),
    )


def cannot_keep(store: Objects, error: OSError) -> StoreError:
    return StoreError(
        f"cannot keep a copy of the code in {store.directory}: {error.strerror or error}",
        hint="Make room on that disk, or leave big files out: name them in 'exclude' or .cholineignore.",
    )


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
