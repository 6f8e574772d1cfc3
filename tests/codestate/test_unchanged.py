"""What git says is as it was is not looked at, and what is told of a tree is the same as if it were."""

import hashlib
import marshal
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from choline_tui.codestate import capture, freeze, manifest, rebuild
from choline_tui.codestate.index import mark, path_of, plain_entries, proves
from choline_tui.codestate.memory import Known
from choline_tui.codestate.objects import git_name
from choline_tui.codestate.repository import asked
from choline_tui.codestate.unchanged import Shortcut
from choline_tui.kernel.errors import StoreError
from choline_tui.model.code import CodeState
from tests.codestate.gits import git, make_repository


class Tree:
    """A repository whose files are dated by us, so that no two states of one look alike by chance."""

    def __init__(self, top: Path) -> None:
        self.top = make_repository(top / "project")
        self.place = top
        self._second = 1_500_000_000
        self._stores = 0
        for number in range(6):
            self.write(f"pkg/f{number}.py", "one\n")
        self.write("old/a.py", "old\n")
        self.write("new/a.py", "new\n")
        self.write(".gitignore", "*.log\n.gitattributes\n")
        self.commit()

    def write(self, name: str, text: str) -> None:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self._date(path)

    def _date(self, path: str | Path) -> None:
        if os.lstat(path).st_mtime > 1_600_000_000:
            self._second += 10
            os.utime(path, (self._second, self._second), follow_symlinks=False)

    def git(self, *words: str) -> None:
        git(self.top, *words)
        for folder, folders, names in os.walk(self.top):
            folders[:] = [inner for inner in folders if inner != ".git"]
            for name in names:  # what git has written is dated by the clock: two of one second look alike
                self._date(os.path.join(folder, name))

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", f"at {self._second}")

    def look(self) -> CodeState:
        return capture(self.top, self.place / "into", objects=self.place / "objects")

    def afresh(self) -> CodeState:
        self._stores += 1
        return capture(self.top, self.place / "fresh", objects=self.place / "other" / str(self._stores))

    def remembered(self) -> list[Path]:
        return [p for p in (self.place / "objects-seen").iterdir() if p.name != "token"]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    # a file is settled at once: its dates are ours
    monkeypatch.setattr("choline_tui.codestate.memory.SETTLED_NS", -(10**12))
    monkeypatch.setattr("choline_tui.codestate.index.BLOCK", 3)
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return Tree(tmp_path)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of every look at a tree that was known, how it was made: "same", "split" or "all"."""
    found: list[str] = []
    same, split, whole = Shortcut.same, Shortcut.split, freeze._by_all

    def watch(name: str, honest: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            result = honest(*args)
            if result is not None:
                found.append(name)
            return result

        return call

    monkeypatch.setattr(Shortcut, "same", watch("same", same))
    monkeypatch.setattr(Shortcut, "split", watch("split", split))
    monkeypatch.setattr(freeze, "_by_all", watch("all", whole))
    return found


def told(state: CodeState) -> Any:
    manifest(state)  # it is there, and the one of the state
    return state.model_dump(exclude={"frozen_dir", "objects_dir"})


def relink(tree: Tree, name: str, target: str) -> None:
    (tree.top / name).unlink()
    (tree.top / name).symlink_to(target)


def unlink_and_write(tree: Tree) -> None:
    (tree.top / "link").unlink()
    tree.write("link", "train.py")


def swap_folder(tree: Tree) -> None:
    (tree.top / "old").rename(tree.top / "away")
    (tree.top / "old").symlink_to("new")


def swap_back(tree: Tree) -> None:
    (tree.top / "old").unlink()
    (tree.top / "away").rename(tree.top / "old")


def conflict(tree: Tree) -> None:
    tree.git("checkout", "-q", "-b", "side")
    tree.write("pkg/f2.py", "side\n")
    tree.commit()
    tree.git("checkout", "-q", "other")
    tree.write("pkg/f2.py", "main\n")
    tree.commit()
    with pytest.raises(Exception, match="merge"):
        tree.git("merge", "-q", "side")


def nested(tree: Tree) -> None:
    (tree.top / "inner").mkdir()
    git(tree.top / "inner", "init", "-q")
    tree.write("inner/a.py", "in\n")


def other_blob(tree: Tree) -> None:
    """The index names another content than the file has, and the file is as it was."""
    (tree.place / "blob").write_text("six\n")
    name = git(tree.top, "hash-object", "-w", str(tree.place / "blob"))
    tree.git("update-index", "--cacheinfo", f"100644,{name},pkg/f3.py")


STEPS: list[tuple[str, Callable[[Tree], object]]] = [
    ("nothing", lambda tree: None),
    ("same size", lambda tree: tree.write("pkg/f0.py", "two\n")),
    ("changed again", lambda tree: tree.write("pkg/f0.py", "tri\n")),
    ("and back", lambda tree: tree.write("pkg/f0.py", "one\n")),
    ("touched", lambda tree: tree.write("pkg/f3.py", "one\n")),
    ("new", lambda tree: tree.write("new.py", "x\n")),
    ("new one changed", lambda tree: tree.write("new.py", "y\n")),
    ("ignored", lambda tree: tree.write("a.log", "x\n")),
    ("ignored and tracked", lambda tree: tree.git("add", "-f", "a.log")),
    ("an untracked one is ignored now", lambda tree: tree.write(".gitignore", "new.py\n.gitattributes\n")),
    ("no longer", lambda tree: tree.write(".gitignore", "*.log\n.gitattributes\n")),
    ("executable", lambda tree: (tree.top / "pkg/f4.py").chmod(0o755)),
    ("staged", lambda tree: tree.git("add", "-A")),
    ("staged and changed", lambda tree: tree.write("pkg/f4.py", "six\n")),
    ("deleted", lambda tree: (tree.top / "pkg/f5.py").unlink()),
    ("committed", Tree.commit),
    ("amended", lambda tree: tree.git("commit", "-q", "--amend", "-m", "other words")),
    ("an older commit", lambda tree: tree.git("checkout", "-q", "HEAD~1")),
    ("changed there", lambda tree: tree.write("pkg/f5.py", "two\n")),
    ("put away", lambda tree: tree.git("stash", "-q")),
    ("back again", lambda tree: tree.git("checkout", "-q", "main")),
    ("and taken out", lambda tree: tree.git("checkout", "-q", "stash@{0}", "--", "pkg/f0.py")),
    ("softly reset", lambda tree: tree.git("reset", "-q", "--soft", "HEAD~1")),
    ("hard reset", lambda tree: tree.git("reset", "-q", "--hard", "ORIG_HEAD")),
    ("another branch", lambda tree: tree.git("checkout", "-q", "-b", "other")),
    ("renamed", lambda tree: tree.git("mv", "pkg/f1.py", "pkg/g1.py")),
    ("only the case", lambda tree: tree.git("mv", "pkg/g1.py", "pkg/G1.py")),
    ("renamed, git not told", lambda tree: (tree.top / "pkg/f2.py").rename(tree.top / "pkg/h2.py")),
    ("a link elsewhere", lambda tree: relink(tree, "link", "train.py")),
    ("a link for a file", lambda tree: relink(tree, "pkg/f3.py", "f4.py")),
    ("a link out", lambda tree: relink(tree, "pkg/f3.py", "/etc/passwd")),
    ("a file for a link", unlink_and_write),
    ("all of it committed", Tree.commit),
    ("a folder for a link to one", swap_folder),
    ("and back as it was", swap_back),
    ("out of the index", lambda tree: tree.git("rm", "-q", "--cached", "pkg/f4.py")),
    ("in it by name", lambda tree: tree.git("add", "-N", "pkg/f4.py")),
    ("left out", lambda tree: tree.write(".cholineignore", "new.py\npkg/f0.py\n")),
    ("changed though left out", lambda tree: tree.write("pkg/f0.py", "out\n")),
    ("not left out", lambda tree: (tree.top / ".cholineignore").unlink()),
    ("committed again", Tree.commit),
    ("an index of another content", other_blob),
    ("that is forgotten", lambda tree: tree.git("reset", "-q")),
    ("a repository inside", nested),
    ("changed in it", lambda tree: tree.write("inner/a.py", "un\n")),
    ("and gone", lambda tree: shutil.rmtree(tree.top / "inner")),
    ("no index", lambda tree: (tree.top / ".git" / "index").unlink()),
    ("an index anew", lambda tree: tree.git("reset", "-q", "--hard")),
    ("a merge that fails", conflict),
    ("given up", lambda tree: tree.git("merge", "--abort")),
    ("a remote", lambda tree: tree.git("remote", "add", "origin", "https://example.com/x.git")),
    ("all of a folder gone", lambda tree: shutil.rmtree(tree.top / "pkg")),
]


def test_whatever_happens_the_state_is_that_of_a_look_at_every_file(tree: Tree, ways: list[str]) -> None:
    used = []
    for _ in range(2):
        tree.look()  # until the tree is known
    for name, step in STEPS:
        step(tree)
        first = len(ways)
        state = told(tree.look())
        used.append(ways[first])
        assert state == told(tree.afresh()), name
        assert state == told(tree.look()), f"{name}, looked at again"
    assert used[0] == "same" and used.count("split") > len(STEPS) * 2 // 3, "taken where it can be"


EDITS: list[Callable[[Tree, int], object]] = [
    lambda tree, n: tree.write(f"pkg/f{n}.py", f"{n + 1}ne\n"),
    lambda tree, n: tree.write(f"pkg/f{n}.py", "one\n"),
    lambda tree, n: (tree.top / f"pkg/f{n}.py").unlink(missing_ok=True),
    lambda tree, n: tree.write(f"fresh{n}.py", "x\n"),
    lambda tree, n: (tree.top / "pkg").rename(tree.top / f"pkg{n}") if n == 0 else None,
    lambda tree, n: (tree.top / "train.py").chmod(0o755 if n % 2 else 0o644),
    lambda tree, n: tree.git("add", "-A"),
    lambda tree, n: tree.commit(),
    lambda tree, n: tree.git("reset", "-q", ("--soft", "--mixed", "--hard")[n % 3], "HEAD~1"),
    lambda tree, n: tree.git("checkout", "-q", "-f", "main" if n % 2 else "main~1"),
    lambda tree, n: tree.git("clean", "-q", "-f", "-d"),
    lambda tree, n: None,
]


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(edits=st.lists(st.tuples(st.sampled_from(EDITS), st.integers(0, 5)), min_size=5, max_size=9))
def test_any_row_of_edits(
    edits: list[tuple[Callable[[Tree, int], object], int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("choline_tui.codestate.memory.SETTLED_NS", -(10**12))
        patch.setattr("choline_tui.codestate.index.BLOCK", 3)
        patch.setattr(os, "fsync", lambda handle: None)
        tree = Tree(tmp_path_factory.mktemp("edits"))
        tree.commit()
        tree.look()
        for edit, number in edits:
            edit(tree, number)
            assert told(tree.look()) == told(tree.afresh())


# ------------------------------------------------------------------------- where the way is closed


def assume(tree: Tree) -> None:
    tree.git("update-index", "--assume-unchanged", "pkg/f1.py")
    tree.write("pkg/f1.py", "two\n")


def skip(tree: Tree) -> None:
    tree.git("update-index", "--skip-worktree", "pkg/f1.py")
    tree.write("pkg/f1.py", "two\n")


def untracked_attributes(tree: Tree) -> None:
    tree.write("pkg/.gitattributes", "*.py text\n")  # ignored: status does not name it
    tree.write("pkg/f1.py", "one\r\n")


def own_attributes(tree: Tree) -> None:
    (tree.top / ".git" / "info").mkdir(exist_ok=True)
    (tree.top / ".git" / "info" / "attributes").write_text("*.py text\n")
    tree.write("pkg/f1.py", "one\r\n")


def tracked_attributes(tree: Tree) -> None:
    tree.write("pkg/.gitattributes", "*.py text\n")
    tree.git("add", "-f", "pkg/.gitattributes")
    tree.commit()
    (tree.top / "pkg/.gitattributes").unlink()  # then git reads the one of the index
    tree.write("pkg/f1.py", "one\r\n")


def line_ends(tree: Tree) -> None:
    tree.git("config", "core.autocrlf", "input")
    tree.write("pkg/f1.py", "one\r\n")


def no_modes(tree: Tree) -> None:
    tree.git("config", "core.fileMode", "false")
    (tree.top / "pkg/f1.py").chmod(0o755)


def cleaning(tree: Tree) -> None:
    tree.git("config", "filter.x.clean", "echo one")
    own_attributes(tree)
    (tree.top / ".git" / "info" / "attributes").write_text("*.py filter=x\n")
    tree.write("pkg/f1.py", "two\n")


def submodule(tree: Tree) -> None:
    git(tree.place, "clone", "-q", str(tree.top), "other")
    words = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tree.place / "other"))
    tree.git(*words, "lib")
    tree.commit()
    (tree.top / "lib" / "train.py").write_text("changed\n")


def other_form(tree: Tree) -> None:
    tree.git("update-index", "--index-version", "4")


@pytest.mark.parametrize(
    "step",
    [assume, skip, no_modes, submodule, other_form],
)
def test_never_where_git_may_call_clean_what_has_other_bytes(
    tree: Tree, ways: list[str], step: Callable[[Tree], object]
) -> None:
    for _ in range(2):
        tree.look()
    assert ways == ["all", "split"]
    step(tree)
    for _ in range(2):
        assert told(tree.look()) == told(tree.afresh())
    assert set(ways[2:]) == {"all"}
    assert len(tree.remembered()) <= 2, "it is not even tried again: the memory of files is left"


@pytest.mark.parametrize(
    "step", [untracked_attributes, own_attributes, tracked_attributes, line_ends, cleaning]
)
def test_where_bytes_are_converted_the_times_are_what_counts(
    tree: Tree, ways: list[str], step: Callable[[Tree], object]
) -> None:
    for _ in range(2):
        tree.look()
    step(tree)
    content = (tree.top / "pkg/f1.py").read_text()
    for _ in range(2):
        assert told(tree.look()) == told(tree.afresh())
    tree.write("pkg/f1.py", "one\n")
    assert told(tree.look()) == told(tree.afresh())
    (tree.place / "objects-seen").rename(tree.place / "forgotten")
    for _ in range(3):  # learned while they are converted
        tree.look()
    assert ways[-2:] == ["split", "same"]
    assert "pkg/f1.py" not in git(tree.top, "status", "--porcelain")
    for text in (content, "one\n", content):
        tree.write("pkg/f1.py", text)
        assert told(tree.look()) == told(tree.afresh())
        assert "pkg/f1.py" not in git(tree.top, "status", "--porcelain"), "git sees no change in this"
    tree.git("add", "-A")
    for _ in range(2):
        assert told(tree.look()) == told(tree.afresh())
    assert ways.count("all") <= 12


def test_what_has_not_settled_is_looked_at(tmp_path: Path, ways: list[str]) -> None:
    """A change within the second of the last one, of the same size and dated back, escapes git."""
    tree = Tree(tmp_path)
    for _ in range(3):
        tree.look()
    path = tree.top / "pkg/f1.py"
    seen = path.stat()
    path.write_text("two\n")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    state = tree.look()
    assert told(state) == told(tree.afresh())
    assert "same" not in ways


def test_a_tree_of_which_much_has_changed_is_learned_anew(
    tree: Tree, ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("choline_tui.codestate.unchanged._FEW", 0)
    for _ in range(2):
        tree.look()
    for number, used in ((1, ["split", "same"]), (6, ["all", "split"])):
        for name in range(number):
            tree.write(f"pkg/f{name}.py", f"for {number}\n")
        tree.commit()
        ways.clear()
        for _ in range(2):
            state = tree.look()
        assert ways == used
        assert told(state) == told(tree.afresh())


def test_an_index_that_is_written_while_git_looks(
    tree: Tree, ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        tree.look()
    honest = asked

    def meddled(directory: str, *words: str) -> bytes:
        found = honest(directory, *words)
        if words[0] == "status":
            tree.write("pkg/f1.py", "two\n")
            tree.git("add", "-A")
        return found

    monkeypatch.setattr("choline_tui.codestate.sight.asked", meddled)
    assert told(tree.look()) == told(tree.afresh())
    assert ways[2:] == ["all", "all"]


# ------------------------------------------------------------------------------ what is remembered


def test_a_manifest_that_rots_is_told_once_and_made_anew(tree: Tree, ways: list[str]) -> None:
    for _ in range(3):
        state = tree.look()
    file = tree.place / "into" / "manifest.json"  # a link to the one that is remembered
    seen, whole = file.stat(), file.read_bytes()
    file.write_bytes(whole[:-20] + b" " * 20)
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))  # the disk did it, nobody wrote
    with pytest.raises(StoreError, match="damaged"):
        manifest(tree.look())
    assert ways[3:] == ["same"]
    assert told(tree.look()) == told(state) and ways[4:] == ["all"]
    assert file.read_bytes() == whole


def test_a_manifest_that_another_look_replaces_is_not_taken_for_ours(
    tree: Tree, ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two looks at once: of a plan that was given up, and of the next."""
    from choline_tui.codestate import unchanged

    place, other = unchanged._place, tree.place / "other.json"
    other.write_text("{}")
    for meddle_with in ("into", "objects-seen", "nothing"):

        def meddled(source: Path, target: Path, where: str = meddle_with) -> None:
            if source.parent.name == where:
                place(other, source)
            place(source, target)

        monkeypatch.setattr(unchanged, "_place", meddled)
        for _ in range(3):
            state = tree.look()
            if meddle_with != "into":
                assert told(state) == told(tree.afresh())
        assert ("same" in ways) == (meddle_with == "nothing")


