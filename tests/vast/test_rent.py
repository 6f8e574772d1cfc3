"""Renting: exactly one request, and an answer that is not clear is never taken for a no."""

import asyncio
from typing import Any

import httpx
import pytest

from choline_tui.kernel.errors import (
    BadKey,
    BadRequest,
    MarketDown,
    MissingScope,
    NoCredit,
    OfferGone,
    RateLimited,
    SpendLimit,
    UnknownOutcome,
    VastError,
)
from choline_tui.vast.types import RentRequest
from tests.vast.fake import KEY, Market

REQUEST = RentRequest(
    image="pytorch/pytorch:2.4.0",
    disk_gb=40,
    label="choline-abcd-efgh-1",
    onstart="echo hi",
    env={"HF_TOKEN": "hf_very_secret_token", "X": "a b"},
    ports=("8080", "70000:70000/udp"),
)
SENT = httpx.Request("PUT", "https://console.vast.ai/api/v0/asks/5/")


def rent(answer: Any, request: RentRequest = REQUEST, **options: Any) -> tuple[Market, Any]:
    market = Market(answer)
    return market, market.live(lambda client: client.rent(5, request), **options)


def refused(answer: Any) -> tuple[Market, VastError]:
    market = Market(answer)
    with pytest.raises(VastError) as caught:
        market.live(lambda client: client.rent(5, REQUEST))
    return market, caught.value


def test_one_request_as_the_official_client_sends_it_and_what_comes_back() -> None:
    market, rented = rent({"success": True, "new_contract": 312, "instance_api_key": "deadbeef"})
    assert rented.contract_id == 312
    assert rented.instance_api_key.reveal() == "deadbeef"
    assert "deadbeef" not in repr(rented)
    (request,) = market.asked
    assert (request.method, request.url.path) == ("PUT", "/api/v0/asks/5/")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert market.body() == {
        "client_id": "me",
        "image": "pytorch/pytorch:2.4.0",
        "env": {
            "HF_TOKEN": "hf_very_secret_token",
            "X": "a b",
            "-p 8080:8080": "1",
            "-p 70000:70000/udp": "1",
        },
        "price": None,
        "disk": 40.0,
        "label": "choline-abcd-efgh-1",
        "extra": None,
        "onstart": "echo hi",
        "image_login": None,
        "python_utf8": False,
        "lang_utf8": False,
        "use_jupyter_lab": False,
        "jupyter_dir": None,
        "force": False,
        "cancel_unavail": True,
        "template_hash_id": None,
        "user": None,
        "runtype": "ssh_direc ssh_proxy",
    }


def test_a_bid_is_sent_as_the_price() -> None:
    market, _ = rent({"new_contract": "77"}, RentRequest("a/b", 10, "l", price=0.12))
    assert market.body()["price"] == 0.12


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (
            400,
            {"success": False, "error": "insufficient_credit", "msg": "Your account lacks credit"},
            NoCredit,
        ),
        (400, {"success": False, "error": "spend_rate_limit", "msg": "slow down"}, SpendLimit),
        (
            404,
            {"error": "invalid_args", "msg": "error 404/3603: no_such_ask by id 5", "ask_id": 5},
            OfferGone,
        ),
        (410, {"success": False, "error": "no_such_ask", "msg": "error 410/3907", "ask_id": 5}, OfferGone),
        (409, {"success": False, "error": "no_such_ask"}, OfferGone),
        (200, {"success": False, "error": "no_such_ask", "msg": "gone"}, OfferGone),
        (403, {"success": False, "msg": "error 403/3586: own machine"}, OfferGone),
        (404, {"success": False, "error": "auth_error", "msg": "Invalid user key"}, BadKey),
        (401, {"detail": "Authentication credentials were not provided."}, BadKey),
        (403, {"success": False, "error": "not_allowed", "msg": "nope"}, MissingScope),
        (401, {"msg": "This needs Two Factor Authentication"}, MissingScope),
        (400, {"success": False, "error": "invalid_args", "msg": "error 400/3467: Invalid args"}, BadRequest),
        (404, {"success": False, "error": "not_found", "msg": "?"}, BadRequest),
        (429, {"detail": "API requests too frequent endpoint threshold=4.5"}, RateLimited),
    ],
)
def test_a_clear_refusal_is_its_own_error_after_one_request(
    status: int, body: dict[str, Any], kind: type[VastError]
) -> None:
    market, error = refused(httpx.Response(status, json=body))
    assert type(error) is kind
    assert len(market.asked) == 1
    assert "contract" not in error.details


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ReadTimeout("late", request=SENT),
        httpx.WriteTimeout("late", request=SENT),
        httpx.ReadError("reset", request=SENT),
        httpx.WriteError("pipe", request=SENT),
        httpx.RemoteProtocolError("cut", request=SENT),
        OSError("odd transport"),
        httpx.Response(500, text="<html>oops</html>"),
        httpx.Response(502, text="bad gateway"),
        httpx.Response(503, json={"success": False, "error": "server_error"}),
        httpx.Response(504),
        httpx.Response(408, json={"success": False}),
        httpx.Response(308, headers={"location": "https://console.vast.ai/elsewhere"}),
        httpx.Response(200, text='{"success": true, "new_contra'),
        httpx.Response(200, text=""),
        httpx.Response(200, text="<html>captive portal</html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"success": True}),
        httpx.Response(200, json={"success": True, "new_contract": None}),
        httpx.Response(200, json={"success": True, "new_contract": "soon"}),
        httpx.Response(200, json={"success": True, "new_contract": -3}),
        httpx.Response(200, json={"success": False, "error": "server_error"}),
        httpx.Response(400, text='{"success": false, "error": "inva'),
        httpx.Response(403, text="<html>blocked</html>"),
    ],
    ids=lambda a: f"{type(a).__name__}-{getattr(a, 'status_code', '')}",
)
def test_everything_unclear_is_unknown_and_never_repeated(answer: Any) -> None:
    market, error = refused(answer)
    assert type(error) is UnknownOutcome
    assert error.details["offer"] == 5
    assert len(market.asked) == 1


