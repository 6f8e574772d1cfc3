"""Conditions over offers, in the official client's language.

::

    gpu_name=RTX_4090 num_gpus>=2 dph<0.5 geolocation in [US,CA] verified=any

A condition is ``field op value``; spaces around the operator are optional. Operators: ``= == eq``,
``!= neq noteq "not eq"``, ``< lt``, ``<= lte``, ``> gt``, ``>= gte``, ``in``, ``notin nin "not in"``.
``_`` in a value is a space; lists are ``[a,b]`` or ``a,b``; ``any``, ``?`` and ``*`` take a field's
conditions away, a default one too. RAM is written in GB and sent in MB, duration in days and sent in
seconds. Conditions on one field add up; a condition on a field replaces its default.

Differences, all on the safe side: an unknown field is an error with suggestions instead of a warning,
numbers are sent as numbers, a driver version may have one to three parts.
"""

import re
from collections.abc import Sequence
from math import isfinite
from typing import Any, cast, get_args

from choline_tui.kernel.errors import QueryError
from choline_tui.model.conditions import ANY, DEFAULTS, MAX_PAGE, SIGNS, Condition, Op, Order, Query, Value
from choline_tui.model.gpu import gpu_names_for, split_gpu_spec
from choline_tui.model.market_types import GPU_NAMES, RentalType
from choline_tui.model.offer_fields import Field, Kind, canonical, driver_number, similar
from choline_tui.model.query_traps import traps

__all__ = [
    "DEFAULTS",
    "MAX_PAGE",
    "Condition",
    "Op",
    "Order",
    "Query",
    "Value",
    "gpu_spec",
    "parse_order",
    "parse_query",
    "parse_type",
    "read_condition",
]

MAX_TEXT = 4096
MAX_LIST = 256

_OPS: dict[str, Op] = {
    "=": "eq", "==": "eq", "eq": "eq", "!=": "neq", "neq": "neq", "noteq": "neq", "not eq": "neq",
    "<": "lt", "lt": "lt", "<=": "lte", "lte": "lte", ">": "gt", "gt": "gt", ">=": "gte", "gte": "gte",
    "in": "in", "notin": "notin", "nin": "notin", "not in": "notin",
}  # fmt: skip
_MISTAKES = {"=<": "<=", "=>": ">=", "<>": "!=", "=!": "!=", "===": "=", "!==": "!="}
_WORD_OP = re.compile(r"(?:not\s+in|not\s+eq|notin|noteq|nin|neq|eq|gte|gt|lte|lt|in)(?![A-Za-z0-9_])", re.I)
_SIGN_OP = re.compile(r"[=<>!]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_query(
    text: str,
    *,
    order: str | Sequence[Order] = "dph_total",
    type: str = "on-demand",
    disk_gb: float = 20.0,
    limit: int | None = None,
    defaults: bool = True,
) -> Query:
    """A query from its text. Raises QueryError with ``details['column']`` and a suggestion."""
    if len(text) > MAX_TEXT:
        raise QueryError(f"a query has at most {MAX_TEXT} characters", column=MAX_TEXT)
    if not isfinite(disk_gb) or disk_gb <= 0:
        raise QueryError("the disk must be a positive number of GB", column=0)
    if limit is not None and limit < 1:
        raise QueryError("the limit must be 1 or more", column=0)
    found: list[Condition] = list(DEFAULTS) if defaults else []
    warnings: list[str] = []
    at = 0
    while True:
        at = _skip(text, at)
        if at == len(text):
            break
        about, op, value, at, note = read_condition(text, at)
        warnings += note
        if value == ANY:
            found = [each for each in found if each.field != about.name]
            continue
        new = Condition(about.name, op, value)
        if any(c.field == new.field and c.op == op and not c.default and c.value != value for c in found):
            warnings.append(f"{about.name}{SIGNS[op]} is said twice: the last one counts")
        found = [c for c in found if not (c.field == new.field and (c.op == op or c.default))]
        found.append(new)
    conditions = tuple(found)
    orders = parse_order(order) if isinstance(order, str) else tuple(order)
    warnings += traps((c.field, c.op, c.value) for c in conditions if not c.default)
    return Query(conditions, orders, parse_type(type), float(disk_gb), limit, tuple(dict.fromkeys(warnings)))


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def read_condition(text: str, start: int) -> tuple[Field, Op, Any, int, list[str]]:
    """The condition that begins at ``start``: field, operator, value, where it ends, notes. Raises
    QueryError with ``details['column']``."""
    name = _NAME.match(text, start)
    if name is None:
        raise QueryError(
            f"a field name was expected at {text[start : start + 20]!r}",
            hint="A condition is 'field op value', for example num_gpus>=2; lists go in [a,b].",
            column=start,
        )
    about = _field(name[0], start)
    at = _skip(text, name.end())
    sign = _SIGN_OP.match(text, at) or _WORD_OP.match(text, at)
    if sign is None:
        raise QueryError(
            f"an operator was expected after {name[0]!r}",
            hint="Operators: = != < <= > >= in notin.",
            column=min(at, len(text)),
        )
    word = " ".join(sign[0].lower().split())
    if word not in _OPS:
        meant = _MISTAKES.get(word)
        raise QueryError(
            f"{sign[0]!r} is not an operator",
            hint=f"Did you mean {meant} ?" if meant else "Operators: = != < <= > >= in notin.",
            column=at,
        )
    op = _OPS[word]
    at = _skip(text, sign.end())
    items, bracketed, quoted, end = _values(text, at, about)
    if not quoted and not bracketed and items == [items[0]] and items[0][0].lower() in ANY:
        return about, op, ANY, end, []
    notes: list[str] = []
    if op in ("in", "notin"):
        return about, op, tuple(_value(about, op, *item) for item in items), end, notes
    if bracketed or len(items) > 1:
        if op not in ("eq", "neq"):
            raise QueryError(f"{word} takes one value, not a list", hint="Use in or notin.", column=at)
        op = "in" if op == "eq" else "notin"
        notes.append(f"{about.name}: a list was given, so it was read as '{op}'")
        return about, op, tuple(_value(about, op, *item) for item in items), end, notes
    if op not in ("eq", "neq") and not about.kind.ordered:
        raise QueryError(
            f"{about.name} is {about.kind}: {word} says nothing about it",
            hint="Use = != in or notin.",
            column=name.end(),
        )
    return about, op, _value(about, op, *items[0]), end, notes


