"""The runs screen, measured: ``python runs_worker.py RATE SECONDS`` prints one JSON object.

A program of its own, so that memory and CPU are one app's. The real app over a real store with 500 runs, 50
of them running, written three times a second as an engine does; the real feed. Three parts: the list, with
nobody at the keys (CPU, growth); the list with its keys; a run's page with an open log at RATE lines a
second, with its keys.
"""

import asyncio
import json
import os
import resource
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

EVERY = 1 / 3
KEY_S = 0.1
PIECE_S = 0.02
GROUND_S = 5.0
"""s before growth is looked at: caches fill, and Python keeps what it has had"""


def resident() -> float:
    """MiB of memory in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def measured(home: Path, rate: int, seconds: float) -> dict[str, float]:
    from textual.events import Key

    from choline_tui.app import CholineApp
    from choline_tui.config.paths import Paths
    from choline_tui.kernel.clock import SystemClock
    from choline_tui.model.run import RentalState
    from choline_tui.services.choline import Choline, Followed
    from choline_tui.services.feed import Feed
    from choline_tui.services.looks import Looks
    from choline_tui.store import Store
    from choline_tui.widgets.log_view import LogView
    from tests.bench.bench_feed import RUNNING, fill
    from tests.bench.log_worker import text
    from tests.cli.fakes import rental

    pieces = [text(n, int(rate * PIECE_S)) for n in range(0, int(rate * 2), int(rate * PIECE_S))]

    class Quiet(Choline):
        """No engine: one run's log comes as fast as it should."""

        async def engine_status(self) -> dict[str, Any]:
            return {}

        async def follow(self, run: str, **how: Any) -> AsyncGenerator[Followed, None]:
            begun = perf_counter()
            number = 0
            while True:
                yield Followed(log=pieces[number % len(pieces)], source="run", attempt=1)
                number += 1
                await asyncio.sleep(max(0.0, begun + number * PIECE_S - perf_counter()))

    class Counted(CholineApp):
        frames = 0

        def _display(self, screen: Any, renderable: Any) -> None:
            super()._display(screen, renderable)
            self.frames += 1

    def connect(environ: Any, clock: Any, readonly: bool) -> Any:
        choline = Quiet(home=home, environ={}, start_engine=False)
        return choline, Feed(choline, clock)

    async def until(condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.005)

    store = Store(Paths(home).ensure().store)
    fill(store)
    for n in range(RUNNING):
        log = Paths(home).run_dir(f"r{n:03}") / "attempt-1" / "run.log"
        log.parent.mkdir(parents=True)
        log.write_bytes(text(0, 50))
    app = Counted("runs", looks=Looks(), environ=dict(os.environ), connect=connect, clock=SystemClock())
    written = 0.0
    pressed: dict[str, list[float]] = {"list": [], "page": []}
    used: dict[str, list[float]] = {"list": [], "page": []}

    async def writes() -> None:
        nonlocal written
        count = 0
        while True:
            await asyncio.sleep(EVERY)
            count += 1
            begun = process_time()
            store.commit(rental(f"r{count % RUNNING:03}", state=RentalState.UP, cost=count / 100))
            written += process_time() - begun

    async def keys(name: str, *order: str) -> None:
        number = 0
        while True:
            await asyncio.sleep(KEY_S)
            begun, cpu, before = perf_counter(), process_time(), app.frames
            app.post_message(Key(order[number % len(order)], None))
            number += 1
            while app.frames == before and perf_counter() - begun < 5:
                await asyncio.sleep(0.001)
            pressed[name].append(perf_counter() - begun)
            used[name].append(process_time() - cpu)

    async def for_a_while(work: Awaitable[None] | None) -> tuple[float, float]:
        """(share of a core, MiB grown)."""
        task = asyncio.ensure_future(work) if work is not None else None
        await asyncio.sleep(min(GROUND_S, seconds))
        held, begun, cpu, wrote = resident(), perf_counter(), process_time(), written
        await asyncio.sleep(seconds)
        share = (process_time() - cpu - (written - wrote)) / (perf_counter() - begun)
        grown = resident() - held
        if task is not None:
            task.cancel()
        return share, grown

    async with app.run_test(size=(160, 50)):
        await until(lambda: app.snapshot is not None and len(app.snapshot.runs) == 500)
        writing = asyncio.create_task(writes())
        idle, grown = await for_a_while(None)
        await for_a_while(keys("list", "down", "pagedown", "end", "up", "space", "home"))
        app.open_run("r003")
        await until(lambda: any(log.line_count > 100 for log in app.screen.query(LogView)))
        page, _ = await for_a_while(keys("page", "up", "up", "end"))
        writing.cancel()
        lines = app.screen.query_one(LogView).line_count
    store.close()

    def p95(times: list[float]) -> float:
        return sorted(times)[int(len(times) * 0.95)]

    return {
        "idle": idle, "grown": grown, "list95": p95(pressed["list"]), "page95": p95(pressed["page"]),
        "listcpu": p95(used["list"]), "pagecpu": p95(used["page"]), "page": page, "lines": lines,
    }  # fmt: skip


if __name__ == "__main__":
    # the folder of this file is first in the path when it is run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    with tempfile.TemporaryDirectory(prefix="choline-bench-") as folder:
        print(json.dumps(asyncio.run(measured(Path(folder), int(sys.argv[1]), float(sys.argv[2])))))
