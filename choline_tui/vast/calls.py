"""Calls to the market: paced, read, and (only where it is harmless) tried again."""

import random
from collections.abc import Callable, Mapping
from typing import Any

from choline_tui.kernel.clock import Clock
from choline_tui.kernel.errors import MarketDown, QuotaSpent, RateLimited, UnknownOutcome, VastError
from choline_tui.kernel.secret import Secret
from choline_tui.vast.answers import MALFORMED, parse, refusal
from choline_tui.vast.pace import Pacer
from choline_tui.vast.wire import Lost, Reply, Wire

__all__ = ["BUDGET_S", "TRIES", "Calls"]

TRIES = 4
BUDGET_S = 30.0
"""s that one call may spend waiting between its tries"""
BACKOFF_S = 1.0
"""s before the second try; doubles"""
AFTER_429_S = 10.0
"""s to leave an endpoint alone when a 429 does not say how long"""
LONGEST_S = 300.0
"""s that a 429 can shut anything but the search: whatever it says, who may not look cannot see what bills"""


class Calls:
    """Sends on a ``Wire`` at a ``Pacer``'s pace and turns answers into JSON or errors of ours."""

    def __init__(
        self,
        wire: Wire,
        pacer: Pacer,
        clock: Clock,
        key: Secret | None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._wire = wire
        self._pacer = pacer
        self._clock = clock
        self._key = key
        self._jitter = jitter

    @property
    def hidden(self) -> tuple[str, ...]:
        return () if self._key is None else (self._key.reveal(),)

    async def repeat(
        self,
        endpoint: str,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        auth: bool = True,
        read: Callable[[Reply], Any] | None = None,
        count: Callable[[], object] = lambda: None,
    ) -> Any:
        """A read, or a write that may be done twice: tried again after lost connections, 502 to 504, cut
        answers and short 429s, up to ``TRIES`` times and ``BUDGET_S`` s of waiting. ``read`` makes a
        result of a successful reply instead of its JSON. ``count`` is called before each request, which is
        not made when it raises. Raises VastError or NotFound."""
        left = BUDGET_S
        for again in range(TRIES - 1, -1, -1):
            try:
                await self._pacer.turn(endpoint, patience=left)
                count()
                reply = await self._send(method, path, body, params, auth, follow=method in ("GET", "POST"))
                return self.answer(endpoint, reply, read=read, keyed=auth)
            except QuotaSpent:
                raise
            except RateLimited as error:
                wait = max(0.0, float(error.details["until"]) - self._clock.time())
                if not again or wait > left:
                    raise
            except MarketDown as error:
                wait = BACKOFF_S * 2 ** (TRIES - 1 - again) * (1 + 0.25 * self._jitter())
                if not again or wait > left or error.details.get("status") == 500:
                    raise
            left -= wait
            await self._clock.sleep(wait)
        raise AssertionError("unreachable")

    async def once(self, endpoint: str, method: str, path: str, *, body: Any = None, what: str) -> Any:
        """A write that must not be done twice: sent once. Raises UnknownOutcome when it may have been
        carried out, MarketDown (``details['sent']`` False) when it certainly was not, or the refusal."""
        await self._pacer.turn(endpoint)
        try:
            reply = await self._send(method, path, body, None, True, follow=False)
            return self.answer(endpoint, reply)
        except MarketDown as error:
            if error.details.get("sent") is False:
                raise
            raise unclear(what, error) from None

    async def turn(self, endpoint: str) -> None:
        """Wait until ``endpoint`` may be called at once; its turn is not taken. Raises RateLimited."""
        await self._pacer.turn(endpoint, take=False)

    async def raw(self, endpoint: str, method: str, path: str, *, body: Any) -> Reply:
        """One request, its reply as it came. Raises Lost; RateLimited when the endpoint is shut."""
        await self._pacer.turn(endpoint)
        return await self._wire.send(method, path, body=body)

    async def _send(
        self, method: str, path: str, body: Any, params: Mapping[str, str] | None, auth: bool, follow: bool
    ) -> Reply:
        try:
            return await self._wire.send(method, path, body=body, params=params, auth=auth, follow=follow)
        except Lost as error:
            raise MarketDown(f"the market cannot be reached: {error.what}", sent=error.sent) from None

    def answer(
        self,
        endpoint: str,
        reply: Reply,
        *,
        read: Callable[[Reply], Any] | None = None,
        keyed: bool = True,
        hide: tuple[str, ...] = (),
    ) -> Any:
        """A reply's JSON (or what ``read`` makes of it); raises what a failure stands for, and remembers
        a 429 for the endpoint's next calls."""
        if read is not None and reply.status < 300:
            try:
                return read(reply)
            except MarketDown:
                # a refusal inside a 200 says more than "not what was asked for"
                self._refuse(endpoint, reply, parse(reply), keyed, hide)
                raise
        body = parse(reply)
        self._refuse(endpoint, reply, body, keyed, hide)
        if body is MALFORMED:
            raise MarketDown("the market's answer is cut or malformed", status=reply.status)
        return body

    def _refuse(self, endpoint: str, reply: Reply, body: Any, keyed: bool, hide: tuple[str, ...]) -> None:
        error = refusal(
            reply,
            body,
            now=self._clock.time(),
            wait=AFTER_429_S,
            hide=(*self.hidden, *hide),
            keyed=keyed and self._key is not None,
        )
        if isinstance(error, RateLimited):
            if endpoint != "search":
                error.details["until"] = min(float(error.details["until"]), self._clock.time() + LONGEST_S)
            self._pacer.shut(endpoint, error)
        if error is not None:
            raise error


def unclear(what: str, error: VastError) -> UnknownOutcome:
    details = {name: value for name, value in error.details.items() if name in ("status", "error")}
    return UnknownOutcome(
        f"{what}: it is not known whether the market did it ({error.message})",
        hint="choline looks at the listing before it acts again.",
        **details,
    )
