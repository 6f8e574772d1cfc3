"""What a query is: conditions over offers, an order, a rental type and a disk size.

``query.py`` reads the text people write into one; here it becomes the market's request, and the same
filter on offers that are already here.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

from choline_tui.model.market_types import RentalType
from choline_tui.model.offer_fields import FIELDS, Field, Kind, driver_number, value_of

__all__ = ["ANY", "DEFAULTS", "LITERALS", "MAX_PAGE", "SIGNS", "Condition", "Op", "Order", "Query", "Value"]

Op = Literal["eq", "neq", "gt", "gte", "lt", "lte", "in", "notin"]
Value = str | float | int | bool | None
T = TypeVar("T")

MAX_PAGE = 64
"""Offers the market gives for one search, whatever is asked."""
SIGNS: dict[str, str] = {
    "eq": "=", "neq": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "in": " in ", "notin": " notin ",
}  # fmt: skip
ANY = ("any", "?", "*")
LITERALS = {"true": True, "false": False, "none": None, "null": None}


@dataclass(frozen=True)
class Condition:
    """``value`` is as people write it (GB, days); ``sent`` is what the market gets."""

    field: str
    op: Op
    value: Value | tuple[Value, ...]
    default: bool = False
    """added by us, not written by the user"""

    @property
    def about(self) -> Field:
        return FIELDS[self.field]

    @property
    def sent(self) -> Any:
        if isinstance(self.value, tuple):
            return [self._unit(each) for each in self.value]
        return self._unit(self.value)

    def _unit(self, value: Value) -> Value:
        if value is None or isinstance(value, bool):
            return value
        if self.about.kind is Kind.DRIVER:
            return driver_number(str(value))
        if isinstance(value, int | float) and self.about.times != 1.0:
            return value * self.about.times
        return value

    def text(self) -> str:
        if isinstance(self.value, tuple):
            return f"{self.field}{SIGNS[self.op]}[{','.join(map(_written, self.value))}]"
        return f"{self.field}{SIGNS[self.op]}{_written(self.value)}"


DEFAULTS: tuple[Condition, ...] = (
    Condition("verified", "eq", True, default=True),
    Condition("external", "eq", False, default=True),
    Condition("rentable", "eq", True, default=True),
)
"""What the official client adds to a search."""


@dataclass(frozen=True)
class Order:
    field: str
    descending: bool = False

    def text(self) -> str:
        return self.field + ("-" if self.descending else "")


@dataclass(frozen=True)
class Query:
    conditions: tuple[Condition, ...] = DEFAULTS
    order: tuple[Order, ...] = (Order("dph_total"),)
    type: RentalType = "on-demand"
    disk_gb: float = 20.0
    """the run's disk: prices are for this size, and offers with less are left out"""
    limit: int | None = None
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def page_size(self) -> int:
        return MAX_PAGE if self.limit is None else min(self.limit, MAX_PAGE)

    def filters(self) -> dict[str, dict[str, Any]]:
        """The conditions as the API takes them."""
        out: dict[str, dict[str, Any]] = {}
        for each in self.conditions:
            out.setdefault(each.field, {})[each.op] = each.sent
        return out

    def to_filters(self) -> dict[str, Any]:
        """The body of a search: conditions and controls at one level."""
        return {
            **self.filters(),
            "order": [[each.field, "desc" if each.descending else "asc"] for each in self.order],
            "type": "bid" if self.type == "interruptible" else "on-demand",
            "limit": self.page_size,
            "allocated_storage": float(self.disk_gb),
        }

    def text(self) -> str:
        """Parses back to the same conditions (order, type, disk and limit are not part of it)."""
        parts = [each.text() for each in self.conditions if not each.default]
        there = {each.field for each in self.conditions}
        parts += [f"{each.field}=any" for each in DEFAULTS if each.field not in there]
        return " ".join(parts)

    def order_text(self) -> str:
        return ",".join(each.text() for each in self.order)

    def with_conditions(self, *added: Condition) -> "Query":
        """These too; one with the same field and operator is replaced, so is the field's default."""
        slots = {(each.field, each.op) for each in added}
        fields = {each.field for each in added}
        kept = [
            each
            for each in self.conditions
            if (each.field, each.op) not in slots and not (each.default and each.field in fields)
        ]
        return replace(self, conditions=(*kept, *added))

    def from_price(self, price: float) -> "Query":
        """The deeper page: what costs ``price`` ($/h) or more, cheapest first. Offers at exactly that
        price come again; de-duplicate by id."""
        floor = max([price, *(float(c.value) for c in self._of("dph_total", "gte"))])  # type: ignore[arg-type]
        deeper = self.with_conditions(Condition("dph_total", "gte", floor))
        return replace(deeper, order=(Order("dph_total"),))

    def _of(self, name: str, op: Op) -> list[Condition]:
        return [each for each in self.conditions if each.field == name and each.op == op]

    @cached_property
    def _tests(self) -> tuple[Callable[[Any], bool], ...]:
        return tuple(_test(each) for each in self.conditions)

    def matches(self, offer: Any) -> bool:
        """The same conditions, on an Offer or on the server's dict of one (rule 9: searches have been
        seen to ignore filters). What the offer does not say fails a condition the user wrote, but not a
        default one, nor ``= false``. The disk must fit when the offer says how large it may be."""
        space = value_of(FIELDS["disk_space"], offer)
        if space is not None and space < self.disk_gb:
            return False
        return all(test(offer) for test in self._tests)

    def sorted(self, offers: Iterable[T]) -> list[T]:
        """In this query's order; what an offer does not say comes last. Equal ones keep their order."""
        out = list(offers)
        for each in reversed(self.order):
            about = FIELDS[each.field]
            keyed = [(value_of(about, offer), offer) for offer in out]
            known = [pair for pair in keyed if pair[0] is not None]
            known.sort(key=lambda pair: pair[0], reverse=each.descending)
            out = [offer for _, offer in known] + [offer for value, offer in keyed if value is None]
        return out


def _written(value: Value) -> str:
    if value is None:
        return "None"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    text = value.replace(" ", "_")
    plain = re.fullmatch(r"[^\s\[\],\"'=<>!][^\s\[\],\"']*", text) and text.lower() not in (*ANY, *LITERALS)
    return text if plain else f'"{text}"'


def _comparable(about: Field, value: Any) -> Any:
    """A sent or listed value as something that compares with its like."""
    if value is None:
        return None
    if about.kind is Kind.VERSION:
        return tuple(int(part) for part in re.findall(r"\d+", str(value))[:6])
    if about.kind in (Kind.NUMBER, Kind.WHOLE, Kind.DRIVER):
        return float(value)
    return value


def _test(condition: Condition) -> Callable[[Any], bool]:
    about, op = condition.about, condition.op
    wanted = condition.sent
    many = [_comparable(about, each) for each in wanted] if isinstance(wanted, list) else []
    one = None if isinstance(wanted, list) else _comparable(about, wanted)

    def test(offer: Any) -> bool:
        have = _comparable(about, value_of(about, offer))
        if have is None:
            if condition.default or op in ("neq", "notin"):
                return True
            return None in many if op == "in" else op == "eq" and (one is None or one is False)
        match op:
            case "eq":
                return bool(have == one)
            case "neq":
                return bool(have != one)
            case "in":
                return have in many
            case "notin":
                return have not in many
            case _ if one is None:
                return False
            case "gt":
                return bool(have > one)
            case "gte":
                return bool(have >= one)
            case "lt":
                return bool(have < one)
            case _:
                return bool(have <= one)

    return test
