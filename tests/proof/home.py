"""One person's computer: a clock that stops while it sleeps, a network that may be lost, an engine that may
be killed between any two things it does, and a market whose answers may be spoiled on their way here.
"""

import asyncio
import contextlib
import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from choline_tui.engine.api import Api
from choline_tui.kernel.errors import RemoteError, SshDropped, SshTimeout, StoreError, TransferFailed
from choline_tui.kernel.protocol import JobSpec, Lease, RemoteStatus
from choline_tui.kernel.session import HostCopier, RemoteSession
from choline_tui.simulator.remotes.job_model import JobModel
from choline_tui.simulator.spoil import SPOILING, Figures
from choline_tui.simulator.virtual import VirtualClock
from choline_tui.simulator.wire import Response
from choline_tui.store import Store
from tests.proof.watched import WatchedCopier, WatchedSession
from tests.support.world import Crash, Market, World

__all__ = ["Home", "HomeClock", "route"]


class HomeClock(VirtualClock):
    """Stands still while the computer sleeps; its wall clock can be set wrong, and the world's is not."""

    def __init__(self, base: VirtualClock) -> None:
        super().__init__(base._loop, base._offset)
        self.base = base
        self.awake = asyncio.Event()
        self.awake.set()
        self._slept = 0.0
        self._asleep_since = 0.0

    def monotonic(self) -> float:
        now = self.base.monotonic() if self.awake.is_set() else self._asleep_since
        return now - self._slept

    async def sleep(self, seconds: float) -> None:
        end = self.monotonic() + max(0.0, seconds)
        await asyncio.sleep(0)
        while True:
            await self.awake.wait()
            left = end - self.monotonic()
            if left <= 1e-9:
                return
            await asyncio.sleep(left)

    def close_lid(self) -> None:
        self._asleep_since = self.base.monotonic()
        self.awake.clear()

    def open_lid(self) -> None:
        self._slept += self.base.monotonic() - self._asleep_since
        self.awake.set()


ROUTES = {
    ("PUT", "asks"): "rent",
    ("POST", "bundles"): "search",
    ("DELETE", "instances"): "destroy",
    ("PUT", "instances"): "state",
    ("GET", "instances"): "listing",
}


def route(request: httpx.Request) -> str:
    """What a request is for, in a word."""
    parts = request.url.path.strip("/").split("/")
    return ROUTES.get((request.method, parts[2] if len(parts) > 2 else ""), "other")


