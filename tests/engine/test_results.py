"""Results on their way home while the command runs."""

import itertools
from pathlib import Path

from choline_tui.simulator.remotes.job_model import JobModel
from choline_tui.simulator.remotes.modelled_session import ModelledSession
from tests.support.world import World, live


def synced(world: World, run: str) -> list[float]:
    assert world.store is not None
    return [e.at for e in world.store.events(run=run) if e.text.startswith("results synced: 1 files")]


def test_a_new_checkpoint_comes_home_as_soon_as_it_is_whole(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        files = {"a.pt": b"1", "b.pt": b"2", "c.pt": b"3"}
        world.model = JobModel(duration_s=4000.0, result_files=files, result_every_s=1000.0)
        run = world.start(results_every_s=3600.0)
        ended = await world.ended(run)
        assert ended.results_complete
        began = ended.started
        assert began is not None
        # written at 1000, 2000, 3000 s; told 10 s later
        at = [when - began for when in synced(world, run)]
        assert [round(when / 1000) for when in at] == [1, 2, 3], world.story()
        assert all(when % 1000 < 30 for when in at)
        await world.quiet()
        world.check(run)

    live(tmp_path, story)


def test_many_at_once_are_brought_with_pauses(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        files = {f"{n}.pt": b"x" for n in range(200)}
        world.model = JobModel(duration_s=400.0, result_files=files, result_every_s=1.0)
        calls: list[float] = []

        class Counting:
            def __init__(self, session: ModelledSession) -> None:
                self._session = session

            def __getattr__(self, name: str) -> object:
                if name == "fetch":
                    calls.append(world.clock.monotonic())
                return getattr(self._session, name)

        world.wrap_session = lambda contract, session: Counting(session)  # type: ignore[assignment, return-value, arg-type]
        run = world.start()
        await world.ended(run)
        assert 5 < len(calls) <= 400 / 15 + 2
        assert all(b - a >= 14.9 for a, b in itertools.pairwise(calls[:-1]))
        await world.quiet()

    live(tmp_path, story)


def test_patterns_are_left_out_to_the_end(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.model = JobModel(duration_s=60.0, result_files={"a.pt": b"1", "wandb/x": b"2", "b.tmp": b"3"})
        run = world.start(results_exclude=["wandb/", "*.tmp"])
        assert (await world.ended(run)).results_complete
        top = tmp_path / "results" / run
        assert [str(p.relative_to(top)) for p in top.rglob("*") if p.is_file()] == ["results/a.pt"]
        await world.quiet()

    live(tmp_path, story)
