"""How a table's lines look: header, rows, and the words for "nothing"."""

from collections.abc import Callable
from typing import Generic, TypeVar

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from choline_tui.widgets.columns import GUTTER, Layout, fit, inert
from choline_tui.widgets.glyphs import glyph

__all__ = ["Painter"]

T = TypeVar("T")


class Painter(Generic[T]):
    """``style`` gives the style of a component by its name, as it is now."""

    def __init__(self, style: Callable[[str], Style], console: Console, ascii: bool) -> None:
        self._style = style
        self._console = console
        self._ascii = ascii

    def header(self, layout: Layout[T], room: int, sort_key: str | None, reverse: bool) -> Strip:
        """The labels, and the sign of the order at the column it is by; ``room``: cells that are seen."""
        plain, chosen = self._style("header"), self._style("sorted")
        segments = [Segment(" " * GUTTER, plain)]
        gap = " " * layout.gap
        for placed in layout.columns:
            column = placed.column
            label = fit(column.label, placed.width, column.right, self._sign("cut"))
            if column.key != sort_key:
                segments.append(Segment(label + gap, plain))
                continue
            sign = self._sign("descending" if reverse else "ascending")
            # beside the label, in the gap when the label fills its column: numbers stay under their label
            text = label if column.right else label.rstrip()
            if placed.x + placed.width >= max(room, layout.width):
                # at the very end there is no gap
                text = fit(text.strip(), placed.width - 1, column.right, "")
            segments.append(Segment((text + sign).ljust(placed.width + len(gap)), chosen))
        return Strip(segments)

    def row(self, layout: Layout[T], record: T, ground: str, marked: bool, whole: str) -> Strip:
        """``ground``: what the row lies on; ``whole``: the name of a colour for all of it, or ""."""
        under = self._style(ground)
        # on the cursor its own colours win: they are the ones that can be read on it
        coloured = ground != "cursor"
        base = under + self._style(whole) if whole and coloured else under
        lead = self._sign("cursor") if ground == "cursor" else " "
        segments: list[Segment] = []
        text, style = lead, base
        if marked:
            segments.append(Segment(text, style))
            segments.append(Segment(self._sign("mark"), under + self._style("mark") if coloured else under))
            text = " "
        else:
            text += "  "
        gap = " " * layout.gap
        cut = self._sign("cut")
        for placed in layout.columns:
            column = placed.column
            name = column.style(record) if column.style is not None and coloured else ""
            wanted = under + self._style(name) if name else base
            if wanted is not style and wanted != style:
                segments.append(Segment(text, style))
                text, style = "", wanted
            text += fit(column.text(record), placed.width, column.right, cut) + gap
        segments.append(Segment(text, style))
        return Strip(segments)

    def empty(self, words: str, y: int, width: int, height: int) -> Strip:
        """The words for "nothing", in the middle."""
        lines = [inert(line) for line in words.split("\n")]
        room = max(1, width - 4)
        wrapped = [
            (piece.plain, number > 0)
            for number, line in enumerate(lines)
            for piece in Text(line).wrap(self._console, room)
        ]
        line = y - max(0, (height - len(wrapped)) // 2)
        base = self._style("base")
        if not 0 <= line < len(wrapped):
            return Strip.blank(width, base)
        text, dim = wrapped[line]
        style = base + (self._style("dim") if dim else self._style("empty"))
        text = fit(text.rstrip(), room, cut=self._sign("cut")).rstrip()
        left = max(0, (width - Segment(text).cell_length) // 2)
        return Strip([Segment(" " * left + text, style)]).extend_cell_length(width, base)

    def _sign(self, name: str) -> str:
        return glyph(name, self._ascii)
