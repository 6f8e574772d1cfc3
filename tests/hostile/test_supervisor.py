"""A supervisor that lies, and login shells that are none: what every command over SSH may answer."""

import asyncio
import base64
import contextlib
import json
import os
import random
import resource
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from choline_tui.kernel.errors import CholineError, RemoteError, SshDropped, TransferFailed
from choline_tui.kernel.protocol import Frame, JobSpec, Lease
from choline_tui.kernel.session import ResultRules
from choline_tui.provision import session as sessions
from choline_tui.provision import snippets
from choline_tui.provision.session import SshSession
from choline_tui.provision.snippets import LAUNCHER
from choline_tui.ssh import connection, listing, tarstream
from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.connection import SshConnection
from choline_tui.ssh.transfer import download, upload
from tests.ssh.server import Sshd
from tests.ssh.test_transfer import tree
from tests.support import needs

LEASE = Lease(600, 600)
ENDED: dict[str, Any] = {"id": "r-1", "state": "ended", "reason": "exited", "exit_code": 0}


class Liar:
    """A session to a server whose program (and, with ``shell``, whose shell) is the test's."""

    def __init__(self, sshd: Sshd, pool: SshPool) -> None:
        self.sshd = sshd
        self.home = sshd.home
        self.session = SshSession(pool, [sshd.address], name="liar")
        launcher = self.home / LAUNCHER
        launcher.parent.mkdir(parents=True, exist_ok=True)
        self._launcher = launcher

    def program(self, script: str) -> None:
        self._launcher.write_text(script)

    def says(self, *lines: Any) -> None:
        text = self.home / "lines"
        text.write_bytes(
            b"".join((x if isinstance(x, bytes) else json.dumps(x).encode()) + b"\n" for x in lines)
        )
        self.program(f"cat {shlex.quote(str(text))}\n")

    def shell(self, script: str) -> None:
        """What runs instead of every command; ``$SSH_ORIGINAL_COMMAND`` is what was asked."""
        (self.sshd.root / "wrapper").write_text(f"#!/bin/sh\ncd {shlex.quote(str(self.home))}\n{script}\n")


@pytest.fixture
def liar(sshd: Sshd, pool: SshPool) -> Liar:
    return Liar(sshd, pool)


async def frames_of(session: SshSession) -> list[Frame]:
    return [frame async for frame in session.stream("r-1", {})]


def data(offset: int, content: bytes) -> dict[str, Any]:
    return {"s": "run", "o": offset, "d": base64.b64encode(content).decode()}


@pytest.mark.parametrize(
    "lie",
    [
        {**ENDED, "exit_code": 256},
        {**ENDED, "exit_code": -1},
        {**ENDED, "exit_code": 1.5},
        {**ENDED, "exit_code": None},
        {**ENDED, "exit_code": True},
        {**ENDED, "exit_code": 10**30},
        {**ENDED, "setup_exit": 999},
        {**ENDED, "state": "flying"},
        {**ENDED, "state": ["ended"]},
        {**ENDED, "reason": 5},
        {**ENDED, "id": None},
        {**ENDED, "results_bytes": -5},
        {**ENDED, "log_dropped": -5},
        {**ENDED, "log_bytes": [1]},
        {**ENDED, "log_bytes": {"run": "many"}},
        {**ENDED, "started": "yesterday"},
        {**ENDED, "started": float("nan")},
        {**ENDED, "ended": float("inf")},
        {**ENDED, "message": {"a": 1}},
        "ended",
        None,
    ],
)
def test_a_status_of_a_job_that_cannot_be(lie: Any) -> None:
    from choline_tui.kernel import frames

    with pytest.raises(ValueError, match=r"."):
        frames.decode(json.dumps({"status": lie}).encode())


async def test_words_of_a_status_are_inert_and_clocks_years_away_do_no_harm(liar: Liar) -> None:
    evil = "a\x1b[2J\x1b]52;c;cHduZWQ=\x07b\u202ec" + "\u0e47" * 500
    status = {**ENDED, "reason": evil, "message": evil * 8, "queued": -1e17, "started": 1e17, "ended": 0}
    liar.says({"status": status})
    (frame,) = await frames_of(liar.session)
    assert frame.status is not None
    assert frame.status.reason == "abc" + "\u0e47" * 4
    assert "\x1b" not in frame.status.message and len(frame.status.message) <= 4096


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([data(0, b"x"), data(5, b"y")], "skips bytes"),
        ([data(0, b"xy"), data(1, b"y")], "skips bytes"),
        ([{"s": "run", "o": 0, "d": "eA"}], "makes no sense"),
        ([{"s": "run", "o": 1 << 62, "d": "eA=="}], "makes no sense"),
        ([{"s": "run", "o": 0, "d": ""}], "makes no sense"),
        ([{"s": ["run"], "o": 0, "d": "eA=="}], "makes no sense"),
        ([{"status": {**ENDED, "id": "other-1"}}], "another job"),
        ([{"nothing": 1}], "makes no sense"),
        ([{"beat": 1}, b'{"s": "run", '], "makes no sense"),
        ([{"beat": 1}, b"[" * 5000], "ended with 0"),
        ([b'{"a":' * 5000], "ended with 0"),
        ([b'{"beat": ' + b"1" * 100_000 + b"}"], "ended with 0"),
        ([b"x" * 200_000], "longer than"),
    ],
)
async def test_streams_that_cannot_be(liar: Liar, lines: list[Any], words: str) -> None:
    liar.says(*lines)
    with pytest.raises(RemoteError, match=words):
        await frames_of(liar.session)


