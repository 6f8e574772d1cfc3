"""Faults on purpose: what goes wrong with which request or contract, and when. Seeded, so it repeats.

A plan is TOML, one ``[[fault]]`` for everything that shall go wrong::

    name = "my bad day"
    seed = 7                        # of the plan's chances; default: the market's seed

    [[fault]]
    what = "lost"                   # a name of the lists below
    on = "PUT /api/v0/asks/*"       # method and path, * for anything; or a route by name, "ask.create";
                                    # default: every request
    nth = [1, 3]                    # only these of the requests that match, counted from 1
    chance = 0.2                    # and of those one in five; default 1
    times = 2                       # at most so often; default: always
    from_s = 600                    # from so many seconds after the market began
    until_s = 1200                  # and until then
    acted = true                    # error answers: after the server did what was asked; default false

    [[fault]]
    what = "ssh-refused"            # faults of contracts: ``on`` is a pattern of labels (no label: "")
    chance = 0.3                    # of all contracts; ``nth`` counts contracts
    delay_s = 60                    # after it runs for the first time; default 0
    seconds = 300                   # for so long

The first fault of the file that fits a request is the one that hits it; a contract may have several.

Faults of requests, instead of the market's answer (with ``acted`` after the market acted): ``429-plain``
``429-threshold`` ``429-detail`` ``429-json`` ``quota`` ``500`` ``502`` ``503`` ``504`` (HTML) ``500-json``
``401-key`` ``401-volume`` ``401-2fa`` ``403-login`` ``403-scope`` ``404-key`` ``404-session`` ``404``
``410`` ``no-credit`` ``spend-limit`` ``no-such-ask`` ``no-such-ask-200`` ``forbidden-host``, and
``refused`` (the connection is reset before the market saw anything).

Faults of answers, after the market acted: ``lost`` (no answer) ``reset`` (in the middle of the body)
``slow`` (after ``seconds``, default 60) ``empty`` ``cut`` ``malformed`` ``html`` ``text`` ``null``
``number`` ``huge`` (32 MiB) and, of answers with rows, ``rows-short`` (``rows`` missing, default 1, while
the counts tell the truth) ``rows-short-consistent`` (the counts lie too) ``rows-none`` ``rows-null``
``rows-wrong-shape`` ``rows-without-id``, and ``api-v2`` (unknown fields and states, nulls, text for numbers).

Faults of the market: ``taken`` (somebody rents the offer just before this rent, for ``seconds``, default
3600).

Faults of contracts: see ``mishaps``.
"""

import tomllib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from random import Random
from typing import Any

from choline_tui.kernel.clock import Clock
from choline_tui.kernel.errors import ConfigError
from choline_tui.simulator.bad_days import BAD_DAYS
from choline_tui.simulator.spoil import REFUSING, SPOILING, Figures
from choline_tui.simulator.wire import Lost, Request, Response

__all__ = ["CONTRACT_FAULTS", "REQUEST_FAULTS", "FaultPlan", "Rule"]

CONTRACT_FAULTS = frozenset(
    """wrong-price bad-image late-ports late-key proxy-closed start-fails ssh-refused ssh-dropped disk-full
    host-lost outbid stopped price-increase""".split()  # noqa: SIM905
)
MARKET_FAULTS = frozenset({"taken"})
REQUEST_FAULTS = frozenset({*REFUSING, *SPOILING, *MARKET_FAULTS, "refused"})
MAX_FIRED = 10_000
SECONDS = {"slow": 60.0, "taken": 3600.0}
"""how long, when a rule does not say"""