def _field(name: str, column: int) -> Field:
    if name == "allocated_storage":
        raise QueryError(
            "allocated_storage is not a condition", hint="Say the disk with --disk.", column=column
        )
    about = canonical(name)
    if about is None:
        near = similar(name)
        raise QueryError(
            f"no field is called {name!r}",
            hint=f"Did you mean {', '.join(near)}?" if near else "'choline offers --help' lists the fields.",
            column=column,
        )
    return about


def _values(text: str, at: int, about: Field) -> tuple[list[tuple[str, bool, int]], bool, bool, int]:
    """The values at ``at`` as (text, quoted, column), whether in brackets, whether quoted, and the end."""
    if at == len(text):
        raise QueryError(f"a value is missing for {about.name}", column=at)
    if text[at] != "[":
        if text[at] in "\"'":
            value, end = _quoted(text, at)
            return [(value, True, at)], False, True, end
        run = re.compile(r"\S+").match(text, at)
        assert run is not None
        items = [(piece, False, at) for piece in run[0].split(",")]
        if any(not piece for piece, _, _ in items):
            raise QueryError(
                f"a value is missing beside the comma in {run[0]!r}", hint="Write lists as [a,b].", column=at
            )
        return items, False, False, run.end()
    items = []
    at = _skip(text, at + 1)
    while True:
        if at >= len(text):
            raise QueryError("a list is not closed", hint="Add ].", column=len(text))
        if text[at] == "]" and not items:
            raise QueryError("an empty list matches nothing", column=at)
        if text[at] in "\"'":
            value, end = _quoted(text, at)
            items.append((value, True, at))
        else:
            end = at
            while end < len(text) and text[end] not in ",]":
                end += 1
            items.append((text[at:end].strip(), False, at))
        if len(items) > MAX_LIST:
            raise QueryError(f"a list has at most {MAX_LIST} values", column=at)
        end = _skip(text, end)
        if end >= len(text):
            raise QueryError("a list is not closed", hint="Add ].", column=len(text))
        if text[end] not in ",]":
            raise QueryError("a comma or ] was expected in the list", column=end)
        at = _skip(text, end + 1)
        if text[end] == "]":
            return items, True, False, end + 1


