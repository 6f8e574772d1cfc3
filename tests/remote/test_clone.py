"""A clone on the machine: by real git from a real server, and what of it is taken."""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from choline_tui.kernel.clone import Clone, Cloned, CloneFile
from choline_tui.remote.clone import clone
from choline_tui.remote.paths import Paths
from tests.codestate.gits import ODD, git, make_repository, tree
from tests.support.git_http import GitServer

TOKEN = "s3cr3t-0123456789"
AT = 1_600_000_000 * 10**9


def told(project: Path, **changed: str) -> tuple[CloneFile, ...]:
    """Every file as home would name it; ``changed``: contents that it has otherwise."""
    found = []
    for path, (kind, content) in sorted(tree(project).items()):
        name = os.fsdecode(path)
        if kind == "link":
            found.append(CloneFile(name, link=os.fsdecode(content), mtime_ns=AT))
            continue
        content = changed[name].encode() if name in changed else content
        digest = hashlib.sha256(content).hexdigest()
        found.append(CloneFile(name, len(content), kind == "program", AT, digest))
    return tuple(found)


class Machine:
    def __init__(self, root: Path, server: GitServer) -> None:
        self.project = make_repository(root / "project")
        self.server = server
        self.home = root / "machine"
        self.paths = Paths(str(self.home))
        self.paths.make_run("r")
        self.src = self.home / "choline" / "r" / "src"
        url = server.publish(self.project)
        self.asked = Clone(url, git(self.project, "rev-parse", "HEAD"), tree=told(self.project))

    def __call__(self, **changes: object) -> Cloned:
        wire = replace(self.asked, **changes).to_wire()  # type: ignore[arg-type]
        done = clone(self.paths, "r", Clone.from_wire(wire))
        assert sorted(path.name for path in self.src.parent.iterdir()) == ["data", "keep", "results", "src"]
        return done

    def holds(self, text: str) -> list[Path]:
        """Files of the machine in which it stands."""
        return [p for p in self.home.rglob("*") if p.is_file() and text.encode() in p.read_bytes()]


@pytest.fixture
def machine(tmp_path: Path):  # type: ignore[no-untyped-def]
    with GitServer(tmp_path / "server") as server:
        yield Machine(tmp_path, server)


def test_the_commit_lies_in_src_as_home_has_it_with_its_repository(machine: Machine) -> None:
    (machine.project / "train.py").write_text("later\n")
    git(machine.project, "commit", "-q", "-a", "-m", "Later")
    git(machine.project, "push", "-q", str(machine.server.root / "x.git"), "main")
    done = machine()
    assert (done.why, done.count) == ("", len(machine.asked.tree))
    assert tree(machine.src)[b"train.py"] == ("file", b"one\ntwo\nthree\n") and ODD in tree(machine.src)
    assert done.size == sum(file.size for file in machine.asked.tree)
    files = [p for p in machine.src.rglob("*") if p.is_file() and ".git" not in p.parts]
    assert {p.stat().st_mtime_ns for p in files} == {AT}
    assert git(machine.src, "rev-parse", "HEAD") == machine.asked.commit
    assert git(machine.src, "status", "--porcelain") == ""
    assert git(machine.src, "remote", "get-url", "origin") == machine.asked.url
    assert not list((machine.src / ".git" / "hooks").glob("*"))
    # what is there is left alone: home sends the rest
    (machine.src / "train.py").unlink()
    assert machine() == Cloned() and not (machine.src / "train.py").exists()


def test_what_home_has_otherwise_or_not_at_all_is_not_taken(machine: Machine, tmp_path: Path) -> None:
    files = [f for f in told(machine.project, **{"old.txt": "x" * 10}) if f.path != "binary"]
    assert machine(tree=tuple(files)).count == len(files) - 1
    assert not {b"old.txt", b"binary"} & set(tree(machine.src))


def test_a_project_below_the_top_gets_its_part_and_no_repository(machine: Machine) -> None:
    files = told(machine.project / "sub")
    assert machine(prefix="sub/", tree=files).count == 1
    assert [p.name for p in machine.src.iterdir()] == ["go.sh"]
    assert (machine.src / "go.sh").stat().st_mode & 0o777 == 0o755


