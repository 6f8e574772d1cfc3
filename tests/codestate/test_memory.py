"""What was seen before is not read again, and what may have changed always is."""

import os
from pathlib import Path

import pytest

from choline_tui.codestate import capture, materialise, sweep
from choline_tui.codestate import objects as objects_module
from choline_tui.codestate.memory import mark_of, settled
from choline_tui.kernel.errors import StoreError
from choline_tui.model.code import CodeState
from tests.codestate.gits import ODD, change, git, tree

LONG_AGO = 1_500_000_000


class Looks:
    """Looks at a project, and counts what is read of it."""

    def __init__(self, project: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project, self.place, self.read = project, place, 0
        whole = objects_module.Objects.put

        def put(*args: object) -> tuple[str, int, bytes]:
            self.read += 1
            return whole(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(objects_module.Objects, "put", put)
        # files that have just been made for a test have not been left alone for long
        monkeypatch.setattr("choline_tui.codestate.memory.SETTLED_NS", -(10**18))

    def __call__(self, **options: object) -> tuple[CodeState, int]:
        """The code state, and how many files were read for it."""
        before = self.read
        state = capture(self.project, self.place / "into", objects=self.place / "objects", **options)  # type: ignore[arg-type]
        return state, self.read - before

    def built(self, state: CodeState) -> dict[bytes, tuple[str, bytes]]:
        return tree(materialise(state, self.place / "tree"))


@pytest.fixture
def look(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(repository, tmp_path / "place", monkeypatch)


def test_only_what_changed_is_read(look: Looks) -> None:
    first, count = look()
    assert count == 6  # of seven names one is a link
    again, count = look()
    assert count == 0 and again == first
    change(look.project)
    state, count = look()
    assert 0 < count < 6 and state.digest != first.digest
    assert look.built(state) == tree(look.project)
    assert look()[1] == 0 and look(exclude=["*.py"])[0].file_count < state.file_count
    assert look()[0].digest == state.digest


def test_the_same_size_and_time_with_another_content_is_another_file(look: Looks) -> None:
    file = look.project / "train.py"
    os.utime(file, (LONG_AGO, LONG_AGO))
    look()
    file.write_text("ONE\nTWO\nTHREE\n"[: file.stat().st_size])
    os.utime(file, (LONG_AGO, LONG_AGO))
    state, count = look()
    assert count == 1 and look.built(state)[b"train.py"][1].startswith(b"ONE")


def test_a_file_that_was_just_written_is_read_again(look: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("choline_tui.codestate.memory.SETTLED_NS", 3600 * 10**9)
    assert look()[1] == 6 == look()[1]


def test_what_has_settled_by_its_times(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    mark = mark_of((tmp_path / "file").stat())
    assert not settled(mark, mark[2]) and settled(mark, mark[2] + 3 * 10**9)
    assert not settled((*mark[:1], mark[1] + 10**10, *mark[2:]), mark[2] + 3 * 10**9)
    assert not settled(mark_of(tmp_path.stat()), mark[2] + 3 * 10**9)


def test_contents_that_were_swept_are_kept_again(look: Looks) -> None:
    state, _ = look()
    assert sweep(look.place / "objects", [], older_than=float("inf")) > 0
    again, count = look()
    assert count == 6 and again.digest == state.digest
    assert look.built(again) == tree(look.project)


def test_a_content_that_was_lost_or_damaged_is_told_once_and_kept_again(look: Looks) -> None:
    for spoil in ("lost", "damaged"):
        state, _ = look()
        victim = next(
            p for p in (look.place / "objects").rglob("*") if p.is_file() and b"odd" in p.read_bytes()
        )
        if spoil == "lost":
            victim.unlink()
        else:
            victim.write_bytes(b"eve\n")
        with pytest.raises(StoreError):
            materialise(state, look.place / "tree")
        state, count = look()
        assert count == 6 and look.built(state)[ODD] == ("file", b"odd\n")


@pytest.mark.parametrize("content", [b"", b"abc", b"\0" * 500])
def test_a_memory_that_cannot_be_read_costs_time_only(look: Looks, content: bytes) -> None:
    state, _ = look()
    for file in (look.place / "objects-seen").iterdir():
        if file.name != "token":
            file.write_bytes(content)
    again, count = look()
    assert count == 6 and again == state and look()[1] == 0


def test_two_projects_do_not_know_of_each_other(look: Looks, tmp_path: Path) -> None:
    state, _ = look()
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(look.project), str(other))
    look.project = other
    again, count = look()
    assert count == 6 and again.digest == state.digest