@dataclass(frozen=True)
class Rule:
    """One fault; the fields are those of the file. Raises ``ConfigError`` when it makes no sense."""

    what: str
    on: str = "*"
    nth: tuple[int, ...] = ()
    chance: float = 1.0
    times: int = 0
    """0: always"""
    from_s: float = 0.0
    until_s: float = float("inf")
    acted: bool = False
    seconds: float | None = None
    delay_s: float = 0.0
    factor: float = 2.0
    """what a price is multiplied with"""
    rows: int = 1
    text: str = ""
    """of a bad image: what the host says"""

    def __post_init__(self) -> None:
        if self.what not in REQUEST_FAULTS | CONTRACT_FAULTS:
            raise ConfigError(
                f"there is no fault {self.what[:60]!r}{_near(self.what, REQUEST_FAULTS | CONTRACT_FAULTS)}",
                hint="The names stand in the documentation of choline_tui.simulator.faults.",
            )
        numbers = [self.times, self.from_s, self.until_s, self.delay_s, self.rows, *self.nth]
        if not 0 <= self.chance <= 1:
            raise ConfigError(f"fault {self.what}: chance is a number from 0 to 1")
        if any(n < 0 for n in numbers) or (self.seconds or 0) < 0 or not 0 < self.factor <= 1000:
            raise ConfigError(f"fault {self.what}: a figure makes no sense")

    @property
    def of_contracts(self) -> bool:
        return self.what in CONTRACT_FAULTS

    def matches(self, request: Request, route: str) -> bool:
        path = "/" + request.path.strip("/")
        method, _, pattern = self.on.rpartition(" ")
        pattern = pattern.rstrip("/") if len(pattern) > 1 else pattern
        if method and method.upper() != request.method.upper():
            return False
        return fnmatchcase(path, pattern) or fnmatchcase(route, pattern)


class _Count:
    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.seen = 0
        self.fired = 0

    def fires(self, rule: Rule, age: float) -> bool:
        self.seen += 1
        # drawn for every match, so that the other conditions do not change what comes after
        lucky = self.rng.random() < rule.chance
        fires = lucky and (not rule.nth or self.seen in rule.nth) and rule.from_s <= age < rule.until_s
        fires = fires and not (rule.times and self.fired >= rule.times)
        self.fired += fires
        return fires


