"""An asyncio event loop whose time jumps: when nothing can run, the next timer is due at once.

Everything that waits on the loop's time (``asyncio.sleep``, ``asyncio.timeout``, ``loop.call_later``)
takes no real time. Nothing on such a loop may wait for a socket or a process: with no timer and nothing
ready the loop raises ``Stuck`` instead of hanging.
"""

import asyncio
import math
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["Stuck", "VirtualClock", "VirtualLoop", "run_virtual"]

T = TypeVar("T")

START = 1_795_305_600.0
"""Epoch seconds at which virtual time begins, unless told otherwise (2026-11-22 00:00 UTC)."""

RESOLUTION = 1e-6
"""Seconds; timers closer together than this may run at once."""


class Stuck(RuntimeError):
    """Every task waits and no timer is set: something forgot to wake something else."""


class _JumpSelector(selectors.SelectSelector):
    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            return []  # something is ready: asking the system as well costs more than a turn of the loop
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise Stuck("every task waits and no timer is set")
        self.loop.advance(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        selector = _JumpSelector()
        super().__init__(selector)
        selector.loop = self
        self._now = 0.0
        # asyncio runs timers due within this; its own 1 ns is lost in a float after some months
        self._clock_resolution = RESOLUTION

    def time(self) -> float:
        return getattr(self, "_now", 0.0)

    def advance(self, seconds: float) -> None:
        self._now += max(seconds, RESOLUTION)

    def next_timer(self) -> float:
        """When (in the loop's time) something will run next: now when something is ready, else as the next
        timer is due, infinity without one. A timer that was cancelled may still count: it can be too early,
        never too late."""
        if self._ready:  # type: ignore[attr-defined]
            return self._now
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return timers[0].when() if timers else math.inf


class VirtualClock:
    """``Clock`` over a ``VirtualLoop``; ``jump`` moves wall time alone (sleep, NTP) and not timers."""

    def __init__(self, loop: VirtualLoop, start: float = START) -> None:
        self._loop = loop
        self._offset = start

    def time(self) -> float:
        return self._offset + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def next_timer(self) -> float:
        """When, by ``monotonic``, something will run next: ``VirtualLoop.next_timer``."""
        return self._loop.next_timer()

    def jump(self, seconds: float) -> None:
        self._offset += seconds


def run_virtual(main: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run ``main`` on ``loop`` to its end, cancel what is left, and return its result."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()
