"""Volumes of process remotes: folders that outlive containers, seen in each that rents one.

A path such as ``/data`` lies below the container's home here (``~/data``), as all paths of a container do:
the rest of this computer is read-only there.
"""

import contextlib
import os
import posixpath
from pathlib import Path

from choline_tui.kernel.errors import RemoteError, UsageError

__all__ = ["inside", "mount_point"]

HOMES = ("root", "workspace")


def inside(path: str) -> list[str]:
    """The parts below the home of a path in a container. Raises ``UsageError`` for the home itself."""
    parts = [part for part in posixpath.normpath(f"/{path}").split("/") if part]
    if parts[:1] and parts[0] in HOMES:
        parts = parts[1:]
    if not parts or "\0" in path or parts[0] == ".ssh":
        raise UsageError(f"a volume cannot be mounted at {path[:60]!r}")
    return parts


def mount_point(home: Path, path: str) -> Path:
    """The folder in a home at which a volume shall be, made where it is missing.

    To be called while nothing of the container runs. What lies there was written by a stranger, so no link
    is followed: raises ``RemoteError`` when something else than a folder is in the way.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    fd = os.open(home, flags)
    try:
        for part in inside(path):
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=fd)
            deeper = os.open(part, flags, dir_fd=fd)
            os.close(fd)
            fd = deeper
    except OSError as error:
        raise RemoteError(f"no volume can be mounted at {path[:60]!r}: {error.strerror}") from None
    finally:
        os.close(fd)
    return home.joinpath(*inside(path))
