"""A tree that git says is as it was is not looked at file by file, and what is told of it is the same."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from choline_tui.codestate import capture, manifest, rebuild
from choline_tui.codestate.unchanged import Shortcut
from choline_tui.model.code import CodeState
from tests.codestate.gits import git, make_repository


class Tree:
    """A repository whose files are dated by us, so that no two states of one look alike by chance."""

    def __init__(self, top: Path) -> None:
        self.top = make_repository(top / "project")
        self.place = top
        self._second = 1_500_000_000
        for number in range(6):
            self.write(f"pkg/f{number}.py", "one\n")
        self.write(".gitignore", "*.log\n")
        self.commit()

    def write(self, name: str, text: str) -> None:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self._second += 10
        os.utime(path, (self._second, self._second))

    def commit(self) -> None:
        git(self.top, "add", "-A")
        git(self.top, "commit", "-q", "-m", f"at {self._second}")

    def look(self) -> CodeState:
        return capture(self.top, self.place / "into", objects=self.place / "objects")

    def afresh(self) -> CodeState:
        return capture(self.top, self.place / "fresh", objects=self.place / "other" / str(self._second))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    # a file is settled at once: its dates are ours
    monkeypatch.setattr("choline_tui.codestate.memory.SETTLED_NS", -(10**12))
    return Tree(tmp_path)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of every try of the shortcut, whether it was taken."""
    found: list[bool] = []
    honest = Shortcut.take

    def take(self: Shortcut, into: Path) -> CodeState | None:
        state = honest(self, into)
        found.append(state is not None)
        return state

    monkeypatch.setattr(Shortcut, "take", take)
    return found


def told(state: CodeState) -> Any:
    manifest(state)  # it is there, and the one of the state
    return state.model_dump(exclude={"frozen_dir", "objects_dir"})


def assume(tree: Tree) -> None:
    git(tree.top, "update-index", "--assume-unchanged", "pkg/f1.py")
    tree.write("pkg/f1.py", "two\n")


def line_ends(tree: Tree) -> None:
    tree.write(".gitattributes", "*.py text\n")
    tree.commit()
    tree.write("pkg/f2.py", "one\r\n")


STEPS: list[tuple[str, Callable[[Tree], object]]] = [
    ("nothing", lambda tree: None),
    ("same size", lambda tree: tree.write("pkg/f0.py", "two\n")),
    ("changed again", lambda tree: tree.write("pkg/f0.py", "tri\n")),
    ("and back", lambda tree: tree.write("pkg/f0.py", "one\n")),
    ("touched", lambda tree: tree.write("pkg/f3.py", "one\n")),
    ("new", lambda tree: tree.write("new.py", "x\n")),
    ("new one changed", lambda tree: tree.write("new.py", "y\n")),
    ("ignored", lambda tree: tree.write("a.log", "x\n")),
    ("executable", lambda tree: (tree.top / "pkg/f4.py").chmod(0o755)),
    ("deleted", lambda tree: (tree.top / "pkg/f5.py").unlink()),
    ("committed", Tree.commit),
    ("another branch", lambda tree: git(tree.top, "checkout", "-q", "-b", "other")),
    ("left out", lambda tree: tree.write(".cholineignore", "new.py\n")),
    ("an unseen change", assume),
    ("line ends", line_ends),
]


def test_whatever_happens_the_state_is_that_of_a_look_at_every_file(tree: Tree, taken: list[bool]) -> None:
    for name, step in STEPS:
        for _ in range(3):
            tree.look()  # until the tree is known
        step(tree)
        assert told(tree.look()) == told(tree.afresh()), name
    assert sum(taken) > len(STEPS), "it is taken where it can be"
    armed = len(taken)
    for _ in range(3):
        tree.look()
    assert len(taken) == armed, "never where git may call clean what has other bytes"


def test_contents_that_were_swept_are_kept_anew(tree: Tree, taken: list[bool]) -> None:
    for _ in range(4):
        state = tree.look()
    assert taken == [True]
    (tree.place / "objects").rename(tree.place / "away")
    again = tree.look()
    assert told(again) == told(state) and len(taken) == 1
    assert rebuild(again, tree.place / "rebuilt") == again.file_count
