"""Conditions that say something else than they look like: one line of warning each."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from choline_tui.model.market_types import GPU_NAMES
from choline_tui.model.offer_fields import FIELDS, Kind

__all__ = ["traps"]

_LESS = ("dph_total", "dph_base", "min_bid", "storage_cost", "inet_up_cost", "inet_down_cost")
"""Fields of which people want little."""
_EXACT = ("gpu_frac", "pci_gen")
"""Numbers that take few values, so that = is meant."""


def traps(conditions: Iterable[tuple[str, str, Any]]) -> list[str]:
    """Warnings for (field, operator, value as written)."""
    return [line for name, op, value in conditions for line in _traps(name, op, value)]


def _traps(name: str, op: str, value: Any) -> Iterator[str]:
    about = FIELDS[name]
    values = value if isinstance(value, tuple) else (value,)
    numbers = [each for each in values if isinstance(each, int | float) and not isinstance(each, bool)]
    if op in ("eq", "in") and about.kind is Kind.NUMBER and name not in _EXACT and numbers:
        if about.times == 1000.0:
            yield (
                f"{name}={numbers[0]} asks for exactly {numbers[0] * 1000:.0f} MB, which no card has "
                f"(24 GB ones report 24564 MB): use {name}>={numbers[0]}"
            )
        else:
            sign = "<=" if name in _LESS else ">="
            yield f"{name}={numbers[0]} matches exactly that number only: use {name}{sign}{numbers[0]}"
    if "reliability" in name and name != "reliability_mult" and any(each > 1 for each in numbers):
        yield f"{name} goes from 0 to 1: 98 % is {name}>0.98"
    if about.times == 1000.0 and any(each >= 4000 for each in numbers):
        yield f"{name} is written in GB: {numbers[0]} means {numbers[0] * 1000:.0f} MB"
    if name == "duration" and any(each >= 3600 for each in numbers):
        yield f"duration is written in days: {numbers[0]} means {numbers[0] / 365:.0f} years"
    if name == "compute_cap" and any(each < 100 for each in numbers):
        yield "compute_cap is 100 times the capability: 8.9 is 890"
    if name == "geolocation":
        for each in values:
            if isinstance(each, str) and not (len(each) == 2 and each.isalpha()):
                yield f"geolocation takes two-letter country codes such as US; {each[:40]!r} may match none"
    if name == "gpu_name":
        yield from (line for each in values if isinstance(each, str) for line in _gpu_name(each))


def _gpu_name(name: str) -> Iterator[str]:
    if name in GPU_NAMES:
        return
    exact = {known.lower(): known for known in GPU_NAMES}
    near = exact.get(name.lower()) or next(
        iter(exact[k] for k in get_close_matches(name.lower(), exact, n=1, cutoff=0.5)), None
    )
    hint = f"; did you mean {near.replace(' ', '_')}?" if near else ""
    yield f"no GPU is known as {name[:40]!r}{hint}"
