import pytest

from choline_tui.kernel.lease import (
    DESTROY,
    END_JOBS,
    NOTHING,
    RESTARTED_S,
    STOP,
    Decision,
    LeaseRecord,
    age,
    decide,
)
from choline_tui.kernel.protocol import Lease

HOUR = 3600.0


@pytest.mark.parametrize(
    ("age_s", "live", "ended", "safe", "hold", "billed", "expected"),
    [
        # lease ran out
        (HOUR, 1, None, False, False, True, END_JOBS),
        (HOUR, 1, None, True, False, True, END_JOBS),
        (HOUR, 1, None, False, False, False, END_JOBS),
        (HOUR, 1, None, False, True, True, END_JOBS),
        (HOUR, 0, 5.0, False, False, True, STOP),
        (HOUR, 0, 5.0, True, False, True, DESTROY),
        (HOUR, 0, 5.0, True, True, True, DESTROY),
        (HOUR, 0, 5.0, False, True, True, STOP),
        (HOUR, 0, 5.0, True, False, False, NOTHING),
        # the run ended and home is silent
        (700.0, 0, 700.0, False, False, True, STOP),
        (700.0, 0, 700.0, True, False, True, DESTROY),
        (700.0, 0, 700.0, True, True, True, NOTHING),
        (700.0, 0, 700.0, False, False, False, NOTHING),
        (700.0, 0, None, False, False, True, STOP),
        # silent for long, but the run has only just ended; ended long ago, but home was here just now
        (3000.0, 0, 10.0, False, False, True, NOTHING),
        (10.0, 0, 3000.0, False, False, True, NOTHING),
        # all is well
        (10.0, 1, None, False, False, True, NOTHING),
        (3599.0, 3, None, True, False, True, NOTHING),
    ],
)
def test_the_table(
    age_s: float, live: int, ended: float | None, safe: bool, hold: bool, billed: bool, expected: str
) -> None:
    lease = Lease(seconds=HOUR, grace_s=600.0, safe=safe, hold=hold)
    got = decide(lease, age_s=age_s, live_jobs=live, since_last_end_s=ended, billed=billed)
    assert got.action == expected
    assert (got.reason in ("lease", "silent")) == (expected != NOTHING)


def test_no_lease_no_decision() -> None:
    got = decide(None, age_s=1e9, live_jobs=1, since_last_end_s=None, billed=True)
    assert got == Decision(NOTHING)


def test_it_says_when_it_would_act() -> None:
    lease = Lease(seconds=HOUR, grace_s=600.0)
    assert decide(lease, age_s=100, live_jobs=1, since_last_end_s=None, billed=True).in_s == 3500
    assert decide(lease, age_s=100, live_jobs=0, since_last_end_s=40, billed=True).in_s == 560


def record(wall: float, boot: float | None, boot_id: str = "b") -> LeaseRecord:
    return LeaseRecord(Lease(60), wall, boot, boot_id)


@pytest.mark.parametrize(
    ("held", "wall", "boot", "boot_id", "expected"),
    [
        (record(1000, 50), 1000 + 9e6, 60.0, "b", 10.0),  # the clock was set forward
        (record(1000, 50), 3.0, 60.0, "b", 10.0),  # and back
        (record(1000, 50), 1025, 4.0, "other", 25.0),  # rebooted: the wall clock is all there is
        (record(1000, 50), 900, 4.0, "other", 0.0),
        (record(1000, None), 1030, 60.0, "b", 30.0),
        (record(1000, 50), 1030, None, "b", 30.0),
        (record(1000, 50, ""), 1030, 55.0, "", 30.0),
    ],
)
def test_age_survives_clocks_that_jump(
    held: LeaseRecord, wall: float, boot: float | None, boot_id: str, expected: float
) -> None:
    assert age(held, wall=wall, boot=boot, boot_id=boot_id) == expected


def test_a_machine_started_again_waits_for_home_before_it_obeys_an_old_lease() -> None:
    lease = Lease(seconds=3600, grace_s=600)
    old = {"age_s": 90_000.0, "live_jobs": 0, "since_last_end_s": 80_000.0, "billed": True}
    assert decide(lease, **old).action == STOP
    waiting = decide(lease, **old, started_s=60.0)
    assert waiting.action == NOTHING and waiting.in_s == RESTARTED_S - 60
    assert decide(lease, **old, started_s=RESTARTED_S).action == STOP


def test_a_lease_that_came_after_the_start_is_obeyed() -> None:
    lease = Lease(seconds=100, grace_s=600)
    got = decide(lease, age_s=101, live_jobs=1, since_last_end_s=None, billed=True, started_s=200.0)
    assert got.action == END_JOBS
