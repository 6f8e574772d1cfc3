"""Disks that fill, at either end: said early, where a person looks, and nothing is lost meanwhile.

A full disk on the machine stops the command's processes until there is room (the supervisor does that). A
full disk here pauses the coming home of results; they stay on the machine, which is not destroyed before.
"""

import errno
import shutil
from pathlib import Path

from choline_tui.engine.context import Context
from choline_tui.kernel.errors import TransferFailed
from choline_tui.kernel.protocol import DISK_FULL, DISK_LOW, ENDED, JobStatus

__all__ = ["home_disk", "machine_disk", "no_room", "room_for_results"]

LEAST = 64 << 20
"""bytes of this computer's disk that even the last results never take"""
MOST_RESERVED = 1 << 30
"""bytes kept free here while a run goes on; on a small disk it is a fiftieth of it"""
LOW = 4
"""times the reserve is little"""
QUIET_S = 60.0
"""s between two events about one disk: a machine may change its mind as often as it likes"""


def machine_disk(ctx: Context, run_id: str, status: JobStatus) -> None:
    """What the machine says of its disk, on the run and in its timeline."""
    run = ctx.store.run(run_id)
    free = f"{status.disk_free_bytes / 1e9:.1f} GB free"
    words = event = ""
    if status.state == ENDED:
        event = ""
    elif status.disk == DISK_FULL and status.held:
        words = (
            f"paused: the machine's disk is full ({free}), and it bills; make room there "
            f"('choline exec {run_id} -- rm FILE') and it goes on by itself"
        )
    elif status.disk == DISK_FULL:
        words = f"the machine's disk is full ({free})"
    elif status.disk == DISK_LOW:
        words = f"the machine's disk is nearly full ({free})"
    elif run.disk_there:
        event = "the machine's disk has room again"
    if words != run.disk_there:
        _tell(ctx, run_id, "there", words, event or words)


def room_for_results(ctx: Context, run_id: str, into: Path, *, final: bool) -> int:
    """Bytes free in ``into``. ``OSError`` when results have to wait; the last ones wait for less."""
    usage = shutil.disk_usage(into)
    needed = LEAST if final else max(LEAST, _reserve(usage.total))
    if usage.free < needed:
        words = _waiting(into, usage.free)
        _here(ctx, run_id, words)
        raise OSError(words)
    return usage.free


def no_room(ctx: Context, run_id: str, into: Path, error: OSError | TransferFailed) -> None:
    """A transfer failed; say so where one looks when it was for want of room here."""
    full = error.errno == errno.ENOSPC if isinstance(error, OSError) else bool(error.details.get("no_room"))
    if full:
        _here(ctx, run_id, _waiting(into, shutil.disk_usage(into).free))


def home_disk(ctx: Context, run_id: str, into: Path, before: int, moved: int) -> None:
    """After results came home (``before`` bytes were free, ``moved`` bytes came): is there room for more?"""
    usage = shutil.disk_usage(into)
    reserve = _reserve(usage.total)
    if usage.free < max(LOW * reserve, reserve + 2 * min(moved, before)):
        _here(ctx, run_id, f"only {usage.free / 1e9:.1f} GB are left for results in {into}")
    else:
        _here(ctx, run_id, "")


def _reserve(total: int) -> int:
    return min(MOST_RESERVED, total // 50)


def _waiting(into: Path, free: int) -> str:
    return (
        f"results wait on the machine, which is kept until they are home: only {free / 1e9:.1f} GB are free "
        f"in {into}; make room there"
    )


def _here(ctx: Context, run_id: str, words: str) -> None:
    run = ctx.store.run(run_id)
    if words.partition(" ")[0] != run.disk_here.partition(" ")[0]:  # another number is no news
        _tell(ctx, run_id, "here", words, words or "there is room for results again")


def _tell(ctx: Context, run_id: str, which: str, words: str, event: str) -> None:
    now = ctx.clock.time()
    last = ctx.disks_told.get((run_id, which))
    quiet = last is not None and 0 <= now - last < QUIET_S
    if event and not quiet:
        ctx.disks_told[run_id, which] = now
    ctx.ledger.run(run_id, event if event and not quiet else None, **{f"disk_{which}": words})