def test_contents_that_were_swept_are_kept_anew(tree: Tree, ways: list[str]) -> None:
    for _ in range(3):
        state = tree.look()
    assert ways == ["all", "split", "same"]
    (tree.place / "objects").rename(tree.place / "away")
    again = tree.look()
    assert told(again) == told(state) and ways[3:] == ["all"]
    assert rebuild(again, tree.place / "rebuilt") == again.file_count


def test_two_stores_and_two_sets_of_rules_do_not_know_of_each_other(tree: Tree, ways: list[str]) -> None:
    for _ in range(3):
        tree.look()
    other = capture(tree.top, tree.place / "into", objects=tree.place / "second")
    assert rebuild(other, tree.place / "rebuilt") == other.file_count
    for _ in range(2):
        less = capture(tree.top, tree.place / "into", objects=tree.place / "objects", exclude=["pkg/"])
        assert less.file_count == other.file_count - 6
    assert told(tree.look()) == told(other)


def packed(what: Any) -> bytes:
    data = marshal.dumps(what)
    return zlib.crc32(data).to_bytes(4, "big") + data


SPOILS: list[Callable[[bytes], bytes]] = [
    lambda raw: b"",
    lambda raw: raw[: len(raw) // 2],
    lambda raw: bytes([*raw[:-1], raw[-1] ^ 1]),
    lambda raw: packed([]),
    lambda raw: packed((marshal.loads(raw[4:])[0], {})),
    lambda raw: packed((marshal.loads(raw[4:])[0], dict.fromkeys(marshal.loads(raw[4:])[1], 7))),
    lambda raw: packed((marshal.loads(raw[4:])[0], dict.fromkeys(marshal.loads(raw[4:])[1], b"x"))),
]


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        *product((".base", ".last"), SPOILS),
        (".json", lambda raw: raw[:-20] + b" " * 20),
        (".json", SPOILS[0]),
    ],
)
def test_a_memory_that_was_damaged_costs_time_only(
    tree: Tree, kind: str, spoil: Callable[[bytes], bytes], ways: list[str]
) -> None:
    for _ in range(3):
        state = tree.look()
    (file,) = (p for p in tree.remembered() if p.suffix == kind)
    whole = file.read_bytes()
    file.unlink()  # the manifest is a link to the one that was handed out
    file.write_bytes(spoil(whole))
    if kind == ".base":
        tree.write("pkg/f1.py", "two\n")
        state = tree.afresh()
    assert told(tree.look()) == told(state)
    for _ in range(3):
        assert told(tree.look()) == told(state)
    assert ways[-1] == "same"


