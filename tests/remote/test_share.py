"""How a run gets the store's data, whatever the machine's file system can do; and the store's own rooms."""

import os
from pathlib import Path

import pytest

from choline_tui.kernel.content import is_key, key_of
from choline_tui.kernel.errors import RemoteError, UsageError
from choline_tui.remote import tree
from choline_tui.remote.datastore import DataStore
from choline_tui.remote.jobstore import JobStore
from choline_tui.remote.paths import Paths
from choline_tui.remote.share import COPIED, LINKED, REFLINKED, share, unshare


@pytest.fixture
def made(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "a/b").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "a/b/c\n").write_bytes(b"c")
    (top / "run").write_bytes(b"#!/bin/sh\n")
    (top / "run").chmod(0o755)
    (top / "link").symlink_to("a/b/c\n")
    tree.seal(str(top))
    return top


@pytest.mark.parametrize("how", [LINKED, COPIED])
def test_the_same_bytes_by_every_way(made: Path, tmp_path: Path, how: str) -> None:
    into = tmp_path / "run/data"
    (into / "a").mkdir(parents=True)
    (into / "a/own").write_bytes(b"own")
    (into / "empty").symlink_to("/etc")
    (into / "run").write_bytes(b"old")
    told: list[int] = []
    assert share(str(made), str(into), how=how, told=told.append) == how
    assert share(str(made), str(into), how=how) == how, "again is nothing"
    assert (into / "a/b/c\n").read_bytes() == b"c" and (into / "a/own").read_bytes() == b"own"
    assert os.readlink(into / "link") == "a/b/c\n"
    assert (into / "empty").is_dir() and not (into / "empty").is_symlink()
    assert os.access(into / "run", os.X_OK)
    shared = (into / "run").stat().st_ino == (made / "run").stat().st_ino
    assert shared == (how == LINKED) and bool(told) == (how == COPIED)
    assert bool((into / "run").stat().st_mode & 0o200) == (how == COPIED)
    assert not list(into.rglob("*.choline-new"))
    assert unshare(str(made), str(into)) == (2 if how == LINKED else 0)
    assert (into / "a/own").exists()


def test_the_best_way_there_is(made: Path, tmp_path: Path) -> None:
    assert share(str(made), str(tmp_path / "x")) in (REFLINKED, LINKED)
    (tmp_path / "x/run").unlink()
    (tmp_path / "x/run").mkdir()
    with pytest.raises(UsageError, match="a directory of the run stands where"):
        share(str(made), str(tmp_path / "x"))


def test_a_key_is_of_names_and_bytes_alone(made: Path, tmp_path: Path) -> None:
    key = key_of(tree.contents(str(made)))
    assert is_key(key) and not is_key("../x") and not is_key(None)
    os.utime(made / "run", (1, 1))
    (made / "a/b/c\n").chmod(0o600)
    assert key_of(tree.contents(str(made))) == key
    (made / "run").chmod(0o600)
    assert key_of(tree.contents(str(made))) != key
    assert key_of([]) == key_of([]) and key_of([]) != key


def test_who_is_not_over_keeps_its_data(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    paths.make_system()
    now, free = [1_000_000.0], [100]
    store = DataStore(paths, JobStore(paths), free=lambda: free[0], wall=lambda: now[0])
    (tmp_path / "src").mkdir()
    content = b"x" * 50

    def bring(run: str, data: bytes) -> str:
        key = ""
        for _ in range(2):
            slot = store.slot(key or key_of([]))
            (tmp_path / "src/f").write_bytes(data)
            key = key_of(tree.contents(str(tmp_path / "src")))
        slot = store.slot(key)
        slot.make()
        (Path(slot.tree) / "f").write_bytes(data)
        assert store.use(key, run, "", size=len(data), arrived=True)["state"] == "whole"
        os.utime(Path(slot.runs) / run, (now[0], now[0]))
        return slot.top

    def job(run: str, state: str) -> None:
        directory = Path(paths.job(f"{run}-1"))
        directory.mkdir(exist_ok=True)
        (directory / "status.json").write_text(
            f'{{"id": "{run}-1", "state": "{state}", "reason": "stopped"}}'
        )
        (directory / "owner").touch()

    tops = {run: bring(run, run.encode() + content) for run in ("over", "live", "new", "left")}
    job("over", "ended")
    job("live", "running")
    now[0] += 7 * 3600  # a run that never got a job is no run any more
    os.utime(Path(tops["new"]) / "runs/new", (now[0], now[0]))
    assert store.make_room(101, keep="") == 100
    there = {run for run, top in tops.items() if Path(top).exists()}
    assert there == {"new", "live"}
    with pytest.raises(UsageError, match="bad key"):
        store.slot("../../etc")
    with pytest.raises(UsageError, match="below data/"):
        store.place("r", "../up")


def test_whoever_waits_too_long_is_told(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    store = DataStore(paths, JobStore(paths))
    waited: list[int] = []
    with store.slot("0" * 40).locked(), pytest.raises(RemoteError, match="busy with the same data"):  # noqa: SIM117
        with store.slot("0" * 40).locked(wait=0.02, waiting=lambda: waited.append(1)):
            pass
