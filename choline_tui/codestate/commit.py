"""Freezing the code of a commit, read from git's own store: the working tree is neither read nor touched."""

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from choline_tui.codestate import lfs
from choline_tui.codestate.freeze import cannot_keep, describe
from choline_tui.codestate.freezer import link_out
from choline_tui.codestate.frozen import line_of, write_manifest
from choline_tui.codestate.listing import IGNORE_FILE
from choline_tui.codestate.objects import SMALL, Objects
from choline_tui.codestate.patterns import Patterns
from choline_tui.codestate.repository import (
    UNSET,
    Position,
    asked,
    one_line,
    position,
    remote_of,
    run_git,
)
from choline_tui.kernel.errors import ProjectError
from choline_tui.model.code import CodeFile, CodeState

__all__ = ["capture_commit"]

_LINK, _SUBMODULE, _EXECUTABLE = b"120000", b"160000", b"100755"
_CHUNK = 1 << 20
_IGNORE_MOST = 1 << 20


@dataclass(frozen=True)
class _Blob:
    path: bytes
    """relative to the project"""
    mode: bytes
    oid: bytes
    repository: str
    """directory in which git knows it: the project, or a submodule"""


def capture_commit(
    project: Path, rev: str, into: Path, *, exclude: Iterable[str] = (), objects: Path | None = None
) -> CodeState:
    """As ``capture``, of what the commit ``rev`` (any name git has for one) holds below ``project``.

    Contents are as git keeps them, without the conversions of a checkout, but for Git LFS: of a pointer,
    the content in the repository's own LFS store is taken. ``.cholineignore`` is the commit's. Submodules
    that are checked out give what they have of the commit named there.

    Blocks. ``ProjectError`` when there is no such commit, no file of it here, or when a content or a
    submodule's commit is not on this computer.
    """
    top = os.path.abspath(project)
    if not os.path.isdir(top):
        raise ProjectError(f"there is no directory {top}")
    shown = one_line(rev.encode("utf-8", "replace"), 80)
    if not rev or rev.startswith("-") or not rev.isprintable() or len(rev) > 250:
        raise ProjectError(f"{shown!r} is no name of a commit", hint="A hash, branch or tag: HEAD~3, v1.0.")
    if position(top, Patterns(())) is None:
        raise ProjectError(
            f"{top} is in no git repository, so there are no commits", hint="Leave --commit out."
        )
    status, out, _ = run_git(top, "rev-parse", "--verify", "--quiet", rev + "^{commit}")
    if status:
        raise ProjectError(
            f"git knows no commit {shown!r} in {top}", hint="'git log --oneline --all' lists them."
        )
    commit = one_line(out)
    store = Objects(os.path.abspath(objects if objects is not None else into / "objects"))
    taker = _Taker(top, store, _mtime(top, commit))
    listed = _listed(top, commit, b"")
    patterns = Patterns([*_ignored(listed), *exclude])
    try:
        os.makedirs(store.directory, mode=0o700, exist_ok=True)
        taker.take_all(listed, patterns)
        store.settle()
        taker.files.sort(key=lambda file: file.path)
        digest = write_manifest(into, map(line_of, taker.files))
    except OSError as error:
        raise cannot_keep(store, error) from None
    if not taker.files:
        raise ProjectError(f"commit {shown} has no file in {top}", hint="Was the project elsewhere then?")
    return describe(
        _position(top, rev, commit),
        [(f.path, f.size) for f in taker.files],
        digest,
        into,
        store,
        [],
        taker.links_out,
    )


def _position(top: str, rev: str, commit: str) -> Position:
    message = asked(top, "log", "-1", "--no-show-signature", "--format=%s", commit)
    status, out, _ = run_git(top, "rev-parse", "--symbolic-full-name", rev)
    full = one_line(out) if status == 0 else ""
    branch = full.removeprefix("refs/heads/") if full.startswith("refs/heads/") else ""
    return Position(commit, one_line(message), branch, remote_of(top, branch))


def _mtime(top: str, commit: str) -> int:
    """When it was committed, in ns; what is unpacked is not newer than that."""
    raw = asked(top, "log", "-1", "--no-show-signature", "--format=%ct", commit).strip()
    return int(raw) * 10**9 if raw.isdigit() and len(raw) < 12 else 0


def _listed(repository: str, commit: str, prefix: bytes) -> list[_Blob]:
    found = []
    for entry in asked(repository, "ls-tree", "-r", "-z", commit).split(b"\0"):
        head, tab, path = entry.partition(b"\t")
        if tab:
            mode, _kind, oid = head.split(b" ")
            found.append(_Blob(prefix + path, mode, oid, repository))
    return found


def _ignored(listed: list[_Blob]) -> list[bytes]:
    own = [b for b in listed if b.path == IGNORE_FILE.encode() and b.mode not in (_LINK, _SUBMODULE)]
    if not own:
        return []
    return asked(own[0].repository, "cat-file", "blob", own[0].oid.decode())[:_IGNORE_MOST].splitlines()


