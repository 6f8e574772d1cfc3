"""Results of a machine that stands, or that nobody reaches by its own SSH: by its host's copier."""

import asyncio

from choline_tui.engine.context import Context
from choline_tui.engine.environment import why_setup_failed
from choline_tui.engine.machine import CUT_OFF, WELL
from choline_tui.engine.results import bring
from choline_tui.kernel.errors import (
    CholineError,
    HostKeyChanged,
    MarketDown,
    RateLimited,
    RemoteError,
    SshDenied,
    TransferFailed,
)
from choline_tui.kernel.protocol import ENDED, JobStatus
from choline_tui.kernel.session import HostCopier, Transfer
from choline_tui.model.here import is_here
from choline_tui.model.run import Attempt, AttemptState, Rental, Run, RunState

__all__ = ["bring_copied", "copy", "pulled"]

AT_MOST = 6 * 3600.0
"""s that one try takes; the next one goes on where it stopped"""
AGAIN = 300.0
AGAIN_AT_MOST = 6 * 3600.0
CHECKED = "compared by rsync's checksums (a machine that stands gives no list of hashes)"


async def bring_copied(ctx: Context, rental: Rental, run: Run) -> Transfer:
    """Bring the results home by the copier of a rental's host: all of them, and compared, when it stands;
    what has come to rest, when it runs. Raises RemoteError, VastError, OSError."""
    copier = await ctx.place.copier(rental)
    try:
        moved = await bring(ctx, copier, run, final=rental.stopped_since is not None)
        _pin(ctx, rental, copier)
        return moved
    finally:
        await copier.close()


async def pulled(ctx: Context, rental: Rental, run: Run) -> tuple[Transfer, str]:
    """Results now, because a person asks: over SSH, else by the host's copier, with why. Raises as
    ``bring_copied``."""
    why = "it stands"
    if rental.stopped_since is None:
        try:
            session = await ctx.sessions.get(rental)
            return await bring(ctx, session, run, final=False), ""
        except (*CUT_OFF, HostKeyChanged) as error:
            await ctx.sessions.drop(rental.id)
            if is_here(rental.id) or rental.contract is None:
                raise
            why = f"its SSH cannot be used: {error.message}"
        except RemoteError:
            await ctx.sessions.drop(rental.id)
            raise
    try:
        return await bring_copied(ctx, rental, run), why
    except CholineError as error:
        words = f"{why}; and its host's copier gives no results: {error.message}"
        raise type(error)(words, hint=error.hint, **error.details) from error


async def copy(ctx: Context, rental_id: str, n: int) -> None:
    """The final results from the disk of a machine that stands, with what its supervisor last wrote of the
    job. What goes wrong is tried again later; to start the machine is tried in between."""
    rental = ctx.store.rental(rental_id)
    run, attempt = ctx.store.run(rental.run), ctx.store.attempt(rental.run, n)
    await ctx.sessions.drop(rental_id)
    _begin(ctx, run, rental)
    try:
        async with asyncio.timeout(AT_MOST):
            status, moved = await _fetched(ctx, rental, run, attempt)
    except (CholineError, OSError) as error:  # a TimeoutError is an OSError
        _failed(ctx, rental_id, error)
        return
    rental, attempt = ctx.store.rental(rental_id), ctx.store.attempt(run.id, n)
    if rental.stopped_since is None or not attempt.live or attempt.collected is not None:
        return  # it runs again: what it has now is fetched from itself
    _home(ctx, run, attempt, status, moved)


def _pin(ctx: Context, rental: Rental, copier: HostCopier) -> None:
    if copier.host_key and copier.host_key != rental.copier_key:
        words = "the host's copier answers; its key is pinned"
        ctx.ledger.rental(rental.id, words, copier_key=copier.host_key)


async def _fetched(
    ctx: Context, rental: Rental, run: Run, attempt: Attempt
) -> tuple[JobStatus | None, Transfer]:
    copier = await ctx.place.copier(rental)
    try:
        try:
            status = await copier.job(attempt.job)
        except SshDenied:
            assert rental.contract is not None
            await ctx.place.authorize(rental.contract)
            raise
        _pin(ctx, rental, copier)
        if status is None and attempt.submitted is not None:
            # another disk (the container was made anew, say) must not pass for results that are all home
            raise TransferFailed("the disk that the host's copier shows knows nothing of the job")
        return status, await bring(ctx, copier, run, final=True)
    finally:
        await copier.close()


def _begin(ctx: Context, run: Run, rental: Rental) -> None:
    stood = ctx.clock.time() - (rental.stopped_since or ctx.clock.time())
    since = f"{stood / 60:.0f} minutes" if stood >= 90 else f"{stood:.0f} s"
    words = f"the machine has stood for {since}: its results are fetched from its disk by its host's copier"
    state = RunState.INTERRUPTED if run.state is RunState.RUNNING else run.state
    if not rental.copies or run.state is not state:
        ctx.ledger.run(run.id, words if not rental.copies else None, state=state, reason=words)


def _failed(ctx: Context, rental_id: str, error: CholineError | OSError) -> None:
    rental, now = ctx.store.rental(rental_id), ctx.clock.time()
    if isinstance(error, CholineError):
        words = " ".join(filter(None, (error.message, error.hint)))[:300]
    else:
        words = "it takes too long" if isinstance(error, TimeoutError) else f"on this computer: {error}"[:300]
    if isinstance(error, MarketDown | RateLimited):
        tries, wait = rental.copies, AGAIN  # home is offline, say: that tells nothing of the copier
    else:
        tries, wait = rental.copies + 1, min(AGAIN_AT_MOST, AGAIN * 2.0 ** min(rental.copies, 10))
    ctx.ledger.rental(
        rental_id,
        None if words == rental.copy_trouble else f"no results by the host's copier: {words}",
        copy_trouble=words,
        copies=tries,
        copy_at=now + wait,
    )


def _home(ctx: Context, run: Run, attempt: Attempt, status: JobStatus | None, moved: Transfer) -> None:
    now = ctx.clock.time()
    changes: dict[str, object] = {}
    if attempt.job_state != ENDED:
        ended = status is not None and status.state == ENDED
        reason = status.reason if status is not None and ended else "lost"
        changes |= {
            "job_state": ENDED,
            "job_reason": reason,
            "job_words": why_setup_failed(ctx, run.id, attempt.n, reason),
            "ended": now,
        }
        if status is not None and ended:
            code = status.exit_code if status.exit_code is not None else status.setup_exit
            changes["exit_code"] = code
        # an engine that died right after it handed the command over did not write that down; its disk tells
        submitted = attempt.submitted or (now if status is not None else None)
        if submitted is not None:
            changes |= {"submitted": submitted, "started": attempt.started or submitted}
    skipped = f"; refused: {', '.join(moved.skipped[:5])}" if moved.skipped else ""
    came = f"{moved.files} files, {moved.bytes:,} bytes"
    words = f"results are home by the host's copier: {came}, {CHECKED}{skipped}"
    with ctx.ledger.batch() as batch:
        batch.attempt(
            run.id,
            attempt.n,
            words[:500],
            state=AttemptState.COLLECTING,
            collected=now,
            retry_at=0.0,
            reason="",
            **changes,
            **WELL,
        )
        known = ctx.store.run(run.id)
        state = RunState.COLLECTING if known.state is RunState.INTERRUPTED else known.state
        batch.run(run.id, state=state, results_synced=now, results_complete=True)
