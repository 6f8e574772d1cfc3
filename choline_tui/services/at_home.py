"""What lies on this computer of a run: the files that came home, evidence, the end of its log.

Names and contents are foreign. Reading is bounded, follows no links, and raises nothing: a file that is
gone in the middle is not there.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from choline_tui.kernel.text import plain

if TYPE_CHECKING:
    from choline_tui.services.choline import RunView

__all__ = ["FileAtHome", "Folder", "LastLines", "files_in", "log_end", "read_start"]

MOST_FILES = 5000
"""files of a folder that are looked at"""
TAIL = 4096
"""bytes at the end of a log in which its last line is looked for"""
LOOK_AGAIN = 1.0
"""s after which a log is looked at again"""


@dataclass(frozen=True, slots=True)
class FileAtHome:
    """``path``: relative to the folder; foreign. ``size`` in bytes, ``changed`` in epoch s."""

    path: str
    size: int
    changed: float


@dataclass(frozen=True, slots=True)
class Folder:
    path: str
    files: tuple[FileAtHome, ...] = ()
    total: int = 0
    """bytes of ``files``"""
    more: bool = False
    """there are files that were not looked at"""
    there: bool = True


def files_in(folder: Path, most: int = MOST_FILES) -> Folder:
    """Regular files below ``folder``, by path. Blocks while it reads the disk: for a thread."""
    found: list[FileAtHome] = []
    waiting = [str(folder)]
    top = len(str(folder)) + 1
    more = False
    while waiting and not more:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    try:
                        info = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    if stat.S_ISDIR(info.st_mode):
                        waiting.append(entry.path)
                    elif stat.S_ISREG(info.st_mode):
                        if len(found) >= most:
                            more = True
                            break
                        name = entry.path[top:].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                        found.append(FileAtHome(name, info.st_size, info.st_mtime))
        except OSError:
            continue
    found.sort(key=lambda f: f.path)
    return Folder(str(folder), tuple(found), sum(f.size for f in found), more, folder.is_dir())


def read_start(file: Path, most: int) -> bytes:
    """The first ``most`` bytes of a regular file; b'' when it cannot be read. Blocks."""
    try:
        with open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                return b""
            return opened.read(most)
    except OSError:
        return b""


def log_end(file: Path) -> str:
    """The last line with something in it, inert, of a progress bar its last state; '' when there is none."""
    try:
        with file.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - TAIL))
            data = log.read(TAIL)
    except OSError:
        return ""
    for line in reversed(plain(data.replace(b"\r\n", b"\n")).split("\n")):
        if line.strip():
            return line.strip()
    return ""


class LastLines:
    """The last log line of runs, read when it is asked for and at most once a second each.

    ``log_file``: as ``Choline.log_file``; ``now``: seconds that only go forward.
    """

    def __init__(self, log_file: Callable[[str, int, str], Path], now: Callable[[], float]) -> None:
        self._file = log_file
        self._now = now
        self._known: dict[str, tuple[float, tuple[object, ...], str]] = {}
        self._files: dict[str, tuple[int, dict[str, Path]]] = {}

    def of(self, view: "RunView") -> str:
        if not view.attempts:
            return ""
        run, attempt = view.run.id, view.attempts[-1].n
        now = self._now()
        known = self._known.get(run)
        if known is not None and now - known[0] < LOOK_AGAIN:
            return known[2]
        files = self._files.get(run)
        if files is None or files[0] != attempt:
            named = {source: self._file(run, attempt, source) for source in ("run", "setup")}
            files = self._files[run] = (attempt, named)
        for source, file in files[1].items():
            try:
                info = file.stat()
            except OSError:
                continue
            if info.st_size == 0:
                continue
            sign = (attempt, source, info.st_size, info.st_mtime_ns)
            text = known[2] if known is not None and known[1] == sign else log_end(file)
            self._known[run] = (now, sign, text)
            return text
        self._known[run] = (now, (), "")
        return ""

    def forget(self, present: set[str]) -> None:
        """Only these runs are still there."""
        for gone in self._known.keys() - present:
            del self._known[gone]
            self._files.pop(gone, None)
