"""The one decision function: what to do next, from what is known. Pure; time is an argument.

``decide`` reads a run, its attempts and its rentals and names the next action of each *lane*: the run's
own lane, and one for each rental. The engine carries them out, writes what came of it, and asks again.
Nothing is remembered between calls but the records, so an engine that died asks the same question and
gets the same answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from choline_tui.model.here import HERE, machine_here
from choline_tui.model.run import Attempt, AttemptState, Outcome, Plan, Rental, RentalState, Run, RunState

__all__ = ["Action", "Do", "decide", "life_over"]

FATAL_FOR = 45.0
"""s a fatal status text must stand: the daemon retries one error by itself"""
STOPPED_FOR = 60.0
"""s a booting contract may be stopped before it is given up"""
MAX_FAILURES = 6
"""system failures in a row on one machine before it is given up"""
VERIFY_LOOKS = 2
"""complete listings in a row without a contract that make it gone"""
REASK_AFTER = 30.0
"""s after an accepted destroy at which a contract still listed is destroyed again"""
STRANGER_STARTS = 3
"""times a machine that stopped itself is started although another host key answered there before"""
COPY_AFTER = 600.0
"""s for which a machine stands, and cannot be started, before its results are asked of its host's copier"""
STANDS_FOR = 120.0
"""the same when nobody reached it while it ran: starting it again would only bill. Long enough for many looks
at it: a listing that lies must not make results final while the machine still writes them"""
PAST_DEADLINE = 1800.0
"""s for which nobody reaches a machine past its deadline before home has it stopped"""


class Do(StrEnum):
    WAIT = "wait"
    # run lane
    ACQUIRE = "acquire"
    CONNECT = "connect"
    PREPARE = "prepare"
    FOLLOW = "follow"
    STOP_JOB = "stop job"
    COLLECT = "collect"
    COPY = "copy"
    """the results of a machine that stands, by its host's copier"""
    # run lane, in the store alone
    CLOSE_ATTEMPT = "close attempt"
    AGAIN_HERE = "again here"
    FINISH = "finish"
    # rental lane
    SETTLE = "settle"
    WATCH = "watch"
    START = "start"
    HALT = "halt"
    EVIDENCE = "evidence"
    DESTROY = "destroy"
    VERIFY = "verify"
    # rental lane, in the store alone
    RELEASE = "release"


INSTANT = frozenset({Do.CLOSE_ATTEMPT, Do.AGAIN_HERE, Do.FINISH, Do.RELEASE})
PREEMPTIBLE = frozenset({Do.WAIT, Do.CONNECT, Do.PREPARE, Do.FOLLOW, Do.WATCH, Do.COLLECT, Do.COPY})
"""What may be cut short by a newer decision: all of it can be done again from the start."""


@dataclass(frozen=True)
class Action:
    do: Do
    lane: str
    rental: str | None = None
    attempt: int | None = None
    at: float = 0.0
    """not before this time"""
    why: str = ""
    outcome: Outcome | None = None
    state: RunState | None = None
    """WAIT: the run's state meanwhile, when it is not the one it has"""
    failed: bool = False
    """RELEASE: because the machine or its contract was not as it should be"""

    @property
    def instant(self) -> bool:
        return self.do in INSTANT

    @property
    def preemptible(self) -> bool:
        return self.do in PREEMPTIBLE

    def same_work(self, other: "Action") -> bool:
        return (self.do, self.lane, self.rental, self.attempt) == (
            other.do,
            other.lane,
            other.rental,
            other.attempt,
        )


def life_over(rental: Rental, max_life_s: float, now: float) -> bool:
    """Home ends a run a little before the guard would, so that the results come home first."""
    margin = min(900.0, 0.1 * max_life_s)
    return rental.deadline is not None and now >= rental.deadline - margin


