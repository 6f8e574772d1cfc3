"""What is done on a machine that is up: connect, check, prepare, follow, stop, collect."""

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from choline_tui.engine.context import Context
from choline_tui.engine.disks import machine_disk
from choline_tui.engine.environment import heard, why_setup_failed
from choline_tui.engine.items import with_values
from choline_tui.engine.progress import reporter
from choline_tui.engine.results import Fresh, bring, keep_results
from choline_tui.engine.second import second_home
from choline_tui.engine.secrets import hand_over, to_hand_over
from choline_tui.kernel.errors import (
    CholineError,
    HostKeyChanged,
    MachineRefused,
    ProtocolMismatch,
    RemoteError,
    SshDenied,
    SshDropped,
    SshRefused,
    SshTimeout,
    TransferFailed,
)
from choline_tui.kernel.handover import Handover
from choline_tui.kernel.protocol import ENDED, JOB_STATES, Also, JobSpec, JobStatus, Lease, Probe
from choline_tui.kernel.session import Item, RemoteSession
from choline_tui.model.choose import gpu_matches
from choline_tui.model.here import is_here
from choline_tui.model.run import Attempt, AttemptState, Plan, Rental, RentalState, Run, RunState
from choline_tui.provision.environment import entering, setup_script

__all__ = ["bring", "check_machine", "collect", "connect", "follow", "prepare", "stop_job"]

LOG_LIMIT = 300 << 20
RENEW_EVERY = 300.0
A_MOMENT = 60.0
"""s for which something may fail before the run itself says so"""
CUT_OFF = (SshRefused, SshTimeout, SshDropped, SshDenied)
"""nothing can be known of a machine"""
CHANGES = 3
"""times that data is sent anew because it changed meanwhile"""
WELL: dict[str, Any] = {"failures": 0, "failing_since": None, "unreachable_since": None}


def check_machine(probe: Probe, rental: Rental, plan: Plan) -> None:
    """The first-minute check. Raises MachineRefused with what is not as offered."""
    if probe.gpu_error and rental.num_gpus:
        raise MachineRefused(f"nvidia-smi does not work: {probe.gpu_error[:200]}")
    if len(probe.gpus) < rental.num_gpus:
        raise MachineRefused(f"{len(probe.gpus)} GPUs there, {rental.num_gpus} rented")
    wrong = sorted({g.name for g in probe.gpus if not gpu_matches(rental.gpu_name, g.name)})
    if wrong:
        raise MachineRefused(f"rented {rental.gpu_name}, found {', '.join(wrong)[:100]}")
    if probe.market is False:
        raise MachineRefused("it cannot reach the market, so it could not end itself")
    free_gb = probe.disk_free_bytes / 1e9
    if not rental.past and free_gb < min(0.5 * plan.disk_gb, plan.disk_gb - 10):
        raise MachineRefused(f"{free_gb:.1f} GB of disk free, {plan.disk_gb:g} GB rented")


def _lease(run: Run, rental: Rental, now: float, **more: Any) -> Lease:
    seconds = run.plan.lease_s
    if rental.deadline is not None:
        seconds = max(60.0, min(seconds, rental.deadline - now))
    if rental.past and rental.deadline is not None:
        # it was rented with the deadline of another run: its guard is told this one's
        more["deadline_s"] = max(60.0, rental.deadline - now)
    return Lease(seconds=seconds, grace_s=run.plan.grace_s, **more)


