"""What the live picture costs a screen: 500 runs, 50 of them running, a store that is written three times a
second (aim: under 3 % of a core), and when nothing is written.

Figures are CPU seconds beside the seconds that went by, so the ratio is the part of a core.
Run: ``python -m tests.bench.bench_feed [--quick]``.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from choline_tui.config.paths import Paths
from choline_tui.model.run import Event, Outcome, RentalState, RunState
from choline_tui.services.choline import Choline
from choline_tui.services.feed import Feed, Snapshot
from choline_tui.store import Store
from tests.bench.report import Figure, main
from tests.cli.fakes import NOW, attempt, rental, run

RUNS, RUNNING = 500, 50
EVERY = 1 / 3
"""s between two commits of the engine's, for 50 rentals that are looked at every 30 s, and some more"""
AIM = 0.03


def fill(store: Store) -> None:
    for n in range(RUNS):
        name, live = f"r{n:03}", n < RUNNING
        end = {} if live else {"state": RunState.ENDED, "outcome": Outcome.SUCCEEDED, "ended": NOW}
        store.commit(
            run(name, created=NOW - n, **end),
            attempt(name),
            rental(name, state=RentalState.UP) if live else rental(name, state=RentalState.GONE, gone=NOW),
            event=Event(at=NOW, kind="run", run=name, text="made"),
        )


async def watched(home: Path, seconds: float, store: Store | None) -> tuple[float, float]:
    """(CPU s, s by the wall) of a feed that is looked at for so long. ``store``: it is written meanwhile."""
    feed = Feed(Choline(home=home, environ={}, start_engine=False))
    seen: list[Snapshot] = []

    async def look() -> None:
        async for picture in feed.watch():
            seen.append(picture)

    looking = asyncio.create_task(look())
    while not seen:
        await asyncio.sleep(0.01)
    written = 0.0
    began, cpu = time.perf_counter(), time.process_time()
    count = 0
    while time.perf_counter() - began < seconds:
        await asyncio.sleep(EVERY)
        if store is not None:
            count += 1
            before = time.process_time()
            store.commit(rental(f"r{count % RUNNING:03}", state=RentalState.UP, cost=count / 100))
            written += time.process_time() - before
    used, passed = time.process_time() - cpu - written, time.perf_counter() - began
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    await feed.close()
    if store is not None and len(seen) < 2:
        raise RuntimeError("the feed saw nothing")
    return used, passed


def measure(quick: bool) -> list[Figure]:
    seconds = 1.0 if quick else 20.0
    with tempfile.TemporaryDirectory(prefix="choline-bench-") as folder:
        home = Path(folder)
        store = Store(Paths(home).ensure().store)
        try:
            fill(store)
            busy = asyncio.run(watched(home, seconds, store))
            idle = asyncio.run(watched(home, seconds, None))
        finally:
            store.close()
    return [
        Figure("live picture, 500 runs, 50 running / a core", *busy, AIM),
        Figure("live picture, nothing written / a core", *idle, AIM),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
