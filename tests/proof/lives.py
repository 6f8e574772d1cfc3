"""A random life: what its recipe says happens, to one or two homes on one account; then they are left alone.

Checked after every step and at the end; ``monitor`` looks at every request, listing and write besides.
"""

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from choline_tui.engine.context import Timing
from choline_tui.kernel.errors import CholineError
from choline_tui.model.run import Rental, RentalState
from choline_tui.simulator.faults import FaultPlan
from choline_tui.simulator.virtual import VirtualClock, VirtualLoop, run_virtual
from choline_tui.store import Store
from tests.proof.ends import Ends
from tests.proof.home import Home
from tests.proof.monitor import Broken, Monitor
from tests.proof.recipe import Recipe, draw
from tests.proof.steps import Steps

__all__ = ["Life", "one"]

REST = Timing(watch=300.0)
"""of the engines when there is no trouble any more: a day at rest is looked at more rarely"""
NAMES = ("testhome", "secondhm")
LEAST_DEAD = 0.25
"""part of a lease that home must have been cut off for when it ran out"""
TIDY_S = 1200.0
"""s in which what is being destroyed is gone, once nothing goes wrong"""


class Life(Steps):
    def __init__(self, recipe: Recipe, root: Path, clock: VirtualClock) -> None:
        super().__init__()
        self.recipe = recipe
        self.clock = clock
        faults = FaultPlan(recipe.rules(), seed=recipe.seed)
        first = Home(
            root / "a", clock, seed=recipe.seed % 997, boot=recipe.boot, offers=recipe.offers, faults=faults,
            **recipe.options(),
        )  # fmt: skip
        homes = [first]
        homes += [
            Home(root / "bcd"[n - 1], clock, name=NAMES[n], beside=first) for n in range(1, recipe.homes)
        ]
        self.homes = homes
        self.sim = first.sim
        self.monitors = [Monitor(home, home.home) for home in homes]
        self.ends = [Ends(home) for home in homes]
        for home, monitor in zip(homes, self.monitors, strict=True):
            home.root.mkdir(parents=True)
            home.renewed = monitor.renewed

    # ------------------------------------------------------------------------------------- the whole

    async def live(self) -> None:
        await self.sim.start()
        self.sim.faults.active = False
        self.sim.backend.api = self._machine_asks  # type: ignore[attr-defined]
        try:
            for home in self.homes:
                await home.begin(self.recipe.ration)
            await self.ends[0].strangers()
            for other in self.ends[1:]:
                other.others = self.ends[0].others
            for monitor in self.monitors:
                monitor.others |= set(self.ends[0].others)
            self.sim.faults.active = True
            self.sim.faults.began = self.clock.time()
            await self._happen()
            await self._left_alone()
            for ends in self.ends:
                ends.check()
            self._look()
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            for home in self.homes:
                with contextlib.suppress(sqlite3.Error):
                    await home.end()
            await self.sim.close()

    async def _happen(self) -> None:
        began = self.clock.monotonic()
        for step in self.recipe.live_steps():
            await asyncio.sleep(max(0.0, began + step.at - self.clock.monotonic()))
            self.act(step)
            self._look()
        await asyncio.sleep(max(0.0, began + self.recipe.until - self.clock.monotonic()))

    async def _left_alone(self) -> None:
        """Nothing goes wrong any more, and nobody asks for anything."""
        self.sim.faults.active = False
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for home in self.homes:
            self._mend(home)
        for machine, who in self.taken:
            self.sim.market.release(machine, who)
            self.sim.contracts.disturb(machine)
        await self.sim.strangers.close()
        for home in self.homes:
            while not home.up:
                await asyncio.sleep(1.0)
            home.timing = REST
            assert home.engine is not None
            home.engine.ctx.timing = REST
        for home, ends in zip(self.homes, self.ends, strict=True):
            # one whose request killed the engine may be on disk, or not
            ends.runs += sorted(home.store.run_ids() - set(ends.runs))  # type: ignore[union-attr]
        for contract in self.sim.contracts.alive():
            contract.fate.outbid = False
            if contract.offline:
                self.sim.contracts.find_host(contract.machine)
            with contextlib.suppress(CholineError):
                await self.homes[0].backend.refuse_ssh(contract.id, False)
                await self.homes[0].backend.fill_disk(contract.id, False)
        going = [[r.id for r in _live(home) if r.state is RentalState.RELEASING] for home in self.homes]
        await asyncio.sleep(TIDY_S)
        self._look()
        for home, before in zip(self.homes, going, strict=True):
            still = [r.id for r in _live(home) if r.id in before]
            if still:
                raise Broken("never-gone", f"{still} are being destroyed since {TIDY_S:.0f} quiet seconds")
        for home, ends in zip(self.homes, self.ends, strict=True):
            await self._all_end(home, ends)
        for home in self.homes:
            await self._until(home, partial(_idle, home), 6 * 3600.0, "left-billing")
        for home in self.homes:
            assert home.engine is not None
            await home.engine.ctx.place.look(0.0)
        await asyncio.sleep(60)
        self._look()

    async def _all_end(self, home: Home, ends: Ends) -> None:
        """By themselves within their life and their wait, except what only a person can end."""
        for run_id in ends.runs:
            plan = home.run(run_id).plan
            within = plan.wait_s + 3 * plan.max_life_s + 7200.0
            if await self._until(home, partial(_over, home, run_id), within, ""):
                continue
            begun = max((a.created for a in home.store.attempts(run_id)), default=0.0)  # type: ignore[union-attr]
            fresh = home.clock.time() - begun < plan.max_life_s  # it waited for the next day's searches, say
            if fresh and await self._until(home, partial(_over, home, run_id), within, ""):
                continue
            run = home.run(run_id)
            later = run.not_before > home.clock.time() + 60.0
            rentals = home.store.rentals(run=run_id) if home.store else []
            stands = bool(rentals) and rentals[-1].stopped_since is not None
            if not later and not stands:
                raise Broken("never-ends", f"{run_id} is {run.state} ({run.reason}) after {within:.0f} s")
            home.stop(run_id, drop_results=True)
            await self._until(home, partial(_over, home, run_id), 3600.0, "never-ends")

    async def _until(self, home: Home, holds: Callable[[], bool], within: float, check: str) -> bool:
        end = self.clock.monotonic() + within
        while True:
            if holds():
                return True
            if self.clock.monotonic() >= end:
                break
            await asyncio.sleep(20.0)
        if check:
            raise Broken(
                check if check != "busy" else "left-billing", f"{home.home}: {check} after {within:.0f} s"
            )
        return False

    def _mend(self, home: Home) -> None:
        home.armed = home.failing = home.double = home.rent_lost = home.forget = None
        home.deaf, home.offline, home.full = 0, False, False
        home.lag.clear()
        if not home.clock.awake.is_set():
            home.clock.open_lid()

    # -------------------------------------------------------------------------------- after every step

    def _look(self) -> None:
        if self.trouble:
            raise self.trouble[0]
        for monitor in self.monitors:
            monitor.check()
        self.ends[0].check_others()
        for home, monitor in zip(self.homes, self.monitors, strict=True):
            for day, sent in monitor.searches.items():
                if sent > home.ration:
                    raise Broken("ration", f"{home.home} sent {sent} searches on day {day}, of {home.ration}")
        for home in self.homes:
            if not home.up:
                continue  # its store is closed; what a machine did is still to be seen when it is back
            for contract in home.mine():
                self._lapsed(home, contract)

    def _lapsed(self, home: Home, contract: Any) -> None:
        """A lease runs out only when home was cut off; nobody is up for longer than the plan says."""
        try:
            machine = home.backend.machine(contract.id)
        except CholineError:
            return
        for job in machine.jobs.values():
            if job.stop_reason != "lease" or job.stop_at is None:
                continue
            # the lease of now may be a later and longer one
            told = machine.lease.seconds if machine.lease is not None else 0.0
            lease = min(told, home.run(contract.label.split("-")[2]).plan.lease_s)
            begin = job.stop_at - lease
            cut = home.was_apart(begin, job.stop_at)
            if cut < LEAST_DEAD * lease and not self._hosts_fail():
                raise Broken("lease", f"the lease of {contract.label} ran out; home was away for {cut:.0f} s")

    def _hosts_fail(self) -> bool:
        """Whether machines may have been out of reach through no fault of home's network."""
        fired = {what for _, what, _ in self.sim.faults.fired}
        return bool(fired & {"host-lost", "ssh-refused"}) or "people" in self.recipe.options()

    # ---------------------------------------------------------------------------------- what machines do

    async def _machine_asks(self, contract: int, action: str) -> None:
        """With its instance key, through everything that goes wrong with requests."""
        if action == "destroy":
            for monitor in self.monitors:
                monitor.guard_destroys(contract)
        await self.sim.instance_request(contract, action)