def _quoted(text: str, at: int) -> tuple[str, int]:
    end = text.find(text[at], at + 1)
    if end < 0:
        raise QueryError("a quote is not closed", column=at)
    return text[at + 1 : end], end + 1


def _value(about: Field, op: Op, raw: str, quoted: bool, column: int) -> Value:
    words = " ".join(raw.replace("_", " ").split(" ")).strip()
    if not words:
        raise QueryError(f"a value is missing for {about.name}", column=column)
    if '"' in words:
        raise QueryError('a value cannot contain "', column=column)
    literal = words.lower() if not quoted else ""
    if literal in ("none", "null"):
        if op not in ("eq", "neq", "in", "notin"):
            raise QueryError("None can only be compared with = and !=", column=column)
        return None
    if about.kind is Kind.BOOL:
        found = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
            words.lower()
        )
        if found is None:
            raise QueryError(f"{about.name} is true or false, not {raw[:40]!r}", column=column)
        return found
    if about.kind in (Kind.NUMBER, Kind.WHOLE):
        return _number(about, words, raw, column)
    if about.kind is Kind.DRIVER and driver_number(words) is None:
        raise QueryError(
            f"{raw[:40]!r} is not a driver version",
            hint="For example driver_version>=535.86.05",
            column=column,
        )
    if about.kind is Kind.VERSION and not re.fullmatch(r"\d{1,6}(\.\d{1,6}){0,5}", words, re.ASCII):
        raise QueryError(
            f"{raw[:40]!r} is not a version", hint=f"For example {about.name}>=22.04", column=column
        )
    return words.upper() if about.kind is Kind.COUNTRY and len(words) == 2 else words


def _number(about: Field, words: str, raw: str, column: int) -> float | int:
    if re.fullmatch(r"[+-]?\d{1,15}", words, re.ASCII):
        return int(words)
    try:
        number = float(words) if words.isascii() else float("nan")
    except ValueError:
        number = float("nan")
    if not isfinite(number) or not isfinite(number * about.times):
        unit = f" ({about.unit})" if about.unit else ""
        raise QueryError(
            f"{about.name} is a number{unit}, not {raw[:40]!r}",
            hint="Write the number alone, without its unit.",
            column=column,
        )
    return number


def parse_order(text: str) -> tuple[Order, ...]:
    """``dph_total,num_gpus-``: ``-`` in front or behind is descending. Raises QueryError."""
    out: list[Order] = []
    at = 0
    for piece in text.split(","):
        name = piece.strip()
        column = at + len(piece) - len(piece.lstrip())
        at += len(piece) + 1
        descending = name.startswith("-") or name.endswith("-")
        name = name.strip("+-")
        if not name:
            raise QueryError(
                "a field to sort by is missing", hint="For example dph_total,num_gpus-", column=column
            )
        out.append(Order(_field(name, column).name, descending))
    return tuple({each.field: each for each in reversed(out)}.values())[::-1]


def parse_type(text: str) -> RentalType:
    """A rental type by any of its names. Raises QueryError."""
    names = {"ondemand": "on-demand", "bid": "interruptible", "spot": "interruptible"}
    name = names.get(text.lower(), text.lower())
    if name not in get_args(RentalType):
        hint = "Reserve a running rental on the market's own page." if name == "reserved" else ""
        raise QueryError(
            f"the type is on-demand or interruptible, not {text[:40]!r}", hint=hint or None, column=0
        )
    return cast(RentalType, name)


def gpu_spec(spec: str, names: Sequence[str] = GPU_NAMES) -> tuple[Condition, Condition]:
    """``2x4090`` as conditions on gpu_name and num_gpus (1 unless said). Raises QueryError."""
    count, short = split_gpu_spec(spec)
    found = gpu_names_for(short, names)
    name = Condition("gpu_name", "eq", found[0]) if len(found) == 1 else Condition("gpu_name", "in", found)
    return name, Condition("num_gpus", "eq", count)
