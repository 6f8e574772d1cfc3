"""git's index file, read by ourselves: it takes a fraction of what a question to git takes.

The format is that of git's ``gitformat-index``: a header, entries sorted by path, extensions, a checksum.
Only version 2 of plain entries is read; whatever else an index may hold has meanings of its own, and where
one is found nothing is said at all.

Entries that were there before are compared in blocks, not one by one: of 20,000 that is ten times as quick.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice

from choline_tui.codestate.memory import Known

__all__ = [
    "HASH",
    "Block",
    "blocks_of",
    "compare",
    "mark",
    "path_of",
    "plain_entries",
    "proves",
    "rows_of",
    "written",
]

HASH = 20
"""bytes of a name of git's (SHA-1); repositories of longer ones are not read"""
_HEADER = 12
_STAT = 40
_PATH = _STAT + HASH + 2
_MOST = 0xFFF
"""a path of that many bytes or more is stored in another way"""
_FILE, _PROGRAM, _LINK = (mode.to_bytes(4, "big") for mode in (0o100644, 0o100755, 0o120000))
_MODES = {_FILE, _PROGRAM, _LINK}
_SKIPPED = (b"TREE", b"REUC", b"EOIE", b"IEOT")
"""extensions that say nothing of how the files are compared with the index"""


def mark(file: str) -> str:
    """Another one whenever the index has been written: its times and its checksum; '' when there is none."""
    try:
        with open(file, "rb") as stream:
            seen = os.fstat(stream.fileno())
            checksum = os.pread(stream.fileno(), HASH, max(0, seen.st_size - HASH))
    except OSError:
        return ""
    return f"{seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_size} {seen.st_ino} {checksum.hex()}"


@dataclass(frozen=True)
class Block:
    """Entries that follow each other, of all of which the same is known: they are in the manifest, or all of
    them are left out of it."""

    first: bytes
    last: bytes
    """paths"""
    raw: bytes
    """the entries"""
    lines: bytes
    """those of the manifest, with commas between; b'': left out"""
    count: int
    size: int
    """bytes of all the files"""


BLOCK = 64
"""entries of a block at most"""


def plain_entries(raw: bytes) -> list[bytes] | None:
    """Every entry as the index has it, in its order; None as for ``compare``."""
    found = compare(raw, ())
    return None if found is None else found[1]


def compare(raw: bytes, blocks: Iterable[Block]) -> tuple[list[Block], list[bytes]] | None:
    """What the index ``raw`` holds: those of ``blocks`` (in order) that are there as they are, and every
    other entry. None when one of them is more than a file or link that git compares with the disk (a
    conflict, a submodule, a flag), and when it is no index that is understood."""
    end = len(raw) - HASH
    if raw[:8] != b"DIRC\0\0\0\2":
        return None
    if hashlib.sha1(memoryview(raw)[:end], usedforsecurity=False).digest() != raw[end:]:
        return None
    left, position = int.from_bytes(raw[8:_HEADER], "big"), _HEADER
    same: list[Block] = []
    others: list[bytes] = []
    try:
        for block in (*blocks, None):
            if block is not None and raw.startswith(block.raw, position) and left >= block.count:
                same.append(block)
                position, left = position + len(block.raw), left - block.count
                continue
            while left:
                entry = _entry(raw, position)
                if block is not None and path_of(entry) > block.last:
                    break
                others.append(entry)
                position, left = position + len(entry), left - 1
    except (IndexError, ValueError):
        return None
    while position < end:
        if raw[position : position + 4] not in _SKIPPED:
            return None
        position += 8 + int.from_bytes(raw[position + 4 : position + 8], "big")
    return (same, others) if position == end else None


def _entry(raw: bytes, position: int) -> bytes:
    length = raw[position + _PATH - 2] << 8 | raw[position + _PATH - 1]
    if length >= _MOST or raw[position + 24 : position + 28] not in _MODES:
        # a bit above the length is a flag, or the number of a side in a conflict
        raise ValueError("not a plain entry")
    return raw[position : position + (_PATH + length + 8 & ~7)]


def blocks_of(rows: Iterable[tuple[bytes, bytes | None]]) -> Iterator[Block]:
    """Blocks of entries in the order of the index, each with its line (b'': left out), or None where nothing
    is known."""
    for known, run in groupby(rows, lambda row: None if row[1] is None else bool(row[1])):
        while known is not None and (part := list(islice(run, BLOCK))):
            entries, lines = [entry for entry, _ in part], [line or b"" for _, line in part]
            yield Block(
                path_of(entries[0]), path_of(entries[-1]), b"".join(entries),
                b",".join(lines) if known else b"", len(part), sum(map(_size, entries)) if known else 0,
            )  # fmt: skip


def rows_of(block: Block) -> Iterator[tuple[bytes, bytes, int]]:
    """Of every entry: itself, its line of the manifest, the bytes of its file."""
    position = 0
    # a line is one JSON object without another in it
    lines = block.lines[1:-1].split(b"},{") if block.lines else [b""] * block.count
    for line in lines:
        entry = _entry(block.raw, position)
        position += len(entry)
        yield entry, b"{%s}" % line if line else b"", _size(entry) if line else 0


def _size(entry: bytes) -> int:
    """Bytes of content as the manifest counts them: a link has none."""
    return 0 if entry[24:28] == _LINK else int.from_bytes(entry[36:40], "big")


def written(files: Iterable[tuple[bytes, bytes, bytes]]) -> bytes | None:
    """An index of these files (path, octal mode, hexadecimal name) that says nothing of their times; None
    when it cannot be written in the one form that is known here."""
    entries = []
    for path, mode, name in sorted(files):
        if (
            len(name) != 2 * HASH
            or len(path) >= _MOST
            or (raw := int(mode, 8).to_bytes(4, "big")) not in _MODES
        ):
            return None
        entry = (
            bytes(24) + raw + bytes(12) + bytes.fromhex(name.decode()) + len(path).to_bytes(2, "big") + path
        )
        entries.append(entry + bytes(8 - len(entry) % 8))
    body = b"DIRC" + (2).to_bytes(4, "big") + len(entries).to_bytes(4, "big") + b"".join(entries)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def path_of(entry: bytes) -> bytes:
    return entry[_PATH:].rstrip(b"\0")


def proves(entry: bytes, known: Known, *, converted: bool) -> bool:
    """Whether what is known of a file is what git calls clean by this very entry, from now on.

    The entry's times are those the file had when it was read, long after they were given: a later change
    gives the file times that the entry does not have, in whole seconds too (all that git compares), and then
    git compares the content, and the entry names the content that was read. With ``converted`` it need not:
    then what git calls clean by its times is meant.
    """
    mark, _, _, name = known
    regular = _PROGRAM if mark[4] & 0o100 else _FILE
    mode = _LINK if stat.S_ISLNK(mark[4]) else regular
    return (
        bool(name)  # a big file is always looked at
        and (converted or entry[_STAT : _STAT + HASH] == name)
        and entry[0:4] == _word(mark[2] // 10**9)
        and entry[8:12] == _word(mark[1] // 10**9)
        and entry[20:24] == _word(mark[3])
        and entry[24:28] == mode
        and entry[36:40] == _word(mark[0])
    )


def _word(number: int) -> bytes:
    return (number & 0xFFFFFFFF).to_bytes(4, "big")
