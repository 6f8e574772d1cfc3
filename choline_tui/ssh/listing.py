"""What lies under a directory, here and on the remote: kind, size and time of every path."""

# names are bytes here, which pathlib does not do
# ruff: noqa: PTH116, PTH118

import asyncio
import errno
import os
import re
import shlex
import stat
from pathlib import Path
from typing import NamedTuple

from choline_tui.kernel.errors import TransferFailed
from choline_tui.kernel.patterns import excluder
from choline_tui.ssh.connection import RemoteProcess, SshConnection, one_line

__all__ = [
    "MAX_FILES",
    "MAX_PATH",
    "Entry",
    "Listing",
    "excluder",
    "leads_out",
    "local_entry",
    "local_listing",
    "remote_listing",
    "remote_look",
    "remote_path",
    "safe_name",
]

PARTIAL = b".choline-partial"
"""directory in which rsync keeps the part of a file that has arrived"""

MAX_FILES = 1_000_000
"""Names in one listing; each takes some 300 bytes here."""
MAX_PATH = 3000
"""Bytes of a path below a directory; with what stands before it a system takes 4096."""
MAX_DEPTH = 200
"""rsync goes down 1024 directories (measured with 3.5), and is slow long before"""
_MAX_LISTING = 256 << 20
_MAX_RECORD = 1 << 20
_MAX_NOISE = 1 << 20
_SILENCE_S = 300.0
_MARK = b"choline-listing\0"
_END = b"choline-end"

# GNU find is quickest; python3 where it is another find
_REMOTE = """printf 'choline-listing\\0choline-now %s\\0' "$(date +%s 2>/dev/null)"
cd -- {path} 2>/dev/null || {{ printf 'choline-end\\0'; exit 0; }}
if find . -maxdepth 0 -printf '' 2>/dev/null; then find . -mindepth 1 -printf '%y %m %s %T@ %P\\0'
else python3 -c {program}; fi
code=$?
printf 'choline-end\\0'
exit $code"""
_PROGRAM = """
import os, stat, sys
out = sys.stdout.buffer
def walk(top):
    for e in os.scandir(top):
        s = e.stat(follow_symlinks=False)
        k = b"d" if stat.S_ISDIR(s.st_mode) else b"f" if stat.S_ISREG(s.st_mode) else \
            b"l" if stat.S_ISLNK(s.st_mode) else b"x"
        out.write(k + b" %o %d %d " % (s.st_mode & 4095, s.st_size, s.st_mtime) + e.path[2:] + b"\\0")
        if k == b"d":
            walk(e.path)
walk(b"./")
"""


class Entry(NamedTuple):
    """``kind``: f file, d directory, l symbolic link, x anything else. Size in bytes, time in epoch s,
    permission bits."""

    kind: str
    size: int
    mtime: int
    mode: int = 0


def leads_out(name: bytes, target: bytes) -> bool:
    """Whether a link ``name`` points out of the directory that its name is relative to: one that is
    absolute, climbs above it, or climbs again after going down. rsync(1) calls these unsafe."""
    depth = name.count(b"/")
    down = False
    for part in target.split(b"/"):
        if part == b"..":
            depth -= 1
            if down or depth < 0:
                return True
        elif part not in (b"", b"."):
            down = True
    return target.startswith(b"/") or not target


def local_entry(path: bytes, *, follow: bool = False) -> Entry | None:
    """None when there is nothing at ``path``. Links are not followed unless asked for."""
    try:
        found = os.stat(path) if follow else os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _entry(found)


_KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}


def _entry(found: os.stat_result) -> Entry:
    return Entry(
        _KINDS.get(stat.S_IFMT(found.st_mode), "x"),
        found.st_size,
        int(found.st_mtime),
        found.st_mode & 0o7777,
    )


