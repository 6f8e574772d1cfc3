"""What lies in a directory, byte for byte: the contents that make its key, and the quick look that tells
whether somebody has written to it since."""

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterator, List, Optional, Set, Tuple

from choline_tui.kernel.content import Content
from choline_tui.kernel.manifest import PARTIAL

__all__ = ["contents", "entries", "files_of", "inodes", "quick", "seal"]

_PARTIAL = os.fsencode(PARTIAL)
_BLOCK = 1 << 20
_THREADS = 8
"""at most: hashing lets go of the interpreter, and a file system answers several at once"""

Told = Callable[[int], None]
"""told of bytes as they are read"""


def entries(top: str) -> Iterator[Tuple[bytes, os.stat_result]]:
    """Every name below ``top`` (relative to it) with what it is, links not followed. Raises ``OSError``."""
    root = os.fsencode(top)
    folders = [b""]
    while folders:
        folder = folders.pop()
        with os.scandir(os.path.join(root, folder)) as found:
            for entry in found:
                if entry.name == _PARTIAL:
                    continue
                name = os.path.join(folder, entry.name)
                info = entry.stat(follow_symlinks=False)
                yield name, info
                if stat.S_ISDIR(info.st_mode):
                    folders.append(name)


def contents(top: str, told: Optional[Told] = None) -> List[Content]:
    """All of it, hashed. Raises ``OSError`` for what cannot be read."""
    root = os.fsencode(top)
    found = []  # type: List[Content]
    files = []  # type: List[Tuple[bytes, os.stat_result]]
    for name, info in entries(top):
        if stat.S_ISDIR(info.st_mode):
            found.append(Content(name, "d"))
        elif stat.S_ISLNK(info.st_mode):
            found.append(Content(name, "l", 0, hashlib.sha256(os.readlink(root + b"/" + name)).hexdigest()))
        elif stat.S_ISREG(info.st_mode):
            files.append((name, info))

    def hashed(one: Tuple[bytes, os.stat_result]) -> Content:
        name, info = one
        size, digest = _digest(root + b"/" + name, told)
        return Content(name, "f", size, digest, bool(info.st_mode & 0o100))

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        found += pool.map(hashed, files)
    return found


def _digest(path: bytes, told: Optional[Told]) -> Tuple[int, str]:
    total, size = hashlib.sha256(), 0
    with open(path, "rb", buffering=0) as f:
        while True:
            block = f.read(_BLOCK)
            if not block:
                return size, total.hexdigest()
            total.update(block)
            size += len(block)
            if told is not None:
                told(len(block))


def quick(top: str) -> str:
    """Changes when anything below is written to, renamed, added or taken away; reads no file."""
    total = hashlib.sha256()
    for name, info in sorted(entries(top)):
        kind = stat.S_IFMT(info.st_mode)
        plain = stat.S_ISREG(info.st_mode)
        told = (kind, info.st_size if plain else 0, info.st_mtime_ns if plain else 0)
        total.update(b"%d %d %d " % told + name + b"\0")
    return total.hexdigest()


def seal(top: str) -> None:
    """Nobody's files to write: what shares them reads them. Directories can be entered and cleared."""
    root = os.fsencode(top)
    for name, info in entries(top):
        if stat.S_ISREG(info.st_mode):
            os.chmod(root + b"/" + name, (info.st_mode & 0o555) | 0o400)
        elif stat.S_ISDIR(info.st_mode):
            os.chmod(root + b"/" + name, (info.st_mode & 0o777) | 0o700)


def files_of(top: str) -> Tuple[int, int]:
    """(bytes, files) below ``top``; what is not there has none."""
    size = count = 0
    try:
        for _, info in entries(top):
            if stat.S_ISREG(info.st_mode):
                size, count = size + info.st_size, count + 1
    except OSError:
        pass
    return size, count


def inodes(top: str) -> Set[Tuple[int, int]]:
    """Of all plain files that have a second name somewhere."""
    return {
        (info.st_dev, info.st_ino)
        for _, info in entries(top)
        if stat.S_ISREG(info.st_mode) and info.st_nlink > 1
    }
