"""What the last look at a project found, so that the next reads only what has changed since.

A file counts as the one that was read when size, times, inode and mode are the same, and when it had been
left alone for a while by then: one that was written just before it was read may have been written just
after as well, in the same tick of the clock (git's "racily clean" entries, its api-index documents).
"""

import contextlib
import hashlib
import marshal
import os
import secrets
import stat
import zlib
from typing import Any

__all__ = ["Known", "Mark", "Memory", "Row", "load", "mark_of", "save", "settled"]

SETTLED_NS = 2 * 10**9
"""ns that a file must have been left alone: more than the tick of any file system's clock"""
_VERSION = 2
Mark = tuple[int, int, int, int, int]


Known = tuple[Mark, bytes, int, bytes]
"""of a file that was read, and whose content is kept: mark, line of the manifest, bytes, git's name of the
content (b'' for a big one). Plain tuples: 20,000 objects of a class would take longer to make than the files
to look at"""


def mark_of(seen: os.stat_result) -> Mark:
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_mode


def settled(mark: Mark, now_ns: int) -> bool:
    """Whether a file or link with this mark, read at ``now_ns`` or later, cannot change without another
    mark."""
    return (stat.S_ISREG(mark[4]) or stat.S_ISLNK(mark[4])) and max(mark[1], mark[2]) < now_ns - SETTLED_NS


Row = tuple[bytes, bytes, int]
"""of the manifest: path, line (b'': left out by a pattern), bytes"""


class Memory:
    """Of one project, beside the store of contents. What cannot be read or written is not known: it only
    costs time. ``sign``: what the contents in the store must still stand under (``Objects.sign``)."""

    def __init__(self, objects: str, project: str, sign: str) -> None:
        name = hashlib.sha256(os.fsencode(project)).hexdigest()[:32]
        self.file = os.path.join(f"{objects}-seen", name)
        self.sign = sign

    def read(self) -> dict[bytes, Known]:
        if not self.sign:
            return {}
        match load(self.file):
            case (version, sign, dict(known)) if (version, sign) == (_VERSION, self.sign):
                return known
        return {}

    def write(self, known: dict[bytes, Known]) -> None:
        save(self.file, (_VERSION, self.sign, known))


def load(file: str) -> Any:
    """What ``save`` wrote; None when it is not there, or not whole."""
    try:
        with open(file, "rb") as stream:
            whole = memoryview(stream.read())
        if zlib.crc32(whole[4:]) != int.from_bytes(whole[:4], "big"):
            return None
        # a file of our own, in a directory that is ours alone
        return marshal.loads(whole[4:])  # noqa: S302
    except (OSError, ValueError, TypeError, EOFError):
        return None


def save(file: str, what: Any) -> None:
    """Replace ``file`` at once by plain data; what cannot be written is not remembered."""
    data = marshal.dumps(what)
    temporary = f"{file}.{secrets.token_hex(8)}"
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
        try:
            with open(temporary, "wb") as stream:
                stream.write(zlib.crc32(data).to_bytes(4, "big") + data)
            os.replace(temporary, file)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
