"""Results on their way home while a run goes on: every few minutes, and as soon as something is whole."""

import asyncio
from pathlib import Path

from choline_tui.engine.context import Context
from choline_tui.engine.disks import home_disk, no_room, room_for_results
from choline_tui.engine.progress import reporter
from choline_tui.kernel.clock import Clock
from choline_tui.kernel.errors import TransferFailed
from choline_tui.kernel.session import Fetches, RemoteSession, ResultRules, Transfer
from choline_tui.model.run import Plan, Run

__all__ = ["Fresh", "bring", "keep_results", "rules_of"]

GAP_S = 15.0
"""s between the end of one sync and the next that something fresh begins"""


def rules_of(plan: Plan) -> ResultRules:
    return ResultRules(
        exclude=tuple(plan.results_exclude), settle_s=plan.results_settle_s, versions=plan.results_keep
    )


class Fresh:
    """What the machine says of files come to rest (``JobStatus.fresh``), and waiting for more of them."""

    def __init__(self) -> None:
        self._count = 0
        self._event = asyncio.Event()

    def told(self, count: int) -> None:
        if count > self._count:
            self._event.set()
        self._count = count  # another attempt, or a liar, begins lower

    async def wait(self, clock: Clock, every_s: float, gap_s: float) -> None:
        """Until it is time for a sync: ``every_s``, or as soon as something is fresh after ``gap_s``."""
        sleeping = asyncio.ensure_future(clock.sleep(every_s))
        waiting = asyncio.ensure_future(self._soon(clock, gap_s))
        try:
            await asyncio.wait([sleeping, waiting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waiting.cancel()
            await asyncio.gather(sleeping, waiting, return_exceptions=True)
        self._event.clear()

    async def _soon(self, clock: Clock, gap_s: float) -> None:
        await clock.sleep(gap_s)
        await self._event.wait()


async def keep_results(ctx: Context, session: RemoteSession, run: Run, fresh: Fresh) -> None:
    """Bring results home again and again. A sync takes a third of the time at most."""
    told = ""
    took = 0.0
    while True:
        every = max(1.0, run.plan.results_every_s)
        await fresh.wait(ctx.clock, every, min(every, max(GAP_S, 2 * took)))
        begun = ctx.clock.monotonic()
        try:
            moved = await bring(ctx, session, run, final=False)
        except (OSError, TransferFailed) as error:
            # a full disk here, or files that change under the copy: the run goes on, and so do we
            if str(error) != told and not ctx.store.run(run.id).disk_here:
                told = str(error)
                ctx.ledger.note("run", f"results not synced: {error}", run=run.id)
            continue
        finally:
            took = ctx.clock.monotonic() - begun
        told = ""
        text = f"results synced: {moved.files} files, {moved.bytes:,} bytes" if moved.files else None
        ctx.ledger.run(run.id, text, results_synced=ctx.clock.time())


async def bring(ctx: Context, session: Fetches, run: Run, *, final: bool) -> Transfer:
    """Bring results home, never filling this computer's disk. Raises RemoteError, OSError."""
    into = Path(run.plan.results_into)
    into.mkdir(parents=True, exist_ok=True)
    # one at a time into one directory: the regular one, the final one and one asked for by hand
    async with ctx.bringing.setdefault(run.id, asyncio.Lock()):
        before = room_for_results(ctx, run.id, into, final=final)
        try:
            moved = await session.fetch(
                run.id,
                str(into),
                final=final,
                max_bytes=run.plan.results_max_bytes,
                on_progress=reporter(ctx, run.id, "results"),
                rules=rules_of(run.plan),
            )
        except (OSError, TransferFailed) as error:
            no_room(ctx, run.id, into, error)
            raise
        home_disk(ctx, run.id, into, before, moved.bytes)
        return moved
