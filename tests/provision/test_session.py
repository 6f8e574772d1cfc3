"""The session against a real sshd: a whole job in few round trips, lost connections, remotes that lie."""

import asyncio
import contextlib
import dataclasses
import io
import json
import os
import shutil
import signal
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from choline_tui.kernel.errors import (
    MachineRefused,
    NotFound,
    ProtocolMismatch,
    RemoteError,
    SshDropped,
    TransferFailed,
    UsageError,
)
from choline_tui.kernel.protocol import Frame, JobSpec, Lease
from choline_tui.kernel.session import Item, RemoteSession, ResultRules
from choline_tui.provision.install import Program, program
from choline_tui.provision.session import SshSession
from choline_tui.provision.snippets import LAUNCHER
from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.connection import SshConnection
from choline_tui.ssh.keys import ensure_key
from tests.ssh.server import Sshd
from tests.support import eventually, needs

LEASE = Lease(600, 600)


class Place:
    """A server, a pool and a session to it; counts what goes over the wire."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, path: str | None = None) -> None:
        needs("sshd", "ssh-keygen")
        key = ensure_key(root / "key", "choline-test")
        self.sshd = Sshd(root / "server", key.public, path=path).start()
        self.home = self.sshd.home
        self.pool = SshPool(key, known_hosts_dir=root / "known", ssh_config=None, use_agent=False)
        self.commands: list[str] = []
        self.sent = 0
        place = self
        process = SshConnection.process
        run = SshConnection.run

        def counted(conn: SshConnection, command: str) -> Any:
            place.commands.append(command)
            return process(conn, command)

        async def measured(conn: SshConnection, command: str, **more: Any) -> Any:
            place.sent = len(more.get("input", b""))
            return await run(conn, command, **more)

        monkeypatch.setattr(SshConnection, "process", counted)
        monkeypatch.setattr(SshConnection, "run", measured)
        self.session = self.open()

    def open(self, installation: Program | None = None) -> SshSession:
        return SshSession(self.pool, [self.sshd.address], name="box", installation=installation)

    def lie(self, script: str) -> None:
        """From now on the remote's program is this."""
        launcher = self.home / LAUNCHER
        launcher.parent.mkdir(parents=True, exist_ok=True)
        launcher.write_text(script)

    async def close(self) -> None:
        await self.pool.close()
        self.sshd.stop()
        with contextlib.suppress(OSError, ValueError):
            os.kill(
                json.loads((self.home / "choline/.system/supervisor.json").read_text())["pid"], signal.SIGKILL
            )


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    place = Place(tmp_path, monkeypatch)
    try:
        yield place
    finally:
        await place.close()


async def collect(session: SshSession, job: str, **offsets: int) -> list[Frame]:
    return [frame async for frame in session.stream(job, offsets)]


async def test_a_whole_job(place: Place, tmp_path: Path) -> None:
    session: RemoteSession = place.session
    found = await session.probe()
    assert found.home == str(place.home)
    assert found.python.startswith("3.")
    assert found.has_rsync == (shutil.which("rsync") is not None)
    assert found.disk_free_bytes > 0
    assert found.supervisor == ""
    assert bool(found.gpus) == (shutil.which("nvidia-smi") is not None)
    assert not (place.home / "choline").exists()
    status = await session.prepare("r", LEASE)
    assert status.version == program().version
    assert status.lease_in_s is not None and 0 < status.lease_in_s <= 600
    source = tmp_path / "my project ü"
    source.mkdir()
    (source / "train.py").write_text("print('hello')")
    (source / "left.txt").write_text("not sent")
    data = tmp_path / "set"
    data.mkdir()
    (data / "a b").write_bytes(b"\0" * 1000)
    sent = await session.send(
        "r", [Item(str(source), "src", (b"train.py",)), Item(str(data), "data", into="deep/er")]
    )
    assert sent.files == 2
    command = (
        "cat train.py; ls; ls -R ../data; echo result > $CHOLINE_RESULTS/'o ut'; echo kept > $CHOLINE_KEEP/k"
    )
    place.commands.clear()
    given = await session.submit(
        JobSpec("r-1", "r", command + "; echo kept > $CHOLINE_KEEP/k; exit 3", env={"A": "ü"})
    )
    assert given.id == "r-1"
    got = await collect(place.session, "r-1")
    text = b"".join(f.data for f in got).decode()
    assert text == "print('hello')train.py\n../data:\ndeep\n\n../data/deep:\ner\n\n../data/deep/er:\na b\n"
    last = got[-1].status
    assert last is not None and (last.state, last.exit_code) == ("ended", 3)
    assert [c.split()[2] for c in place.commands] == ["submit", "stream"]
    home = tmp_path / "res ults"
    fetched = await session.fetch("r", str(home), final=True)
    assert fetched.files == 2
    assert (home / "results/o ut").read_text() == "result\n"
    assert (home / "keep/k").read_text() == "kept\n"
    assert (await session.status()).jobs["r-1"].exit_code == 3
    await session.close()


