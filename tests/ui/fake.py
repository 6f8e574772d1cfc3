"""The services as the screens see them, without an engine: canned data that a test may change.

``FakeCholine`` has the methods of ``services.Choline``; ``FakeFeed`` gives its picture whenever
``touch()`` says that something changed. Time stands at ``NOW`` until a test moves ``FakeClock.now``.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from choline_tui.app import CholineApp
from choline_tui.config import Paths, Shown, load, set_value, show, unset_value
from choline_tui.config.filters import find_filter, read_filters, remove_filter, save_filter
from choline_tui.kernel.errors import CholineError
from choline_tui.model.filters import Filter
from choline_tui.model.run import AttemptState, Outcome, Rental, RentalState, RunState
from choline_tui.services.choline import Offers, RunView, money_of
from choline_tui.services.feed import EngineState, MarketState, Snapshot
from choline_tui.services.hosts import HostMemory
from choline_tui.services.looks import Looks
from choline_tui.services.market import OfferStep
from tests.cli import fakes
from tests.cli.fakes import HOSTILE, NOW, attempt, ended_view, live_view, offer, offers, plan, rental, run

__all__ = [
    "HOSTILE",
    "NOW",
    "FakeApp",
    "FakeCholine",
    "FakeClock",
    "FakeFeed",
    "attempt",
    "ended_view",
    "every_state",
    "live_view",
    "market_rows",
    "offer",
    "offer_step",
    "offers",
    "plan",
    "rental",
    "run",
]


@dataclass
class FakeClock:
    """Time that a test moves. ``sleep`` returns when it has been moved far enough."""

    now: float = NOW

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            await asyncio.sleep(0.005)


_GPUS = (
    ("RTX 4090", 24564, 0.36), ("RTX 3090", 24576, 0.19), ("H100 SXM", 81559, 2.35),
    ("A100 PCIE", 40960, 0.82), ("RTX 5090", 32607, 0.55), ("L40S", 46068, 0.71),
    ("RTX 3060 Ti", 8192, 0.06), ("H200", 143771, 3.1),
)  # fmt: skip
_PLACES = (
    "Sweden, SE",
    "California, US",
    "Texas, US",
    "Czechia, CZ",
    "Japan, JP",
    "Germany, DE",
    "Québec, CA",
    "",
)


def market_rows(count: int = 40, seed: int = 7) -> list[dict[str, Any]]:
    """Offers of a market that is the same every time; cheapest first."""
    dice = random.Random(seed)
    rows = []
    for n in range(count):
        name, vram, price = _GPUS[dice.randrange(len(_GPUS))]
        number = dice.choice((1, 1, 1, 2, 2, 4, 8))
        each = round(price * number * dice.uniform(0.8, 1.6), 4)
        rows.append(
            offer(
                id=63_000_000 + n * 137, machine_id=4000 + n % 23, host_id=900 + n % 11,
                price=each, dph_total=each,
                dph_base=round(each - 0.004, 4), gpu_name=name, num_gpus=number, gpu_ram=vram,
                cpu_name="AMD EPYC 7763 64-Core Processor", cpu_cores=128,
                cpu_cores_effective=float(dice.choice((8, 16, 24, 32, 64))), cpu_ram=515_000,
                disk_space=round(dice.uniform(40, 3000), 1), storage_cost=dice.choice((0.1, 0.15, 0.333)),
                inet_down=round(dice.uniform(80, 7000), 1), inet_up=round(dice.uniform(30, 5000), 1),
                inet_down_cost=dice.choice((0.0, 0.002, 0.005)), inet_up_cost=dice.choice((0.0, 0.003, 0.02)),
                dlperf=round(dice.uniform(20, 400), 1), dlperf_per_dphtotal=round(dice.uniform(40, 300), 1),
                reliability2=round(dice.uniform(0.9, 0.9999), 4), cuda_max_good=dice.choice((11.8, 12.8)),
                geolocation=dice.choice(_PLACES) or None, duration=round(dice.uniform(0.2, 60) * 86400),
                direct_port_count=dice.choice((0, 16, 100, 400)), verified=dice.random() < 0.8, rentable=True,
            )
        )  # fmt: skip
    return sorted(rows, key=lambda row: float(row["price"]))


def every_state() -> list[RunView]:
    """A run in every state and with every outcome, newest first."""
    made: list[RunView] = []

    def add(view: RunView) -> None:
        shift = 3600.0 * len(made)
        made.append(RunView(view.run.but(created=view.run.created - shift), view.attempts, view.rentals))

    live: tuple[tuple[RunState, RentalState | None, str], ...] = (
        (RunState.RUNNING, RentalState.UP, "the command runs"),
        (RunState.WAITING, None, "no offer under the cap yet: looking again in 30 s"),
        (RunState.ACQUIRING, RentalState.BOOTING, "pulling image 3/9"),
        (RunState.ACQUIRING, RentalState.UNKNOWN, "the rent call got no clear answer: looking for its label"),
        (RunState.PREPARING, RentalState.UP, "sending 7 files"),
        (RunState.COLLECTING, RentalState.UP, "bringing results home"),
        (RunState.INTERRUPTED, RentalState.UP, "outbid: waiting"),
        (RunState.PAUSED, RentalState.HELD, "paused, its machine held"),
        (RunState.SCHEDULED, None, "starts at 05:00"),
        (RunState.DRAFT, None, ""),
    )
    for n, (state, rented, reason) in enumerate(live):
        name = f"live{n:02d}"
        rentals: list[Rental] = [rental(name, state=rented)] if rented is not None else []
        attempts = [attempt(name, state=AttemptState.RUNNING)] if rentals else []
        add(RunView(run(name, state=state, reason=reason, plan={"name": f"tiny-{n}"}), attempts, rentals))
    reasons = {
        Outcome.SUCCEEDED: "the command ended with 0",
        Outcome.FAILED: "the command ended with 1",
        Outcome.ERROR: "5 machines failed; the last: no answer over SSH for 5 m",
        Outcome.STOPPED: "stopped by you",
        Outcome.CANCELLED: "stopped by you before anything was rented",
        Outcome.MISSED: "this computer slept through its time",
    }
    for n, (outcome, reason) in enumerate(reasons.items()):
        code = {Outcome.SUCCEEDED: 0, Outcome.FAILED: 1}.get(outcome)
        add(ended_view(outcome, f"ended{n}", reason=reason, exit_code=code, plan={"name": f"old-{n}"}))
    held = ended_view(Outcome.SUCCEEDED, "held01", reason="the command ended with 0", plan={"name": "kept"})
    add(RunView(held.run, held.attempts, [rental("held01", state=RentalState.HELD, keep_until=NOW + 1200)]))
    going = ended_view(
        Outcome.SUCCEEDED, "going1", reason="the command ended with 0", plan={"name": "leaving"}
    )
    add(RunView(going.run, going.attempts, [rental("going1", state=RentalState.RELEASING)]))
    return made


def offer_step(rows: list[dict[str, Any]], **changes: Any) -> OfferStep:
    """A whole answer of the market, unless ``changes`` say otherwise."""
    base: dict[str, Any] = {
        "rows": rows, "gone": [], "known": len(rows), "seen_at": NOW - 3, "complete": True, "cached": False,
        "last": True, "disk_gb": 20.0, "type": "on-demand", "used_today": 3, "ration": 1000,
    }  # fmt: skip
    return OfferStep(**{**base, **changes})


@dataclass
class FakeCholine(fakes.FakeCholine):
    """``views`` and ``found`` may be changed; ``asked`` holds what was asked, ``fails`` what is refused."""

    views: list[RunView] = field(default_factory=every_state)
    found: Offers = field(default_factory=lambda: offers(*market_rows()))

    readonly: bool = False
    steps: "list[OfferStep | asyncio.Event] | None" = None
    """what a stream of offers tells, an event waits; None: all of ``found`` at once"""
    memory: dict[int, HostMemory] = field(default_factory=dict)

    async def offers_stream(self, query: str = "", **how: Any) -> AsyncIterator[OfferStep]:
        self._ask("offers_stream", (query, how))
        for step in self.steps if self.steps is not None else [offer_step(self.found.rows)]:
            if isinstance(step, asyncio.Event):
                await step.wait()
            else:
                yield replace(
                    step, disk_gb=how.get("disk") or step.disk_gb, type=how.get("type") or step.type
                )

    def hosts(self, now: float) -> dict[int, HostMemory]:
        return self.memory

    def filters(self) -> dict[str, Filter]:
        return read_filters(self.paths)

    def filter(self, name: str) -> Filter:
        return find_filter(self.paths, name)

    def save_filter(self, name: str, filter: Filter) -> None:
        self._ask("save_filter", (name, filter))
        save_filter(self.paths, name, filter)

    def remove_filter(self, name: str) -> None:
        self._ask("remove_filter", name)
        remove_filter(self.paths, name)

    def __post_init__(self) -> None:
        self.paths: Any = Paths(environ=os.environ)
        self.answers.setdefault("engine_status", {"pid": 4242, "busy": True})

    async def close(self) -> None:
        self._ask("close")

    def log_file(self, run_id: str, n: int, source: str) -> Path:
        return Path(self.paths.run_dir(run_id)) / f"attempt-{n}" / f"{source}.log"

    def settings(self) -> list[Shown]:
        return show(load(self.paths, os.environ))

    def change_setting(self, key: str, text: str | None) -> None:
        self._ask("change_setting", (key, text))
        if text is None:
            unset_value(self.paths, key)
        else:
            set_value(self.paths, key, text)


@dataclass
class FakeFeed:
    """The picture of ``choline`` as it is when ``touch`` is called; one at once."""

    choline: FakeCholine
    clock: FakeClock
    engine: EngineState = field(default_factory=lambda: EngineState("up", "process 4242"))
    market: MarketState = field(default_factory=lambda: MarketState("ok", "https://console.vast.ai"))
    credit: float | None = 37.5
    trouble: CholineError | None = None
    generation: int = 0
    again: int = 0
    """how often it was asked to look again"""
    closed: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def picture(self) -> Snapshot:
        self.generation += 1
        views = tuple(self.choline.views)
        money = money_of([r for v in views for r in v.rentals], self.clock.now, self.clock.now - 7200)
        return Snapshot(
            self.clock.now, views, money, self.engine, self.credit, self.generation, self.market, self.trouble
        )

    def touch(self) -> None:
        """Something changed: the app gets a new picture."""
        self._changed.set()

    def look_again(self) -> None:
        self.again += 1
        self.touch()

    async def watch(self) -> AsyncIterator[Snapshot]:
        while True:
            self._changed.clear()
            yield self.picture()
            await self._changed.wait()

    async def close(self) -> None:
        self.closed = True


class FakeApp(CholineApp):
    """The real app over fake services: ``fake``, ``fake_feed`` and ``fake_clock``, there from the start."""

    SPLASH = False

    def __init__(
        self,
        where: str = "offers",
        *,
        fake: FakeCholine | None = None,
        looks: Looks | None = None,
        environ: Mapping[str, str] | None = None,
        **feed: Any,
    ) -> None:
        self.fake = fake or FakeCholine()
        self.fake_clock = FakeClock()
        self.fake_feed = FakeFeed(self.fake, self.fake_clock, **feed)

        def connect(*_: Any) -> Any:
            return self.fake, self.fake_feed

        super().__init__(
            where,
            looks=looks or Looks(),
            environ=environ,
            connect=connect,
            clock=self.fake_clock,
        )
