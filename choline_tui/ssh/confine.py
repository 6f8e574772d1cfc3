"""Writing into a folder what a stranger sent, with no way out of it.

Every directory on the way is opened by descriptor without following links, files appear by rename,
and a link is made only when it cannot lead outside whatever other links there are.
"""

# names are bytes here, which pathlib does not do

import errno
import os
import secrets
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from choline_tui.ssh.listing import safe_name

__all__ = ["Folder", "Refused", "cannot_be_named", "link_stays_inside"]

MUNGED = b"/rsyncd-munged/"
"""what ``rsync --munge-links`` puts before a link's target, so that it leads nowhere"""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


_NOT_HERE = frozenset((errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ELOOP))


def cannot_be_named(error: OSError) -> bool:
    """Whether it is the name that this computer does not take (too long, not in its encoding)."""
    return error.errno in _NOT_HERE


def _temporary() -> bytes:
    """A name that whoever sends the files cannot have known."""
    return b".choline-" + secrets.token_hex(8).encode()


class Refused(Exception):
    """A name that is not written; the words say why."""


def link_stays_inside(depth: int, target: bytes) -> bool:
    """Whether a link in a directory ``depth`` levels below the folder may point to ``target``.

    Only leading ``..`` are allowed, at most ``depth``: those climb real directories. A ``..`` after a
    name could climb out through another link.
    """
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    if not target or target.startswith(b"/") or b"\0" in target:
        return False
    climbs = 0
    while climbs < len(parts) and parts[climbs] == b"..":
        climbs += 1
    return climbs <= depth and b".." not in parts[climbs:]


