"""What may happen in a life, one method a kind of step. Whatever lasts goes on by itself: a step is over at
once, so that the others come when their recipe says, whatever was left out."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Coroutine
from typing import Any

from choline_tui.kernel.errors import CholineError
from choline_tui.model.run import Plan, Run
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.virtual import VirtualClock
from tests.proof.ends import Ends, rent_by_hand
from tests.proof.home import Home
from tests.proof.monitor import Monitor
from tests.proof.recipe import Step, job_model
from tests.support.world import Crash

__all__ = ["Steps"]

SOMEBODY = -1000
MAX_RUNS = 4
"""of a home"""


class Steps:
    homes: list[Home]
    monitors: list[Monitor]
    ends: list[Ends]
    sim: Simulator
    clock: VirtualClock

    def __init__(self) -> None:
        self.taken: list[tuple[Any, int]] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.trouble: list[BaseException] = []
        """what went wrong where nobody sees it"""

    def act(self, step: Step) -> None:
        getattr(self, f"_{step.what}")(self.homes[step.home], step)

    # ------------------------------------------------------------------------------------------- the user

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        engines = [home.engine for home in self.homes]

        async def run() -> None:
            try:
                await work
            except (CholineError, Crash, sqlite3.ProgrammingError):
                return  # said to the person, or the engine died while it was asked
            except Exception as error:
                if engines == [home.engine for home in self.homes]:
                    self.trouble.append(error)

        task = asyncio.create_task(run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(lambda _: work.close())  # one that is cancelled before it began

    def _runs(self, home: Home) -> list[str]:
        return self.ends[self.homes.index(home)].runs

    def _pick(self, found: list[Any], step: Step) -> Any:
        return found[int(step.choice * len(found))] if found else None

    def _begin(self, home: Home, run_id: str, plan: dict[str, Any], like: str | None = None) -> None:
        """As ``Api.start`` does, without looking at a directory."""
        assert home.engine is not None
        home.secrets["TOKEN"] = "known to this home's files"
        plan = {"secrets": {"TOKEN": ".env"} if len(self._runs(home)) % 3 == 1 else {}} | plan
        home.models[run_id] = self.homes[0].models.setdefault(run_id, job_model(plan.pop("job")))
        now = home.clock.time()
        made = Plan(
            project=str(home.root),
            command="python train.py",
            query="num_gpus=1",
            image="pytorch/pytorch:latest",
            results_into=str(home.root / "results" / run_id),
            **plan,
        )
        run = Run(id=run_id, plan=made, created=now, updated=now, like=like)
        with contextlib.suppress(CholineError, Crash), home.engine.ctx.ledger.batch() as batch:
            batch.add_run(run, "asked for")
        if home.up and run_id in home.store.run_ids():  # type: ignore[union-attr]
            self._runs(home).append(run_id)
            home.engine.poke(run_id)

    def _start(self, home: Home, step: Step, **more: Any) -> None:
        """The second home's runs have the ids of the first's: only the home tells their labels apart."""
        if not home.up or len(self._runs(home)) >= MAX_RUNS:
            return
        free = [r for r in self._runs(self.homes[0]) if r not in self._runs(home)] if step.home else []
        run_id = free[0] if free else f"run{step.n:02d}"
        self._begin(home, run_id, {k: v for k, v in step.args.items() if k != "after"}, **more)

    def _start_stop(self, home: Home, step: Step) -> None:
        before = len(self._runs(home))
        self._start(home, step)

        async def stop() -> None:
            await asyncio.sleep(step.args["after"])
            if home.up and home.run(run_id).live:
                await home.api().stop(run_id)

        if len(self._runs(home)) > before:
            run_id = self._runs(home)[-1]
            self._spawn(stop())

    def _twins(self, home: Home, step: Step) -> None:
        """The second home's run and the first's have one id, and the first's rent call gets lost."""
        first, run_id = self.homes[0], f"run{step.n:02d}"
        plan = {k: v for k, v in step.args.items() if k not in ("gap", "done")}

        async def later() -> None:
            await asyncio.sleep(step.args["gap"])
            if first.up and len(self._runs(first)) < MAX_RUNS:
                first.rent_lost = (step.args["done"], 0.0)
                self._begin(first, run_id, plan)

        if home.up and len(self._runs(home)) < MAX_RUNS:
            self._begin(home, run_id, plan)
            self._spawn(later())

    def _again(self, home: Home, step: Step) -> None:
        if home.up and (like := self._pick(self._runs(home), step)) and len(self._runs(home)) < MAX_RUNS:
            plan = home.run(like).plan
            known = {"project", "command", "query", "image", "results_into"}
            fields = {k: v for k, v in plan.model_dump(exclude_unset=True).items() if k not in known}
            self._begin(home, f"run{step.n:02d}", fields | {"job": step.n}, like)

    def _stop(self, home: Home, step: Step) -> None:
        if not home.up:
            return
        run_id = self._pick([r for r in self._runs(home) if home.run(r).live], step)
        if run_id:
            self._spawn(home.api().stop(run_id, drop_results=step.args["drop"]))

    def _pull(self, home: Home, step: Step) -> None:
        if home.up and (run_id := self._pick(self._runs(home), step)):
            self._spawn(home.api().pull(run_id))

    def _destroy(self, home: Home, step: Step) -> None:
        if not home.up or home.store is None:
            return
        rental = self._pick(home.store.rentals(live=True), step)
        if rental is None:
            return
        drop = step.args["drop"]

        async def destroy() -> None:
            await home.api().destroy(rental.id, drop_results=drop)
            if drop:
                self.ends[self.homes.index(home)].touched.add(rental.contract)

        self._spawn(destroy())

    def _rentals(self, home: Home, step: Step) -> None:
        if home.up:
            self._spawn(home.api().rentals())

    def _nothing(self, home: Home, step: Step) -> None:
        return

    # ------------------------------------------------------------------------------------ the computer

    def _crash(self, home: Home, step: Step) -> None:
        home.kill(step.args["away"])

    def _crash_at(self, home: Home, step: Step) -> None:
        home.armed = (step.args["touch"], step.args["nth"], step.args["away"])

    def _sleep(self, home: Home, step: Step) -> None:
        if home.clock.awake.is_set():
            self._spawn(home.sleep(step.args["seconds"]))

    def _jump(self, home: Home, step: Step) -> None:
        home.clock.jump(step.args["seconds"])

    def _offline(self, home: Home, step: Step) -> None:
        if not home.offline:
            self._spawn(home.lose_network(step.args["seconds"]))

    def _disk_full(self, home: Home, step: Step) -> None:
        async def full() -> None:
            home.full = True
            await asyncio.sleep(step.args["seconds"])
            home.full = False

        self._spawn(full())

    def _call_fails(self, home: Home, step: Step) -> None:
        home.failing = (step.args["call"], step.args["how"], step.args["times"])

    # -------------------------------------------------------------------------------------- the machines

    def _cut(self, home: Home, step: Step) -> None:
        self._spawn(home._cut())

    def _refuse(self, home: Home, step: Step) -> None:
        contract = self._pick(home.mine(), step)
        if contract is None:
            return

        async def refuse() -> None:
            with home.apart():
                await home.backend.refuse_ssh(contract.id, True)
                await asyncio.sleep(step.args["seconds"])
                await home.backend.refuse_ssh(contract.id, False)

        self._spawn(refuse())

    def _market_stops(self, home: Home, step: Step) -> None:
        if contract := self._pick(home.mine(), step):
            self.sim.contracts.stop(contract)

    def _take_gpus(self, home: Home, step: Step) -> None:
        """The host stops it, and somebody else has its GPUs for a while."""
        contract = self._pick(home.mine(), step)
        if contract is None:
            return
        who = SOMEBODY - step.n

        async def take() -> None:
            self.sim.contracts.stop(contract)
            for _ in range(30):
                if not contract.held:
                    break
                await asyncio.sleep(1.0)
            else:
                return
            if not self.sim.market.free(contract.machine, contract.slice.gpus, None):
                return  # somebody was quicker
            self.sim.market.hold(contract.machine, contract.slice.gpus, who)
            self.taken.append((contract.machine, who))
            await asyncio.sleep(step.args["seconds"])
            self.sim.market.release(contract.machine, who)
            self.sim.contracts.disturb(contract.machine)

        self._spawn(take())

    def _destroyed_elsewhere(self, home: Home, step: Step) -> None:
        """Somebody destroys one of ours on the market's own page."""
        if contract := self._pick(home.mine(), step):
            self.ends[self.homes.index(home)].touched.add(contract.id)
            self.sim.contracts.destroy(contract)

    def _reboot(self, home: Home, step: Step) -> None:
        if contract := self._pick(home.mine(), step):
            self.sim.contracts.reboot(contract)

    # ---------------------------------------------------------------------------------------- the market

    def _deaf(self, home: Home, step: Step) -> None:
        """Destroys are answered, and not done."""
        home.deaf = step.args["times"]
        home.deaf_until = self.clock.monotonic() + step.args["seconds"]

    def _double(self, home: Home, step: Step) -> None:
        """The next rent makes two contracts."""
        home.double = step.args["lost"]

    def _rent_lost(self, home: Home, step: Step) -> None:
        home.rent_lost = (step.args["done"], step.args["lag"])

    def _forget(self, home: Home, step: Step) -> None:
        home.forget = (step.args["how"], self.clock.monotonic() + step.args["seconds"])

    def _colleague_rents(self, home: Home, step: Step) -> None:
        async def rent() -> None:
            row = self._pick(sorted(self.sim.market.rows(), key=lambda r: r["id"]), step)
            label = ("my training", None, "choline-otherhm-run00-1")[step.n % 3]
            if row is not None and len(self.sim.contracts.alive()) < 15:
                number = await rent_by_hand(home, row["id"], label)
                if number is not None:
                    self.ends[0].others.append(number)
                    for monitor in self.monitors:
                        monitor.others.add(number)

        self._spawn(rent())

    def _colleague_ends(self, home: Home, step: Step) -> None:
        number = self._pick(self.ends[0].others[2:], step)
        contract = self.sim.contracts.get(number) if number is not None else None
        if contract is not None:
            self.ends[0].others.remove(number)
            self.sim.contracts.destroy(contract)
