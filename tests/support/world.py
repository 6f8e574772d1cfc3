"""The real engine, store and client on a virtual clock, over the simulator's market with modelled machines.

Nothing here is a socket, a process or a real second. ``World.crash`` drops the engine as ``kill -9`` does:
its store takes nothing more, its tasks end wherever they stood.
"""

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import httpx

from choline_tui.engine.context import Context, RunFiles, Sessions, Timing
from choline_tui.engine.contract import asking, sweep
from choline_tui.engine.core import Engine
from choline_tui.engine.hub import Hub
from choline_tui.engine.ledger import Ledger
from choline_tui.engine.offers import OfferBook
from choline_tui.engine.reuse import check_free, find_kept, hand_over
from choline_tui.engine.secrets import RunSecrets
from choline_tui.kernel.errors import SshRefused
from choline_tui.kernel.protocol import JobSpec
from choline_tui.kernel.secret import Secret
from choline_tui.kernel.session import Address, HostCopier, RemoteSession
from choline_tui.model.run import Plan, Rental, Run, RunState
from choline_tui.places.base import Listing
from choline_tui.places.vast import VastPlace
from choline_tui.secrets import Found, Hidden, Value
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.remotes.job_model import JobModel
from choline_tui.simulator.remotes.modelled import ModelledBackend
from choline_tui.simulator.virtual import VirtualClock, VirtualLoop, run_virtual
from choline_tui.simulator.wire import Lost, Request, Response
from choline_tui.store import Store
from choline_tui.vast.client import VastClient

__all__ = ["POINTS", "Crash", "World", "live"]

POINTS = ["before rent", "after rent", "before submit", "after submit", "before destroy", "after destroy"]
"""where ``World.crash_at`` can make the engine die"""

URL = "http://127.0.0.1:8070"
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7m8lFyJ0v1x3jGmQq0vE0p1V2b8sJv7i4s0w7V3rTq choline-test"

PATIENCE = 60.0
"""s after which a condition is looked at although nothing happened"""

Fault = Callable[[httpx.Request], Awaitable[httpx.Response | None]]


class Crash(BaseException):
    """The engine is dead from here on."""


class Line(httpx.AsyncBaseTransport):
    """One engine process's way to the market: a dead engine sends nothing more, whatever its tasks try."""

    def __init__(self, market: "Market") -> None:
        self.market = market
        self.dead = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.dead:
            raise httpx.ConnectError("the engine is dead")
        try:
            answer = await self.market.handle_async_request(request)
        except Exception as error:
            self._hears(request, error)
            raise
        self._hears(request, answer)
        return answer

    def _hears(self, request: httpx.Request, answer: httpx.Response | Exception) -> None:
        if not self.dead:
            for hear in self.market.heard:
                hear(request, answer)


class Market(httpx.AsyncBaseTransport):
    """The simulator without a socket. ``before`` may answer or raise instead of it; ``after`` sees the
    answer that was really given and may lose or spoil it."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim
        self.before: list[Fault] = []
        self.after: list[Callable[[httpx.Request, httpx.Response], Awaitable[httpx.Response]]] = []
        self.heard: list[Callable[[httpx.Request, httpx.Response | Exception], None]] = []
        """told what reached an engine in the end, or why nothing did; must not raise"""
        self.calls: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.calls.append((request.method, request.url.path))
        for fault in list(self.before):
            spoiled = await fault(request)
            if spoiled is not None:
                return spoiled
        response = await self.sim_only(request)
        for spoil in list(self.after):
            response = await spoil(request, response)
        return response

    async def sim_only(self, request: httpx.Request) -> httpx.Response:
        """The market's own answer, with nothing before or after it."""
        body = await request.aread()
        await asyncio.sleep(0.05)
        asked = Request(
            request.method, request.url.path, request.url.query.decode(), dict(request.headers), body
        )
        try:
            answer: Response = await self.sim.handle(asked)
        except Lost as lost:
            raise httpx.ReadError(str(lost), request=request) from lost
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)


