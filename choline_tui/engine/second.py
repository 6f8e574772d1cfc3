"""What a machine says of the second home of a run's results, on the run and in its timeline; and what the
bucket says of a machine that has ended itself meanwhile."""

import asyncio

from choline_tui.engine.context import Context
from choline_tui.kernel.errors import UsageError
from choline_tui.kernel.protocol import BEHIND, ENDED, ENDING, FAILED, WHOLE, JobStatus
from choline_tui.kernel.web import WebTrouble
from choline_tui.model.run import AttemptState, Rental, RunState
from choline_tui.provision.bucket import end_of

__all__ = ["ended_elsewhere", "second_home"]

MOST_LOOKS = 30
"""complete listings without a machine after which a bucket that does not answer is waited for no longer"""
QUIET_S = 60.0
"""s between two events of one run about it, but for the end: a machine may change its mind often"""


def second_home(ctx: Context, run_id: str, status: JobStatus) -> None:
    """Only what a machine was asked to do is heard."""
    run = ctx.store.run(run_id)
    also = run.plan.results_also
    if also is None or not status.also:
        return
    place = f"{also.url.rstrip('/')}/{run_id}"
    words = {
        BEHIND: f"{place}: written as the run goes on",
        ENDING: f"the command is over; its results are still being written to {place}",
        WHOLE: _whole(place, status),
        FAILED: f"results are not whole in {place}: {status.also_words or 'no words'}",
    }[status.also]
    now = ctx.clock.time()
    at, told = ctx.second_told.get(run_id, (0.0, ""))
    quiet = 0 <= now - at < QUIET_S and status.state != ENDED
    event = None if words == told or quiet or status.also == BEHIND else words
    if event is not None:
        ctx.second_told[run_id] = (now, words)
    if event is not None or words != run.also:
        ctx.ledger.run(run_id, event, also=words)


def _whole(place: str, status: JobStatus) -> str:
    there = f"{status.also_files} files, {status.also_bytes:,} bytes"
    return f"results are in {place} too: {there}, compared with the bucket's own list"


async def ended_elsewhere(ctx: Context, rental: Rental) -> bool:
    """Before a machine that vanished counts as lost: did its job end, and are the results in its bucket?
    Then that is what became of the attempt. False when the bucket does not answer: ask once more later."""
    run = ctx.store.run(rental.run)
    attempt = ctx.store.attempt(run.id, rental.attempt)
    also = run.plan.results_also
    if also is None or not attempt.live or not attempt.begun or attempt.job_state == ENDED:
        return True
    values, _ = await ctx.secrets.of(run.plan, run.id)
    keys = {name: value.reveal() for name, value in values.items()}
    try:
        status = await asyncio.to_thread(
            end_of, also.url, also.endpoint, also.region, run.id, attempt.job, keys
        )
    except WebTrouble as error:
        if rental.looks < MOST_LOOKS:
            return False
        ctx.ledger.note("run", f"{also.url} does not answer: {error.message}"[:500], run=run.id)
        return True
    except UsageError as error:
        ctx.ledger.note("run", f"{also.url} cannot be looked at: {error.message}"[:500], run=run.id)
        return True
    if status is None:
        return True
    words = _whole(f"{also.url.rstrip('/')}/{run.id}", status)
    with ctx.ledger.batch() as batch:
        batch.attempt(
            run.id,
            attempt.n,
            f"the command ended while home was away ({status.reason}), and its machine ended itself",
            state=AttemptState.COLLECTING,
            job_state=ENDED,
            job_reason=status.reason,
            exit_code=status.exit_code if status.exit_code is not None else status.setup_exit,
            ended=ctx.clock.time(),
        )
        batch.run(run.id, words, state=RunState.COLLECTING, also=words)
    return True
