"""The code of runs through the engine's methods: a commit's, rebuilt, compared, pushed."""

import base64
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from choline_tui.config.paths import Paths
from choline_tui.engine.api import ACTS, READS, Api
from choline_tui.kernel.errors import ProjectError, RemoteError, SshDropped, UsageError
from choline_tui.places.vast import VastPlace
from tests.codestate.gits import change, git, make_repository, tree
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


def test_a_branch_is_the_remotes_and_what_was_shown_is_what_is_run(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        remote = str(tmp_path / "server" / "x.git")
        git(tmp_path, "clone", "-q", "--bare", str(home.project), remote)
        git(home.project, "remote", "add", "origin", remote)
        first = git(home.project, "rev-parse", "HEAD")
        (home.project / "train.py").write_text("later\n")
        git(home.project, "commit", "-q", "-a", "-m", "Second")
        card = await home("plan", request=home.asked(branch="main"))
        assert (card["commit"], card["branch"], card["clone"]) == (first, "main", "")
        assert any("1 commit of yours on main is not on the remote" in w for w in card["warnings"])
        assert any("a directory of this computer" in w for w in card["warnings"])
        git(home.project, "push", "-q", "origin", "main")
        assert (await home("plan", request=home.asked(branch="main")))["commit"] != first
        run = await home.start(branch="main", commit=first)
        assert (run["code"]["commit"], run["code"]["branch"]) == (first, "main")
        await home.over(run["id"])
        made = await home("checkout", run=run["id"], into=str(tmp_path / "then"))
        assert made["commit"] == first and (tmp_path / "then" / "train.py").read_text() != "later\n"
        for wrong in ({"same_code": True}, {"commit": "HEAD"}):
            with pytest.raises(UsageError, match="exclude each other"):
                await home("plan", request=home.asked(branch="main", **wrong))
        with pytest.raises(ProjectError, match="has no branch 'mian'"):
            await home.start(branch="mian")

    live(tmp_path, story)


def test_where_a_machine_may_clone_from_is_told_as_the_project_wants_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        (home.project / "choline.toml").write_text('secrets = ["GH_TOKEN"]\n[code]\nclone = true\n')
        git(home.project, "add", "-A")
        git(home.project, "commit", "-q", "-m", "With a project")
        git(home.project, "remote", "add", "origin", "git@github.com:me/x.git")
        given = {"secrets": {"GH_TOKEN": "ghp_not_looked_at"}, "places": {"GH_TOKEN": "here"}}

        async def started(**more: Any) -> Any:
            run = await home("start", request=home.asked(**more), **given)
            await home.over(run["id"])
            return run["code"]

        # nothing says yet that the remote has it
        code = await started()
        assert code["clone"] is None and "was not pushed yet" in code["warnings"][-1]
        git(home.project, "update-ref", "refs/remotes/origin/main", "HEAD")
        change(home.project)
        code = await started()
        assert code["clone"] == {"url": "https://github.com/me/x.git", "prefix": "", "token": "GH_TOKEN"}
        assert code["dirty_count"] > 0
        assert (await home("plan", request=home.asked()))["clone"] == "https://github.com/me/x.git"
        assert (await home("plan", request=home.asked(place="here")))["clone"] == ""
        (home.project / "choline.toml").write_text('secrets = ["GH_TOKEN"]\n')
        assert (await started())["clone"] is None

    live(tmp_path, story)


# ----------------------------------------------------------------------------- checkout and diff


async def difference(home: Home, run: str, other: str = "", **options: Any) -> tuple[Any, bytes]:
    items = [item async for item in home.methods["code_diff"](run=run, other=other, **options)]  # type: ignore[union-attr]
    return items[0], b"".join(base64.b64decode(item["text"]) for item in items[1:])


def test_the_code_of_a_run_is_rebuilt_and_compared_whatever_became_of_the_repository(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        home = Home(world, tmp_path)
        git(home.project, "remote", "add", "origin", "https://me:token@example.com/x.git")
        change(home.project)
        expected = tree(home.project)
        first = (await home.start())["id"]
        (home.project / "train.py").write_text("other\n")
        second = (await home.start())["id"]
        for run in (first, second):
            await home.over(run)

        head, text = await difference(home, first, second)
        assert [f["path"] for f in head["files"]] == ["train.py"] and b"+other" in text
        assert (head["old"]["run"], head["new"]["run"]) == (first, second)
        assert (await difference(home, first, second, text=False))[1] == b""
        (home.project / "train.py").unlink()
        (home.project / "results").mkdir(exist_ok=True)
        (home.project / "results" / "left out").write_text("x")
        head, _ = await difference(home, second)
        assert [(f["path"], f["kind"]) for f in head["files"]] == [("train.py", "deleted")]
        assert head["new"]["run"] is None and not list(home.paths.cache_dir.glob("diff-*"))

        shutil.rmtree(home.project)
        made = await home("checkout", run=first, into=str(tmp_path / "as-it-was"))
        assert tree(tmp_path / "as-it-was") == expected and made["files"] == len(expected)
        assert made["branch"] == "main" and made["remote"] == "https://example.com/x.git"
        assert made["dirty_count"] > 0 and made["changed_lines"] > 0
        with pytest.raises(ProjectError, match="no directory"):
            await difference(home, first)
        with pytest.raises(UsageError, match="is not empty"):
            await home("checkout", run=first, into=str(tmp_path / "as-it-was"))
        with pytest.raises(UsageError, match="no absolute directory"):
            await home("checkout", run=first, into="here")
        await home("rm", runs=[first])
        with pytest.raises(UsageError, match="was deleted with it"):
            await home("checkout", run=first, into=str(tmp_path / "again"))
        with pytest.raises(UsageError, match="was deleted with it"):
            await difference(home, second, first)
        assert not (tmp_path / "again").exists()

    live(tmp_path, story)


def test_what_only_looks_at_code_is_allowed_to_read_only_clients() -> None:
    assert {"checkout", "code_diff"} <= READS and "push" in ACTS


# ------------------------------------------------------------------------------------------ push


class Watched:
    """Between the engine and a machine: what arrives in its src, and what goes wrong on the way."""

    def __init__(self, session: Any, arrived: list[dict[str, tuple[bytes, int]]], faults: list[Exception]):
        self.session, self.arrived, self.faults = session, arrived, faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    async def send(self, run: str, items: Any, on_progress: Any = None) -> Any:
        came = {}
        for item in items:
            assert item.part == "src" and not item.mirror
            for path in sorted(Path(item.base).rglob("*")):
                if path.is_file() and not path.is_symlink():
                    name = os.fsencode(path.relative_to(item.base)).decode("utf-8", "backslashreplace")
                    came[name] = (path.read_bytes(), int(path.stat().st_mtime))
        if items:
            self.arrived.append(came)
            if self.faults:
                raise self.faults.pop()
        return await self.session.send(run, items, on_progress)


def pushing(tmp_path: Path, story: Callable[[World, Home, str, Watched], Awaitable[None]]) -> None:
    async def begin(world: World) -> None:
        world.model = replace(world.model, duration_s=36000.0)
        seen = Watched(None, [], [])
        world.wrap_session = lambda contract, session: Watched(session, seen.arrived, seen.faults)
        home = Home(world, tmp_path)
        run = (await home.start())["id"]
        with pytest.raises(RemoteError, match="no machine that has its code yet"):
            await home("push", run=run)
        await world.until(lambda: world.run(run).started is not None, what="it runs")
        await story(world, home, run, seen)
        await home("stop", run=run)
        await home.over(run)
        with pytest.raises(UsageError, match="has ended") as caught:
            await home("push", run=run)
        assert "--new-code" in caught.value.hint

    live(tmp_path, begin)


def test_what_changed_is_sent_to_a_live_run_and_once(tmp_path: Path) -> None:
    async def story(world: World, home: Home, run: str, seen: Watched) -> None:
        assert (await home("push", run=run))["files"] == [] and not seen.arrived
        code = world.run(run).code
        (home.project / "train.py").write_text("ONE\ntwo\nthree\n")
        (home.project / "fresh.py").write_text("x\n")
        (home.project / "old.txt").unlink()
        (home.project / ".cholineignore").write_text("*.csv\n")
        (home.project / "big.csv").write_text("1,2\n")
        told = await home("push", run=run)
        assert told["files"] == [".cholineignore", "fresh.py", "train.py"]
        assert told["deleted"] == ["old.txt"] and told["how"] == "modelled"
        assert seen.arrived[0]["train.py"][0] == b"ONE\ntwo\nthree\n" and len(seen.arrived[0]) == 3
        again = await home("push", run=run)
        assert (again["files"], again["deleted"]) == ([], []) and len(seen.arrived) == 1
        # the same size at the same second is dated later: rsync looks at both
        (home.project / "train.py").write_text("TWO\ntwo\nthree\n")
        assert (await home("push", run=run))["files"] == ["train.py"]
        assert seen.arrived[1]["train.py"][1] > seen.arrived[0]["train.py"][1]
        # what was started is what is kept, compared and repeated
        assert world.run(run).code == code
        assert world.store is not None
        assert any(e.text.startswith("pushed 3 files") for e in world.store.events(run=run))
        assert not list((home.paths.run_dir(run) / "pushed").glob("*-tree"))

    pushing(tmp_path, story)


def test_a_push_that_broke_is_mended_by_the_next_whatever_it_finds(tmp_path: Path) -> None:
    async def story(world: World, home: Home, run: str, seen: Watched) -> None:
        original = (home.project / "train.py").read_bytes()
        (home.project / "train.py").write_text("broken on the way\n")
        seen.faults.append(SshDropped("gone"))
        with pytest.raises(SshDropped):
            await home("push", run=run)
        # back to what was sent at first: the machine may have the other one all the same
        (home.project / "train.py").write_bytes(original)
        assert (await home("push", run=run))["files"] == ["train.py"]
        assert seen.arrived[-1]["train.py"][0] == original
        assert (await home("push", run=run))["files"] == []
        # a record that cannot be read sends everything rather than too little
        next((home.paths.run_dir(run) / "pushed").glob("*.json")).write_text("{")
        assert len((await home("push", run=run))["files"]) == world.run(run).code.file_count  # type: ignore[union-attr]

    pushing(tmp_path, story)