def decide(
    run: Run,
    attempts: Sequence[Attempt],
    rentals: Sequence[Rental],
    now: float,
    copy_after: float = COPY_AFTER,
) -> list[Action]:
    """The next action of every lane of this run. At most one a lane; none for a lane at rest.
    ``copy_after``: see ``COPY_AFTER``."""
    if run.plan.place == HERE:
        return _here(run, attempts, now)
    actions: list[Action] = []
    held_by_rental: set[str] = set()
    attempt = next((a for a in reversed(attempts) if a.live), None)
    for rental in rentals:
        if not rental.live:
            continue
        action = _rental_action(run, attempt, rental, now, copy_after)
        if action is not None:
            actions.append(action)
            if action.do is Do.RELEASE:
                held_by_rental.add(rental.id)
    if run.live:
        action = _run_action(run, attempts, attempt, rentals, now, copy_after)
        if action is not None and action.rental not in held_by_rental:
            actions.append(action)
    return actions


# --------------------------------------------------------------------------- a place without rentals


def _here(run: Run, attempts: Sequence[Attempt], now: float) -> list[Action]:
    """On this computer: the run's own lane alone. The machine is always up, and costs nothing; what a
    release would end elsewhere ends the run itself."""
    if not run.live:
        return []
    lane = f"run:{run.id}"
    attempt = next((a for a in reversed(attempts) if a.live), None)
    if attempt is None:
        return [_without_attempt(run, attempts, (), lane, now)]
    machine = machine_here(run)
    if not attempt.begun:
        stopping = run.want == "stop"
        hopeless = run.hopeless or (attempt.reason if attempt.failures >= MAX_FAILURES else "")
        if stopping or hopeless:
            began = any(a.submitted for a in attempts)
            outcome = (Outcome.STOPPED if began else Outcome.CANCELLED) if stopping else Outcome.ERROR
            why = run.stop_reason or "stopped" if stopping else hopeless
            return [Action(Do.FINISH, lane, attempt=attempt.n, why=why, outcome=outcome)]
    done = attempt.collected is not None or run.drop_results
    if attempt.state is AttemptState.COLLECTING and done:
        action = _collected(run, attempts, attempt, machine, lane, now)
    else:
        action = _on_machine(run, attempt, machine, lane, now)
    if action.do in (Do.FINISH, Do.CLOSE_ATTEMPT):
        action = replace(action, rental=None)  # there is none to be kept or released
    return [action]


# ---------------------------------------------------------------------------------------------- run


def _run_action(
    run: Run,
    attempts: Sequence[Attempt],
    attempt: Attempt | None,
    rentals: Sequence[Rental],
    now: float,
    copy_after: float,
) -> Action | None:
    lane = f"run:{run.id}"
    if attempt is None:
        return _without_attempt(run, attempts, rentals, lane, now)
    rental = next((r for r in rentals if r.id == attempt.rental), None)
    if rental is None:
        return Action(Do.CLOSE_ATTEMPT, lane, attempt=attempt.n, why="its rental is not on record")
    here = {"rental": rental.id, "attempt": attempt.n}

    if rental.state in (RentalState.INTENDED, RentalState.UNKNOWN):
        return Action(Do.WAIT, lane, why="waiting until the rent call is settled", **here)  # type: ignore[arg-type]
    if rental.state in (RentalState.GONE, RentalState.RELEASING):
        return _without_machine(run, attempt, rental, lane)
    if attempt.state is AttemptState.COLLECTING and attempt.collected is not None:
        return _collected(run, attempts, attempt, rental, lane, now)
    if _copy_due(attempt, rental, now, copy_after):
        return Action(Do.COPY, lane, rental.id, attempt.n, why="by the host's copier, while it stands")
    if rental.state is RentalState.BOOTING:
        if _ready(rental):
            return Action(Do.CONNECT, lane, rental.id, attempt.n, attempt.retry_at, "SSH")
        return Action(Do.WAIT, lane, rental.id, attempt.n, why="the machine is starting")
    return _on_machine(run, attempt, rental, lane, now)


