"""A branch as its remote has it, by real git and a real server; and what a machine may clone."""

from pathlib import Path

import pytest

from choline_tui.codestate import capture, capture_branch, cloneable, materialise
from choline_tui.kernel.errors import ProjectError
from tests.codestate.gits import change, git, make_repository, tree
from tests.support.git_http import GitServer


def other_person(url: str, at: Path, text: str = "theirs\n", branch: str = "main") -> str:
    """Somebody else's clone, from which one more commit is pushed; its hash."""
    if not at.exists():
        git(at.parent, "clone", "-q", url, at.name)
        git(at, "checkout", "-q", "-B", branch)
    (at / "train.py").write_text(text)
    git(at, "commit", "-q", "-a", "-m", "Theirs")
    git(at, "push", "-q", str(at.parent / "server" / "x.git"), f"HEAD:refs/heads/{branch}")
    return git(at, "rev-parse", "HEAD")


def position(repository: Path) -> tuple[object, ...]:
    """All of a repository that a person would see changed."""
    status = git(repository, "status", "--porcelain=v2", "--branch")
    refs = git(repository, "for-each-ref")
    return tree(repository), status, refs, (repository / ".git" / "FETCH_HEAD").exists()


def test_the_remotes_branch_is_frozen_whatever_is_here(repository: Path, tmp_path: Path) -> None:
    with GitServer(tmp_path / "server") as server:
        url = server.publish(repository)
        theirs = other_person(url, tmp_path / "other")
        for word in ("mine", "mine too"):
            (repository / "mine.py").write_text(word)
            git(repository, "add", "-A")
            git(repository, "commit", "-q", "-m", "Mine")
        change(repository)
        before = position(repository)
        state = capture_branch(repository, "main", tmp_path / "frozen")
        assert position(repository) == before
        assert (state.commit, state.message, state.branch) == (theirs, "Theirs", "main")
        assert (state.remote, state.dirty_count) == (url, 0)
        assert state.clone is not None and (state.clone.url, state.clone.prefix) == (url, "")
        assert [w for w in state.warnings if "2 commits of yours on main are not on the remote" in w]
        assert tree(materialise(state, tmp_path / "tree")) == tree(tmp_path / "other")
        # what was seen there is frozen again without asking, though the branch goes on
        later = other_person(url, tmp_path / "other", "even later\n")
        server.asked.clear()
        again = capture_branch(repository, "main", tmp_path / "again", commit=theirs)
        assert (again.commit, again.digest, server.asked) == (theirs, state.digest, [])
        assert capture_branch(repository, "main", tmp_path / "later").commit == later


def test_below_the_top_of_the_repository_and_of_an_upstream_with_another_name(
    repository: Path, tmp_path: Path
) -> None:
    with GitServer(tmp_path / "server") as server:
        server.publish(repository)
        git(repository, "fetch", "-q", "origin")
        git(repository, "checkout", "-q", "-b", "mine", "--track", "origin/main")
        state = capture_branch(repository / "sub", "mine", tmp_path / "frozen")
        assert state.clone is not None and state.clone.prefix == "sub/" and state.branch == "main"
        assert any("its upstream is called main" in w for w in state.warnings)


def test_a_server_that_gives_no_bare_commit_gives_the_branch(repository: Path, tmp_path: Path) -> None:
    with GitServer(tmp_path / "server") as server:
        url = server.publish(repository)
        theirs = other_person(url, tmp_path / "other")
        other_person(url, tmp_path / "other", "later\n")
        git(repository, "config", "protocol.version", "0")  # by which a server refuses what is no tip
        before = position(repository)
        state = capture_branch(repository, "main", tmp_path / "frozen", commit=theirs)
        assert (state.commit, position(repository)) == (theirs, before)
        with pytest.raises(ProjectError, match="does not have commit 1111"):
            capture_branch(repository, "main", tmp_path / "frozen", commit="1" * 40)


