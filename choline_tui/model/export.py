"""Marked offers, a premium and a filter become a filter that can be asked again, in every form it is needed.

``like`` makes the query; the other functions write it down: for the official client, for the API, for
``choline.toml`` and for ``choline run``. On one market all of them list the same offers.
"""

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from math import ceil, floor, log10
from typing import Any, TypeVar

from choline_tui.kernel.errors import QueryError, UsageError
from choline_tui.model.conditions import ANY, DEFAULTS, LITERALS, SIGNS, Condition, Query, Value
from choline_tui.model.filters import Filter
from choline_tui.model.offer_fields import FIELDS, Kind, driver_number, value_of

__all__ = [
    "Likeness",
    "api_json",
    "cap_of",
    "defaults_for",
    "like",
    "matching",
    "official_command",
    "run_command",
    "toml_table",
]

T = TypeVar("T")


class Likeness(StrEnum):
    """What of the marked offers is asked for again."""

    THIS = "this one"
    """the same slices of the same machines: an offer's own id changes whenever it is listed anew"""
    AS_GOOD = "as good or better"
    """at least what the weakest of them has, rounded down to two figures: a class, not one machine"""
    SAME_GPU = "same GPU anywhere"
    """these GPUs in these numbers, wherever and whosever"""


PLACE_FIELDS = frozenset(
    (
        *("geolocation", "geolocode", "machine_id", "host_id", "ask_contract_id", "bundle_id", "hostname"),
        *("public_ipaddr", "cluster_id"),
    )
)
"""Conditions of the user's filter that 'anywhere' takes away."""

AT_LEAST = (
    "num_gpus", "gpu_ram", "dlperf", "compute_cap", "cuda_max_good", "cpu_cores_effective",
    "disk_bw", "inet_down", "inet_up", "reliability",
)  # fmt: skip
"""``cpu_ram`` is the whole machine's, so it says nothing of a slice."""
AT_MOST = ("inet_down_cost", "inet_up_cost")
CHEAP_BYTES = 0.005
"""$ for a GB: below it one host is as good as another"""
_EXACT = ("num_gpus", "compute_cap", "cuda_max_good")
"""Figures that stand for something by themselves: not rounded."""


def cap_of(offers: Iterable[Any], premium: float) -> float | None:
    """$/h: the dearest of these offers (at the disk they were searched with) plus ``premium`` %, rounded
    up to 1e-6; None when the market does not say their prices. Raises UsageError for a premium below 0."""
    if not premium >= 0:
        raise UsageError(f"a premium is a percentage of 0 or more, not {premium}")
    totals = [value_of(FIELDS["dph_total"], each) for each in offers]
    known = [float(each) for each in totals if each is not None]
    if not known:
        return None
    price = max(known)
    cap = ceil(price * (1 + premium / 100) * 1e6 - 1e-6) / 1e6
    # never below the price itself, whatever the last binary digit says
    return cap if cap >= price else (ceil(price * 1e6) + 1) / 1e6


def like(
    offers: Sequence[Any], likeness: Likeness, base: Query, premium: float = 0.0, *, keep: bool = True
) -> Query:
    """The query for offers like these (models or rows), under the cap that ``premium`` % gives; with
    ``keep``, what the user's filter ``base`` asks for holds as well. Order, type and disk are the base's.

    Every one of ``offers`` that the base matches is matched. Raises UsageError without an offer.
    """
    if not offers:
        raise UsageError("there is no offer to make a filter of", hint="Mark one, or move the cursor on one.")
    if likeness is Likeness.THIS:
        made = _these(offers)
    elif likeness is Likeness.AS_GOOD:
        made = _bounds(offers)
    else:
        made = _gpus(offers)
    cap = cap_of(offers, premium)
    if cap is not None:
        made.append(Condition("dph_total", "lte", cap))
    kept = base.conditions if keep else defaults_for(offers)
    if likeness is Likeness.SAME_GPU:
        kept = tuple(c for c in kept if c.field not in PLACE_FIELDS)
    # an own price limit was for looking; the cap is what would be paid
    kept = tuple(c for c in kept if not (c.field == "dph_total" and c.op in ("lt", "lte", "eq", "in")))
    conditions = replace(base, conditions=kept)
    exact = {c.field for c in kept if c.op in ("eq", "in") and not c.default}
    for each in made:
        if each.field in exact and each.op in ("gte", "lte"):
            continue  # the user's own filter says it exactly
        tighter = _tighter(kept, each)
        conditions = conditions.with_conditions(tighter)
    return replace(conditions, limit=None, warnings=())


