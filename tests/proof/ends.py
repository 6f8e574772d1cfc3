"""What must hold when a life is over, and nothing is left to be done."""

import json
from pathlib import Path
from typing import Any

import httpx

from choline_tui.model.query import parse_query
from choline_tui.model.run import Outcome, RentalState, RunState
from tests.proof.monitor import Broken
from tests.proof.recipe import RESULTS
from tests.support.world import World

__all__ = ["Ends", "rent_by_hand"]

OTHERS = ("choline-otherhm-runabc-1", None)
"""labels of what is in the same account and not ours"""
MAX_EVENTS = 1500
NEXT = {
    "run": {
        "waiting": {"acquiring", "preparing", "ended"},
        "acquiring": {"waiting", "preparing", "ended"},
        "preparing": {"waiting", "running", "ended"},
        "running": {"waiting", "preparing", "interrupted", "collecting", "ended"},
        "interrupted": {"waiting", "preparing", "running", "collecting", "ended"},
        "collecting": {"waiting", "preparing", "ended"},
        "ended": set(),
    },
    "rental": {
        "intended": {"unknown", "booting", "releasing", "gone"},
        "unknown": {"booting", "releasing", "gone"},
        "booting": {"up", "releasing", "gone"},
        "up": {"held", "releasing", "gone"},
        "held": {"releasing", "gone"},
        "releasing": {"gone", "unknown"},
        "gone": {"releasing"},
    },
}
"""the states of the design, and what may follow each"""


async def rent_by_hand(world: World, offer: int, label: str | None) -> int | None:
    """Somebody rents without choline; the contract, None when the offer is gone."""
    request = httpx.Request(
        "PUT",
        f"http://127.0.0.1:8070/api/v0/asks/{offer}/",
        headers={"Authorization": f"Bearer colleague-{offer}"},  # a key of their own, with its own pace
        json={"client_id": "me", "image": "x", "disk": 10, "label": label, "runtype": "ssh"},
    )
    active, world.sim.faults.active = world.sim.faults.active, False
    try:
        answer = await world.market.sim_only(request)
    finally:
        world.sim.faults.active = active
    found = json.loads(answer.content).get("new_contract")
    return int(found) if found is not None else None


