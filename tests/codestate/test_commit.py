"""A commit's code, read from git's own store, and how much a working tree differs from its commit."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from choline_tui.codestate import capture, capture_commit, commit, manifest, materialise
from choline_tui.codestate.lfs import Pointer, read_pointer
from choline_tui.codestate.patterns import Patterns
from choline_tui.codestate.repository import position
from choline_tui.kernel.errors import ProjectError
from tests.codestate.gits import ODD, change, git, tree
from tests.support import needs

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


def test_a_commit_is_the_tree_git_would_check_out_and_the_working_tree_is_not_touched(
    repository: Path, tmp_path: Path
) -> None:
    first = git(repository, "rev-parse", "HEAD")
    whole = tree(repository)
    (repository / "train.py").write_text("later\n")
    git(repository, "commit", "-q", "-a", "-m", "Second")
    change(repository)
    before = tree(repository), git(repository, "status", "--porcelain=v2", "--branch")
    state = capture_commit(repository, "HEAD~1", tmp_path / "frozen")
    assert (state.commit, state.message, state.branch) == (first, "First", "")
    assert (state.dirty_count, state.changed_lines, state.warnings) == (0, 0, ())
    assert tree(materialise(state, tmp_path / "tree")) == whole
    assert (tree(repository), git(repository, "status", "--porcelain=v2", "--branch")) == before
    assert capture_commit(repository, "main", tmp_path / "other").branch == "main"


def test_a_commit_of_a_clean_tree_is_the_same_code_as_the_tree(repository: Path, tmp_path: Path) -> None:
    now = capture(repository, tmp_path / "a", exclude=["*.sh"])
    then = capture_commit(repository, "HEAD", tmp_path / "b", exclude=["*.sh"])
    assert (then.digest, then.file_count) == (now.digest, now.file_count)
    assert b"sub/go.sh" not in {f.path for f in manifest(then).files}


def test_a_commit_is_ignored_by_its_own_rules_and_below_the_project_only(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "sub" / ".cholineignore").write_text("*.csv\n")
    (repository / "sub" / "big.csv").write_text("1,2\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "Data")
    (repository / "sub" / ".cholineignore").write_text("")
    state = capture_commit(repository / "sub", "HEAD", tmp_path / "frozen")
    assert {f.path for f in manifest(state).files} == {b"go.sh", b".cholineignore"}
    with pytest.raises(ProjectError, match="has no file in"):
        capture_commit(repository / "sub", "HEAD", tmp_path / "frozen", exclude=["*"])


@pytest.mark.parametrize("rev", ["no-such", "-n1", "HEAD:train.py", "", "a\nb", "x" * 300])
def test_what_is_no_commit_is_refused_in_words(repository: Path, tmp_path: Path, rev: str) -> None:
    with pytest.raises(ProjectError, match="commit"):
        capture_commit(repository, rev, tmp_path / "frozen")


def test_without_git_there_are_no_commits(tmp_path: Path) -> None:
    needs("git")
    (tmp_path / "plain").mkdir()
    with pytest.raises(ProjectError, match="in no git repository"):
        capture_commit(tmp_path / "plain", "HEAD", tmp_path / "frozen")


def test_a_big_file_of_a_commit_arrives_whole(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"0123456789" * 1000
    (repository / "big.bin").write_bytes(data)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "Big")
    monkeypatch.setattr(commit, "SMALL", 100)
    monkeypatch.setattr(commit, "_CHUNK", 999)
    state = capture_commit(repository, "HEAD", tmp_path / "frozen")
    assert (materialise(state, tmp_path / "tree") / "big.bin").read_bytes() == data


# ------------------------------------------------------------------------------ submodules and LFS


def test_a_submodule_gives_the_commit_it_had_then_or_the_run_is_refused(
    repository: Path, tmp_path: Path
) -> None:
    other = tmp_path / "library"
    other.mkdir()
    git(other, "init", "-q", "-b", "main")
    (other / "lib.py").write_text("old\n")
    git(other, "add", "-A")
    git(other, "commit", "-q", "-m", "Library")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "lib")
    git(repository, "commit", "-q", "-m", "With a library")
    (repository / "lib" / "lib.py").write_text("new\n")
    state = capture_commit(repository, "HEAD", tmp_path / "frozen")
    built = tree(materialise(state, tmp_path / "tree"))
    assert built[b"lib/lib.py"] == ("file", b"old\n")
    now = tree(materialise(capture(repository, tmp_path / "now"), tmp_path / "tree"))
    assert now[b"lib/lib.py"] == ("file", b"new\n")
    git(repository, "submodule", "--quiet", "deinit", "-f", "lib")
    with pytest.raises(ProjectError, match="'lib' is not checked out"):
        capture_commit(repository, "HEAD", tmp_path / "frozen")
    assert b"lib/lib.py" not in {
        f.path for f in manifest(capture_commit(repository, "HEAD", tmp_path / "f", exclude=["lib"])).files
    }


def test_a_pointer_of_lfs_gives_its_content_or_the_run_is_refused(repository: Path, tmp_path: Path) -> None:
    content = b"weights" * 500
    oid = hashlib.sha256(content).hexdigest()
    (repository / "model.bin").write_text(POINTER.format(oid, len(content)))
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "Model")
    for rev in ("", "HEAD"):
        with pytest.raises(ProjectError, match="Git LFS") as refused:
            if rev:
                capture_commit(repository, rev, tmp_path / "b")
            else:
                capture(repository, tmp_path / "a")
        assert "git lfs" in refused.value.hint and "exclude" in refused.value.hint
    kept = repository / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4]
    kept.mkdir(parents=True)
    (kept / oid).write_bytes(content)
    state = capture_commit(repository, "HEAD", tmp_path / "b")
    assert (materialise(state, tmp_path / "tree") / "model.bin").read_bytes() == content
    (kept / oid).write_bytes(content[:-1] + b"?")
    with pytest.raises(ProjectError, match="Git LFS"):
        capture_commit(repository, "HEAD", tmp_path / "b")


def test_only_a_pointer_is_one() -> None:
    good = POINTER.format("a" * 64, 12).encode()
    assert read_pointer(good) == Pointer("a" * 64, 12)
    for text in (b"", good + b"x", good.replace(b"v1", b"v2"), good.replace(b"a" * 64, b"A" * 64)):
        assert read_pointer(text) is None


# --------------------------------------------------------------------------------- changed lines


def test_how_many_lines_differ_from_the_commit(repository: Path, tmp_path: Path) -> None:
    assert capture(repository, tmp_path / "f").changed_lines == 0
    (repository / "train.py").write_text("one\nTWO\nthree\nfour\n")  # 2 added, 1 removed
    git(repository, "add", "train.py")
    (repository / "train.py").write_text("one\nTWO\nthree\nfour\nfive\n")  # 1 more
    (repository / "fresh.py").write_text("a\nb")  # 2, untracked
    (repository / "binary").write_bytes(b"\0\1\n\n\n")  # none
    (repository / "new.bin").write_bytes(b"\0\1\n\n\n")  # none
    (repository / "old.txt").unlink()  # 30
    (repository / "left.log").write_text("1\n2\n")  # left out
    state = capture(repository, tmp_path / "f", exclude=["*.log"])
    assert (state.dirty_count, state.changed_lines) == (5, 36)


def test_lines_of_a_project_below_the_top_and_before_the_first_commit(tmp_path: Path) -> None:
    needs("git")
    project = tmp_path / "top" / "sub"
    project.mkdir(parents=True)
    git(tmp_path / "top", "init", "-q")
    (project / "a*.py").write_text("1\n2\n")
    git(project, "add", "-A")
    assert capture(project, tmp_path / "f").changed_lines == 2
    git(project, "commit", "-q", "-m", "x")
    (project / "a*.py").write_text("1\n3\n")
    (project / "ab.py").write_text("1\n")
    (tmp_path / "top" / "elsewhere").write_text("1\n")
    assert capture(project, tmp_path / "f").changed_lines == 3


def test_a_changed_tree_with_odd_names_is_whole_and_counted(repository: Path, tmp_path: Path) -> None:
    change(repository)
    with open(os.path.join(os.fsencode(repository), ODD), "ab") as file:
        file.write(b"more\n")
    state = capture(repository, tmp_path / "f")
    # train.py 3+1, fresh.py 2, old.txt 30 away, moved.txt 30 new, the link 1+1, the odd name 1
    assert state.changed_lines == 4 + 2 + 60 + 2 + 1
    assert tree(materialise(state, tmp_path / "tree")) == tree(repository)


def test_lines_are_those_of_a_comparison_with_the_whole_commit(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few files git is asked about: every kind of change, alone and together."""
    kinds: dict[str, Callable[[], object]] = {
        "text": lambda: (repository / "train.py").write_text("one\nTWO\n"),
        "binary": lambda: (repository / "binary").write_bytes(b"\0\1\n" * 9),
        "emptied": lambda: (repository / "old.txt").write_text(""),
        "a mode": lambda: (repository / "sub" / "go.sh").chmod(0o644),
        "gone": lambda: (repository / "empty").unlink(),
        "an odd name": lambda: Path(os.fsdecode(os.fsencode(repository) + b"/" + ODD)).write_text("x"),
        "staged, and back": lambda: stage_and_take_back(repository),
        "not in the index, ignored": lambda: git(repository, "rm", "-q", "--cached", "sub/go.sh"),
        "a link": lambda: link_instead(repository / "old.txt"),
        "new": lambda: ((repository / "new").write_text("1\n2"), git(repository, "add", "new")),
    }
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "exclude").write_text("go.sh\n")
    for name, make in kinds.items():
        git(repository, "reset", "-q", "--hard")
        make()
        assert lines(repository, monkeypatch) == lines(repository, monkeypatch, whole=True), name
    git(repository, "reset", "-q", "--hard")
    for name in ("text", "binary", "a mode", "an odd name", "a link", "gone"):
        kinds[name]()
    assert lines(repository, monkeypatch) == lines(repository, monkeypatch, whole=True) > 30


def stage_and_take_back(repository: Path) -> None:
    before = (repository / "train.py").read_text()
    (repository / "train.py").write_text("staged\n")
    git(repository, "add", "-A")
    (repository / "train.py").write_text(before)


def link_instead(path: Path) -> None:
    path.unlink()
    path.symlink_to("link")


def lines(repository: Path, monkeypatch: pytest.MonkeyPatch, *, whole: bool = False) -> int:
    with monkeypatch.context() as patch:
        if whole:
            patch.setattr("choline_tui.codestate.index.written", lambda files: None)
        where = position(str(repository), Patterns(()))
    assert where is not None
    return where.changed_lines
