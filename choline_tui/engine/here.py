"""A run begins on this computer: its attempt is written down, and the machine is there already."""

from choline_tui.engine.acquire import rehearse
from choline_tui.engine.context import Context
from choline_tui.kernel.errors import StoreError, UsageError
from choline_tui.model.here import machine_here
from choline_tui.model.run import Attempt, AttemptState, Outcome, RunState

__all__ = ["begin"]


async def begin(ctx: Context, run_id: str) -> None:
    """The next attempt of a run that has none alive; it ends instead when it could not go well."""
    run = ctx.store.run(run_id)
    attempts = ctx.store.attempts(run_id)
    if run.want != "run" or any(a.live for a in attempts):
        return
    try:
        await rehearse(ctx, run)
    except (UsageError, StoreError) as error:
        ctx.ledger.run(
            run_id,
            state=RunState.ENDED,
            outcome=Outcome.ERROR,
            reason=" ".join(filter(None, (error.message, error.hint))),
            ended=ctx.clock.time(),
        )
        return
    now, n = ctx.clock.time(), attempts[-1].n + 1 if attempts else 1
    run = ctx.store.run(run_id)
    if run.want != "run":
        return
    attempt = Attempt(run=run_id, n=n, rental=machine_here(run).id, created=now, state=AttemptState.PREPARING)
    with ctx.ledger.batch() as batch:
        batch.add_attempt(attempt, f"attempt {n} on this computer")
        batch.run(run_id, "preparing", state=RunState.PREPARING, reason="", phase="")
