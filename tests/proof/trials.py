"""Lives with one certain trap each. Every trial ends with the rules of the random lives and the monitor's;
what it asserts besides is what the trap is about."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from choline_tui.kernel.errors import TransferFailed
from choline_tui.model.run import Outcome, RunState
from choline_tui.simulator.remotes.job_model import JobModel
from tests.proof.ends import Ends, rent_by_hand
from tests.proof.monitor import Monitor
from tests.proof.watched import WatchedSession
from tests.support.world import World, live

__all__ = ["TRIALS", "try_one"]

LISTING = "/api/v1/instances/"


class Scene(NamedTuple):
    world: World
    life: Ends
    monitor: Monitor

    def start(self, **plan: Any) -> str:
        run = self.world.start(**plan)
        self.life.runs.append(run)
        return run

    def ours(self) -> list[Any]:
        """Every contract ever made for us."""
        return [c for c in self.world.sim.contracts.history if c.id not in self.monitor.others]

    async def ends(
        self,
        run: str,
        outcome: Outcome = Outcome.SUCCEEDED,
        *,
        complete: bool = True,
        within: float = 20_000,
    ) -> None:
        ended = await self.world.ended(run, within=within)
        assert ended.outcome is outcome, f"{ended.outcome}: {ended.reason}"
        assert ended.results_complete is complete

    async def running(self, run: str) -> Any:
        await self.world.until(lambda: self.world.run(run).state is RunState.RUNNING, within=20_000)
        return self.ours()[-1]


def is_rent(request: httpx.Request) -> bool:
    return request.method == "PUT" and "/asks/" in request.url.path


def lose_first_rent_answer(scene: Scene) -> None:
    left = [1]

    async def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if is_rent(request) and left[0]:
            left[0] = 0
            raise httpx.ReadError("lost")
        return response

    scene.world.market.after.append(lose)


def lie(scene: Scene, lying: Callable[[], bool], *, total: int) -> None:
    """While ``lying()``, the listing has no rows and says that there are ``total``."""

    async def spoil(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.path != LISTING or not lying():
            return response
        body = {"success": True, "total_instances": total, "instances": [], "instances_found": 0}
        return httpx.Response(200, json=body)

    scene.world.market.after.append(spoil)


async def answer_lost(scene: Scene) -> None:
    """The market rented, and its answer was lost."""
    lose_first_rent_answer(scene)
    await scene.ends(scene.start())
    assert len(scene.ours()) == 1, "the rented contract was used"


async def answer_lost_listing_lags(scene: Scene) -> None:
    """... and the listing does not show the contract for half a minute."""
    lose_first_rent_answer(scene)
    clock = scene.world.clock
    until = clock.monotonic() + 30.0
    lie(scene, lambda: clock.monotonic() < until, total=0)
    await scene.ends(scene.start())
    assert len(scene.ours()) == 1


async def answer_lost_listing_short(scene: Scene) -> None:
    """... and for minutes every listing lacks the rows that it says it has."""
    lose_first_rent_answer(scene)
    clock = scene.world.clock
    until = clock.monotonic() + 300.0
    lie(scene, lambda: clock.monotonic() < until, total=3)
    await scene.ends(scene.start())
    assert len(scene.ours()) == 1


def deaf_once(scene: Scene) -> list[float]:
    """The first destroy is answered, and not done; when it was answered."""
    answered: list[float] = []

    async def deaf(request: httpx.Request) -> httpx.Response | None:
        if request.method == "DELETE" and not answered:
            answered.append(scene.world.clock.monotonic())
            return httpx.Response(200, json={"success": True})
        return None

    scene.world.market.before.append(deaf)
    return answered


async def deaf_destroy(scene: Scene) -> None:
    """A destroy is answered and not done."""
    deaf_once(scene)
    run = scene.start()
    await scene.ends(run)
    await scene.world.until(lambda: not scene.world.store.busy_runs(), within=120)  # type: ignore[union-attr]


async def deaf_destroy_one_empty_listing(scene: Scene) -> None:
    """... and the next listing is whole, and empty."""
    answered, lies = deaf_once(scene), [1]

    def lying() -> bool:
        if answered and lies[0]:
            lies[0] = 0
            return True
        return False

    lie(scene, lying, total=0)
    await scene.ends(scene.start())


async def dearer_contract(scene: Scene) -> None:
    """The contract costs more than was shown, and than the cap."""
    noted = scene.world.sim.contracts.on_rent

    def dearer(contract: Any) -> None:
        noted(contract)
        if len(scene.ours()) == 1:
            contract.gpu_price = 50.0

    scene.world.sim.contracts.on_rent = dearer
    await scene.ends(scene.start())
    assert len(scene.ours()) == 2, "it goes, and another is rented"
    first, second = scene.ours()
    assert first.destroyed - first.created < 300 and second.gpu_price < 2.0
    assert not [e for e in scene.world.backend.executions if e.contract == first.id]


async def dead_after_rent(scene: Scene) -> None:
    """The engine dies between the market's answer and its record."""
    scene.world.crash_at = "after rent"
    await scene.ends(scene.start())
    assert len(scene.ours()) == 1