class Folder:
    """A folder that is written into. Names are relative, ``/``-separated bytes."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._root)

    @contextmanager
    def _parent(self, name: bytes) -> Iterator[tuple[int, bytes]]:
        if not safe_name(name):
            raise Refused("leads out of the folder")
        *parents, last = name.split(b"/")
        here = os.dup(self._root)
        try:
            for part in parents:
                try:
                    below = os.open(part, _DIRECTORY, dir_fd=here)
                except FileNotFoundError:
                    os.mkdir(part, 0o777, dir_fd=here)
                    below = os.open(part, _DIRECTORY, dir_fd=here)
                except OSError as error:
                    # a link or a file stands where the remote now has a directory
                    found = os.lstat(part, dir_fd=here)
                    if stat.S_ISDIR(found.st_mode):
                        raise Refused(error.strerror or "cannot be entered") from error
                    os.unlink(part, dir_fd=here)
                    os.mkdir(part, 0o777, dir_fd=here)
                    below = os.open(part, _DIRECTORY, dir_fd=here)
                os.close(here)
                here = below
            yield here, last
        finally:
            os.close(here)

    def directory(self, name: bytes) -> None:
        """Make a directory and those above it."""
        with self._parent(name + b"/x"):
            pass

    @contextmanager
    def file(self, name: bytes, *, mtime: int, executable: bool) -> Iterator[int]:
        """A descriptor to write to; the file appears under its name when the block ends well."""
        with self._parent(name) as (parent, last):
            temporary = _temporary()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(temporary, flags, 0o777 if executable else 0o666, dir_fd=parent)
            try:
                try:
                    yield handle
                    os.utime(handle, (mtime, mtime))
                finally:
                    os.close(handle)
                self._replace(parent, temporary, last)
            except BaseException:
                os.unlink(temporary, dir_fd=parent)
                raise

    def link(self, name: bytes, target: bytes) -> None:
        """A symbolic link; ``Refused`` when it might lead outside."""
        if not link_stays_inside(name.count(b"/"), target):
            raise Refused("a link that leads out of the folder")
        with self._parent(name) as (parent, last):
            temporary = _temporary()
            os.symlink(target, temporary, dir_fd=parent)
            try:
                self._replace(parent, temporary, last)
            except BaseException:
                os.unlink(temporary, dir_fd=parent)
                raise

    def take(self, source: "Folder", name: bytes, kept: "tuple[Folder, bytes] | None" = None) -> bool:
        """Move ``name`` from the folder ``source`` (of the same disk) here, in place of what is here, at
        once: nobody sees neither. ``kept``: where the file that was here stays as well, as (folder, name);
        whether one did. ``Refused`` when a directory of that name is here. Raises ``OSError``."""
        with source._parent(name) as (there, first), self._parent(name) as (parent, last):
            keeps = kept is not None and self._keep(parent, last, *kept)
            try:
                os.replace(first, last, src_dir_fd=there, dst_dir_fd=parent)
            except IsADirectoryError as error:
                raise Refused("a directory of that name is here") from error
        return keeps

    @staticmethod
    def _keep(parent: int, last: bytes, folder: "Folder", name: bytes) -> bool:
        """Give a file a second name in another folder of the same disk; False when there is no file."""
        try:
            if not stat.S_ISREG(os.lstat(last, dir_fd=parent).st_mode):
                return False
            with folder._parent(name) as (into, other):
                try:
                    os.link(last, other, src_dir_fd=parent, dst_dir_fd=into, follow_symlinks=False)
                except FileExistsError:
                    pass  # this very version is kept already
                except OSError as error:
                    if cannot_be_named(error):
                        return False
                    # a disk without second names: for a moment only the kept one is there
                    os.replace(last, other, src_dir_fd=parent, dst_dir_fd=into)
        except FileNotFoundError:
            return False
        return True

    def make_way(self, name: bytes) -> bytes:
        """Rename a directory in whose place a file is to come; its new name. What it holds is kept."""
        with self._parent(name) as (parent, last):
            for n in range(1, 1000):
                other = last[:240] + b".before-%d" % n
                try:
                    os.mkdir(other, dir_fd=parent)  # takes the name; an empty directory may be replaced
                except FileExistsError:
                    continue
                os.rename(last, other, src_dir_fd=parent, dst_dir_fd=parent)
                return name[: len(name) - len(last)] + other
        raise Refused("it was a directory too often")

    @contextmanager
    def existing(self, name: bytes) -> Iterator[int]:
        """A descriptor to read a file that is here from; ``Refused`` when there is no such file."""
        *parents, last = name.split(b"/")
        here = os.dup(self._root)
        handle = -1
        try:
            if not safe_name(name):
                raise Refused("leads out of the folder")
            for part in parents:
                below = os.open(part, _DIRECTORY, dir_fd=here)
                os.close(here)
                here = below
            handle = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise Refused("not a plain file")
            yield handle
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Refused("a second name of a file that is not here") from error
        finally:
            os.close(here)
            if handle >= 0:
                os.close(handle)

    def folds_names(self) -> bool:
        """Whether this disk takes two different names for one (capitals, accents), as seen by trying."""
        probe = _temporary() + "-\u00c4".encode()
        other = unicodedata.normalize("NFD", probe.decode()).encode()
        os.close(
            os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._root)
        )
        try:
            return any(self._has(name) for name in (probe.decode().lower().encode(), other))
        finally:
            os.unlink(probe, dir_fd=self._root)

    def _has(self, name: bytes) -> bool:
        try:
            os.lstat(name, dir_fd=self._root)
        except OSError:
            return False
        return True

    @staticmethod
    def _replace(parent: int, temporary: bytes, last: bytes) -> None:
        try:
            os.replace(temporary, last, src_dir_fd=parent, dst_dir_fd=parent)
        except IsADirectoryError as error:
            raise Refused("a directory of that name is here") from error

    def mend_links(self) -> list[bytes]:
        """Make the munged links real that stay inside, remove the others; the names removed."""
        removed: list[bytes] = []
        for full, target in [(name, entry) for name, entry in self._walk() if isinstance(entry, bytes)]:
            munged = target.startswith(MUNGED)
            target = target[len(MUNGED) :] if munged else target
            if not link_stays_inside(full.count(b"/"), target):
                with self._parent(full) as (parent, last):
                    os.unlink(last, dir_fd=parent)
                removed.append(full)
            elif munged:
                self.link(full, target)
        return removed

    def usage(self) -> tuple[int, int]:
        """Bytes (as the files' sizes say, holes included) and number of files now in the folder."""
        sizes = [entry for _, entry in self._walk(links=False) if isinstance(entry, int)]
        return sum(sizes), len(sizes)

    def _walk(self, *, links: bool = True) -> Iterator[tuple[bytes, int | bytes]]:
        """Files with their size, or with ``links`` only the links with their target; none is followed."""
        waiting = [b""]
        while waiting:
            here = waiting.pop()
            try:
                handle = self._enter(here)
            except OSError:
                continue
            try:
                with os.scandir(handle) as entries:
                    for entry in entries:
                        last = os.fsencode(entry.name)
                        try:
                            if entry.is_dir(follow_symlinks=False):
                                waiting.append(here + last + b"/")
                            elif not links:
                                yield here + last, entry.stat(follow_symlinks=False).st_size
                            elif entry.is_symlink():
                                yield here + last, os.readlink(last, dir_fd=handle)
                        except FileNotFoundError:
                            continue
            finally:
                os.close(handle)

    def _enter(self, name: bytes) -> int:
        handle = os.dup(self._root)
        try:
            # "." first: a copy of a descriptor shares its position in the directory
            for part in [b".", *name.split(b"/")]:
                if part:
                    below = os.open(part, _DIRECTORY, dir_fd=handle)
                    os.close(handle)
                    handle = below
        except BaseException:
            os.close(handle)
            raise
        return handle
