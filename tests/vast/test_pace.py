"""Pacing and repeating, on virtual time."""

import asyncio
import math
from typing import Any

import httpx
import pytest

from choline_tui.kernel.errors import (
    BadKey,
    BadRequest,
    MarketDown,
    MissingScope,
    NotFound,
    QuotaSpent,
    RateLimited,
    UnknownOutcome,
)
from choline_tui.model.query import parse_query
from choline_tui.simulator.virtual import START, VirtualClock, VirtualLoop, run_virtual
from choline_tui.vast.pace import PACES, Pace, Pacer
from tests.vast.fake import Market

DOCUMENTED = {
    "rent": 4.5, "instance": 2.0, "listing": 1.0, "state": 1.0, "destroy": 3.0, "reboot": 1.0, "bid": 5.5,
    "ssh": 1.0, "attach": 1.0, "charges": 1.0, "keys": 1.0, "copy": 3.5,
}  # fmt: skip
OK = {"success": True}
OFFERS = {"offers": [{"id": 1, "disk_space": 100}]}


@pytest.mark.parametrize(("endpoint", "threshold"), DOCUMENTED.items())
def test_every_endpoint_is_below_its_documented_threshold(endpoint: str, threshold: float) -> None:
    assert PACES[endpoint].interval > threshold


def paced(story: Any, paces: dict[str, Pace]) -> list[tuple[str, float]]:
    loop = VirtualLoop()
    clock = VirtualClock(loop)
    log: list[tuple[str, float]] = []
    pacer = Pacer(clock, paces)

    async def call(name: str, endpoint: str = "a") -> None:
        await pacer.turn(endpoint)
        log.append((name, round(clock.monotonic(), 3)))

    run_virtual(story(call, pacer, clock), loop)
    return log


def test_calls_keep_their_distance_and_their_order() -> None:
    async def story(call: Any, *_: Any) -> None:
        await asyncio.gather(*(call(str(n)) for n in range(4)), call("other", "b"))

    log = paced(story, {"a": Pace(2.0), "b": Pace(2.0)})
    assert [entry for entry in log if entry[0] != "other"] == [("0", 0.0), ("1", 2.0), ("2", 4.0), ("3", 6.0)]
    assert ("other", 0.0) in log


def test_a_period_holds_so_many_calls_wherever_it_begins() -> None:
    async def story(call: Any, *_: Any) -> None:
        await asyncio.gather(*(call(str(n)) for n in range(25)))

    times = [at for _, at in paced(story, {"a": Pace(0.5, 9, 61.0)})]
    for start in times:
        assert sum(1 for at in times if start <= at < start + 60) <= 9


def test_who_gives_up_waiting_takes_no_turn_away() -> None:
    async def story(call: Any, pacer: Any, clock: Any) -> None:
        await call("first")
        gone = asyncio.create_task(call("gone"))
        last = asyncio.create_task(call("last"))
        await clock.sleep(1.0)
        gone.cancel()
        await last

    assert paced(story, {"a": Pace(2.0)}) == [("first", 0.0), ("last", 2.0)]


def test_a_block_that_is_over_but_for_rounding_is_over() -> None:
    """Found by life 11296: it slept for 6e-17 s, which moves no clock, for ever."""
    loop = VirtualLoop()

    class Counting(VirtualClock):
        sleeps = 0

        async def sleep(self, seconds: float) -> None:
            self.sleeps += 1
            assert self.sleeps < 10, "it sleeps and sleeps"
            await super().sleep(seconds)

    clock = Counting(loop)
    pacer = Pacer(clock, {})

    async def story() -> None:
        await asyncio.sleep(0.3)
        shut = RateLimited("slow down", until=clock.time() + 60)
        pacer._blocks["a"] = (shut, math.nextafter(clock.monotonic(), math.inf))
        await pacer.turn("a", patience=1.0)

    run_virtual(story(), loop)
    assert clock.sleeps == 0


