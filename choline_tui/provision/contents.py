"""What a thing to send consists of, hashed here, and a memory of hashes so that it is read only once."""

# names are bytes here, which pathlib does not do
# ruff: noqa: PTH112, PTH113, PTH115, PTH116, PTH118

import contextlib
import hashlib
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from choline_tui.kernel.content import Content
from choline_tui.kernel.errors import UsageError
from choline_tui.kernel.session import OnProgress, Progress
from choline_tui.ssh.listing import MAX_FILES, PARTIAL, leads_out
from choline_tui.ssh.tarstream import printable

__all__ = ["Contents", "Hashes", "contents_of"]

_BLOCK = 1 << 20
_THREADS = 4
_SETTLED_NS = 2_000_000_000
"""a file written to so short a time before it was hashed may change again within the same tick of its time"""
_KEPT_S = 90 * 86400.0


@dataclass
class Contents:
    """``base``: the directory that names are relative to. ``links``: see ``Item.links``."""

    base: Path
    entries: list[Content] = field(default_factory=list)
    links: str = "out"
    skipped: list[str] = field(default_factory=list)
    """what is not sent, and why"""

    @property
    def bytes(self) -> int:
        return sum(entry.size for entry in self.entries)


class Hashes:
    """Hashes by a file's path, size, times and inode, on disk. One that cannot be used is done without.

    Belongs to one thread, and is a context manager. ``wall``: epoch s.
    """

    def __init__(self, file: Path | None, wall: Callable[[], float] = time.time) -> None:
        self._file = file
        self._wall = wall
        self._db: sqlite3.Connection | None = None
        self._fresh: list[tuple[bytes, str, str]] = []

    def __enter__(self) -> "Hashes":
        if self._file is not None:
            with contextlib.suppress(sqlite3.Error, OSError):
                self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._db = sqlite3.connect(self._file, timeout=5)
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS hashes "
                    "(path BLOB PRIMARY KEY, stamp TEXT NOT NULL, digest TEXT NOT NULL, seen REAL NOT NULL)"
                )
        return self

    def __exit__(self, *exc: object) -> None:
        if self._db is None:
            return
        with contextlib.suppress(sqlite3.Error), self._db:
            now = self._wall()
            self._db.executemany(
                "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?)", [(*row, now) for row in self._fresh]
            )
            self._db.execute("DELETE FROM hashes WHERE seen < ?", (now - _KEPT_S,))
        self._db.close()
        self._db = None

    def known(self, path: bytes, found: os.stat_result) -> str:
        """The hash it had when it looked just like this; '' when that is not known."""
        if self._db is None:
            return ""
        row = None
        with contextlib.suppress(sqlite3.Error):
            row = self._db.execute("SELECT stamp, digest FROM hashes WHERE path = ?", (path,)).fetchone()
        return str(row[1]) if row is not None and row[0] == _stamp(found) else ""

    def keep(self, path: bytes, found: os.stat_result, digest: str, began_ns: int) -> None:
        newest = max(found.st_mtime_ns, found.st_ctime_ns)
        if newest + _SETTLED_NS < began_ns:
            self._fresh.append((path, _stamp(found), digest))


def _stamp(found: os.stat_result) -> str:
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_dev} {found.st_ino}"


