"""Lives in which runs go on, one after another, on a machine that was kept: each with one certain trap, as
the trials, and with the same rules and monitor."""

import asyncio
from typing import Any

from choline_tui.kernel.errors import UsageError
from choline_tui.model.run import Attempt, Outcome, Rental, RentalState
from choline_tui.simulator.remotes.job_model import JobModel
from tests.proof.trials import RESULTS, Scene, Trial

__all__ = ["REUSE"]


def on(scene: Scene, target: str, **plan: Any) -> str:
    run = scene.world.start_on(target, **plan)
    scene.life.runs.append(run)
    return run


async def kept(scene: Scene, seconds: float = 1800.0, **plan: Any) -> str:
    """A run that has ended, whose machine is kept."""
    run = scene.start(keep_s=seconds, **plan)
    await scene.ends(run)
    assert the_rental(scene, run).state is RentalState.HELD
    return run


def the_rental(scene: Scene, run: str) -> Rental:
    assert scene.world.store is not None
    return scene.world.store.rentals(run=run)[-1]


def attempts(scene: Scene, run: str) -> list[Attempt]:
    assert scene.world.store is not None
    return scene.world.store.attempts(run)


def refused(scene: Scene, target: str) -> str:
    """Why it is not taken; nothing must have been written of it."""
    assert scene.world.store is not None
    before = scene.world.store.run_ids()
    try:
        scene.world.start_on(target)
    except UsageError as error:
        assert scene.world.store.run_ids() == before
        return error.message
    raise AssertionError(f"{target} was taken")


async def one_after_another(scene: Scene) -> None:
    """Three runs on one machine: rented once, each pays its part of the cost, and the sum is the bill."""
    world = scene.world
    first = await kept(scene)
    await asyncio.sleep(300)
    second = on(scene, first, keep_s=600.0)
    await scene.ends(second)
    third = on(scene, str(scene.ours()[0].id))
    await scene.ends(third)
    await world.until(lambda: not world.store.busy_runs(), within=3600)  # type: ignore[union-attr]
    assert world.store is not None and len(scene.ours()) == 1
    rental, now = the_rental(scene, third), world.clock.time()
    assert [stay.run for stay in rental.past] == [first, second]
    parts = [rental.cost_of(run, now) for run in (first, second, third)]
    assert min(parts) > 0 and abs(sum(parts) - rental.cost_until(now)) < 1e-9
    waited = [world.run(run).created for run in (second, third)]
    assert [stay.until for stay in rental.past] == waited, "each pays until the next one has it"
    contract = scene.ours()[0]
    billed = (contract.destroyed - contract.created) * (rental.price or 0.0) / 3600
    assert abs(sum(parts) - billed) < 0.02 * billed, f"{parts} of {billed}"
    assert [e.contract for e in world.backend.executions] == [scene.ours()[0].id] * 3


async def dead_after_handing_over(scene: Scene) -> None:
    """The engine is killed as soon as the machine has its new run."""
    first = await kept(scene)
    second = on(scene, first)
    await scene.world.restart()
    await scene.ends(second)
    assert len(scene.ours()) == 1 and len(attempts(scene, second)) == 1


async def dead_after_submitting_again(scene: Scene) -> None:
    """The engine dies between the kept machine's answer and its record."""
    first = await kept(scene)
    scene.world.crash_at = "after submit"
    await scene.ends(on(scene, first))
    assert len(scene.world.backend.executions) == 2, "each command was begun once"


async def busy(scene: Scene) -> None:
    """A machine with a run on it, and one that another run has just taken, takes no other."""
    first = scene.start(keep_s=1800.0)
    await scene.running(first)
    assert "busy" in refused(scene, first)
    await scene.ends(first)
    second = on(scene, first)
    assert "busy" in refused(scene, first) and "busy" in refused(scene, second)
    await scene.ends(second)
    assert len(scene.ours()) == 1


async def too_late(scene: Scene) -> None:
    """A machine goes by itself when its time is over, and cannot be used any more."""
    first = await kept(scene, 300.0)
    contract = scene.ours()[0]
    await scene.world.until(lambda: bool(contract.destroyed), within=3600)
    assert refused(scene, first)
    late = contract.destroyed - (scene.world.run(first).ended or 0.0)
    assert 300 <= late < 310, f"kept for {late:.0f} s"


async def stopped_at_once(scene: Scene) -> None:
    """The second run is stopped before it began: the machine goes."""
    first = await kept(scene)
    second = on(scene, first, keep_s=1800.0)
    scene.world.stop(second)
    await scene.ends(second, Outcome.CANCELLED, complete=False)
    await scene.world.until(lambda: not scene.world.sim.contracts.alive() or all(
        not c.alive for c in scene.ours()), within=600)  # fmt: skip


async def gone_under_it(scene: Scene) -> None:
    """The host takes the kept machine away under the second run: nothing is rented in its place."""
    first = await kept(scene)
    scene.world.model = JobModel(duration_s=5000.0, result_files=RESULTS)
    second = on(scene, first)
    contract = await scene.running(second)
    scene.life.touched.add(contract.id)
    scene.world.sim.contracts.destroy(contract)
    ended = await scene.world.ended(second, within=20_000)
    assert ended.outcome is Outcome.ERROR and "no longer there" in ended.reason, ended.reason
    assert len(scene.ours()) == 1, "--on rents nothing"


async def away_past_the_lease_again(scene: Scene) -> None:
    """Home goes away under the second run. The first one's results are home, this one's are not: the machine
    may stop itself, and not destroy itself."""
    world = scene.world
    first = await kept(scene, 900.0, lease_s=1200.0, grace_s=600.0)
    world.model = JobModel(duration_s=9000.0, result_files=RESULTS)
    second = on(scene, first, results_every_s=1e6)
    contract = await scene.running(second)
    await asyncio.sleep(60)
    await world.crash()
    await asyncio.sleep(3 * 3600)
    assert contract.alive and not contract.on, "it keeps its disk, and no GPU"
    await world.boot()
    await scene.ends(second, Outcome.STOPPED)


async def longer_than_the_first_life(scene: Scene) -> None:
    """The second run has its own longest life: the guard that was rented with the first one's is told."""
    first = await kept(scene, 1500.0, max_life_s=2400.0)
    await asyncio.sleep(1200)
    scene.world.model = JobModel(duration_s=2500.0, result_files=RESULTS)
    await scene.ends(on(scene, first, max_life_s=7200.0))


async def forgotten_as_it_goes_over(scene: Scene) -> None:
    """Listings that lack the machine while it goes from one run to the other count once each."""
    world = scene.world
    first = await kept(scene)
    contract, lies = scene.ours()[0], [2]

    async def slow(request: Any, response: Any) -> Any:
        if request.url.path == "/api/v1/instances/" and lies[0]:
            lies[0] -= 1
            await asyncio.sleep(5)
            body = {"success": True, "total_instances": 0, "instances": [], "instances_found": 0}
            return type(response)(200, json=body)
        return response

    world.market.after.append(slow)
    world.engine.poke(first)  # type: ignore[union-attr]
    await asyncio.sleep(32)
    await scene.ends(on(scene, first))
    assert len(scene.ours()) == 1 and contract is scene.ours()[0]


REUSE: dict[str, Trial] = {
    trial.__name__: trial
    for trial in (
        one_after_another, dead_after_handing_over, dead_after_submitting_again, busy, too_late,
        stopped_at_once, gone_under_it, away_past_the_lease_again, longer_than_the_first_life,
        forgotten_as_it_goes_over,
    )
}  # fmt: skip
