"""Giving a run the data of the store as its own directory: same bytes, no second copy on the disk.

Where the file system can, each run gets a copy that shares its blocks until it is written to (a reflink).
Elsewhere a file's second name (a hard link), which nobody has permission to write to; root may all the same,
so the store is looked at before it is used again (``remote.tree.quick``).
"""

import errno
import fcntl
import os
import shutil
import stat
from typing import Callable, Optional

from choline_tui.kernel.errors import UsageError
from choline_tui.remote.tree import entries

__all__ = ["LINKED", "REFLINKED", "share", "unshare"]

REFLINKED, LINKED, COPIED = "reflink", "hard link", "copy"
_FICLONE = 0x40049409
"""ioctl_ficlone(2)"""
_SUFFIX = b".choline-new"
_NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.ENOTSUP)


def share(tree: str, into: str, *, how: str = "", told: Optional[Callable[[int], None]] = None) -> str:
    """Make everything in ``tree`` appear in ``into`` (made if need be); how: the ways above, worst of all.

    What lies there under such a name is replaced, never written to; what has other names stays. ``how``:
    begin with this way instead of the best. ``told`` of the bytes of each file that is copied. Raises
    ``OSError``; ``UsageError`` when a directory stands where a file comes.
    """
    root, target = os.fsencode(tree), os.fsencode(into)
    _directory(target)
    ways = [REFLINKED, LINKED, COPIED]
    at = ways.index(how) if how else 0
    for name, info in sorted(entries(tree)):
        source, path = os.path.join(root, name), os.path.join(target, name)
        if stat.S_ISDIR(info.st_mode):
            _directory(path)
            continue
        if not (stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode)):
            continue
        there = _lstat(path)
        if there is not None and stat.S_ISDIR(there.st_mode):
            raise UsageError(
                "a directory of the run stands where a file of the data comes: %s"
                % os.fsdecode(name)[:200].encode("ascii", "backslashreplace").decode(),
                hint="Give one of them another place: into = ...",
            )
        if there is not None and _same(info, there):
            continue
        fresh = path + _SUFFIX
        _unlink(fresh)
        if stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(source), fresh)
        else:
            while True:
                try:
                    _one(ways[at], source, fresh, info)
                    break
                except OSError as e:
                    _unlink(fresh)
                    if at + 1 >= len(ways) or not _unable(ways[at], e):
                        raise
                    at += 1
            if told is not None and ways[at] == COPIED:
                told(info.st_size)
        os.rename(fresh, path)
        _unlink(fresh)  # a rename between two names of one file does nothing
    return ways[at]


def unshare(tree: str, into: str) -> int:
    """Take those names out of ``into`` that are the store's own files: how many. For a run that is over."""
    count = 0
    target = os.fsencode(into)
    for name, info in entries(tree):
        if stat.S_ISREG(info.st_mode) and info.st_nlink > 1:
            there = _lstat(os.path.join(target, name))
            if there is not None and (there.st_dev, there.st_ino) == (info.st_dev, info.st_ino):
                _unlink(os.path.join(target, name))
                count += 1
    return count


def _one(way: str, source: bytes, fresh: bytes, info: os.stat_result) -> None:
    if way == LINKED:
        os.link(source, fresh, follow_symlinks=False)
        return
    if way == REFLINKED:
        with open(source, "rb") as old, open(fresh, "xb") as new:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
    else:
        shutil.copyfile(os.fsdecode(source), os.fsdecode(fresh))
    os.chmod(fresh, (info.st_mode & 0o777) | 0o200)  # the run's own
    os.utime(fresh, ns=(info.st_atime_ns, info.st_mtime_ns))


def _unable(way: str, error: OSError) -> bool:
    """Whether the file system says that it never does this, rather than that something went wrong."""
    if way == REFLINKED:
        return error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
    return error.errno in _NO_LINK


def _same(info: os.stat_result, there: os.stat_result) -> bool:
    if (info.st_dev, info.st_ino) == (there.st_dev, there.st_ino):
        return True
    kinds = stat.S_ISREG(info.st_mode) and stat.S_ISREG(there.st_mode)
    # only a copy of the run's own can have another inode and this very time
    return kinds and (info.st_size, info.st_mtime_ns) == (there.st_size, there.st_mtime_ns)


def _directory(path: bytes) -> None:
    """A real directory, also where a link or a file stands."""
    there = _lstat(path)
    if there is not None and not stat.S_ISDIR(there.st_mode):
        os.unlink(path)
    os.makedirs(path, exist_ok=True)


def _lstat(path: bytes) -> Optional[os.stat_result]:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _unlink(path: bytes) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
