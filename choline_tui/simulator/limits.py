"""The documented pace of the API: a least interval between calls, per endpoint and caller."""

from choline_tui.kernel.clock import Clock
from choline_tui.simulator.wire import Refusal, json_response

__all__ = ["THRESHOLDS", "Limits"]

THRESHOLDS = {
    "ask.create": 4.5,
    "ask.bulk": 4.5,
    "instance.show": 2.0,
    "instance.list": 1.0,
    "instance.filters": 1.0,
    "instance.state": 1.0,
    "instance.destroy": 3.0,
    "instance.reboot": 1.0,
    "instance.bid_price": 5.5,
    "instance.ssh": 1.0,
    "instance.ssh_detach": 2.0,
    "ssh.list": 1.0,
    "ssh.write": 1.0,
    "apikey.list": 1.0,
    "apikey.write": 2.0,
}
"""seconds, as the API's description documents them"""
SEARCHES, SEARCH_PERIOD_S = 10, 60.0
"""searches are counted per period instead"""
MAX_CALLERS = 10_000


class Limits:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: dict[tuple[str, str], list[float]] = {}

    def check(self, route: str, caller: str) -> None:
        """Count a call. Raises ``Refusal`` (429) when it comes too soon; a refused call is not counted."""
        count, period = (SEARCHES, SEARCH_PERIOD_S) if route == "search" else (1, THRESHOLDS.get(route, 0.0))
        if not period:
            return
        now = self._clock.monotonic()
        recent = [t for t in self._calls.get((route, caller), ()) if now - t < period]
        if len(recent) >= count:
            detail = f"API requests too frequent endpoint threshold={period / count:.1f}"
            raise Refusal(json_response({"detail": detail}, 429))
        if len(self._calls) > MAX_CALLERS:
            self._calls.clear()
        self._calls[route, caller] = [*recent, now]
