"""The bill, to the second: what every contract has cost on every day (UTC), and what was paid in.

As documented: the GPUs bill only while the container runs, the disk for as long as it exists and its host
is online, and every byte in or out in any state.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from choline_tui.simulator.machines import HOUR

__all__ = ["DAY_S", "Bill", "Day", "Deposit"]

DAY_S = 86_400.0
GB = 1e9
MAX_SPLIT = 4000
"""days in one piece that are told apart; more are booked on the last"""


@dataclass
class Day:
    """One contract on one day. Amounts in $; ``start`` and ``end`` are the epoch s it billed in."""

    start: float
    end: float
    gpu: float = 0.0
    disk: float = 0.0
    up: float = 0.0
    """bytes sent by the instance"""
    down: float = 0.0
    gpu_s: float = 0.0
    disk_s: float = 0.0
    up_bytes: float = 0.0
    down_bytes: float = 0.0

    @property
    def total(self) -> float:
        return self.gpu + self.disk + self.up + self.down


@dataclass(frozen=True)
class Deposit:
    at: float
    amount: float
    description: str = "credit"


@dataclass
class Bill:
    """``total`` is what all days together cost, $."""

    total: float = 0.0
    days: dict[int, Day] = field(default_factory=dict)

    def book(self, start: float, end: float, gpu_price: float, disk_price: float) -> None:
        """Time from ``start`` to ``end`` (epoch s) at so many $/h; 0 for what does not bill."""
        pieces = 0
        while start < end:
            pieces += 1
            midnight = (math.floor(start / DAY_S) + 1) * DAY_S
            until = end if pieces > MAX_SPLIT else min(end, midnight)
            seconds = until - start
            day = self._day(start, until)
            if gpu_price:
                day.gpu_s += seconds
                day.gpu += gpu_price * seconds / HOUR
            if disk_price:
                day.disk_s += seconds
                day.disk += disk_price * seconds / HOUR
            self.total += (gpu_price + disk_price) * seconds / HOUR
            start = until

    def book_bytes(self, now: float, up: float, down: float, up_price: float, down_price: float) -> None:
        """Bytes at so many $/GB."""
        if up <= 0 and down <= 0:
            return
        day = self._day(now, now)
        day.up_bytes += up
        day.down_bytes += down
        day.up += up / GB * up_price
        day.down += down / GB * down_price
        self.total += up / GB * up_price + down / GB * down_price

    def between(self, first: float, last: float) -> Iterator[Day]:
        """The days that begin in a stretch of epoch s, both ends included."""
        for number, day in sorted(self.days.items()):
            if first <= number * DAY_S <= last:
                yield day

    def _day(self, start: float, end: float) -> Day:
        day = self.days.setdefault(math.floor(start / DAY_S), Day(start, end))
        day.end = max(day.end, end)
        return day
