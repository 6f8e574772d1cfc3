"""What a remote does by itself when home is silent. Pure: ages come in, one decision goes out.

The table (design, rule 4; "billed" is a rented machine that can stop or destroy itself)::

    home has been silent          jobs live        lease.safe    action
    longer than the lease         yes              any           end the jobs, then look again
    longer than the lease         no               yes / no      destroy / stop (billed), nothing (own)
    grace_s since the last job    no, not held     yes / no      destroy / stop (billed), nothing (own)
    less                          any              any           nothing

A machine that was started again with an old lease was started for a reason: home gets ``RESTARTED_S``
from then on to come for what is on its disk, before the table holds again.

Without any lease nothing is decided here: the guard's deadline covers that time.
"""

from dataclasses import dataclass
from typing import Optional

from choline_tui.kernel.protocol import Lease

__all__ = [
    "DESTROY",
    "END_JOBS",
    "NOTHING",
    "RESTARTED_S",
    "STOP",
    "Decision",
    "LeaseRecord",
    "age",
    "decide",
]

RESTARTED_S = 1800.0
NOTHING, END_JOBS, STOP, DESTROY = "nothing", "end_jobs", "stop", "destroy"


@dataclass(frozen=True)
class Decision:
    action: str
    reason: str = ""
    """lease or silent; '' when there is nothing to do"""
    in_s: Optional[float] = None
    """seconds until something would be decided if nothing changes; None: nothing is due"""


@dataclass(frozen=True)
class LeaseRecord:
    """A lease as the remote holds it, with what its age is told from."""

    lease: Lease
    wall: float
    """epoch s on the remote's clock when it came (the file's mtime)"""
    boot: Optional[float] = None
    """seconds since boot when it came, sleep included; cannot jump"""
    boot_id: str = ""


def age(record: LeaseRecord, *, wall: float, boot: Optional[float], boot_id: str) -> float:
    """Seconds since the lease came, never negative.

    The time since boot is believed while the boot is the same, because wall clocks jump (NTP at a
    machine's start moves them by hours). After a reboot only the wall clock is left; one that was set
    back makes the lease look new, and the guard's deadline still ends it.
    """
    if record.boot is not None and boot is not None and boot_id and record.boot_id == boot_id:
        return max(0.0, boot - record.boot)
    return max(0.0, wall - record.wall)


def decide(
    lease: Optional[Lease],
    *,
    age_s: float,
    live_jobs: int,
    since_last_end_s: Optional[float],
    billed: bool,
    started_s: Optional[float] = None,
) -> Decision:
    """``age_s``: since the lease came. ``since_last_end_s``: since the last job ended; None: there was
    none. ``live_jobs`` counts jobs that wait, too. ``started_s``: since the machine
    (its container) last started; None: not known, as on a machine of one's own."""
    if lease is None:
        return Decision(NOTHING)
    if started_s is not None and started_s < min(age_s, RESTARTED_S):
        return Decision(NOTHING, in_s=RESTARTED_S - started_s)
    end = DESTROY if lease.safe else STOP
    lease_left = lease.seconds - age_s
    if lease_left <= 0:
        if live_jobs:
            return Decision(END_JOBS, "lease")
        return Decision(end, "lease") if billed else Decision(NOTHING)
    if live_jobs:
        return Decision(NOTHING, in_s=lease_left)
    if not billed:
        return Decision(NOTHING)
    if lease.hold:
        return Decision(NOTHING, in_s=lease_left)
    silent = age_s if since_last_end_s is None else min(age_s, since_last_end_s)
    grace_left = lease.grace_s - silent
    if grace_left <= 0:
        return Decision(end, "silent")
    return Decision(NOTHING, in_s=min(lease_left, grace_left))
