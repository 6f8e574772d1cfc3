"""Code that the machine clones, over a real sshd: what home still sends, and what it does when it cannot."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from choline_tui.codestate import capture, cloneable
from choline_tui.engine.items import items_of, with_values
from choline_tui.kernel.handover import Handover
from choline_tui.kernel.protocol import Lease
from choline_tui.kernel.session import Item
from choline_tui.model.code import CodeState
from choline_tui.model.run import Plan, Run
from choline_tui.provision import clone
from tests.codestate.gits import change, git, make_repository, tree
from tests.provision.test_session import Place
from tests.support import needs
from tests.support.git_http import GitServer

TOKEN = "s3cr3t-0123456789"


class Way:
    """From a project to a machine, as the engine goes it."""

    def __init__(self, top: Path, place: Place, server: GitServer) -> None:
        self.top, self.place, self.server = top, place, server
        self.project = make_repository(top / "project")
        (self.project / "big").write_bytes(os.urandom(3 << 20))
        git(self.project, "add", "-A")
        git(self.project, "commit", "-q", "-m", "Big")
        server.publish(self.project)
        git(self.project, "fetch", "-q", "origin")

    def item(self, run: str, place: Literal["vast", "here"] = "vast") -> Item:
        code = cloneable(capture(self.project, self.top / f"frozen-{run}"), self.project)
        assert code.clone is not None
        named = CodeState(**{**code.model_dump(), "clone": {**code.clone.model_dump(), "token": "T"}})
        plan = Plan(project=str(self.project), command="true", cap=1.0, place=place)
        (made,) = items_of(
            Run(id=run, plan=plan, code=named, created=0.0, updated=0.0), self.top / f"run-{run}"
        )
        return with_values(made, Handover({"T": TOKEN, "OTHER": "x"}))

    async def send(self, run: str) -> tuple[int, str]:
        """Bytes that home sent, and what became of the clone; the machine must have the code then."""
        await self.place.session.prepare(run, Lease(600, 600))
        moved = await self.place.session.send(run, [self.item(run)])
        src = self.place.home / "choline" / run / "src"
        assert tree(src) == tree(self.project)
        return moved.bytes, moved.cloned


@pytest.fixture
async def way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Way]:
    needs("git", "rsync")
    place = Place(tmp_path, monkeypatch)
    try:
        with GitServer(tmp_path / "git-server") as server:
            yield Way(tmp_path, place, server)
    finally:
        await place.close()


async def test_what_the_machine_cloned_is_not_sent_and_what_differs_is(way: Way) -> None:
    way.server.token = TOKEN
    size, words = await way.send("a")
    assert size == 0 and "8 of 8 files, 3.1 MB that are not sent from here" in words
    assert words.startswith("the machine cloned ") and TOKEN not in words
    assert (way.server.asked[-1][1], [c for c in way.place.commands if TOKEN in c]) == (TOKEN, [])
    # the same again finds src there, and makes no other clone
    way.server.asked.clear()
    assert await way.send("a") == (0, "") and way.server.asked == []
    change(way.project)
    size, words = await way.send("b")
    assert 0 < size < 5000 and "3 of 8 files" in words
    found = [p for p in way.place.home.rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]
    assert found == []


async def test_a_machine_that_cannot_clone_is_sent_all(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    way.server.token = "another"
    size, words = await way.send("a")
    assert size > 3 << 20
    assert words.startswith("the code is sent from here: the machine could not clone it")
    assert "(the server refuses the token)" in words
    way.server.close()
    size, words = await way.send("b")
    assert size > 3 << 20 and "127.0.0.1 cannot be reached from there" in words
    # one that has no such verb, and one that talks nonsense
    for answer, why in (('{"count": 1}', "it says no numbers"), ("", "ended with 0")):
        way.place.lie(f"echo '{answer}'")
        said = await clone.cloned(way.place.session._verb, "c", way.item("c"))
        assert why in said
    monkeypatch.setattr("choline_tui.kernel.clone.MAX_WIRE", 100)
    said = await clone.cloned(way.place.session._verb, "c", way.item("c"))
    assert "too many files" in said


async def test_this_computer_clones_nothing(way: Way) -> None:
    assert way.item("a", place="here").clone is None and way.item("a").clone is not None
    assert TOKEN not in repr(way.item("a"))