# ---------------------------------------------------------------------------------- git's own file


def test_the_index_is_read_as_git_tells_it(tree: Tree) -> None:
    file = tree.top / ".git" / "index"
    entries = plain_entries(file.read_bytes())
    assert entries is not None
    said = asked(str(tree.top), "ls-files", "-s", "-z").split(b"\0")
    heads = [f"{int.from_bytes(entry[24:28], 'big'):o} {entry[40:60].hex()} 0\t" for entry in entries]
    ours = [head.encode() + path_of(entry) for head, entry in zip(heads, entries, strict=True)]
    assert ours == [line for line in said if line]


def signed(body: bytes) -> bytes:
    return body + hashlib.sha1(body).digest()


def test_an_index_that_is_cut_or_claims_too_much_is_not_read(tree: Tree) -> None:
    raw = (tree.top / ".git" / "index").read_bytes()
    assert len(plain_entries(raw) or []) == 16
    cuts = range(len(raw) - 20)
    assert not any(plain_entries(raw[:cut]) for cut in cuts)
    assert [cut for cut in cuts if plain_entries(signed(raw[:cut]))] == [raw.index(b"TREE")]
    assert plain_entries(signed(raw[:8] + struct.pack(">I", 2**32 - 1) + raw[12:-20])) is None
    assert plain_entries(signed(raw[:-20] + b"FSMN\0\0\0\0")) is None
    assert plain_entries(signed(raw[:-20] + b"REUC\0\0\0\0")) == plain_entries(raw)
    assert mark(str(tree.top / "no such file")) == ""


