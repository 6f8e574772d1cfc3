"""What a table's columns are, which of them fit, how wide they become, and how a text fits into one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rich.cells import cell_len, set_cell_size

from choline_tui.kernel.text import plain

__all__ = ["GUTTER", "Column", "Layout", "Placed", "arrange", "fit", "inert"]

T = TypeVar("T")

GUTTER = 3
"""cells before the first column: the cursor's sign, the mark's, a blank"""


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    key: str
    label: str
    width: int
    """cells; at least"""
    value: Callable[[T], Any]
    """sort key; None (and NaN) last in both directions"""
    text: Callable[[T], str]
    """what is drawn: made inert and cut by the table"""
    right: bool = False
    priority: int = 0
    """0: always shown; the higher, the earlier it is dropped when the terminal is narrow"""
    style: Callable[[T], str] | None = None
    """"good" "warn" "bad" "dim" "accent" or "" """
    help: str = ""
    grow: int = 0
    """share of the width that is left over"""


@dataclass(frozen=True, slots=True)
class Placed(Generic[T]):
    """A column with its place: ``x`` cells from the row's beginning, ``width`` cells."""

    column: Column[T]
    x: int
    width: int


@dataclass(frozen=True, slots=True)
class Layout(Generic[T]):
    columns: tuple[Placed[T], ...]
    gap: int
    """cells between two columns"""
    width: int
    """cells of a whole row; more than the widget has: it scrolls sideways"""
    frozen: int
    """cells that stay when it scrolls sideways: gutter, first column, its gap"""

    def at(self, x: int) -> Column[T] | None:
        """The column that the cell ``x`` of a row belongs to (a gap belongs to the column before it)."""
        for placed in reversed(self.columns):
            if x >= placed.x:
                return placed.column
        return self.columns[0].column if self.columns and x >= 0 else None


def arrange(columns: Sequence[Column[T]], room: int, pinned: frozenset[str] = frozenset()) -> Layout[T]:
    """The columns that fit into ``room`` cells.

    Dropped first: the highest priority, of equals the last. Priority 0, ``pinned`` and the first column stay,
    even when that is too much. Two cells between columns when all of them fit so, else one.
    """
    kept = list(columns)
    gap = 2

    def width() -> int:
        return GUTTER + sum(c.width for c in kept) + gap * max(0, len(kept) - 1)

    if width() > room:
        gap = 1
    while width() > room:
        loose = [(c.priority, at) for at, c in enumerate(kept) if at and c.priority and c.key not in pinned]
        if not loose:
            break
        del kept[max(loose)[1]]
    spare = max(0, room - width())
    shares = sum(c.grow for c in kept)
    placed: list[Placed[T]] = []
    x = GUTTER
    for column in kept:
        extra = spare * column.grow // shares if shares else 0
        spare, shares = spare - extra, shares - column.grow
        placed.append(Placed(column, x, column.width + extra))
        x += column.width + extra + gap
    total = max(GUTTER, x - gap) if placed else GUTTER
    frozen = placed[0].x + placed[0].width + gap if placed else GUTTER
    return Layout(tuple(placed), gap, total, min(frozen, total))


_FLAT = str.maketrans("\n\t", "  ")


def inert(text: str) -> str:
    """One line that can do nothing but be read."""
    if text.isascii() and text.isprintable():
        return text
    return plain(text).translate(_FLAT)


def fit(text: str, width: int, right: bool = False, cut: str = "…") -> str:
    """``text``, made inert, in exactly ``width`` cells; what was cut off ends in ``cut``."""
    if width <= 0:
        return ""
    text = inert(text)
    size = len(text) if text.isascii() else cell_len(text)
    if size > width:
        text = set_cell_size(text, width - 1) + cut
        size = width
    blank = " " * (width - size)
    return blank + text if right else text + blank
