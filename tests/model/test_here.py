"""What is decided for a run on this computer: one lane, no rental, nothing that bills or ends by itself."""

from typing import Any

import pytest

from choline_tui.kernel import lease
from choline_tui.kernel.protocol import Lease
from choline_tui.model.decide import Do, decide
from choline_tui.model.here import FOR_EVER, machine_here, plan_here
from choline_tui.model.run import Attempt, AttemptState, Outcome, Plan, Run, RunState

NOW = 1000.0


def run(**changes: Any) -> Run:
    plan = plan_here(Plan(project="/p", command="true", cap=3.0, keep_s=600.0, max_life_s=60.0))
    return Run(id="abc", plan=plan, created=0.0, updated=0.0).but(**changes)


def attempt(**changes: Any) -> Attempt:
    made = Attempt(run="abc", n=1, rental=machine_here(run()).id, created=0.0, state=AttemptState.PREPARING)
    return made.but(**changes)


BEGUN: dict[str, Any] = {"sent": 1.0, "submitted": 1.0}
COLLECTING: dict[str, Any] = {
    **BEGUN, "state": AttemptState.COLLECTING, "job_state": "ended", "job_reason": "exited", "exit_code": 0
}  # fmt: skip

CASES: list[tuple[dict[str, Any], list[Attempt], Do, Outcome | None]] = [
    ({}, [], Do.ACQUIRE, None),
    ({"want": "stop"}, [], Do.FINISH, Outcome.CANCELLED),
    ({}, [attempt()], Do.PREPARE, None),
    ({"want": "stop"}, [attempt()], Do.FINISH, Outcome.CANCELLED),
    ({}, [attempt(failures=6, reason="no room")], Do.FINISH, Outcome.ERROR),
    ({"hopeless": "it changes"}, [attempt()], Do.FINISH, Outcome.ERROR),
    ({}, [attempt(**BEGUN)], Do.PREPARE, None),
    ({"want": "stop"}, [attempt(**BEGUN)], Do.PREPARE, None),
    ({}, [attempt(**BEGUN, state=AttemptState.RUNNING)], Do.FOLLOW, None),
    ({"want": "stop"}, [attempt(**BEGUN, state=AttemptState.RUNNING)], Do.STOP_JOB, None),
    ({}, [attempt(**COLLECTING)], Do.COLLECT, None),
    ({"want": "stop", "drop_results": True}, [attempt(**COLLECTING)], Do.FINISH, Outcome.SUCCEEDED),
    ({}, [attempt(**COLLECTING, collected=2.0)], Do.FINISH, Outcome.SUCCEEDED),
    ({}, [attempt(**{**COLLECTING, "job_reason": "lost"}, collected=2.0)], Do.AGAIN_HERE, None),
]


@pytest.mark.parametrize(("changes", "attempts", "do", "outcome"), CASES)
def test_the_next_action(
    changes: dict[str, Any], attempts: list[Attempt], do: Do, outcome: Outcome | None
) -> None:
    # far beyond max_life: what bills nothing is not ended for it
    for now in (NOW, NOW + 1e6):
        (action,) = decide(run(**changes), attempts, (), now)
        assert (action.do, action.outcome) == (do, outcome)
        assert action.lane == "run:abc"
        if do is Do.FINISH:
            assert action.rental is None, "there is nothing to keep or to release"


def test_a_run_that_has_ended_needs_nothing() -> None:
    assert decide(run(state=RunState.ENDED), [attempt(state=AttemptState.ENDED)], (), NOW) == []


def test_nothing_can_be_rented_by_the_plan() -> None:
    plan = run().plan
    assert (plan.cap, plan.keep_s, plan.on, plan.place) == (0.0, 0.0, "", "here")


def test_a_laptop_that_sleeps_for_days_wakes_with_its_run_alive() -> None:
    told = Lease(run().plan.lease_s, grace_s=1800.0)
    assert told.seconds == FOR_EVER
    for asleep in (13 * 3600.0, 30 * 86400.0):
        for live in (0, 1):
            decided = lease.decide(told, age_s=asleep, live_jobs=live, since_last_end_s=asleep, billed=False)
            assert decided.action == lease.NOTHING
