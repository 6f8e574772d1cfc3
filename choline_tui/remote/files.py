"""Files written whole or not at all, and read with a bound."""

import errno
import fcntl
import json
import os
import time
from typing import Any, Dict, Optional

__all__ = ["append_line", "lock", "read_bytes", "read_json", "sync_dir", "write_atomic", "write_json"]

MAX_JSON = 8 << 20


def sync_dir(path: str) -> None:
    """Make a rename in ``path`` survive a power cut; file systems that cannot are left alone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError:
        pass
    finally:
        os.close(fd)


def write_atomic(path: str, data: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
    """Write by a temporary file beside ``path`` and a rename. Raises ``OSError``."""
    temporary = "%s.%d.tmp" % (path, os.getpid())
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(data)
            f.flush()
            if sync:
                os.fsync(f.fileno())
        os.rename(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise
    if sync:
        sync_dir(os.path.dirname(path))


def write_json(path: str, data: Any, *, sync: bool = True) -> None:
    write_atomic(path, json.dumps(data).encode("ascii"), sync=sync)


def read_bytes(path: str, limit: int = MAX_JSON) -> Optional[bytes]:
    """Up to ``limit`` bytes; None when there is no such file or it cannot be read."""
    try:
        with open(path, "rb") as f:
            return f.read(limit)
    except OSError:
        return None


def read_json(path: str) -> Optional[Dict[str, Any]]:
    """An object; None when there is none, or none that is whole."""
    data = read_bytes(path)
    if data is None:
        return None
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def lock(path: str, wait: float = 0.0) -> Optional[int]:
    """Take the file's lock: the open descriptor that holds it, None when it stays taken for ``wait`` s.

    The descriptor is not inherited by programs started later, so the lock ends with this process.
    Others look whether a lock is held by taking it for a moment; who means to keep it must wait for
    longer than a moment.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except OSError as e:
            if e.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                os.close(fd)
                raise
        if time.monotonic() >= until:
            os.close(fd)
            return None
        time.sleep(0.003)


def append_line(path: str, line: str, limit: int = 1 << 20) -> None:
    """Add to a small log; when it has grown past ``limit`` bytes the old half is kept as ``.1``."""
    data = line.encode("utf-8", "backslashreplace") + b"\n"
    try:
        if os.path.exists(path) and os.path.getsize(path) > limit:
            os.replace(path, path + ".1")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        return
    try:
        os.write(fd, data)
    except OSError:
        pass
    finally:
        os.close(fd)
