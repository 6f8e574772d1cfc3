"""Rules that must hold at every moment of a life, looked at when money or results could be lost: when a
request is sent, when a contract is made, when a listing arrives, and when something is written down.

What the engine may conclude depends on what it was told, not on what is true: a listing may lie. So "gone"
needs its proof (complete listings that lack the contract), and whatever a later listing shows must be known
again soon.
"""

from collections import deque
from pathlib import Path
from typing import Any

import httpx

from choline_tui.kernel.protocol import Lease
from choline_tui.model.run import Attempt, Rental, RentalState, Run
from choline_tui.simulator.contract import Contract
from choline_tui.store import Store
from tests.proof.heard import Heard, read_listing, refuses, rent_body
from tests.support.world import World

__all__ = ["Broken", "Monitor"]

PROOF = {RentalState.UNKNOWN: 3}
"""complete listings in a row without it that make a rental gone; else two"""
PATIENCE = {"unseen": 4, "above-cap": 12, "kept-too-long": 5, "second-left": 4, "destroy-forgotten": 120}
"""good listings that may show what is to be mended before it is"""


class Broken(AssertionError):
    """A rule was broken; ``check`` is its name."""

    def __init__(self, check: str, what: str) -> None:
        super().__init__(f"[{check}] {what}")
        self.check = check


