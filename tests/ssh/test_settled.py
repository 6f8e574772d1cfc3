"""What may come home now, from two listings and a time; and the versions it replaces."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from choline_tui.ssh import versions
from choline_tui.ssh.confine import Folder
from choline_tui.ssh.listing import Entry
from choline_tui.ssh.settled import SMALL, Sorted, sort
from choline_tui.ssh.transfer import differs

NOW = 10_000


def sorted_(there: dict[bytes, Entry], here: dict[bytes, Entry] | None = None, **more: Any) -> Sorted:
    return sort(there, here or {}, more.pop("now", NOW), more.pop("settle_s", 10.0), differs, **more)


def file(age: int, size: int = 100) -> Entry:
    return Entry("f", size, NOW - age)


def test_a_young_file_is_still_written_and_an_old_one_is_whole() -> None:
    found = sorted_({b"young": file(9), b"old": file(10), b"same": file(99)}, {b"same": file(99)})
    assert set(found.ready) == {b"old"} and set(found.changing) == {b"young"}
    assert set(found.small()) == {b"young"}


@pytest.mark.parametrize("name", [b"a.tmp", b"sub/model.pt.part", b"x.tmp.4711", b"y.partial", b".z.swp"])
def test_a_name_that_says_unfinished_is_believed_whatever_its_age(name: bytes) -> None:
    found = sorted_({name: file(9999)})
    assert set(found.changing) == {name} and not found.ready and not found.small()


def test_at_the_end_everything_comes() -> None:
    assert set(sorted_({b"a.tmp": file(0), b"b": file(1)}, settle_s=0.0).ready) == {b"a.tmp", b"b"}


def test_a_clock_that_was_set_back_or_is_not_known_holds_nothing_up() -> None:
    assert set(sorted_({b"ahead": file(-3600)}).ready) == {b"ahead"}
    assert set(sorted_({b"a": file(0)}, now=None).ready) == {b"a"}


def test_large_files_that_are_written_are_not_shown_unfinished() -> None:
    found = sorted_({b"log": file(1, SMALL), b"model": file(1, SMALL + 1)})
    assert set(found.small()) == {b"log"}


def test_the_shards_of_one_checkpoint_wait_for_each_other_but_not_for_ever() -> None:
    there = {b"step-5": Entry("d", 0, NOW), b"step-5/1": file(30), b"step-5/2": file(2), b"other/1": file(30)}
    found = sorted_(there)
    assert set(found.ready) == {b"other/1"} and set(found.waiting) == {b"step-5/1"}
    assert found.directories == []
    there[b"step-5/1"] = file(121)
    assert b"step-5/1" in sorted_(there).ready


def test_a_log_that_grows_all_the_time_holds_up_no_checkpoint_beside_it() -> None:
    there = {b"a/train.log": file(0), b"a/last.pt": file(20)}
    assert set(sorted_(there, known=lambda name: name == b"a/train.log").ready) == {b"a/last.pt"}
    assert set(sorted_(there, {b"a/train.log": file(50)}).ready) == {b"a/last.pt"}
    assert set(sorted_({b"train.log": file(0), b"last.pt": file(20)}).ready) == {b"last.pt"}


def test_directories_appear_when_what_is_in_them_is_whole() -> None:
    there = {b"a": Entry("d", 0, NOW), b"a/x.tmp": file(0), b"b": Entry("d", 0, NOW)}
    assert sorted_(there).directories == [b"b"]


def put(folder: Path, name: str, content: str, age: int) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (NOW - age, NOW - age))


def replaced(tmp_path: Path, name: bytes, content: str, age: int, keep: int) -> None:
    """As a sync does with one file."""
    put(tmp_path / "in", os.fsdecode(name), content, age)
    home, stage = Folder(tmp_path / "home"), Folder(tmp_path / "in")
    shelf = versions.Shelf(tmp_path / "old")
    try:
        here = tmp_path / "home" / os.fsdecode(name)
        place = None
        if here.exists():
            place = shelf.place(name, Entry("f", 0, int(here.stat().st_mtime)))
        if home.take(stage, name, place):
            shelf.took(name)
        shelf.prune(keep)
    finally:
        for folder in (home, stage, shelf):
            folder.close()


def texts(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_the_newest_versions_of_each_file_are_kept(tmp_path: Path) -> None:
    for n in range(4):
        replaced(tmp_path, b"sub/last.pt", f"epoch {n}", 400 - 100 * n, keep=2)
    replaced(tmp_path, b"sub/last", "another", 5, keep=2)
    assert texts(tmp_path / "home") == {"sub/last.pt": "epoch 3", "sub/last": "another"}
    kept = texts(tmp_path / "old")
    assert sorted(kept.values()) == ["epoch 1", "epoch 2"]
    assert all(name.startswith("sub/last.pt@1970-01-01T02.4") for name in kept)


def test_the_oldest_versions_go_when_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age in (30, 20, 10):
        put(tmp_path / "old", f"x@{age}", "1234", age)
    free = [100]

    def usage(path: Any) -> Any:
        there = len(list((tmp_path / "old").iterdir()))
        return shutil._ntuple_diskusage(1000, 0, free[0] + 10 * (3 - there))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert versions.make_room(tmp_path / "old", 100) == 0
    assert versions.make_room(tmp_path / "old", 120) == 2
    assert [p.name for p in (tmp_path / "old").iterdir()] == ["x@10"]
    assert versions.make_room(tmp_path / "old", 9999) == 1
    assert versions.make_room(tmp_path / "none", 9999) == 0


def test_a_name_too_long_for_a_version_is_replaced_without_one(tmp_path: Path) -> None:
    name = b"n" * 250
    replaced(tmp_path, name, "one", 20, keep=1)
    replaced(tmp_path, name, "two", 10, keep=1)
    assert texts(tmp_path / "home") == {os.fsdecode(name): "two"}
    assert not (tmp_path / "old").exists()
