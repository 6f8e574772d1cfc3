"""A log that follows its end: a pane of lines, and a line to search in them.

Bytes go in by ``feed``, several sources side by side; they are drawn in batches, however fast they come.
Any scrolling by the person stops following; End starts it again, and so does a click on "+1,234 lines".
Colours are kept, everything else a program wrote is made inert. ``/`` searches as one types.
"""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from choline_tui.widgets.log_pane import LogPane

__all__ = ["LogView"]


class LogView(Vertical):
    """Keeps the last ``max_lines``; ``empty`` is drawn until the first line comes."""

    DEFAULT_CSS = """
    LogView {
        height: 1fr;
        & > .log-search { height: 1; display: none; background: $panel; }
        &.-searching > .log-search { display: block; }
        & .log-search-sign { width: 2; color: $text-accent; text-style: bold; }
        & .log-search-input {
            width: 1fr; height: 1; border: none; padding: 0; background: $panel;
            &:focus { border: none; background: $panel; }
        }
        & .log-search-count { width: auto; padding: 0 1; color: $foreground 70%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", show=False, id="log.search"),
        Binding("escape", "end_search", "End the search", show=False, id="log.end_search"),
    ]

    class StateChanged(Message):
        """Following, wrapping, sources or search: whatever a screen says about them is to be said anew."""

        def __init__(self, log: "LogView") -> None:
            super().__init__()
            self.log = log

        @property
        def control(self) -> "LogView":
            return self.log

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, LogView.StateChanged) and message.log is self.log

    class CopyRequested(Message):
        """``text`` is to go to the clipboard; ``what`` it is, in words."""

        def __init__(self, log: "LogView", text: str, what: str) -> None:
            super().__init__()
            self.log = log
            self.text = text
            self.what = what

        @property
        def control(self) -> "LogView":
            return self.log

    def __init__(
        self,
        max_lines: int = 1_000_000,
        *,
        empty: str = "No output yet.",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.pane = LogPane(max_lines, empty=empty)

    def compose(self) -> ComposeResult:
        yield self.pane
        yield Horizontal(classes="log-search")

    def focus(self, scroll_visible: bool = True) -> "LogView":
        """The pane gets it."""
        self.pane.focus(scroll_visible)
        return self

    # ---- what comes
    def feed(self, source: str, data: bytes) -> None:
        """What ``source`` wrote, cut anywhere; it is on the screen within 100 ms."""
        self.pane.feed(source, data)

    def finish(self, source: str) -> None:
        """``source`` has ended: its last line counts, even without a newline."""
        self.pane.feed(source, None)

    def clear(self) -> None:
        self.pane.clear()

    def set_empty(self, empty: str) -> None:
        self.pane.empty = empty
        self.pane.refresh()

    # ---- what is shown
    @property
    def following(self) -> bool:
        return self.pane.following

    @property
    def wrap(self) -> bool:
        return self.pane.wrap

    @property
    def sources(self) -> tuple[str, ...]:
        """Those that said something, in the order in which they began."""
        return self.pane.sources

    @property
    def source(self) -> str | None:
        """The one whose lines are shown; None: all."""
        return self.pane.only

    @property
    def line_count(self) -> int:
        """Lines that are kept."""
        return len(self.pane.store)

    @property
    def dropped(self) -> int:
        """Older lines that are gone, so that memory stays bounded."""
        return self.pane.store.dropped

    @property
    def unseen(self) -> int:
        """Lines that came since following stopped."""
        return self.pane.unseen

    def follow(self) -> None:
        self.pane.follow()

    def set_wrap(self, wrap: bool) -> None:
        self.pane.set_wrap(wrap)

    def show_source(self, source: str | None) -> None:
        """The lines of one source; None: all of them, each after its source's name."""
        self.pane.show_source(source)

    # ---- search
    def search(self, needle: str) -> None:
        """Marks the lines that hold it and goes to the first from here on; "" ends it. Capitals count when
        there are any. ``n`` and ``N`` go on."""
        self.pane.search(needle)

    async def action_search(self) -> None:
        """Opens the search line."""
        bar = self.query_one(".log-search", Horizontal)
        if not bar.children:
            # most logs are never searched: these three are made when they are wanted
            await bar.mount(
                Static("/", classes="log-search-sign", markup=False),
                Input(classes="log-search-input", compact=True),
                Static("", classes="log-search-count", markup=False),
            )
        self.add_class("-searching")
        line = bar.query_one(Input)
        line.focus()
        line.action_end()

    def close_search(self) -> None:
        """Puts the search line away and the focus on the lines; what was found stays marked."""
        self.remove_class("-searching")
        self.pane.focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.pane.search(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.close_search()

    def action_end_search(self) -> None:
        """Nothing is searched for any more."""
        self.pane.search("")
        for line in self.query(Input):
            with line.prevent(Input.Changed):
                line.value = ""
        self.close_search()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        # with the search line closed, escape belongs to the pane, then to the screen
        return (
            self.has_class("-searching")
            if action == "end_search"
            else super().check_action(action, parameters)
        )

    @on(LogPane.StateChanged)
    def _state(self, event: LogPane.StateChanged) -> None:
        event.stop()
        for count in self.query(".log-search-count").results(Static):
            count.update(self.found_words)
        self.post_message(self.StateChanged(self))

    @property
    def found_words(self) -> str:
        """ "3 of 120", "no match", "12 so far"; "" when nothing is searched for."""
        pane = self.pane
        if not pane.needle:
            return ""
        if not pane.matches:
            return "searching" if pane.searching else "no match"
        so_far = " so far" if pane.searching else ""
        return f"{pane.current or '-'} of {pane.matches:,}{so_far}"

    @on(LogPane.CopyRequested)
    def _copy(self, event: LogPane.CopyRequested) -> None:
        event.stop()
        self.post_message(self.CopyRequested(self, event.text, event.what))
