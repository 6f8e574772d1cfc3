"""What the main commands print, at 80 and 160 columns, as it lies in ``snapshots/cli``.

After a wanted change: ``UPDATE_SNAPSHOTS=1 python -m pytest tests/cli/test_snapshots.py``, then look at
``git diff snapshots``. Where CI is set nothing is written.
"""

import difflib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from choline_tui.cli.output import cell_width
from choline_tui.model.request import PlanCard
from choline_tui.model.run import AttemptState, Event, Outcome, RentalState, RunState
from choline_tui.services.choline import RunView
from tests.cli.fakes import (
    NOW,
    Bench,
    FakeCholine,
    attempt,
    ended_view,
    offer,
    offers,
    plan,
    rental,
    run,
)

FOLDER = Path(__file__).resolve().parents[2] / "snapshots" / "cli"
UPDATE = "UPDATE_SNAPSHOTS"
WIDTHS = (80, 160)

UNREACHABLE = (
    "the run goes on for 12 h without this computer; after that, or 0.5 h after its end, the machine stops "
    "itself (GPU off, disk kept and billed) until the results are home; once they are, it is destroyed. "
    "24 h after renting it ends whatever happens."
)


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clocks show UTC, and argparse and the plan card think of the terminal's width."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setenv("LINES", "24")
    yield
    monkeypatch.undo()
    time.tzset()


def card() -> PlanCard:
    return PlanCard(
        plan=plan(env={"LR": "3e-4"}, ports=["6006"], setup="pip install -r requirements.txt"),
        offer=offer(machine_id=4242),
        price=0.72,
        offers=5,
        offers_seen=64,
        commit="1a2b3c4d5e6f",
        branch="main",
        dirty=3,
        files=7,
        bytes=12_000,
        disk_per_day=0.1,
        warnings=["the host offers it for 1.5 more days only"],
        when_unreachable=UNREACHABLE,
        credit=25.0,
    )


def market() -> FakeCholine:
    rows = [
        offer(),
        offer(id=2, price=0.412, gpu_name="RTX 6000Ada", num_gpus=1, gpu_ram=49140, reliability2=0.93),
        offer(id=49990740, price=1.8, gpu_name="H100 SXM", gpu_ram=81559, geolocation="North Carolina, US"),
        offer(id=3, price=0.39, inet_down_cost=None, cuda_max_good=None, geolocation=None, duration=None),
    ]
    return FakeCholine(found=offers(*rows, complete=False, warnings=["dph is $/h at 20 GB disk here"]))


def every_state() -> FakeCholine:
    """A run in each state and with each outcome, and rentals that bill although no run needs them."""
    views = []
    for n, state in enumerate(s for s in RunState if s is not RunState.ENDED):
        has = n >= 3
        views.append(
            RunView(
                run(f"live{n:02d}", state=state, created=NOW - 60 * (n + 1), reason=f"reason of {state}"),
                [attempt(f"live{n:02d}")] if has else [],
                [rental(f"live{n:02d}")] if has else [],
            )
        )
    for n, outcome in enumerate(Outcome):
        views.append(ended_view(outcome, f"done{n:02d}", created=NOW - 86400 * (n + 1)))
    for name, changes in {
        "keep01": {"state": RentalState.HELD, "keep_until": NOW + 1700},
        "rele01": {"state": RentalState.RELEASING, "trouble": "the market does not answer"},
        "unkn01": {"state": RentalState.UNKNOWN, "price": None, "contract": None},
    }.items():
        over = ended_view(Outcome.SUCCEEDED, name)
        views.append(RunView(over.run, over.attempts, [rental(name, **changes)]))
    return FakeCholine(views)


