"""Seeded lives on real parts: the engine a process, machines processes behind a real sshd, real kill -9.

    python -m tests.e2e.lives --seeds A-B [--jobs N] [--patient]   lives A to B, both included
    python -m tests.e2e.lives --replay SEED                         one of them, with its story

A seed decides the market, the faults, and what happens in which order; when exactly each falls is the
computer's business, so a life is not the same twice. ``--patient`` sleeps longer than an SSH connection
keeps alive. Whatever happens, the rules of ``tests.proof.monitor`` and the checks at the end of the virtual
lives hold, byte by byte.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from choline_tui.kernel.errors import CholineError, UsageError
from choline_tui.model.run import Outcome, RunState
from choline_tui.simulator.faults import FaultPlan, Rule
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.wire import Lost, Request, Response
from tests.e2e.homes import SCRIPT, Disks, Job, RealHome
from tests.support import eventually

__all__ = ["live"]

OTHERS = ("choline-otherhm-runabc-1", None)
"""labels of a colleague's contracts in the same account"""
LONG_SLEEP = 50.0
"""s; an SSH connection without a sign for three times 15 s is lost"""
WITHIN = 240.0


class Door(Simulator):
    """The market with a look at who asks: a home's engine may die here, or not get through."""

    homes: tuple[RealHome, ...] = ()

    async def handle(self, request: Request) -> Response:
        home = next((h for h in self.homes if h.sends(request)), None)
        if home is None:
            return await super().handle(request)
        if home.cut:
            raise Lost
        asked = await home.asked(request)
        answer = None
        try:
            if home.dies_here(request, False):
                raise Lost
            answered = await super().handle(request)
            if home.dies_here(request, True) or home.cut:
                raise Lost
            answer = answered
        finally:
            home.told(asked, answer)
        return answer


def bad_days(rng: random.Random) -> list[Rule]:
    """What goes wrong at the market and on its machines, beside what the life does to the home."""
    listing, rent, one = "GET /api/v1/instances/*", "PUT /api/v0/asks/*", "*"
    every = [
        Rule("lost", rent, chance=0.3),
        Rule("500", rent, chance=0.3, acted=True, times=2),
        Rule("taken", rent, chance=0.3, times=2, seconds=3600),
        Rule("no-such-ask-200", rent, nth=(1,)),
        Rule("rows-none", listing, nth=(rng.randint(2, 20),)),
        Rule("rows-short", listing, chance=0.05),
        Rule("cut", listing, chance=0.05),
        Rule("html", listing, chance=0.03),
        Rule("reset", one, chance=0.03),
        Rule("502", one, chance=0.04),
        Rule("429-threshold", one, chance=0.02),
        Rule("500", "DELETE *", chance=0.3, acted=True),
        Rule("lost", "DELETE *", chance=0.3),
        Rule("ssh-dropped", "choline-*", chance=0.5, delay_s=rng.random() * 8),
        Rule("ssh-refused", "choline-*", chance=0.4, delay_s=rng.random() * 4, seconds=4),
        Rule("late-ports", "choline-*", chance=0.4, seconds=3),
        Rule("late-key", "choline-*", chance=0.4, seconds=4),
        Rule("wrong-price", "choline-*", nth=(1,), factor=4.0),
        Rule("start-fails", "choline-*", nth=(1,)),
        Rule("host-lost", "choline-*", chance=0.3, delay_s=3, seconds=6),
        Rule("stopped", "choline-*", chance=0.2, delay_s=rng.random() * 6),
    ]
    return rng.sample(every, rng.randint(4, 8))


