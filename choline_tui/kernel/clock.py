"""Time as something that is handed in, never looked up.

All durations are seconds; ``time()`` is epoch seconds (UTC). Production code takes a ``Clock`` in its
constructor. Tests and the rehearsal market's modelled remotes run on a virtual one.
"""

import asyncio
import time as _time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    def time(self) -> float:
        """Epoch seconds; may jump (sleep, NTP)."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for intervals and pacing."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The computer's own clock."""

    def time(self) -> float:
        return _time.time()

    def monotonic(self) -> float:
        return _time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
