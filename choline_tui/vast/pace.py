"""How often each endpoint may be called: below the market's documented thresholds, first come first served.

The market counts per endpoint and identity and gives a minimum interval in seconds; a search has a limit
per minute as well. Where nothing is documented, one call a second.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from choline_tui.kernel.clock import Clock
from choline_tui.kernel.errors import RateLimited

__all__ = ["PACES", "UNPACED", "Pace", "Pacer"]

_MARGIN = 1.1
"""On every documented interval: what leaves here evenly may arrive closer together."""
_NOTHING = 1e-6
"""s; what floating point leaves over must not become a loop of empty sleeps"""


@dataclass(frozen=True)
class Pace:
    """At least ``interval`` s between calls, and at most ``calls`` in any ``period`` s (0: no such limit)."""

    interval: float
    calls: int = 0
    period: float = 0.0


PACES: dict[str, Pace] = {
    "search": Pace(0.5, calls=9, period=61.0),  # 10 a minute
    "rent": Pace(4.5 * _MARGIN),
    "listing": Pace(1.0 * _MARGIN),
    "instance": Pace(2.0 * _MARGIN),
    "state": Pace(1.0 * _MARGIN),  # start, stop, label
    "reboot": Pace(1.0 * _MARGIN),
    "bid": Pace(5.5 * _MARGIN),
    "destroy": Pace(3.0 * _MARGIN),
    "logs": Pace(1.0 * _MARGIN),
    "account": Pace(1.0 * _MARGIN),
    "ssh": Pace(1.0 * _MARGIN),
    "attach": Pace(1.0 * _MARGIN),
    "gpu names": Pace(1.0 * _MARGIN),
    "keys": Pace(1.0 * _MARGIN),
    "charges": Pace(1.0 * _MARGIN),
    "copy": Pace(3.5 * _MARGIN),
}

UNPACED: dict[str, Pace] = {name: Pace(0.0) for name in PACES}
"""For a rehearsal market without rate limits."""


class Pacer:
    """Waits on ``clock`` until an endpoint's turn has come. Waiting calls go in the order they came;
    one that is cancelled while it waits takes no turn away."""

    def __init__(self, clock: Clock, paces: Mapping[str, Pace] = PACES) -> None:
        self._clock = clock
        self._paces = paces
        self._locks: dict[str, asyncio.Lock] = {}
        self._calls: dict[str, deque[float]] = {}
        self._blocks: dict[str, tuple[RateLimited, float]] = {}
        """the market's answer, and when it is over by the steady clock"""

    async def turn(self, endpoint: str, patience: float = 0.0, *, take: bool = True) -> None:
        """Return when ``endpoint`` may be called. While the market has shut it, wait up to ``patience`` s,
        else raise the RateLimited (or QuotaSpent) it was shut with. ``take`` False: nothing is called yet,
        and the turn stays free."""
        lock = self._locks.setdefault(endpoint, asyncio.Lock())
        async with lock:
            while True:
                shut = self._shut_for(endpoint)
                if shut > patience:
                    raise self._again(self._blocks[endpoint][0])
                wait = max(shut, self._wait(endpoint))
                if wait <= _NOTHING:
                    break
                await self._clock.sleep(wait)
            if take:
                self._calls.setdefault(endpoint, deque(maxlen=128)).append(self._clock.monotonic())

    def shut(self, endpoint: str, error: RateLimited) -> None:
        """The market answered 429: nothing more to ``endpoint`` until ``error.details['until']``."""
        left = float(error.details["until"]) - self._clock.time()
        self._blocks[endpoint] = (error, self._clock.monotonic() + left)

    def _shut_for(self, endpoint: str) -> float:
        """s until the market takes calls again, by whichever clock says so first: the wall clock may be
        set back, the steady one stands still while the computer sleeps."""
        if endpoint not in self._blocks:
            return 0.0
        error, steady = self._blocks[endpoint]
        return min(float(error.details["until"]) - self._clock.time(), steady - self._clock.monotonic())

    @staticmethod
    def _again(error: RateLimited) -> RateLimited:
        return type(error)(error.message, hint=error.hint, **error.details)

    def _wait(self, endpoint: str) -> float:
        pace = self._paces.get(endpoint, Pace(_MARGIN))
        calls = self._calls.get(endpoint)
        if not calls:
            return 0.0
        now = self._clock.monotonic()
        wait = calls[-1] + pace.interval - now
        if pace.calls and len(calls) >= pace.calls:
            wait = max(wait, calls[-pace.calls] + pace.period - now)
        return wait if wait < inf else 0.0