def defaults_for(offers: Sequence[Any]) -> tuple[Condition, ...]:
    """The usual conditions; one that the offers break is said to be of no matter, in so many words: the
    market has defaults of its own for what a search leaves unsaid."""
    return tuple(
        each if all(_fits(each, offer) for offer in offers) else Condition(each.field, "in", (True, False))
        for each in DEFAULTS
    )


def _tighter(kept: tuple[Condition, ...], new: Condition) -> Condition:
    """Of the user's own bound and the new one, the one that asks for more."""
    for old in kept:
        if (old.field, old.op) != (new.field, new.op) or old.default:
            continue
        if isinstance(old.value, (int, float)) and isinstance(new.value, (int, float)):
            more = max if new.op == "gte" else min if new.op == "lte" else None
            if more is not None and more(old.value, new.value) == old.value:
                return old
    return new


def _said(name: str, offers: Sequence[Any]) -> list[Any]:
    """What the offers say of a field, in sent units, without repeats; [] when one does not say."""
    values = [value_of(FIELDS[name], each) for each in offers]
    return [] if any(v is None for v in values) else list(dict.fromkeys(values))


def _one_of(name: str, values: Sequence[Any]) -> Condition:
    whole = FIELDS[name].kind is Kind.WHOLE
    written: list[Value] = [int(v) if whole else v for v in values]
    return Condition(name, "eq", written[0]) if len(written) == 1 else Condition(name, "in", tuple(written))


def _these(offers: Sequence[Any]) -> list[Condition]:
    machines = _said("machine_id", offers)
    if not machines:
        ids = _said("ask_contract_id", offers)
        return [_one_of("ask_contract_id", ids)] if ids else []
    made = [_one_of("machine_id", machines)]
    for name in ("num_gpus", "gpu_name"):
        if values := _said(name, offers):
            made.append(_one_of(name, values))
    return made


def _gpus(offers: Sequence[Any]) -> list[Condition]:
    return [_one_of(name, values) for name in ("gpu_name", "num_gpus") if (values := _said(name, offers))]


def _bounds(offers: Sequence[Any]) -> list[Condition]:
    made = []
    for name in AT_LEAST:
        values = _said(name, offers)
        if values and (least := min(values)) > 0:
            bound = least if name in _EXACT else _two_figures(name, least / FIELDS[name].times)
            if bound > 0:
                made.append(Condition(name, "gte", int(bound) if bound == int(bound) else bound))
    for name in AT_MOST:
        values = _said(name, offers)
        if values:
            most = max(max(values), CHEAP_BYTES)
            made.append(Condition(name, "lte", ceil(most * 1000 - 1e-9) / 1000))
    return [c for c in made if c.op != "lte" or all(_fits(c, each) for each in offers)]


def _fits(condition: Condition, offer: Any) -> bool:
    return Query(conditions=(condition,), disk_gb=0.0).matches(offer)


def _two_figures(name: str, number: float) -> float:
    """Rounded down: reliability to hundredths, all else to two figures."""
    if number < 1e-6:
        return 0.0  # as good as nothing: no bound at all
    digits = 2 if name == "reliability" else 1 - floor(log10(number))
    scale = 10.0 ** abs(digits)
    figure = floor(number * scale + 1e-9) if digits > 0 else floor(number / scale + 1e-9)
    found = figure / scale if digits > 0 else figure * scale
    if found > number:  # what is only nearly a round figure is below it
        found = (figure - 1) / scale if digits > 0 else (figure - 1) * scale
    return found


def matching(offers: Iterable[T], query: Query) -> list[T]:
    """What ``query`` lists of these offers, in its order (a search gives the first 64 of them)."""
    return query.sorted(each for each in offers if query.matches(each))


# ------------------------------------------------------------------------------------- written down


def api_json(query: Query) -> str:
    """The body of ``POST /api/v0/bundles/``."""
    return json.dumps(query.to_filters(), indent=2, ensure_ascii=False)


