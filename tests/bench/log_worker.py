"""One kind of log, measured: ``python log_worker.py KIND LINES RATE SECONDS`` prints one JSON object.

A program of its own, so that memory is one log's. Kinds: ``ours``; ``log`` (Textual's Log, its fastest way:
batches through ``write_lines``) and ``richlog`` (Textual's RichLog). Two parts: at RATE lines a second for
SECONDS, in pieces 20 ms apart, a key is sent ten times a second and timed until its frame is painted; then
LINES lines at once, how long they take and what the process has grown by. Every log is to keep LINES.
"""

import asyncio
import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from textual.app import App, ComposeResult
from textual.events import Key
from textual.widget import Widget

PIECE_S = 0.02
KEY_S = 0.1


def text(first: int, count: int) -> bytes:
    return b"".join(
        b"\x1b[32m2026-01-01 12:00:%02d\x1b[0m step %d: loss 0.%04d lr 3e-4 grad %d.%02d tokens/s %d\n"
        % (n % 60, n, n * 7919 % 10_000, n % 9, n % 97, 120_000 + n % 999)
        for n in range(first, first + count)
    )


class Host(App[None]):
    def __init__(self, kind: str, most: int) -> None:
        super().__init__()
        self.kind, self.most = kind, most
        self.frames = 0

    def compose(self) -> ComposeResult:
        yield self.made()

    def made(self) -> Widget:
        from textual.widgets import Log, RichLog

        if self.kind == "log":
            self.log_ = Log(max_lines=self.most)
            return self.log_
        if self.kind == "richlog":
            self.rich = RichLog(max_lines=self.most)
            return self.rich
        from choline_tui.widgets.log_view import LogView

        self.view = LogView(self.most)
        return self.view

    @property
    def feed(self) -> Callable[[bytes], object]:
        if self.kind == "log":
            return lambda data: self.log_.write_lines(data.decode().splitlines())
        if self.kind == "richlog":
            return self._rich
        return lambda data: self.view.feed("run", data)

    def _rich(self, data: bytes) -> None:
        from rich.text import Text

        for line in data.decode().splitlines():
            self.rich.write(Text.from_ansi(line))

    @property
    def lines(self) -> int:
        if self.kind == "log":
            return self.log_.line_count
        return len(self.rich.lines) if self.kind == "richlog" else self.view.line_count

    @property
    def idle(self) -> bool:
        return self.kind != "ours" or not (self.view.pane._waiting or self.view.pane._timer)

    def _display(self, screen: Any, renderable: Any) -> None:
        super()._display(screen, renderable)
        self.frames += 1


async def measured(kind: str, lines: int, rate: int, seconds: float) -> dict[str, float]:
    app = Host(kind, lines)
    pieces = [text(n, int(rate * PIECE_S)) for n in range(0, int(rate * seconds), int(rate * PIECE_S))]
    pressed: list[float] = []

    async with app.run_test(size=(140, 45)) as pilot:
        await pilot.pause()
        target = app.view.pane if kind == "ours" else app.screen.children[0]
        target.focus()
        app.feed(text(0, 200))
        await pilot.pause(0.2)

        async def keys() -> None:
            """Up, up, then the end again: every one of them changes what is seen."""
            number = 0
            while True:
                await asyncio.sleep(KEY_S)
                number += 1
                begun, before = perf_counter(), app.frames
                app.post_message(Key("end" if number % 3 == 0 else "up", None))
                while app.frames == before and perf_counter() - begun < 5:
                    await asyncio.sleep(0.001)
                pressed.append(perf_counter() - begun)

        typing = asyncio.create_task(keys())
        begun, busy = perf_counter(), process_time()
        for number, piece in enumerate(pieces):
            app.feed(piece)
            await asyncio.sleep(max(0.0, begun + (number + 1) * PIECE_S - perf_counter()))
        took = perf_counter() - begun
        typing.cancel()
        share = (process_time() - busy) / took
        while not app.idle:
            await asyncio.sleep(0.01)
        whole = [text(n, 1000) for n in range(0, min(lines, 20_000), 1000)]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = perf_counter()
        for n in range(0, lines, 1000):
            app.feed(whole[n // 1000 % len(whole)])
            if n % 20_000 == 0:
                while not app.idle:
                    await asyncio.sleep(0.001)
        while not app.idle:
            await asyncio.sleep(0.001)
        await pilot.pause()
        whole_s = perf_counter() - begun
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        kept = app.lines
        if kind == "ours":
            begun = perf_counter()
            app.view.search("step 4242:")
            while app.view.pane.searching:
                await asyncio.sleep(0.001)
            search = perf_counter() - begun
        else:
            search = 0.0
    ordered = sorted(pressed)
    return {
        "key": ordered[len(ordered) // 2],
        "key95": ordered[int(len(ordered) * 0.95)],
        "share": share,
        "whole": whole_s,
        "grown": grown,
        "kept": kept,
        "search": search,
        "slower": took / seconds,
    }


if __name__ == "__main__":
    # the folder of this file is first in the path when it is run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    name, count, speed, time = sys.argv[1:]
    print(json.dumps(asyncio.run(measured(name, int(count), int(speed), float(time)))))