async def test_round_trips_and_the_program_sent_once(place: Place) -> None:
    await place.session.probe()
    await place.session.prepare("r", LEASE)
    assert len(place.commands) == 2
    assert place.sent > len(program().data)
    await place.session.prepare("r2", LEASE)
    assert place.sent < 10_000
    fresh = place.open()
    await fresh.prepare("r", LEASE)
    assert place.sent < 10_000
    await fresh.renew(LEASE)
    assert (await fresh.probe()).supervisor == program().version


async def test_the_host_key_is_pinned_for_the_session(place: Place) -> None:
    session = await SshSession.open(place.pool, [place.sshd.address], name="other")
    assert session.host_key == place.sshd.host_key


async def test_a_lost_connection_and_the_rest_of_the_log(place: Place) -> None:
    await place.session.prepare("r", LEASE)
    await place.session.submit(
        JobSpec("r-1", "r", "echo begun; while [ ! -e go ]; do sleep 0.05; done; echo done; exit 5")
    )
    seen = 0
    with pytest.raises(SshDropped):
        async for frame in place.session.stream("r-1", {}):
            if frame.source == "run":
                seen += len(frame.data)
                place.sshd.drop()
    assert seen == 6
    (place.home / "choline/r/src/go").touch()
    rest = await collect(place.session, "r-1", run=seen)
    assert b"".join(f.data for f in rest) == b"done\n"
    assert rest[-1].status is not None and rest[-1].status.exit_code == 5


async def test_stop(place: Place) -> None:
    await place.session.prepare("r", LEASE)
    await place.session.submit(JobSpec("r-1", "r", "sleep 600"))
    await eventually(lambda: (place.home / "choline/.system/jobs/r-1/pgid").exists())
    await place.session.stop("r-1", 5, "stopped by; rule 'x'")
    last = (await collect(place.session, "r-1"))[-1].status
    assert last is not None
    assert (last.reason, last.exit_code) == ("stopped by; rule 'x'", 143)
    with pytest.raises(NotFound):
        await place.session.stop("r-9", 5, "stopped")
    with pytest.raises(NotFound):
        await collect(place.session, "r-9")


async def test_a_file_that_differs_is_fetched_again(place: Place, tmp_path: Path) -> None:
    await place.session.prepare("r", LEASE)
    for n in range(3):
        (place.home / f"choline/r/results/{n}").write_text(f"file {n}")
    into = tmp_path / "in"
    await place.session.fetch("r", str(into), final=False, rules=ResultRules(settle_s=0))
    wrong = into / "results/1"
    times = wrong.stat()
    wrong.write_text("FILE 1")  # same size, same time: only the hash tells
    os.utime(wrong, ns=(times.st_atime_ns, times.st_mtime_ns))
    (into / "mine").write_text("stays")
    await place.session.fetch("r", str(into), final=True)
    assert wrong.read_text() == "file 1"
    assert (into / "mine").exists()


async def test_results_that_cannot_be_had_are_named(place: Place, tmp_path: Path) -> None:
    await place.session.prepare("r", LEASE)
    (place.home / "choline/r/results/real").write_text("x")
    line = {"p": "results/evil\x1b[2J", "n": 1, "m": 1, "h": "0" * 64}
    place.lie(f"cat <<'X'\n{json.dumps(line)}\n{json.dumps({'end': 1})}\nX\n")
    with pytest.raises(TransferFailed, match="did not arrive whole") as caught:
        await place.session.fetch("r", str(tmp_path / "in"), final=True)
    assert caught.value.details["files"] == ["results/evil"]
    assert "\x1b" not in caught.value.message
    outside = {"p": "results/../../x", "n": 1, "m": 1, "h": ""}
    place.lie(f"cat <<'X'\n{json.dumps(outside)}\nX\n")
    with pytest.raises(TransferFailed, match="cannot be used"):
        await place.session.fetch("r", str(tmp_path / "in"), final=True)
    place.lie("exit 0")
    with pytest.raises(TransferFailed, match="no end"):
        await place.session.fetch("r", str(tmp_path / "in"), final=True)


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ("nothing of use", RemoteError),
        ('{"protocol": 99, "version": "x", "pid": 1}', ProtocolMismatch),
        ('{"protocol": 1, "version": 5, "pid": 1}', RemoteError),
        ("[" * 5000, RemoteError),
        ('{"error": {"code": "NoCredit", "message": "a\\u001b[2Jb", "hint": ""}}', RemoteError),
        ('{"error": {"code": "CholineError", "message": 5}}', RemoteError),
    ],
)
async def test_statuses_that_make_no_sense(place: Place, says: str, error: type[Exception]) -> None:
    place.lie(f"cat <<'X'\n{says}\nX\n")
    with pytest.raises(error) as caught:
        await place.session.status()
    assert type(caught.value) is error
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ('{"s": "run", "o": 5, "d": "eA=="}', RemoteError),  # skips bytes
        ('{"s": "run", "o": 0, "d": "!"}', RemoteError),
        ('{"status": {"id": "other", "state": "ended"}}', RemoteError),
        ('{"beat": 1}', SshDropped),  # and then breaks off
        ("{" + "x" * 200_000, RemoteError),
    ],
)
async def test_streams_that_make_no_sense(place: Place, says: str, error: type[Exception]) -> None:
    place.lie(f"cat <<'X'\n{says}\nX\n")
    with pytest.raises(error) as caught:
        await collect(place.session, "r-1")
    assert type(caught.value) is error