@asynccontextmanager
async def _guarded(ctx: Context, attempt: Attempt, rental: Rental) -> AsyncIterator[None]:
    """Turn what goes wrong on a machine into facts the decision function reads."""
    run_id, n = attempt.run, attempt.n
    try:
        yield
    except (MachineRefused, HostKeyChanged, ProtocolMismatch) as error:
        await ctx.sessions.drop(rental.id)
        if not attempt.begun and not is_here(rental.id):
            if rental.machine_id is not None:
                ctx.store.refuse_machine(rental.machine_id, error.message, ctx.clock.time())
            with ctx.ledger.batch() as batch:
                batch.rental(
                    rental.id,
                    f"machine refused: {error.message}",
                    state=RentalState.RELEASING,
                    release_reason=error.message,
                    failed=True,
                    next_look=0.0,
                )
                batch.attempt(run_id, n, reason=error.message)
            return
        if isinstance(error, HostKeyChanged):
            _stranger(ctx, rental.id, run_id)
        _failed(ctx, run_id, n, error, 60.0)
    except RemoteError as error:
        await ctx.sessions.drop(rental.id)
        _failed(ctx, run_id, n, error, None)
    except CholineError as error:
        _failed(ctx, run_id, n, error, None)
    except OSError as error:
        # this computer's own disk or files: nothing on the machine is lost by waiting
        _failed(ctx, run_id, n, RemoteError(f"on this computer: {error}"), 30.0)


def _failed(ctx: Context, run_id: str, n: int, error: CholineError, wait: float | None) -> None:
    now = ctx.clock.time()
    attempt = ctx.store.attempt(run_id, n)
    if not attempt.live:
        return
    if error.details.get("hopeless") and not attempt.begun:
        words = " ".join(filter(None, (error.message, error.hint)))[:500]
        ctx.ledger.run(run_id, words, hopeless=words, reason=words)
    if wait is None:
        wait = min(60.0, 1.5 * 1.6 ** min(attempt.failures, 20))
    since = attempt.failing_since if attempt.failing_since is not None else now
    cut_off = isinstance(error, CUT_OFF)
    away = cut_off or isinstance(error, HostKeyChanged)
    ctx.ledger.attempt(
        run_id,
        n,
        error.message if attempt.reason != error.message else None,
        # not answering yet is bounded by time; everything else by the number of failures
        failures=attempt.failures + (0 if cut_off else 1),
        failing_since=since,
        retry_at=now + _patience(attempt, now - since, wait, cut_off),
        unreachable_since=(attempt.unreachable_since or now) if away else attempt.unreachable_since,
        reason=error.message,
    )
    run = ctx.store.run(run_id)
    if attempt.begun and now - since >= A_MOMENT and run.state in (RunState.RUNNING, RunState.COLLECTING):
        doing = "bringing the results home" if run.state is RunState.COLLECTING else "following it"
        words = " ".join(filter(None, (f"{doing} fails, and is tried again: {error.message}", error.hint)))
        if run.reason != words[:500]:
            ctx.ledger.run(run_id, reason=words[:500])


def _stranger(ctx: Context, rental_id: str, run_id: str) -> None:
    """A machine with results on it is another one now, as far as its host key tells: only a person can
    judge that, so it is said where one looks."""
    run = ctx.store.run(run_id)
    words = (
        "the machine's host key changed: what answers at its address is not the machine that was rented, "
        "and gets nothing. The results wait on its disk, and choline looks again; "
        f"'choline stop {run_id} --drop-results' gives them up and destroys it"
    )
    state = RunState.INTERRUPTED if run.state is RunState.RUNNING else run.state
    with ctx.ledger.batch() as batch:
        if not ctx.machine(rental_id).stranger:
            batch.rental(rental_id, stranger=True)
        if run.live and (run.reason, run.state) != (words, state):
            batch.run(run_id, words, state=state, reason=words, phase="")


async def _session(ctx: Context, rental: Rental) -> RemoteSession:
    """The machine itself: whoever answers has shown the pinned host key."""
    session = await ctx.sessions.get(rental)
    if ctx.machine(rental.id).stranger:
        run = ctx.store.run(rental.run)
        with ctx.ledger.batch() as batch:
            batch.rental(rental.id, "the machine with the pinned host key answers again", stranger=False)
            if run.state is not RunState.INTERRUPTED:
                batch.run(run.id, reason="")
    return session