def contents_of(
    path: Path,
    hashes: Hashes,
    *,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> Contents:
    """All that lies at ``path`` (a directory or a file), hashed. Blocking: for a thread; ``stop`` ends it.

    Links inside stay links; one that leads out is sent as the file it points to, and left out (and said)
    when that is none. Raises ``UsageError``, ``details["hopeless"]``, when something is not there or cannot
    be read.
    """
    try:
        top = os.stat(path)
    except OSError as error:
        raise _unusable(os.fsencode(path), error) from None
    if stat.S_ISDIR(top.st_mode):
        made = Contents(path)
        names: Sequence[tuple[bytes, bytes]] = list(_walk(made))
    else:
        made = Contents(path.parent, links="all")
        names = [(os.fsencode(path.name), os.fsencode(path))]
        if not stat.S_ISREG(top.st_mode):
            raise UsageError(f"{path} is neither a file nor a directory", hopeless=True)
    files = [(name, full, _stat(full)) for name, full in names]
    _hash_all(made, files, hashes, on_progress, stop or threading.Event())
    return made


def _walk(made: Contents) -> Iterator[tuple[bytes, bytes]]:
    """Names of files with their full paths; what needs no reading goes into ``made``."""
    root = os.fsencode(made.base)
    waiting, count = [b""], 0
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(os.path.join(root, here)) as found:
                items = list(found)
        except OSError as error:
            raise _unusable(os.path.join(root, here), error) from None
        for item in items:
            name = os.path.join(here, item.name)
            if item.name == PARTIAL:
                continue
            count += 1
            if count > MAX_FILES:
                raise UsageError(
                    f"there are more than {MAX_FILES:,} names in {made.base}",
                    hint="Pack them into fewer files (tar, webdataset, parquet): they arrive much sooner.",
                    hopeless=True,
                )
            if item.is_symlink():
                followed = _link(made, name, item.path)
                if followed:
                    yield name, item.path
            elif item.is_dir(follow_symlinks=False):
                made.entries.append(Content(name, "d"))
                waiting.append(name)
            elif item.is_file(follow_symlinks=False):
                yield name, item.path
            else:
                made.skipped.append(f"{printable(name)}: not a file")


def _link(made: Contents, name: bytes, path: bytes) -> bool:
    """Note a link; True when what it points to is to be sent in its place."""
    target = os.readlink(path)
    if not leads_out(name, target):
        made.entries.append(Content(name, "l", 0, hashlib.sha256(target).hexdigest()))
        return False
    if os.path.isfile(path):
        return True
    what = "a directory" if os.path.isdir(path) else "nothing"
    made.skipped.append(
        f"{printable(name)}: a link to {what} outside, {printable(target)}; name that in send itself"
    )
    return False


def _stat(path: bytes) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise _unusable(path, error) from None


def _hash_all(
    made: Contents,
    files: Sequence[tuple[bytes, bytes, os.stat_result]],
    hashes: Hashes,
    on_progress: OnProgress | None,
    stop: threading.Event,
) -> None:
    total = sum(found.st_size for _, _, found in files)
    unknown = []
    digests: dict[bytes, tuple[int, str]] = {}
    for name, full, found in files:
        digest = hashes.known(full, found)
        if digest:
            digests[name] = (found.st_size, digest)
        else:
            unknown.append((name, full))
    done = sum(size for size, _ in digests.values())
    lock, began, told = threading.Lock(), time.monotonic(), 0.0
    first = done

    def count(size: int) -> None:
        nonlocal done, told
        with lock:
            done += size
            now = time.monotonic()
            if on_progress is not None and now - told >= 0.2:
                told = now
                speed = (done - first) / max(1e-3, now - began)
                left = max(0, total - done) / speed if speed > 0 and now - began > 0.2 else None
                on_progress(Progress(min(done, total), total, 0, len(files), left, "reading"))

    def one(item: tuple[bytes, bytes]) -> tuple[bytes, bytes, int, str, int, os.stat_result]:
        name, full = item
        began_ns = time.time_ns()
        try:
            with open(full, "rb", buffering=0) as file:
                found, digest, size = os.fstat(file.fileno()), hashlib.sha256(), 0
                while block := file.read(_BLOCK):
                    if stop.is_set():
                        raise UsageError("stopped")
                    digest.update(block)
                    size += len(block)
                    count(len(block))
        except OSError as error:
            raise _unusable(full, error) from None
        return name, full, size, digest.hexdigest(), began_ns, found

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        for name, full, size, digest, began_ns, found in pool.map(one, unknown):
            digests[name] = (size, digest)
            if size == found.st_size:
                hashes.keep(full, found, digest, began_ns)
    for name, _, found in files:
        size, digest = digests[name]
        made.entries.append(Content(name, "f", size, digest, bool(found.st_mode & 0o100)))


def _unusable(path: bytes, error: OSError) -> UsageError:
    if isinstance(error, FileNotFoundError):
        return UsageError(
            f"there is no {printable(path)}", hint="Correct send in choline.toml.", hopeless=True
        )
    return UsageError(
        f"{printable(path)} cannot be read: {error.strerror or error}",
        hint="Make it readable, or leave it out of send.",
        hopeless=True,
    )