def toml_table(query: Query, max_price: float | None = None) -> str:
    """``[filter]`` for a ``choline.toml``."""
    lines = ["[filter]"]
    for name, value in Filter.of(query, max_price).table().items():
        comment = {"disk": "GB", "max_price": "$/h, disk included"}.get(name, "")
        written = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else _decimal(value)
        # JSON's escapes are TOML's too, but DEL has none in JSON and must have one in TOML
        lines.append(
            f"{name} = {written}".replace("\x7f", "\\u007f") + (f"    # {comment}" if comment else "")
        )
    return "\n".join(lines)


def run_command(query: Query, max_price: float | None = None, command: str = "") -> str:
    """The ``choline run`` that rents the cheapest of these."""
    words = ["choline", "run", "--query", query.text(), "--disk", _decimal(query.disk_gb)]
    if query.type != "on-demand":
        words += ["--type", query.type]
    if max_price is not None:
        words += ["--max-price", _decimal(max_price)]
    return f"{shlex.join(words)} -- {command or 'python train.py'}"


def official_command(query: Query) -> str:
    """``vastai search offers`` with the query, disk, type and order. Raises QueryError for a condition that
    the official client has no words for."""
    words = ["vastai", "search", "offers"]
    if text := " ".join(_official_terms(query)):
        words.append(text)
    words += ["--storage", _decimal(query.disk_gb)]
    if query.type == "interruptible":
        words += ["--type", "bid"]
    if query.order:
        # one word: a separate one that begins with - would be taken for a flag
        words.append(f"--order={query.order_text()}")
    if query.limit is not None:
        words += ["--limit", str(query.limit)]
    return shlex.join(words)


def _official_terms(query: Query) -> list[str]:
    terms: list[str] = []
    for default in DEFAULTS:
        mine = [c for c in query.conditions if c.field == default.field]
        # the official client keeps its default beside a condition with another operator
        if not any(c.op == default.op for c in mine):
            terms.append(f"{default.field}=any")
    for each in query.conditions:
        if not each.default:
            terms.append(_official_term(each))
    return terms


def _official_term(condition: Condition) -> str:
    about, op = condition.about, condition.op
    name = about.name
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    if op in ("in", "notin") and len(values) == 1:
        op = "eq" if op == "in" else "neq"
    if op not in ("in", "notin"):
        if values[0] is None and about.times != 1.0:
            raise _no_words(condition, "an unknown amount")
        return f"{name}{SIGNS[op]}{_official_value(condition, values[0], in_list=False)}"
    if about.times != 1.0:
        raise _no_words(condition, f"a list for {about.name}")
    written = ",".join(_official_value(condition, each, in_list=True) for each in values)
    return f"{name}{SIGNS[op]}[{written}]"


def _no_words(condition: Condition, what: str) -> QueryError:
    return QueryError(
        f"the official client has no words for {what} ({condition.text()[:80]})",
        hint="Export it as a saved filter, as JSON or for choline.toml instead.",
        column=0,
    )


def _official_value(condition: Condition, value: Value, *, in_list: bool) -> str:
    if value is None:
        if in_list:
            raise _no_words(condition, "None in a list")
        return "None"
    if isinstance(value, bool):
        return "true" if value else "false"
    if condition.about.kind is Kind.DRIVER:
        # dotted versions are read by it only one by one, and only with three parts
        return str(driver_number(str(value)))
    if isinstance(value, (int, float)):
        return _decimal(value)
    text = value.replace(" ", "_")
    taken = (*ANY, *LITERALS)
    if value.lower() in taken or '"' in text or not text.strip("_,[]"):
        raise _no_words(condition, f"the text {value[:40]!r}")
    if in_list:
        if any(c in text for c in ",[]") or text != text.strip():
            raise _no_words(condition, f"{value[:40]!r} in a list")
        return text
    if text.strip(",[]") == text and text[0] not in "=<>!":
        return text
    return f'"{text}"'


def _decimal(number: float) -> str:
    """In digits: not every reader takes 1e-05."""
    if isinstance(number, int) or number == int(number):
        return str(int(number))
    return format(Decimal(repr(number)), "f")
