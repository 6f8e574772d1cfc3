"""One rent-to-destroy life, recorded, and then lived again once for every way in which one of its calls
can go wrong: every HTTP request, every call on a machine and every write of the store, each with every
fault that can hit it, and with the engine dead just before and just after.

The recording numbers the calls of each kind; a *combination* is (story, kind, number, fault). All else in
those lives is as recorded, so each must end as the recorded one did, within hours, with nothing billing.
"""

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from choline_tui.kernel.errors import RemoteError, SshDropped, SshTimeout, StoreError, TransferFailed
from choline_tui.model.run import Outcome, RunState
from choline_tui.simulator.remotes.job_model import JobModel
from choline_tui.store import Store
from tests.proof.ends import Ends
from tests.proof.monitor import Monitor
from tests.proof.watched import WatchedSession
from tests.support.world import World, live

__all__ = ["STORIES", "Combination", "combinations", "live_one", "record"]

HTTP = [
    "crash before", "crash after", "refused", "lost before", "lost after", "500 before", "502 after",
    "html after", "cut after", "empty after", "429 before", "slow after", "timeout after",
]  # fmt: skip
LISTING = ["no contracts", "too few contracts"]
SESSION = [
    "crash before", "crash after", "dropped before", "dropped after", "timeout before", "failed before",
    "failed after", "slow after", "all connections cut", "container restarts", "market stops",
]  # fmt: skip
LOST_MACHINE = ["destroyed elsewhere"]
STORE = ["crash before", "crash after", "disk full once", "disk full for a minute"]
AWAY = ["", " for three hours"]
"""after a crash home comes back at once, or late"""


class Combination(NamedTuple):
    story: str
    kind: str
    """http, session or store"""
    number: int
    call: str
    fault: str

    def __str__(self) -> str:
        return f"{self.story}: {self.kind} call {self.number} ({self.call}): {self.fault}"

    @property
    def hash(self) -> int:
        return hashlib.sha256(str(self).encode()).digest()[0]


@dataclass(frozen=True)
class Story:
    """What the user asks for and how it ends when nothing goes wrong."""

    outcome: Outcome
    plan: dict[str, Any] = field(default_factory=dict)
    job_s: float = 20.0
    stop: bool = False
    """the user stops it while it runs"""
    dear: bool = False
    """the first contract costs more than was shown: destroyed, with evidence, and the next offer taken"""
    stands: bool = False
    """the market stops the machine in mid-run"""


STORIES = {
    "plain": Story(Outcome.SUCCEEDED),
    "stopped": Story(Outcome.STOPPED, job_s=5000.0, stop=True),
    "dear": Story(Outcome.SUCCEEDED, dear=True),
    "kept": Story(Outcome.SUCCEEDED, {"keep_s": 60.0}),
    "stands": Story(Outcome.SUCCEEDED, stands=True),
}