class Ends:
    """``runs``: those of this home. ``touched``: contracts of ours that somebody else ended. ``others``:
    contracts of other people that must be as they were."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.runs: list[str] = []
        self.others: list[int] = []
        self.touched: set[int] = set()

    async def strangers(self) -> None:
        """Two contracts of other people."""
        assert self.world.engine is not None
        await self.world.engine.ctx.place.ready()
        rows = sorted(self.world.sim.market.rows(), key=lambda row: row["id"])
        for row in reversed(rows):
            number = await rent_by_hand(self.world, row["id"], OTHERS[len(self.others)])
            if number is not None:  # else: a part of the machine that the first one is on
                self.others.append(number)
            if len(self.others) == len(OTHERS):
                return
        raise AssertionError("the market has nothing for other people")

    @staticmethod
    def query() -> Any:
        return parse_query("num_gpus=1")

    def require(self, check: str, holds: object, what: str) -> None:
        if not holds:
            raise Broken(check, what)

    def check(self) -> None:
        world, store = self.world, self.world.store
        assert store is not None
        label = f"choline-{world.home}-"
        left = [c.id for c in world.sim.contracts.alive() if (c.label or "").startswith(label)]
        self.require("left-billing", not left, f"of ours {left} are left")
        self.check_others()
        jobs = [(e.contract, e.job) for e in world.backend.executions]
        mine = {c.id for c in world.sim.contracts.history if (c.label or "").startswith(label)}
        begun = [job for contract, job in jobs if contract in mine]
        self.require("begun-twice", len(begun) == len(set(begun)), f"a job was begun twice: {begun}")
        known = {a.job for run in self.runs for a in store.attempts(run)}
        self.require("begun-twice", set(begun) <= known, f"{set(begun) - known} are jobs of no attempt")
        for run_id in self.runs:
            self._check_run(run_id)
        self.check_log()
        self.require("store", not store.check(), f"the store is damaged: {store.check()}")

    def check_others(self) -> None:
        """Cheap: at any time."""
        alive = {c.id: c for c in self.world.sim.contracts.alive()}
        by_fate = {on for _, _, on in self.world.sim.faults.fired}
        for number in self.others:
            there = alive.get(number)
            if there is not None and f"contract {there.label}" in by_fate:
                continue  # the market itself did something to it
            self.require("others", there is not None, f"contract {number} of somebody else is gone")
            self.require("others", there.intended == "running", f"contract {number} was stopped")  # type: ignore[union-attr]

    def _check_run(self, run_id: str) -> None:
        world, store = self.world, self.world.store
        assert store is not None
        run, attempts, rentals = store.run(run_id), store.attempts(run_id), store.rentals(run=run_id)
        ended = run.state is RunState.ENDED and run.outcome is not None and run.reason
        self.require("never-ends", ended, f"{run_id} is {run.state}: {run.reason}")
        self.require("records", all(not a.live for a in attempts), f"{run_id} has a live attempt")
        gone = all(r.state is RentalState.GONE and r.gone is not None for r in rentals)
        self.require("records", gone, f"{run_id}: {[(r.id, str(r.state)) for r in rentals]}")
        labels = {r.label: r for r in rentals}
        self.require("records", len(labels) == len(rentals), f"{run_id}: two rentals of one label")
        for contract in world.sim.contracts.history:
            rental = labels.get(contract.label or "")
            if rental is not None:
                self.check_price(contract, rental)
        submitted = [a for a in attempts if a.submitted is not None]
        if run.outcome in (Outcome.SUCCEEDED, Outcome.FAILED):
            self.require("outcome", submitted, f"{run_id} {run.outcome}, and was never begun")
        if submitted and not run.results_complete:
            by_others = [r for r in rentals if r.contract in self.touched or "vanished" in r.release_reason]
            self.require("results-lost", run.drop_results or by_others, f"{run_id}: {run.reason}")
        if run.results_complete and run.outcome is Outcome.SUCCEEDED:
            self._check_results(run_id)

    def check_price(self, contract: Any, rental: Any) -> None:
        """Nothing ran for long above its cap."""
        price = contract.gpu_price + contract.disk_price
        ran = [e for e in self.world.backend.executions if e.contract == contract.id]
        over = price > rental.cap * 1.001
        self.require("above-cap", not (over and ran), f"a command ran on {rental.id} at ${price:.3f}/h")

    def _check_results(self, run_id: str) -> None:
        top = Path(self.world.run(run_id).plan.results_into)
        found = {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}
        expected = {n if n.startswith("keep/") else f"results/{n}": data for n, data in RESULTS.items()}
        self.require("results-lost", found == expected, f"{run_id}: at home is {sorted(found)}")

    def check_log(self) -> None:
        """Old to new of each record's events, in order, leads to how it stands, by steps that may be."""
        store = self.world.store
        assert store is not None
        for run_id in self.runs:
            events = store.events(run=run_id)
            self.require("events", len(events) < MAX_EVENTS, f"{run_id} has {len(events)} events")
            states: dict[str, str] = {}
            begun = 0
            for event in events:
                begun += event.kind == "attempt" and event.old is None and event.new is not None
                if event.new is None or event.kind not in ("run", "rental"):
                    continue
                what = event.rental or run_id
                before = states.get(what)
                self.require("events", event.old is None or before == event.old, f"{what}: {event}")
                may = event.old is None or event.new == event.old or event.new in NEXT[event.kind][event.old]
                self.require("events", may, f"{what} went from {event.old} to {event.new}: {event.text}")
                states[what] = event.new
            self.require("events", states[run_id] == store.run(run_id).state, f"{run_id}: {states[run_id]}")
            self.require("events", begun == len(store.attempts(run_id)), f"{run_id}: {begun} attempts begun")
            for rental in store.rentals(run=run_id):
                agrees = states.get(rental.id) == rental.state
                self.require("events", agrees, f"{rental.id} is {rental.state}, its log says otherwise")