class Life:
    def __init__(self, root: Path, seed: int, *, patient: bool = False) -> None:
        self.root, self.seed, self.patient = root, seed, patient
        self.rng = random.Random(seed)
        self.trail: list[str] = []
        """what was done to it, in order"""
        self.homes: tuple[RealHome, ...] = ()

    async def live(self) -> None:
        rng = self.rng
        project = self.root / "my 'quoted' \"projéct\" ü"
        project.mkdir(parents=True)
        self.project = project
        (project / "train me.py").write_text(SCRIPT)
        (project / "choline.toml").write_text('command = ["python3", "train me.py"]\ngpu = "1x4090"\n')
        self.backend = Disks(self.root / "market")
        faults = FaultPlan(bad_days(rng), seed=self.seed)
        self.trail.append("faults: " + ", ".join(f"{r.what} on {r.on}" for r in faults.rules))
        self.sim = Door(
            seed=self.seed, offers=300, boot=1.0, backend=self.backend, moving=False, faults=faults
        )
        async with self.sim:
            two = rng.random() < 0.4
            self.homes = tuple(
                RealHome(name, self.root / name, self.sim, self.backend)
                for name in (["testhome", "secondhm"] if two else ["testhome"])
            )
            self.sim.homes = self.homes
            self._colleague = [await self._rent(label) for label in OTHERS]
            try:
                await self._through()
            except BaseException as error:
                stories = [home.story() for home in self.homes]
                error.add_note("\n".join([f"seed {self.seed}", *self.trail, *stories]))
                raise
            finally:
                for home in self.homes:
                    self.trail.append(home.story())
                    home.signal(signal.SIGCONT)
                    home.signal(signal.SIGKILL)
                    await home.choline.close()

    async def _rent(self, label: str | None) -> int:
        """A colleague's contract: the dearest offers, far from ours."""
        head = {"authorization": "Bearer colleague"}
        self.sim.faults.active = False
        query = json.dumps({"order": [["dph_total", "desc"]], "num_gpus": {"eq": 1}}).encode()
        found = await self.sim.handle(Request("POST", "/api/v0/bundles/", "", head, query))
        offer = found.json()["offers"][0]["id"]
        body = json.dumps({"client_id": "me", "image": "x", "disk": 10, "label": label, "runtype": "ssh"})
        made = await self.sim.handle(Request("PUT", f"/api/v0/asks/{offer}/", "", head, body.encode()))
        self.sim.faults.active = True
        return int(made.json()["new_contract"])

    async def _through(self) -> None:
        rng = self.rng
        for home in self.homes:
            await self.start_one(home)
        moves: list[Callable[[RealHome], Awaitable[None]]] = [
            self.kill, self.kill_at_call, rng.choice([self.sleep, self.network]),
            *rng.sample(
                [
                    self.kill, self.kill_at_call, self.sleep, self.network, self.drop, self.refuse,
                    self.market_stops, self.market_destroys, self.reboots, self.start_one, self.stop_one,
                ],
                rng.randint(1, 4),
            ),
        ]  # fmt: skip
        rng.shuffle(moves)
        if rng.random() < 0.35:
            moves.insert(rng.randint(2, len(moves)), self.stop_one)
        for move in moves:
            await asyncio.sleep(rng.random() * 1.5)  # the moment is the seed's, nothing is waited for
            home = rng.choice(self.homes)
            self.trail.append(f"{time.time():.2f} {home.name}: {getattr(move, '__name__', move)}")
            await move(home)
            home.watch()
        self.sim.faults.active = False
        self.trail.append(f"{time.time():.2f} left alone")
        for home in self.homes:
            home.kill_at = None
            async with asyncio.timeout(WITHIN):
                for run in home.runs:
                    await home.retry(partial(self._ended, home, run))
        left = self.sim.contracts.alive()
        assert [c.id for c in left] == self._colleague, "of ours nothing is left, of others all"
        assert all(c.intended == "running" for c in left), "others are as they were"
        for home in self.homes:
            home.check()
            home.ended = home.store.runs()
            await home.retry(home.choline.engine_stop)
            await eventually(partial(_no_engine, home), what="the engine ends")

    async def _ended(self, home: RealHome, run: str) -> None:
        """Until it has ended and nothing of it bills but what it keeps on purpose, which is let go."""
        ended = await home.choline.wait(run, until="ended")
        for rental in home.store.rentals(run=run, live=True):
            if rental.state == "held":
                with contextlib.suppress(CholineError):  # its time was up just now
                    await home.choline.destroy(rental.id)
        await home.choline.wait(run)
        assert ended.state is RunState.ENDED
        # only what the user or the market did may end it otherwise: no offer in time, too many bad hosts
        fair = {Outcome.SUCCEEDED, Outcome.STOPPED, Outcome.CANCELLED, Outcome.ERROR}
        assert ended.outcome in fair, f"{run} ended {ended.outcome}: {ended.reason}"

    # -------------------------------------------------------------------------------------- what happens

    async def start_one(self, home: RealHome) -> None:
        rng = self.rng
        if len(home.runs) >= 2:
            return
        job = Job(rng.randrange(1 << 30), rng.choice([5, 20, 40]), rng.choice([1000, 3_000_000]))
        request = home.choline.request(
            project=str(self.project),
            env=job.env,
            keep_s=rng.choice([0.0, 0.0, 4.0, 1800.0]),
            premium=50.0,
            type=rng.choice(["on-demand", "on-demand", "on-demand", "interruptible"]),
        )
        before = set(home.runs)

        async def start() -> None:
            if set(home.runs) == before:  # an engine that died may have begun it all the same
                await home.choline.start(request)

        try:
            async with asyncio.timeout(60):
                await home.retry(start)
        except CholineError as error:
            # a market that cannot be reached right now says so, and nothing was begun
            self.trail.append(f"  not started: {error}")
        for run in set(home.runs) - before:
            home.jobs[run] = job
            self.trail.append(f"  run {run}: {job}, {request.type}, kept {request.keep_s:g} s")

    async def stop_one(self, home: RealHome) -> None:
        live = [run for run in home.runs if home.run(run).live]
        if not live:
            return
        run, drop = self.rng.choice(live), self.rng.random() < 0.3
        # one that never ran has nothing to lose: wait for it, for a while
        with contextlib.suppress(AssertionError):
            await eventually(lambda: home.run(run).state is RunState.RUNNING, within=6)
        self.trail.append(f"  {run}, {'results dropped' if drop else 'results home'}")
        async with asyncio.timeout(60):
            with contextlib.suppress(UsageError):  # it has ended meanwhile
                await home.retry(lambda: home.choline.stop(run, drop_results=drop))

    async def kill(self, home: RealHome) -> None:
        await home.kill()
        await self._wake(home)

    async def kill_at_call(self, home: RealHome) -> None:
        method, path = self.rng.choice(
            [
                ("PUT", "/api/v0/asks/"), ("DELETE", "/api/v0/instances/"), ("GET", "/api/v1/instances/"),
                ("POST", "/api/v0/bundles/"), ("POST", "/api/v0/instances/"),
            ]
        )  # fmt: skip
        home.kill_at = (method, path, self.rng.random() < 0.5)
        self.trail.append(f"  at {home.kill_at}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                await eventually(lambda: home.kill_at is None)
        home.kill_at = None
        await self._wake(home)

    async def _wake(self, home: RealHome) -> None:
        """Somebody looks at it again, sooner or later; until then no engine runs."""
        await asyncio.sleep(self.rng.random())
        async with asyncio.timeout(60):
            await home.retry(home.choline.engine_status)

    async def sleep(self, home: RealHome) -> None:
        """The lid is closed; meanwhile its connections are cut, or not."""
        home.signal(signal.SIGSTOP)
        if self.rng.random() < 0.5:
            await self._each(home, self.backend.drop_ssh)
        long = self.patient and self.rng.random() < 0.3
        await asyncio.sleep(LONG_SLEEP if long else self.rng.random() * 5)
        home.signal(signal.SIGCONT)

    async def network(self, home: RealHome) -> None:
        """Home is offline: neither the market nor its machines can be reached, what was open is cut."""
        home.cut = True
        await self._each(home, self.backend.refuse_ssh, True)
        await asyncio.sleep(self.rng.random() * 6)
        home.cut = False
        await self._each(home, self.backend.refuse_ssh, False)

    async def drop(self, home: RealHome) -> None:
        await self._each(home, self.backend.drop_ssh)

    async def refuse(self, home: RealHome) -> None:
        await self._each(home, self.backend.refuse_ssh, True)
        await asyncio.sleep(self.rng.random() * 4)
        await self._each(home, self.backend.refuse_ssh, False)

    async def market_stops(self, home: RealHome) -> None:
        for contract in home.contracts()[:1]:
            self.sim.contracts.stop(contract)

    async def market_destroys(self, home: RealHome) -> None:
        if self.rng.random() < 0.4:
            for contract in home.contracts()[:1]:
                self.sim.contracts.destroy(contract)

    async def reboots(self, home: RealHome) -> None:
        for contract in home.contracts()[:1]:
            self.sim.contracts.reboot(contract)

    async def _each(self, home: RealHome, call: Any, *values: Any) -> None:
        """Of every machine of a home, which may have gone meanwhile."""
        for contract in home.contracts():
            async with contract.lock:
                if contract.alive and contract.made:
                    with contextlib.suppress(CholineError, OSError):
                        await call(contract.id, *values)


def _no_engine(home: RealHome) -> bool:
    return home.pid() is None


async def live(root: Path, seed: int, *, patient: bool = False) -> Life:
    """Live one seed below ``root``; raises AssertionError with its story when a rule was broken."""
    life = Life(root, seed, patient=patient)
    await life.live()
    return life


# ------------------------------------------------------------------------------------------------ by hand


def _tried(seed: int, patient: bool, story: bool = False) -> bool:
    with tempfile.TemporaryDirectory(prefix="choline-life-") as folder:
        began = time.monotonic()
        try:
            life = asyncio.run(live(Path(folder), seed, patient=patient))
        except Exception:
            print(f"FAILED seed {seed}", flush=True)
            traceback.print_exc(file=sys.stdout)
            keep = os.environ.get("LIVES_KEEP")
            if keep:
                for log in Path(folder).glob("*/engine.log"):
                    (Path(keep) / f"{seed}-{log.parent.name}.log").write_bytes(log.read_bytes())
            return False
        runs = Counter(str(run.outcome) for home in life.homes for run in home.ended)
        made, kills = len(life.sim.contracts.history) - len(OTHERS), sum(h.kills for h in life.homes)
        print(
            f"seed {seed}: {made} contracts, {kills} kills, {len(life.sim.faults.fired)} faults, "
            f"{time.monotonic() - began:.0f} s; {dict(runs)}",
            flush=True,
        )
        if story:
            print(*life.trail, sep="\n")
    return True


async def _many(seeds: range, jobs: int, patient: bool) -> list[int]:
    """Each life in a process of its own, so many at once."""
    gate, bad = asyncio.Semaphore(jobs), []

    async def one(seed: int) -> None:
        async with gate:
            words = [sys.executable, "-m", "tests.e2e.lives", "--replay", str(seed), "--short"]
            process = await asyncio.create_subprocess_exec(*words, *(["--patient"] if patient else []))
            if await process.wait():
                bad.append(seed)

    await asyncio.gather(*(one(seed) for seed in seeds))
    return sorted(bad)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.lives", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", default="0-5")
    parser.add_argument("--replay", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--patient", action="store_true")
    parser.add_argument("--short", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if given.replay is not None:
        return 0 if _tried(given.replay, given.patient, not given.short) else 1
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    began = time.monotonic()
    bad = asyncio.run(_many(seeds, given.jobs, given.patient))
    print(f"{len(seeds)} lives in {time.monotonic() - began:.0f} s, failed: {bad or 'none'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