def test_a_link_in_the_commit_leads_to_nothing_of_the_machine(machine: Machine, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "own").write_text("the machine's own\n")
    (machine.project / "way").symlink_to(outside)
    git(machine.project, "add", "-A")
    git(machine.project, "commit", "-q", "-m", "A link")
    git(machine.project, "push", "-q", str(machine.server.root / "x.git"), "main")
    own = hashlib.sha256(b"the machine's own\n").hexdigest()
    asked = (*machine.asked.tree, CloneFile("way/own", 18, mtime_ns=AT, digest=own))
    commit = git(machine.project, "rev-parse", "HEAD")
    assert machine(commit=commit, tree=asked).count == len(asked) - 1
    assert (outside / "own").exists() and not (machine.src / "way").exists()
    for path in machine.src.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    own_file = CloneFile("own", 18, mtime_ns=AT, digest=own)
    assert machine(commit=commit, prefix="way/", tree=(own_file,)).count == 0 and (outside / "own").exists()


def test_a_token_opens_it_and_stays_nowhere(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.server.token = TOKEN
    # what a machine's own settings would do with it
    store = machine.home / "stored"
    (machine.home / ".gitconfig").write_text(f"[credential]\n\thelper = store --file={store}\n")
    monkeypatch.setenv("HOME", str(machine.home))
    seen: list[object] = []
    real = subprocess.Popen

    def watched(words: list[str], **more: object) -> object:
        seen.append((words, more.get("env")))
        return real(words, **more)  # type: ignore[call-overload]

    monkeypatch.setattr("choline_tui.remote.clone.subprocess.Popen", watched)
    assert machine().why == "the server wants a token"
    assert machine(token="another-0123456789").why == "the server refuses the token"
    with contextlib.ExitStack() as opened:
        for _ in range(12):  # the pipe gets a number of two digits, and else one of one
            opened.enter_context(open(os.devnull))
        assert machine(token="another-0123456789").why == "the server refuses the token"
    assert machine(token=TOKEN).why == ""
    assert tree(machine.src) == tree(machine.project)
    assert machine.holds(TOKEN) == [] and not store.exists()
    assert seen and TOKEN not in repr(seen) and TOKEN not in repr(replace(machine.asked, token=TOKEN))


def test_whatever_goes_wrong_is_told_and_leaves_nothing(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not our ref" in machine(commit="1" * 40).why
    assert "not found" in machine(url=machine.asked.url + "-gone").why
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/x.git"
        assert machine(url=url).why == "127.0.0.1 cannot be reached from there: Connection refused"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine().why == "git is not installed there"
    assert list(machine.src.iterdir()) == []


def test_a_request_that_makes_no_sense_is_refused_without_the_token() -> None:
    good = Clone("https://example.org/x", "1" * 40, "a/", (CloneFile("b"),), TOKEN)
    assert Clone.from_wire(good.to_wire()) == good
    for bad in (
        {"url": "ssh://example.org/x"}, {"url": "https://me:x@example.org/x"}, {"url": "https://example.org"},
        {"commit": "HEAD"}, {"prefix": "../"}, {"prefix": "a"}, {"tree": (CloneFile("../b"),)},
        {"tree": (CloneFile(".git/config"),)}, {"tree": (CloneFile("/b"),)}, {"token": TOKEN + "\nx"},
    ):  # fmt: skip
        with pytest.raises(ValueError) as caught:
            Clone.from_wire(replace(good, **bad).to_wire())
        assert TOKEN not in repr(caught.value)
    for data in (b"", b"no", good.to_wire()[:-20]):
        with pytest.raises(ValueError, match="not a request"):
            Clone.from_wire(data)
    for answer in (None, {}, {"count": True, "size": 1, "why": ""}, {"count": 1, "size": -1, "why": ""}):
        with pytest.raises(ValueError, match="it says no numbers"):
            Cloned.from_wire(answer)
