"""What the screen holds of the market: rows as they came, how old and how complete they are. No drawing."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from choline_tui.kernel.errors import CholineError
    from choline_tui.services.market import OfferStep

__all__ = ["Market", "Needs", "Row", "age", "cap_over", "number_under", "place_of", "prices_of"]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Needs:
    """The run that prices and costs are for. Directions are the machine's: ``gb_up`` comes home."""

    hours: float = 8.0
    gb_up: float = 2.0
    gb_down: float = 10.0
    disk_gb: float | None = None
    """None: as the settings say"""
    type: str = ""
    """'': as the settings say"""


@dataclass
class Market:
    rows: dict[int, Row] = field(default_factory=dict)
    query: str = ""
    """what was asked, as text"""
    disk_gb: float = 0.0
    type: str = "on-demand"
    seen_at: float | None = None
    complete: bool = False
    cached: bool = False
    """all of it is from memory"""
    looking: bool = False
    used_today: int = 0
    ration: int = 0
    trouble: "CholineError | None" = None

    def begin(self, query: str) -> None:
        """Another question is asked: the rows that are here stay until the first answer."""
        self.query, self.looking, self.trouble = query, True, None

    def take(self, step: "OfferStep", *, first: bool) -> None:
        """``first``: the first step of a question; what was known of the last one goes."""
        if first and (step.rows or step.trouble is None):
            self.rows = {}
        for each in step.gone:
            self.rows.pop(each, None)
        self.rows.update((row["id"], row) for row in step.rows)
        if step.rows or step.trouble is None:
            self.seen_at, self.complete, self.cached = step.seen_at, step.complete, step.cached
        self.disk_gb, self.type = step.disk_gb, step.type
        self.used_today, self.ration = step.used_today, step.ration
        self.trouble = step.trouble
        self.looking = not step.last

    def stop(self, trouble: "CholineError | None" = None) -> None:
        self.looking = False
        if trouble is not None:
            self.trouble = trouble

    @property
    def count(self) -> str:
        """``64+`` until it is complete."""
        return f"{len(self.rows)}{'' if self.complete else '+'}"


def prices_of(rows: Iterable[Row]) -> list[float]:
    """Sorted hourly prices."""
    return sorted(row["price"] for row in rows if row.get("price") is not None)


def number_under(prices: list[float], cap: float) -> int:
    """How many of the sorted prices are not above the cap."""
    return bisect_right(prices, cap)


def cap_over(rows: Iterable[Row], premium: float) -> float | None:
    """$/h: the dearest of these and the premium (%), never below the price; None when none has a price.

    As ``model.export.cap_of``, which takes long to load.
    """
    prices = [row["price"] for row in rows if row.get("price") is not None]
    if not prices:
        return None
    top = float(max(prices))
    return max(top, round(top * (1 + premium / 100), 6))


def place_of(row: Row) -> str:
    return str(row.get("geolocation") or "")


def age(seconds: float) -> str:
    """``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    seconds = max(0.0, seconds)
    for size, unit, most in ((1, "s", 90), (60, "min", 5400), (3600, "h", 172800)):
        if seconds < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
