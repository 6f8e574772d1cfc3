"""What lies under a directory, here and on the remote: kind, size and time of every path."""

# names are bytes here, which pathlib does not do
# ruff: noqa: PTH118

import asyncio
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from choline_tui.kernel.errors import TransferFailed
from choline_tui.ssh.connection import SshConnection, one_line

__all__ = ["Entry", "excluder", "local_entry", "local_listing", "remote_listing", "remote_path", "safe_name"]

PARTIAL = b".choline-partial"
"""directory in which rsync keeps the part of a file that has arrived"""

_MAX_LISTING = 256 << 20
_MARK = b"choline-listing\0"

# GNU find is quickest; python3 where it is another find
_REMOTE = """cd -- {path} 2>/dev/null || {{ printf 'choline-listing\\0'; exit 0; }}
printf 'choline-listing\\0'
if find . -maxdepth 0 -printf '' 2>/dev/null; then exec find . -mindepth 1 -printf '%y %m %s %T@ %P\\0'; fi
exec python3 -c {program}"""
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


def local_entry(path: bytes) -> Entry | None:
    """None when there is nothing at ``path``. Links are not followed."""
    try:
        found = os.lstat(path)
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
        except (FileNotFoundError, NotADirectoryError):
            continue
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


async def remote_listing(conn: SshConnection, path: str) -> dict[bytes, Entry]:
    """The same for a directory on the remote; empty when there is none. ``TransferFailed`` when the
    remote has neither GNU find nor python3, or answers nonsense."""
    command = _REMOTE.format(path=shlex.quote(remote_path(path)), program=shlex.quote(_PROGRAM))
    done = await conn.run(command, timeout=600, max_output=_MAX_LISTING)
    _, marked, listing = done.stdout.partition(_MARK)
    if done.truncated or not marked or done.exit_status not in (0, 1):
        raise TransferFailed(
            f"The files on {conn.address} cannot be listed: "
            f"{one_line(done.stderr.decode('utf-8', 'replace')) or 'too many, or no answer'}.",
            hint="The machine needs GNU find or python3.",
        )
    found = await asyncio.to_thread(_parse, listing)
    if found is None:
        raise TransferFailed(f"{conn.address} sent a list of files that is none.")
    return found


_LETTERS = {b"f": "f", b"d": "d", b"l": "l"}
_RECORD = re.compile(rb"(.) ([0-7]{1,6}) (\d{1,18}) (-?\d{1,18})(?:\.\d+)? (.+)", re.DOTALL)


def _parse(listing: bytes) -> dict[bytes, Entry] | None:
    found: dict[bytes, Entry] = {}
    for record in listing.split(b"\0"):
        if not record:
            continue
        match = _RECORD.fullmatch(record)
        if match is None:
            return None
        kind, mode, size, mtime, name = match.groups()
        if _UNSAFE.search(name):
            return None
        if PARTIAL not in name or PARTIAL not in name.split(b"/"):
            found[name] = Entry(_LETTERS.get(kind, "x"), int(size), int(mtime), int(mode, 8))
    return found


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


def excluder(patterns: Sequence[str]) -> Callable[[bytes], bool]:
    """Whether a relative path is left out, as rsync understands the patterns: without ``/`` any name
    at any depth, with one a path from the top; ``*`` stops at ``/`` and ``**`` does not."""
    compiled = [(("/" in p.strip("/")) or p.startswith("/"), _glob(p.strip("/"))) for p in patterns]

    if not compiled:
        return lambda path: False

    def excluded(path: bytes) -> bool:
        parts = path.split(b"/")
        for end in range(1, len(parts) + 1):
            for anchored, pattern in compiled:
                subject = b"/".join(parts[:end]) if anchored else parts[end - 1]
                if pattern.fullmatch(subject):
                    return True
        return False

    return excluded


def _glob(pattern: str) -> re.Pattern[bytes]:
    def translated(pieces: Iterable[str]) -> Iterable[bytes]:
        for piece in pieces:
            if piece == "**":
                yield b".*"
            elif piece == "*":
                yield b"[^/]*"
            elif piece == "?":
                yield b"[^/]"
            else:
                yield re.escape(piece.encode("utf-8", "surrogateescape"))

    return re.compile(b"".join(translated(re.findall(r"\*\*|\*|\?|[^*?]+", pattern))), re.DOTALL)
