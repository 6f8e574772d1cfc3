"""An app around one widget, and what is on its screen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textual.app import App, ComposeResult
from textual.message import Message
from textual.pilot import Pilot
from textual.widget import Widget

from choline_tui.widgets.table import Column, Table


class Host(App[None]):
    """``seen``: the messages that bubbled up, of the kinds it was told to keep."""

    ascii = False

    def __init__(self, widget: Widget, *kinds: type[Message]) -> None:
        super().__init__()
        self.widget = widget
        self.kinds = kinds
        self.seen: list[Any] = []

    def compose(self) -> ComposeResult:
        yield self.widget

    async def _on_message(self, message: Message) -> None:
        if isinstance(message, self.kinds):
            self.seen.append(message)
        await super()._on_message(message)


def lines(app: App[Any]) -> list[str]:
    """The screen as text, a string a row."""
    return ["".join(s.text for s in strip) for strip in app.screen._compositor.render_strips()]


def cells(app: App[Any]) -> list[int]:
    """The cells that every row of the screen takes."""
    return [strip.cell_length for strip in app.screen._compositor.render_strips()]


async def until(pilot: Pilot[None], what: Callable[[], object], tries: int = 400) -> None:
    """Waits for what timers and workers bring about, by turns of the loop."""
    for _ in range(tries):
        if what():
            await pilot.pause()
            return
        await pilot.pause(0.01)
    raise AssertionError("it never came about")


@dataclass(frozen=True)
class Row:
    id: int
    name: str
    price: float | None


def columns(**more: Any) -> list[Column[Row]]:
    return [
        Column("name", "Name", 8, lambda r: r.name, lambda r: r.name, **more),
        Column(
            "price", "$/h", 7, lambda r: r.price, lambda r: "" if r.price is None else f"{r.price:.2f}", True
        ),
        Column("id", "Id", 5, lambda r: r.id, lambda r: str(r.id), right=True, priority=2),
        Column("rest", "Rest", 9, lambda r: r.name, lambda r: f"x{r.id}", priority=5, grow=1),
    ]


def rows(count: int) -> list[Row]:
    return [Row(n, f"n{n}", float(n * 7 % 10)) for n in range(count)]


def table(count: int = 0, **more: Any) -> Table[Row]:
    made: Table[Row] = Table(columns(), key=lambda r: r.id, **more)
    if count:
        made.set_records(rows(count))
    return made