class Home(World):
    """``World`` with more that can go wrong. ``beside``: another home, whose market this one uses."""

    def __init__(
        self,
        root: Path,
        clock: VirtualClock,
        *,
        name: str = "testhome",
        beside: "Home | None" = None,
        **options: Any,
    ) -> None:
        if beside is None:
            super().__init__(root, clock, **options)
        else:
            self._share(root, beside)
        self.home = name
        self.wall = clock
        self.clock: HomeClock = HomeClock(clock)
        self.models: dict[str, JobModel] = {}
        self.away = 0.0
        self.offline = False
        self.full = False
        """nothing can be written here"""
        self.armed: tuple[str, int, float] | None = None
        """touch, how many of them are left, s away"""
        self.failing: tuple[str, str, int] | None = None
        """call on a machine, how, how many times"""
        self.deaf, self.deaf_until = 0, 0.0
        self.double: bool | None = None
        self.rent_lost: tuple[bool, float] | None = None
        self.lag: dict[int, float] = {}
        """contract: until when (steady clock) the listing does not show it"""
        self.forget: tuple[str, float] | None = None
        self.renewed: Callable[[int, Lease], None] = lambda contract, lease: None
        self._apart: list[list[float]] = []
        """[from, until] (steady clock): when home could not reach its machines"""
        self._reviver: asyncio.Task[None] | None = None
        self.market.before.append(self._sent)
        self.market.after.append(self._answered)
        self.wrap_session = self._wrap
        self.wrap_copier = self._wrap_copier
        self.on_boot.append(self._opened)

    def _share(self, root: Path, beside: "Home") -> None:
        self.root = root
        self.model = beside.model
        self.backend, self.sim = beside.backend, beside.sim
        self.market = Market(self.sim)
        self.timing = beside.timing
        self.secrets = {}
        self.rng = random.Random(0)
        self.crash_at = None
        self.points = []
        self.engine = self.store = self.client = self.line = None
        self.crashed = asyncio.Event()
        self.on_boot = []
        self._runs = 0
        self.ration = 500

    def _model_for(self, spec: JobSpec) -> JobModel:
        return self.models.get(spec.run, self.model)

    @property
    def up(self) -> bool:
        """Its engine runs, and can be asked."""
        return self.engine is not None and not self.crashed.is_set() and self.clock.awake.is_set()

    def api(self) -> Api:
        assert self.engine is not None
        nothing: Any = None
        return Api(self.engine, self.engine.ctx.place, nothing, {}, {}, lambda r: ("", ""), lambda: None)  # type: ignore[arg-type]

    # ---------------------------------------------------------------------------- the engine's life

    async def begin(self, ration: int) -> None:
        self.ration = ration
        self._reviver = asyncio.create_task(self._revive(), name=f"reviver of {self.home}")
        await self._boot_again()

    async def _revive(self) -> None:
        """Whenever the engine was killed, begin another one, when the person is back."""
        while True:
            await self.crashed.wait()
            away, self.away = self.away, 0.0
            with self.apart():
                await self.crash()
                self.crashed.clear()
                await self.clock.awake.wait()
                await asyncio.sleep(away)
                await self._boot_again()

    async def _boot_again(self) -> None:
        while True:
            await self.clock.awake.wait()
            try:
                engine = await self.boot()
            except Crash:
                # killed while it began: once more
                self.crashed.clear()
                await self.crash()
                continue
            except StoreError:
                # its disk is full: somebody tries again
                await self.crash()
                await asyncio.sleep(5.0)
                continue
            engine.ctx.book.ration = self.ration
            engine.ctx.book.reserve = min(engine.ctx.book.reserve, self.ration // 5)
            return

    def kill(self, away: float) -> None:
        """kill -9 from outside: the reviver does it, and begins the next."""
        if self.engine is None or self.crashed.is_set():
            return
        self.away = away
        self.crashed.set()

    async def end(self) -> None:
        """After the life: the engine goes, and nothing comes in its place. Raises what its begin raised."""
        if self._reviver is not None:
            if not self._reviver.done():
                self._reviver.cancel()
            failed = (await asyncio.gather(self._reviver, return_exceptions=True))[0]
            if isinstance(failed, Exception):
                raise failed
        if self.engine is not None:
            await self.crash()

    def _touch(self, name: str) -> None:
        if self.armed is None or self.armed[0] != name or self.crashed.is_set() or self.engine is None:
            return
        touch, left, away = self.armed
        if left > 1:
            self.armed = (touch, left - 1, away)
            return
        self.armed = None
        self.away = away
        self.die(name)

    async def sleep(self, seconds: float) -> None:
        """The lid is closed for so long."""
        with self.apart():
            self.clock.close_lid()
            await asyncio.sleep(seconds)
            await self._cut()
            self.clock.open_lid()

    async def lose_network(self, seconds: float) -> None:
        with self.apart():
            self.offline = True
            await self._cut()
            await asyncio.sleep(seconds)
            self.offline = False

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Meanwhile home cannot reach its machines, and a little longer: who failed for long asks rarely."""
        began = self.wall.monotonic()
        this = [began, math.inf]
        self._apart.append(this)
        yield
        this[1] = began + 1.5 * (self.wall.monotonic() - began) + 10.0

    def was_apart(self, begin: float, end: float) -> float:
        """s between two moments in which home could not reach its machines; twice counts twice."""
        return sum(max(0.0, min(b, end) - max(a, begin)) for a, b in self._apart)

    def mine(self) -> list[Any]:
        """Contracts of this home that are there, oldest first."""
        label = f"choline-{self.home}-"
        return [c for c in self.sim.contracts.alive() if (c.label or "").startswith(label)]

    async def _cut(self) -> None:
        for contract in self.mine():
            with contextlib.suppress(Exception):
                await self.backend.drop_ssh(contract.id)

    # ------------------------------------------------------------------------------------- the market

    async def _sent(self, request: httpx.Request) -> httpx.Response | None:
        await self.clock.awake.wait()
        if self.offline:
            raise httpx.ConnectError("no network")
        word = route(request)
        self._touch(f"http before {word}")
        if word == "rent" and self.rent_lost is not None and not self.rent_lost[0]:
            self.rent_lost = None
            raise httpx.ReadError("lost before it arrived")
        if word == "destroy" and self.deaf and self.wall.monotonic() < self.deaf_until:
            self.deaf -= 1
            return httpx.Response(200, json={"success": True})
        return None

    async def _answered(self, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        await self.clock.awake.wait()
        if self.offline:
            raise httpx.ReadError("the network was lost")
        word = route(request)
        self._touch(f"http after {word}")
        if word == "rent" and response.status_code == 200:
            await self._rented(request)
        if word == "listing":
            response = self._listing(response)
        return response

    async def _rented(self, request: httpx.Request) -> None:
        if self.double is not None:
            lost, self.double = self.double, None
            rows = sorted(self.sim.market.rows(), key=lambda row: row["id"])
            if rows:
                url = request.url.copy_with(path=f"/api/v0/asks/{rows[len(rows) // 2]['id']}/")
                await self.market.sim_only(
                    httpx.Request("PUT", url, headers=request.headers, content=request.content)
                )
            if lost:
                raise httpx.ReadError("lost")
        if self.rent_lost is not None:
            _, lag = self.rent_lost
            self.rent_lost = None
            for contract in self.sim.contracts.history[-1:]:
                self.lag[contract.id] = self.wall.monotonic() + lag
            raise httpx.ReadError("lost")

    def _listing(self, response: httpx.Response) -> httpx.Response:
        """What a listing that lags or forgets shows."""
        now = self.wall.monotonic()
        if self.forget is not None and now >= self.forget[1]:
            self.forget = None
        late = {number for number, until in self.lag.items() if now < until}
        if self.forget is None and not late:
            return response
        spoiled = Response(response.status_code, dict(response.headers), response.content)
        if self.forget is not None and self.forget[0] == "total-only":
            # a page that agrees with itself, and not with the total
            return _listed(response, lambda number: False, honest=True)
        if self.forget is not None:
            spoiled = SPOILING[self.forget[0]](spoiled, Figures(rows=50))
        elif response.status_code == 200:
            return _listed(response, lambda number: number not in late)
        return httpx.Response(spoiled.status, content=spoiled.body)

    # ----------------------------------------------------------------------------------- the machines

    def _wrap(self, contract: int, session: RemoteSession) -> RemoteSession:
        if self.offline or not self.clock.awake.is_set():
            raise SshTimeout("no network")
        found: Any = HomeSession(self, contract, session)
        return found  # type: ignore[no-any-return]

    def _wrap_copier(self, contract: int, copier: HostCopier) -> HostCopier:
        if self.offline or not self.clock.awake.is_set():
            raise SshTimeout("no network")
        found: Any = WatchedCopier(copier, contract, self.between)
        return found  # type: ignore[no-any-return]

    async def between(self, call: str, done: bool, contract: int) -> None:
        await self.clock.awake.wait()
        if self.offline:
            raise SshDropped("the network was lost")
        self._touch(f"session {'after' if done else 'before'} {call}")
        if self.failing is None or self.failing[0] != call:
            return
        _, how, left = self.failing
        if how.endswith("after") != done:
            return
        self.failing = (call, how, left - 1) if left > 1 else None
        if how.startswith("dropped"):
            raise SshDropped("the connection was lost")
        if how.startswith("failed"):
            raise TransferFailed("it did not work") if call in ("send", "fetch") else RemoteError("no")
        await asyncio.sleep(30.0)
        if how == "timeout":
            raise SshTimeout("no answer")

    # -------------------------------------------------------------------------------------- the store

    def _opened(self, store: Store) -> None:
        # what lives are about is kill -9, which SQLite survives without; a power cut needs a real disk
        store._db.execute("PRAGMA synchronous = OFF")
        honest = store.commit

        def commit(*records: Any, **more: Any) -> None:
            if self.full:
                raise StoreError("the store could not be written: database or disk is full")
            self._touch("store before")
            honest(*records, **more)
            self._touch("store after")

        store.commit = commit  # type: ignore[method-assign]


def _listed(
    response: httpx.Response, shows: Callable[[int], bool], *, honest: bool = False
) -> httpx.Response:
    """A listing without some of its rows; ``honest``: the total still counts them."""
    try:
        body = json.loads(response.content)
        every = body["instances"]
        rows = [row for row in every if shows(row["id"])]
        total = body["total_instances"] - (0 if honest else len(every) - len(rows))
    except (ValueError, KeyError, TypeError):
        return response  # spoiled already
    body |= {"instances": rows, "instances_found": len(rows), "total_instances": total}
    return httpx.Response(response.status_code, json=body)


class HomeSession(WatchedSession):
    """A session whose leases are looked at."""

    def __init__(self, home: Home, contract: int, inner: RemoteSession) -> None:
        super().__init__(inner, contract, home.between)
        self._home = home

    async def renew(self, lease: Lease) -> None:
        await self._between("renew", False, self._contract)
        self._home.renewed(self._contract, lease)
        await self._inner.renew(lease)
        await self._between("renew", True, self._contract)

    async def prepare(self, run: str, lease: Lease) -> RemoteStatus:
        await self._between("prepare", False, self._contract)
        self._home.renewed(self._contract, lease)
        status = await self._inner.prepare(run, lease)
        await self._between("prepare", True, self._contract)
        return status
