"""Runs, rentals and services as the command line sees them, without an engine."""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from choline_tui.cli.context import Context
from choline_tui.cli.output import Output
from choline_tui.kernel.errors import NotFound
from choline_tui.model.code import CodeState
from choline_tui.model.request import PlanCard, RunRequest
from choline_tui.model.run import Attempt, Event, Outcome, Plan, Rental, RentalState, Run, RunState
from choline_tui.services.choline import Followed, Money, Offers, RunView, SshAccess

NOW = 1_800_000_000.0

HOSTILE = "\x1b[2J\x1b]0;owned\x07bad\u202e\r\nname\x9b31m\x00 \u65e5\u672c"
"""clears the screen, sets the title, reverses text, returns the carriage, breaks the line"""


def forged(text: str) -> list[str]:
    """Characters of ``text`` that could move a cursor, reorder or hide something."""
    return [c for c in text if c != "\n" and (not c.isprintable() or c in "\u202e\u200b")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def plan(**changes: Any) -> Plan:
    base: dict[str, Any] = {
        "project": "/home/me/project",
        "command": "python train.py",
        "name": "tiny",
        "query": "gpu_name=RTX_4090 num_gpus=2",
        "cap": 0.8,
        "image": "pytorch/pytorch:latest",
        "results_into": "/home/me/project/results/abc123",
    }
    return Plan(**{**base, **changes})


def run(run_id: str = "abc123", **changes: Any) -> Run:
    plan_changes = changes.pop("plan", {})
    base: dict[str, Any] = {
        "id": run_id,
        "plan": plan(**plan_changes),
        "code": CodeState(commit="1a2b3c4d5e6f", branch="main", dirty_count=3, message="first", file_count=7),
        "state": RunState.RUNNING,
        "created": NOW - 600,
        "updated": NOW - 5,
        "reason": "the command runs",
    }
    return Run(**{**base, **changes})


def rental(run_id: str = "abc123", n: int = 1, **changes: Any) -> Rental:
    base: dict[str, Any] = {
        "id": f"{run_id}-{n}",
        "run": run_id,
        "attempt": n,
        "label": f"choline-home-{run_id}-{n}",
        "state": RentalState.UP,
        "offer_id": 77,
        "machine_id": 4242,
        "gpu_name": "RTX 4090",
        "num_gpus": 2,
        "place_name": "Sweden, SE",
        "offer_price": 0.72,
        "disk_gb": 20.0,
        "disk_per_hour": 0.01,
        "cap": 0.8,
        "intended": NOW - 590,
        "contract": 9001,
        "price": 0.72,
        "billed_from": NOW - 500,
    }
    return Rental(**{**base, **changes})


def attempt(run_id: str = "abc123", n: int = 1, **changes: Any) -> Attempt:
    return Attempt(**{"run": run_id, "n": n, "rental": f"{run_id}-{n}", "created": NOW - 590, **changes})


def live_view(**changes: Any) -> RunView:
    made = run(**changes)
    return RunView(made, [attempt(made.id)], [rental(made.id)])


def ended_view(outcome: Outcome = Outcome.SUCCEEDED, run_id: str = "abc123", **changes: Any) -> RunView:
    base: dict[str, Any] = {
        "state": RunState.ENDED,
        "outcome": outcome,
        "ended": NOW - 100,
        "results_synced": NOW - 110,
        "results_complete": True,
        "reason": "the command ended",
    }
    gone = rental(run_id, state=RentalState.GONE, gone=NOW - 90)
    return RunView(run(run_id, **{**base, **changes}), [attempt(run_id, outcome=outcome)], [gone])


def offer(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "id": 63799840,
        "price": 0.3871,
        "gpu_name": "RTX 4090",
        "num_gpus": 2,
        "gpu_ram": 24564,
        "cpu_cores_effective": 16.0,
        "cpu_cores": 64,
        "cpu_ram": 262144,
        "disk_space": 812.4,
        "storage_cost": 0.15,
        "inet_down": 812.3,
        "inet_up": 401.0,
        "inet_down_cost": 0.003,
        "inet_up_cost": 0.005,
        "reliability2": 0.9871,
        "cuda_max_good": 12.4,
        "geolocation": "Sweden, SE",
        "duration": 864000.0,
        "direct_port_count": 50,
    }
    return {**base, **changes}


def offers(*rows: dict[str, Any], **changes: Any) -> Offers:
    base: dict[str, Any] = {
        "rows": list(rows),
        "seen_at": NOW - 12,
        "complete": True,
        "disk_gb": 20.0,
        "type": "on-demand",
        "warnings": [],
        "used_today": 3,
        "ration": 1000,
    }
    return Offers(**{**base, **changes})


@dataclass
class FakePaths:
    root: Path = Path("/nowhere")

    def run_dir(self, run_id: str) -> Path:
        return self.root / run_id


@dataclass
class FakeCholine:
    """Answers like ``services.Choline``; ``asked`` holds what was asked of it."""

    views: list[RunView] = field(default_factory=list)
    found: Offers = field(default_factory=offers)
    rows: list[dict[str, Any]] = field(default_factory=list)
    history: list[Event] = field(default_factory=list)
    stream: list[Followed] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    fails: dict[str, BaseException] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    card: PlanCard | None = None
    paths: FakePaths = field(default_factory=FakePaths)
    after_start: RunView | None = None

    async def __aenter__(self) -> "FakeCholine":
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    def _ask(self, method: str, params: Any = None) -> Any:
        self.asked.append((method, params))
        if method in self.fails:
            raise self.fails[method]
        return self.answers.get(method)

    def runs(self, **wanted: Any) -> list[RunView]:
        self._ask("runs", wanted)
        limit = wanted.get("limit", -1)
        return self.views[:limit] if limit >= 0 else self.views

    def show(self, name: str) -> RunView:
        self._ask("show", name)
        for view in self.views:
            if view.run.id.startswith(name) or view.run.plan.name == name:
                return view
        raise NotFound(f"there is no run {name!r}", hint="'choline status' lists the runs.")

    def events(self, name: str, *, after: int = 0) -> list[Event]:
        return self.history

    def money(self, now: float) -> Money:
        billing = [r for v in self.views for r in v.rentals if r.may_bill]
        unknown = sum(r.state is RentalState.UNKNOWN for r in billing)
        return Money(
            sum(r.price or 0 for r in billing),
            sum(v.cost(now) for v in self.views),
            len(billing),
            unknown,
            sum(r.state is RentalState.RELEASING for r in billing),
        )

    def log_file(self, run_id: str, n: int, source: str) -> Path:
        return self.paths.root / run_id / f"attempt-{n}" / f"{source}.log"

    async def offers(self, **wanted: Any) -> Offers:
        self._ask("offers", wanted)
        return self.found

    def request(self, **fields: Any) -> RunRequest:
        return RunRequest(**fields)

    async def plan(self, request: RunRequest) -> PlanCard:
        self._ask("plan", request)
        assert self.card is not None
        return self.card

    async def handed_over(self, request: RunRequest) -> dict[str, Any]:
        if "handed_over" in self.fails:
            raise self.fails["handed_over"]
        return {}

    async def start(self, request: RunRequest) -> Run:
        self._ask("start", request)
        assert self.after_start is not None
        self.views = [self.after_start]
        return self.after_start.run

    async def stop(self, name: str, **how: Any) -> Run:
        self._ask("stop", (name, how))
        return self.show(name).run

    async def follow(self, name: str, **how: Any) -> AsyncIterator[Followed]:
        self._ask("follow", (name, how))
        for item in self.stream:
            yield item

    async def pull(self, name: str) -> dict[str, Any]:
        return dict(self._ask("pull", name))

    async def container_log(self, name: str) -> str:
        return str(self._ask("container_log", name))

    async def ssh(self, name: str) -> SshAccess:
        self._ask("ssh", name)
        return SshAccess(
            config="/keys/config",
            target="choline-abc123",
            host="203.0.113.9",
            port=41022,
            user="root",
            directory="choline/abc123",
        )

    async def rentals(self) -> list[dict[str, Any]]:
        self._ask("rentals")
        return self.rows

    async def destroy(self, target: str, **how: Any) -> dict[str, Any]:
        return dict(self._ask("destroy", (target, how)))

    async def key_check(self) -> dict[str, Any]:
        return dict(self._ask("key_check"))

    async def engine_status(self) -> dict[str, Any]:
        return dict(self._ask("engine_status"))

    async def engine_stop(self) -> None:
        self._ask("engine_stop")

    def methods(self) -> list[str]:
        return [name for name, _ in self.asked]


@dataclass
class Bench:
    """One command line and what it printed."""

    choline: FakeCholine = field(default_factory=FakeCholine)
    width: int | None = None
    height: int | None = None
    color: bool = False
    interactive: bool = False
    terminal: bool = False
    answer: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    questions: int = 0

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """(exit code, stdout, stderr). Errors of ours come out as they are."""
        from choline_tui.cli.commands import run as run_command

        out = io.StringIO()
        err = Terminal() if self.terminal else io.StringIO()

        def ask(prompt: str) -> str:
            self.questions += 1
            return self.answer

        context = Context(
            Output(out, err, self.environ, self.width, self.color, self.color, self.height, self.width),
            environ=self.environ,
            make=lambda start: self.choline,  # type: ignore[arg-type,return-value]
            now=lambda: NOW,
            ask=ask,
            interactive=self.interactive,
        )
        code = run_command(list(words), context)
        return code, out.getvalue(), err.getvalue()
