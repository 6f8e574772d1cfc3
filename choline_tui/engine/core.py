"""The engine's heart: for each run, ask the decision function, carry out what it says, ask again."""

import asyncio
import logging
from dataclasses import dataclass

from choline_tui.engine import contract, copied, machine
from choline_tui.engine.acquire import acquire
from choline_tui.engine.context import Context
from choline_tui.engine.here import begin
from choline_tui.engine.secrets import at_hand
from choline_tui.kernel.errors import CholineError
from choline_tui.model.decide import Action, Do, decide
from choline_tui.model.here import HERE
from choline_tui.model.run import Attempt, AttemptState, Outcome, Rental, RentalState, Run, RunState

__all__ = ["Engine"]

log = logging.getLogger("choline.engine")

NAP = 30.0
MOVED = 30.0
"""s by which the wall clock must leave the steady one to have jumped (sleep, NTP, a person)"""
MAX_RETRY = 60.0
START_AGAIN = 6 * 3600.0


@dataclass
class _Lane:
    action: Action
    task: "asyncio.Task[None]"


class Engine:
    """Drives every run that is not at rest. ``start`` recovers what an earlier engine left."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self._drivers: dict[str, asyncio.Task[None]] = {}
        self._wakes: dict[str, asyncio.Event] = {}
        self._offset = self._wall_offset()

    async def start(self) -> None:
        """Read the store and go on. A rent call that was in flight may or may not have happened."""
        for rental in self.ctx.store.rentals(live=True):
            if rental.state is RentalState.INTENDED:
                self._intent_left(rental, "the engine ended during the rent call")
        self._plan_anew()

    def _intent_left(self, rental: Rental, why: str) -> None:
        self.ctx.ledger.rental(
            rental.id,
            f"{why}; looking for its label",
            state=RentalState.UNKNOWN,
            next_look=0.0,
            looks=0,
            billed_from=rental.intended,
            price=rental.offer_price,
        )

    def _plan_anew(self) -> None:
        """What an earlier engine, or this one by another clock, planned for later is looked at now; what
        is judged by how long it has lasted begins to last."""
        ctx, now = self.ctx, self.ctx.clock.time()
        for rental in ctx.store.rentals(live=True):
            ctx.ledger.rental(
                rental.id,
                next_look=0.0,
                looks=0,
                fatal_since=None,
                start_at=min(rental.start_at, now + START_AGAIN),
                copy_at=min(rental.copy_at, now + START_AGAIN),
            )
        for run_id in ctx.store.busy_runs():
            for attempt in ctx.store.attempts(run_id):
                if attempt.live and (attempt.retry_at or attempt.failing_since is not None):
                    ctx.ledger.attempt(
                        run_id, attempt.n, retry_at=0.0, failing_since=None, unreachable_since=None
                    )
            run = ctx.store.run(run_id)
            if run.live and run.not_before:
                ctx.ledger.run(run_id, not_before=0.0)
            self.poke(run_id)

    def _wall_offset(self) -> float:
        return self.ctx.clock.time() - self.ctx.clock.monotonic()

    def _mind_the_clock(self) -> None:
        offset = self._wall_offset()
        if abs(offset - self._offset) > MOVED:
            log.info("the wall clock moved by %.0f s", offset - self._offset)
            self._offset = offset
            self._plan_anew()
        elif offset != self._offset:
            self._offset = offset  # the small steps by which a clock is kept right do not add up

    async def close(self) -> None:
        """Stop driving; nothing on the market or on a machine is changed by it."""
        for task in self._drivers.values():
            task.cancel()
        await asyncio.gather(*self._drivers.values(), return_exceptions=True)
        self._drivers.clear()
        await self.ctx.sessions.close()

    @property
    def busy(self) -> bool:
        return any(not t.done() for t in self._drivers.values())

    def poke(self, run: str) -> None:
        """Something about this run changed: decide anew."""
        wake = self._wakes.setdefault(run, asyncio.Event())
        wake.set()
        task = self._drivers.get(run)
        if task is None or task.done():
            self._drivers[run] = asyncio.create_task(self._drive(run, wake), name=f"run {run}")

    def sweep(self) -> None:
        """Drive runs whose rentals a listing brought back."""
        for rental in self.ctx.store.rentals(live=True):
            task = self._drivers.get(rental.run)
            if task is None or task.done():
                self.poke(rental.run)

    # ----------------------------------------------------------------------------------- the loop

    async def _drive(self, run_id: str, wake: asyncio.Event) -> None:
        lanes: dict[str, _Lane] = {}
        told, wait = "", self.ctx.timing.retry
        try:
            while True:
                wake.clear()
                try:
                    over = await self._step(run_id, lanes, wake)
                    told, wait = "", self.ctx.timing.retry
                except Exception as error:
                    # a full disk, say: a run that may bill is never let go because of it
                    if repr(error) != told:
                        log.exception("deciding about run %s failed", run_id)
                    told, over = repr(error), False
                    await self.ctx.clock.sleep(wait)
                    wait = min(MAX_RETRY, 2 * wait)
                if over:
                    self.ctx.secrets.forget(run_id)
                    return
        finally:
            for lane in lanes.values():
                lane.task.cancel()
            await asyncio.gather(*(lane.task for lane in lanes.values()), return_exceptions=True)

    async def _step(self, run_id: str, lanes: dict[str, _Lane], wake: asyncio.Event) -> bool:
        """Decide once and set to work; True when nothing of this run is left to do."""
        self._mind_the_clock()
        for name in [n for n, lane in lanes.items() if lane.task.done()]:
            self._finished(run_id, lanes.pop(name))
        run, attempts, rentals = self._load(run_id)
        if not any(lane.action.do is Do.ACQUIRE for lane in lanes.values()):
            for rental in rentals:
                if rental.state is RentalState.INTENDED:
                    # the store would not take what came of the call (a full disk): it may have been done
                    self._intent_left(rental, "what came of the rent call could not be written")
                    return False
        if not run.live and not any(r.live for r in rentals) and not lanes:
            if run.plan.place == HERE and self.ctx.here is not None:
                await self.ctx.here.tidy(run_id)
            return True
        actions = decide(run, attempts, rentals, self.ctx.clock.time(), self.ctx.timing.copy_after)
        instant = [a for a in actions if a.instant]
        for action in instant:
            self._apply(run_id, action)
        if not instant:
            due = await self._arrange(run, actions, lanes, wake)
            await self._rest(wake, due)
        return False

    def _load(self, run_id: str) -> tuple[Run, list[Attempt], list[Rental]]:
        store = self.ctx.store
        return store.run(run_id), store.attempts(run_id), store.rentals(run=run_id)

    async def _arrange(
        self, run: Run, actions: list[Action], lanes: dict[str, _Lane], wake: asyncio.Event
    ) -> float | None:
        """Start what is due, end what is overtaken; when the next thing is due (epoch s), if any."""
        due: float | None = None
        wanted = {a.lane: a for a in actions}
        for name, lane in list(lanes.items()):
            action = wanted.get(name)
            overtaken = action is None or not action.same_work(lane.action)
            if overtaken and self._may_end(run.id, lane) and not lane.task.done():
                lane.task.cancel()
                await asyncio.gather(lane.task, return_exceptions=True)
                del lanes[name]
                wake.set()  # what it did until now may have changed what is to be done
        if wake.is_set():
            return None
        for action in actions:
            if action.lane in lanes:
                continue
            if action.do is Do.WAIT:
                self._tell_waiting(run, action)
                continue
            if action.at > self.ctx.clock.time():
                due = action.at if due is None else min(due, action.at)
                continue
            task = asyncio.create_task(self._perform(run.id, action), name=f"{action.lane} {action.do}")
            task.add_done_callback(lambda _t: wake.set())
            lanes[action.lane] = _Lane(action, task)
        return due

    def _may_end(self, run_id: str, lane: _Lane) -> bool:
        """A search, or the wait for another run's rent, can be left; a rent call never."""
        if lane.action.do is Do.ACQUIRE:
            rentals = self.ctx.store.rentals(run=run_id)
            return not any(r.state is RentalState.INTENDED for r in rentals)
        return lane.action.preemptible

    async def _rest(self, wake: asyncio.Event, due: float | None) -> None:
        if due is None:
            await wake.wait()
            return
        # in short naps: timers stand still while the computer sleeps, the wall clock does not
        nap = min(NAP, max(0.0, due - self.ctx.clock.time()))
        sleeper = asyncio.create_task(self.ctx.clock.sleep(nap))
        sleeper.add_done_callback(lambda _t: wake.set())
        try:
            await wake.wait()
        finally:
            if not sleeper.done():
                sleeper.cancel()
                await asyncio.gather(sleeper, return_exceptions=True)

    def _finished(self, run_id: str, lane: _Lane) -> None:
        """An action that raised did something nobody thought of: noted, and tried again later."""
        if lane.task.cancelled():
            return
        error = lane.task.exception()
        if error is None:
            return
        log.error("%s of run %s failed", lane.action.do, run_id, exc_info=error)
        words = error.message if isinstance(error, CholineError) else f"unexpected: {error!r}"[:300]
        ctx, now = self.ctx, self.ctx.clock.time()
        words, later = f"{lane.action.do}: {words}", now + 4 * ctx.timing.retry
        with ctx.ledger.batch() as batch:
            if lane.action.lane.startswith("rental:") and lane.action.rental:
                told = ctx.store.rental(lane.action.rental).trouble == words
                batch.rental(lane.action.rental, next_look=later, trouble=words)
            elif lane.action.attempt is not None:
                attempt = ctx.store.attempt(run_id, lane.action.attempt)
                told = attempt.reason == words
                batch.attempt(
                    run_id,
                    attempt.n,
                    retry_at=later,
                    failures=attempt.failures + 1,
                    failing_since=attempt.failing_since or now,
                    reason=words,
                )
            else:
                told = ctx.store.run(run_id).reason == words
                batch.run(run_id, not_before=later, reason=words)
            if not told:
                batch.note("engine", words, run=run_id, rental=lane.action.rental)

    def _tell_waiting(self, run: Run, action: Action) -> None:
        state = action.state or run.state
        if action.why and (run.reason, run.state) != (action.why, state):
            self.ctx.ledger.run(run.id, reason=action.why, state=state)

    # -------------------------------------------------------------------------------- the actions

    async def _perform(self, run_id: str, action: Action) -> None:
        ctx = self.ctx
        rental, attempt = action.rental or "", action.attempt or 0
        match action.do:
            case Do.ACQUIRE:
                if await at_hand(ctx, run_id):
                    here = ctx.store.run(run_id).plan.place == HERE
                    await (begin if here else acquire)(ctx, run_id)
            case Do.CONNECT:
                await machine.connect(ctx, rental, attempt)
            case Do.PREPARE:
                await machine.prepare(ctx, rental, attempt)
            case Do.FOLLOW:
                await machine.follow(ctx, rental, attempt)
            case Do.STOP_JOB:
                await machine.stop_job(ctx, rental, attempt, action.why)
            case Do.COLLECT:
                await machine.collect(ctx, rental, attempt)
            case Do.COPY:
                await copied.copy(ctx, rental, attempt)
            case Do.SETTLE:
                await contract.settle(ctx, rental)
            case Do.WATCH:
                await contract.watch(ctx, rental)
            case Do.START:
                await contract.start(ctx, rental)
            case Do.HALT:
                await contract.halt(ctx, rental)
            case Do.EVIDENCE:
                await contract.evidence(ctx, rental)
            case Do.DESTROY:
                await contract.destroy(ctx, rental)
            case Do.VERIFY:
                await contract.verify(ctx, rental)
            case _:
                raise AssertionError(f"{action.do} is not performed")

    def _apply(self, run_id: str, action: Action) -> None:
        match action.do:
            case Do.RELEASE:
                self._release(action)
            case Do.CLOSE_ATTEMPT:
                self._close_attempt(run_id, action)
            case Do.AGAIN_HERE:
                self._again_here(run_id, action)
            case Do.FINISH:
                self._finish(run_id, action)
            case _:
                raise AssertionError(f"{action.do} is not instant")

    def _release(self, action: Action) -> None:
        assert action.rental is not None
        self.ctx.ledger.rental(
            action.rental,
            f"releasing: {action.why}",
            state=RentalState.RELEASING,
            release_reason=action.why,
            failed=action.failed,
            next_look=0.0,
            looks=0,
            destroy_asked=None,
            destroy_accepted=None,
        )

    def _close_attempt(self, run_id: str, action: Action) -> None:
        assert action.attempt is not None
        run, now = self.ctx.store.run(run_id), self.ctx.clock.time()
        with self.ctx.ledger.batch() as batch:
            batch.attempt(
                run_id,
                action.attempt,
                state=AttemptState.ENDED,
                outcome=action.outcome or Outcome.ERROR,
                reason=action.why,
                ended=now,
            )
            if run.live:
                wait = 0.0 if run.want == "stop" else self.ctx.timing.retry
                batch.run(run_id, state=RunState.WAITING, reason=action.why, phase="", not_before=now + wait)

    def _again_here(self, run_id: str, action: Action) -> None:
        assert action.attempt is not None and action.rental is not None
        now = self.ctx.clock.time()
        with self.ctx.ledger.batch() as batch:
            batch.attempt(
                run_id,
                action.attempt,
                state=AttemptState.ENDED,
                outcome=Outcome.ERROR,
                reason=action.why,
                ended=now,
            )
            n = self.ctx.store.attempts(run_id)[-1].n + 1
            attempt = Attempt(
                run=run_id, n=n, rental=action.rental, created=now, state=AttemptState.PREPARING
            )
            batch.add_attempt(attempt, f"attempt {n} on the same machine")
            batch.run(run_id, state=RunState.PREPARING, reason=action.why)

    def _finish(self, run_id: str, action: Action) -> None:
        run, now = self.ctx.store.run(run_id), self.ctx.clock.time()
        with self.ctx.ledger.batch() as batch:
            exit_code = run.exit_code
            if action.attempt is not None:
                attempt = batch.attempt(
                    run_id,
                    action.attempt,
                    f"attempt {action.attempt} ended",
                    state=AttemptState.ENDED,
                    outcome=action.outcome,
                    reason=action.why,
                    ended=now,
                )
                exit_code = attempt.exit_code
            batch.run(
                run_id,
                state=RunState.ENDED,
                outcome=action.outcome,
                reason=action.why,
                phase="",
                exit_code=exit_code,
                ended=now,
            )
            if action.rental is not None:
                self._after(batch.rental, action, run, now)

    def _after(self, change: "object", action: Action, run: Run, now: float) -> None:
        assert action.rental is not None and callable(change)
        rental = self.ctx.store.rental(action.rental)
        if rental.state not in (RentalState.UP, RentalState.HELD, RentalState.BOOTING):
            return
        keep = run.plan.keep_s > 0 and run.want != "stop"  # who says stop wants nothing to bill
        until = now + run.plan.keep_s
        if rental.deadline is not None:
            until = min(until, rental.deadline)
        if keep and until > now and rental.state is RentalState.UP and rental.stopped_since is None:
            change(
                rental.id,
                f"kept for another {(until - now) / 60:.0f} minutes: it bills",
                state=RentalState.HELD,
                keep_until=until,
            )
        else:
            change(
                rental.id,
                "releasing: the run ended and its results are home",
                state=RentalState.RELEASING,
                release_reason=f"the run ended: {action.why}",
                next_look=0.0,
                looks=0,
            )
