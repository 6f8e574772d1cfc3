"""Contents by digest, on disk: ``objects/ab/cdef...``; executable ones end in ``.x``.

A content is written beside its place and renamed into it, so what has its name is whole. The mode is
part of the name because a frozen tree is made of hard links to these files.
"""

import contextlib
import hashlib
import os

__all__ = ["SMALL", "Objects", "git_name"]

_CHUNK = 1 << 20
SMALL = 8 << 20
"""bytes up to which a content is held in memory"""
_SINGLE = 256
"""new files up to which each is flushed by itself; beyond, one sync of the computer is quicker"""


class Objects:
    """A store of contents in ``directory``. Not locked: two writers of one content write the same bytes."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._folders: set[str] = set()
        self._new: list[str] = []
        self._count = 0

    def path(self, digest: str, executable: bool) -> str:
        return os.path.join(self.directory, digest[:2], digest[2:] + (".x" if executable else ""))

    def sign(self) -> str:
        """The same as long as nothing was taken away from this store; '' when there is none yet."""
        try:
            with open(self._token, "rb") as file:
                word = file.read(100).hex()
        except FileNotFoundError:
            word = "-"
        except OSError:
            return ""
        try:
            return f"{os.stat(self.directory).st_ino} {word}"
        except OSError:
            return ""

    def doubt(self) -> None:
        """What was seen to be kept here before may not be any more. ``OSError`` when it cannot be noted."""
        os.makedirs(os.path.dirname(self._token), mode=0o700, exist_ok=True)
        temporary = f"{self._token}.{os.getpid()}-{id(self):x}"
        with open(temporary, "wb") as file:
            file.write(os.urandom(16))
        os.replace(temporary, self._token)

    @property
    def _token(self) -> str:
        return os.path.join(f"{self.directory}-seen", "token")

    def put(self, source: int, executable: bool, size: int, mtime_ns: int) -> tuple[str, int, bytes]:
        """Keep what the open file ``source`` holds, about ``size`` bytes; its SHA-256 (hexadecimal), true
        size in bytes, and git's own name of such a content (SHA-1 of it and a header; b'' for a big one)."""
        if size <= SMALL:
            chunks = [os.read(source, size + 1)]
            while len(chunks[-1]):  # up to the end, however long it has become
                chunks.append(os.read(source, _CHUNK))
            data = b"".join(chunks)
            digest, size = hashlib.sha256(data).hexdigest(), len(data)
            if not self._has(digest, executable, size):
                self._write(digest, executable, data, mtime_ns)
            return digest, size, git_name(data)
        digest, size = _digest(source)
        if not self._has(digest, executable, size):
            digest, size = self._copy(source, executable, mtime_ns)
        return digest, size, b""

    def put_data(self, data: bytes, executable: bool, mtime_ns: int) -> str:
        """Keep ``data``; its SHA-256 (hexadecimal)."""
        digest = hashlib.sha256(data).hexdigest()
        if not self._has(digest, executable, len(data)):
            self._write(digest, executable, data, mtime_ns)
        return digest

    def _has(self, digest: str, executable: bool, size: int) -> bool:
        try:
            return os.stat(self.path(digest, executable)).st_size == size
        except FileNotFoundError:
            return False

    def _folder(self, digest: str) -> str:
        folder = os.path.join(self.directory, digest[:2])
        if folder not in self._folders:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self._folders.add(folder)
        return folder

    def _open_new(self, folder: str) -> tuple[int, str]:
        # not tempfile: its random names cost more than writing a small file
        self._count += 1
        name = os.path.join(folder, f".new-{os.getpid()}-{id(self):x}-{self._count}")
        return os.open(
            name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        ), name

    def _write(self, digest: str, executable: bool, data: bytes, mtime_ns: int) -> None:
        out, name = self._open_new(self._folder(digest))
        try:
            try:
                _write_all(out, data)
                self._dress(out, executable, mtime_ns)
            finally:
                os.close(out)
            self._name(name, digest, executable)
        except BaseException:
            _forget(name)
            raise

    def _copy(self, source: int, executable: bool, mtime_ns: int) -> tuple[str, int]:
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        out, name = self._open_new(self.directory)
        sha, size = hashlib.sha256(), 0
        try:
            try:
                os.lseek(source, 0, os.SEEK_SET)
                while chunk := os.read(source, _CHUNK):
                    sha.update(chunk)
                    size += len(chunk)
                    _write_all(out, chunk)
                self._dress(out, executable, mtime_ns)
            finally:
                os.close(out)
            digest = sha.hexdigest()
            self._folder(digest)
            self._name(name, digest, executable)
        except BaseException:
            _forget(name)
            raise
        return digest, size

    @staticmethod
    def _dress(handle: int, executable: bool, mtime_ns: int) -> None:
        os.fchmod(handle, 0o755 if executable else 0o644)
        os.utime(handle, ns=(mtime_ns, mtime_ns))

    def _name(self, temporary: str, digest: str, executable: bool) -> None:
        final = self.path(digest, executable)
        os.replace(temporary, final)
        self._new.append(final)

    def settle(self) -> None:
        """Return when everything put so far would outlive a power cut."""
        new, self._new = self._new, []
        if len(new) > _SINGLE:
            os.sync()
            return
        for path in [*new, *{os.path.dirname(path) for path in new}]:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def sound(self, digest: str, executable: bool, size: int) -> bool:
        """Whether the content is there and is what its name says. One that is not is taken away, so that
        the next capture writes it again."""
        path = self.path(digest, executable)
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            self._doubt()
            return False
        try:
            good = os.fstat(handle).st_size == size and _digest(handle) == (digest, size)
        finally:
            os.close(handle)
        if not good:
            self._doubt()
            _forget(path)
        return good

    def _doubt(self) -> None:
        with contextlib.suppress(OSError):
            self.doubt()


def git_name(data: bytes) -> bytes:
    """What git calls such a content in a repository of SHA-1 names (its "blob")."""
    name = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
    name.update(data)
    return name.digest()


def _digest(handle: int) -> tuple[str, int]:
    os.lseek(handle, 0, os.SEEK_SET)
    sha, size = hashlib.sha256(), 0
    while chunk := os.read(handle, _CHUNK):
        sha.update(chunk)
        size += len(chunk)
    return sha.hexdigest(), size


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _forget(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
