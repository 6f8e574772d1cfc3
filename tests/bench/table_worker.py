"""One kind of table, measured: ``python table_worker.py KIND ROWS REPEATS`` prints one JSON object.

A program of its own, so that a peer can run in its own environment and memory is one table's. Kinds:
``ours``, ``datatable`` (Textual's), ``fast`` (textual-fastdatatable), ``bare`` (the least that draws rows
on demand: no marks, no styles, no inert text; what our table would cost if it could do nothing).
Times are seconds of the event loop until the changed screen (140x45) is painted.
"""

import asyncio
import json
import random
import resource
import statistics
import sys
from collections.abc import Awaitable, Callable
from operator import itemgetter
from pathlib import Path
from time import perf_counter
from typing import Any

from textual.app import App, ComposeResult
from textual.events import Key
from textual.widget import Widget
from textual.widgets import Footer, Input

GPUS = ["RTX 4090", "RTX 5090", "RTX 3090", "H100 SXM", "H200", "A100 PCIE", "L40S", "B200", "V100", "T4"]
PLACES = ["Texas, US", "Bulgaria, BG", "Norway, NO", "Quebec, CA", "Japan, JP", "Czechia, CZ", "Sweden, SE"]
LABELS = ["Id", "GPU", "Nr", "VRAM", "$/h", "DLPerf", "DLP/$", "vCPU", "RAM", "Disk", "Rel", "Place"]
WIDTHS = [9, 12, 3, 8, 8, 8, 8, 5, 7, 8, 6, 14]
PRICE = 4
Record = tuple[Any, ...]


def make(count: int) -> list[Record]:
    rng = random.Random(1)
    records: list[Record] = []
    for n in range(count):
        gpus = rng.choice([1, 1, 1, 2, 4, 8])
        price, power = round(rng.uniform(0.08, 3.9) * gpus, 4), round(rng.uniform(10, 400) * gpus, 1)
        head = (10_000_000 + n, rng.choice(GPUS), gpus, rng.choice([16, 24, 32, 48, 80]) * gpus, price, power)
        tail = (rng.choice([8, 16, 32]), rng.choice([32, 64, 128]), rng.randrange(20, 4000))
        end = (round(rng.uniform(85, 100), 2), rng.choice(PLACES))
        records.append((*head, round(power / price, 1), *tail, *end))
    return records


FORMATS: dict[int, Callable[[Any], str]] = {
    3: "{} GB".format,
    4: "{:.4f}".format,
    5: "{:.1f}".format,
    6: "{:.1f}".format,
    8: "{} GB".format,
    9: "{} GB".format,
    10: "{:.2f}".format,
}


def texts(record: Record) -> list[str]:
    return [FORMATS.get(n, str)(value) for n, value in enumerate(record)]


class Peer:
    """What is asked of every kind."""

    def widget(self) -> Widget:
        raise NotImplementedError

    async def fill(self, table: Any, records: list[Record]) -> None:
        raise NotImplementedError

    async def sort(self, table: Any, reverse: bool) -> None:
        raise NotImplementedError

    async def filter(self, table: Any, passes: Callable[[Record], bool]) -> None:
        raise NotImplementedError

    async def slide(self, table: Any, factor: float) -> None:
        raise NotImplementedError

    def down(self, table: Any) -> None:
        table.action_cursor_down()


class Ours(Peer):
    factor = 1.0

    def widget(self) -> Widget:
        from choline_tui.widgets.table import Column, Table

        def column(n: int) -> Column[Record]:
            form = FORMATS.get(n, str)
            text = (lambda r: form(r[n] * self.factor)) if n == PRICE else (lambda r: form(r[n]))
            return Column(LABELS[n], LABELS[n], WIDTHS[n], itemgetter(n), text, right=n not in (1, 11))

        return Table([column(n) for n in range(12)], key=itemgetter(0))

    async def fill(self, table: Any, records: list[Record]) -> None:
        table.set_records(records)

    async def sort(self, table: Any, reverse: bool) -> None:
        table.sort("$/h", reverse)

    async def filter(self, table: Any, passes: Callable[[Record], bool]) -> None:
        table.set_filter(passes)

    async def slide(self, table: Any, factor: float) -> None:
        self.factor = factor
        table.repaint()

    def down(self, table: Any) -> None:
        table.action_move(1)


