"""Rules that must hold at every moment of a life, looked at when money or results could be lost: when a
contract is made, when a destroy is sent, and when something is written down as gone or as home."""

import json
from pathlib import Path
from typing import Any

import httpx

from choline_tui.model.run import Attempt, Rental, RentalState
from choline_tui.simulator.contract import Contract
from choline_tui.store import Store
from tests.support.world import World

__all__ = ["Monitor"]


class Monitor:
    """``broken`` tells what was broken, in words. Nothing is raised inside the engine: it could be
    caught there."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.broken: list[str] = []
        self.others: set[int] = set()
        """contracts made by somebody else"""
        self.lies = False
        """the market's listing forgets contracts for longer than anybody can wait: a contract that bills
        may be written down as gone, until a listing shows it again"""
        world.sim.contracts.on_rent = self._rented
        world.market.before.insert(0, self._sent)
        world.on_boot.append(self._opened)
        if world.store is not None:
            self._opened(world.store)

    def check(self) -> None:
        assert not self.broken, "\n".join(self.broken)

    def _say(self, what: str) -> None:
        if what not in self.broken:
            self.broken.append(what)

    # --------------------------------------------------------------------------------- a contract is made

    def _rented(self, contract: Contract) -> None:
        label = contract.label or ""
        if not label.startswith("choline-testhome-"):
            if label and not label.startswith("choline-"):
                self._say(f"contract {contract.id} was made with the label {label!r}")
            self.others.add(contract.id)
            return
        store = Store(self.world.root / "choline.db", readonly=True)
        try:
            known = store.rentals_labelled([label])
            if not known:
                self._say(f"contract {contract.id} was made before its intent was on disk")
                return
            if len([c for c in self.world.sim.contracts.history if c.label == label]) > 1:
                self._say(f"two contracts were made under one label, {label}")
            mine = known[0]
            for other in store.rentals(run=mine.run, live=True):
                if other.id == mine.id or other.state is RentalState.RELEASING:
                    continue
                self._say(f"{mine.id} was rented while {other.id} was {other.state}")
            if not contract.order.onstart:
                self._say(f"contract {contract.id} was made without a guard")
        finally:
            store.close()

    # ---------------------------------------------------------------------------------- a request is sent

    async def _sent(self, request: httpx.Request) -> httpx.Response | None:
        if request.method == "DELETE" and request.url.path.startswith("/api/v0/instances/"):
            self._destroys(int(request.url.path.split("/")[4]))
        return None

    def _destroys(self, number: int) -> None:
        if number in self.others:
            self._say(f"contract {number} of somebody else is destroyed")
        store = Store(self.world.root / "choline.db", readonly=True)
        try:
            for rental in store.rentals(live=True):
                if rental.contract != number or "#" in rental.label or "vanished" in rental.release_reason:
                    continue
                if rental.failed and rental.evidence is None:
                    self._say(f"{rental.id} failed and is destroyed before its evidence was kept")
                run = store.run(rental.run)
                here = [a for a in store.attempts(rental.run) if a.rental == rental.id]
                if here and not run.drop_results and here[-1].submitted and here[-1].collected is None:
                    self._say(f"{rental.id} is destroyed before its results were home")
        finally:
            store.close()

    # ------------------------------------------------------------------------------ something is written

    def _opened(self, store: Store) -> None:
        honest = store.commit

        def commit(*records: Any, **more: Any) -> None:
            honest(*records, **more)
            for record in records:
                if isinstance(record, Rental) and record.state is RentalState.GONE:
                    self._gone(record)
                if isinstance(record, Attempt) and record.collected is not None:
                    self._collected(store, record)

        store.commit = commit  # type: ignore[method-assign]

    def _gone(self, rental: Rental) -> None:
        label = rental.label.split("#")[0]
        for contract in [] if self.lies else self.world.sim.contracts.alive():
            # several contracts under one label have a rental each
            if contract.id == rental.contract or (rental.contract is None and contract.label == label):
                self._say(f"{rental.id} was written down as gone while contract {contract.id} bills")

    def _collected(self, store: Store, attempt: Attempt) -> None:
        rental, run = store.rental(attempt.rental), store.run(attempt.run)
        if rental.contract is None or attempt.state == "ended":
            return
        try:
            there = self.world.backend.machine(rental.contract).files(run.id)
        except Exception:
            return  # the machine has gone meanwhile: what it had is compared at the end of the life
        into = Path(run.plan.results_into)
        for name, data in there.items():
            if not (into / name).is_file() or (into / name).read_bytes() != data:
                self._say(f"{run.id}: {name} was written down as home and is not: {json.dumps(name)}")
