"""Files of containers, handled with care: what lies in a container's home was written by a stranger."""

import contextlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from choline_tui.kernel.errors import RemoteError

__all__ = ["append", "fill", "host_key", "remove", "tail"]


def host_key(file: Path) -> str:
    """Make an Ed25519 host key; the public half as an OpenSSH line."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "wb") as f:
        f.write(private)
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def append(file: Path) -> int:
    """Open a log for appending; a file descriptor for the caller to close."""
    return os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)


FILLABLE = 2 << 30
"""bytes; a larger file system is somebody's real disk"""


def fill(ballast: Path, full: bool) -> None:
    """Take all that is left of a small file system, or give it back. Raises ``RemoteError`` for others."""
    if not full:
        ballast.unlink(missing_ok=True)
        return
    facts = os.statvfs(ballast.parent)
    if facts.f_blocks * facts.f_frsize > FILLABLE:
        raise RemoteError(
            "only a small file system can be filled on purpose",
            hint="Keep the rehearsal's disks (--root) on a tmpfs of less than 2 GiB.",
        )
    with open(ballast, "ab") as f:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(f.fileno(), bytes(size))


def tail(file: Path, limit: int) -> str:
    """The last ``limit`` bytes of a file as text; '' when there is none."""
    try:
        with open(file, "rb") as f:
            f.seek(max(0, os.fstat(f.fileno()).st_size - limit))
            return f.read(limit).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def remove(directory: Path) -> None:
    """Remove a tree that strangers wrote: no link is followed, unreadable folders are opened first."""

    def again(function: Callable[..., Any], path: str, info: Any) -> None:
        if isinstance(info[1], FileNotFoundError):
            return
        for p in (Path(path).parent, Path(path)):
            with contextlib.suppress(OSError):
                if stat.S_ISDIR(p.lstat().st_mode):
                    p.chmod(0o700)
        if function in (os.open, os.scandir, os.listdir):
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                function(path)

    shutil.rmtree(directory, onerror=again)