def one_run() -> FakeCholine:
    view = ended_view(Outcome.FAILED, reason="the command ended with status 3", exit_code=3)
    history = [
        Event(
            at=NOW - 600, kind="run", text="asked for, with a cap of $0.8000/h (20 GB disk)", new="waiting"
        ),
        Event(at=NOW - 599, kind="attempt", text="attempt 1", new="acquiring"),
        Event(at=NOW - 598, kind="rental", text="rented: contract 9001", new="booting"),
        Event(at=NOW - 500, kind="rental", text="the market says: running (success, running " + "x/" * 40),
        Event(at=NOW - 490, kind="run", text="preparing -> running", old="preparing", new="running"),
        Event(at=NOW - 90, kind="rental", text="verified: missing from two complete listings, nothing bills"),
    ]
    done = [attempt(outcome=Outcome.FAILED, state=AttemptState.ENDED, reason="status 3")]
    return FakeCholine([RunView(view.run, done, view.rentals)], history=history)


def rentals() -> FakeCholine:
    base: dict[str, Any] = {"gpu": "2x RTX 4090", "price": 0.72, "since": NOW - 500, "keep_until": None}
    base |= {"reason": "", "listed": True, "status": "running", "cost": 0.1, "run": "abc123"}
    rows = [
        {**base, "whose": "ours", "rental": "abc123-1", "contract": 9001, "state": "up",
         "label": "choline-home-abc123-1"},
        {**base, "whose": "ours", "rental": "keep01-1", "contract": 9004, "state": "held",
         "keep_until": NOW + 1700, "label": "choline-home-keep01-1"},
        {**base, "whose": "ours", "rental": "rele01-1", "contract": 9005, "state": "releasing",
         "reason": "the run ended: succeeded", "label": "choline-home-rele01-1"},
        {**base, "whose": "other", "rental": None, "contract": 9002, "state": None, "label": "jupyter",
         "cost": None, "run": None},
        {**base, "whose": "orphan", "rental": None, "contract": 9003, "state": None, "cost": None,
         "label": "choline-home-zzzzzz-1", "run": "zzzzzz"},
    ]  # fmt: skip
    return FakeCholine(rows=rows)


CASES: dict[str, tuple[Callable[[], FakeCholine], tuple[str, ...]]] = {
    "help": (FakeCholine, ("--help",)),
    "run-help": (FakeCholine, ("run", "--help")),
    "offers": (market, ("offers",)),
    "plan": (lambda: FakeCholine(card=card()), ("run", "--dry-run", "--", "python", "train.py")),
    "status": (every_state, ("status",)),
    "show": (one_run, ("show", "abc123")),
    "rentals": (rentals, ("rentals",)),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", CASES)
def test_what_is_printed_is_what_was_looked_at(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    make, words = CASES[name]
    code, out, err = Bench(make(), width=width)(*words)
    printed = capsys.readouterr().out  # help texts go to the process's own stream
    text = printed + out + (f"--- stderr\n{err}" if err else "")
    assert code == 0
    assert max(map(cell_width, text.splitlines())) <= width
    _compare(FOLDER / f"{name}-{width}.txt", text)


def _compare(file: Path, text: str) -> None:
    if os.environ.get(UPDATE):
        assert not os.environ.get("CI"), "snapshots are looked at by a person: not updated where CI is set"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        return
    assert file.is_file(), f"{file.name} is missing: run this test with {UPDATE}=1, and look at it"
    before = file.read_text("utf-8")
    difference = "".join(
        difflib.unified_diff(before.splitlines(True), text.splitlines(True), file.name, "printed now")
    )
    assert not difference, f"{difference}\nIf it is wanted: {UPDATE}=1, then look at git diff snapshots"


def test_every_snapshot_belongs_to_a_case() -> None:
    assert {f.name for f in FOLDER.iterdir()} == {f"{name}-{width}.txt" for name in CASES for width in WIDTHS}


def test_a_snapshot_is_not_written_where_ci_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UPDATE, "1")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(AssertionError, match="looked at by a person"):
        _compare(tmp_path / "x.txt", "new\n")
    assert not (tmp_path / "x.txt").exists()
    monkeypatch.delenv("CI")
    _compare(tmp_path / "x.txt", "new\n")
    monkeypatch.delenv(UPDATE)
    _compare(tmp_path / "x.txt", "new\n")
    with pytest.raises(AssertionError, match=r"(?s)-new.*other"):
        _compare(tmp_path / "x.txt", "other\n")