def _collected(
    run: Run, attempts: Sequence[Attempt], attempt: Attempt, rental: Rental, lane: str, now: float
) -> Action:
    """Everything of value is at home."""
    over = run.want == "stop" or life_over(rental, run.plan.max_life_s, now)
    if attempt.job_reason == "lost" and not over:
        stands = rental.stopped_since is not None
        why = f"the machine {'was stopped' if stands else 'restarted'} under the command"
        tried = sum(a.outcome is Outcome.ERROR for a in attempts) + 1
        if tried < run.plan.tries and not stands:
            return Action(Do.AGAIN_HERE, lane, rental.id, attempt.n, why=why)
        if tried >= run.plan.tries:
            why = f"{tried} tries failed; the last: {why}"
            return Action(Do.FINISH, lane, rental.id, attempt.n, why=why, outcome=Outcome.ERROR)
        return Action(Do.CLOSE_ATTEMPT, lane, rental.id, attempt.n, why=why, outcome=Outcome.ERROR)
    outcome, reason = _verdict(run, attempt)
    return Action(Do.FINISH, lane, rental.id, attempt.n, why=reason, outcome=outcome)


def _ready(rental: Rental) -> bool:
    seen = rental.seen
    return seen is not None and seen.status == "running" and bool(seen.address) and rental.price_checked


def _without_attempt(
    run: Run, attempts: Sequence[Attempt], rentals: Sequence[Rental], lane: str, now: float
) -> Action:
    if run.want == "stop":
        began = any(a.begun for a in attempts)
        return Action(
            Do.FINISH,
            lane,
            why=run.stop_reason or "stopped",
            outcome=Outcome.STOPPED if began else Outcome.CANCELLED,
        )
    if any(r.state in (RentalState.INTENDED, RentalState.UNKNOWN) for r in rentals):
        return Action(Do.WAIT, lane, why="waiting until the rent call is settled")
    if run.hopeless:
        return Action(Do.FINISH, lane, why=run.hopeless, outcome=Outcome.ERROR)
    spent = [a for a in attempts if a.outcome is Outcome.ERROR]
    if run.plan.on and spent:
        why = f"the machine it was to run on is no longer there: {spent[-1].reason}"
        return Action(Do.FINISH, lane, why=why, outcome=Outcome.ERROR)
    if len(spent) >= run.plan.tries:
        why = f"{len(spent)} tries failed; the last: {spent[-1].reason}"
        return Action(Do.FINISH, lane, why=why, outcome=Outcome.ERROR)
    return Action(Do.ACQUIRE, lane, at=run.not_before, why="looking for an offer")


def _without_machine(run: Run, attempt: Attempt, rental: Rental, lane: str) -> Action:
    """The machine of a live attempt is gone or going."""
    why = rental.release_reason or "the rental ended"
    lost = attempt.job_reason == "lost" and run.want != "stop"
    if attempt.state is AttemptState.COLLECTING and attempt.job_state == "ended" and not lost:
        outcome, reason = _verdict(run, attempt)
        if attempt.collected is None:
            reason += f"; results are home only as far as they were synced ({why})"
        return Action(Do.FINISH, lane, rental.id, attempt.n, why=reason, outcome=outcome)
    return Action(Do.CLOSE_ATTEMPT, lane, rental.id, attempt.n, why=why, outcome=Outcome.ERROR)