async def dead_after_submit(scene: Scene) -> None:
    """The engine dies between the machine's answer and its record."""
    scene.world.crash_at = "after submit"
    await scene.ends(scene.start(), within=1500)
    assert len(scene.world.backend.executions) == 1, "the command was begun once"


async def second_contract(scene: Scene) -> None:
    """The market made two contracts of one request, and its answer was lost."""
    world, left = scene.world, [1]

    async def double(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if is_rent(request) and left[0]:
            left[0] = 0
            page = await world.client.search(scene.life.query())  # type: ignore[union-attr]
            url = f"http://127.0.0.1:8070/api/v0/asks/{page.offers[7].id}/"
            again = httpx.Request("PUT", url, headers=request.headers, content=request.content)
            await world.market.sim_only(again)
            raise httpx.ReadError("lost")
        return response

    world.market.after.append(double)
    run = scene.start()
    await world.until(lambda: len(scene.ours()) == 2, within=60)
    await asyncio.sleep(15)
    assert len([c for c in scene.ours() if c.alive]) == 1, "one of the two is destroyed at once"
    await scene.ends(run)
    scene.life.doubled.append(run)  # type: ignore[attr-defined]


async def stopped_in_search(scene: Scene) -> None:
    """The user stops while the search is under way."""

    async def slow(request: httpx.Request) -> httpx.Response | None:
        if "bundles" in request.url.path:
            await asyncio.sleep(20)
        return None

    scene.world.market.before.append(slow)
    run = scene.start()
    await asyncio.sleep(5)
    scene.world.stop(run)
    await scene.ends(run, Outcome.CANCELLED, complete=False)
    await asyncio.sleep(60)
    assert not scene.ours(), "nothing is rented for a run that was stopped"


async def stopped_running(scene: Scene) -> None:
    """The user stops a command that runs."""
    scene.world.model = JobModel(duration_s=5000.0, ignores_term=True, result_files=RESULTS, result_every_s=3)
    run = scene.start()
    await scene.running(run)
    await asyncio.sleep(30)
    scene.world.stop(run)
    await scene.ends(run, Outcome.STOPPED)


async def slow_boot(scene: Scene) -> None:
    """A machine that loads for minutes."""
    await scene.ends(scene.start())
    assert len(scene.ours()) == 1


async def twin_of_another_home(scene: Scene) -> None:
    """Another home on this account has a run of the same id; our rent call was never carried out."""
    world = scene.world
    page = await world.client.search(scene.life.query())  # type: ignore[union-attr]
    number = await rent_by_hand(world, page.offers[-4].id, "choline-otherhm-runbx-1")
    assert number is not None
    scene.life.others.append(number)
    left = [1]

    async def lose(request: httpx.Request) -> httpx.Response | None:
        if is_rent(request) and left[0]:
            left[0] = 0
            raise httpx.ReadError("lost")
        return None

    world.market.before.append(lose)
    run = scene.start()
    assert run == "runbx"
    await scene.ends(run)


async def longer_than_the_lease(scene: Scene) -> None:
    """A command that takes five leases."""
    scene.world.model = JobModel(duration_s=3000.0, result_files=RESULTS)
    await scene.ends(scene.start(lease_s=600.0))


async def kept_a_while(scene: Scene) -> None:
    """A machine that is to be kept for five minutes."""
    run = scene.start(keep_s=300.0)
    await scene.ends(run)
    ended = scene.world.run(run).ended or 0.0
    await scene.world.until(lambda: not scene.world.store.busy_runs(), within=3600)  # type: ignore[union-attr]
    kept = scene.ours()[0].destroyed - ended
    assert 295 <= kept <= 400, f"kept for {kept:.0f} s"


async def results_fail_twice(scene: Scene) -> None:
    """The last copy of the results fails twice before it works."""
    fails = [2]

    async def between(call: str, done: bool, contract: int) -> None:
        if call == "fetch" and not done and fails[0]:
            fails[0] -= 1
            raise TransferFailed("model.bin differs from the machine's own list")

    scene.world.wrap_session = lambda contract, session: WatchedSession(session, contract, between)
    await scene.ends(scene.start())


async def away_past_the_lease(scene: Scene) -> None:
    """Home is away for hours while the command runs: the machine stops itself and keeps the results."""
    world = scene.world
    world.model = JobModel(duration_s=5000.0, result_files=RESULTS)
    run = scene.start(lease_s=1200.0, grace_s=600.0, results_every_s=1e6)
    contract = await scene.running(run)
    await asyncio.sleep(400)
    await world.crash()
    await asyncio.sleep(3 * 3600)
    assert contract.alive and not contract.on, "it keeps its disk, and no GPU"
    await world.boot()
    await scene.ends(run, Outcome.STOPPED)


async def never_back(scene: Scene) -> None:
    """Home dies while the machine boots, and is away for three hours."""
    world = scene.world
    run = scene.start(max_life_s=3600.0)
    await world.until(lambda: bool(scene.ours()), within=60)
    await world.crash()
    await asyncio.sleep(3 * 3600)
    assert not any(c.on for c in scene.ours()), "no GPU bills for a home that is away"
    await world.boot()
    await world.ended(run, within=20_000)


async def forgotten_once(scene: Scene) -> None:
    """One listing forgets a machine that works for us."""
    scene.world.model = JobModel(duration_s=600.0, result_files=RESULTS)
    run = scene.start()
    await scene.running(run)
    await asyncio.sleep(60)
    lies = [1]

    def lying() -> bool:
        lies[0] -= 1
        return lies[0] >= 0

    lie(scene, lying, total=0)
    await scene.ends(run)
    assert len(scene.ours()) == 1, "the run stays where it is"


async def restarted_in_search(scene: Scene) -> None:
    """The engine is killed and begun again while its search is under way."""
    slow = [1]

    async def late(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if "bundles" in request.url.path and slow[0]:
            slow[0] = 0
            await asyncio.sleep(20)
        return response

    scene.world.market.after.append(late)
    run = scene.start()
    await asyncio.sleep(5)
    await scene.world.restart()
    await scene.ends(run)
    assert len(scene.ours()) == 1


RESULTS = {"model.bin": b"weights" * 100, "keep/step.txt": b"20"}

Trial = Callable[[Scene], Awaitable[None]]
TRIALS: dict[str, Trial] = {
    trial.__name__: trial
    for trial in (
        answer_lost, answer_lost_listing_lags, answer_lost_listing_short, deaf_destroy,
        deaf_destroy_one_empty_listing, dearer_contract, dead_after_rent, dead_after_submit,
        second_contract, stopped_in_search, stopped_running, slow_boot, twin_of_another_home,
        longer_than_the_lease, kept_a_while, results_fail_twice, away_past_the_lease, never_back,
        forgotten_once, restarted_in_search,
    )
}  # fmt: skip


class TrialLife(Ends):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.doubled: list[str] = []

    def _check_run(self, run_id: str) -> None:
        if run_id in self.doubled:
            # the market's doing: all but one under the label must be gone, which check() has seen
            return
        super()._check_run(run_id)


def try_one(root: Path, name: str, trials: Mapping[str, Trial] = TRIALS) -> None:
    """Raises AssertionError, with the life's events as a note, when a rule was broken."""

    async def story(world: World) -> None:
        world.model = JobModel(duration_s=20.0, log_lines=["a", "b"], result_files=RESULTS)
        life = TrialLife(world)
        await life.strangers()
        monitor = Monitor(world)
        monitor.others |= set(life.others)
        try:
            await trials[name](Scene(world, life, monitor))
            await world.until(lambda: not world.store.busy_runs(), within=86400, what="busy")  # type: ignore[union-attr]
            await asyncio.sleep(700)
            assert world.engine is not None
            await world.engine.ctx.place.look(0.0)
            await asyncio.sleep(60)
            monitor.check()
            life.check()
        except BaseException as error:
            error.add_note(f"{name}\n{world.story()}")
            raise

    live(root, story, seed=5, boot=200.0 if name == "slow_boot" else 20.0, offers=30)
