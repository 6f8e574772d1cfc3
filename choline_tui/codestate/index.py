"""git's index file, read by ourselves: it takes a fraction of what a question to git takes.

The format is that of git's ``gitformat-index``: a header, entries sorted by path, extensions, a checksum.
Only version 2 of plain entries is read; whatever else an index may hold has meanings of its own, and where
one is found nothing is said at all.
"""

import hashlib
import os
import stat

from choline_tui.codestate.memory import Known

__all__ = ["HASH", "mark", "path_of", "plain_entries", "proves"]

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


def plain_entries(raw: bytes) -> list[bytes] | None:
    """Every entry as the index has it, in its order. None when one of them is more than a file or link that
    git compares with the disk (a conflict, a submodule, a flag), when attributes are among them, and when it
    is no index that is understood."""
    end = len(raw) - HASH
    if raw[:8] != b"DIRC\0\0\0\2" or b".gitattributes" in raw:
        return None
    if hashlib.sha1(memoryview(raw)[:end], usedforsecurity=False).digest() != raw[end:]:
        return None
    position, entries = _HEADER, []
    try:
        for _ in range(int.from_bytes(raw[8:_HEADER], "big")):
            high = raw[position + _PATH - 2]
            length = high << 8 | raw[position + _PATH - 1]
            if length >= _MOST or raw[position + 24 : position + 28] not in _MODES:
                return None  # a bit above the length is a flag, or the number of a side in a conflict
            after = position + (_PATH + length + 8 & ~7)
            entries.append(raw[position:after])
            position = after
    except IndexError:
        return None
    while position < end:
        if raw[position : position + 4] not in _SKIPPED:
            return None
        position += 8 + int.from_bytes(raw[position + 4 : position + 8], "big")
    return entries if position == end else None


def path_of(entry: bytes) -> bytes:
    return entry[_PATH:].rstrip(b"\0")


def proves(entry: bytes, known: Known) -> bool:
    """Whether what is known of a file is what git calls clean by this very entry, from now on.

    The entry names the content that was read, and its times are those the file had when it was read, long
    after they were given: a later change gives the file times that the entry does not have, in whole seconds
    too (all that git compares), and then git compares the content.
    """
    mark, _, _, name = known
    regular = _PROGRAM if mark[4] & 0o100 else _FILE
    mode = _LINK if stat.S_ISLNK(mark[4]) else regular
    return (
        bool(name)
        and entry[_STAT : _STAT + HASH] == name
        and entry[0:4] == _word(mark[2] // 10**9)
        and entry[8:12] == _word(mark[1] // 10**9)
        and entry[20:24] == _word(mark[3])
        and entry[24:28] == mode
        and entry[36:40] == _word(mark[0])
    )


def _word(number: int) -> bytes:
    return (number & 0xFFFFFFFF).to_bytes(4, "big")
