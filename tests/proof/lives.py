"""The random lives of ``tests/engine/test_random_lives.py`` with the rules watched at every moment."""

import random
from pathlib import Path

from choline_tui.simulator.remotes.job_model import JobModel
from tests.engine.test_random_lives import Life
from tests.proof.monitor import Monitor
from tests.support.world import World, live

__all__ = ["one"]


class WatchedLife(Life):
    monitor: Monitor

    async def _strangers(self) -> None:
        await super()._strangers()
        self.monitor = Monitor(self.world)
        self.monitor.others |= set(self.others)

    async def forgetful(self) -> None:
        self.monitor.lies = True  # and what was written down meanwhile may stand until the next listing
        await super().forgetful()

    def check(self) -> None:
        self.monitor.check()
        super().check()


def one(root: Path, seed: int) -> World:
    """Live one seed; raises AssertionError, with the life's events as a note, when a rule was broken."""

    async def story(world: World) -> None:
        rng = random.Random(-seed)
        world.model = JobModel(
            duration_s=rng.choice([20.0, 600.0, 5000.0]),
            log_lines=[f"step {n}" for n in range(20)],
            result_files={"model.bin": b"weights" * 100, "keep/step.txt": b"20"},
        )
        try:
            await WatchedLife(world, seed).live()
        except BaseException as error:
            error.add_note(f"seed {seed}\n{world.story()}")
            raise

    return live(root, story, seed=seed)
