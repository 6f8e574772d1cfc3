"""Seeded lives in which everything goes wrong that may; afterwards the rules that protect money and results
must hold. ``python -m tests.engine.test_random_lives FIRST LAST`` tries more seeds than CI does."""

import asyncio
import contextlib
import json
import random
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import httpx
import pytest

from choline_tui.engine.context import Timing
from choline_tui.kernel.errors import StoreError
from choline_tui.model.run import Outcome, RentalState, RunState
from choline_tui.simulator.remotes.job_model import JobModel
from tests.support.world import POINTS, World, live

SEEDS = 36
SHOW = __name__ == "__main__"
OTHERS = ("choline-otherhm-runabc-1", None)
"""labels of what is in the same account and not ours"""


class Life:
    """One world, some runs, and trouble for about two hours; then it is left alone."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.runs: list[str] = []
        self.others: list[int] = []
        self.quiet = False
        self.empty = False
        self.touched: set[int] = set()
        """contracts destroyed behind our back"""

    async def live(self) -> None:
        world, rng = self.world, self.rng
        await self._strangers()
        world.market.before.append(self._before)
        world.market.after.append(self._after)
        await self.start_one()
        for _ in range(rng.randint(6, 16)):
            with contextlib.suppress(AssertionError):
                await world.until(lambda: False, within=rng.choice([0.3, 3, 20, 70, 300, 900]) * rng.random())
            await rng.choice(
                [
                    self.start_one, self.stop_one, self.crash, self.crash, self.crash_at_point, self.away,
                    self.cut, self.cut, self.refuse, self.market_stops, self.market_destroys, self.jump,
                    self.nothing, self.restart_machine, self.full_disk, self.forgetful,
                ]
            )()  # fmt: skip
        self.quiet = True
        world.crash_at = None
        if world.crashed.is_set():
            await world.until(lambda: True)
        world.engine.ctx.timing = Timing(watch=300.0)  # a day at rest, looked at more rarely
        for run in self.runs:
            try:
                await world.ended(run, within=86400 + 7200)
            except AssertionError:
                # its GPUs are somebody else's for ever, or its host is through: only a person can end that
                rental = world.store.rentals(run=run)[-1]
                assert rental.stopped_since is not None and "cannot be started" in rental.trouble
                assert "--drop-results" in world.run(run).reason
                world.stop(run, drop_results=True)
                await world.ended(run, within=600)
        await world.until(lambda: not world.store.busy_runs(), within=4 * 86400, what="no run is busy")
        await asyncio.sleep(700)
        await world.engine.ctx.place.look(0.0)
        await asyncio.sleep(60)
        self.check()
        if SHOW:
            for run in self.runs:
                r = world.run(run)
                print(run, r.outcome, r.results_complete, len(world.store.rentals(run=run)), r.reason[:90])

    async def _strangers(self) -> None:
        await self.world.engine.ctx.place.ready()
        page = await self.world.client.search(self.query())
        for offer, label in zip(page.offers[-2:], OTHERS, strict=True):
            answer = await self.world.market.handle_async_request(
                httpx.Request(
                    "PUT",
                    f"http://127.0.0.1:8070/api/v0/asks/{offer.id}/",
                    headers={"Authorization": "Bearer test-key"},
                    json={"client_id": "me", "image": "x", "disk": 10, "label": label, "runtype": "ssh"},
                )
            )
            self.others.append(json.loads(answer.content)["new_contract"])

    @staticmethod
    def query() -> Any:
        from choline_tui.model.query import parse_query

        return parse_query("num_gpus=1")

    # ------------------------------------------------------------------------------------- trouble

    async def start_one(self) -> None:
        if len(self.runs) >= 4:
            return
        rng = self.rng
        run = self.world.start(
            keep_s=rng.choice([0.0, 0.0, 900.0]),
            wait_s=rng.choice([60.0, 600.0, 7200.0]),
            max_life_s=rng.choice([3600.0, 86400.0]),
            lease_s=rng.choice([600.0, 43200.0]),
            type=rng.choice(["on-demand", "on-demand", "interruptible"]),
            cap=rng.choice([0.3, 2.0]),
        )
        self.runs.append(run)

    async def stop_one(self) -> None:
        live = [r for r in self.runs if self.world.run(r).live]
        if live and self.rng.random() < 0.6:
            self.world.stop(self.rng.choice(live), drop_results=self.rng.random() < 0.3)

    async def crash(self) -> None:
        await self.world.restart()

    async def crash_at_point(self) -> None:
        self.world.crash_at = self.rng.choice(POINTS)

    async def away(self) -> None:
        """Home is off, for minutes or for a day."""
        await self.world.crash()
        await self.world.clock.sleep(self.rng.choice([60, 1200, 8000, 100_000]) * self.rng.random())
        await self.world.boot()

    def _ours(self) -> list[Any]:
        return [c for c in self.world.sim.contracts.alive() if c.id not in self.others]

    async def cut(self) -> None:
        for contract in self._ours():
            with contextlib.suppress(Exception):
                await self.world.backend.drop_ssh(contract.id)

    async def refuse(self) -> None:
        for contract in self._ours():
            with contextlib.suppress(Exception):
                await self.world.backend.refuse_ssh(contract.id, True)
        await asyncio.sleep(self.rng.choice([30, 500, 4000]) * self.rng.random())
        for contract in self._ours():
            with contextlib.suppress(Exception):
                await self.world.backend.refuse_ssh(contract.id, False)

    async def market_stops(self) -> None:
        if ours := self._ours():
            self.world.sim.contracts.stop(self.rng.choice(ours))

    async def market_destroys(self) -> None:
        ours = self._ours()
        if ours and self.rng.random() < 0.4:
            contract = self.rng.choice(ours)
            self.touched.add(contract.id)
            self.world.sim.contracts.destroy(contract)

    async def restart_machine(self) -> None:
        if ours := self._ours():
            self.world.sim.contracts.reboot(self.rng.choice(ours))

    async def jump(self) -> None:
        self.world.clock.jump(self.rng.choice([-3600.0, -600.0, 600.0, 3600.0]))

    async def full_disk(self) -> None:
        """The store takes nothing, for seconds or minutes."""
        store = self.world.store
        assert store is not None
        honest = store.commit

        def commit(*records: Any, **more: Any) -> None:
            raise StoreError("the store could not be written: database or disk is full")

        store.commit = commit  # type: ignore[method-assign]
        await asyncio.sleep(self.rng.choice([2, 30, 300]) * self.rng.random())
        store.commit = honest  # type: ignore[method-assign]

    async def forgetful(self) -> None:
        """For some seconds the market's listing is whole, and empty."""
        self.empty = True
        await asyncio.sleep(40 * self.rng.random())
        self.empty = False

    async def nothing(self) -> None:
        return

    async def _before(self, request: httpx.Request) -> httpx.Response | None:
        if self.quiet or self.rng.random() > 0.08:
            return None
        kind = self.rng.choice(["429", "500", "502", "timeout", "refused"])
        if kind == "429":
            return httpx.Response(429, json={"success": False, "error": "rate_limit", "msg": "threshold=5.0"})
        if kind == "timeout":
            await asyncio.sleep(30)
            raise httpx.ReadTimeout("no answer")
        if kind == "refused":
            raise httpx.ConnectError("refused")
        return httpx.Response(int(kind), text="oops")

    async def _after(self, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if self.empty and request.url.path == "/api/v1/instances/":
            nothing = {"success": True, "total_instances": 0, "instances": [], "instances_found": 0}
            return httpx.Response(200, json=nothing)
        if self.quiet or self.rng.random() > 0.08:
            return response
        kind = self.rng.choice(["lost", "cut", "500", "html", "late"])
        if kind == "lost":
            raise httpx.ReadError("the connection was lost")
        if kind == "late":
            await asyncio.sleep(20)
            return response
        if kind == "cut":
            return httpx.Response(
                response.status_code, content=response.content[: len(response.content) // 2]
            )
        return httpx.Response(500 if kind == "500" else 200, text="<html>maintenance</html>")

    # -------------------------------------------------------------------------------------- checks

    def check(self) -> None:
        world = self.world
        store = world.store
        assert store is not None
        alive = world.sim.contracts.alive()
        assert {c.id for c in alive} == set(self.others), "of ours nothing is left, of others all"
        assert all(c.intended == "running" for c in alive), "others are as they were"
        for number in self.others:
            assert not [c for c in world.market.calls if str(number) in c[1]], "nobody asked about others"
        jobs = [e.job for e in world.backend.executions]
        assert len(jobs) == len(set(jobs)), f"a job was begun twice: {jobs}"
        for run_id in self.runs:
            self._check_run(run_id)
        self._check_log()

    def _check_run(self, run_id: str) -> None:
        world, store = self.world, self.world.store
        run, attempts, rentals = store.run(run_id), store.attempts(run_id), store.rentals(run=run_id)
        assert run.state is RunState.ENDED and run.outcome is not None and run.reason
        assert all(not a.live for a in attempts)
        assert all(r.state is RentalState.GONE and r.gone is not None for r in rentals)
        labels = [r.label for r in rentals]
        assert len(labels) == len(set(labels))
        for contract in world.sim.contracts.history:
            if contract.label in labels:
                rental = next(r for r in rentals if r.label == contract.label)
                price = contract.gpu_price + contract.disk_price
                assert price <= rental.cap * 1.0001 or rental.failed, "never above the cap"
                assert rental.cap == run.plan.cap
        made = [c.label for c in world.sim.contracts.history if c.label in labels]
        assert len(made) == len(set(made)), "one rent call made one contract"
        submitted = [a for a in attempts if a.submitted is not None]
        if run.outcome in (Outcome.SUCCEEDED, Outcome.FAILED):
            assert submitted
        if submitted and not run.results_complete:
            gone = [r for r in rentals if r.contract in self.touched or "vanished" in r.release_reason]
            assert run.drop_results or gone, f"results were lost: {run.reason}"
        if run.results_complete and run.outcome is Outcome.SUCCEEDED:
            top = world.root / "results" / run_id
            found = {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}
            assert found == {"results/model.bin": b"weights" * 100, "keep/step.txt": b"20"}

    def _check_log(self) -> None:
        """Old to new of each record's events, in order, leads to how it stands."""
        store = self.world.store
        for run_id in self.runs:
            events = store.events(run=run_id)
            assert len(events) < 1500, f"{len(events)} events"
            states: dict[str, str] = {}
            for event in events:
                if event.new is None or event.kind not in ("run", "rental"):
                    continue
                what = event.rental or run_id
                assert event.old is None or states.get(what) == event.old, f"{what}: {event}"
                states[what] = event.new
            assert states[run_id] == store.run(run_id).state
            for rental in store.rentals(run=run_id):
                assert states[rental.id] == rental.state


def one(root: Path, seed: int) -> World:
    async def story(world: World) -> None:
        rng = random.Random(-seed)
        world.model = JobModel(
            duration_s=rng.choice([20.0, 600.0, 5000.0]),
            log_lines=[f"step {n}" for n in range(20)],
            result_files={"model.bin": b"weights" * 100, "keep/step.txt": b"20"},
        )
        life = Life(world, seed)
        try:
            await life.live()
        except BaseException:
            print(f"seed {seed}\n{world.story()}")
            raise

    return live(root, story, seed=seed)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happens_nothing_bills_and_nothing_is_lost(tmp_path: Path, seed: int) -> None:
    one(tmp_path, seed)


if __name__ == "__main__":
    bad = []
    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        with tempfile.TemporaryDirectory() as folder:
            try:
                one(Path(folder), number)
            except Exception:
                traceback.print_exc()
                bad.append(number)
    print("bad:", bad)