def _patience(attempt: Attempt, failing_s: float, wait: float, cut_off: bool) -> float:
    """s until a machine is tried again: soon while it boots, then the less often the longer it fails."""
    if not attempt.begun:
        return 2.0 if cut_off else wait
    slow = max(0.0, failing_s) / 4
    return min(60.0, max(1.5, slow)) if cut_off else max(wait, min(300.0, slow))


def _fine(ctx: Context, run_id: str, n: int) -> None:
    attempt = ctx.store.attempt(run_id, n)
    if attempt.failures or attempt.failing_since is not None or attempt.reason:
        ctx.ledger.attempt(run_id, n, retry_at=0.0, reason="", **WELL)
        run = ctx.store.run(run_id)
        if run.reason and run.state is RunState.RUNNING:
            ctx.ledger.run(run_id, reason="")
    if ctx.machine(attempt.rental).starts:
        ctx.ledger.rental(attempt.rental, starts=0)


async def connect(ctx: Context, rental_id: str, n: int) -> None:
    rental = ctx.machine(rental_id)
    attempt = ctx.store.attempt(rental.run, n)
    async with _guarded(ctx, attempt, rental):
        try:
            session = await ctx.sessions.get(rental)
            ctx.probes[rental_id] = await session.probe()
        except SshDenied:
            if rental.contract is not None:
                await ctx.place.authorize(rental.contract)
            raise
        now = ctx.clock.time()
        with ctx.ledger.batch() as batch:
            batch.rental(
                rental_id,
                "SSH answers; its host key is pinned",
                state=RentalState.UP,
                up=now,
                host_key=session.host_key,
                remote_home=ctx.probes[rental_id].home[:1000],
                next_look=now + ctx.timing.watch,
            )
            batch.attempt(
                rental.run,
                n,
                "checking the machine",
                state=AttemptState.PREPARING,
                reason="",
                **WELL,
            )
            batch.run(rental.run, "preparing", state=RunState.PREPARING, reason="", phase="")


async def prepare(ctx: Context, rental_id: str, n: int) -> None:
    """Check, install, send, submit: all of it can be done again from the start."""
    rental = ctx.machine(rental_id)
    run = ctx.store.run(rental.run)
    attempt = ctx.store.attempt(run.id, n)
    async with _guarded(ctx, attempt, rental):
        session = await _session(ctx, rental)
        async with _looked_at(ctx, session, rental, run, attempt) as looking:
            await session.prepare(run.id, _lease(run, rental, ctx.clock.time()))
            if run.state is not RunState.PREPARING:
                ctx.ledger.run(run.id, state=RunState.PREPARING, reason="sending the code")
            given = await to_hand_over(ctx, run, attempt, lambda: _knows(session, attempt))
            if given is None:
                return
            if not attempt.begun:
                await _send(ctx, session, run, n, given, looking)
            probe = await looking
        if is_here(rental.id):
            rental = rental.but(num_gpus=len(probe.gpus))
        await hand_over(ctx, session, run, attempt, given)
        # from here on its command may run, whatever becomes of us or of the connection
        ctx.crash_point("before submit")
        try:
            status = await session.submit(_job(run, attempt, rental, probe.home))
        except RemoteError as error:
            if not isinstance(error, CUT_OFF) and not await _knows(session, attempt):
                ctx.ledger.attempt(run.id, n, sent=None)
            raise
        ctx.crash_point("after submit")
        if rental.past:
            ctx.prepared[rental_id] = (run.id, ctx.clock.monotonic())
        now = ctx.clock.time()
        with ctx.ledger.batch() as batch:
            batch.attempt(
                run.id,
                n,
                "the command was handed over",
                state=AttemptState.RUNNING,
                submitted=now,
                job_state=status.state,
                retry_at=0.0,
                reason="",
                **WELL,
            )
            batch.run(
                run.id,
                "running",
                state=RunState.RUNNING,
                reason="",
                phase="",
                started=run.started or now,
                results_complete=False,
            )


