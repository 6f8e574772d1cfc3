import hashlib
import os
import shutil
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from choline_tui.codestate import capture, manifest, materialise, sweep
from choline_tui.codestate.objects import Objects
from choline_tui.kernel.errors import ProjectError, StoreError
from choline_tui.model.code import CodeManifest, CodeState
from tests.support import needs


def git(directory: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=directory, check=True, capture_output=True, text=True
    ).stdout.strip()


def tree(directory: Path) -> dict[bytes, bytes]:
    """Relative name of every file and link below, with its content or target."""
    found = {}
    top = os.fsencode(directory)
    for folder, folders, names in os.walk(top):
        for name in [*names, *folders]:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                found[os.path.relpath(path, top)] = b"-> " + os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, top)] = file.read()
    return found


def names(state: CodeState) -> set[bytes]:
    return {file.path for file in manifest(state).files}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A git project whose path has spaces, quotes and letters beyond ASCII."""
    needs("git")
    directory = tmp_path / 'my "own" pröject\'s'
    directory.mkdir()
    git(directory, "init", "-q", "-b", "main")
    (directory / "train.py").write_text("print(1)\n")
    (directory / "sub").mkdir()
    (directory / "sub" / "go.sh").write_text("#!/bin/sh\n")
    (directory / "sub" / "go.sh").chmod(0o755)
    (directory / ".gitignore").write_text("*.log\nbuild/\n")
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", "First\n\nbody")
    return directory


def test_what_a_project_is_and_what_of_it_is_sent(project: Path, tmp_path: Path) -> None:
    git(project, "remote", "add", "origin", "https://me:token@example.com/x.git?private_token=t")
    (project / "train.py").write_text("print(2)\n")
    (project / "new.py").write_text("")
    (project / "sub" / "go.sh").unlink()
    (project / "noise.log").write_text("x")
    (project / "build").mkdir()
    (project / "build" / "x.o").write_text("x")
    state = capture(project, tmp_path / "frozen")
    assert state.commit == git(project, "rev-parse", "HEAD")
    assert (state.message, state.branch) == ("First", "main")
    assert state.remote == "https://example.com/x.git"
    assert state.dirty_count == 3
    assert names(state) == {b"train.py", b"new.py", b".gitignore"}
    assert state.total_bytes == sum(file.size for file in manifest(state).files)
    assert state.file_count == 3
    assert state.warnings == ()
    assert state.title == f"{state.commit[:7]} main +3 First"


def test_the_tree_is_the_same_bytes_whatever_happens_to_the_project(project: Path, tmp_path: Path) -> None:
    odd = os.fsencode(project) + b"/a \xff\n'\"b"
    with open(odd, "wb") as file:
        file.write(b"odd")
    (project / "link").symlink_to("sub/go.sh")
    (project / "folder").symlink_to("sub")
    before = {name: data for name, data in tree(project).items() if not name.startswith(b".git/")}
    state = capture(project, tmp_path / "frozen")
    shutil.rmtree(project)
    again = CodeState.model_validate_json(state.model_dump_json())
    assert again == state
    made = materialise(again, tmp_path / "out")
    assert tree(made) == before
    assert stat.S_IMODE((made / "sub" / "go.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((made / "train.py").stat().st_mode) == 0o644
    (made / "left-over").write_text("x")
    assert tree(materialise(again, tmp_path / "out")) == before


def test_manifest_digests_are_sha256_of_the_content(project: Path, tmp_path: Path) -> None:
    state = capture(project, tmp_path / "frozen")
    for file in manifest(state).files:
        data = (project / os.fsdecode(file.path)).read_bytes()
        assert (file.digest, file.size) == (hashlib.sha256(data).hexdigest(), len(data))


def test_the_same_code_has_the_same_digest_and_costs_no_more_room(project: Path, tmp_path: Path) -> None:
    objects = tmp_path / "objects"
    one = capture(project, tmp_path / "one", objects=objects)
    before = sorted(path for path in objects.rglob("*") if path.is_file())
    two = capture(project, tmp_path / "two", objects=objects)
    assert one.digest == two.digest
    assert sorted(path for path in objects.rglob("*") if path.is_file()) == before
    (project / "train.py").write_text("print(3)\n")
    three = capture(project, tmp_path / "three", objects=objects)
    assert three.digest != one.digest
    assert sum(path.is_file() for path in objects.rglob("*")) == len(before) + 1


def test_two_files_of_one_content_keep_their_own_modes(project: Path, tmp_path: Path) -> None:
    for name, mode in (("a", 0o644), ("b", 0o755)):
        (project / name).write_text("same")
        (project / name).chmod(mode)
    made = materialise(capture(project, tmp_path / "frozen"), tmp_path / "out")
    assert [stat.S_IMODE((made / name).stat().st_mode) for name in "ab"] == [0o644, 0o755]


def test_exclude_and_ignore_file(project: Path, tmp_path: Path) -> None:
    (project / "results").mkdir()
    (project / "results" / "model.bin").write_text("x")
    (project / "notes.txt").write_text("x")
    (project / ".cholineignore").write_text("# no notes\nnotes.*\n")
    state = capture(project, tmp_path / "frozen", exclude=["/results/", "sub"])
    assert names(state) == {b"train.py", b".gitignore", b".cholineignore"}
    assert state.dirty_count == 1  # .cholineignore; what is left out is no difference


def test_a_project_without_git(tmp_path: Path) -> None:
    directory = tmp_path / "plain"
    for name in ("a.py", "__pycache__/a.pyc", ".venv/lib/x.py", "pkg/node_modules/y.js", "pkg/b.py", "c.pyc"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("x")
    state = capture(directory, tmp_path / "frozen")
    assert names(state) == {b"a.py", b"pkg/b.py"}
    assert (state.commit, state.branch, state.dirty_count, state.title) == ("", "", 0, "no commit")


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    needs("git")
    git(tmp_path, "init", "-q", "-b", "main", "new")
    (tmp_path / "new" / "a.py").write_text("x")
    state = capture(tmp_path / "new", tmp_path / "frozen")
    assert (state.commit, state.branch, state.dirty_count) == ("", "main", 1)
    assert names(state) == {b"a.py"}


def test_a_detached_head_has_no_branch(project: Path, tmp_path: Path) -> None:
    git(project, "checkout", "-q", "--detach")
    assert capture(project, tmp_path / "frozen").branch == ""


def test_a_project_below_the_top_of_its_repository(project: Path, tmp_path: Path) -> None:
    (project / "train.py").write_text("changed outside of the project")
    state = capture(project / "sub", tmp_path / "frozen")
    assert names(state) == {b"go.sh"}
    assert state.dirty_count == 0
    assert state.commit


def test_a_project_in_an_ignored_folder_of_another_repository(project: Path, tmp_path: Path) -> None:
    (project / "build").mkdir()
    (project / "build" / "a.py").write_text("x")
    state = capture(project / "build", tmp_path / "frozen")
    assert names(state) == {b"a.py"}
    assert state.commit == ""


def test_git_variables_of_a_hook_do_not_lead_elsewhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "nowhere"))
    state = capture(project, tmp_path / "frozen")
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    assert state.commit == git(project, "rev-parse", "HEAD")
    assert b"train.py" in names(state)


def test_submodules_come_along_when_they_are_checked_out(project: Path, tmp_path: Path) -> None:
    lib = tmp_path / "lib"
    git(tmp_path, "init", "-q", "lib")
    (lib / "lib.py").write_text("x")
    git(lib, "add", "-A")
    git(lib, "commit", "-q", "-m", "lib")
    git(project, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(lib), "vendor/lib")
    (project / "vendor" / "lib" / "untracked.py").write_text("x")
    state = capture(project, tmp_path / "frozen")
    assert {b"vendor/lib/lib.py", b"vendor/lib/untracked.py"} <= names(state)
    assert not any(b".git" in name.split(b"/") for name in names(state))
    git(project, "submodule", "--quiet", "deinit", "-f", "vendor/lib")
    state = capture(project, tmp_path / "frozen2")
    assert not any(name.startswith(b"vendor/") for name in names(state))
    assert any("vendor/lib" in warning and "not checked out" in warning for warning in state.warnings)


def test_links_out_of_the_project_and_pipes_are_left_out_and_named(project: Path, tmp_path: Path) -> None:
    (project / "etc").symlink_to("/etc")
    (project / "up").symlink_to("sub/../../x")
    (project / "sub" / "fine").symlink_to("../train.py")
    state = capture(project, tmp_path / "frozen")
    assert b"sub/fine" in names(state)
    assert not {b"etc", b"up"} & names(state)
    assert len([w for w in state.warnings if "leads out" in w]) == 2
    plain = tmp_path / "plain"
    plain.mkdir()
    os.mkfifo(plain / "pipe")
    state = capture(plain, tmp_path / "frozen2")
    assert names(state) == set()
    assert any("'pipe'" in warning for warning in state.warnings)


def test_a_branch_or_message_cannot_forge_the_screen(project: Path, tmp_path: Path) -> None:
    git(project, "commit", "-q", "--allow-empty", "-m", "a\x1b[31mred" + "x" * 500)
    state = capture(project, tmp_path / "frozen")
    assert state.message.isprintable()
    assert len(state.message) <= 200


@pytest.mark.parametrize("again", [1, 2, 5])
def test_a_file_that_is_written_meanwhile_is_tried_again_and_then_refused(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: int
) -> None:
    target = project / "train.py"
    put, left = Objects.put, again

    def meddled(
        self: Objects, source: int, executable: bool, size: int, mtime_ns: int
    ) -> tuple[str, int, bytes]:
        nonlocal left
        found = put(self, source, executable, size, mtime_ns)
        if left and os.fstat(source).st_ino == target.stat().st_ino:
            left -= 1
            target.write_text(f"version {left}, longer each time{'.' * (10 - left)}")
        return found

    monkeypatch.setattr(Objects, "put", meddled)
    if again > 2:
        with pytest.raises(ProjectError, match="changes while it is copied"):
            capture(project, tmp_path / "frozen")
        return
    state = capture(project, tmp_path / "frozen")
    made = materialise(state, tmp_path / "out")
    assert (made / "train.py").read_text() == target.read_text()


def test_a_file_deleted_meanwhile_is_simply_not_there(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from choline_tui.codestate import listing

    find = listing.find_files

    def meddled(*args: object, **kwargs: object) -> listing.Listing:
        found = find(*args, **kwargs)  # type: ignore[arg-type]
        (project / "train.py").unlink()
        return found

    monkeypatch.setattr("choline_tui.codestate.freeze.find_files", meddled)
    assert b"train.py" not in names(capture(project, tmp_path / "frozen"))


def test_a_file_bigger_than_memory_pieces_arrives_whole(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("choline_tui.codestate.objects.SMALL", 1000)
    monkeypatch.setattr("choline_tui.codestate.objects._CHUNK", 777)
    data = os.urandom(10_000)
    (project / "big.bin").write_bytes(data)
    for name in ("one", "two"):
        state = capture(project, tmp_path / name, objects=tmp_path / "objects")
        assert (materialise(state, tmp_path / f"out-{name}") / "big.bin").read_bytes() == data
    assert not list((tmp_path / "objects").rglob(".new-*"))


def test_big_files_are_warned_of_not_refused(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("choline_tui.codestate.freeze.BIG_FILE", 5)
    monkeypatch.setattr("choline_tui.codestate.freeze.BIG_TOTAL", 10)
    state = capture(project, tmp_path / "frozen")
    assert any("'train.py' is big" in warning for warning in state.warnings)
    assert any("in all" in warning for warning in state.warnings)


def test_a_damaged_copy_is_refused_and_mended_by_the_next_capture(project: Path, tmp_path: Path) -> None:
    objects = tmp_path / "objects"
    state = capture(project, tmp_path / "frozen", objects=objects)
    digest = next(file.digest for file in manifest(state).files if file.path == b"train.py")
    blob = Path(Objects(str(objects)).path(digest, False))
    blob.write_bytes(b"x" * blob.stat().st_size)  # as after a power cut: the size alone is right
    with pytest.raises(StoreError, match=r"damaged.*'train\.py'"):
        materialise(state, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    state = capture(project, tmp_path / "frozen", objects=objects)
    assert (materialise(state, tmp_path / "out") / "train.py").read_text() == "print(1)\n"


def test_a_manifest_that_was_changed_or_leads_outside_is_refused(project: Path, tmp_path: Path) -> None:
    state = capture(project, tmp_path / "frozen")
    path = tmp_path / "frozen" / "manifest.json"
    files = manifest(state).files
    path.write_text(path.read_text() + " ")
    with pytest.raises(StoreError, match="not what it was"):
        manifest(state)
    evil = files[0].model_copy(update={"path": b"../evil"})
    raw = CodeManifest(files=(evil,)).model_dump_json()
    path.write_text(raw)
    state = state.model_copy(update={"digest": hashlib.sha256(raw.encode()).hexdigest()})
    with pytest.raises(StoreError, match="names"):
        materialise(state, tmp_path / "out")
    assert not (tmp_path / "evil").exists()
    path.unlink()
    with pytest.raises(StoreError, match="damaged"):
        manifest(state)


def test_sweep_removes_only_what_no_run_needs(project: Path, tmp_path: Path) -> None:
    objects = tmp_path / "objects"
    old = capture(project, tmp_path / "old", objects=objects)
    (project / "train.py").write_text("print('new')\n")
    new = capture(project, tmp_path / "new", objects=objects)
    assert sweep(objects, [new], older_than=0.0) == 0
    assert sweep(objects, [old, new], older_than=2e10) == 0
    assert sweep(objects, [new], older_than=2e10) == len("print(1)\n")
    materialise(new, tmp_path / "out")
    with pytest.raises(StoreError, match="lost"):
        materialise(old, tmp_path / "out-old")


def test_what_cannot_be_read_or_written_is_said_so(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="there is no directory"):
        capture(tmp_path / "nowhere", tmp_path / "frozen")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot keep a copy"):
        capture(project, tmp_path / "frozen", objects=tmp_path / "file")
    state = capture(project, tmp_path / "frozen")
    with pytest.raises(StoreError, match="cannot lay out"):
        materialise(state, tmp_path / "file" / "out")


def test_an_unreadable_file_is_named(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.open

    def refuse(path: bytes, *rest: int, **more: int) -> int:  # root reads everything: chmod would not do
        if os.fsencode(path).endswith(b"/train.py"):
            raise PermissionError(13, "Permission denied")
        return really(path, *rest, **more)

    monkeypatch.setattr("choline_tui.codestate.freeze.os.open", refuse)
    with pytest.raises(ProjectError, match=r"cannot read 'train\.py': Permission denied"):
        capture(project, tmp_path / "frozen")


def test_two_freezes_into_one_directory_do_not_take_each_others_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan that was given up goes on in its thread while the next one is made into the same directory."""
    from choline_tui.codestate import frozen

    sync, inside = os.fsync, [False]

    def meanwhile(handle: int) -> None:
        if not inside[0]:
            inside[0] = True
            other = threading.Thread(target=frozen.write_manifest, args=(tmp_path / "plan", ()))
            other.start()
            other.join()
        sync(handle)

    monkeypatch.setattr("choline_tui.codestate.frozen.os.fsync", meanwhile)
    digest = frozen.write_manifest(tmp_path / "plan", ())
    assert hashlib.sha256((tmp_path / "plan" / frozen.MANIFEST).read_bytes()).hexdigest() == digest
    assert [path.name for path in (tmp_path / "plan").iterdir()] == [frozen.MANIFEST]
