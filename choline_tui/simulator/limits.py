"""The documented pace of the API: a least interval between calls, per endpoint and caller."""

from choline_tui.kernel.clock import Clock
from choline_tui.simulator.spoil import quota_response
from choline_tui.simulator.wire import Refusal, Response, json_response

__all__ = ["THRESHOLDS", "Limits"]

THRESHOLDS = {
    "ask.create": 4.5,
    "ask.bulk": 4.5,
    "ask.launch": 5.0,
    "instance.show": 2.0,
    "instance.list": 1.0,
    "instance.filters": 1.0,
    "instance.state": 1.0,
    "instance.start": 2.0,
    "instance.destroy": 3.0,
    "instance.reboot": 1.0,
    "instance.recycle": 1.0,
    "instance.bid_price": 5.5,
    "instance.prepay": 2.0,
    "instance.balance": 3.0,
    "instance.command": 1.5,
    "instance.ssh": 1.0,
    "instance.ssh_detach": 2.0,
    "copy.direct": 3.5,
    "ssh.list": 1.0,
    "ssh.write": 1.0,
    "secret.write": 3.0,
    "secret.list": 5.0,
    "apikey.list": 1.0,
    "apikey.write": 2.0,
    "charges": 1.0,
    "invoices": 3.0,
    "cloud": 2.9,
    "ipaddrs": 2.9,
    "volume.list": 5.5,
    "volume.write": 5.5,
    "volume.search": 5.5,
    "template.list": 3.0,
    "metrics": 3.0,
    "report": 1.2,
}
"""seconds, as the API's description documents them"""
PENALTIES = {"ask.create": 12.0}
"""seconds that whoever was too quick has to wait, where they are more"""
SEARCHES, SEARCH_PERIOD_S = 10, 60.0
"""searches are counted per period instead"""
DAY_S = 86_400.0
MAX_CALLERS = 10_000

_OFTEN = "API requests too frequent"


def _body(form: int, threshold: float) -> Response:
    """The refusals of the market's several layers."""
    said = f"endpoint threshold={threshold:.1f}"
    if form == 0:
        return json_response({"detail": f"{_OFTEN} {said}"}, 429)
    if form == 1:
        return Response(429, {"content-type": "text/plain; charset=utf-8"}, _OFTEN.encode())
    if form == 2:
        return Response(429, {"content-type": "text/plain; charset=utf-8"}, f"{_OFTEN}: {said}".encode())
    body = {"success": False, "error": "rate_limit_exceeded", "msg": f"{_OFTEN}: {said}"}
    return json_response(body, 429)


class Limits:
    """``paced``: keep the documented intervals. ``search_quota``: searches a caller has a day (UTC)."""

    def __init__(self, clock: Clock, paced: bool = True, search_quota: int | None = None) -> None:
        self._clock = clock
        self._paced = paced
        self._quota = search_quota
        self._calls: dict[tuple[str, str], list[float]] = {}
        self._until: dict[tuple[str, str], float] = {}
        self._searches: dict[str, tuple[int, int]] = {}
        self._refused = 0

    def check(self, route: str, caller: str) -> None:
        """Count a call. Raises ``Refusal`` (429) when it comes too soon; a refused call is not counted."""
        if self._paced:
            self._check_pace(route, caller)
        if self._quota is not None and route == "search":
            now = self._clock.time()
            day, used = self._searches.get(caller, (0, 0))
            used = used if day == now // DAY_S else 0
            if used >= self._quota:
                raise Refusal(quota_response(now))
            self._searches[caller] = (int(now // DAY_S), used + 1)

    def _check_pace(self, route: str, caller: str) -> None:
        count, period = (SEARCHES, SEARCH_PERIOD_S) if route == "search" else (1, THRESHOLDS.get(route, 0.0))
        if not period:
            return
        now = self._clock.monotonic()
        recent = [t for t in self._calls.get((route, caller), ()) if now - t < period]
        if len(recent) >= count or now < self._until.get((route, caller), 0.0):
            form, self._refused = self._refused % 4, self._refused + 1
            if route in PENALTIES and recent:
                self._until[route, caller] = recent[-1] + PENALTIES[route]
            raise Refusal(_body(form, period / count))
        if len(self._calls) > MAX_CALLERS:
            self._calls.clear()
            self._until.clear()
        self._calls[route, caller] = [*recent, now]