def local_listing(base: Path) -> dict[bytes, Entry]:
    """Everything under ``base`` by its path relative to it; links are not followed."""
    found: dict[bytes, Entry] = {}
    root = os.fsencode(base)
    waiting = [b""]
    while waiting:
        here = waiting.pop()
        try:
            entries = os.scandir(os.path.join(root, here))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                continue
            raise
        with entries:
            for item in entries:
                if item.name == PARTIAL:
                    continue
                path = here + item.name
                try:
                    entry = _entry(item.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue
                found[path] = entry
                if entry.kind == "d":
                    waiting.append(path + b"/")
    return found


class Listing:
    """Takes the remote's list in pieces, so that no more is held than what it is worth.

    ``too_long``: at most a hundred directories below which are names that no path here could hold.
    ``now``: epoch s on the remote's clock when it began, None when it did not say.
    """

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.too_long: set[bytes] = set()
        self.now: int | None = None
        self._ended = False
        self._rest = b""
        self._size = 0

    def feed(self, piece: bytes) -> None:
        """``ValueError`` for what is no list, or for one that is too long."""
        self._size += len(piece)
        if self._ended:
            return  # what a shell says at its end
        *records, self._rest = (self._rest + piece).split(b"\0")
        for record in records:
            if record == _END:
                self._ended = True
                break
            self._take(record)
        if len(self._rest) > _MAX_RECORD:
            raise ValueError("it has a name that does not end")
        if self._size > _MAX_LISTING or len(self.entries) > MAX_FILES:
            raise ValueError(f"there are more than {MAX_FILES:,} names, or they are too long")

    def finish(self) -> None:
        """``ValueError`` when it was cut."""
        if not self._ended:
            raise ValueError("it breaks off")

    def _take(self, record: bytes) -> None:
        if not self.entries and (said := _NOW.fullmatch(record)):
            self.now = int(said[1]) if said[1] else None
            return
        match = _RECORD.fullmatch(record)
        if match is None:
            raise ValueError("it holds what is no file's name")
        kind, mode, size, mtime, name = match.groups()
        self._add(name, Entry(_LETTERS.get(kind, "x"), int(size), int(mtime), int(mode, 8)))

    def add(self, name: bytes, entry: Entry) -> None:
        """One name, from where it is listed in another way. ``ValueError`` as ``feed``."""
        self._size += len(name)
        self._add(name, entry)
        if self._size > _MAX_LISTING or len(self.entries) > MAX_FILES:
            raise ValueError(f"there are more than {MAX_FILES:,} names, or they are too long")

    def _add(self, name: bytes, entry: Entry) -> None:
        if _UNSAFE.search(name):
            raise ValueError("it holds what is no file's name")
        if len(name) > MAX_PATH or name.count(b"/") >= MAX_DEPTH:
            if len(self.too_long) < 100:
                self.too_long.add(_top(name))
        elif PARTIAL not in name or PARTIAL not in name.split(b"/"):
            self.entries[name] = entry


async def remote_listing(
    conn: SshConnection, path: str, too_long: list[bytes] | None = None
) -> dict[bytes, Entry]:
    """The same for a directory on the remote; empty when there is none. Raises as ``remote_look``.

    ``too_long`` gets the directories below which names are left out because no path here could hold them.
    """
    look = await remote_look(conn, path)
    if too_long is not None:
        too_long += sorted(look.too_long)
    return look.entries


async def remote_look(conn: SshConnection, path: str) -> Listing:
    """A directory on the remote with what else is known of the look. ``TransferFailed`` when the remote
    has neither GNU find nor python3, answers nonsense, or has more than ``MAX_FILES`` names."""
    command = _REMOTE.format(path=shlex.quote(remote_path(path)), program=shlex.quote(_PROGRAM))
    listing = Listing()
    noise = b""
    marked = False
    wrong = ""
    async with conn.process(command) as process:
        try:
            while True:
                async with asyncio.timeout(_SILENCE_S):
                    piece = await process.read()
                if not piece:
                    break
                if not marked:
                    noise += piece
                    before, mark, piece = noise.partition(_MARK)
                    marked = bool(mark)
                    if not marked and len(before) > _MAX_NOISE:
                        break
                if marked:
                    listing.feed(piece)
            status = await _end_of(process)
            if marked and status in (0, 1):
                listing.finish()
            else:
                wrong = one_line(process.stderr.decode("utf-8", "replace")) or "no answer"
        except ValueError as error:
            wrong = str(error)
        except TimeoutError:
            wrong = f"nothing comes for {_SILENCE_S:g} s"
    if wrong:
        raise TransferFailed(
            f"The files on {conn.address} cannot be listed: {wrong}.",
            hint="The machine needs GNU find or python3; very many files are better packed into fewer.",
        )
    return listing


def _top(name: bytes) -> bytes:
    """The deepest directory on the way to a name that is not too long itself."""
    short = name[:MAX_PATH]
    whole = short.rpartition(b"/")[0] if len(short) < len(name) else short
    return b"/".join((whole or short).split(b"/")[:MAX_DEPTH])


async def _end_of(process: RemoteProcess) -> int:
    async with asyncio.timeout(_SILENCE_S):
        return await process.wait()


_LETTERS = {b"f": "f", b"d": "d", b"l": "l"}
_NOW = re.compile(rb"choline-now (\d{0,11})")
_RECORD = re.compile(rb"(.) ([0-7]{1,6}) (\d{1,18}) (-?\d{1,18})(?:\.\d{1,20})? (.+)", re.DOTALL)


def safe_name(name: bytes) -> bool:
    """A relative path that stays below its directory."""
    return _UNSAFE.search(name) is None


_UNSAFE = re.compile(rb"\0|(?:^|/)\.{0,2}(?:/|\Z)")
"""an empty part, one that is . or .., or a NUL"""


def remote_path(path: str) -> str:
    """A path for the remote's command line: relative to its home, never taken for an option."""
    if not path or "\0" in path:
        raise TransferFailed("The path on the remote is empty or no path.")
    return path if path.startswith("/") else f"./{path}"
