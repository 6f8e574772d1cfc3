"""The stream a client follows a run by: its events, its log, progress, its state."""

import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any

from choline_tui.engine.context import Context
from choline_tui.model.run import Run

__all__ = ["follow"]

CHUNK = 64 << 10


async def follow(
    ctx: Context, run_id: str, after: int, logs: bool, offsets: dict[str, int], until: str
) -> AsyncIterator[dict[str, Any]]:
    """Yields {"event"}, {"log", "source", "attempt", "offset"}, {"progress"}, {"run"}; ends when the run
    has ended (``until`` = ended) or when nothing of it bills any more (gone)."""
    last: Run | None = None
    async with ctx.hub.listen(run_id) as news:
        while True:
            run = ctx.store.run(run_id)
            rentals = ctx.store.rentals(run=run_id)
            done = not run.live and (until == "ended" or not any(r.live for r in rentals))
            for event in ctx.store.events(run=run_id, after=after):
                after = event.seq or after
                yield {"event": event.model_dump(mode="json")}
            if logs:
                for item in _logs(ctx, run_id, offsets):
                    yield item
            if run != last:
                last = run
                yield {"run": run.model_dump(mode="json")}
            if done:
                return
            heard = await news.get()
            while True:
                if heard.topic == "progress":
                    yield {"progress": heard.data}
                if news.empty():
                    break
                heard = news.get_nowait()


def _logs(ctx: Context, run_id: str, offsets: dict[str, int]) -> Iterator[dict[str, Any]]:
    for attempt in ctx.store.attempts(run_id):
        for source in ("setup", "run"):
            path = ctx.files.log(run_id, attempt.n, source)
            name = f"{attempt.n}/{source}"
            try:
                with path.open("rb") as log:
                    log.seek(offsets.get(name, 0))
                    while data := log.read(CHUNK):
                        at = offsets.get(name, 0)
                        offsets[name] = at + len(data)
                        yield {
                            "log": base64.b64encode(data).decode("ascii"),
                            "source": source,
                            "attempt": attempt.n,
                            "offset": at,
                        }
            except FileNotFoundError:
                continue