def test_an_answer_that_never_comes_is_unknown() -> None:
    async def silence(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(10_000)
        raise AssertionError

    market, error = refused(silence)
    assert type(error) is UnknownOutcome
    assert market.clock.monotonic() < 200


@pytest.mark.parametrize(
    "failure", [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.ProxyError("407")]
)
def test_a_connection_that_never_was_is_known_not_to_have_rented(failure: Exception) -> None:
    market, error = refused(failure)
    assert type(error) is MarketDown
    assert error.details["sent"] is False
    assert len(market.asked) == 1


@pytest.mark.parametrize("status", [200, 400, 404, 429])
def test_a_refusal_that_made_a_contract_names_it(status: int) -> None:
    body = {"success": False, "error": "bid_too_low", "msg": "Bid is too low", "new_contract": 99}
    _, error = refused(httpx.Response(status, json=body))
    assert error.details["contract"] == 99
    assert not isinstance(error, UnknownOutcome)


def test_an_unclear_answer_that_names_a_contract_names_it_too() -> None:
    _, error = refused(httpx.Response(500, json={"new_contract": 98}))
    assert type(error) is UnknownOutcome
    assert error.details["contract"] == 98


def test_after_a_429_the_next_rent_is_not_even_sent() -> None:
    market = Market(
        httpx.Response(429, headers={"retry-after": "12"}, text="API requests too frequent"),
        {"new_contract": 4},
    )

    async def story(client: Any) -> None:
        with pytest.raises(RateLimited) as first:
            await client.rent(5, REQUEST)
        assert first.value.details["until"] == pytest.approx(market.clock.time() + 12)
        with pytest.raises(RateLimited):
            await client.rent(6, REQUEST)
        assert len(market.asked) == 1
        await market.clock.sleep(12)
        assert (await client.rent(6, REQUEST)).contract_id == 4

    market.live(story)


def test_secrets_are_in_no_repr_and_in_no_error() -> None:
    echo = {"success": False, "error": "invalid_args", "msg": f"Invalid args: hf_very_secret_token {KEY}"}
    _, error = refused(httpx.Response(400, json=echo))
    shown = f"{error} {error!r} {error.to_wire()} {REQUEST!r} {error.__cause__} {error.__context__}"
    assert "hf_very_secret_token" not in shown
    assert KEY not in shown


def test_the_servers_words_are_bounded_and_inert() -> None:
    _, error = refused(httpx.Response(400, json={"success": False, "msg": "\x1b[2J\rbad\u202e" + "x" * 5000}))
    assert len(error.message) < 400
    assert error.message.isprintable()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"onstart": "x" * 4097}, "onstart"),
        ({"label": "x" * 257}, "label"),
        ({"env": {"A": "x" * 32768}}, "environment"),
        ({"env": {"-v V.1:/": "1"}}, "environment variable"),
        ({"env": {"A B": "1"}}, "environment variable"),
        ({"ports": ("80;rm",)}, "port"),
        ({"ports": tuple(str(n) for n in range(1, 66))}, "ports"),
        ({"disk_gb": 0}, "disk"),
        ({"disk_gb": float("nan")}, "disk"),
        ({"image": ""}, "image"),
        ({"image": "a b"}, "image"),
        ({"price": 0.0}, "bid"),
        ({"price": float("nan")}, "bid"),
        ({"price": 200.0}, "bid"),
    ],
)
def test_what_the_market_would_refuse_is_not_sent(change: dict[str, Any], words: str) -> None:
    market = Market({"new_contract": 1})
    wrong = RentRequest(**{"image": "a/b", "disk_gb": 10, "label": "l", **change})
    with pytest.raises(BadRequest, match=words):
        market.live(lambda client: client.rent(5, wrong))
    assert market.asked == []


def test_the_longest_onstart_is_sent() -> None:
    market, _ = rent({"new_contract": 1}, RentRequest("a/b", 10, "l", onstart="x" * 4096))
    assert len(market.body()["onstart"]) == 4096


def test_text_that_is_no_unicode_is_refused_or_sent_whole() -> None:
    market, _ = rent({"new_contract": 1}, RentRequest("a/b", 10, "l", env={"A": "\ud800"}))
    assert market.body()["env"]["A"] == "\ud800"


def test_without_a_key_nothing_is_sent() -> None:
    market = Market({"new_contract": 1})
    with pytest.raises(BadKey):
        market.live(lambda client: client.rent(5, REQUEST), key=None)
    assert market.asked == []


@pytest.mark.parametrize("offer", [0, -1, True, 2**63, "5/../../x"])
def test_an_offer_id_that_is_none_is_refused(offer: Any) -> None:
    market = Market({"new_contract": 1})
    with pytest.raises(BadRequest):
        market.live(lambda client: client.rent(offer, REQUEST))
    assert market.asked == []
