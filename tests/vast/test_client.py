"""The other calls: what is sent, what comes back, and hostile answers."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from choline_tui.kernel.errors import (
    BadKey,
    BadRequest,
    CholineError,
    ConfigError,
    MarketDown,
    MissingScope,
    NotFound,
    OfferGone,
)
from choline_tui.kernel.secret import Secret
from choline_tui.model.query import parse_query
from choline_tui.vast.client import VastClient
from choline_tui.vast.types import Copier, RentRequest
from tests.vast.fake import KEY, PUBLIC, Market

OK = {"success": True}
GONE = httpx.Response(
    404, json={"success": False, "error": "no_such_instance", "msg": "Instance 7 not found."}
)
BAD_KEY = httpx.Response(404, json={"success": False, "error": "auth_error", "msg": "Invalid user key"})


def test_a_search_sends_the_query_and_filters_again() -> None:
    rows = [
        {"id": 1, "dph_total": 0.3, "num_gpus": 2, "disk_space": 100.0, "verification": "verified"},
        {"id": 2, "dph_total": 0.9, "num_gpus": 2, "disk_space": 100.0},
        {"id": 3, "dph_total": 0.3, "num_gpus": "1", "disk_space": 100.0},
        {"id": 4, "dph_total": 0.3, "num_gpus": 2, "disk_space": 10.0},
        {"id": 5, "dph_total": 0.3, "num_gpus": 2, "verification": "deverified"},
        {"id": "x"},
    ]
    market = Market({"offers": rows})
    query = parse_query("dph<0.5 num_gpus>=2", disk_gb=50, limit=6)
    page = market.live(lambda client: client.search(query))
    assert [offer.id for offer in page.offers] == [1]
    assert (page.disk_gb, page.type, page.listed, page.skipped, page.complete) == (
        50,
        "on-demand",
        6,
        1,
        False,
    )
    assert page.seen_at == market.clock.time()
    assert json.loads(page.raw)["offers"] == rows
    assert market.asked[0].url.path == "/api/v0/bundles/"
    assert market.body()["num_gpus"] == {"gte": 2}
    assert market.body()["allocated_storage"] == 50.0


def test_a_search_needs_no_key_and_shows_none() -> None:
    market = Market({"offers": []})
    page = market.live(lambda client: client.search(parse_query("")), key=None)
    assert page.complete and page.offers == ()
    assert "authorization" not in market.asked[0].headers


def test_offers_of_a_bid_search_are_interruptible_whatever_they_say() -> None:
    market = Market(
        {"offers": [{"id": 1, "is_bid": False, "min_bid": 0.1, "storage_cost": 0.0, "dph_base": 9}]}
    )
    page = market.live(lambda client: client.search(parse_query("", type="bid")))
    assert page.offers[0].price_at(10) == 0.1


@pytest.mark.parametrize("body", [{}, {"offers": {}}, [], {"offers": None}, {"success": False, "offers": []}])
def test_an_answer_without_offers_is_not_no_offers(body: Any) -> None:
    with pytest.raises(CholineError):
        Market(body).live(lambda client: client.search(parse_query("")))


def test_a_redirect_of_a_read_is_followed_without_showing_the_key_elsewhere() -> None:
    market = Market(httpx.Response(308, headers={"location": "https://example.invalid/x"}), {"credit": 1})
    market.live(lambda client: client.account())
    assert "authorization" in market.asked[0].headers
    assert "authorization" not in market.asked[1].headers


def test_one_instance_none_or_unknown() -> None:
    row = {"id": 7, "actual_status": "running"}
    assert Market({"instances": row}).live(lambda c: c.instance(7)).is_running
    assert Market({"instances": None}).live(lambda c: c.instance(7)) is None
    assert Market(GONE).live(lambda c: c.instance(7)) is None
    for answer in ({}, {"instances": []}, {"instances": {"id": 8}}, {"instances": {"id": None}}, []):
        with pytest.raises(MarketDown):
            Market(answer).live(lambda c: c.instance(7))
    with pytest.raises(BadKey):
        Market(BAD_KEY).live(lambda c: c.instance(7))
    with pytest.raises(CholineError):
        Market(httpx.Response(404, text="<html>not here</html>")).live(lambda c: c.instance(7))


def test_destroy_is_true_when_accepted_or_gone_but_not_for_a_bad_key() -> None:
    market = Market(OK)
    assert market.live(lambda c: c.destroy(7)) is True
    assert (market.asked[0].method, market.asked[0].url.path) == ("DELETE", "/api/v0/instances/7/")
    assert Market(GONE).live(lambda c: c.destroy(7)) is True
    with pytest.raises(BadKey):
        Market(BAD_KEY).live(lambda c: c.destroy(7))
    with pytest.raises(MissingScope):
        Market(httpx.Response(403, json={"msg": "no"})).live(lambda c: c.destroy(7))
    with pytest.raises(BadRequest):
        Market(httpx.Response(404, text="<html>wrong server</html>")).live(lambda c: c.destroy(7))


@pytest.mark.parametrize(
    ("call", "path", "body"),
    [
        (lambda c: c.start(7), "/api/v0/instances/7/", {"state": "running"}),
        (lambda c: c.stop(7), "/api/v0/instances/7/", {"state": "stopped"}),
        (lambda c: c.label(7, "x"), "/api/v0/instances/7/", {"label": "x"}),
        (lambda c: c.change_bid(7, 0.2), "/api/v0/instances/bid_price/7/", {"client_id": "me", "price": 0.2}),
        (lambda c: c.reboot(7), "/api/v0/instances/reboot/7/", {}),
    ],
)
def test_verbs_are_sent_as_the_official_client_sends_them(call: Any, path: str, body: Any) -> None:
    market = Market(OK)
    market.live(call)
    assert (market.asked[0].method, market.asked[0].url.path, market.body()) == ("PUT", path, body)


def test_a_start_whose_gpus_are_taken_says_that_it_is_queued() -> None:
    taken = {"success": False, "error": "resources_unavailable", "msg": "state change queued."}
    with pytest.raises(OfferGone) as caught:
        Market(taken).live(lambda c: c.start(7))
    assert caught.value.details["queued"] is True


def test_logs_are_waited_for_and_fetched_without_the_key() -> None:
    url = "https://s3.example.invalid/log"
    market = Market(
        {"success": True, "result_url": url},
        httpx.Response(403),
        httpx.Response(404),
        httpx.ReadError("reset"),
        httpx.Response(200, content="line\nümlaut \ud800".encode("utf-8", "surrogatepass")),
    )
    text = market.live(lambda c: c.logs(7, tail=50, daemon=True))
    assert text.startswith("line\nümlaut ")
    assert json.loads(market.asked[0].content) == {"tail": "50", "daemon_logs": "true"}
    assert all("authorization" not in request.headers for request in market.asked[1:])
    assert all(str(request.url) == url for request in market.asked[1:])


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://169.254.169.254/x", "https://", "", 5, None, "http://["]
)
def test_logs_from_an_odd_address_are_not_fetched(url: Any) -> None:
    market = Market({"success": True, "result_url": url})
    with pytest.raises(MarketDown):
        market.live(lambda c: c.logs(7))
    assert len(market.asked) == 1


def test_logs_that_never_come_end() -> None:
    market = Market({"success": True, "result_url": "https://s3.example.invalid/"}, httpx.Response(404))
    with pytest.raises(MarketDown, match="404"):
        market.live(lambda c: c.logs(7))
    assert market.clock.monotonic() < 40


def test_a_huge_log_is_cut() -> None:
    market = Market(
        {"success": True, "result_url": "https://s3.example.invalid/"},
        lambda request: httpx.Response(200, content=b"x" * (9 * 1024 * 1024)),
    )
    assert len(market.live(lambda c: c.logs(7))) == 8 * 1024 * 1024


def test_the_account_without_its_key() -> None:
    body = {"id": 1, "email": "a@b", "credit": "12.5", "balance": -0.5, "api_key": KEY, "key_id": 3}
    account = Market(body).live(lambda c: c.account())
    assert (account.credit, account.balance) == (12.5, -0.5)
    assert KEY not in repr(account) + account.model_dump_json()


@pytest.mark.parametrize(
    "body",
    [
        [{"id": 1, "key": PUBLIC}],
        {"success": True, "ssh_keys": [{"id": 1, "public_key": PUBLIC}]},
        {"success": True, "ssh_keys": json.dumps([{"id": 1, "key": PUBLIC}])},
    ],
)
def test_ssh_keys_in_every_form(body: Any) -> None:
    (key,) = Market(body).live(lambda c: c.ssh_keys())
    assert (key.id, key.key) == (1, PUBLIC)


def test_no_ssh_keys_may_be_a_404() -> None:
    assert (
        Market(httpx.Response(404, json={"error": "not_found", "msg": "none"})).live(lambda c: c.ssh_keys())
        == ()
    )


def test_a_key_is_registered_once() -> None:
    market = Market([{"id": 1, "key": PUBLIC.replace("me@x", "other comment")}])
    assert market.live(lambda c: c.add_ssh_key(PUBLIC + "\n")) is False
    market = Market([], {"success": True})
    assert market.live(lambda c: c.add_ssh_key(PUBLIC + "\n")) is True
    assert market.body() == {"ssh_key": PUBLIC}


@pytest.mark.parametrize(
    "text", ["", "/home/me/.ssh/id.pub", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA", f"{PUBLIC}\n{PUBLIC}"]
)
def test_what_is_no_public_key_is_not_sent(text: str) -> None:
    market = Market([])
    with pytest.raises(BadRequest):
        market.live(lambda c: c.add_ssh_key(text))
    assert market.asked == []


def test_attaching_a_key_that_is_there_is_no_error() -> None:
    there = httpx.Response(400, json={"success": False, "error": "x", "msg": "Key already attached"})
    market = Market(there)
    market.live(lambda c: c.attach_ssh_key(7, PUBLIC))
    assert market.asked[0].url.path == "/api/v0/instances/7/ssh/"
    with pytest.raises(NotFound):
        Market(GONE).live(lambda c: c.attach_ssh_key(7, PUBLIC))


def test_where_a_hosts_copier_answers_is_asked_as_the_official_client_does() -> None:
    market = Market({"success": True, "msg": "x", "src_addr": "ssh9.vast.ai", "src_port": 22})
    assert market.live(lambda c: c.copier(7)) == Copier("ssh9.vast.ai", 22)
    assert (market.asked[0].method, market.asked[0].url.path) == ("PUT", "/api/v0/commands/copy_direct/")
    body = market.body()
    assert set(body) == {"client_id", "src_id", "dst_id", "src_path", "dst_path"}
    assert (body["client_id"], body["src_id"], body["dst_id"]) == ("me", "C.7", "local")
    late = Market(httpx.Response(503), {"success": True, "src_addr": "h", "src_port": "2222"})
    assert late.live(lambda c: c.copier(7)) == Copier("h", 2222), "asked again: nothing is done by it"
    with pytest.raises(NotFound):
        Market(GONE).live(lambda c: c.copier(7))
    no = {"success": False, "error": "invalid_args", "msg": "src_path not supported VMs."}
    with pytest.raises(BadRequest, match="not supported"):
        Market(no).live(lambda c: c.copier(7))


@pytest.mark.parametrize(
    "told",
    [
        {}, {"src_addr": "h"}, {"src_addr": "", "src_port": 22}, {"src_addr": "h" * 300, "src_port": 22},
        {"src_addr": "h", "src_port": True}, {"src_addr": "h", "src_port": 0}, {"src_addr": 1, "src_port": 1},
        {"src_addr": "h", "src_port": "9" * 5000}, {"src_addr": "h", "src_port": "\u0662\u0662"},
        {"src_addr": "h", "src_port": 65536},
    ],
)  # fmt: skip
def test_an_answer_without_an_address_is_no_copier(told: dict[str, object]) -> None:
    with pytest.raises(MarketDown):
        Market({"success": True, **told}).live(lambda c: c.copier(7))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "console.vast.ai",
        "ftp://x",
        "http://console.vast.ai",
        "https://u:p@h",
        "https://h?x=1",
        "http://[",
    ],
)
def test_an_address_that_is_none_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError):
        VastClient(Secret("k"), base_url=url)


def test_without_a_key_everything_but_searching_says_so() -> None:
    market = Market(OK)
    for call in ("listing", "account", "ssh_keys"):
        with pytest.raises(BadKey):
            market.live(lambda c, call=call: getattr(c, call)(), key=None)
    with pytest.raises(BadKey):
        market.live(lambda c: c.destroy(7), key=None)
    assert market.asked == []


def key_market(**denied: int) -> Market:
    def answer(request: httpx.Request) -> Any:
        path = request.url.path
        for part, status in denied.items():
            if part in path:
                return httpx.Response(status, json={"success": False, "error": "x", "msg": "not permitted"})
        if "users" in path:
            return {"id": 1, "key_id": 3, "credit": 5}
        if "apikeys" in path:
            rights = {"api": {"misc": {}, "instance_read": {}, "user_read": {}, "user_write": {}}}
            return {"apikeys": [{"id": 2, "rights": {"api": {}}}, {"id": 3, "rights": json.dumps(rights)}]}
        return OK

    return Market(answer)


def test_key_check_reads_only_and_tells_what_is_allowed() -> None:
    market = key_market(charges=403, bundles=401)
    report = market.live(lambda c: c.key_check())
    assert report.valid and report.account.credit == 5
    assert report.scopes["instance_read"] == "allowed"
    assert report.scopes["misc"] == "denied"
    assert report.scopes["billing_read"] == "denied"
    assert report.scopes["instance_write"] == "denied"
    assert set(report.missing) == {"misc", "instance_write"}
    assert {(r.method, r.url.path) for r in market.asked} <= {
        ("GET", "/api/v0/users/current"),
        ("GET", "/api/v1/instances/"),
        ("POST", "/api/v0/bundles/"),
        ("GET", "/api/v0/charges/"),
        ("GET", "/api/v0/auth/apikeys/"),
    }
    assert any("restricted key" in line for line in report.advice)


def test_key_check_of_a_bad_key_is_a_report() -> None:
    report = Market(BAD_KEY).live(lambda c: c.key_check())
    assert not report.valid and report.advice
    assert not Market(OK).live(lambda c: c.key_check(), key=None).valid


def test_key_check_leaves_unknown_what_cannot_be_seen() -> None:
    report = key_market(apikeys=403).live(lambda c: c.key_check())
    assert report.scopes["instance_write"] == "unknown"
    assert report.missing == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(
            [
                *("success", "error", "msg", "detail", "offers", "instances", "id", "label", "ports"),
                *("total_instances", "instances_found", "next_token", "new_contract", "result_url"),
                *("ssh_keys", "key", "gpu_names", "credit", "search", "retry_after", "apikeys", "num_gpus"),
            ]
        ),
        inner,
        max_size=6,
    ),
    max_leaves=20,
)  # fmt: skip
CALLS: list[Any] = [
    lambda c: c.search(parse_query("num_gpus>=1 gpu_ram>=10")),
    lambda c: c.rent(5, RentRequest("a/b", 10, "l")),
    lambda c: c.listing(),
    lambda c: c.instance(1),
    lambda c: c.start(1),
    lambda c: c.destroy(1),
    lambda c: c.logs(1),
    lambda c: c.account(),
    lambda c: c.ssh_keys(),
    lambda c: c.gpu_names(),
    lambda c: c.key_check(),
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    body=JSON, status=st.sampled_from([200, 200, 200, 400, 401, 404, 429, 500]), which=st.sampled_from(CALLS)
)
def test_no_answer_raises_anything_but_our_errors(body: Any, status: int, which: Any) -> None:
    market = Market(lambda request: httpx.Response(status, content=json.dumps(body).encode()))
    try:
        market.live(which)
    except CholineError as error:
        json.dumps(error.to_wire())


@settings(max_examples=60, deadline=None)
@given(raw=st.binary(max_size=60), which=st.sampled_from(CALLS))
def test_no_bytes_raise_anything_but_our_errors(raw: bytes, which: Any) -> None:
    market = Market(lambda request: httpx.Response(200, content=raw))
    with pytest.raises(CholineError):
        market.live(which)
        raise CholineError("a report is fine too")


def test_deeply_nested_answers_are_refused() -> None:
    for call in CALLS[:-1]:
        with pytest.raises(CholineError):
            Market(lambda request: httpx.Response(200, content=b"[" * 100_000)).live(call)
