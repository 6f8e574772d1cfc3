"""Short texts, each with a word before it, in a column that scrolls: a timeline, a list of what is known.

Only what is on the screen is drawn; texts are wrapped beside their leads. Everything is made inert.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from choline_tui.kernel.text import plain
from choline_tui.widgets.columns import fit, inert
from choline_tui.widgets.glyphs import glyph, uses_ascii

__all__ = ["Fact", "Facts"]

_COLOURS = ("good", "warn", "bad", "dim", "accent", "head")
MOST_LEAD = 18
"""cells of the column of leads, at most"""


@dataclass(frozen=True, slots=True)
class Fact:
    """``lead``: the word before; '' continues. ``text`` may be foreign and have several lines. ``colour``:
    good, warn, bad, dim, accent or head (a heading: no lead, bold)."""

    lead: str
    text: str
    colour: str = ""


class Facts(ScrollView, can_focus=True, inherit_bindings=False):
    """``show`` what there is. ``follow``: stays at the end while it is there."""

    ALLOW_SELECT = True
    COMPONENT_CLASSES: ClassVar[set[str]] = {"facts--lead", *(f"facts--{name}" for name in _COLOURS)}
    DEFAULT_CSS = """
    Facts {
        background: $surface; color: $foreground; height: 1fr; padding: 0;
        overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; scrollbar-gutter: stable;
        & > .facts--lead { color: $foreground 60%; }
        & > .facts--head { color: $text-accent; text-style: bold; }
        & > .facts--good { color: $text-success; }
        & > .facts--warn { color: $text-warning; }
        & > .facts--bad { color: $text-error; text-style: bold; }
        & > .facts--dim { color: $foreground 60%; }
        & > .facts--accent { color: $text-accent; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll(-1)", "Up", show=False, id="facts.up"),
        Binding("down,j", "scroll(1)", "Down", show=False, id="facts.down"),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False, id="facts.page_up"),
        Binding("pagedown,ctrl+d,space", "page(1)", "Page down", show=False, id="facts.page_down"),
        Binding("home,g", "edge(0)", "First line", show=False, id="facts.first"),
        Binding("end,G", "edge(1)", "Last line", show=False, id="facts.last"),
        Binding("ctrl+c", "copy_facts", "Copy", show=False, id="facts.copy"),
    ]

    class CopyRequested(Message):
        """``text`` is to go to the clipboard."""

        def __init__(self, facts: "Facts", text: str) -> None:
            super().__init__()
            self.facts = facts
            self.text = text

    def __init__(self, *, follow: bool = False, empty: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self._facts: tuple[Fact, ...] = ()
        self._rows: list[tuple[str, str, str]] = []
        """lead, text, colour of each row of the screen"""
        self._lead = 0
        self._width = 0
        self._wraps: dict[tuple[str, int], list[str]] = {}
        self._styles: dict[str, Style] = {}
        self._follow = follow
        self._at_end = True
        self._empty = empty

    @property
    def facts(self) -> tuple[Fact, ...]:
        return self._facts

    def show(self, facts: Sequence[Fact]) -> None:
        """These and no others; where it was scrolled to stays."""
        new = tuple(facts)
        if new != self._facts:
            self._facts = new
            self._arrange()

    def text(self) -> str:
        """All of it, for the clipboard."""
        return "\n".join(
            f"{f.lead:<12}  {plain(f.text)}".rstrip() if f.lead else plain(f.text) for f in self._facts
        )

    # ---- rows
    def _arrange(self) -> None:
        width = self.scrollable_content_region.width
        if width <= 0:
            self._width = 0  # not shown now: arranged when it is
            return
        ascii = uses_ascii(self)
        self._width = width
        leads = [cell_len(inert(f.lead)) for f in self._facts if f.lead]
        self._lead = min(MOST_LEAD, max(leads, default=0), max(4, width // 3))
        room = max(8, width - self._lead - 3)
        rows: list[tuple[str, str, str]] = []
        wraps: dict[tuple[str, int], list[str]] = {}
        for fact in self._facts:
            whole = fact.colour == "head" or not fact.lead
            key = (fact.text, width - 2 if whole else room)
            lines = self._wraps.get(key)
            if lines is None:
                lines = _wrapped(*key)
            wraps[key] = lines
            lead = "" if whole else fit(fact.lead, self._lead, cut=glyph("cut", ascii))
            for line in lines:
                rows.append((lead, line, "head" if fact.colour == "head" else fact.colour))
                if not whole:
                    lead = " " * self._lead
        self._wraps = wraps
        self._rows = rows
        self.virtual_size = Size(0, len(rows))
        self._keep_to_end()
        self.refresh()

    def _keep_to_end(self) -> None:
        if self._follow and self._at_end:
            # forced: the scrollbar that allows it comes with the next layout
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        # not asked where it matters: a pane that became lower is not at its end, and nobody scrolled it
        self._at_end = round(new_value) >= self.max_scroll_y

    def _on_resize(self, event: object) -> None:
        self._fit()

    def on_show(self) -> None:
        # of the same size as before it was hidden: no resize tells
        self._fit()

    def _fit(self) -> None:
        if self.scrollable_content_region.width != self._width:
            self._arrange()
        else:
            self._keep_to_end()

    # ---- drawing
    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles = {}

    def _style(self, name: str) -> Style:
        found = self._styles.get(name)
        if found is None:
            found = self.rich_style if not name else self.get_component_rich_style(f"facts--{name}")
            self._styles[name] = found
        return found

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        base = self._style("")
        row = y + self.scroll_offset.y
        if not self._rows and y == 1 and self._empty:
            strip = Strip([Segment(fit(f" {self._empty}", width), self._style("dim"))])
        elif row < len(self._rows):
            lead, text, colour = self._rows[row]
            segments = [Segment(" ", base)]
            if lead:
                segments += [Segment(lead, self._style("lead")), Segment("  ", base)]
            segments += self._selected(row, text, self._style(colour), len(lead) + 3 if lead else 1)
            strip = Strip(segments).adjust_cell_length(width, base)
        else:
            return Strip.blank(width, base)
        return strip.apply_offsets(0, row)

    def _selected(self, row: int, text: str, style: Style, before: int) -> list[Segment]:
        selection = self.text_selection
        span = selection.get_span(row) if selection is not None else None
        if span is None:
            return [Segment(text, style)]
        start, end = span
        start = max(0, start - before)
        end = len(text) if end == -1 else max(0, end - before)
        chosen = style + self.screen.get_component_rich_style("screen--selection")
        parts = ((text[:start], style), (text[start:end], chosen), (text[end:], style))
        return [Segment(piece, how) for piece, how in parts if piece]

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        lines = [f" {lead}  {text}" if lead else f" {text}" for lead, text, _ in self._rows]
        return selection.extract("\n".join(lines)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    # ---- actions
    def action_scroll(self, by: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + by, animate=False, immediate=True)

    def action_page(self, by: int) -> None:
        self.action_scroll(by * max(1, self.size.height - 1))

    def action_edge(self, end: int) -> None:
        self.scroll_to(y=self.max_scroll_y if end else 0, animate=False, immediate=True)

    def action_copy_facts(self) -> None:
        selected = self.screen.get_selected_text()
        self.post_message(self.CopyRequested(self, selected or self.text()))


def _wrapped(text: str, width: int) -> list[str]:
    """Inert lines of at most ``width`` cells."""
    lines: list[str] = []
    for line in plain(text).expandtabs(4).split("\n"):
        if line.isascii():
            lines += textwrap.wrap(line, width, break_on_hyphens=False, drop_whitespace=True) or [""]
            continue
        lines += _folded(line, width)
    return lines


def _folded(line: str, width: int) -> list[str]:
    """As ``textwrap.wrap``, by cells."""
    found: list[str] = []
    now, used = "", 0
    for word in line.split(" "):
        size = cell_len(word)
        if now and used + 1 + size > width:
            found.append(now)
            now, used = "", 0
        if size > width:
            *whole, word = chop_cells(word, width) or [""]
            found += whole
            size = cell_len(word)
        now, used = (f"{now} {word}", used + 1 + size) if now else (word, size)
    return [*found, now]
