"""Copies a project's files by content, each while nothing about it changes."""

import contextlib
import os
import stat
import time
from collections.abc import Iterator

from choline_tui.codestate import lfs
from choline_tui.codestate.frozen import line_of
from choline_tui.codestate.memory import Known, Mark, Row, mark_of, settled
from choline_tui.codestate.objects import Objects, git_name
from choline_tui.kernel.errors import ProjectError
from choline_tui.model.code import CodeFile

__all__ = ["Freezer", "link_out"]

_TRIES = 3


def link_out(path: bytes, target: bytes) -> str:
    """Why a symbolic link is not sent; '' when it stays inside the project."""
    end = os.path.normpath(os.path.join(os.path.dirname(path), target))
    if os.path.isabs(target) or end == b".." or end.startswith(b"../"):
        return f"link {os.fsdecode(path)!r} leads out of the project, to {os.fsdecode(target)!r}; not sent"
    return ""


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


class Freezer:
    """``known``: files that need not be read again while they are the same; ``keep``: those of the next
    time."""

    def __init__(self, top: bytes, store: Objects, git: bool, known: dict[bytes, Known]) -> None:
        self.top, self.store, self.git, self.known = top, store, git, known
        self.rows: list[Row] = []
        self.links_out: list[str] = []
        self.keep: dict[bytes, Known] = {}
        self.learned = 0
        self.began_ns = time.time_ns()

    def take_all(self, files: list[tuple[bytes, os.stat_result]]) -> None:
        for path, seen in files:
            known = self.known.get(path)
            if known is not None and known[0] == mark_of(seen):
                self.keep[path] = known
                self.rows.append((path, known[1], known[2]))
            else:
                self.take(path, seen)

    def _add(self, file: CodeFile) -> bytes:
        line = line_of(file)
        self.rows.append((file.path, line, file.size))
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
        name = os.path.join(self.top, path)
        with _reading(path):
            target = os.readlink(name)
            mark = mark_of(os.lstat(name))
        if out := link_out(path, target):
            self.links_out.append(out)
            return
        line = self._add(CodeFile.model_construct(path=path, size=0, mode=0o777, digest="", link=target))
        self._learn(path, mark, line, 0, git_name(target))

    def _learn(self, path: bytes, mark: Mark, line: bytes, size: int, name: bytes) -> None:
        if settled(mark, self.began_ns):
            self.keep[path] = (mark, line, size, name)
            self.learned += 1

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
            digest, size, name_of_git = self.store.put(handle, executable, before.st_size, before.st_mtime_ns)
            after = os.fstat(handle)
        finally:
            os.close(handle)
        if size != after.st_size or _mark(before) != _mark(after):
            return False
        file = CodeFile.model_construct(
            path=path, size=size, mode=0o755 if executable else 0o644, digest=digest, link=None
        )
        self._learn(path, mark_of(after), self._add(file), size, name_of_git)
        return True


def _mark(seen: os.stat_result) -> tuple[int, int, int]:
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns
