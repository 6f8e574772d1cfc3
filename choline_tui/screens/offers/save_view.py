"""Writing what is listed to a file: every number as exact as the market gave it."""

import csv
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Input, Static

from choline_tui.kernel.text import plain
from choline_tui.screens.offers.market import Row
from choline_tui.screens.windows import Window
from choline_tui.widgets.columns import Column

__all__ = ["SaveScreen", "as_csv", "as_json", "write_new"]


def as_csv(rows: Sequence[Row], columns: Sequence[Column[Row]]) -> str:
    """One line an offer, its id first, then the columns in their order; unknown is empty."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["id", *(column.key for column in columns)])
    for row in rows:
        writer.writerow([row.get("id"), *(_cell(column.value(row)) for column in columns)])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value  # a spreadsheet would carry out what a stranger wrote
    return "" if value is None else value


def as_json(rows: Sequence[Row]) -> str:
    """Everything the market said of each."""
    return json.dumps(list(rows), indent=1, ensure_ascii=False) + "\n"


def write_new(path: Path, text: str) -> Path:
    """Write a file that was not there, under another number if it was. Raises OSError."""
    for number in range(1, 1000):
        place = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            with place.open("x", encoding="utf-8", newline="") as file:
                file.write(text)
        except FileExistsError:
            continue
        return place
    raise FileExistsError(f"{path} and 998 more are there")


class SaveScreen(Window[None]):
    """The ending of the name says which: .csv or .json."""

    HEADING = "Save the list"
    DEFAULT_CSS = """
    SaveScreen > #window { height: auto; max-width: 80; }
    SaveScreen Static { height: auto; }
    SaveScreen #save-wrong { color: $text-error; }
    """
    BINDINGS: ClassVar[Any] = [
        Binding("enter", "save", "Save", id="save.write", priority=True),
        Binding("ctrl+t", "other", "CSV / JSON", id="save.format", priority=True),
    ]

    def __init__(self, rows: Sequence[Row], columns: Sequence[Column[Row]], now: float) -> None:
        super().__init__()
        self.rows, self.columns = list(rows), list(columns)
        self.start = time.strftime("offers-%Y%m%d-%H%M.csv", time.localtime(now))

    def compose_inside(self) -> ComposeResult:
        noun = "offer" if len(self.rows) == 1 else "offers"
        yield Static(
            Content(f"{len(self.rows)} {noun}, filtered and sorted as on the screen, with exact numbers.")
        )
        yield Input(self.start, id="save-name", max_length=1000)
        yield Static(
            Content.styled("CSV has the table's columns, JSON everything the market said.", "$muted")
        )
        yield Static("", id="save-wrong", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#save-name", Input).focus()

    def action_other(self) -> None:
        box = self.query_one("#save-name", Input)
        path = Path(box.value)
        box.value = str(path.with_suffix(".csv" if path.suffix == ".json" else ".json"))

    def action_save(self) -> None:
        name = self.query_one("#save-name", Input).value.strip()
        path = Path(name)
        if path.suffix not in (".csv", ".json") or not path.stem:
            self._wrong("the name ends in .csv or .json")
            return
        text = as_json(self.rows) if path.suffix == ".json" else as_csv(self.rows, self.columns)
        try:
            written = write_new(path.expanduser(), text)
        except (OSError, ValueError, RuntimeError) as error:
            self._wrong(f"it cannot be written: {getattr(error, 'strerror', None) or error}")
            return
        self.choline_app.say(f"wrote {len(self.rows)} offers to {written.absolute()}")
        self.dismiss(None)

    def _wrong(self, text: str) -> None:
        self.query_one("#save-wrong", Static).update(Content(plain(text)))