async def test_a_machine_that_was_not_prepared(place: Place) -> None:
    with pytest.raises(RemoteError, match="no supervisor"):
        await place.session.status()
    with pytest.raises(RemoteError, match="no supervisor"):
        await collect(place.session, "r-1")


async def test_evidence_without_any_program_of_ours(place: Place) -> None:
    parts = await place.session.evidence()
    assert {"nvidia-smi", "dmesg", "disk", "processes", "supervisor.log", "guard.log"} <= set(parts)
    assert b"Filesystem" in parts["disk"]


async def test_no_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "sh").write_text(
        "#!/bin/sh\necho 'choline:home=/root'\necho 'choline:python= '\necho choline:nopython=1\nexit 3\n"
    )
    (fake / "sh").chmod(0o755)
    place = Place(tmp_path, monkeypatch, path=str(fake))
    try:
        assert (await place.session.probe()).python == ""
        with pytest.raises(MachineRefused, match="Python"):
            await place.session.prepare("r", LEASE)
    finally:
        await place.close()


def other(version: str, protocol: int = 1) -> Program:
    """The same program under another version's name."""
    ours = program()
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(ours.data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name).replace(ours.version.encode(), version.encode())
            new.writestr(name, content.replace(b"PROTOCOL = 1\n", b"PROTOCOL = %d\n" % protocol))
    head = b"#!/usr/bin/env python3\n# choline-supervisor %d %s\n" % (protocol, version.encode())
    return dataclasses.replace(ours, version=version, data=head + out.getvalue())


async def test_an_older_supervisor_with_jobs_is_kept_and_replaced_when_idle(place: Place) -> None:
    old = place.open(other("a" * 12))
    await old.prepare("r", LEASE)
    await old.submit(JobSpec("r-1", "r", "while [ ! -e go ]; do sleep 0.05; done; exit 6"))
    await eventually(lambda: '"live": 1' in (place.home / "choline/.system/supervisor.json").read_text())
    new = place.open()
    assert (await new.prepare("r", LEASE)).version == "a" * 12
    (place.home / "choline/r/src/go").touch()
    last = (await collect(new, "r-1"))[-1].status
    assert last is not None and last.exit_code == 6
    await eventually(lambda: '"live": 0' in (place.home / "choline/.system/supervisor.json").read_text())
    status = await place.open().prepare("r", LEASE)
    assert status.version == program().version
    assert status.jobs["r-1"].exit_code == 6


async def test_another_protocol_with_jobs_is_not_touched(place: Place) -> None:
    place.lie("")
    beat = {"pid": os.getpid(), "protocol": 99, "version": "z", "live": 1}
    # a process that looks like a supervisor to the probe
    program_file = place.home / "supervisor.pyz"
    program_file.write_text("sleep 600")
    process = await asyncio.create_subprocess_exec("sh", "-c", "sleep 600; :", str(program_file))
    try:
        beat["pid"] = process.pid
        (place.home / "choline/.system/supervisor.json").write_text(json.dumps(beat))
        with pytest.raises(ProtocolMismatch, match="99"):
            await place.session.prepare("r", LEASE)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("run", ["", "..", "a/b", "a b", "-x", "$(x)"])
async def test_names_that_a_shell_would_read(place: Place, run: str) -> None:
    with pytest.raises(UsageError):
        await place.session.prepare(run, LEASE)
    with pytest.raises(UsageError):
        await collect(place.session, run)
    with pytest.raises(UsageError):
        await place.session.send("r", [Item("/tmp", "src", into="../../x")])
    assert place.commands == []