def test_what_cannot_be_is_said_with_what_to_do(repository: Path, tmp_path: Path) -> None:
    def refused(branch: str, where: Path = repository) -> ProjectError:
        with pytest.raises(ProjectError) as caught:
            capture_branch(where, branch, tmp_path / "frozen")
        return caught.value

    assert "no remote 'origin'" in refused("main").message
    with GitServer(tmp_path / "server") as server:
        server.publish(repository)
        git(repository, "push", "-q", str(server.root / "x.git"), "main:refs/heads/feature-1")
        git(repository, "branch", "local")
        assert "has no branch 'featur-1'" in refused("featur-1").message
        assert refused("featur-1").hint == "Did you mean feature-1?"
        assert refused("origin/main").hint == "Did you mean main?"
        assert "'git push -u origin local' puts it there" in refused("local").hint
        assert "'git ls-remote --heads origin' lists them" in refused("quite-another").hint
        for odd in ("-x", "a..b", "a b", "x" * 250 + "/"):
            assert "no name of a branch" in refused(odd).message
        server.token = "wanted"
        told = refused("main")
        assert "cannot be asked from here" in told.message and "'git fetch origin' must work" in told.hint
    assert "cannot be asked from here" in refused("main").message
    (tmp_path / "plain").mkdir()
    assert "in no git repository" in refused("main", tmp_path / "plain").message


def test_credentials_in_the_remotes_address_are_kept_nowhere_and_told(
    repository: Path, tmp_path: Path
) -> None:
    with GitServer(tmp_path / "server", token="s3cr3t-token") as server:
        url = server.publish(repository)
        with_them = url.replace("//", "//me:s3cr3t-token@")
        git(repository, "remote", "set-url", "origin", with_them)
        state = capture_branch(repository, "main", tmp_path / "frozen")
        assert state.remote == url and state.clone is not None and state.clone.url == url
        assert any("holds a name or password" in w for w in state.warnings)
        assert "s3cr3t" not in state.model_dump_json()
        server.token = "another"
        with pytest.raises(ProjectError) as caught:
            capture_branch(repository, "main", tmp_path / "frozen")
        assert "s3cr3t" not in f"{caught.value} {caught.value.hint} {caught.value.details}"


def test_a_commit_that_was_pushed_may_be_cloned_and_any_other_is_sent(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "project")

    def told(project: Path = repository) -> str:
        state = cloneable(capture(project, tmp_path / "frozen"), project)
        assert state.clone is None
        return state.warnings[-1]

    assert "the repository has no remote" in told()
    with GitServer(tmp_path / "server") as server:
        url = server.publish(repository)
        assert "was not pushed yet" in told()
        git(repository, "fetch", "-q", "origin")
        state = cloneable(capture(repository / "sub", tmp_path / "frozen"), repository / "sub")
        assert state.clone is not None and (state.clone.url, state.clone.prefix) == (url, "sub/")
        (repository / "sub" / ".env").write_text("KEY=secret\n")
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", "With .env")
        git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")
        frozen = capture(repository / "sub", tmp_path / "frozen", exclude=["/.env"])
        assert cloneable(frozen, repository / "sub").clone is not None
        none = cloneable(frozen, repository / "sub", ["/.env"])
        assert none.clone is None and "holds .env, which goes to no machine" in none.warnings[-1]
        git(repository, "push", "-q", str(server.root / "x.git"), "main")
        branch = capture_branch(
            repository / "sub", "main", tmp_path / "frozen", exclude=["/.env"], stays=["*.env"]
        )
        assert branch.clone is None and "holds .env" in branch.warnings[-1]
        (repository / "sub" / ".cholineignore").write_text("left.py\n")
        (repository / "sub" / "left.py").write_text("x")
        git(repository, "rm", "-q", "sub/.env")
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", "Not the code")
        git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")
        left = cloneable(capture(repository / "sub", tmp_path / "frozen"), repository / "sub")
        assert left.clone is None and "holds left.py, which" in left.warnings[-1]
        (repository / "new.py").write_text("x")
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", "New")
        assert "was not pushed yet" in told()
    git(repository, "remote", "set-url", "origin", str(tmp_path / "server" / "x.git"))
    assert "a directory of this computer" in told()
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a").write_text("x")
    assert "there is no commit" in told(tmp_path / "plain")
