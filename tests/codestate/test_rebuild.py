"""A run's tree rebuilt, and two of them compared, by real git."""

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from choline_tui.codestate import FileChange, capture, rebuild, write_difference
from choline_tui.kernel.errors import StoreError, UsageError
from choline_tui.model.code import CodeState
from tests.codestate.gits import ODD, change, git, tree


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    return tmp_path / "objects"


def test_the_exact_tree_is_rebuilt_although_commit_and_repository_are_gone(
    repository: Path, tmp_path: Path
) -> None:
    change(repository)
    expected = tree(repository)
    state = capture(repository, tmp_path / "frozen")
    shutil.rmtree(repository)
    assert rebuild(state, tmp_path / "new" / "place") == len(expected)
    assert tree(tmp_path / "new" / "place") == expected
    assert ODD in expected and not list((tmp_path / "new").glob(".*"))
    # they are one's own: to change one does not change what was frozen
    (tmp_path / "new" / "place" / "train.py").write_text("mine")
    (tmp_path / "here").mkdir()
    seen = (tmp_path / "here").stat().st_ino
    rebuild(state, tmp_path / "here")
    assert tree(tmp_path / "here") == expected and (tmp_path / "here").stat().st_ino == seen


def test_nothing_that_is_there_is_written_over(repository: Path, tmp_path: Path) -> None:
    state = capture(repository, tmp_path / "frozen")
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    before = tree(tmp_path)
    for name in ("file", "full", "link"):
        with pytest.raises(UsageError):
            rebuild(state, tmp_path / name)
    assert tree(tmp_path) == before


def test_a_damaged_copy_leaves_nothing_half_made(repository: Path, tmp_path: Path, objects: Path) -> None:
    state = capture(repository, tmp_path / "frozen", objects=objects)
    victim = next(path for path in objects.rglob("*") if path.is_file() and b"three" in path.read_bytes())
    victim.chmod(0o644)
    victim.write_bytes(b"one\ntwo\nTHREE\n")
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with pytest.raises(StoreError, match="damaged"):
            rebuild(state, tmp_path / name)
    assert not (tmp_path / "new").exists() and not list((tmp_path / "empty").iterdir())


def compared(
    old: CodeState, new: CodeState, scratch: Path, **options: bool
) -> tuple[list[FileChange], bytes]:
    out = scratch / "patch"
    with out.open("wb") as file:
        found = write_difference(old, new, scratch, file, **options)
    return found, out.read_bytes()


def test_the_difference_is_told_and_makes_the_one_tree_from_the_other(
    repository: Path, tmp_path: Path, objects: Path
) -> None:
    old = capture(repository, tmp_path / "a", objects=objects)
    change(repository)
    new = capture(repository, tmp_path / "b", objects=objects)
    files, patch = compared(old, new, tmp_path)
    by_path = {each.path: each for each in files}
    assert by_path[b"train.py"] == FileChange(b"train.py", "changed", 3, 1)
    assert by_path[b"fresh.py"] == FileChange(b"fresh.py", "added", 2, 0)
    assert by_path[b"empty"] == FileChange(b"empty", "deleted", 0, 0)
    assert by_path[b"sub/go.sh"] == FileChange(b"sub/go.sh", "changed", 0, 0)
    assert by_path[b"binary"] == FileChange(b"binary", "changed", None, None)
    assert by_path[b"moved.txt"] == FileChange(b"moved.txt", "renamed", 0, 0, b"old.txt")
    assert by_path[b"link"].kind == "changed" and len(files) == 7
    rebuild(old, tmp_path / "old")
    git(tmp_path / "old", "init", "-q")
    subprocess.run(["git", "apply"], cwd=tmp_path / "old", input=patch, check=True)
    assert tree(tmp_path / "old") == tree(repository)
    assert b"GIT binary patch" in patch
    _, short = compared(old, new, tmp_path, binary=False)
    assert b"GIT binary patch" not in short and b"Binary files" in short
    assert not list(tmp_path.glob("*.git"))


def test_names_of_any_bytes_and_settings_of_git_change_nothing(
    repository: Path, tmp_path: Path, objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = capture(repository, tmp_path / "a", objects=objects)
    with open(os.path.join(os.fsencode(repository), ODD), "ab") as file:
        file.write(b"more\n")
    (repository / '"q" \\ \t').write_text("x\n")
    new = capture(repository, tmp_path / "b", objects=objects)
    (tmp_path / "config").write_text("[diff]\n\texternal = false\n\tnoprefix = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    files, patch = compared(old, new, tmp_path)
    assert {(f.path, f.added) for f in files} == {(ODD, 1), (b'"q" \\ \t', 1)}
    assert b"+more" in patch and b'"a/new\\nline \\377"' in patch


def test_the_same_code_has_no_difference_and_a_lost_content_is_told(
    repository: Path, tmp_path: Path, objects: Path
) -> None:
    old = capture(repository, tmp_path / "a", objects=objects)
    assert write_difference(old, old, tmp_path, io.BytesIO()) == []
    (repository / "train.py").write_text("changed\n")
    new = capture(repository, tmp_path / "b", objects=objects)
    victim = next(path for path in objects.rglob("*") if path.is_file() and path.read_bytes() == b"changed\n")
    victim.unlink()
    with pytest.raises(StoreError, match=r"'train\.py' is lost"):
        write_difference(old, new, tmp_path, None)
