"""Are the results at home the same as on the remote? By size and hash, file by file."""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from choline_tui.kernel.manifest import Entry

__all__ = ["differing"]


def _open_inside(base: Path, path: bytes) -> int | None:
    """A descriptor of a regular file below ``base``, reached without following any link; else None."""
    folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        *folders, name = path.split(b"/")
        for part in folders:
            deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = deeper
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    finally:
        os.close(folder)


def _same(base: Path, entry: Entry) -> bool:
    fd = _open_inside(base, entry.path)
    if fd is None:
        return False
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_size != entry.size:
        os.close(fd)  # a directory could not be opened as a file
        return False
    with os.fdopen(fd, "rb", buffering=0) as f:
        return hashlib.file_digest(f, "sha256").hexdigest() == entry.sha256


def differing(base: Path, manifest: Mapping[bytes, Entry]) -> list[bytes]:
    """Paths of the manifest that ``base`` does not hold the same, sorted. Reads every file: for a thread."""
    return sorted(path for path, entry in manifest.items() if not _same(base, entry))