class Script:
    """Counts the calls of a life; at the chosen one does what the combination says."""

    def __init__(self, world: World, life: Ends, chosen: Combination | None) -> None:
        self.world, self.life, self.chosen = world, life, chosen
        self.calls: dict[str, list[str]] = {"http": [], "session": [], "store": []}
        self.on = False
        self.done = False
        self.away = 0.0
        self._pending: tuple[str, str] | None = None
        """a call on a machine that goes wrong once it is done"""
        self._honest = world.market.handle_async_request
        world.market.handle_async_request = self._http  # type: ignore[method-assign]
        world.wrap_session = lambda contract, session: WatchedSession(session, contract, self._session)
        world.on_boot.append(self._opened)
        assert world.store is not None
        self._opened(world.store)

    def _hit(self, kind: str, call: str) -> str:
        """The fault for this call, or ''."""
        if not self.on:
            return ""
        self.calls[kind].append(call)
        chosen = self.chosen
        if chosen is None or self.done or chosen.kind != kind or chosen.number != len(self.calls[kind]):
            return ""
        assert chosen.call == call, f"the life is another one than recorded: {call} instead of {chosen}"
        self.done = True
        return chosen.fault

    def _die(self, fault: str) -> None:
        self.away = 3 * 3600.0 if fault.endswith("three hours") else 0.0
        self.world.die(fault)

    async def _http(self, request: httpx.Request) -> httpx.Response:
        path = re.sub(r"/[0-9]+/", "/N/", re.sub(r"^/results/.*", "/results/...", request.url.path))
        fault = self._hit("http", f"{request.method} {path}")
        if fault.startswith("crash before"):
            self._die(fault)
        if fault == "refused":
            raise httpx.ConnectError("refused")
        if fault == "lost before":
            raise httpx.ReadError("lost")
        if fault == "500 before":
            return httpx.Response(500, text="oops")
        if fault == "429 before":
            body = {"success": False, "error": "rate_limit", "msg": "threshold=5.0"}
            return httpx.Response(429, json=body)
        response = await self._honest(request)
        content = response.content
        if fault.startswith("crash after"):
            self._die(fault)
        if fault == "lost after":
            raise httpx.ReadError("lost")
        if fault == "502 after":
            return httpx.Response(502, text="<html>bad gateway</html>")
        if fault == "html after":
            return httpx.Response(200, text="<html>maintenance</html>")
        if fault == "cut after":
            return httpx.Response(response.status_code, content=content[: len(content) // 2])
        if fault == "empty after":
            return httpx.Response(response.status_code, content=b"")
        if fault == "slow after":
            await asyncio.sleep(25.0)
        if fault == "timeout after":
            await asyncio.sleep(60.0)
            raise httpx.ReadTimeout("no answer")
        if fault in LISTING:
            body = json.loads(content)
            body["instances"], body["instances_found"] = [], 0
            if fault == "no contracts":
                body["total_instances"] = 0
            return httpx.Response(200, json=body)
        return response

    async def _session(self, call: str, done: bool, contract: int) -> None:
        if not done:
            fault = self._hit("session", call)
            if " after" in fault:
                self._pending, fault = (call, fault), ""
        elif self._pending and self._pending[0] == call:
            fault, self._pending = self._pending[1], None
        else:
            return
        if fault.startswith("crash"):
            self._die(fault)
        if fault.startswith("dropped"):
            raise SshDropped("the connection was lost")
        if fault.startswith("timeout"):
            await asyncio.sleep(30.0)
            raise SshTimeout("no answer")
        if fault.startswith("failed"):
            raise TransferFailed("it did not work") if call in ("send", "fetch") else RemoteError("no")
        if fault == "slow after":
            await asyncio.sleep(45.0)
        there = self.world.sim.contracts.get(contract)
        if fault == "all connections cut":
            await self.world.backend.drop_ssh(contract)
        elif there is not None and fault == "container restarts":
            self.world.sim.contracts.reboot(there)
        elif there is not None and fault == "market stops":
            self.world.sim.contracts.stop(there)
        elif there is not None and fault == "destroyed elsewhere":
            self.life.touched.add(contract)
            self.world.sim.contracts.destroy(there)

    def _opened(self, store: Store) -> None:
        honest = store.commit
        full_until = -1.0

        def commit(*records: Any, **more: Any) -> None:
            nonlocal full_until
            fault = self._hit("store", "+".join(type(r).__name__ for r in records))
            now = self.world.clock.monotonic()
            if fault.startswith("disk full"):
                full_until = now + (60.0 if fault.endswith("minute") else 0.0)
            if fault.startswith("disk full") or now < full_until:
                raise StoreError("the store could not be written: database or disk is full")
            if fault.startswith("crash before"):
                self._die(fault)
            honest(*records, **more)
            if fault.startswith("crash after"):
                self._die(fault)

        store.commit = commit  # type: ignore[method-assign]


async def _life(world: World, script: Script, life: Ends, story: Story) -> None:
    async def until(condition: Callable[[], bool], within: float, what: str) -> None:
        def there() -> bool:
            return world.crashed.is_set() or condition()

        deadline = world.clock.monotonic() + within
        while True:
            if world.crashed.is_set() and script.away:
                away, script.away = script.away, 0.0
                await world.crash()
                world.crashed.clear()
                await asyncio.sleep(away)
                await world.boot()
            left = deadline - world.clock.monotonic()
            if world.crashed.is_set() and not script.away:
                await world.until(lambda: True)
            await world.until(there, within=max(1.0, left), what=what)
            if not world.crashed.is_set():
                return

    if story.dear:

        def dearer(contract: Any) -> None:
            noted(contract)
            if len(world.sim.contracts.history) == 3:  # two are somebody else's
                contract.gpu_price = 50.0

        noted = world.sim.contracts.on_rent
        world.sim.contracts.on_rent = dearer
    assert world.engine is not None
    world.engine.ctx.place._ready = False  # type: ignore[attr-defined]  # so that the key is looked for as well
    script.on = True
    # grace and life short enough that three hours away are a long time
    run = world.start(**({"max_life_s": 7200.0, "lease_s": 1800.0, "grace_s": 900.0} | story.plan))
    life.runs.append(run)

    def begun() -> bool:
        return world.run(run).state is RunState.RUNNING or not world.run(run).live

    if story.stop or story.stands:
        await until(begun, 6 * 3600.0, "it runs")
        await asyncio.sleep(5.0)
        await until(lambda: True, 60.0, "the engine is back")
    if story.stop and world.run(run).live:
        # the person's own write, not the engine's: it is not lived with a fault
        script.on = False
        with contextlib.suppress(StoreError):
            world.stop(run)
        script.on = True
    if story.stands:
        for contract in world.sim.contracts.alive():
            if contract.id not in life.others:
                world.sim.contracts.stop(contract)
    await until(lambda: not world.run(run).live, 12 * 3600.0, f"run {run} ended")
    assert world.store is not None
    await until(lambda: not world.store.busy_runs(), 3600.0, "nothing is busy")  # type: ignore[union-attr]
    script.on = False


def live_one(root: Path, name: str, chosen: Combination | None = None) -> Script:
    """Live a story, with one thing going wrong; raises AssertionError when a rule was broken."""
    story = STORIES[name]
    kept: list[Script] = []

    async def main(world: World) -> None:
        world.model = JobModel(
            duration_s=story.job_s,
            log_lines=["a", "b"],
            result_files={"model.bin": b"weights" * 100, "keep/step.txt": b"20"},
        )
        life = Ends(world)
        await life.strangers()
        monitor = Monitor(world)
        monitor.others |= set(life.others)
        script = Script(world, life, chosen)
        kept.append(script)
        try:
            await _life(world, script, life, story)
            assert chosen is None or script.done, "the chosen call was never made"
            assert world.engine is not None
            await world.engine.ctx.place.look(0.0)
            await asyncio.sleep(60)
            monitor.check()
            life.check()
            _as_promised(world, life, story, chosen)
        except BaseException as error:
            error.add_note(f"{chosen}\n{world.story()}")
            raise

    live(root, main, seed=3, boot=6.0, offers=25)
    return kept[0]


def _as_promised(world: World, life: Ends, story: Story, chosen: Combination | None) -> None:
    run = world.run(life.runs[0])
    late = chosen is not None and chosen.fault.endswith("three hours")
    gone = bool(life.touched)
    made = [c for c in world.sim.contracts.history if c.id not in life.others]
    expected = {story.outcome}
    if late or gone:
        expected |= {Outcome.STOPPED, Outcome.ERROR}  # by the lease, or with its machine
    if story.stop:
        expected |= {Outcome.CANCELLED}
    assert run.outcome in expected, f"{run.outcome}: {run.reason}"
    if not (late or gone or run.outcome is Outcome.CANCELLED):
        assert run.results_complete
    hours = sum((c.destroyed or world.clock.time()) - c.created for c in made) / 3600
    assert len(made) <= (3 if story.dear else 2), "a single fault costs at most one contract more"
    if not (late or gone):
        assert hours <= 1.5, f"a run of seconds had contracts for {hours:.1f} h"


def record(root: Path, name: str) -> dict[str, list[str]]:
    return live_one(root, name).calls


def combinations(name: str, calls: dict[str, list[str]]) -> Iterator[Combination]:
    for kind, faults in (("http", HTTP), ("session", [*SESSION, *LOST_MACHINE]), ("store", STORE)):
        for number, call in enumerate(calls[kind], 1):
            for fault in [*faults, *(LISTING if call == "GET /api/v1/instances/" else [])]:
                if kind == "store" and number == 1:
                    continue  # the request for the run itself, which the person sees fail
                for away in AWAY if fault.startswith("crash") else [""]:
                    yield Combination(name, kind, number, call, fault + away)
