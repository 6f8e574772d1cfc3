"""What the market's answers say, read by the proof's own eyes and not by the engine's."""

import json
from dataclasses import dataclass
from typing import Any

import httpx

__all__ = ["Heard", "read_listing", "refuses", "rent_body"]


@dataclass(frozen=True)
class Heard:
    """One complete listing that reached an engine."""

    at: float
    labels: dict[int, str]
    """by contract"""
    priced: frozenset[int]
    """those whose price is told"""


Answer = httpx.Response | Exception | None
"""what came in the end: an answer, or why none did (None: nobody can say)"""


def rent_body(request: httpx.Request) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.content)
    return body


def read_listing(request: httpx.Request, answer: Answer, now: float) -> Heard | None:
    """None unless it is one whole page of everything. (A life has fewer contracts than a page has rows.)"""
    body = _json(answer)
    if not isinstance(answer, httpx.Response) or answer.status_code != 200 or not isinstance(body, dict):
        return None
    rows, total = body.get("instances"), body.get("total_instances")
    if not isinstance(rows, list) or total != len(rows) or "after_token" in request.url.params:
        return None
    if body.get("next_token") or body.get("instances_found", total) != total:
        return None
    if not all(isinstance(row, dict) and type(row.get("id")) is int for row in rows):
        return None
    priced = frozenset(row["id"] for row in rows if isinstance(row.get("dph_total"), int | float))
    return Heard(now, {row["id"]: str(row.get("label") or "") for row in rows}, priced)


def refuses(answer: Answer) -> bool | None:
    """Whether the answer to a rent is a clear no; None when it says neither yes nor no."""
    if not isinstance(answer, httpx.Response):
        return True if isinstance(answer, httpx.ConnectError) else None
    body = _json(answer)
    if answer.status_code == 429:
        return True
    if not isinstance(body, dict) or answer.status_code >= 500 or answer.status_code in (408, 425):
        return None
    if body.get("success") is True and isinstance(body.get("new_contract"), int):
        return False
    return True if answer.status_code >= 400 or body.get("success") is False else None


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.content) if isinstance(answer, httpx.Response) else None
    except ValueError:
        return None
