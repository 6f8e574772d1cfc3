"""The whole listing of contracts, or an error: unknown is never none."""

import json
from typing import Any

from choline_tui.kernel.errors import MarketDown
from choline_tui.model.instance import VITAL, Instance
from choline_tui.model.market_types import salvage
from choline_tui.vast.calls import Calls

__all__ = ["read_all"]

PAGE = 25
"""the market's largest page"""
MAX_PAGES = 200
LOOKS = 3
"""Times a listing that changed between its pages is taken from the start."""


async def read_all(calls: Calls) -> tuple[Instance, ...]:
    """Every contract of the account. Raises MarketDown for pages that do not add up to the total the
    market names, hold a contract twice, or a row that cannot be read; and what ``Calls.repeat`` raises."""
    for _ in range(LOOKS - 1):
        try:
            return await _read_once(calls)
        except _Shifted:
            continue
    return await _read_once(calls)


class _Shifted(MarketDown):
    """The pages do not belong together: a contract came or went between them, or the market errs."""

    @property
    def code(self) -> str:
        return "MarketDown"


async def _read_once(calls: Calls) -> tuple[Instance, ...]:
    found: dict[int, Instance] = {}
    tokens: set[str] = set()
    token: str | None = None
    first_total: int | None = None
    for _ in range(MAX_PAGES):
        params = {
            "select_filters": "{}",
            "order_by": json.dumps([{"col": "id", "dir": "asc"}]),
            "limit": str(PAGE),
        }
        if token is not None:
            params["after_token"] = token
        body = await calls.repeat("listing", "GET", "/api/v1/instances/", params=params)
        rows, total, following = _page(body)
        first_total = total if first_total is None else first_total
        if total != first_total:
            raise _Shifted(f"the market's listing had {first_total} contracts, then {total}")
        for row in rows:
            instance = salvage(Instance, row, vital=VITAL)
            if instance is None:
                raise MarketDown("the market's listing has a row that cannot be read")
            if instance.id in found:
                raise _Shifted(f"the market's listing has contract {instance.id} twice")
            found[instance.id] = instance
        if following is None:
            if len(found) != total:
                raise _Shifted(f"the market's listing has {len(found)} of {total} contracts")
            return tuple(found.values())
        if not rows or following in tokens:
            raise _Shifted("the market's listing goes in circles")
        tokens.add(following)
        token = following
    raise MarketDown(f"the market's listing has more than {MAX_PAGES} pages")


def _page(body: Any) -> tuple[list[Any], int, str | None]:
    """Rows, the total of all pages, and the token of the next page."""
    rows = body.get("instances") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise MarketDown("the market's listing has no list of contracts")
    total, here, token = body.get("total_instances"), body.get("instances_found"), body.get("next_token")
    if not isinstance(total, int) or isinstance(total, bool) or total < 0:
        raise MarketDown("the market's listing does not say how many contracts there are")
    if here is not None and (isinstance(here, bool) or here != len(rows)):
        raise MarketDown("the market's listing is short")
    if token is not None and (not isinstance(token, str) or len(token) > 4096):
        raise MarketDown("the market's listing has a token that cannot be read")
    return rows, total, token or None
