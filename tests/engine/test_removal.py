"""Runs put away: what is refused, what is deleted, what stays; and code that repeated runs share."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from choline_tui.config.paths import Paths
from choline_tui.engine.api import Api
from choline_tui.engine.gate import Gate
from choline_tui.kernel.errors import NotFound, StoreError, UsageError
from choline_tui.model.run import RentalState
from choline_tui.places.vast import VastPlace
from tests.support.world import World, live


class Home:
    """A world's engine as a client sees it, with a project."""

    def __init__(self, world: World, top: Path) -> None:
        assert world.engine is not None and isinstance(world.engine.ctx.place, VastPlace)
        self.world = world
        self.project = top / "project"
        self.project.mkdir()
        (self.project / "train.py").write_text("print('1')\n")
        self.paths = Paths(top, {}).ensure()
        self.api = Api(
            world.engine, world.engine.ctx.place, self.paths, {}, {},
            ssh_config=lambda rental: ("", ""), stop=lambda: None,
        )  # fmt: skip
        self.methods = self.api.methods()

    async def __call__(self, method: str, **params: Any) -> Any:
        return await self.methods[method](**params)  # type: ignore[misc]

    async def run(self, **fields: Any) -> str:
        """A run that has ended, with files."""
        request = {"project": str(self.project), "command": "true", "query": "num_gpus=1", **fields}
        if "like" in fields:
            request = {"project": str(self.project), **fields}
        run = str((await self("start", request=request))["id"])
        await self.world.ended(run)
        await self.world.quiet()
        (self.paths.run_dir(run) / "attempt-1").mkdir(parents=True, exist_ok=True)
        (self.paths.run_dir(run) / "attempt-1" / "run.log").write_bytes(b"x" * 1000)
        results = Path(self.world.run(run).plan.results_into) / "results"
        results.mkdir(parents=True, exist_ok=True)
        (results / "model").write_bytes(b"y" * 500)
        return run


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(work: Any, /, *args: Any, **more: Any) -> Any:
        return work(*args, **more)

    # a virtual loop waits for no thread
    monkeypatch.setattr("choline_tui.engine.api.asyncio.to_thread", at_once)


