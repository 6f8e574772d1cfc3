"""What a machine says of the second home of a run's results, on the run and in its timeline."""

from choline_tui.engine.context import Context
from choline_tui.kernel.protocol import BEHIND, ENDED, ENDING, FAILED, WHOLE, JobStatus

__all__ = ["second_home"]

QUIET_S = 60.0
"""s between two events of one run about it, but for the end: a machine may change its mind often"""


def second_home(ctx: Context, run_id: str, status: JobStatus) -> None:
    """Only what a machine was asked to do is heard."""
    run = ctx.store.run(run_id)
    also = run.plan.results_also
    if also is None or not status.also:
        return
    place = f"{also.url.rstrip('/')}/{run_id}"
    there = f"{status.also_files} files, {status.also_bytes:,} bytes"
    words = {
        BEHIND: f"{place}: written as the run goes on",
        ENDING: f"the command is over; its results are still being written to {place}",
        WHOLE: f"results are in {place} too: {there}, compared with the bucket's own list",
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
