"""A history to look at: runs of the last days with every outcome, for a rehearsal's home.

Written before its engine starts, so there is one writer still. All of it has ended: an engine leaves it
alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from choline_tui.config.paths import Paths
from choline_tui.model.code import CodeState
from choline_tui.model.run import (
    Attempt,
    AttemptState,
    Event,
    Outcome,
    Plan,
    Rental,
    RentalState,
    Run,
    RunState,
)
from choline_tui.store import Store

__all__ = ["sample_history"]

HOUR = 3600.0
DISK_PRICE = 0.004

Story = tuple[str, str, Outcome, int | None, str, str, int, float, float, float, str]
STORIES: tuple[Story, ...] = (
    # id, name, outcome, exit code, why, GPU, number, $/h, hours ago, hours long, place
    ("demo01", "baseline", Outcome.SUCCEEDED, 0, "the command ended with status 0",
     "RTX 4090", 1, 0.342, 30.0, 3.2, "Sweden, SE"),
    ("demo02", "batch 64", Outcome.FAILED, 1, "the command ended with status 1",
     "RTX 3090", 2, 0.398, 26.0, 0.4, "Texas, US"),
    ("demo03", "lr sweep", Outcome.STOPPED, None, "stopped by you",
     "RTX 4090", 2, 0.711, 21.0, 1.6, "Czechia, CZ"),
    ("demo04", "h100 try", Outcome.ERROR, None, "5 machines failed; the last: no answer over SSH for 5m",
     "H100 SXM", 1, 2.214, 8.0, 0.35, "Japan, JP"),
    ("demo05", "typo", Outcome.CANCELLED, None, "stopped by you before anything was rented",
     "", 0, 0.0, 6.0, 0.02, ""),
    ("demo06", "nightly", Outcome.MISSED, None, "this computer slept through its time",
     "", 0, 0.0, 4.0, 0.0, ""),
    ("demo07", "baseline", Outcome.SUCCEEDED, 0, "the command ended with status 0",
     "RTX 4090", 1, 0.351, 3.0, 1.9, "Québec, CA"),
)  # fmt: skip

TRACE = """\
Traceback (most recent call last):
  File "train.py", line 12, in <module>
    main()
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has 0.41 GiB free.
"""


def sample_history(environ: Mapping[str, str], project: Path, now: float) -> None:
    """Write it into the home of ``environ``. Raises StoreError, ConfigError."""
    paths = Paths(environ=environ).ensure()
    store = Store(paths.store)
    try:
        for story in STORIES:
            _tell(store, paths, project, now, story)
    finally:
        store.close()


def _tell(store: Store, paths: Paths, project: Path, now: float, story: Story) -> None:
    run_id, name, outcome, status, why, gpu, number, price, ago, hours, place = story
    began, ended = now - ago * HOUR, now - (ago - hours) * HOUR
    rented = bool(gpu)
    home = outcome in (Outcome.SUCCEEDED, Outcome.STOPPED)
    plan = Plan(
        project=str(project),
        command="python3 train.py 900",
        name=name,
        query=f"gpu_name={gpu.replace(' ', '_')} num_gpus={number}" if rented else "num_gpus=1",
        cap=round(price * 1.1, 4) or 0.4,
        image="pytorch/pytorch:2.7.1-cuda12.6-cudnn9-runtime",
        results_into=str(project / "results" / run_id),
    )
    run = Run(
        id=run_id,
        plan=plan,
        code=CodeState(commit="5eed" + run_id.encode().hex()[:36], branch="main", message="A sample project"),
        state=RunState.ENDED,
        want="stop" if outcome in (Outcome.STOPPED, Outcome.CANCELLED) else "run",
        outcome=outcome,
        exit_code=status,
        reason=why,
        created=began,
        updated=ended,
        started=began + 95 if rented else None,
        ended=ended,
        results_synced=ended - 4 if home else None,
        results_complete=home or not rented,
    )
    records: list[Any] = [run]
    told: list[tuple[float, str, str | None, str]] = [
        (began, f"asked for, with a cap of ${plan.cap:.4f}/h (20 GB disk)", None, "waiting")
    ]
    if rented:
        rental = Rental(
            id=f"{run_id}-1", run=run_id, attempt=1, label=f"choline-sample-{run_id}-1",
            state=RentalState.GONE, offer_id=60_000_000 + int(began) % 999_983, machine_id=4000 + number,
            gpu_name=gpu, num_gpus=number, place_name=place, offer_price=price, disk_gb=20.0,
            disk_per_hour=DISK_PRICE, cap=plan.cap, intended=began + 2, price=price, price_checked=True,
            up=began + 60, gone=ended, billed_from=began + 4, cost=round(hours * price, 4), cost_at=ended,
            release_reason=why, failed=outcome is Outcome.ERROR,
        )  # fmt: skip
        attempt = Attempt(
            run=run_id, n=1, rental=rental.id, state=AttemptState.ENDED, created=began, sent=began + 80,
            submitted=began + 90, started=began + 95, ended=ended, exit_code=status,
            collected=ended if home else None, outcome=outcome, reason=why,
        )  # fmt: skip
        records += [attempt, rental]
        told += [
            (began + 2, f"renting {number}x {gpu} at ${price:.4f}/h, {place}", "waiting", "acquiring"),
            (began + 60, "the machine answers; checking it", "acquiring", "preparing"),
        ]
        if outcome is not Outcome.ERROR:
            told.append((began + 95, "the command runs", "preparing", "running"))
        _log(paths, run_id, outcome, hours)
    told.append((ended, why, None, "ended"))
    events = [
        Event(at=at, kind="run", run=run_id, text=text, old=old, new=new) for at, text, old, new in told
    ]
    store.commit(*records, events=events)


def _log(paths: Paths, run_id: str, outcome: Outcome, hours: float) -> None:
    folder = paths.run_dir(run_id) / "attempt-1"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if outcome is Outcome.ERROR:
        (folder / "run.log").write_bytes(b"")
        return
    steps = max(3, int(hours * 200))
    lines = [f"step {n}/{steps}  loss {2.0 / n:.4f}\n" for n in range(1, steps + 1)]
    last = {Outcome.FAILED: TRACE, Outcome.SUCCEEDED: "done\n"}.get(outcome, "")
    (folder / "run.log").write_text("".join(lines) + last, "utf-8")
