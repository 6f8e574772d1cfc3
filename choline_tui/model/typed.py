"""A filter while it is being typed: the official client's language, and bare words.

A bare word is a GPU (``4090``, ``2xh100``, ``a100``) or a place (``SE``, ``sweden``, ``texas``). GPUs that
are named side by side add up, so do places. What is not finished is no mistake: ``gpu_ram>`` waits for its
number, and what stands before it holds already.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from choline_tui.kernel.errors import QueryError
from choline_tui.model.conditions import SIGNS, Condition, Query
from choline_tui.model.countries import COUNTRIES, country_codes
from choline_tui.model.gpu import gpu_names_for, split_gpu_spec
from choline_tui.model.market_types import GPU_NAMES
from choline_tui.model.offer_fields import ALIASES, FIELDS, Kind, canonical, value_of
from choline_tui.model.query import parse_query, read_condition

__all__ = ["Fix", "Typed", "read_typed"]

_TOKEN = re.compile(r"[^\s=<>!\[\]\",']+")
_OPERATOR = re.compile(r"\s*[=<>!]")
_WORD_OPERATOR = re.compile(
    r"\s+(?:not\s+in|not\s+eq|notin|noteq|nin|neq|eq|gte|gt|lte|lt|in)(?![\w.])", re.I
)
_UNFINISHED_NUMBER = re.compile(r"[+-]?(?:\d+\.?|\.)?\d*(?:[eE][+-]?)?", re.ASCII)
MAX_CHOICES = 6


@dataclass(frozen=True)
class Fix:
    """Put ``text`` in place of what stands from ``start`` to ``end``."""

    start: int
    end: int
    text: str

    def apply(self, typed: str) -> str:
        return typed[: self.start] + self.text + typed[self.end :]


@dataclass(frozen=True)
class Typed:
    """What can be done with a text so far. ``query`` holds what is finished and right, whatever follows."""

    query: Query
    words: tuple[str, ...] = ()
    """bare words that only offers already here can answer (a town)"""
    error: str = ""
    """what is wrong, in one line; '' when nothing is"""
    hint: str = ""
    column: int = 0
    """0-based column of the mistake, or of what is not finished"""
    pending: bool = False
    """not finished, not wrong: ``hint`` says what comes next"""
    choices: tuple[str, ...] = ()
    """what the last word may become"""
    warnings: tuple[str, ...] = ()
    fix: Fix | None = None
    """a better text for the first mistake or trap"""
    _tests: tuple[Callable[[Any], bool], ...] = field(default=(), compare=False, repr=False)

    @property
    def good(self) -> bool:
        """Whole and right: it can be asked of the market."""
        return not self.error and not self.pending

    def matches(self, offer: Any) -> bool:
        """Of an offer (model or row): conditions and bare words."""
        if not self.query.matches(offer):
            return False
        return not self.words or _in_place(self.words, offer)


def _in_place(words: Sequence[str], offer: Any) -> bool:
    place = str(value_of(FIELDS["hostname"], offer) or "") + " "
    get = offer.get if hasattr(offer, "get") else lambda name: getattr(offer, name, None)
    place += str(get("geolocation") or "")
    return any(word in place.lower() for word in words)


class _Stop(Exception):
    def __init__(self, **said: Any) -> None:
        super().__init__()
        self.said = said


def read_typed(
    text: str,
    base: Query | None = None,
    *,
    names: Sequence[str] = GPU_NAMES,
    places: Iterable[str] = (),
    finished: bool = False,
) -> Typed:
    """What ``text`` means so far. Order, type and disk are ``base``'s; ``names``: GPUs there are;
    ``places``: those of the offers that are here. ``finished``: nobody is typing any more, so what is
    missing is a mistake. Never raises."""
    base = base or Query()
    reader = _Reader(text, tuple(names), tuple(p.lower() for p in places))
    said: dict[str, Any] = {}
    try:
        reader.read()
    except _Stop as stop:
        said = stop.said
    try:
        query = parse_query(" ".join(reader.terms), order=base.order, type=base.type, disk_gb=base.disk_gb)
    except QueryError as error:  # too long, for one
        return Typed(
            replace(base), error=error.message, hint=error.hint, column=error.details.get("column", 0)
        )
    if reader.gpus:
        query = query.with_conditions(*_words_as_conditions(query, "gpu_name", reader.gpus))
    if reader.counts:
        query = query.with_conditions(_one_of("num_gpus", reader.counts))
    if reader.codes and not reader.places:
        query = query.with_conditions(*_words_as_conditions(query, "geolocation", reader.codes))
    query = replace(query, limit=base.limit)
    words = (*reader.places, *(f", {code.lower()}" for code in reader.codes)) if reader.places else ()
    fix = said.pop("fix", None) or reader.fix
    if finished and said.pop("pending", False):
        said["error"] = said.get("hint") or "it is not finished"
        said["hint"] = ""
    return Typed(query, words, warnings=query.warnings, fix=fix, **said)


def _one_of(name: str, values: Iterable[Any]) -> Condition:
    found = tuple(dict.fromkeys(values))
    return Condition(name, "eq", found[0]) if len(found) == 1 else Condition(name, "in", found)


def _words_as_conditions(query: Query, name: str, values: Iterable[str]) -> list[Condition]:
    """Words narrow what conditions on the same field already say."""
    stated = [c for c in query.conditions if c.field == name]
    kept = list(dict.fromkeys(values))
    for each in stated:
        mine = each.value if isinstance(each.value, tuple) else (each.value,)
        if each.op in ("eq", "in"):
            kept = [v for v in kept if v in mine] or kept
    return [_one_of(name, kept)]


class _Reader:
    def __init__(self, text: str, names: tuple[str, ...], places: tuple[str, ...]) -> None:
        self.text, self.names, self.known_places = text, names, places
        self.terms: list[str] = []
        self.gpus: list[str] = []
        self.counts: list[int] = []
        self.codes: list[str] = []
        self.places: list[str] = []
        self.fix: Fix | None = None

    def read(self) -> None:
        at = 0
        while True:
            while at < len(self.text) and self.text[at].isspace():
                at += 1
            if at == len(self.text):
                return
            at = self._term(at)

    def _term(self, at: int) -> int:
        token = _TOKEN.match(self.text, at)
        if token is not None:
            after = token.end()
            known = canonical(token[0]) is not None
            stated = _OPERATOR.match(self.text, after) or (known and _WORD_OPERATOR.match(self.text, after))
            if not stated:
                return self._word(token[0], at, after, known)
        return self._stated(at)

    # ---- conditions

    def _stated(self, at: int) -> int:
        try:
            about, op, value, end, _notes = read_condition(self.text, at)
        except QueryError as error:
            raise self._unfinished(error, at) from None
        self.terms.append(self.text[at:end])
        if self.fix is None:
            self.fix = self._trap(about, op, value, at, end)
        if about.name == "gpu_name" and op in ("eq", "neq") and isinstance(value, str):
            self._name_with_spaces(value, op, at, end)
        return end

    def _name_with_spaces(self, value: str, op: str, at: int, end: int) -> None:
        """``gpu_name=RTX 4090`` was meant as one name."""
        if value in self.names:
            return
        longest: tuple[str, int] | None = None
        said, stop = value, end
        for _ in range(4):
            following = re.compile(r"\s+([\w.-]+)(?!\s*[=<>!])").match(self.text, stop)
            if following is None:
                break
            said, stop = f"{said} {following[1]}", following.end()
            name = next((n for n in self.names if n.lower() == said.lower()), None)
            if name is not None:
                longest = (name, stop)
        if longest is not None:
            name, stop = longest
            written = name.replace(" ", "_")
            self.terms[-1] = f"gpu_name{SIGNS[op]}{written}"
            raise _Stop(
                error=f"a name with a space is written with _: gpu_name{SIGNS[op]}{written}",
                column=end,
                fix=Fix(at, stop, f"gpu_name{SIGNS[op]}{written}"),
            )

    def _trap(self, about: Any, op: str, value: Any, at: int, end: int) -> Fix | None:
        if op == "eq" and about.kind is Kind.NUMBER and isinstance(value, (int, float)):
            if about.name in ("gpu_frac", "pci_gen"):
                return None
            sign = "<=" if about.name in ("dph_total", "dph_base", "min_bid", "storage_cost") else ">="
            written = re.split(r"[=<>!\s]", self.text[at:end], maxsplit=1)[0]
            return Fix(at, end, f"{written}{sign}{value}")
        if "reliability" in about.name and isinstance(value, (int, float)) and 1 < value <= 100:
            return Fix(at, end, f"{about.name}{SIGNS[op]}{value / 100:g}")
        if about.name == "gpu_name" and op == "eq" and isinstance(value, str) and value not in self.names:
            lower = {name.lower(): name for name in self.names}
            near = lower.get(value.lower()) or next(
                (lower[k] for k in get_close_matches(value.lower(), lower, n=1, cutoff=0.5)), None
            )
            return Fix(at, end, f"gpu_name={near.replace(' ', '_')}") if near else None
        return None

    def _unfinished(self, error: QueryError, at: int) -> _Stop:
        """A mistake, or only something that is not there yet."""
        column = int(error.details.get("column", at))
        rest = self.text[column:]
        if not rest or rest == "!" or error.message == "a quote is not closed":
            return _Stop(pending=True, hint=error.message, column=len(self.text))
        if column > at and not rest[-1].isspace() and "," not in rest:
            name = _TOKEN.match(self.text, at)
            about = canonical(name[0]) if name else None
            if about is not None and _may_become(about.kind, rest):
                return _Stop(pending=True, hint=f"{about.name} is {_wants(about)}", column=column)
        fix = None
        name = _TOKEN.match(self.text, at)
        if name is not None and column == at and canonical(name[0]) is None:
            near = get_close_matches(name[0], [*FIELDS, *ALIASES], n=1, cutoff=0.6)
            fix = Fix(at, name.end(), near[0]) if near else None
        elif error.hint.startswith("Did you mean ") and rest:
            sign = re.match(r"[=<>!]+", rest)
            meant = error.hint.removeprefix("Did you mean ").removesuffix("?").strip()
            fix = Fix(column, column + sign.end(), meant) if sign else None
        return _Stop(error=error.message, hint=error.hint, column=column, fix=fix)

    # ---- bare words

    def _word(self, word: str, at: int, end: int, known: bool) -> int:
        last = end == len(self.text)
        fields = [name for name in (*FIELDS, *ALIASES) if name.startswith(word.lower())]
        if known:
            # a field that waits for its operator, unless something else stands behind it
            if not self.text[end:].strip():
                about = canonical(word)
                sign = ">=" if about is not None and about.kind.ordered else "="
                hint = f"an operator comes next, such as {word}{sign}..."
                raise _Stop(pending=True, hint=hint, column=len(self.text), choices=_short(fields))
            raise _Stop(
                error=f"an operator was expected after {word!r}",
                hint="Operators: = != < <= > >= in notin.",
                column=end,
            )
        if self._gpu(word) or self._place(word):
            return end
        if last and (fields or self._begins_something(word)):
            raise _Stop(
                pending=True,
                hint=f"{', '.join(_short(fields))}..." if fields else "a GPU or a place",
                column=at,
                choices=_short(fields),
            )
        raise self._stranger(word, at, end)

    def _gpu(self, word: str) -> bool:
        try:
            count, short = split_gpu_spec(word)
            counted = re.match(r"\d+[xX×]", word) is not None
        except QueryError:
            return False
        found: Sequence[str]
        try:
            found = gpu_names_for(short, self.names)
        except QueryError:
            key = re.sub(r"[^a-z0-9]", "", short.lower())
            found = [n for n in self.names if len(key) > 1 and key in re.sub(r"[^a-z0-9]", "", n.lower())]
            if key.isalpha() and country_codes(word):
                found = []  # "us" is no part of a GPU's name before it is a country
        if not found:
            return False
        self.gpus += found
        if counted:
            self.counts.append(count)
        return True

    def _place(self, word: str) -> bool:
        codes = country_codes(word)
        lower = word.lower()
        if codes:
            self.codes += codes
            return True
        if len(lower) >= 3 and any(lower in place for place in self.known_places):
            self.places.append(lower)
            return True
        return False

    def _begins_something(self, word: str) -> bool:
        key = word.lower()
        if re.fullmatch(r"\d{1,2}[xX]?", word):
            return True  # a number of GPUs, or the beginning of one's name
        heads = [part for name in self.names for part in name.lower().split()]
        heads += [part for name in COUNTRIES.values() for part in name.lower().split()]
        heads += [part for place in self.known_places for part in re.split(r"[\s,]+", place)]
        return any(head.startswith(key) for head in heads)

    def _stranger(self, word: str, at: int, end: int) -> _Stop:
        lower = {part: part for part in (*FIELDS, *ALIASES)}
        lower |= {name.lower().replace(" ", "_"): name.replace(" ", "_") for name in self.names}
        lower |= {name.lower(): name for name in COUNTRIES.values() if " " not in name}
        lower |= {
            part: part for place in self.known_places for part in re.split(r"[\s,]+", place) if len(part) > 3
        }
        near = [lower[k] for k in get_close_matches(word.lower(), lower, n=3, cutoff=0.6)]
        return _Stop(
            error=f"no GPU, place or field is called {word[:40]!r}",
            hint=f"Did you mean {', '.join(near)}?"
            if near
            else "For example: 4090 sweden num_gpus>=2 dph<0.5",
            column=at,
            fix=Fix(at, end, near[0]) if near else None,
        )


def _short(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))[:MAX_CHOICES]


def _wants(about: Any) -> str:
    unit = f" ({about.unit})" if about.unit else ""
    return f"{about.kind}{unit}"


def _may_become(kind: Kind, written: str) -> bool:
    """Whether what stands there can be the beginning of a value."""
    if kind is Kind.BOOL:
        return any(word.startswith(written.lower()) for word in ("true", "false", "any", "yes", "no"))
    if kind in (Kind.NUMBER, Kind.WHOLE):
        return _UNFINISHED_NUMBER.fullmatch(written) is not None or "any".startswith(written.lower())
    if kind in (Kind.DRIVER, Kind.VERSION):
        return re.fullmatch(r"(\d+\.)+", written, re.ASCII) is not None
    return False