class Stock(Peer):
    def widget(self) -> Widget:
        from textual.widgets import DataTable

        return DataTable(cursor_type="row", zebra_stripes=True)

    async def fill(self, table: Any, records: list[Record]) -> None:
        self.records = records
        if not table.columns:
            for label in LABELS:
                table.add_column(label, key=label)
        table.clear()
        for record in records:
            table.add_row(*texts(record), key=str(record[0]))

    async def sort(self, table: Any, reverse: bool) -> None:
        table.sort("$/h", key=float, reverse=reverse)

    async def filter(self, table: Any, passes: Callable[[Record], bool]) -> None:
        table.clear()
        for record in self.records:
            if passes(record):
                table.add_row(*texts(record), key=str(record[0]))

    async def slide(self, table: Any, factor: float) -> None:
        for record in self.records:
            table.update_cell(str(record[0]), "$/h", f"{record[PRICE] * factor:.4f}")


class Fast(Peer):
    """It has no way to change its rows: a new table is mounted."""

    def widget(self) -> Widget:
        return self._made([])

    def _made(self, records: list[Record]) -> Any:
        import pyarrow
        from textual_fastdatatable import ArrowBackend, DataTable

        columns = list(zip(*records, strict=True)) if records else [[] for _ in LABELS]
        self.arrow = pyarrow.table(
            {label: pyarrow.array(c) for label, c in zip(LABELS, columns, strict=True)}
        )
        return self._around(ArrowBackend(self.arrow), DataTable)

    def _around(self, backend: Any, kind: Any) -> Any:
        return kind(
            backend=backend, cursor_type="row", zebra_stripes=True, column_labels=LABELS, render_markup=False
        )

    async def _swap(self, table: Any, arrow: Any) -> None:
        from textual_fastdatatable import ArrowBackend, DataTable

        new = self._around(ArrowBackend(arrow), DataTable)
        screen = table.screen
        await table.remove()
        await screen.mount(new)
        new.focus()

    async def fill(self, table: Any, records: list[Record]) -> None:
        self.records = records
        self._made(records)
        await self._swap(table, self.arrow)

    async def sort(self, table: Any, reverse: bool) -> None:
        table.sort(by=[("$/h", "descending" if reverse else "ascending")])

    async def filter(self, table: Any, passes: Callable[[Record], bool]) -> None:
        import pyarrow

        await self._swap(table, self.arrow.filter(pyarrow.array([passes(r) for r in self.records])))

    async def slide(self, table: Any, factor: float) -> None:
        import pyarrow.compute

        prices = pyarrow.compute.multiply(self.arrow["$/h"], factor)
        await self._swap(table, self.arrow.set_column(PRICE, "$/h", prices))


