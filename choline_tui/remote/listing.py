"""What lies in a run's results: sizes, and the manifest that home checks against.

Links are never followed; only regular files count.
"""

import hashlib
import os
import stat
from typing import Callable, Iterator, List, Optional, Sequence, Tuple

from choline_tui.kernel.manifest import MAX_FILES, PARTIAL, PARTS, Entry, encode, encode_end, safe_path
from choline_tui.remote.paths import Paths

__all__ = ["manifest", "tree", "tree_bytes"]

_PARTIAL = os.fsencode(PARTIAL)


def _walk(top: bytes, unread: Optional[List[bytes]] = None) -> Iterator[Tuple[bytes, os.stat_result]]:
    """Regular files below ``top``, with bytes for names, in no order.

    Folders that cannot be looked into (no permission, a path longer than the system takes) go to
    ``unread``: what they hold must not be missed in silence.
    """
    folders = [top]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            continue
        except OSError:
            if unread is not None:
                unread.append(folder)
            continue
        for entry in entries:
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError:
                if unread is not None:
                    unread.append(entry.path)
                continue
            if stat.S_ISDIR(info.st_mode):
                if entry.name != _PARTIAL:
                    folders.append(entry.path)
            elif stat.S_ISREG(info.st_mode):
                yield entry.path, info


def tree(top: str) -> Iterator[Tuple[bytes, os.stat_result]]:
    """Regular files below ``top`` as they are found; nothing when it is not there."""
    return _walk(os.fsencode(top))


def tree_bytes(top: str) -> int:
    """Bytes of all regular files below ``top``; 0 when it is not there."""
    return sum(info.st_size for _, info in _walk(os.fsencode(top)))


def _digest(path: bytes) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(fd, "rb", buffering=0) as f:
        if not stat.S_ISREG(os.fstat(f.fileno()).st_mode):
            return ""
        total = hashlib.sha256()
        try:
            while True:
                block = f.read(1 << 20)
                if not block:
                    return total.hexdigest()
                total.update(block)
        except OSError:
            return ""


def manifest(
    paths: Paths, run: str, write: Callable[[bytes], object], only: Optional[Sequence[bytes]] = None
) -> int:
    """Write the manifest of a run, hashes included; of the files in ``only`` when given. Its length."""
    root = os.fsencode(paths.run(run))
    count = 0
    cut = False
    unread = []  # type: List[bytes]

    def found() -> Iterator[Tuple[bytes, os.stat_result]]:
        if only is None:
            for part in PARTS:
                yield from _walk(os.path.join(root, os.fsencode(part)), unread)
            return
        for name in only:
            path = os.path.join(root, name)
            # a link as a folder on the way must not lead out either
            if not safe_path(name) or os.path.realpath(os.path.dirname(path)) != os.path.join(
                os.path.realpath(root), os.path.dirname(name)
            ):
                continue
            try:
                info = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISREG(info.st_mode):
                yield path, info

    for path, info in found():
        if count >= MAX_FILES:
            cut = True
            break
        write(encode(Entry(path[len(root) + 1 :], info.st_size, info.st_mtime_ns, _digest(path))))
        count += 1
    first = unread[0][len(root) + 1 :] if unread else b""
    write(encode_end(count, cut, len(unread), first))
    return count
