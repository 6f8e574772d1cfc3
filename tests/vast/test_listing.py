"""The listing: whole, or an error; never short."""

import base64
import json
from typing import Any

import httpx
import pytest

from choline_tui.kernel.errors import BadKey, CholineError, MarketDown
from tests.vast.fake import Market


def page(ids: list[int], total: int, token: str | None = None, **more: Any) -> dict[str, Any]:
    rows = [{"id": n, "label": f"l{n}", "actual_status": "running"} for n in ids]
    return {
        "success": True,
        "instances_found": len(ids),
        "total_instances": total,
        "next_token": token,
        "instances": rows,
        **more,
    }


def listing(*answers: Any) -> tuple[Market, Any]:
    market = Market(*answers)
    return market, market.live(lambda client: client.listing())


def test_all_pages_are_one_listing() -> None:
    market, found = listing(page([*range(1, 26)], 30, "t1"), page([*range(26, 31)], 30))
    assert [each.id for each in found.instances] == [*range(1, 31)]
    assert found.labelled("l7")[0].id == 7
    assert found.get(30) is not None and found.get(31) is None
    assert market.asked[1].url.params["after_token"] == "t1"
    assert all(request.url.params["limit"] == "25" for request in market.asked)


def test_no_contracts_is_a_listing_too() -> None:
    assert listing(page([], 0))[1].instances == ()


def test_it_is_as_old_as_its_first_request() -> None:
    market, found = listing(page([1], 2, "t"), page([2], 2))
    assert found.seen_at == market.clock.time() - market.clock.monotonic()


def test_unknown_states_and_nulls_are_kept() -> None:
    row = {"id": 1, "label": None, "actual_status": "levitating", "gpu_ram": "24564", "ports": [1], "new": {}}
    answer = page([], 1)
    answer |= {"instances": [row], "instances_found": 1}
    (found,) = listing(answer)[1].instances
    assert (found.actual_status, found.gpu_ram, found.ports) == ("levitating", 24564, None)


BROKEN: dict[str, Any] = {
    "short": page([1, 2], 3),
    "long": page([1, 2], 1),
    "twice": page([1, 1], 2),
    "found lies": page([1], 1, instances_found=2),
    "no total": page([1], 1, total_instances=None),
    "total is text": page([1], 1, total_instances="1"),
    "no rows": page([], 0, instances=None),
    "rows are an object": page([], 0, instances={}),
    "row is null": page([], 1, instances=[None], instances_found=1),
    "row has no id": page([], 1, instances=[{"label": "x"}], instances_found=1),
    "id unreadable": page([], 1, instances=[{"id": "x"}], instances_found=1),
    "label unreadable": page([], 1, instances=[{"id": 1, "label": ["x"]}], instances_found=1),
    "token is an object": page([1], 2, instances_found=1) | {"next_token": {}},
    "endless": page([1], 1, "again"),
    "array": [],
    "null": httpx.Response(200, text="null"),
    "empty": httpx.Response(200),
    "html": httpx.Response(200, text="<html></html>"),
    "cut": httpx.Response(200, text=json.dumps(page([1], 1))[:-9]),
    "retired": httpx.Response(410, json={"success": False, "error": "deprecated_endpoint", "msg": "use v1"}),
    "500": httpx.Response(500, text="no"),
    "200 failure": {"success": False, "error": "oops", "instances": [], "total_instances": 0},
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
def test_a_listing_that_is_not_whole_is_an_error(answer: Any) -> None:
    with pytest.raises(CholineError) as caught:
        listing(answer)
    assert caught.value.code in ("MarketDown", "BadRequest")


def test_a_listing_that_changes_between_its_pages_is_taken_again() -> None:
    market, found = listing(page([1], 2, "t"), page([2, 3], 3), page([1, 2, 3], 3))
    assert len(found.instances) == 3
    assert len(market.asked) == 3


def test_a_page_lost_on_the_way_is_asked_for_again() -> None:
    lost = httpx.ReadError("reset")
    market, found = listing(page([1], 2, "t"), lost, httpx.Response(503), page([2], 2))
    assert len(found.instances) == 2
    assert [request.url.params.get("after_token") for request in market.asked] == [None, "t", "t", "t"]


def test_a_bad_key_with_404_is_not_an_empty_listing() -> None:
    with pytest.raises(BadKey):
        listing(
            httpx.Response(404, json={"success": False, "error": "auth_error", "msg": "Invalid user key"})
        )


def test_more_pages_than_there_can_be_end() -> None:
    def endless(request: httpx.Request) -> dict[str, Any]:
        token = request.url.params.get("after_token", "")
        n = int(base64.b64decode(token)) + 1 if token else 1
        return page([n], 10**6, base64.b64encode(str(n).encode()).decode())

    with pytest.raises(MarketDown, match="pages"):
        listing(endless)
