"""Data to a real machine: once by content, shared by its runs, and never half of it taken for whole."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from choline_tui.kernel.content import key_of
from choline_tui.kernel.errors import NotFound, RemoteError, SshDropped, TransferFailed, UsageError
from choline_tui.kernel.handover import Handover
from choline_tui.kernel.protocol import Lease
from choline_tui.kernel.session import Item, Progress
from choline_tui.provision.contents import Contents, Hashes, contents_of
from choline_tui.provision.session import SshSession
from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.connection import SshConnection
from choline_tui.ssh.keys import ensure_key
from choline_tui.ssh.transfer import upload
from tests.ssh.server import Sshd
from tests.support import eventually, needs
from tests.support.files_http import Files

LEASE = Lease(600, 600)


class Machine:
    """One machine for all tests here; each has its own session, runs and data."""

    def __init__(self, root: Path) -> None:
        needs("sshd", "ssh-keygen", "rsync")
        self.root = root
        self.key = ensure_key(root / "key", "choline-test")
        self.sshd = Sshd(root / "server", self.key.public).start()
        self.home = self.sshd.home

    def data(self, run: str) -> Path:
        return self.home / "choline" / run / "data"

    def slot(self, made: Contents) -> Path:
        return self.home / "choline/.system/data" / key_of(made.entries)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> "object":
    made = Machine(tmp_path_factory.mktemp("machine"))
    yield made
    made.sshd.stop()


@pytest.fixture
async def session(machine: Machine, tmp_path: Path) -> AsyncIterator[SshSession]:
    pool = SshPool(machine.key, known_hosts_dir=tmp_path / "known", ssh_config=None, use_agent=False)
    made = SshSession(pool, [machine.sshd.address], name="box")
    await made.prepare("first", LEASE)
    try:
        yield made
    finally:
        await pool.close()


def look(path: Path, hashes: Path | None = None) -> Contents:
    with Hashes(hashes) as memory:
        return contents_of(path, memory)


def item(made: Contents, into: str = "") -> Item:
    return Item(
        str(made.base),
        "data",
        into=into,
        content=tuple(made.entries),
        links=made.links,
        left_out=tuple(made.skipped),
    )


def corpus(top: Path) -> Path:
    """Names as bad as names can be, an empty directory, links of every kind, a socket."""
    made = top / "corpus"
    (made / "deep" / "er").mkdir(parents=True)
    (made / "empty").mkdir()
    (made / "deep/er/a\nb").write_bytes(b"newline")
    (made / "ünï 'q\" $x").write_bytes(b"unicode")
    Path(os.fsdecode(os.fsencode(made) + b"/\xff\xfe")).write_bytes(b"no text")
    (made / "big").write_bytes(os.urandom(300_000))
    (made / "tool.sh").write_text("#!/bin/sh\n")
    (made / "tool.sh").chmod(0o755)
    (made / "inside").symlink_to("deep/er/a\nb")
    outside = top / "elsewhere"
    outside.mkdir()
    (outside / "blob").write_bytes(b"from outside")
    (made / "absolute").symlink_to(outside / "blob")
    (made / "deep/climbs").symlink_to("../../elsewhere/blob")
    (made / "folder").symlink_to(outside)
    (made / "dangling").symlink_to("/nowhere/at/all")
    return made


def tree_of(top: Path) -> dict[bytes, bytes | None]:
    """Names below, with content of files (links followed); None for directories."""
    found: dict[bytes, bytes | None] = {}
    root = os.fsencode(top)
    for folder, folders, files in os.walk(root):
        for name in folders:
            found[os.path.relpath(os.path.join(folder, name), root)] = None
        for name in files:
            path = os.path.join(folder, name)
            if os.path.exists(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, root)] = file.read()
    return found


async def test_two_runs_share_what_was_sent_once(
    machine: Machine, session: SshSession, tmp_path: Path
) -> None:
    made = look(corpus(tmp_path))
    told: list[Progress] = []
    first = await session.send("first", [item(made, "c/orpus")], told.append)
    assert first.bytes > 300_000 and told[-1].bytes_done > 0
    assert {note.split(":")[0] for note in first.skipped} == {"folder", "dangling"}
    wanted = tree_of(tmp_path / "corpus")
    del wanted[b"folder"]
    assert tree_of(machine.data("first") / "c/orpus") == wanted
    assert os.readlink(machine.data("first") / "c/orpus/inside") == "deep/er/a\nb"
    assert not (machine.data("first") / "c/orpus/absolute").is_symlink()
    assert os.access(machine.data("first") / "c/orpus/tool.sh", os.X_OK)
    second = await session.send("second", [item(made)])
    assert (second.bytes, second.files, second.how) == (0, 0, "") and second.there == first.bytes
    assert tree_of(machine.data("second")) == wanted
    # a run's own files beside, and its own deletions, are nobody else's business
    (machine.data("second") / "deep/mine").write_text("mine")
    (machine.data("second") / "big").unlink()
    assert tree_of(machine.data("first") / "c/orpus") == wanted
    await session.send("second", [item(made)])
    assert (machine.data("second") / "big").stat().st_size == 300_000
    assert (machine.data("second") / "deep/mine").read_text() == "mine"


async def test_what_a_run_writes_into_shared_data_reaches_no_later_run(
    machine: Machine, session: SshSession, tmp_path: Path
) -> None:
    source = tmp_path / "set"
    source.mkdir()
    (source / "weights").write_bytes(b"w" * 1000)
    made = look(source)
    await session.send("writer", [item(made)])
    written = machine.data("writer") / "weights"
    assert written.stat().st_mode & 0o222 == 0 or written.stat().st_nlink == 1
    written.chmod(0o644)  # as root, who may write to anything
    written.write_bytes(b"X" * 1000)
    after = await session.send("reader", [item(made)])
    assert (machine.data("reader") / "weights").read_bytes() == b"w" * 1000
    assert after.files in (0, 1)  # 0 where the machine's disk gives every run a copy of its own
    assert written.read_bytes() == b"X" * 1000


async def test_an_interrupted_transfer_goes_on_and_is_never_taken_for_whole(
    machine: Machine, session: SshSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "half"
    source.mkdir()
    for n in range(20):
        (source / f"{n:02}").write_bytes(os.urandom(50_000))
    made = look(source)
    slot = machine.slot(made)

    async def half(conn: SshConnection, base: Path, dest: str, *, files: list[bytes], **more: object) -> None:
        await upload(conn, base, dest, files=sorted(files)[:7])
        machine.sshd.drop()
        await conn.run("true")

    monkeypatch.setattr("choline_tui.provision.data.upload", half)
    with pytest.raises(SshDropped):
        await session.send("torn", [item(made)])
    monkeypatch.undo()
    assert len(list((slot / "tree").iterdir())) == 7
    assert not (slot / "whole").exists() and not list(machine.data("torn").glob("*"))
    done = await session.send("torn", [item(made)])
    assert done.files == 13
    assert tree_of(machine.data("torn")) == tree_of(source)


async def test_bytes_that_look_right_and_are_wrong_are_sent_again(
    machine: Machine, session: SshSession, tmp_path: Path
) -> None:
    source = tmp_path / "same"
    source.mkdir()
    (source / "a").write_bytes(b"right")
    made = look(source)
    tree = machine.slot(made) / "tree"
    tree.mkdir(parents=True)
    (tree / "a").write_bytes(b"wrong")
    (tree / "stray").write_bytes(b"of an earlier try")
    shutil.copystat(source / "a", tree / "a")
    await session.send("picky", [item(made)])
    assert tree_of(machine.data("picky")) == {b"a": b"right"}


async def test_a_directory_that_changes_meanwhile(
    machine: Machine, session: SshSession, tmp_path: Path
) -> None:
    source = tmp_path / "moving"
    source.mkdir()
    (source / "kept").write_bytes(os.urandom(100_000))
    (source / "log").write_bytes(b"one")
    made = look(source)
    (source / "log").write_bytes(b"two and more")
    with pytest.raises(TransferFailed, match="changed while it was sent") as caught:
        await session.send("live", [item(made)])
    assert caught.value.details["changed"] is True
    assert not list(machine.data("live").glob("*"))
    again = await session.send("live", [item(look(source))])
    assert again.bytes < 1000, "what had arrived of it counts"
    assert (machine.data("live") / "log").read_bytes() == b"two and more"


async def test_more_than_the_disk_holds(session: SshSession, tmp_path: Path) -> None:
    source = tmp_path / "huge"
    source.mkdir()
    with (source / "sparse").open("wb") as file:
        file.truncate(1 << 20)
    made = look(source)
    made.entries = [entry._replace(size=1 << 55) for entry in made.entries]
    with pytest.raises(TransferFailed, match=r"needs 36028.8 TB more, and .* are free") as caught:
        await session.send("fat", [item(made)])
    assert caught.value.details["need"] == 1 << 55


async def test_without_rsync_and_one_file_by_a_link(
    machine: Machine, session: SshSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("choline_tui.ssh.transfer.rsync_here", lambda: False)
    made = look(corpus(tmp_path))
    done = await session.send("tarred", [item(made)])
    assert done.how == "tar"
    wanted = tree_of(tmp_path / "corpus")
    del wanted[b"folder"]
    assert tree_of(machine.data("tarred")) == wanted
    (tmp_path / "v2.bin").write_bytes(b"second")
    (tmp_path / "current.bin").symlink_to("v2.bin")
    for run in ("one", "two"):
        await session.send(run, [item(look(tmp_path / "current.bin"))])
        assert (machine.data(run) / "current.bin").read_bytes() == b"second"
        assert not (machine.data(run) / "current.bin").is_symlink()
        monkeypatch.undo()


async def test_an_older_program_on_the_machine_gets_it_the_old_way(
    machine: Machine, session: SshSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "old"
    source.mkdir()
    (source / "a").write_bytes(b"a")
    process = SshConnection.process
    monkeypatch.setattr(
        SshConnection,
        "process",
        lambda conn, command: process(conn, command.replace("run data", "run nothing-of-the-kind")),
    )
    await session.send("elder", [item(look(source), "x")])
    assert tree_of(machine.data("elder") / "x") == {b"a": b"a"}


async def test_two_at_once_send_it_once(machine: Machine, session: SshSession, tmp_path: Path) -> None:
    source = tmp_path / "both"
    source.mkdir()
    (source / "a").write_bytes(os.urandom(200_000))
    made = look(source)
    done = await asyncio.gather(*(session.send(run, [item(made)]) for run in ("left", "right")))
    assert sorted(one.bytes for one in done) == [0, 200_000]
    assert tree_of(machine.data("left")) == tree_of(machine.data("right")) == tree_of(source)


async def test_what_a_machine_fetches_itself(machine: Machine, session: SshSession) -> None:
    files = Files()
    try:
        files.token, files.content["/model.bin"] = "hf_value", os.urandom(2_000_000)
        url = f"{files.url}/model.bin"
        told: list[Progress] = []
        wanted = Item(
            "",
            "data",
            into="m",
            url=url,
            credentials=("HF_TOKEN",),
            values=Handover({"HF_TOKEN": "hf_value"}),
        )
        assert "hf_value" not in repr(wanted)
        done = await session.send("fetcher", [wanted], told.append)
        assert (done.bytes, done.files, done.how) == (2_000_000, 1, "its own fetch")
        assert (machine.data("fetcher") / "m/model.bin").read_bytes() == files.content["/model.bin"]
        assert {p.what for p in told} >= {"waiting"}
        assert (await session.send("after", [replace(wanted, into="")])).there == 2_000_000
        with pytest.raises(NotFound, match=r"there is no http") as caught:
            await session.send("fetcher", [replace(wanted, url=f"{files.url}/gone")])
        assert caught.value.details["hopeless"] is True
        with pytest.raises(UsageError, match=r"refuses \(401\)"):
            await session.send("fetcher", [replace(wanted, url=f"{url}?x", values=Handover())])
    finally:
        files.close()
    left = [p.read_bytes() for p in (machine.home / "choline").rglob("*") if p.is_file()]
    assert not any(b"hf_value" in data for data in left), "no value is ever on the machine's disk"


async def test_a_stop_ends_a_fetch_at_once_and_another_goes_on(machine: Machine, session: SshSession) -> None:
    files = Files()
    try:
        files.content["/slow"] = os.urandom(3_000_000)
        files.stall["/slow"] = 2_000_000
        wanted = Item("", "data", url=f"{files.url}/slow")
        told: list[Progress] = []
        task = asyncio.create_task(session.send("stopped", [wanted], told.append))
        parts = machine.home / "choline/.system/data"
        await eventually(lambda: any(p.stat().st_size >= 1 << 20 for p in parts.glob("*/part/*")))
        fetchers = [pid for pid in machine.sshd.children() if b"\0data\0" in cmdline(pid)]
        assert fetchers
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: not any(cmdline(pid) for pid in fetchers), what="nothing fetches any more")
        files.stall.clear()
        files.go_on.set()
        done = await session.send("stopped", [wanted])
        assert done.bytes <= 2_000_000 and files.gets("/slow")[1].startswith("bytes=")
        assert (machine.data("stopped") / "slow").read_bytes() == files.content["/slow"]
    finally:
        files.close()


LIES = {
    'yes \'{"progress": {"what": "checking", "done": 1, "of": 2}}\'': (RemoteError, "never stops"),
    "yes noise": (RemoteError, "talks without end"),
    "echo '{\"state\": 5}'": (RemoteError, "makes no sense"),
    'echo \'{"progress": {"done": -1, "what": "\\u001b[2J"}}\'; echo \'[]\'; echo \'{"state": 1}\'': (
        RemoteError,
        "makes no sense",
    ),
    'echo \'{"state": "full", "need": "x", "free": null}\'': (TransferFailed, "needs 0 bytes more"),
    "exit 0": (SshDropped, "ended with 0"),
    'echo \'{"error": {"code": "KeyboardInterrupt", "message": [1]}}\'': (RemoteError, "without words"),
}


async def test_a_machine_that_lies_about_data(machine: Machine, session: SshSession, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    told: list[Progress] = []
    for lie, (kind, words) in LIES.items():
        (machine.home / "choline/.system/run").write_text(lie + "\n")
        fetched = [Item("", "data", url="https://example.com/x")] if "state" in lie else []
        for asked in (item(look(tmp_path / "a")), *fetched):
            with pytest.raises(kind, match=words):
                await session.send("r", [asked], told.append)
    assert all(p.bytes_done >= 0 and p.what in ("", "checking") for p in told)


def cmdline(pid: int) -> bytes:
    """'' when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_the_memory_of_hashes(tmp_path: Path) -> None:
    source, memory = tmp_path / "s", tmp_path / "cache/hashes.db"
    source.mkdir()
    (source / "a").write_bytes(b"aa")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "sock"))
    long_ago = (1_600_000_000, 1_600_000_000)
    os.utime(source / "a", long_ago)
    first = look(source, memory)
    assert first.skipped == ["sock: not a file"]
    assert [e.path for e in first.entries] == [b"a"]
    assert look(source, memory).entries == first.entries
    (source / "a").write_bytes(b"bb")
    os.utime(source / "a", long_ago)  # same size, same time: the inode's own time tells
    assert look(source, memory).entries != first.entries
    memory.write_bytes(b"no database at all" * 100)
    assert look(source, memory).entries == look(source).entries


def test_what_is_not_there_or_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no .*nothing") as caught:
        look(tmp_path / "nothing")
    assert caught.value.details["hopeless"] is True
    with pytest.raises(UsageError, match="neither a file nor a directory"):
        look(Path(os.devnull))
