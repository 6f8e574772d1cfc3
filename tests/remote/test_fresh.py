"""Result files that come to rest are told of, once each, and nothing else is."""

import os
from pathlib import Path
from typing import Any

from choline_tui.remote.fresh import Fresh
from choline_tui.remote.listing import tree
from tests.remote.box import Remote
from tests.support import wait_until


class Looks:
    """A folder looked at on a clock of its own; every look is 5 s after the last."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder = folder
        self.fresh = Fresh(10.0, **more)
        self.now = 0.0

    def __call__(self, wall: float = 1e9) -> int:
        self.now += 5.0
        self.fresh.look(tree(str(self.folder)), self.now, wall)
        return self.fresh.count


def put(path: Path, content: str, at: float = 1e9) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (at, at))


def test_a_file_counts_when_it_has_not_changed_for_long_enough(tmp_path: Path) -> None:
    look = Looks(tmp_path)
    put(tmp_path / "keep/old.pt", "from an earlier attempt", 1e9 - 3600)
    assert look() == 0
    put(tmp_path / "a.pt", "1")
    assert [look(), look(), look()] == [0, 0, 1]
    assert look() == 1
    put(tmp_path / "a.pt", "12")
    assert [look(), look()] == [1, 1]
    put(tmp_path / "a.pt", "123")  # still written
    assert [look(), look(), look()] == [1, 1, 2]


def test_what_is_renamed_into_place_counts_and_temporary_names_do_not(tmp_path: Path) -> None:
    look = Looks(tmp_path)
    put(tmp_path / "last.pt", "epoch 1")
    look(), look(), look()
    assert look() == 1
    put(tmp_path / "last.pt.tmp", "epoch 2")
    assert [look(), look(), look()] == [1, 1, 1]
    (tmp_path / "last.pt.tmp").rename(tmp_path / "last.pt")  # same size and time as before
    assert [look(), look(), look()] == [1, 1, 2]


def test_several_at_once_are_one_and_what_vanishes_is_none(tmp_path: Path) -> None:
    look = Looks(tmp_path)
    look()
    for n in range(5):
        put(tmp_path / f"shard-{n}", "x")
    look()
    (tmp_path / "shard-0").unlink()
    assert [look(), look(), look()] == [0, 1, 1]


def test_more_files_than_are_watched_cost_no_more(tmp_path: Path) -> None:
    look = Looks(tmp_path, limit=10)
    look()
    for n in range(50):
        put(tmp_path / f"{n}", "x")
    for _ in range(5):
        look()
    assert look.fresh.count == 1
    assert len(look.fresh._resting or {}) + len(look.fresh._moving) == 10


def test_a_running_job_says_so(remote: Remote) -> None:
    remote.submit("r-1", 'echo weights > "$CHOLINE_KEEP/last.pt"; exec sleep 60', settle_s=0.4)
    wait_until(lambda: remote.status("r-1").fresh >= 1, within=20, what="word of the checkpoint")
    before = remote.status("r-1").fresh
    put(remote.home / "choline/r/results/best.pt", "best")
    wait_until(lambda: remote.status("r-1").fresh > before, within=20, what="word of the next")