def test_an_entry_proves_only_what_was_read_when_it_was_true(tree: Tree) -> None:
    entries = plain_entries((tree.top / ".git" / "index").read_bytes()) or []
    (entry,) = (e for e in entries if path_of(e) == b"pkg/f1.py")
    seen = (tree.top / "pkg/f1.py").stat()
    second = 10**9

    def known(content: bytes = b"one\n", mode: int = seen.st_mode, **other: int) -> Known:
        size, mtime = other.get("size", seen.st_size), other.get("mtime", seen.st_mtime_ns)
        ctime, inode = other.get("ctime", seen.st_ctime_ns), other.get("inode", seen.st_ino)
        return (size, mtime, ctime, inode, mode), b"line", size, git_name(content)

    assert proves(entry, known(), converted=False) and proves(entry, known(), converted=True)
    wrong = [
        known(mode=0o100755),
        known(mode=0o120777),
        known(size=5),
        known(inode=seen.st_ino + 1),
        known(mtime=seen.st_mtime_ns + second),
        known(ctime=seen.st_ctime_ns - second),
    ]
    assert not any(
        proves(entry, other, converted=converted) for other in wrong for converted in (False, True)
    )
    other = known(b"two\n")
    assert proves(entry, other, converted=True) and not proves(entry, other, converted=False)
    big = (known()[0], b"line", 4, b"")
    assert not any(proves(entry, big, converted=converted) for converted in (False, True))