class Bare(Peer):
    factor = 1.0

    def widget(self) -> Widget:
        from textual.geometry import Size
        from textual.scroll_view import ScrollView
        from textual.strip import Segment, Strip

        peer = self

        class Plain(ScrollView, can_focus=True):
            BINDINGS = [("down", "cursor_down", "")]  # noqa: RUF012
            view: list[int] = []  # noqa: RUF012
            cursor = 0
            records: list[Record] = []  # noqa: RUF012

            def show(self, view: list[int]) -> None:
                self.view, self.cursor = view, 0
                self.virtual_size = Size(110, len(view))
                self.refresh()

            def action_cursor_down(self) -> None:
                self.cursor += 1
                if self.cursor >= self.scroll_offset.y + self.size.height:
                    self.scroll_to(y=self.cursor - self.size.height + 1, animate=False)
                self.refresh_line(self.cursor - 1)
                self.refresh_line(self.cursor)

            def render_line(self, y: int) -> Strip:
                row = y + self.scroll_offset.y
                if row >= len(self.view):
                    return Strip.blank(self.size.width, self.rich_style)
                record = self.records[self.view[row]]
                cells = texts((*record[:PRICE], record[PRICE] * peer.factor, *record[PRICE + 1 :]))
                line = " ".join(text[:w].ljust(w) for text, w in zip(cells, WIDTHS, strict=True))
                style = self.rich_style
                if row == self.cursor:
                    style += style.from_color(None, style.color)
                return Strip([Segment(line.ljust(self.size.width), style)], self.size.width)

        return Plain()

    async def fill(self, table: Any, records: list[Record]) -> None:
        table.records = records
        table.show(list(range(len(records))))

    async def sort(self, table: Any, reverse: bool) -> None:
        table.show(sorted(table.view, key=lambda n: table.records[n][PRICE], reverse=reverse))

    async def filter(self, table: Any, passes: Callable[[Record], bool]) -> None:
        table.show([n for n, record in enumerate(table.records) if passes(record)])

    async def slide(self, table: Any, factor: float) -> None:
        self.factor = factor
        table.refresh()


KINDS: dict[str, type[Peer]] = {"ours": Ours, "datatable": Stock, "fast": Fast, "bare": Bare}


class Host(App[None]):
    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self.peer = peer

    def compose(self) -> ComposeResult:
        yield Input()
        yield self.peer.widget()
        yield Footer()

    @property
    def table(self) -> Any:
        return self.screen.children[-1] if isinstance(self.peer, Fast) else self.screen.children[1]


async def painted(app: Host) -> None:
    """Lets everything run that waits, then paints what changed: a frame's work without its timer."""
    for _ in range(60):
        await asyncio.sleep(0)
        table = app.table
        waiting = (app, app.screen, table)
        busy = getattr(table, "_require_update_dimensions", False)
        if not busy and all(pump._message_queue.empty() for pump in waiting):
            break
    for _ in range(2):
        for _ in range(4):
            await asyncio.sleep(0)
        app.screen._on_timer_update()


async def measured(kind: str, count: int, repeats: int) -> dict[str, float]:
    peer, records = KINDS[kind](), make(count)
    app = Host(peer)
    found: dict[str, float] = {}

    async def time(doing: Callable[[], Awaitable[None]]) -> float:
        begun = perf_counter()
        await doing()
        await painted(app)
        return perf_counter() - begun

    async with app.run_test(size=(140, 45)) as pilot:
        await pilot.pause()
        found["fill"] = await time(lambda: peer.fill(app.table, records))
        app.table.focus()
        await pilot.pause()
        found["sort"] = min([await time(lambda n=n: peer.sort(app.table, n == 0)) for n in range(2)])
        # about half of the rows stay, and other ones each time
        limits = [1.5, 3.5, 2.5][:repeats]
        filters = [
            await time(lambda limit=limit: peer.filter(app.table, lambda r: r[PRICE] > limit))
            for limit in limits
        ]
        found["filter"] = statistics.median(filters)
        await peer.filter(app.table, lambda r: True)
        await painted(app)
        slides = [await time(lambda n=n: peer.slide(app.table, 1.01 + n / 100)) for n in range(repeats)]
        found["slide"] = min(slides)

        async def down() -> None:
            peer.down(app.table)

        async def key() -> None:
            app.post_message(Key("down", None))

        many = 100 if repeats > 1 else 12
        moves = sorted([await time(down) for _ in range(many)][5:])
        found["move"] = statistics.median(moves)
        app.table.focus()
        await pilot.pause()
        presses = sorted([await time(key) for _ in range(many)][5:])
        found["key"] = statistics.median(presses)
        found["key95"] = presses[int(len(presses) * 0.95)]
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


if __name__ == "__main__":
    # the folder of this file is first in the path when it is run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    name, rows, times = sys.argv[1:]
    print(json.dumps(asyncio.run(measured(name, int(rows), int(times)))))
