"""What an answer of the market means: JSON, or an error of ours that says what a caller can do.

A failure is a status of 400 or more, or a body with ``success: false`` (the market answers many failures
with 200). Error bodies come as ``{success, error, msg}`` with any part missing, ``message`` or ``detail``
instead of ``msg``, plain text, or a proxy's HTML. A 404 with ``auth_error`` is a bad key, not a thing that
is gone.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from choline_tui.kernel.errors import (
    BadKey,
    BadRequest,
    CholineError,
    MarketDown,
    MissingScope,
    NoCredit,
    NotFound,
    OfferGone,
    QuotaSpent,
    RateLimited,
    SpendLimit,
)
from choline_tui.kernel.secret import redact
from choline_tui.model.market_types import MAX_ID, foreign_json, one_line
from choline_tui.vast.wire import Reply

__all__ = ["MALFORMED", "contract_in", "parse", "refusal", "whole_number"]

MALFORMED = object()
"""``parse``: the body is no JSON, or not whole."""

_GONE = ("no_such_instance", "not_found", "invalid_id", "no_such_user_instance")
_NO_CREDIT = ("insufficient_credit", "missing_billing", "lacks credit", "insufficient credit")
_BAD_KEY = (
    *("auth_error", "invalid user key", "session expired", "requires login"),
    "authentication credentials were not provided",
)
_DAY = 86400.0


def parse(reply: Reply) -> Any:
    """The body's JSON, or MALFORMED."""
    try:
        return foreign_json(reply.body)
    except ValueError:
        return MALFORMED


def whole_number(value: object) -> int | None:
    """A positive whole number that the market may write as a string; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        value = int(value)
    return value if isinstance(value, int) and 1 <= value <= MAX_ID else None


def contract_in(body: Any) -> int | None:
    """The contract that an answer to a rent names, a refusal too."""
    return whole_number(body.get("new_contract")) if isinstance(body, dict) else None


@dataclass(frozen=True)
class _Said:
    """The parts of an error body: ``code`` lower case, ``words`` for a person, ``all`` to look in."""

    code: str
    words: str
    all: str


def _said(reply: Reply, body: Any, hide: Iterable[str]) -> _Said:
    if isinstance(body, dict):
        code = one_line(body.get("error") if isinstance(body.get("error"), str) else "", 80)
        texts = (body.get(name) for name in ("msg", "message", "detail", "error"))
        words = next((text for text in texts if isinstance(text, str) and text.strip()), "")
    elif isinstance(body, str):
        code, words = "", body
    else:
        raw = reply.body[:4096].decode("utf-8", "replace")
        code, words = "", "" if "<" in raw[:200] or body is not MALFORMED else raw
    # redacted before it is cut: half a secret is still one
    shown = one_line(redact(one_line(words, 4096), hide))
    return _Said(code.lower(), shown, f"{code} {one_line(words, 4096)}".lower())


def refusal(
    reply: Reply,
    body: Any,
    *,
    now: float,
    wait: float,
    hide: Iterable[str] = (),
    keyed: bool = True,
) -> CholineError | None:
    """The error an answer stands for, or None when it is a success. ``now``: epoch s. ``wait``: s to wait
    after a 429 that does not say how long. ``hide``: texts that must not be repeated. ``keyed``: whether a
    key was sent. ``details``: status, error (the server's code), and what the error's type promises."""
    failed = reply.status >= 300 or (isinstance(body, dict) and body.get("success") is False)
    if not failed:
        return None
    said = _said(reply, body, hide)
    facts: dict[str, Any] = {"status": reply.status, "error": said.code}
    words = said.words or f"status {reply.status}"

    if "search_quota_exceeded" in said.all:
        until = _until(reply, body, now, (now // _DAY + 1) * _DAY - now)
        return QuotaSpent(
            "the market's daily search quota is spent",
            hint="Offers seen earlier stay usable; searches go on after the reset.",
            until=until,
            **facts,
        )
    if reply.status == 429 or said.code == "rate_limit_exceeded":
        until = _until(reply, body, now, wait)
        return RateLimited(
            "the market asks for fewer requests", hint="choline waits by itself.", until=until, **facts
        )
    if any(text in said.all for text in _BAD_KEY) or (reply.status in (401, 403) and not keyed):
        if not keyed:
            return BadKey(
                "the market wants a key", hint="Set VAST_API_KEY, or rehearse: 'choline demo'.", **facts
            )
        return BadKey(f"the market does not accept the key: {words}", **facts)
    if reply.status == 402 or any(text in said.all for text in _NO_CREDIT):
        return NoCredit(f"no credit: {words}", **facts)
    if "spend_rate_limit" in said.all:
        return SpendLimit(f"the account's spend rate limit is reached: {words}", **facts)
    if "no_such_ask" in said.all or "error 403/3586" in said.all:
        return OfferGone(f"the offer is gone: {words}", hint="Another offer may do.", **facts)
    if "resources_unavailable" in said.all:
        return OfferGone(
            f"the machine's GPUs are taken: {words}",
            hint="The start is queued and may happen later; a stop takes it back.",
            queued=True,
            **facts,
        )
    if "two factor authentication" in said.all:
        return MissingScope(
            "the market wants two-factor authentication for this",
            hint="Log in with 'vastai tfa login'.",
            **facts,
        )
    if reply.status in (401, 403) or said.code == "not_authorized":
        return MissingScope(f"the key may not do this: {words}", **facts)
    if reply.status >= 500 or said.code == "server_error":
        return MarketDown(f"the market failed: {words}", **facts)
    if said.code in _GONE or (reply.status == 404 and re.search(r"instance \d+ not found", said.all)):
        return NotFound(f"the market does not know it: {words}", hint="It may be gone already.", **facts)
    if reply.status < 400 and reply.status >= 300:
        return MarketDown("the market answered with a redirect", hint="Check VAST_URL.", **facts)
    if "deprecated" in said.code:
        return BadRequest(f"the market no longer takes this: {words}", hint="Update choline.", **facts)
    return BadRequest(f"the market refused: {words}", **facts)


def _until(reply: Reply, body: Any, now: float, wait: float) -> float:
    """Epoch s until which to wait: what a header or the body says, else ``wait`` s; at most two days."""
    said = _number(reply.headers.get("x-ratelimit-reset"))
    if said is not None and said > now - _DAY:
        return _bounded(said, now)
    header = reply.headers.get("retry-after")
    after = _number(header)
    if after is None and header:
        try:
            after = parsedate_to_datetime(header).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            after = None
    if after is None and isinstance(body, dict):
        after = _number(body.get("retry_after"))
    if after is None:
        found = re.search(rb"threshold=(\d{1,4}(?:\.\d{1,4})?)", reply.body[:4096])
        after = max(wait, 1.5 * float(found[1])) if found else wait
    return _bounded(now + after, now)


def _bounded(until: float, now: float) -> float:
    return min(max(until, now), now + 2 * _DAY)


def _number(value: object) -> float | None:
    try:
        number = (
            float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
        )
    except (ValueError, OverflowError):
        return None
    return number if number is not None and isfinite(number) and number >= 0 else None