def _on_machine(run: Run, attempt: Attempt, rental: Rental, lane: str, now: float) -> Action:
    stopping = run.want == "stop"
    if rental.stopped_since is not None:
        state = RunState.INTERRUPTED if attempt.state is AttemptState.RUNNING else None
        why = (
            "the machine was stopped; waiting for it to come back, with the results on its disk "
            f"('choline stop {run.id} --drop-results' gives them up)"
        )
        if rental.copy_trouble:
            why += f"; the host's copier does not give them either: {rental.copy_trouble}"
        if _left_stopped(rental):
            why = (
                "the machine's host key changed, and it is stopped: its disk bills, its GPU does not. "
                f"Start contract {rental.contract} at the market, and choline looks once more for the "
                f"results; 'choline stop {run.id} --drop-results' gives them up"
            )
        return Action(Do.WAIT, lane, rental.id, attempt.n, why=why, state=state)
    if attempt.state in (AttemptState.ACQUIRING, AttemptState.PREPARING):
        return Action(Do.PREPARE, lane, rental.id, attempt.n, attempt.retry_at, "preparing the machine")
    if attempt.state is AttemptState.RUNNING:
        ending = stopping or life_over(rental, run.plan.max_life_s, now)
        if ending and attempt.stop_asked is None:
            why = run.stop_reason if stopping else "its time is up (max life)"
            return Action(Do.STOP_JOB, lane, rental.id, attempt.n, attempt.retry_at, why)
        return Action(Do.FOLLOW, lane, rental.id, attempt.n, attempt.retry_at, "running")
    return Action(Do.COLLECT, lane, rental.id, attempt.n, attempt.retry_at, "bringing the results home")


def _copy_due(attempt: Attempt, rental: Rental, now: float, copy_after: float) -> bool:
    """Whether results are to come from a standing machine's disk now."""
    if rental.stopped_since is None or rental.contract is None or now < rental.copy_at:
        return False
    if not attempt.begun or attempt.collected is not None:
        return False
    limit = min(copy_after, STANDS_FOR) if _unreached(rental) else copy_after
    return now - rental.stopped_since >= limit


def _unreached(rental: Rental) -> bool:
    """Whether nobody got to it while it ran: by its own SSH its results are not to be had."""
    return rental.halted is not None or rental.stranger


def _left_stopped(rental: Rental) -> bool:
    """Another machine answers there, by its key: to start it again and again would bill for nothing."""
    return rental.stranger and (rental.halted is not None or rental.starts >= STRANGER_STARTS)


def _verdict(run: Run, attempt: Attempt) -> tuple[Outcome, str]:
    """How a run ended, from how its job did: the task's own failure is told from the system's."""
    reason, status = attempt.job_reason, attempt.exit_code
    if reason == "exited" and status == 0:
        return Outcome.SUCCEEDED, "the command ended with status 0"
    if reason == "exited":
        return Outcome.FAILED, f"the command ended with status {status}"
    if reason == "setup_failed":
        return Outcome.FAILED, attempt.job_words or "the set-up command failed"
    if reason == "results_full":
        return Outcome.STOPPED, "the results grew past their limit"
    if reason == "time_limit":
        return Outcome.STOPPED, "its time limit was reached"
    if reason == "lease":
        return Outcome.STOPPED, "home was away longer than the lease"
    if reason == "deadline":
        return Outcome.STOPPED, "its time was up (max life)"
    if reason == "stopped":
        return Outcome.STOPPED, run.stop_reason or "its time was up (max life)"
    if run.want == "stop":
        return Outcome.STOPPED, run.stop_reason or "stopped"
    return Outcome.ERROR, f"the command was lost ({reason or 'no reason given'})"


# ------------------------------------------------------------------------------------------- rental


def _rental_action(
    run: Run, attempt: Attempt | None, rental: Rental, now: float, copy_after: float
) -> Action | None:
    lane = f"rental:{rental.id}"
    if rental.state is RentalState.INTENDED:
        return None  # the rent call is in flight; after a crash the engine makes it unknown
    if rental.state is RentalState.UNKNOWN:
        return Action(Do.SETTLE, lane, rental.id, at=rental.next_look, why="looking for its label")
    if rental.state is RentalState.RELEASING:
        return _releasing(rental, lane, now)
    mine = attempt if attempt is not None and attempt.rental == rental.id and run.live else None
    for why, failed in _reasons_to_release(run, mine, rental, now):
        return Action(Do.RELEASE, lane, rental.id, why=why, failed=failed)
    if (
        rental.stopped_since is not None
        and mine is not None
        and mine.begun
        and mine.collected is None
        and now >= rental.start_at
        and not _left_stopped(rental)
        and not _copy_due(mine, rental, now, copy_after)
        and (rental.copies > 0 or not _unreached(rental))
    ):
        # what is on its disk is not at home: it must run once more, however it came to stand
        return Action(Do.START, lane, rental.id, at=rental.next_look, why="starting it to reach the results")
    if mine is not None and _nobody_ends_it(run.plan, mine, rental, now):
        return Action(Do.HALT, lane, rental.id, at=rental.next_look, why="nobody reaches it, and it runs on")
    look, until = rental.next_look, rental.keep_until
    if rental.state is RentalState.HELD and until is not None and until > now:
        look = min(look, until)  # it bills: not a look longer than it was to be kept
    return Action(Do.WATCH, lane, rental.id, at=look, why="watching the contract")