class _Taker:
    def __init__(self, top: str, store: Objects, mtime_ns: int) -> None:
        self.top, self.store, self.mtime_ns = top, store, mtime_ns
        self.files: list[CodeFile] = []
        self.links_out: list[str] = []

    def take_all(self, listed: list[_Blob], patterns: Patterns) -> None:
        known: dict[bytes, bool] = {}
        wanted = [blob for blob in listed if not patterns.leaves_out_within(blob.path, known)]
        submodules = [blob for blob in wanted if blob.mode == _SUBMODULE]
        blobs = [blob for blob in wanted if blob.mode != _SUBMODULE]
        if blobs:
            self._take(blobs)
        for blob in submodules:
            if not patterns.leaves_out(blob.path, True):
                self.take_all(self._submodule(blob), patterns)

    def _submodule(self, blob: _Blob) -> list[_Blob]:
        directory = os.path.join(self.top, os.fsdecode(blob.path))
        name, commit = os.fsdecode(blob.path), blob.oid.decode()
        hint = "Or leave it out: name it in 'exclude'."
        if not os.path.lexists(os.path.join(directory, ".git")):
            raise ProjectError(
                f"submodule {name!r} is not checked out, so its code cannot be read",
                hint=f"'git submodule update --init' brings it. {hint}",
            )
        if run_git(directory, "cat-file", "-e", commit + "^{commit}")[0]:
            raise ProjectError(
                f"submodule {name!r} does not have the commit {commit[:12]} that it had then",
                hint=f"'git fetch' in it brings it, if it is still there. {hint}",
            )
        return _listed(directory, commit, blob.path + b"/")

    def _take(self, blobs: list[_Blob]) -> None:
        with _contents(blobs[0].repository, [blob.oid for blob in blobs]) as stream:
            for blob in blobs:
                size = _header(stream, blob)
                if size <= SMALL:
                    data = _exactly(stream, size, blob)
                    self._small(blob, data)
                else:
                    self._big(blob, stream, size)
                stream.read(1)

    def _small(self, blob: _Blob, data: bytes) -> None:
        if blob.mode == _LINK:
            if out := link_out(blob.path, data):
                self.links_out.append(out)
            else:
                self.files.append(CodeFile(path=blob.path, size=0, mode=0o777, link=data))
            return
        pointer = lfs.read_pointer(data)
        if pointer is not None:
            self._by_lfs(blob, pointer)
            return
        self._add(blob, self.store.put_data(data, blob.mode == _EXECUTABLE, self.mtime_ns), len(data))

    def _by_lfs(self, blob: _Blob, pointer: lfs.Pointer) -> None:
        out = asked(blob.repository, "rev-parse", "--git-common-dir")
        git_dir = os.path.join(blob.repository, os.fsdecode(out.rstrip(b"\n")))
        executable = blob.mode == _EXECUTABLE
        try:
            with open(lfs.content_file(git_dir, pointer), "rb") as file:
                digest, size, _ = self.store.put(file.fileno(), executable, pointer.size, self.mtime_ns)
        except FileNotFoundError:
            digest, size = "", 0
        if (digest, size) != (pointer.oid, pointer.size):
            raise ProjectError(
                f"the content of {os.fsdecode(blob.path)!r} is kept by Git LFS and is not on this computer",
                hint="'git lfs fetch origin COMMIT' brings it; or leave it out: name it in 'exclude'.",
            )
        self._add(blob, digest, size)

    def _big(self, blob: _Blob, stream: IO[bytes], size: int) -> None:
        with tempfile.TemporaryFile(dir=self.store.directory) as whole:
            left = size
            while left:
                piece = _exactly(stream, min(left, _CHUNK), blob)
                whole.write(piece)
                left -= len(piece)
            whole.flush()
            whole.seek(0)
            digest, _, _ = self.store.put(whole.fileno(), blob.mode == _EXECUTABLE, size, self.mtime_ns)
        self._add(blob, digest, size)

    def _add(self, blob: _Blob, digest: str, size: int) -> None:
        mode = 0o755 if blob.mode == _EXECUTABLE else 0o644
        self.files.append(CodeFile(path=blob.path, size=size, mode=mode, digest=digest))


@contextmanager
def _contents(repository: str, oids: list[bytes]) -> Iterator[IO[bytes]]:
    """What ``git cat-file --batch`` says of these objects, in turn (gitformat: its manual page)."""
    environ = {name: value for name, value in os.environ.items() if name not in UNSET}
    with tempfile.TemporaryFile() as names:
        names.write(b"".join(oid + b"\n" for oid in oids))
        names.flush()
        names.seek(0)
        with subprocess.Popen(
            ["git", "-C", repository, "cat-file", "--batch", "--buffer"],
            stdin=names,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},
        ) as process:
            assert process.stdout is not None
            try:
                yield process.stdout
            except BaseException:
                process.kill()
                raise


def _header(stream: IO[bytes], blob: _Blob) -> int:
    words = stream.readline(1000).split()
    if len(words) != 3 or words[0] != blob.oid or not words[2].isdigit():
        raise _lost(blob)
    return int(words[2])


def _exactly(stream: IO[bytes], size: int, blob: _Blob) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise _lost(blob)
    return data


def _lost(blob: _Blob) -> ProjectError:
    return ProjectError(
        f"git cannot give the content of {os.fsdecode(blob.path)!r}",
        hint="'git fsck' in the repository says what is broken.",
    )
