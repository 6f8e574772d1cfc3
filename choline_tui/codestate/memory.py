"""What the last look at a project found, so that the next reads only what has changed since.

A file counts as the one that was read when size, times, inode and mode are the same, and when it had been
left alone for a while by then: one that was written just before it was read may have been written just
after as well, in the same tick of the clock (git's "racily clean" entries, its api-index documents).
"""

import contextlib
import hashlib
import marshal
import os
import stat
import zlib

__all__ = ["Known", "Memory", "mark_of", "settled"]

SETTLED_NS = 2 * 10**9
"""ns that a file must have been left alone: more than the tick of any file system's clock"""
_VERSION = 1
Mark = tuple[int, int, int, int, int]


Known = tuple[Mark, bytes, int]
"""of a file that was read, and whose content is kept: mark, line of the manifest, bytes. Plain tuples: 20,000
objects of a class would take longer to make than the files to look at"""


def mark_of(seen: os.stat_result) -> Mark:
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_mode


def settled(mark: Mark, now_ns: int) -> bool:
    """Whether a file with this mark, read at ``now_ns`` or later, cannot change without another mark."""
    return stat.S_ISREG(mark[4]) and max(mark[1], mark[2]) < now_ns - SETTLED_NS


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
        try:
            with open(self.file, "rb") as file:
                raw = file.read()
            if zlib.crc32(raw[4:]) != int.from_bytes(raw[:4], "big"):
                return {}
            # a file of our own, in a directory that is ours alone
            version, sign, known = marshal.loads(raw[4:])  # noqa: S302
            return known if (version, sign) == (_VERSION, self.sign) and isinstance(known, dict) else {}
        except (OSError, ValueError, TypeError, EOFError):
            return {}

    def write(self, known: dict[bytes, Known]) -> None:
        data = marshal.dumps((_VERSION, self.sign, known))
        temporary = f"{self.file}.{os.getpid()}-{id(self):x}"
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self.file), mode=0o700, exist_ok=True)
            try:
                with open(temporary, "wb") as file:
                    file.write(zlib.crc32(data).to_bytes(4, "big") + data)
                os.replace(temporary, self.file)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
