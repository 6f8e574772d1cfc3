"""Counting a transfer and telling about it, at most ten times a second."""

from choline_tui.kernel.clock import Clock, SystemClock
from choline_tui.kernel.session import OnProgress, Progress

__all__ = ["Meter"]


class Meter:
    def __init__(self, tell: OnProgress | None, clock: Clock | None = None) -> None:
        self._tell = tell
        self._clock: Clock = clock or SystemClock()
        self._started = self._clock.monotonic()
        self._told = -1.0
        self.bytes_done = 0
        self.bytes_total = 0
        self.files_done = 0
        self.files_total = 0
        self.moved = 0
        """bytes that really went over the line; what was there already does not count for the speed"""

    @property
    def seconds(self) -> float:
        return self._clock.monotonic() - self._started

    def tell(self, *, last: bool = False) -> None:
        now = self._clock.monotonic()
        if self._tell is None or (not last and now - self._told < 0.1):
            return
        self._told = now
        left: float | None = None
        remaining = self.bytes_total - self.bytes_done
        if last or (self.bytes_total and remaining <= 0):
            left = 0.0
        elif self.moved and self.seconds > 0.2:
            left = remaining / (self.moved / self.seconds)
        done = min(self.bytes_done, self.bytes_total)
        self._tell(Progress(done, self.bytes_total, self.files_done, self.files_total, left))

    def finish(self) -> None:
        self.bytes_done, self.files_done = self.bytes_total, self.files_total
        self.tell(last=True)
