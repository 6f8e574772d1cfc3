"""The code of runs through the engine's methods: a commit's, rebuilt, compared, pushed."""

from pathlib import Path
from typing import Any

import pytest

from choline_tui.config.paths import Paths
from choline_tui.engine.api import Api
from choline_tui.kernel.errors import ProjectError, UsageError
from choline_tui.places.vast import VastPlace
from tests.codestate.gits import git, make_repository
from tests.support.world import World, live


class Home:
    """A world's engine as a client sees it, with a git project."""

    def __init__(self, world: World, top: Path) -> None:
        assert world.engine is not None and isinstance(world.engine.ctx.place, VastPlace)
        self.world = world
        self.project = make_repository(top / "project")
        self.paths = Paths(top, {}).ensure()
        self.methods = Api(
            world.engine, world.engine.ctx.place, self.paths, {}, {},
            ssh_config=lambda rental: ("", ""), stop=lambda: None,
        ).methods()  # fmt: skip

    async def __call__(self, method: str, **params: Any) -> Any:
        return await self.methods[method](**params)  # type: ignore[misc]

    def asked(self, **fields: Any) -> dict[str, Any]:
        return {"project": str(self.project), "command": "true", "query": "num_gpus=1", **fields}

    async def start(self, **fields: Any) -> Any:
        return await self("start", request=self.asked(**fields))

    async def over(self, run: str) -> None:
        await self.world.ended(run)
        await self.world.quiet()


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(work: Any, /, *args: Any, **more: Any) -> Any:
        return work(*args, **more)

    # a virtual loop waits for no thread
    monkeypatch.setattr("choline_tui.engine.api.asyncio.to_thread", at_once)


def test_a_run_of_an_older_commit_shows_it_clean_on_the_card_and_in_the_run(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        first = git(home.project, "rev-parse", "HEAD")
        (home.project / "train.py").write_text("later\n")
        card = await home("plan", request=home.asked())
        assert (card["commit"], card["dirty"], card["changed_lines"]) == (first, 1, 4)
        git(home.project, "commit", "-q", "-a", "-m", "Second")
        (home.project / "untracked").write_text("x\n")
        card = await home("plan", request=home.asked(commit="HEAD~1"))
        assert (card["commit"], card["dirty"], card["changed_lines"]) == (first, 0, 0)
        run = await home.start(commit="HEAD~1")
        assert (run["code"]["commit"], run["code"]["message"]) == (first, "First")
        assert (home.project / "train.py").read_text() == "later\n"
        await home.over(run["id"])
        # and what was frozen is what is repeated, though the branch has moved on
        again = await home("start", request=home.asked(like=run["id"], same_code=True))
        assert again["code"] == run["code"]
        await home.over(again["id"])

    live(tmp_path, story)


def test_a_commit_that_cannot_be_is_refused_before_anything_is_rented(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        with pytest.raises(ProjectError, match="no commit 'nosuch'"):
            await home.start(commit="nosuch")
        with pytest.raises(UsageError, match="exclude each other"):
            await home("plan", request=home.asked(commit="HEAD", same_code=True))
        assert not world.sim.contracts.history

    live(tmp_path, story)