@asynccontextmanager
async def _looked_at(
    ctx: Context, session: RemoteSession, rental: Rental, run: Run, attempt: Attempt
) -> AsyncIterator["asyncio.Task[Probe]"]:
    """The look at a machine, before anything is sent there; on one where a run of ours has just ended, while
    it is sent. Whoever awaits it gets what is wrong with it."""

    async def look() -> Probe:
        known = ctx.probes.pop(rental.id, None)
        probe = known if known is not None else await session.probe()
        if is_here(rental.id):
            return probe
        if not attempt.begun:
            check_machine(probe, rental, run.plan)
        if not probe.guard:
            raise RemoteError("its guard does not run yet (onstart begins it)")
        if not probe.python:
            raise RemoteError("the machine has no Python 3.8 or later yet (onstart installs it)")
        return probe

    looking = asyncio.create_task(look())
    try:
        if attempt.begun or not rental.past:
            await looking
        yield looking
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


def _just_prepared(ctx: Context, rental: Rental, run: Run) -> bool:
    """Whether its lease was given a moment ago, by this engine."""
    known, at = ctx.prepared.pop(rental.id, ("", 0.0))
    return known == run.id and ctx.clock.monotonic() - at < A_MOMENT / 2


async def _send(
    ctx: Context,
    session: RemoteSession,
    run: Run,
    n: int,
    secrets: Handover,
    looking: "asyncio.Task[Probe]",
) -> None:
    if run.plan.send:
        ctx.ledger.run(run.id, phase="its data is on the way")
    for round_ in range(1, CHANGES + 1):
        items = [with_values(item, secrets) for item in await _what_to_send(ctx, run)]
        try:
            moved = await session.send(run.id, items, reporter(ctx, run.id, "sending"))
            break
        except TransferFailed as error:
            changed, need = error.details.get("changed"), error.details.get("need", 0)
            if changed and round_ < CHANGES:
                continue
            # no other machine would fare better
            error.details["hopeless"] = bool(changed) or need > run.plan.disk_gb * 1e9
            raise
    await looking  # from the next line on its command may run, for all that is known
    if moved.cloned:
        ctx.ledger.note("run", moved.cloned[:500], run=run.id)
    files = "1 file" if moved.files == 1 else f"{moved.files:,} files"
    text = f"sent {files}, {moved.bytes:,} bytes by {moved.how} in {moved.seconds:.1f} s"
    text = text if moved.how else "nothing had to be sent"
    if moved.there:
        text += f"; {moved.there:,} bytes of data were there already"
    if moved.skipped:
        text += f"; left out: {'; '.join(moved.skipped[:3])}"
    ctx.ledger.attempt(run.id, n, text[:500], sent=ctx.clock.time())


async def _knows(session: RemoteSession, attempt: Attempt) -> bool:
    """Whether a machine that refused a job may have it all the same. Raises SshDropped and the like."""
    try:
        return attempt.job in (await session.status()).jobs
    except CUT_OFF:
        raise
    except RemoteError:
        # it cannot say: what was handed over before, without a clear answer, may run
        return attempt.begun


async def _what_to_send(ctx: Context, run: Run) -> list[Item]:
    items = await ctx.items(run)
    keep = Path(run.plan.results_into) / "keep" if run.plan.results_into else None
    if keep is not None and keep.is_dir() and any(keep.iterdir()):
        # what an earlier attempt kept goes to the next machine
        items.append(Item(str(keep), "keep"))
    return items


def _job(run: Run, attempt: Attempt, rental: Rental, home: str) -> JobSpec:
    lines = []
    for path in run.plan.results:
        name = shlex.quote(path)
        lines.append(
            f'mkdir -p "$CHOLINE_RESULTS"/{name} "$(dirname "$CHOLINE_SRC"/{name})" && '
            f'ln -sfn "$CHOLINE_RESULTS"/{name} "$CHOLINE_SRC"/{name} || exit 1'
        )
    return JobSpec(
        id=attempt.job,
        run=run.id,
        command="\n".join([*lines, *entering(run.plan.environment), run.plan.command]),
        setup=setup_script(run.plan.environment, run.plan.setup),
        env=dict(run.plan.env),
        attempt=attempt.n,
        gpus=rental.num_gpus,
        grace_s=run.plan.stop_grace_s,
        results_max_bytes=run.plan.results_max_bytes,
        tty=run.plan.tty,
        secrets=run.plan.job_secrets,
        settle_s=run.plan.results_settle_s,
        disk_pause=run.plan.disk_pause,
        results_exclude=list(run.plan.results_exclude),
        also=Also(**run.plan.results_also.model_dump()) if run.plan.results_also else None,
    )