def _idle(home: Home) -> bool:
    assert home.store is not None
    return not home.store.busy_runs()


def _over(home: Home, run: str) -> bool:
    return not home.run(run).live


def _live(home: Home) -> list[Rental]:
    assert home.store is not None
    return home.store.rentals(live=True)


def one(root: Path, seed: int, recipe: Recipe | None = None) -> Life:
    """Live one seed (or a shrunk one); raises Broken, with the life's events as a note, when a rule was
    broken, and whatever else went wrong."""
    recipe = draw(seed) if recipe is None else recipe
    loop = VirtualLoop()
    made: list[Life] = []

    async def main() -> None:
        made.append(Life(recipe, root, VirtualClock(loop)))
        try:
            await made[0].live()
        except BaseException as error:
            stories = "\n".join(f"--- {home.home}\n{events(home)}" for home in made[0].homes)
            error.add_note(f"seed {seed}\n{stories}")
            raise

    shared = random.getstate()
    random.seed(recipe.seed)  # what the client draws between two tries
    try:
        run_virtual(main(), loop)
    finally:
        random.setstate(shared)
    return made[0]


def events(home: Home) -> str:
    """What a home's log says, after its engine has ended as well."""
    try:
        store = Store(home.root / "choline.db", readonly=True)
    except CholineError:
        return "(no store)"
    try:
        return "\n".join(
            f"{e.at % 86400:9.1f} {e.kind} {e.rental or e.run or ''} {e.text}" for e in store.events()
        )
    finally:
        store.close()
