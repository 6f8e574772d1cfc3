"""The whole job of ``choline demo --headless`` in the screens of the real program, on a real terminal: once
by the keyboard alone, once by the mouse alone; books, ledger and files say whether it was done.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from choline_tui.cli.demo_parts import check_results
from tests.cli.test_demo import processes_of
from tests.support import needs, wait_until
from tests.support.tmux import Tmux

KEYS = " R Run "
"""in the line of keys while the list of offers has the focus"""


class Demo:
    """``choline demo`` on a terminal, and a look at its home from outside."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ = {**os.environ, "TMPDIR": str(root), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.terminal: Tmux | None = None

    def open(self, columns: int, rows: int) -> Tmux:
        program = f"{sys.executable} -m choline_tui demo --boot 1 --keep-files; echo ended $?; exec sleep 600"
        self.terminal = Tmux(self.root / "tmux", program, columns=columns, rows=rows, env=self.environ)
        self.terminal.waits(
            "simulator: no real money", "place", "/h now", within=90, without=("engine down",)
        )
        return self.terminal

    @property
    def files(self) -> Path:
        return next(self.root.glob("choline-demo-*"))

    def choline(self, *words: str) -> Any:
        """What a command beside the app says."""
        environ = {
            **self.environ,
            "CHOLINE_HOME": str(self.files / "home"),
            "VAST_API_KEY": "rehearsal",
            "VAST_URL": (self.files / "market.url").read_text(),
        }
        done = subprocess.run(
            [sys.executable, "-m", "choline_tui.cli", *words, "--json"],
            capture_output=True, text=True, env=environ, timeout=60, cwd=self.root, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    def judge(self, run: str) -> None:
        """The job was done, by what is left of it."""
        ended = self.choline("show", run)
        assert ended["outcome"] == "succeeded" and ended["exit_code"] == 0
        assert [each["state"] for each in ended["rentals"]] == ["gone"], "one rental in the ledger, and gone"
        results = Path(ended["plan"]["results_into"])
        assert check_results(results, self.files / "home" / "runs" / run) == ""
        books = json.loads((self.files / "market.json").read_text())
        assert sum(f"-{run}-" in label for label in books["labels"]) == 1, "rented once"
        assert books["made"] == len(set(books["labels"])), "nothing was rented twice"
        assert books["made"] - 1 >= books["alive"], "the contract is gone from the market"

    def close(self) -> None:
        if self.terminal is not None:
            self.terminal.close()
            gone = lambda: not processes_of(str(self.root / "choline-demo"))  # noqa: E731
            wait_until(gone, within=60, what="every process of the demo has ended")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    needs("tmux", "git", "ssh", "sshd", "rsync")
    made = Demo(tmp_path)
    try:
        yield made
    finally:
        made.close()


def _watch(demo: Demo, app: Tmux) -> str:
    """From the page of a run that has just been started to its end; its id."""
    page = app.waits(" acquiring ", "Timeline")
    run = page.split(" acquiring ")[1].split()[1]
    app.waits("step 6/6", "done", "succeeded", "exit code 0", "in all", within=90)
    # a command beside the app says the same: it is over, and the market has nothing of it any more
    assert demo.choline("show", run)["outcome"] == "succeeded"
    assert not [each for each in demo.choline("rentals") if run in str(each)]
    return run


def test_the_whole_job_by_the_keyboard(demo: Demo) -> None:
    app = demo.open(80, 24)

    app.presses("/")
    app.waits("Ask the market")
    app.types("4090 num_gpus=1")
    app.waits("4090 num_gpus=1 ")
    app.presses("Enter")
    # the line of keys is the list's again, and only such cards are listed
    app.waits(KEYS, "RTX 4090", without=("GTX", "0+ match", "2x"))

    app.presses("p")
    app.waits("Less")
    app.presses("Right", "Right", "Right", "Right", "Right")
    app.waits(" 15 %", "premium", "cap $")
    app.presses("p")
    app.waits(KEYS, without=("Less",))

    app.presses("e")
    app.waits("Export a filter")
    app.presses("3")
    app.waits("these GPUs in these numbers")
    app.presses("s")
    app.waits("a name for the filter")
    app.types("cheap")
    app.waits(" cheap")
    app.presses("Enter")
    app.waits("choline run --filter cheap")
    app.presses("Escape")
    app.waits(KEYS, without=("Export a filter",))
    app.presses("f")
    app.waits("Saved filters", "cheap")
    app.presses("Escape")
    app.waits(KEYS)
    saved = demo.choline("filters", "list")["cheap"]
    assert "gpu_name=RTX_4090" in saved["query"] and saved["max_price"] > 0

    app.presses("R")
    app.waits("at most $", "python3 train.py", "Cancel")
    app.presses("Right", "Enter")
    run = _watch(demo, app)

    app.presses("Tab")
    app.waits("verified: missing from two complete listings", "cost about $")
    app.presses("Home")
    app.waits("asked for, with a cap of", "about to rent")
    app.presses("Tab")
    app.waits("Attempt 1: succeeded", "contract")
    app.presses("Tab")
    app.waits("results/metrics.jsonl", "keep/checkpoint.json", "complete")
    app.presses("Escape")
    app.waits(" billing", " succeeded ", "demo", without=("Timeline",))
    app.presses("q")
    app.waits("nothing was spent", "ended 0")
    demo.judge(run)


def test_the_whole_job_by_the_mouse(demo: Demo) -> None:
    app = demo.open(160, 50)

    # a saved filter; the list's header sorts, the wheel goes down, a click chooses
    app.clicks(" f Saved filters")
    app.clicks("gpu_name=RTX_4090")
    app.waits("RTX 4090", without=("GTX", "RTX 3", "now: "))
    app.clicks(" rel %")
    app.waits("rel %▼")
    x, y = app.place("▸")
    app.clicks_at(x + 20, y + 2)
    wait_until(lambda: app.place("▸")[1] > y, what="another row is chosen")
    app.wheels(x + 20, y + 5, 9)
    app.waits("RTX 4090", without=("▸",))
    app.wheels(x + 20, y + 5, -19)
    app.waits("▸")

    # the premium: dragged, then a little by the wheel
    x, y = app.place("━●", at=1)
    app.drags((x, y), (x + 20, y))
    app.waits("premium", without=(" 10 %",))
    before = app.finds(r"(\d+) % ━")[1]
    app.wheels(x, y, -1)
    app.waits(f" {int(before) + 1} % ")

    # export: seen and copied
    app.clicks(" e Export")
    app.waits("Export a filter")
    app.clicks("same GPU anywhere")
    app.waits("these GPUs in these numbers")
    app.clicks("choline run ")
    app.waits("choline run --query", "gpu_name=RTX_4090")
    app.clicks("esc Close")
    app.waits(KEYS, without=("Export a filter",))

    app.clicks(KEYS)
    app.waits("at most $", "python3 train.py", "Cancel")
    app.clicks("Rent and run")
    run = _watch(demo, app)

    app.clicks(" Timeline ")
    app.waits("destroying contract", "verified: missing from two complete listings")
    app.clicks(" Machines ")
    app.waits("Attempt 1: succeeded", "contract")
    app.clicks(" Results ")
    app.waits("results/metrics.jsonl", "keep/checkpoint.json", "complete")
    app.clicks("esc Back")
    app.waits(" billing", " succeeded ", "demo", without=("Timeline",))
    app.clicks("^p Commands")
    x, y = app.place("a part of a command")
    while not app.sees("Leave choline. Runs"):
        first = app.shown().split("\n")[y + 1]
        app.wheels(x, y + 8, 2)
        wait_until(lambda: app.shown().split("\n")[y + 1] != first, what="the commands move")  # noqa: B023
    app.clicks("Leave choline. Runs go on without it.")
    app.waits("nothing was spent", "ended 0")
    demo.judge(run)