class World:
    def __init__(
        self,
        root: Path,
        clock: VirtualClock,
        *,
        seed: int = 7,
        boot: float = 60.0,
        offers: int = 150,
        **market: Any,
    ) -> None:
        """``market``: further options of ``Simulator``, such as ``faults``."""
        self.root = root
        self.home = "testhome"
        self.clock = clock
        self.model = JobModel(
            duration_s=600.0,
            log_lines=[f"step {n}" for n in range(20)],
            result_files={"model.bin": b"weights" * 100, "keep/step.txt": b"20"},
        )
        self.backend = ModelledBackend(clock, self._model_for)
        self.sim = Simulator(
            seed=seed,
            offers=offers,
            boot=boot,
            clock=clock,
            backend=self.backend,
            listen=False,
            **{"moving": False, **market},
        )
        self.market = Market(self.sim)
        self.timing = Timing()
        self.rng = random.Random(seed)
        self.crash_at: str | None = None
        self.points: list[str] = []
        self.engine: Engine | None = None
        self.store: Store | None = None
        self.client: VastClient | None = None
        self.crashed = asyncio.Event()
        self.line: Line | None = None
        self.wrap_session: Callable[[int, RemoteSession], RemoteSession] = lambda contract, session: session
        """what stands between the engine and a contract's machine"""
        self.wrap_copier: Callable[[int, HostCopier], HostCopier] = lambda contract, copier: copier
        self.secrets: dict[str, str] = {}
        """what files and the keyring of this home hold"""
        self.on_boot: list[Callable[[Store], None]] = []
        """called with every engine's store before the engine begins"""
        self._runs = 0

    def _model_for(self, spec: JobSpec) -> JobModel:
        return self.model

    async def open(self) -> None:
        await self.sim.start()

        async def api(contract: int, action: str) -> None:
            found = self.sim.contracts.get(contract)
            if found is not None and found.alive:
                (self.sim.contracts.destroy if action == "destroy" else self.sim.contracts.stop)(found)

        self.backend.api = api
        await self.boot()

    async def boot(self) -> Engine:
        """A fresh engine process on the same home."""
        self.store = Store(self.root / "choline.db", durable=False)
        self.store.set_meta("home", self.home)
        for opened in self.on_boot:
            opened(self.store)
        line = self.line = Line(self.market)
        self.client = VastClient(
            Secret("test-key"), base_url=URL, transport=line, clock=self.clock, jitter=self.rng.random
        )
        await self.client.__aenter__()

        async def connect(rental: Rental, addresses: list[Address]) -> RemoteSession:
            await asyncio.sleep(0.2)
            assert rental.contract is not None
            if line.dead:
                raise SshRefused("the engine is dead")
            try:
                session: Any = self.backend.session(rental.contract)
            except Exception as error:
                raise SshRefused(str(error)) from error
            assert rental.host_key in ("", session.host_key)
            return self.wrap_session(rental.contract, session)

        def copies(rental: Rental, address: Address) -> HostCopier:
            assert rental.contract is not None
            if line.dead:
                raise SshRefused("the engine is dead")
            copier = self.backend.copier_session(rental.contract)
            assert rental.copier_key in ("", f"ssh-ed25519 copier-of-{rental.contract}")
            return self.wrap_copier(rental.contract, copier)

        place = VastPlace(
            self.client,
            connect=connect,
            copies=copies,
            public_key=PUBLIC,
            guard_url=URL,
            clock=self.clock,
        )
        hub = Hub()

        async def items(run: Run) -> list[Any]:
            return []

        ctx = Context(
            store=self.store,
            ledger=Ledger(self.store, self.clock, hub),
            place=place,
            book=OfferBook(place, self.store, self.clock),
            clock=self.clock,
            hub=hub,
            files=RunFiles(self.root / "runs"),
            sessions=Sessions(place),
            home=self.home,
            items=items,
            timing=self.timing,
            secrets=RunSecrets(self._look),
            crash_point=self._crash_point,
        )
        engine = self.engine = Engine(ctx)

        def on_listing(listing: Listing) -> None:
            sweep(ctx, listing)
            engine.sweep()

        place.on_asking = lambda: asking(ctx)
        place.on_listing = on_listing
        await engine.start()
        return engine

    async def _look(self, names: list[str], project: Path) -> Found:
        found = Found(missing=[name for name in names if name not in self.secrets])
        for name in names:
            if name in self.secrets:
                found.values[name] = Value(Hidden(self.secrets[name]), ".env")
        found.looked = {name: [".env"] for name in found.missing}
        return found

    def _crash_point(self, name: str) -> None:
        self.points.append(name)
        if name == self.crash_at:
            self.crash_at = None
            self.die(name)

    def die(self, where: str) -> NoReturn:
        """kill -9 from inside the engine: raises Crash; ``until`` begins the next engine."""
        assert self.store is not None and self.line is not None
        self.store.close()  # nothing is written or sent after this, whatever the dying tasks try
        self.line.dead = True
        self.crashed.set()
        raise Crash(where)

    async def crash(self) -> None:
        """kill -9: nothing more is written, nothing more is sent."""
        assert self.engine is not None and self.store is not None
        engine, self.engine = self.engine, None
        self.store.close()
        if self.line is not None:
            self.line.dead = True
        with contextlib.suppress(Exception, Crash):
            await engine.close()
        if self.client is not None:
            await self.client.__aexit__(None, None, None)

    async def restart(self) -> None:
        await self.crash()
        await self.boot()

    async def close(self) -> None:
        if self.engine is not None:
            await self.crash()
        await self.sim.close()

    def start(self, **changes: Any) -> str:
        """A run of 1 GPU, whatever is cheapest, up to $2/h."""
        assert self.engine is not None and self.store is not None
        self._runs += 1
        run_id = f"run{'abcdefgh'[self._runs]}x"
        plan = Plan(
            project=str(self.root),
            command="python train.py",
            query="num_gpus=1",
            cap=2.0,
            image="pytorch/pytorch:latest",
            results_into=str(self.root / "results" / run_id),
        ).but(**changes)
        now = self.clock.time()
        run = Run(id=run_id, plan=plan, created=now, updated=now)
        with self.engine.ctx.ledger.batch() as batch:
            batch.add_run(run, "asked for")
        self.engine.poke(run_id)
        return run_id

    def start_on(self, target: str, **changes: Any) -> str:
        """A run on a machine that was kept, as ``choline run --on`` starts it. Raises as that does."""
        assert self.engine is not None and self.store is not None
        now = self.clock.time()
        rental = find_kept(self.store, target)
        owner = check_free(self.store, rental, now)
        self._runs += 1
        run_id = f"run{'abcdefgh'[self._runs]}x"
        plan = owner.plan.but(on=rental.id, keep_s=0.0, results_into=str(self.root / "results" / run_id))
        run = Run(id=run_id, plan=plan.but(**changes), created=now, updated=now)
        with self.engine.ctx.ledger.batch() as batch:
            hand_over(batch, self.store, run, rental, now)
        self.engine.poke(owner.id)
        self.engine.poke(run_id)
        return run_id

    def stop(self, run: str, **changes: Any) -> None:
        assert self.engine is not None
        self.engine.ctx.ledger.run(run, want="stop", stop_reason="stopped by you", **changes)
        self.engine.poke(run)

    def run(self, run: str) -> Run:
        assert self.store is not None
        return self.store.run(run)

    async def until(self, condition: Callable[[], bool], *, within: float = 86400.0, what: str = "") -> None:
        """Virtual seconds; the engine restarts when it crashed on the way. ``condition`` must not ask what
        time it is (``reach`` waits for that): it is looked at when something may have happened."""
        if not await self._watch(condition, self.clock.monotonic() + within):
            raise AssertionError(f"not within {within:g} virtual seconds: {what}\n{self.story()}")

    async def reach(self, when: float) -> None:
        """Until the monotonic clock shows ``when``; the engine restarts when it crashed on the way."""
        await self._watch(lambda: self.clock.monotonic() >= when, when)

    async def _watch(self, condition: Callable[[], bool], deadline: float) -> bool:
        while True:
            if self.crashed.is_set():
                self.crashed.clear()
                await self.restart()
            if condition():
                return True
            now = self.clock.monotonic()
            if now > deadline:
                return False
            # in whole seconds, until something runs that may change it
            wait = math.ceil(min(self.clock.next_timer(), deadline, now + PATIENCE) - now)
            await asyncio.sleep(max(1.0, wait))

    async def ended(self, run: str, *, within: float = 2 * 86400.0) -> Run:
        await self.until(lambda: not self.run(run).live, within=within, what=f"run {run} ended")
        return self.run(run)

    async def quiet(self, *, within: float = 2 * 86400.0) -> None:
        """Until nothing is live here and nothing bills there."""

        def done() -> bool:
            assert self.store is not None
            return not self.store.busy_runs() and not self.sim.contracts.alive()

        await self.until(done, within=within, what="nothing bills")

    def story(self) -> str:
        assert self.store is not None
        with contextlib.suppress(Exception):
            return "\n".join(f"{e.at:.1f} {e.kind} {e.text}" for e in self.store.events())
        return "(the store is closed)"

    def check(self, run: str) -> None:
        """What must hold after any life of one run: done once, paid for once, at home."""
        jobs = [e.job for e in self.backend.executions]
        assert len(jobs) == len(set(jobs)), f"a job was begun twice: {jobs}\n{self.story()}"
        assert not self.sim.contracts.alive(), self.story()
        assert self.run(run).state is RunState.ENDED


def live(root: Path, story: Callable[[World], Awaitable[None]], **options: Any) -> World:
    """Run one story in its own world, in virtual time."""
    loop = VirtualLoop()
    world: list[World] = []

    async def main() -> None:
        world.append(World(root, VirtualClock(loop), **options))
        await world[0].open()
        try:
            await story(world[0])
        finally:
            await world[0].close()

    run_virtual(main(), loop)
    return world[0]