def _nobody_ends_it(plan: Plan, mine: Attempt, rental: Rental, now: float) -> bool:
    """Whether a machine with results on it should have stopped itself by now and has not: out of reach for
    longer than its lease, or past its deadline. Its guard may have no network, or not be there at all."""
    if mine.unreachable_since is None or not mine.begun or mine.collected is not None:
        return False
    if rental.state is not RentalState.UP or rental.stopped_since is not None:
        return False
    out_of_reach = now - mine.unreachable_since
    late = rental.deadline is not None and now >= rental.deadline + PAST_DEADLINE
    return out_of_reach >= plan.lease_s + plan.grace_s or (late and out_of_reach >= PAST_DEADLINE)


def _reasons_to_release(
    run: Run, mine: Attempt | None, rental: Rental, now: float
) -> Iterator[tuple[str, bool]]:
    plan = run.plan
    produced = mine is not None and mine.begun
    if rental.price_checked and rental.price is not None and not produced:
        over = rental.price > rental.cap * (1 + 1e-6) + 1e-6
        if over:
            yield f"the contract costs ${rental.price:.4f}/h, above the cap of ${rental.cap:.4f}/h", True
    if mine is None:
        if rental.state is RentalState.HELD and rental.keep_until is not None and now < rental.keep_until:
            return
        yield "no longer needed", False
        return
    if run.want == "stop" and (run.drop_results or not produced):
        yield run.stop_reason or "stopped", False
    if run.hopeless and not produced:
        yield run.hopeless, False
    if not produced and rental.stopped_since is not None and now - rental.stopped_since >= STOPPED_FOR:
        yield "the contract was stopped before it ran anything: the GPU is not available", True
    if rental.state is RentalState.BOOTING and not produced:
        if rental.fatal_since is not None and now - rental.fatal_since >= FATAL_FOR:
            text = rental.seen.message if rental.seen else ""
            yield f"the host cannot start the container: {text[:200]}", True
        looked = rental.seen.at if rental.seen is not None else rental.intended
        if looked - rental.intended >= plan.boot_limit_s and not _ready(rental):
            # judged by a look, not by the clock: home may have slept
            yield f"not up within {plan.boot_limit_s / 60:.0f} minutes", True
        since = mine.failing_since
        if since is not None and now - since >= plan.ssh_limit_s:
            yield f"SSH did not answer within {plan.ssh_limit_s:.0f} s of running: {mine.reason}", True
    if rental.state is RentalState.UP and not produced:
        since = mine.unreachable_since
        if mine.failures >= MAX_FAILURES or (since is not None and now - since >= plan.ssh_limit_s):
            yield f"the machine could not be prepared: {mine.reason}", True


def _releasing(rental: Rental, lane: str, now: float) -> Action:
    if rental.failed and rental.evidence is None:
        return Action(Do.EVIDENCE, lane, rental.id, at=rental.next_look, why="keeping the evidence")
    asked, accepted = rental.destroy_asked, rental.destroy_accepted
    again = rental.looks == 0 and asked is not None and not 0 <= now - asked < REASK_AFTER
    if accepted is None or again:
        return Action(Do.DESTROY, lane, rental.id, at=rental.next_look, why=rental.release_reason)
    return Action(Do.VERIFY, lane, rental.id, at=rental.next_look, why="verifying that it is gone")