def test_an_ended_run_goes_with_its_files_and_stays_in_the_books(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        run = await home.run()
        assert world.store is not None
        before, cost = len(world.store.events(run=run)), world.store.rentals(run=run)[0].cost
        code = home.world.run(run).code
        assert code is not None and any(home.paths.objects_dir.rglob("*"))
        told = await home("rm", runs=[run])
        assert [t["run"] for t in told] == [run] and told[0]["bytes"] >= 1000
        kept = world.run(run)
        assert kept.archived is not None and kept.plan.command == "true"
        events = world.store.events(run=run)
        assert len(events) == before + 1 and "taken out of the lists" in events[-1].text
        assert world.store.rentals(run=run)[0].cost == cost
        assert not home.paths.run_dir(run).exists()
        assert (Path(kept.plan.results_into) / "results" / "model").exists()
        with pytest.raises(UsageError, match="was deleted with it"):
            await home("start", request={"project": str(home.project), "like": run, "same_code": True})
        # again is not wrong, and takes what was asked for on top
        assert (await home("rm", runs=[run], results=True))[0]["bytes"] >= 500
        assert not Path(kept.plan.results_into).exists() and world.run(run).archived == kept.archived

    live(tmp_path, story)


def test_only_out_of_the_lists(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        run = await home.run()
        assert (await home("rm", runs=[run], files=False)) == [{"run": run, "bytes": 0}]
        assert (home.paths.run_dir(run) / "attempt-1" / "run.log").exists()
        # its code is there, so it can be run again
        await home.run(like=run, same_code=True)

    live(tmp_path, story)


def test_what_is_live_may_bill_or_would_be_lost_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        ended = await home.run()
        running = world.start()
        await world.until(lambda: bool(world.run(running).started), what="it runs")
        with pytest.raises(UsageError, match="still running") as caught:
            await home("rm", runs=[ended, running])
        assert "choline stop" in caught.value.hint
        await world.ended(running)
        await world.quiet()

        held = world.start(keep_s=3600.0)
        await world.ended(held)
        with pytest.raises(UsageError, match="it may bill") as caught:
            await home("rm", runs=[ended, held])
        assert f"choline destroy {held}-1" in caught.value.hint
        await home("destroy", target=held)
        await world.quiet()

        assert world.engine is not None
        world.engine.ctx.ledger.run(running, results_complete=False)
        with pytest.raises(UsageError, match="never came home") as caught:
            await home("rm", runs=[ended, running])
        assert "--drop-results" in caught.value.hint
        with pytest.raises(NotFound):
            await home("rm", runs=[ended, "nosuch"])
        assert world.run(ended).archived is None and home.paths.run_dir(ended).exists()
        assert len(await home("rm", runs=[ended, held, running, ended], drop_results=True)) == 3

    live(tmp_path, story)


def test_a_run_that_nothing_was_rented_for_has_nothing_to_lose(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        run = world.start(query="num_gpus=999", wait_s=1.0)
        await world.ended(run)
        assert not world.run(run).results_complete
        assert len(await home("rm", runs=[run])) == 1

    live(tmp_path, story)


def test_results_in_a_place_that_is_not_the_runs_alone_are_left(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        run = await home.run()
        elsewhere = tmp_path / "everything"
        elsewhere.mkdir()
        (elsewhere / "thesis").write_text("years")
        assert world.engine is not None
        plan = world.run(run).plan
        for place in (str(elsewhere), "results", ""):
            world.engine.ctx.ledger.run(run, plan=plan.but(results_into=place))
            with pytest.raises(UsageError, match="directory of their own"):
                await home("rm", runs=[run], results=True)
        link = tmp_path / run
        link.symlink_to(elsewhere)
        world.engine.ctx.ledger.run(run, plan=plan.but(results_into=str(link)))
        with pytest.raises(UsageError, match="directory of their own"):
            await home("rm", runs=[run], results=True)
        assert (elsewhere / "thesis").exists() and world.run(run).archived is None

    live(tmp_path, story)


def test_files_that_cannot_be_deleted_leave_the_run_in_sight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(place: Path) -> None:
        raise PermissionError(13, "Permission denied", str(place))

    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        run = await home.run()
        with monkeypatch.context() as patched:
            patched.setattr("choline_tui.engine.removal.shutil.rmtree", refuse)
            with pytest.raises(StoreError, match="cannot be deleted"):
                await home("rm", runs=[run])
        assert world.run(run).archived is None
        await home("rm", runs=[run])

    live(tmp_path, story)


def test_code_stays_as_long_as_a_run_in_the_lists_has_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        first = await home.run()
        second = await home.run(like=first, same_code=True)
        third = await home.run(like=second, same_code=True)
        await home("rm", runs=[first])
        assert not (home.paths.run_dir(first) / "attempt-1").exists()
        await home.run(like=third, same_code=True)  # the code of the first, byte for byte
        await home("rm", runs=[second])
        assert (home.paths.code_dir(first) / "manifest.json").exists()
        rest = [run.id for run in world.store.runs() if run.archived is None]  # type: ignore[union-attr]
        await home("rm", runs=rest)
        assert not home.paths.run_dir(first).exists()
        # content too young may belong to a run that is being started
        assert any(f.is_file() for f in home.paths.objects_dir.rglob("*"))

    live(tmp_path, story)


def test_old_content_of_code_goes_with_its_last_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("choline_tui.engine.removal.YOUNG", -1e9)

    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        first = await home.run()
        (home.project / "more.py").write_text("print('2')\n")
        second = await home.run()
        await home("rm", runs=[first])
        left = {f.read_text() for f in home.paths.objects_dir.rglob("*") if f.is_file()}
        assert left == {"print('1')\n", "print('2')\n"}
        await home("rm", runs=[second])
        assert not any(f.is_file() for f in home.paths.objects_dir.rglob("*"))

    live(tmp_path, story)


def test_a_name_means_the_run_that_is_in_the_lists(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        old = await home.run(name="net")
        new = await home.run(name="net")
        assert world.store is not None
        assert world.store.find_run("net").id == new
        await home("rm", runs=[new])
        assert world.store.find_run("net").id == old
        await home("rm", runs=["net"])
        assert world.store.find_run("net").id == new and world.store.find_run(old).archived is not None

    live(tmp_path, story)


async def test_one_alone_waits_for_all_and_all_wait_for_it() -> None:
    gate = Gate()
    order: list[str] = []
    may_leave = asyncio.Event()

    async def shared(name: str) -> None:
        async with gate.shared():
            order.append(f"{name} in")
            await may_leave.wait()
            order.append(f"{name} out")

    async def alone() -> None:
        async with gate.alone():
            order.append("alone")

    first = [asyncio.create_task(shared("a")), asyncio.create_task(shared("b"))]
    await asyncio.sleep(0)
    sweeper = asyncio.create_task(alone())
    await asyncio.sleep(0)
    late = asyncio.create_task(shared("c"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert order == ["a in", "b in"]
    may_leave.set()
    await asyncio.gather(*first, sweeper, late)
    assert order.index("alone") == 4 and order[5:] == ["c in", "c out"]


def test_a_kept_machine_is_not_gone_because_its_run_is_out_of_sight(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        run = world.start(keep_s=3600.0)
        await world.ended(run)
        assert world.store is not None and world.store.rentals(run=run)[0].state is RentalState.HELD
        with pytest.raises(UsageError):
            await home("rm", runs=[run], drop_results=True)

    live(tmp_path, story)