@pytest.mark.parametrize(
    "line",
    [
        '{"beat":1}',
        '{"status":{"id":"r-1","state":"running"}}',
        "Welcome to the machine",
        "",
        "{not ours",
    ],
)
async def test_a_stream_that_never_ends_is_left(liar: Liar, line: str) -> None:
    liar.program(f"exec yes {shlex.quote(line)}\n")
    with pytest.raises(RemoteError, match=r"never stops|without end"):
        await asyncio.wait_for(frames_of(liar.session), 120)


async def test_the_others_have_their_turn_while_one_floods(liar: Liar) -> None:
    """The loop answers, and memory does not grow, while a machine sends all it can."""
    turns = 0
    stop = asyncio.Event()

    async def others() -> None:
        nonlocal turns
        while not stop.is_set():
            await asyncio.sleep(0.001)
            turns += 1

    async def flood() -> None:
        conn = await liar.session._connection()
        async with conn.process("exec yes") as process:
            got = 0
            while got < 100 << 20:
                got += len(await process.read())

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ticking = asyncio.create_task(others())
    await flood()
    stop.set()
    await ticking
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert turns > 100
    assert grown < 64 << 10, f"{grown} KiB"


async def test_talk_before_and_after_our_program(liar: Liar, tmp_path: Path) -> None:
    """Messages of the day with brackets in them, around every answer."""
    noise = "printf '%s\\n' '{o,o}  an owl' '[{\"' 'choline:' '{' 'choline-listing'"
    await liar.session.prepare("r", LEASE)  # the real program
    pid = json.loads((liar.home / "choline/.system/supervisor.json").read_text())["pid"]
    try:
        wrapper = (liar.sshd.root / "wrapper").read_text()
        (liar.sshd.root / "wrapper").write_text(
            wrapper.replace("exec /bin/sh", f"{noise}\n/bin/sh") + f"code=$?\n{noise}\nexit $code\n"
        )
        assert (await liar.session.probe()).home == str(liar.home)
        await liar.session.prepare("r", LEASE)
        await liar.session.submit(JobSpec("r-1", "r", "echo hello; echo x > $CHOLINE_RESULTS/a"))
        got = await frames_of(liar.session)
        assert b"".join(frame.data for frame in got) == b"hello\n"
        fetched = await liar.session.fetch("r", str(tmp_path / "in"), final=True)
        assert fetched.files == 1
        assert (tmp_path / "in/results/a").read_text() == "x\n"
        assert "disk" in await liar.session.evidence()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)


Call = Callable[[SshSession, Path], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "probe": lambda s, p: s.probe(),
    "prepare": lambda s, p: s.prepare("r", LEASE),
    "status": lambda s, p: s.status(),
    "renew": lambda s, p: s.renew(LEASE),
    "submit": lambda s, p: s.submit(JobSpec("r-1", "r", "true")),
    "stop": lambda s, p: s.stop("r-1", 1.0, "stopped"),
    "stream": lambda s, p: frames_of(s),
    "fetch": lambda s, p: s.fetch("r", str(p / "in"), final=True),
}


