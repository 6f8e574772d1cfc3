"""Result files that have come to rest: a checkpoint that was written and does not change any more.

Told by looks at all files, seconds apart: a file counts when it was seen changed, and then seen the same
for long enough on this machine's own clock. What is remembered of a file is two numbers.
"""

import os
from typing import Dict, Iterable, Optional, Tuple

from choline_tui.kernel.unfinished import is_temporary

__all__ = ["MAX_WATCHED", "Fresh"]

MAX_WATCHED = 100_000
"""Files that are watched; of more, only the regular syncs take notice."""
BEFORE_S = 60.0
"""What is older than this at the first look was there before the job."""


class Fresh:
    """``count`` grows by one with every look that finds files come to rest."""

    def __init__(self, settle_s: float, limit: int = MAX_WATCHED) -> None:
        self.count = 0
        self._settle_s = settle_s
        self._limit = limit
        self._resting: Optional[Dict[int, int]] = None
        self._moving: Dict[int, Tuple[int, float]] = {}

    def look(self, files: Iterable[Tuple[bytes, os.stat_result]], now: float, wall: float) -> int:
        """The bytes of all ``files``. ``now``: s that never go back; ``wall``: epoch s."""
        before = self._resting
        resting: Dict[int, int] = {}
        moving: Dict[int, Tuple[int, float]] = {}
        total = 0
        rested = False
        for path, info in files:
            total += info.st_size
            if len(resting) + len(moving) >= self._limit or is_temporary(path):
                continue
            key = hash(path)
            # the inode tells a file that was renamed into place with the time of another
            looks = hash((info.st_size, info.st_mtime_ns, info.st_ino))
            was = self._moving.get(key)
            if was is not None and was[0] == looks:
                if now - was[1] >= self._settle_s:
                    resting[key] = looks
                    rested = True
                else:
                    moving[key] = was
            elif was is None and (
                wall - info.st_mtime > BEFORE_S if before is None else before.get(key) == looks
            ):
                resting[key] = looks
            else:
                moving[key] = (looks, now)
        self._resting, self._moving = resting, moving
        self.count += rested
        return total