def test_a_search_burst_stays_under_ten_a_minute() -> None:
    market = Market(OFFERS)
    query = parse_query("")

    async def story(client: Any) -> None:
        await asyncio.gather(*(client.search(query) for _ in range(21)))

    market.live(story)
    for start in market.times:
        assert sum(1 for at in market.times if start <= at < start + 60) < 10


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
        httpx.RemoteProtocolError("cut"),
        httpx.Response(502, text="<html>"),
        httpx.Response(503),
        httpx.Response(504),
        httpx.Response(200, text='{"gpu_na'),
        httpx.Response(429, text="API requests too frequent: endpoint threshold=2.0"),
        httpx.Response(429, json={"success": False, "error": "rate_limit_exceeded", "msg": "slow"}),
        httpx.Response(429, json={"detail": "x"}, headers={"retry-after": "3"}),
    ],
    ids=str,
)
def test_a_read_is_tried_again_after_what_passes(failure: Any) -> None:
    market = Market(failure, failure, {"gpu_names": ["RTX 4090"]})
    assert market.live(lambda client: client.gpu_names()) == ("RTX 4090",)
    assert len(market.asked) == 3
    assert market.times[1] >= 1.0 and market.times[2] >= 3.0


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx.ConnectError("refused"), MarketDown),
        (httpx.Response(503), MarketDown),
        (httpx.Response(429, json={"retry_after": 8}), RateLimited),
    ],
)
def test_trying_again_has_an_end(failure: Any, kind: type[Exception]) -> None:
    market = Market(failure)
    with pytest.raises(kind):
        market.live(lambda client: client.gpu_names())
    assert 1 < len(market.asked) <= 4
    assert market.clock.monotonic() <= 45


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx.Response(500, text="broken"), MarketDown),
        (httpx.Response(400, json={"success": False, "msg": "no"}), BadRequest),
        (httpx.Response(404, json={"error": "auth_error", "msg": "Invalid user key"}), BadKey),
        (httpx.Response(401, json={"msg": "Invalid user key"}), BadKey),
        (httpx.Response(404, json={"msg": "Session expired. Please log in again."}), BadKey),
        (httpx.Response(403, json={"msg": "This action requires login."}), BadKey),
        (httpx.Response(403, json={"msg": "forbidden"}), MissingScope),
        (httpx.Response(429, json={"error": "x"}, headers={"retry-after": "300"}), RateLimited),
    ],
)
def test_what_does_not_pass_is_not_tried_again(failure: Any, kind: type[Exception]) -> None:
    market = Market(failure)
    with pytest.raises(kind):
        market.live(lambda client: client.account())
    assert len(market.asked) == 1


def test_a_spent_quota_shuts_searches_until_its_reset_and_nothing_else() -> None:
    reset = START + 7200
    spent = httpx.Response(
        429, json={"error": "search_quota_exceeded"}, headers={"x-ratelimit-reset": str(int(reset))}
    )
    market = Market(spent, {"gpu_names": []}, OFFERS)
    query = parse_query("")

    async def story(client: Any) -> None:
        for _ in range(3):
            with pytest.raises(QuotaSpent) as caught:
                await client.search(query)
            assert caught.value.details["until"] == reset
        assert len(market.asked) == 1
        await client.gpu_names()
        await market.clock.sleep(7200)
        assert len((await client.search(query)).offers) == 1

    market.live(story)


def test_a_quota_without_a_header_is_spent_until_midnight_utc() -> None:
    market = Market(httpx.Response(429, json={"error": "search_quota_exceeded"}))

    async def story(client: Any) -> None:
        await market.clock.sleep(3600)
        with pytest.raises(QuotaSpent) as caught:
            await client.search(parse_query(""))
        assert caught.value.details["until"] == START + 86400

    market.live(story)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "40"}, "x", 40),
        ({"retry-after": "Sun, 22 Nov 2026 00:01:40 GMT"}, "x", 100),
        ({"retry-after": "nan"}, "x", 10),
        ({"retry-after": "soon"}, "x", 10),
        ({"retry-after": "9e99"}, "x", 300),  # of what is no search: who may not look sees no bill
        ({"x-ratelimit-reset": str(START + 50)}, "x", 50),
        ({}, '{"retry_after": 77}', 77),
        ({}, "API requests too frequent: endpoint threshold=100.0", 150),
    ],
)
def test_how_long_a_429_lasts(headers: dict[str, str], body: str, seconds: float) -> None:
    market = Market(httpx.Response(429, headers=headers, text=body))

    async def story(client: Any) -> float:
        with pytest.raises(RateLimited) as caught:
            await client.reboot(1)
        return float(caught.value.details["until"])

    assert market.live(story) == pytest.approx(START + seconds, abs=1)


@pytest.mark.parametrize("call", ["destroy", "stop"])
def test_writes_that_may_be_done_twice_are(call: str) -> None:
    market = Market(httpx.ReadTimeout("late"), httpx.Response(502), OK)
    market.live(lambda client: getattr(client, call)(7))
    assert len(market.asked) == 3


@pytest.mark.parametrize("call", ["start", "reboot"])
@pytest.mark.parametrize(
    "failure", [httpx.ReadTimeout("late"), httpx.Response(502), httpx.Response(200, text="{")]
)
def test_writes_that_may_not_be_done_twice_are_not(call: str, failure: Any) -> None:
    market = Market(failure)
    with pytest.raises(UnknownOutcome):
        market.live(lambda client: getattr(client, call)(7))
    assert len(market.asked) == 1


def test_a_write_that_never_left_says_so() -> None:
    market = Market(httpx.ConnectError("refused"))
    with pytest.raises(MarketDown) as caught:
        market.live(lambda client: client.start(7))
    assert caught.value.details["sent"] is False


def test_an_endless_answer_is_cut_off() -> None:
    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            while True:
                yield b" " * 1_000_000

    market = Market(lambda request: httpx.Response(200, stream=Endless()))
    with pytest.raises(MarketDown):
        market.live(lambda client: client.gpu_names())


def test_stopping_what_is_not_there_is_not_found() -> None:
    market = Market(
        httpx.Response(404, json={"success": False, "error": "no_such_instance", "msg": "Instance 7"})
    )
    with pytest.raises(NotFound):
        market.live(lambda client: client.stop(7))