class Monitor:
    """``broken`` tells what was broken: (check, words). Nothing is raised inside the engine: it could be
    caught there. ``home``: whose rules; contracts with other labels are other people's."""

    def __init__(self, world: World, home: str = "testhome") -> None:
        self.world = world
        self.home = home
        self.broken: list[tuple[str, str]] = []
        self.others: set[int] = set()
        """contracts made by somebody else"""
        self.searches: dict[int, int] = {}
        """requests by UTC day"""
        self._rents: dict[str, bool | None] = {}
        """label of every rent request: whether it was clearly refused; None: no clear answer came"""
        self._since: dict[str, float] = {}
        """label: when (steady clock) its last rent or destroy was sent; listings from before prove nothing"""
        self._listings: deque[Heard] = deque(maxlen=60)
        """the complete listings of this engine"""
        self._rentals: dict[str, Rental] = {}
        self._runs: dict[str, Run] = {}
        self._signs: dict[tuple[str, str], int] = {}
        self._store: Store | None = None
        made = world.sim.contracts.on_rent

        def rented(contract: Contract) -> None:
            made(contract)
            self._rented(contract)

        world.sim.contracts.on_rent = rented
        world.market.before.insert(0, self._sent)
        world.market.heard.append(self._heard)
        world.on_boot.append(self._opened)
        if world.store is not None:
            self._opened(world.store)

    def check(self) -> None:
        if self.broken:
            check, words = self.broken[0]
            raise Broken(check, "\n".join([words, *(f"[{c}] {w}" for c, w in self.broken[1:])]))

    def say(self, check: str, what: str) -> None:
        if (check, what) not in self.broken:
            self.broken.append((check, what))

    def _is_mine(self, label: str | None) -> bool:
        return (label or "").startswith(f"choline-{self.home}-")

    # --------------------------------------------------------------------------------- a contract is made

    def _rented(self, contract: Contract) -> None:
        if not self._is_mine(contract.label):
            self.others.add(contract.id)

    # ---------------------------------------------------------------------------------- a request is sent

    async def _sent(self, request: httpx.Request) -> httpx.Response | None:
        parts = request.url.path.strip("/").split("/")
        numbers = [int(part) for part in parts if part.isdigit()]
        if "asks" in parts:
            self._rents_now(request)
        elif "bundles" in parts:
            day = int(self.world.clock.time() // 86400)
            self.searches[day] = self.searches.get(day, 0) + 1
        elif numbers and "instances" in parts:
            if numbers[0] in self.others:
                self.say("others", f"{request.method} {request.url.path}: it is somebody else's")
            elif request.method == "DELETE":
                self._destroys(numbers[0])
        return None

    def _rents_now(self, request: httpx.Request) -> None:
        store, body = self.world.store, rent_body(request)
        assert store is not None
        label = str(body.get("label"))
        known = store.rentals_labelled([label])
        if not self._is_mine(label) or not known:
            self.say("intent-first", f"a rent was sent as {label!r}, of which nothing is on disk")
            return
        rental = known[0]
        run = store.run(rental.run)
        if label in self._rents:
            self.say("rent-once", f"{label} was rented a second time")
        self._rents[label] = None
        self._since[label] = self.world.clock.monotonic()
        if rental.state is not RentalState.INTENDED:
            self.say("intent-first", f"{label} is rented while it is {rental.state}")
        if run.want != "run" or not run.live:
            self.say("unwanted", f"{label} is rented for a run that is {run.state} and wants {run.want}")
        for other in store.rentals(run=run.id, live=True):
            if other.id != rental.id and other.state is not RentalState.RELEASING:
                self.say("one-rental", f"{rental.id} was rented while {other.id} was {other.state}")
        if f"seconds={int(run.plan.max_life_s)} " not in str(body.get("onstart")):
            self.say("no-guard", f"{label} is rented without a guard for {run.plan.max_life_s:.0f} s")
        price = rental.bid if rental.type == "interruptible" else None
        if (body.get("price"), body.get("disk"), body.get("cancel_unavail")) != (price, rental.disk_gb, True):
            self.say("as-planned", f"{label} is rented otherwise than planned")
        if rental.cap != run.plan.cap or rental.offer_price > rental.cap * 1.000001:
            self.say("above-cap", f"{label} is rented at ${rental.offer_price}/h, above ${run.plan.cap}/h")

    def _destroys(self, number: int) -> None:
        """Evidence and results first."""
        store = self.world.store
        assert store is not None
        for rental in store.rentals(live=True):
            if rental.contract != number:
                continue
            self._signs.pop(("destroy-forgotten", rental.id), None)
            if rental.destroy_accepted is None:  # else it is another of that contract who asks once more
                self._since[rental.label] = self.world.clock.monotonic()
            if "#" in rental.label or "vanished" in rental.release_reason:
                continue
            if rental.failed and rental.evidence is None:
                self.say("no-evidence", f"{rental.id} failed and is destroyed before its evidence was kept")
            for had in (*(stay.run for stay in rental.past), rental.run):
                self._destroys_for(store, rental, store.run(had), number)

    def _destroys_for(self, store: Store, rental: Rental, run: Run, number: int) -> None:
        here = [a for a in store.attempts(run.id) if a.rental == rental.id]
        if not here or run.drop_results:
            return
        began = {e.job for e in getattr(self.world.backend, "executions", ()) if e.contract == number}
        if here[-1].submitted is None and here[-1].job not in began:
            return
        if here[-1].collected is None:
            self.say("results-first", f"{rental.id} is destroyed before its results were home")
        elif missing := self.missing(number, run):
            self.say("results-first", f"{rental.id} is destroyed, and {missing} is not home")

    def missing(self, contract: int, run: Run) -> list[str]:
        """Results of a run that are on a machine and not, or not the same, at home."""
        try:
            there = self.world.backend.machine(contract).files(run.id)
        except Exception:
            return []  # the machine is gone: what it had is compared at the end of the life
        into = Path(run.plan.results_into)
        return [n for n, d in there.items() if not (into / n).is_file() or (into / n).read_bytes() != d]

    def renewed(self, contract: int, lease: Lease) -> None:
        """A machine is told how long it may go on, and whether all that it has is home."""
        if not lease.safe:
            return
        for rental in self._rentals.values():
            if rental.contract == contract and rental.live:
                run = self.world.run(rental.run)
                attempts = [a for a in self.world.store.attempts(run.id) if a.rental == rental.id]  # type: ignore[union-attr]
                if attempts and attempts[-1].collected is None:
                    self.say("safe-too-early", f"{rental.id} is told that its results are safe")

    def guard_destroys(self, contract: int) -> None:
        """A machine destroys itself: only when all that it has is home."""
        for rental in self._rentals.values():
            if rental.contract != contract or not rental.live:
                continue
            for had in (*(stay.run for stay in rental.past), rental.run):
                run = self._runs.get(had)
                if run is None or run.drop_results:
                    continue
                if missing := self.missing(contract, run):
                    self.say("guard", f"{rental.id} destroyed itself with {missing} on it")

    # ---------------------------------------------------------------------------------- an answer arrives

    def _heard(self, request: httpx.Request, answer: httpx.Response | Exception | None) -> None:
        parts = request.url.path.strip("/").split("/")
        if "asks" in parts:
            label = str(rent_body(request).get("label"))
            if label in self._rents:
                self._rents[label] = refuses(answer)
        elif request.method == "GET" and parts[-1] == "instances":
            listing = read_listing(request, answer, self.world.clock.monotonic())
            if listing is not None:
                self._listings.append(listing)
                self._look(listing)

    def _look(self, listing: Heard) -> None:
        """What a listing shows that should have been mended some listings ago."""
        signs: set[tuple[str, str]] = set()
        now = self.world.clock.time()
        live = [r for r in self._rentals.values() if r.live]
        known = {r.contract: r for r in live if r.contract is not None}
        labels = {r.label for r in live if r.contract is None}
        for number, label in listing.labels.items():
            contract = self.world.sim.contracts.get(number)
            if not self._is_mine(label) or contract is None:
                continue
            rental = known.get(number)
            if rental is None:
                if label not in labels:
                    signs.add(("unseen", f"contract {number} ({label})"))
                continue
            going = rental.state in (RentalState.BOOTING, RentalState.UP) and contract.intended == "running"
            if going and number in listing.priced:
                price = contract.gpu_price + contract.disk_price
                if price > rental.cap * 1.001 and not self._submitted(rental):
                    signs.add(("above-cap", f"{rental.id} at ${price:.3f}/h"))
            if rental.destroy_accepted is not None and rental.state is RentalState.RELEASING:
                signs.add(("destroy-forgotten", rental.id))
        for rental in live:
            if rental.state is RentalState.HELD and rental.keep_until is not None and rental.keep_until < now:
                signs.add(("kept-too-long", rental.id))
        self._count(signs)

    def _count(self, signs: set[tuple[str, str]]) -> None:
        if getattr(self.world, "full", False):
            return  # nothing can be written down, so nothing is done
        self._signs = {sign: self._signs.get(sign, 0) + 1 for sign in signs}
        for (check, what), times in self._signs.items():
            if times > PATIENCE[check]:
                self.say(check, f"{what}: {times} listings have shown it")

    def _submitted(self, rental: Rental) -> bool:
        store = self.world.store
        assert store is not None
        return any(a.submitted for a in store.attempts(rental.run) if a.rental == rental.id)

    # ------------------------------------------------------------------------------ something is written

    def _opened(self, store: Store) -> None:
        """A new engine: what it knows is on its disk, and it has heard no listing yet."""
        self._store = store
        self._listings.clear()
        self._signs.clear()
        self._rentals = {r.id: r for r in store.rentals()}
        self._runs = {r.id: r for r in store.runs()}
        honest = store.commit

        def commit(*records: Any, **more: Any) -> None:
            honest(*records, **more)
            for record in records:
                if isinstance(record, Rental):
                    self._rental(record)
                elif isinstance(record, Run):
                    self._run(record)
                elif record.live:
                    self._alone(store, record)
                    if record.collected is not None:
                        self._collected(store, record)

        store.commit = commit  # type: ignore[method-assign]

    def _alone(self, store: Store, attempt: Attempt) -> None:
        """One try at a time on one machine, and only by the run that has it."""
        rental = store.rental(attempt.rental)
        for had in (*(stay.run for stay in rental.past), rental.run):
            live = [a.job for a in store.attempts(had) if a.live and a.rental == rental.id]
            if live and (had != rental.run or len(live) > 1):
                self.say("one-attempt", f"{rental.id} of {rental.run} has {live} on it")

    def _run(self, run: Run) -> None:
        old = self._runs.get(run.id)
        if old is not None and not old.live and run.live:
            self.say("ended", f"{run.id} had ended and is {run.state}")
        self._runs[run.id] = run

    def _rental(self, rental: Rental) -> None:
        old = self._rentals.get(rental.id)
        self._rentals[rental.id] = rental
        if rental.contract is not None and (old is None or old.contract != rental.contract):
            self._adopted(rental)
        before = old.looks if old is not None else 0
        if rental.looks > max(0, before):
            self._missed(rental)
        if rental.state is RentalState.GONE and old is not None and old.state is not RentalState.GONE:
            self._gone(rental, old)

    def _adopted(self, rental: Rental) -> None:
        found = [c for c in self.world.sim.contracts.history if c.id == rental.contract]
        if found and found[0].label != rental.label.split("#")[0]:
            self.say("wrong-contract", f"{rental.id} takes {found[0].label} for its own")

    def _missed(self, rental: Rental) -> None:
        """Written down as missing from a listing: one of the last was complete and lacks it."""
        if self._listings and not any(self._lacks(heard, rental) for heard in list(self._listings)[-4:]):
            self.say("not-missing", f"{rental.id} is missing, it says, and is in the listing")
        elif not self._listings:
            self.say("not-missing", f"{rental.id} is missing, it says, and there was no complete listing")

    def _lacks(self, heard: Heard, rental: Rental) -> bool:
        if rental.contract is not None:
            return rental.contract not in heard.labels
        return rental.label.split("#")[0] not in heard.labels.values()

    def _gone(self, rental: Rental, old: Rental) -> None:
        """Gone needs its proof: a clear refusal, or that listings in a row lack it."""
        if old.contract is None and self._rents.get(rental.label, True) is True:
            return  # refused, or never sent
        needed, row = PROOF.get(old.state, 2), 0
        since = self._since.get(rental.label, 0.0)
        for heard in self._listings:
            if heard.at < since:
                continue
            row = row + 1 if self._lacks(heard, rental) else 0
            if row >= needed:
                return
        self.say("unproved", f"{rental.id} is gone, it says, after {row} of {needed} listings without it")

    def _collected(self, store: Store, attempt: Attempt) -> None:
        rental, run = store.rental(attempt.rental), store.run(attempt.run)
        if rental.contract is not None and (missing := self.missing(rental.contract, run)):
            self.say("not-home", f"{run.id}: {missing} is written down as home and is not")