@pytest.mark.parametrize(
    ("shell", "within"),
    [
        ("exec cat", 20),
        ("exec cat </dev/zero", 30),
        ("exec yes", 30),
        ("exec yes '{\"error\":{}}'", 30),
        ("exec head -c 300000000 /dev/zero", 30),
        ("exit 0", 20),
        ("kill -9 $$", 20),
        ("echo 'choline:home=/root'; echo 'choline:python='; exit 1", 20),
    ],
    ids=["cat", "zeros", "yes", "errors", "300 MB", "nothing", "killed", "half"],
)
async def test_login_shells_that_are_none(
    liar: Liar, tmp_path: Path, shell: str, within: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call ends with one of our errors, in bounded time and memory."""
    for module, name in ((sessions, "SILENCE_S"), (sessions, "HASHING_S"), (listing, "_SILENCE_S")):
        monkeypatch.setattr(module, name, 1.0)
    monkeypatch.setattr(connection, "_CLOSE_SECONDS", 0.2)
    real = SshConnection.run

    async def short(self: SshConnection, command: str, **more: Any) -> Any:
        return await real(self, command, **{**more, "timeout": 3.0})

    monkeypatch.setattr(SshConnection, "run", short)
    liar.shell(shell)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, call in CALLS.items():
        if name == "probe" and "choline:home" in shell:
            continue  # a machine without Python
        with pytest.raises(CholineError) as caught:
            await call(liar.session, tmp_path)
        assert caught.value.message and len(caught.value.message) < 600, name
        assert caught.value.message.isprintable(), name
    with contextlib.suppress(CholineError):
        await liar.session.evidence()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


async def test_a_transfer_that_stands_still_is_given_up(
    liar: Liar, conn: SshConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_CLOSE_SECONDS", 0.2)
    monkeypatch.setattr(listing, "_SILENCE_S", 0.5)
    monkeypatch.setattr(tarstream, "_SILENCE_S", 0.5)
    (liar.home / "r").mkdir()
    (liar.home / "r" / "f").write_text("x")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "g").write_text("x")
    stands = "case $SSH_ORIGINAL_COMMAND in *tar*) exec sleep 100;; esac\n"
    wrapper = liar.sshd.root / "wrapper"
    wrapper.write_text(wrapper.read_text().replace("exec", stands + "exec"))
    with pytest.raises(SshDropped, match="nothing for"):
        await download(conn, "r", tmp_path / "back", method="tar")
    with pytest.raises(SshDropped, match="nothing for"):
        await upload(conn, tmp_path / "base", "d", method="tar")
    liar.shell("exec sleep 100")
    with pytest.raises(TransferFailed, match=r"nothing comes for 0\.5 s"):
        await listing.remote_listing(conn, "r")


def entry(path: str, size: Any = 1, digest: str = "0" * 64) -> dict[str, Any]:
    return {"p": path, "n": size, "m": 1, "h": digest}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([entry("results/a"), entry("results/a"), {"end": 2}], "twice"),
        ([b'{"p":"results/a","p":"results/../../x","n":1,"m":1,"h":""}', {"end": 1}], "leaves"),
        ([b'{"p":"results/a","n":NaN,"m":1,"h":""}', {"end": 1}], "number"),
        ([b'{"p":"results/a","n":1e3,"m":1,"h":""}', {"end": 1}], "number"),
        ([entry("results/a", 1 << 70), {"end": 1}], "number"),
        ([entry("results/a", -1), {"end": 1}], "negative"),
        ([entry("results/a", 1, "zz"), {"end": 1}], "hash"),
        ([entry("/etc/passwd"), {"end": 1}], "leaves"),
        ([entry("results/\ud83d"), {"end": 1}], "cannot be used"),
        ([b'{"p":' + b'{"a":' * 3000], "no end"),
        ([entry("results/a"), {"end": 7}], "not whole"),
        ([entry("results/a"), {"end": True}], "not whole"),
        ([entry("results/a")], "no end"),
        (
            [{"end": 0, "unread": 3, "first": "results/d\x1b[2J"}],
            "cannot be read there, the first is",
        ),
        ([{"end": 0, "cut": True}], "more than"),
        ([entry("results/" + "d/" * 3000 + "x"), {"end": 1}], "leaves"),
        ([entry("results/\x1b]0;x\x07a"), {"end": 1}], "did not arrive whole, the first is results/a"),
    ],
)
async def test_lists_of_results_that_lie(liar: Liar, tmp_path: Path, lines: list[Any], words: str) -> None:
    results = liar.home / "choline/r/results"
    results.mkdir(parents=True)
    (results / "a").write_text("content")
    liar.says(*lines)
    with pytest.raises(TransferFailed, match=words) as caught:
        await liar.session.fetch("r", str(tmp_path / "in"), final=True)
    assert caught.value.message.isprintable()
    assert sorted(p.name for p in tmp_path.iterdir() if p.name == "x") == []


async def test_what_is_home_stays_home_whatever_the_list_says(liar: Liar, tmp_path: Path) -> None:
    """A list that calls every file wrong, and then a machine that gives nothing more."""
    results = liar.home / "choline/r/results"
    (results / "sub").mkdir(parents=True)
    (results / "a").write_text("content")
    (results / "sub" / "b").write_text("content")
    into = tmp_path / "in"
    await liar.session.fetch("r", str(into), final=False, rules=ResultRules(settle_s=0))
    before = tree(into)
    liar.says(
        entry("results/a"), entry("results/sub/b"), entry("results/sub"), entry("results/a/x"),
        entry("results/" + "n" * 300), {"end": 5},
    )  # fmt: skip
    for gone in (False, True):
        if gone:
            (results / "a").unlink()
            (results / "sub" / "b").unlink()
        with pytest.raises(TransferFailed, match="did not arrive whole"):
            await liar.session.fetch("r", str(into), final=True)
        assert tree(into) == before


async def test_a_list_without_end(liar: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from choline_tui.kernel import manifest

    monkeypatch.setattr(manifest, "MAX_BYTES", 4 << 20)
    (liar.home / "choline/r/results").mkdir(parents=True)
    long = "results/" + "n" * 3000
    liar.program(
        'i=0; while :; do i=$((i+1)); printf \'{"p":"%s%d","n":1,"m":1,"h":""}\\n\' ' + f"{long} $i; done\n"
    )
    with pytest.raises(TransferFailed, match="too long"):
        await liar.session.fetch("r", str(tmp_path / "in"), final=True)


@pytest.mark.parametrize(
    ("told", "gpus", "error"),
    [
        ("exit 0", 0, "nvidia-smi names no card"),
        ("exit 9", 0, "nvidia-smi ended with 9"),
        ("echo garbage; exit 0", 0, "garbage"),
        ("cat {noise}", 0, None),
        ("yes 'NVIDIA H100, 81559, 550'", 64, ""),
        ("printf 'NVIDIA \\033[2JH100, 81559, 550\\n'", 1, ""),
        ("echo NVIDIA H100, nan, 550", 0, "NVIDIA H100, nan, 550"),
        ("echo NVIDIA H100, 1e999, 550", 1, ""),
        ("printf 'NVIDIA H100, 81559, \\302\\233550\\n'", 0, None),
        ("echo NVIDIA H100, 9 bottles, 550", 0, "NVIDIA H100, 9 bottles, 550"),
        ("trap '' TERM; while :; do sleep 1; done", 0, None),
    ],
)
async def test_what_nvidia_smi_may_say(
    sshd: Sshd, pool: SshPool, told: str, gpus: int, error: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("timeout")
    tools = sshd.root / "bin"
    tools.mkdir()
    noise = tools / "noise"
    noise.write_bytes(random.Random(7).randbytes(1_000_000))
    (tools / "nvidia-smi").write_text(f"#!/bin/sh\n{told.format(noise=shlex.quote(str(noise)))}\n")
    (tools / "nvidia-smi").chmod(0o755)
    wrapper = sshd.root / "wrapper"
    wrapper.write_text(wrapper.read_text().replace("exec", f"PATH={tools}:$PATH exec"))
    monkeypatch.setattr(
        snippets, "_LIMIT", snippets._LIMIT.replace("-k 5 20", "-k 1 1").replace("timeout 20", "timeout 1")
    )
    probe = await SshSession(pool, [sshd.address], name="gpu").probe()
    assert len(probe.gpus) == gpus
    assert error is None or probe.gpu_error == error
    assert probe.gpus or probe.gpu_error
    for card in probe.gpus:
        assert (card.name + card.driver).isprintable() and 0 <= card.memory_mib < 1e9
    assert probe.gpu_error.isprintable() and len(probe.gpu_error) <= 300


@pytest.mark.parametrize(
    "line",
    [
        "choline:market=\u00b2",
        "choline:market=" + "9" * 6000,
        "choline:disk=x 1 1 \u00b2 9% /",
        "choline:disk=x 1 1 " + "9" * 6000 + " 9% /",
        "choline:gpu=choline-exit \u00b2",
        'choline:beat={"version": ' + "[" * 900 + "]" * 900 + "}",
        'choline:beat={"version": 5, "protocol": ' + "9" * 4000 + ', "live": NaN}',
        "choline:installed=# choline-supervisor",
        "choline:python=3.11 " + "x" * 100_000,
    ],
)
async def test_a_first_contact_that_makes_no_sense(liar: Liar, line: str) -> None:
    (liar.home / "line").write_text(f"choline:home=/root\n{line}\n")
    liar.shell("exec cat line")
    probe = await liar.session.probe()
    assert probe.home == "/root" and 0 <= probe.disk_free_bytes <= 1 << 60
    assert probe.market is None and len(probe.supervisor) <= 100


async def test_evidence_has_no_parts_but_those_asked_for(liar: Liar) -> None:
    liar.shell(
        "b=$(cat | sed -n \"s/^printf '.n%s %s.n' \\(choline-[0-9a-f]*\\) .*/\\1/p\" | head -n 1)\n"
        'for i in disk ../../x $(seq 5000) end; do printf "\\n%s %s\\n" "$b" "$i"; echo evil; done'
    )
    assert await liar.session.evidence() == {"disk": b"evil\n"}