class FaultPlan:
    """Rules with their counters. ``fired``: (s since the market began, fault, request or contract).

    ``route_of`` names the route of a request and ``take`` rents an offer away ``(offer, s)``: the
    simulator sets them, with ``began`` (epoch s).
    """

    def __init__(self, rules: list[Rule], *, seed: int = 7, name: str = "") -> None:
        self.rules = list(rules)
        self.name = name
        self.active = True
        """False: nothing goes wrong any more"""
        self.fired: deque[tuple[float, str, str]] = deque(maxlen=MAX_FIRED)
        self.route_of: Callable[[Request], str] = lambda request: ""
        self.take: Callable[[int, float], object] = lambda offer, seconds: None
        self.began = 0.0
        self._seed = seed
        self._counts = [self._count(number) for number in range(len(self.rules))]

    def _count(self, number: int) -> _Count:
        return _Count(Random(f"fault/{self._seed}/{number}/{self.rules[number].what}"))

    def add(self, rule: Rule) -> None:
        self.rules.append(rule)
        self._counts.append(self._count(len(self.rules) - 1))

    # ---- reading plans

    @classmethod
    def from_toml(cls, text: str, *, seed: int = 7, name: str = "") -> "FaultPlan":
        """Raises ``ConfigError`` for text that is no plan."""
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"the faults {name or 'given'} are not TOML: {error}") from None
        _known(data, {"name", "seed", "fault"}, "the faults")
        entries = data.get("fault", [])
        given_seed, title = data.get("seed", seed), data.get("name", name)
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise ConfigError("faults are written as [[fault]]")
        if not isinstance(given_seed, int) or not isinstance(title, str):
            raise ConfigError("the faults' seed is a number and their name a text")
        return cls([_rule(entry) for entry in entries], seed=given_seed, name=title)

    @classmethod
    def load(cls, name_or_path: str, *, seed: int = 7) -> "FaultPlan":
        """A named bad day (``bad_days``) or a TOML file. Raises ``ConfigError``."""
        if name_or_path in BAD_DAYS:
            return cls.from_toml(BAD_DAYS[name_or_path], seed=seed, name=name_or_path)
        path = Path(name_or_path)
        try:
            return cls.from_toml(path.read_text("utf-8"), seed=seed, name=path.stem)
        except (OSError, UnicodeDecodeError) as error:
            words = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ConfigError(
                f"cannot read faults from {name_or_path}: {words}{_near(name_or_path, BAD_DAYS)}",
                hint=f"Give a TOML file, or one of {', '.join(BAD_DAYS)}.",
            ) from None

    # ---- requests

    def hit(self, request: Request, age: float) -> Rule | None:
        """The fault that hits this request, if any; counts it. ``age``: s since the market began."""
        if not (self.active and self.rules):
            return None
        route, hit = self.route_of(request), None
        for rule, count in zip(self.rules, self._counts, strict=True):
            if rule.of_contracts or not rule.matches(request, route):
                continue
            if hit is None and count.fires(rule, age):
                hit = rule
                self.fired.append((age, rule.what, f"{request.method} {request.path}"))
            elif hit is not None:
                count.seen += 1
        return hit

    async def handle(
        self, request: Request, act: Callable[[Request], Awaitable[Response]], clock: Clock
    ) -> Response:
        """Answer a request with whatever hits it; ``act`` is the market. Raises ``Lost``."""
        rule = self.hit(request, clock.time() - self.began)
        if rule is None:
            return await act(request)
        if rule.what == "refused":
            raise Lost
        if rule.what in REFUSING:
            if rule.acted:
                await act(request)
            return REFUSING[rule.what](Figures(now=clock.time()))
        seconds = SECONDS.get(rule.what, 0.0) if rule.seconds is None else rule.seconds
        if rule.what == "taken":
            offer = request.path.strip("/").rpartition("/")[2]
            if offer.isdigit():
                self.take(int(offer), seconds)
            return await act(request)
        answer = await act(request)
        if seconds:
            await clock.sleep(seconds)
        return SPOILING[rule.what](answer, Figures(rule.rows, clock.time()))

    # ---- contracts

    def hits_of_contract(self, label: str, age: float) -> list[Rule]:
        """The faults that a contract made now will have."""
        if not self.active:
            return []
        found = []
        for rule, count in zip(self.rules, self._counts, strict=True):
            if rule.of_contracts and fnmatchcase(label, rule.on) and count.fires(rule, age):
                found.append(rule)
                self.fired.append((age, rule.what, f"contract {label}"))
        return found


def _near(word: str, known: Any) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _known(data: dict[str, Any], known: set[str], where: str) -> None:
    for key in data:
        if key not in known:
            raise ConfigError(f"{where} know no key {key[:60]!r}{_near(key, known)}")


def _rule(entry: dict[str, Any]) -> Rule:
    _known(entry, {field.name for field in fields(Rule)}, "faults")
    kinds: dict[str, Any] = {
        "what": str,
        "on": str,
        "text": str,
        "times": int,
        "rows": int,
        "acted": bool,
        **dict.fromkeys(("chance", "from_s", "until_s", "seconds", "delay_s", "factor"), (int, float)),
    }
    values = dict(entry)
    nth = values.pop("nth", ())
    nth = (nth,) if isinstance(nth, int) else nth
    for key, value in values.items():
        # true is a number in Python
        wrong = not isinstance(value, kinds[key]) or (kinds[key] is not bool and isinstance(value, bool))
        if wrong:
            raise ConfigError(f"fault {entry.get('what', '')!s:.60}: {key} cannot be {str(value)[:60]!r}")
    if not isinstance(nth, list | tuple) or not all(isinstance(n, int) and n > 0 for n in nth):
        raise ConfigError(f"fault {entry.get('what', '')!s:.60}: nth is a list of numbers from 1")
    if "what" not in values:
        raise ConfigError("a fault needs 'what'")
    return Rule(**values, nth=tuple(nth))
