"""The decision function: for each situation of the design, the one thing to do next."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from choline_tui.model.decide import FATAL_FOR, STOPPED_FOR, Action, Do, decide
from choline_tui.model.run import (
    Attempt,
    AttemptState,
    Outcome,
    Plan,
    Rental,
    RentalState,
    Run,
    RunState,
    Seen,
)

NOW = 1_000_000.0


def plan(**changes: Any) -> Plan:
    return Plan(project="/p", command="true", cap=1.0, results_into="/p/results/abcd").but(**changes)


def run(**changes: Any) -> Run:
    return Run(id="abcd", plan=plan(), created=NOW - 100, updated=NOW).but(**changes)


def attempt(**changes: Any) -> Attempt:
    return Attempt(run="abcd", n=1, rental="abcd-1", created=NOW - 90).but(**changes)


def rental(**changes: Any) -> Rental:
    return Rental(
        id="abcd-1", run="abcd", attempt=1, label="choline-home-abcd-1", offer_id=1, offer_price=0.5,
        disk_gb=20, cap=1.0, intended=NOW - 90, contract=7, deadline=NOW + 80_000,
        seen=Seen(at=NOW, status="running", address=[("127.0.0.1", 22, "root", "direct")]),
        price=0.5, price_checked=True, state=RentalState.UP,
    ).but(**changes)  # fmt: skip


def only(actions: list[Action], lane: str) -> Action | None:
    found = [a for a in actions if a.lane.startswith(lane)]
    assert len(found) <= 1
    return found[0] if found else None


def run_action(r: Run, a: list[Attempt], q: list[Rental]) -> Action | None:
    return only(decide(r, a, q, NOW), "run:")


def rental_action(r: Run, a: list[Attempt], q: list[Rental]) -> Action | None:
    return only(decide(r, a, q, NOW), "rental:")


def test_a_new_run_acquires() -> None:
    action = run_action(run(), [], [])
    assert action is not None and action.do is Do.ACQUIRE


def test_no_acquiring_before_its_time() -> None:
    action = run_action(run(not_before=NOW + 5), [], [])
    assert action is not None and action.do is Do.ACQUIRE and action.at == NOW + 5


@pytest.mark.parametrize("state", [RentalState.INTENDED, RentalState.UNKNOWN])
def test_nothing_is_rented_while_a_rent_call_is_unsettled(state: RentalState) -> None:
    closed = attempt(state=AttemptState.ENDED)
    action = run_action(run(), [closed], [rental(state=state, contract=None)])
    assert action is not None and action.do is Do.WAIT


def test_an_unknown_rental_is_looked_for() -> None:
    action = rental_action(run(), [attempt()], [rental(state=RentalState.UNKNOWN, contract=None)])
    assert action is not None and action.do is Do.SETTLE


def test_tries_are_limited() -> None:
    tried = [attempt(n=n, state=AttemptState.ENDED, outcome=Outcome.ERROR, reason="x") for n in range(1, 6)]
    action = run_action(run(), tried, [])
    assert action is not None and action.do is Do.FINISH and action.outcome is Outcome.ERROR


def test_a_stop_of_a_command_that_may_have_run_is_no_cancel() -> None:
    """It was sent, the answer was lost, and the machine went: nobody knows that it did not run."""
    gone = attempt(state=AttemptState.ENDED, sent=NOW - 50, outcome=Outcome.ERROR)
    action = run_action(run(want="stop"), [gone], [rental(state=RentalState.GONE)])
    assert action is not None and action.do is Do.FINISH and action.outcome is Outcome.STOPPED
    action = run_action(run(want="stop"), [gone.but(sent=None)], [rental(state=RentalState.GONE)])
    assert action is not None and action.outcome is Outcome.CANCELLED


def test_an_offer_that_was_gone_is_no_try() -> None:
    tried = [attempt(n=n, state=AttemptState.ENDED, outcome=Outcome.MISSED) for n in range(1, 9)]
    action = run_action(run(), tried, [])
    assert action is not None and action.do is Do.ACQUIRE


def test_a_contract_above_the_cap_is_released_and_never_connected_to() -> None:
    dear = rental(state=RentalState.BOOTING, price=1.01)
    actions = decide(run(), [attempt()], [dear], NOW)
    assert [a.do for a in actions] == [Do.RELEASE] and actions[0].failed


def test_no_connection_before_the_price_is_known() -> None:
    action = run_action(run(), [attempt()], [rental(state=RentalState.BOOTING, price_checked=False)])
    assert action is not None and action.do is Do.WAIT


def test_a_running_contract_with_an_address_is_connected_to() -> None:
    action = run_action(run(), [attempt()], [rental(state=RentalState.BOOTING)])
    assert action is not None and action.do is Do.CONNECT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"intended": NOW - 1200, "seen": Seen(at=NOW, status="loading")}, "not up"),
        ({"fatal_since": NOW - FATAL_FOR}, "cannot start"),
        ({"stopped_since": NOW - STOPPED_FOR}, "not available"),
    ],
)
def test_a_machine_that_does_not_come_up_is_given_up(changes: dict[str, Any], words: str) -> None:
    actions = decide(run(), [attempt()], [rental(state=RentalState.BOOTING, **changes)], NOW)
    assert [a.do for a in actions] == [Do.RELEASE]
    assert actions[0].failed and words in actions[0].why


def test_a_failed_rental_keeps_its_evidence_first() -> None:
    going = rental(state=RentalState.RELEASING, failed=True)
    action = rental_action(run(), [attempt(state=AttemptState.ENDED)], [going])
    assert action is not None and action.do is Do.EVIDENCE
    action = rental_action(run(), [attempt(state=AttemptState.ENDED)], [going.but(evidence=NOW)])
    assert action is not None and action.do is Do.DESTROY


def test_a_destroy_is_verified_and_asked_again_when_the_contract_stays() -> None:
    ended = run(state=RunState.ENDED)
    going = rental(state=RentalState.RELEASING, destroy_asked=NOW - 5, destroy_accepted=NOW - 5)
    action = rental_action(ended, [], [going])
    assert action is not None and action.do is Do.VERIFY
    action = rental_action(ended, [], [going.but(destroy_asked=NOW - 60, looks=0)])
    assert action is not None and action.do is Do.DESTROY


RUNNING = attempt(state=AttemptState.RUNNING, submitted=NOW - 50)


def test_a_stop_ends_the_command_first() -> None:
    asked = run(want="stop", stop_reason="stopped by you", state=RunState.RUNNING)
    action = run_action(asked, [RUNNING], [rental()])
    assert action is not None and action.do is Do.STOP_JOB
    action = run_action(asked, [RUNNING.but(stop_asked=NOW)], [rental()])
    assert action is not None and action.do is Do.FOLLOW


def test_a_stop_that_drops_the_results_releases_at_once() -> None:
    asked = run(want="stop", drop_results=True, state=RunState.RUNNING)
    assert [a.do for a in decide(asked, [RUNNING], [rental()], NOW)] == [Do.RELEASE]


def test_a_stop_before_anything_ran_releases_at_once() -> None:
    asked = run(want="stop", state=RunState.ACQUIRING)
    for state in (RentalState.BOOTING, RentalState.UP):
        assert [a.do for a in decide(asked, [attempt()], [rental(state=state)], NOW)] == [Do.RELEASE]


def test_the_time_limit_ends_the_command_before_the_guard_would() -> None:
    action = run_action(run(state=RunState.RUNNING), [RUNNING], [rental(deadline=NOW + 600)])
    assert action is not None and action.do is Do.STOP_JOB


COLLECTING = RUNNING.but(state=AttemptState.COLLECTING, job_state="ended", job_reason="exited", exit_code=0)


def test_results_come_home_before_anything_is_destroyed() -> None:
    actions = decide(run(state=RunState.COLLECTING), [COLLECTING], [rental()], NOW)
    assert only(actions, "run:").do is Do.COLLECT  # type: ignore[union-attr]
    assert only(actions, "rental:").do is Do.WATCH  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, Outcome.SUCCEEDED),
        ({"exit_code": 3}, Outcome.FAILED),
        ({"job_reason": "setup_failed"}, Outcome.FAILED),
        ({"job_reason": "lease"}, Outcome.STOPPED),
        ({"job_reason": "stopped"}, Outcome.STOPPED),
        ({"job_reason": "time_limit"}, Outcome.STOPPED),
        ({"job_reason": "something new"}, Outcome.ERROR),
    ],
)
def test_task_and_system_are_told_apart(changes: dict[str, Any], outcome: Outcome) -> None:
    home = COLLECTING.but(collected=NOW, **changes)
    action = run_action(run(state=RunState.COLLECTING), [home], [rental()])
    assert action is not None and action.do is Do.FINISH and action.outcome is outcome


def test_a_stop_of_a_command_that_was_lost_is_a_stop() -> None:
    home = COLLECTING.but(collected=NOW, job_reason="lost", exit_code=None)
    asked = run(want="stop", stop_reason="stopped by you", state=RunState.COLLECTING)
    action = run_action(asked, [home], [rental()])
    assert action is not None and action.do is Do.FINISH and action.outcome is Outcome.STOPPED


def test_a_command_lost_in_a_restart_goes_on_on_the_same_machine() -> None:
    home = COLLECTING.but(collected=NOW, job_reason="lost", exit_code=None)
    action = run_action(run(state=RunState.COLLECTING), [home], [rental()])
    assert action is not None and action.do is Do.AGAIN_HERE


def test_a_machine_stopped_under_a_run_is_started_for_its_results() -> None:
    stood = rental(stopped_since=NOW - 10)
    actions = decide(run(state=RunState.RUNNING), [RUNNING], [stood], NOW)
    waiting = only(actions, "run:")
    assert waiting is not None and waiting.do is Do.WAIT and waiting.state is RunState.INTERRUPTED
    assert only(actions, "rental:").do is Do.START  # type: ignore[union-attr]


def test_a_vanished_machine_costs_an_attempt_not_the_run() -> None:
    action = run_action(run(state=RunState.RUNNING), [RUNNING], [rental(state=RentalState.GONE)])
    assert action is not None and action.do is Do.CLOSE_ATTEMPT


def test_a_run_whose_job_had_ended_ends_even_if_the_machine_vanished() -> None:
    action = run_action(run(state=RunState.COLLECTING), [COLLECTING], [rental(state=RentalState.GONE)])
    assert action is not None and action.do is Do.FINISH and "synced" in action.why


def test_a_held_rental_goes_when_its_time_is_over() -> None:
    ended = run(state=RunState.ENDED)
    held = rental(state=RentalState.HELD, keep_until=NOW + 60)
    assert rental_action(ended, [], [held]).do is Do.WATCH  # type: ignore[union-attr]
    assert rental_action(ended, [], [held.but(keep_until=NOW)]).do is Do.RELEASE  # type: ignore[union-attr]


def test_a_rental_nobody_needs_is_released() -> None:
    assert rental_action(run(state=RunState.ENDED), [], [rental()]).do is Do.RELEASE  # type: ignore[union-attr]


maybe_time = st.one_of(st.none(), st.floats(NOW - 2000, NOW + 2000))
attempts = st.builds(
    lambda **k: attempt().but(**k),
    state=st.sampled_from(AttemptState), submitted=maybe_time, collected=maybe_time,
    failures=st.integers(0, 9), stop_asked=maybe_time, unreachable_since=maybe_time,
    job_state=st.sampled_from(["", "running", "ended"]),
    job_reason=st.sampled_from(["", "exited", "lost", "stopped"]),
    exit_code=st.one_of(st.none(), st.integers(0, 255)),
)  # fmt: skip
rentals = st.builds(
    lambda **k: rental().but(**k),
    state=st.sampled_from(RentalState), price=st.one_of(st.none(), st.floats(0, 2)),
    price_checked=st.booleans(), failed=st.booleans(),
    stopped_since=maybe_time, fatal_since=maybe_time, intended=st.floats(NOW - 3000, NOW),
    evidence=maybe_time, destroy_asked=maybe_time, destroy_accepted=maybe_time, looks=st.integers(0, 3),
    keep_until=maybe_time, deadline=maybe_time,
)  # fmt: skip
runs = st.builds(
    lambda **k: run().but(**k),
    state=st.sampled_from(RunState), want=st.sampled_from(["run", "stop"]), drop_results=st.booleans(),
)  # fmt: skip


@given(runs, attempts, rentals)
def test_whatever_is_known_the_answer_keeps_the_rules(r: Run, a: Attempt, q: Rental) -> None:
    actions = decide(r, [a], [q], NOW)
    lanes = [x.lane for x in actions]
    assert len(lanes) == len(set(lanes))
    for action in actions:
        if action.do is Do.ACQUIRE:
            assert r.live and not a.live
            assert q.state not in (RentalState.INTENDED, RentalState.UNKNOWN)
        if action.do is Do.RELEASE:
            # nothing that has run is released while the run lives, unless the user dropped the results
            live_work = r.live and a.live and a.submitted is not None
            assert not live_work or r.drop_results
        if action.do in (Do.DESTROY, Do.EVIDENCE, Do.VERIFY):
            assert q.state is RentalState.RELEASING
        if action.do is Do.FINISH and a.live and q.state in (RentalState.UP, RentalState.HELD):
            assert a.collected is not None
    if q.live and q.state is not RentalState.INTENDED:
        assert any(x.lane.startswith("rental:") for x in actions), "a rental that may bill is never forgotten"
