"""The exact tree of a run again, as files of one's own: to look at, to change, to commit."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from choline_tui.codestate.frozen import build, manifest
from choline_tui.codestate.objects import Objects
from choline_tui.kernel.errors import StoreError, UsageError
from choline_tui.model.code import CodeFile, CodeState

__all__ = ["lay_out", "rebuild"]

_PART = ".choline-checkout"


def rebuild(state: CodeState, dest: Path) -> int:
    """Make the frozen tree in ``dest``, which is not there or is empty; how many files and links it has.

    The files are copies, every content compared with its digest, and dated now. All of them are there or
    none. Blocks. ``UsageError`` for a ``dest`` that has something in it or is no directory; ``StoreError``
    when the copy is damaged, or the tree cannot be made.
    """
    files = manifest(state).files
    try:
        there = os.path.lexists(dest)
        if there and (dest.is_symlink() or not dest.is_dir()):
            raise UsageError(f"{dest} is there and is no directory", hint="Name another one.")
        if there and any(dest.iterdir()):
            raise UsageError(f"{dest} is not empty", hint="Name a directory that is empty or not there yet.")
        # a directory that is there may be somebody's current one: it stays the same directory
        part = dest / _PART if there else dest.with_name(f".{dest.name}.part-{os.getpid()}")
        dest.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir()
        try:
            build(os.fsencode(part), files, Objects(state.objects_dir), verify=True, link=False)
            if there:
                for entry in list(part.iterdir()):
                    entry.rename(dest / entry.name)
            else:
                part.rename(dest)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise StoreError(
            f"cannot make the code in {dest}: {error.strerror or error}",
            hint="Make room there, correct its permissions, or name another directory.",
        ) from None
    return len(files)


def lay_out(state: CodeState, files: Iterable[CodeFile], dest: Path, mtime: int) -> None:
    """Make ``dest`` these files of a frozen copy, as copies dated ``mtime`` (epoch s); what was there goes.
    Blocks. ``StoreError`` when a content is lost, ``OSError`` for the disk."""
    if os.path.lexists(dest):
        shutil.rmtree(dest)
    dest.mkdir(mode=0o700, parents=True)
    files = list(files)
    build(os.fsencode(dest), files, Objects(state.objects_dir), verify=True, link=False)
    for file in files:
        os.utime(os.path.join(os.fsencode(dest), file.path), (mtime, mtime), follow_symlinks=False)
