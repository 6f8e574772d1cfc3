"""What differs between two frozen copies, as git tells it: both are put into a repository of their own.

Only what differs is put there, so it takes as long as the difference is big, not the project; the user's
repository and their settings of git play no part.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from choline_tui.codestate.frozen import manifest
from choline_tui.codestate.objects import Objects
from choline_tui.codestate.repository import UNSET, one_line
from choline_tui.kernel.errors import ProjectError, StoreError
from choline_tui.model.code import CodeFile, CodeState

__all__ = ["FileChange", "changed_files", "write_difference"]

_DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "-M")
_OLD, _NEW = "refs/heads/old", "refs/heads/new"


@dataclass(frozen=True)
class FileChange:
    """``kind``: added, deleted, changed, renamed or type (a file became a link or the other way round).
    ``added`` and ``removed``: lines; None for a binary file. ``before``: what it was called, else b''."""

    path: bytes
    kind: str
    added: int | None
    removed: int | None
    before: bytes = b""


def changed_files(old: CodeState, new: CodeState) -> tuple[list[CodeFile], list[CodeFile]]:
    """What of ``old`` is not the same in ``new``, and what of ``new`` is not the same in ``old``. Blocks.
    ``StoreError`` for a manifest that is damaged."""
    if old.digest == new.digest:
        manifest(old)
        return [], []
    first, second = ({file.path: file for file in manifest(state).files} for state in (old, new))
    return (
        [file for path, file in first.items() if second.get(path) != file],
        [file for path, file in second.items() if first.get(path) != file],
    )


def write_difference(
    old: CodeState, new: CodeState, scratch: Path, patch: IO[bytes] | None, *, binary: bool = True
) -> list[FileChange]:
    """What differs, by path; the text of it goes to ``patch`` (as ``git apply`` takes it; with ``binary``
    whole, without it a binary file is only named). ``scratch``: a directory for us alone.

    Blocks. ``StoreError`` for a copy that is damaged; ``ProjectError`` when git is not there or fails.
    """
    before, after = changed_files(old, new)
    if not before and not after:
        return []
    repository = scratch / "difference.git"
    try:
        _git(scratch, "init", "--quiet", "--bare", "--template=", str(repository))
        _import(repository, ((_OLD, before, old), (_NEW, after, new)))
        told = _git(repository, *_DIFF, "--raw", "--numstat", "-z", _OLD, _NEW)
        if patch is not None:
            _git(repository, *_DIFF, *(["--binary"] if binary else []), _OLD, _NEW, out=patch)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.filename == "git":
            raise ProjectError("git is not installed; it tells what differs", hint="Install git.") from None
        raise StoreError(f"cannot compare in {scratch}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(repository, ignore_errors=True)
    return _read(told)


def _environ() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name not in UNSET}
    return {
        **clean,
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }


def _git(directory: Path, *words: str, out: IO[bytes] | None = None) -> bytes:
    done = subprocess.run(
        ["git", "-C", str(directory), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if out is None else out,
        stderr=subprocess.PIPE,
        env=_environ(),
        check=False,
    )
    if done.returncode:
        raise _refused(done.stderr)
    return done.stdout or b""


def _refused(complaint: bytes) -> ProjectError:
    lines = complaint.strip().splitlines() or [b"it gave no reason"]
    return ProjectError(f"git cannot compare the two: {one_line(lines[0])}")


def _import(repository: Path, sides: Iterable[tuple[str, list[CodeFile], CodeState]]) -> None:
    with subprocess.Popen(
        ["git", "-C", str(repository), "fast-import", "--quiet", "--date-format=raw"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environ(),
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        broken = False
        try:
            for ref, files, state in sides:
                _commit(process.stdin, ref, files, Objects(state.objects_dir))
            process.stdin.close()
        except BrokenPipeError:
            broken = True
        except BaseException:
            process.kill()
            raise
        complaint = process.stderr.read()
        if process.wait() or broken:
            raise _refused(complaint)


def _commit(stream: IO[bytes], ref: str, files: list[CodeFile], store: Objects) -> None:
    """One commit with these files (git-fast-import(1))."""
    stream.write(b"commit " + ref.encode() + b"\ncommitter c <c> 0 +0000\ndata 0\n")
    for file in files:
        name = _quoted(file.path)
        if file.link is not None:
            stream.write(b"M 120000 inline %s\ndata %d\n%s\n" % (name, len(file.link), file.link))
            continue
        executable = bool(file.mode & 0o100)
        stream.write(b"M %s inline %s\n" % (b"100755" if executable else b"100644", name))
        stream.write(b"data %d\n" % file.size)
        try:
            with open(store.path(file.digest, executable), "rb") as content:
                _copy(content, stream, file)
        except FileNotFoundError:
            raise _lost(file) from None
        stream.write(b"\n")


def _copy(content: IO[bytes], stream: IO[bytes], file: CodeFile) -> None:
    digest, left = hashlib.sha256(), file.size
    while left and (piece := content.read(min(left, 1 << 20))):
        digest.update(piece)
        stream.write(piece)
        left -= len(piece)
    if left or digest.hexdigest() != file.digest:
        raise _lost(file)


def _lost(file: CodeFile) -> StoreError:
    return StoreError(
        f"the frozen copy of the code is damaged: the content of {os.fsdecode(file.path)!r} is lost"
    )


def _quoted(path: bytes) -> bytes:
    """A path in C's way: it may hold any byte."""
    plain = b"!#$%&()*+,-./:;<=>?@[]^_`{|}~ "
    return b'"%s"' % b"".join(
        bytes([byte]) if bytes([byte]).isalnum() or byte in plain else b"\\%03o" % byte for byte in path
    )


_KINDS = {b"A": "added", b"D": "deleted", b"M": "changed", b"R": "renamed", b"T": "type"}


def _read(told: bytes) -> list[FileChange]:
    """The output of ``git diff --raw --numstat -z`` (git-diff(1)): first one part, then the other."""
    fields = iter(told.split(b"\0"))
    kinds: dict[bytes, tuple[str, bytes]] = {}
    found = []
    for field in fields:
        if field.startswith(b":"):
            letter = field.rsplit(b" ", 1)[1][:1]
            path, before = next(fields), b""
            if letter == b"R":
                before, path = path, next(fields)
            kinds[path] = (_KINDS.get(letter, "changed"), before)
        elif field:
            added, removed, path = field.split(b"\t", 2)
            if not path:  # a rename: both names follow
                next(fields)
                path = next(fields)
            kind, before = kinds.get(path, ("changed", b""))
            found.append(FileChange(path, kind, _number(added), _number(removed), before))
    return found


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() else None
