"""How much room is left on the disk that a job writes to: warned of early, and full before it is.

The last bytes are never given to the job: a checkpoint that fails half-way loses what it replaced, one that
waits does not.
"""

import os
from typing import Callable, Optional, Tuple

from choline_tui.kernel.protocol import DISK_FULL, DISK_LOW

__all__ = ["MOST_RESERVED", "Room", "space"]

MOST_RESERVED = 512 << 20
"""bytes kept free at most; on a small disk it is a fiftieth of it"""
LOW = 4
"""times the reserve is little"""


def space(path: str) -> Optional[Tuple[int, int]]:
    """(bytes free for this user, bytes in all) of the file system of ``path``; None: it cannot be told."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


class Room:
    """``state`` is '', low or full after each ``look``; ``free``: bytes. What was full stays so until there
    is twice the reserve, so that a job does not go on for one more block."""

    def __init__(self, path: str, look_at: Callable[[str], Optional[Tuple[int, int]]] = space) -> None:
        self._path = path
        self._look_at = look_at
        self.state = ""
        self.free = 0

    def look(self) -> str:
        found = self._look_at(self._path)
        if found is None:
            return self.state
        self.free, whole = found
        reserve = min(MOST_RESERVED, whole // 50)
        if self.free < reserve or (self.state == DISK_FULL and self.free < 2 * reserve):
            self.state = DISK_FULL
        elif self.free < LOW * reserve or (self.state and self.free < (LOW + 1) * reserve):
            self.state = DISK_LOW
        else:
            self.state = ""
        return self.state