async def follow(ctx: Context, rental_id: str, n: int) -> None:
    """Be with a running job: its log, its state, its lease, its results, until it has ended."""
    rental = ctx.machine(rental_id)
    run = ctx.store.run(rental.run)
    attempt = ctx.store.attempt(run.id, n)
    async with _guarded(ctx, attempt, rental):
        session = await _session(ctx, rental)
        if not _just_prepared(ctx, rental, run):
            await session.prepare(run.id, _lease(run, rental, ctx.clock.time()))
        fresh = Fresh()
        side = [
            asyncio.create_task(_keep_lease(ctx, session, run, rental_id)),
            asyncio.create_task(keep_results(ctx, session, run, fresh)),
        ]
        main = asyncio.create_task(_read_stream(ctx, session, run.id, n, fresh))
        try:
            done, _ = await asyncio.wait([main, *side], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (main, *side):
                task.cancel()
            await asyncio.gather(main, *side, return_exceptions=True)


async def _keep_lease(ctx: Context, session: RemoteSession, run: Run, rental_id: str) -> None:
    while True:
        await ctx.clock.sleep(min(RENEW_EVERY, run.plan.lease_s / 4))
        await session.renew(_lease(run, ctx.machine(rental_id), ctx.clock.time()))


async def _read_stream(ctx: Context, session: RemoteSession, run_id: str, n: int, fresh: Fresh) -> None:
    job = f"{run_id}-{n}"
    files = {s: ctx.files.log(run_id, n, s) for s in ("setup", "run")}
    offsets = {}
    for source, path in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        offsets[source] = path.stat().st_size if path.exists() else 0
    full: set[str] = set()
    veil = await ctx.secrets.veil(ctx.store.run(run_id))
    ended = False
    try:
        async for frame in session.stream(job, dict(offsets)):
            if frame.status is not None:
                ended = frame.status.state == ENDED
                _job_status(ctx, run_id, n, frame.status)
                fresh.told(frame.status.fresh)
            elif frame.source in files and frame.data and frame.offset == offsets[frame.source]:
                data = veil.feed(frame.source, frame.data)
                if offsets[frame.source] + len(frame.data) <= LOG_LIMIT:
                    with files[frame.source].open("ab") as log:
                        log.write(data)
                elif frame.source not in full:
                    full.add(frame.source)
                    text = f"{frame.source}.log has reached {LOG_LIMIT >> 20} MiB: what follows is not kept"
                    ctx.ledger.note("run", text, run=run_id)
                offsets[frame.source] += len(frame.data)
                if frame.source == "setup":
                    heard(ctx, run_id, n, data)
                ctx.hub.publish("log", run_id, attempt=n, source=frame.source, size=offsets[frame.source])
    finally:
        for source, data in veil.rest(ended=ended).items():
            if source not in full:
                with files[source].open("ab") as log:
                    log.write(data)
    if ctx.store.attempt(run_id, n).job_state != ENDED:
        raise SshDropped("the stream of the job ended before the job")


def _job_status(ctx: Context, run_id: str, n: int, status: JobStatus) -> None:
    attempt = ctx.store.attempt(run_id, n)
    _fine(ctx, run_id, n)
    if status.id != attempt.job or attempt.state is not AttemptState.RUNNING:
        return
    if attempt.job_state in JOB_STATES and JOB_STATES.index(status.state) < JOB_STATES.index(
        attempt.job_state
    ):
        return  # a job does not go back; a machine that says so, again and again, gets no event for it
    machine_disk(ctx, run_id, status)
    second_home(ctx, run_id, status)
    if status.state == ENDED:
        words = f"the command ended: {status.reason}" + (
            f", status {status.exit_code}" if status.exit_code is not None else ""
        )
        if status.log_dropped:
            words += f"; {status.log_dropped:,} bytes of its output were not kept (the log's limit)"
        with ctx.ledger.batch() as batch:
            batch.attempt(
                run_id,
                n,
                words,
                state=AttemptState.COLLECTING,
                job_state=ENDED,
                job_reason=status.reason,
                job_words=why_setup_failed(ctx, run_id, n, status.reason),
                exit_code=status.exit_code if status.exit_code is not None else status.setup_exit,
                started=attempt.started or attempt.submitted,
                ended=ctx.clock.time(),
            )
            batch.run(run_id, state=RunState.COLLECTING, reason="bringing the results home")
    elif status.state != attempt.job_state:
        ctx.ledger.attempt(
            run_id,
            n,
            f"job: {status.state}",
            job_state=status.state,
            started=attempt.started or ctx.clock.time(),
        )
    if status.state != ENDED and ctx.store.run(run_id).state is RunState.INTERRUPTED:
        ctx.ledger.run(run_id, "running again", state=RunState.RUNNING, reason="")


async def stop_job(ctx: Context, rental_id: str, n: int, why: str) -> None:
    rental = ctx.machine(rental_id)
    run = ctx.store.run(rental.run)
    attempt = ctx.store.attempt(run.id, n)
    async with _guarded(ctx, attempt, rental):
        session = await _session(ctx, rental)
        await session.stop(attempt.job, run.plan.stop_grace_s, "stopped")
        ctx.ledger.attempt(run.id, n, f"asked the command to end: {why}", stop_asked=ctx.clock.time())


async def collect(ctx: Context, rental_id: str, n: int) -> None:
    """The final results, compared with the machine's own list by size and hash."""
    rental = ctx.machine(rental_id)
    run = ctx.store.run(rental.run)
    attempt = ctx.store.attempt(run.id, n)
    async with _guarded(ctx, attempt, rental):
        session = await _session(ctx, rental)
        failing = attempt.failing_since
        if failing is None or 0 <= ctx.clock.time() - failing < run.plan.grace_s:
            await session.renew(_lease(run, ctx.machine(rental_id), ctx.clock.time()))
            keeper = asyncio.create_task(_keep_lease(ctx, session, run, rental_id))
            try:
                await _fetch_final(ctx, session, run, n)
            finally:
                keeper.cancel()
                await asyncio.gather(keeper, return_exceptions=True)
        else:
            # results that will not come home (a full disk here) must not keep its GPU billing: unrenewed,
            # the machine stops itself after its grace, and keeps them on its disk
            await _fetch_final(ctx, session, run, n)
        # from here on, nothing of value is on the machine: if home dies now it destroys itself
        keep = run.plan.keep_s > 0 and ctx.store.run(run.id).want != "stop"
        safe = _lease(run, ctx.machine(rental_id), ctx.clock.time(), safe=True, hold=keep)
        if keep:
            safe.seconds = run.plan.keep_s + run.plan.grace_s
        try:
            await session.renew(safe)
        except RemoteError:
            await ctx.sessions.drop(rental_id)


async def _fetch_final(ctx: Context, session: RemoteSession, run: Run, n: int) -> None:
    moved = await bring(ctx, session, run, final=True)
    now = ctx.clock.time()
    with ctx.ledger.batch() as batch:
        skipped = f"; refused: {', '.join(moved.skipped[:5])}" if moved.skipped else ""
        batch.attempt(
            run.id,
            n,
            f"results are home and checked: {moved.files} files, {moved.bytes:,} bytes{skipped}"[:500],
            collected=now,
            retry_at=0.0,
            reason="",
            **WELL,
        )
        batch.run(run.id, results_synced=now, results_complete=True)
