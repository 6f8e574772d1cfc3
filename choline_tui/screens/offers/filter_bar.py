"""The filter: typed in the official client's language or as bare words, with what it means said below."""

from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from choline_tui.kernel.text import plain
from choline_tui.widgets.glyphs import glyph, uses_ascii
from choline_tui.widgets.typing import FilterLine

if TYPE_CHECKING:
    from choline_tui.model.typed import Typed

__all__ = ["FilterBar", "FilterInput"]

MAX_TEXT = 2000


class FilterInput(FilterLine):
    """esc clears and leaves, enter asks the market, tab puts a mistake right, down goes to the list."""

    BINDINGS: ClassVar = [
        Binding("escape", "clear_filter", "Clear", id="filter.clear"),
        Binding("enter", "submit", "Ask the market", id="filter.ask"),
        Binding("tab", "put_right", "Put right", id="filter.fix"),
        Binding("down", "to_list", "To the list", show=False, id="filter.list"),
    ]

    LIST = "#offers"

    def action_put_right(self) -> None:
        bar = self.parent.parent if self.parent is not None else None
        if isinstance(bar, FilterBar) and not bar.put_right():
            self.action_to_list()


class FilterBar(Vertical):
    """``tell`` says what the text means. Messages of its ``FilterInput`` go up."""

    DEFAULT_CSS = """
    FilterBar { height: auto; width: 1fr; }
    FilterBar > Horizontal { height: 1; width: 1fr; }
    FilterBar #filter-sign { width: 3; height: 1; color: $accent; text-style: bold; }
    FilterBar FilterInput, FilterBar FilterInput:focus {
        border: none; height: 1; padding: 0; width: 1fr; background: $background;
    }
    FilterBar FilterInput:focus { background: $panel; }
    FilterBar #filter-count { width: auto; height: 1; padding: 0 1; color: $text-accent; }
    FilterBar #filter-says { height: auto; max-height: 3; padding-left: 3; display: none; }
    FilterBar #filter-says.-there { display: block; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._typed: Typed | None = None

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static(" / ", id="filter-sign", markup=False)
            yield FilterInput(
                placeholder="4090 sweden num_gpus>=2 dph<0.5", id="filter-input", max_length=MAX_TEXT,
                select_on_focus=False,
            )  # fmt: skip
            yield Static("", id="filter-count", markup=False)
        yield Static("", id="filter-says", markup=False)

    @property
    def input(self) -> FilterInput:
        return self.query_one("#filter-input", FilterInput)

    @property
    def text(self) -> str:
        return self.input.value

    def tell(self, typed: "Typed", count: str) -> None:
        """``count``: of what the finished part of the text lists."""
        self._typed = typed
        known = bool(self.text.strip()) and not typed.error
        self.query_one("#filter-count", Static).update(Content(plain(count) if known else ""))
        lines = self._lines(typed)
        says = self.query_one("#filter-says", Static)
        says.set_class(bool(lines), "-there")
        says.update(Content("\n").join(lines) if lines else Content(""))

    def _lines(self, typed: "Typed") -> list[Content]:
        text = self.text
        if not text.strip():
            return []
        ascii = uses_ascii(self)
        fix = "" if typed.fix is None else f"  tab: {plain(typed.fix.text)}"
        if typed.error:
            # right below the mistake, as far as it can be seen
            pointer = " " * max(0, min(typed.column, len(text)) - self._scrolled()) + "^ "
            width = self.size.width - 3
            line = f"{plain(typed.error)}"
            pointed = (
                pointer + line if len(pointer) + len(line) <= width else f"{line} (column {typed.column + 1})"
            )
            first = Content.styled(pointed, "$text-error")
            hint = f"{glyph('info', ascii)} {plain(typed.hint)}" if typed.hint else ""
            if typed.fix is not None and typed.hint == f"Did you mean {typed.fix.text}?":
                hint, fix = hint[:-1] + "?", "  tab puts it in"
            return [first, Content.styled(f"{hint}{fix}", "$text-accent")] if hint or fix else [first]
        if typed.pending:
            return [Content.styled(f"{glyph('cut', ascii)} {plain(typed.hint)}{fix}", "$muted")]
        if typed.warnings:
            sign = glyph("warn", ascii)
            first = Content.styled(f"{sign} {plain(typed.warnings[0])}", "$text-warning")
            return [Content.styled(f"tab: {fix[7:]}", "$text-accent"), first] if fix else [first]
        return []

    def _scrolled(self) -> int:
        return int(self.input.scroll_offset.x)

    def put_right(self) -> bool:
        """Take the better text that is offered; False when there is none."""
        if self._typed is None or self._typed.fix is None:
            return False
        box = self.input
        box.value = self._typed.fix.apply(box.value)
        box.cursor_position = len(box.value)
        return True

    def on_click(self, event: events.Click) -> None:
        if event.widget is not None and event.widget.id == "filter-says" and self.put_right():
            self.input.focus()
