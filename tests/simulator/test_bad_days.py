"""The named bad days, lived through by the real engine: done once, home, and nothing bills."""

from pathlib import Path

import pytest

from choline_tui.model.run import Outcome
from choline_tui.simulator.bad_days import BAD_DAYS
from choline_tui.simulator.faults import FaultPlan
from tests.support.world import World, live


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("day", sorted(BAD_DAYS))
def test_a_run_on_a_bad_day(tmp_path: Path, day: str, seed: int) -> None:
    async def story(world: World) -> None:
        run = world.start(wait_s=86400.0)
        ended = await world.ended(run, within=4 * 86400)
        # the guard of a machine that home cannot reach may end it first
        assert ended.outcome in (Outcome.SUCCEEDED, Outcome.ERROR, Outcome.MISSED), world.story()
        world.sim.faults.active = False
        await world.quiet()
        world.check(run)
        assert world.sim.faults.fired

    world = live(tmp_path, story, seed=seed, faults=FaultPlan.load(day, seed=seed), contested=True)
    labels = [c.label for c in world.sim.contracts.history]
    assert len(labels) == len(set(labels)), "one rent call made one contract"
