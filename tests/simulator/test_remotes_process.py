"""Rehearsal remotes as real processes: what a container on Vast does, these do."""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from choline_tui.kernel.errors import NotFound, RemoteError, UsageError
from choline_tui.simulator.backend import Endpoint, Gpu, Launch
from choline_tui.simulator.remotes import ProcessBackend, isolation
from tests.support import eventually, needs, wait_until

KEY = asyncssh.generate_private_key("ssh-ed25519")
PUBLIC = KEY.export_public_key().decode().strip()

CARD = Gpu("RTX 4090", 24564, "550.90.07", "12.4")


def launch(contract: int = 1, onstart: str = "", **more: Any) -> Launch:
    env = {"CONTAINER_ID": str(contract), "CONTAINER_API_KEY": "instance-key", "MINE": "a b"}
    values: dict[str, Any] = {
        "image": "img",
        "env": env,
        "disk_gb": 10.0,
        "gpus": [CARD, CARD],
        "authorized_keys": [PUBLIC],
        "machine_id": 77,
    }
    return Launch(contract=contract, onstart=onstart, **(values | more))


async def connect(
    at: Endpoint, key: asyncssh.SSHKey = KEY, user: str = "root"
) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        at.host, at.port, username=user, client_keys=[key], known_hosts=None, config=None, agent_path=None
    )


@dataclass
class Box:
    backend: ProcessBackend
    at: Endpoint
    conn: asyncssh.SSHClientConnection

    async def run(self, command: str, **more: Any) -> asyncssh.SSHCompletedProcess:
        return await self.conn.run(command, **more)

    async def out(self, command: str) -> str:
        done = await self.run(command)
        assert done.exit_status == 0, done.stderr
        return str(done.stdout)


def backend_of(root: Path, sshd: str, isolate: str) -> ProcessBackend:
    if sshd == "openssh":
        needs("sshd")
    try:
        return ProcessBackend(root, sshd, isolate=isolate)  # type: ignore[arg-type]
    except UsageError as exc:
        if os.environ.get("CI") and isolate == "auto":
            raise
        pytest.skip(exc.message)
        raise


every_kind = pytest.mark.parametrize(
    "kind",
    [f"{sshd}-{isolate}" for sshd in ("asyncssh", "openssh") for isolate in ("auto", "userns", "plain")],
    indirect=True,
)
embedded_only = pytest.mark.parametrize("kind", ["asyncssh-auto"], indirect=True)


@pytest.fixture(params=["asyncssh-auto", "openssh-auto"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def backend(tmp_path: Path, kind: str) -> AsyncIterator[ProcessBackend]:
    sshd, isolate = kind.split("-")
    made = backend_of(tmp_path / "re motes'", sshd, isolate)
    yield made
    await made.close()


@pytest.fixture
async def box(backend: ProcessBackend) -> AsyncIterator[Box]:
    await backend.create(launch(onstart='echo "key $CONTAINER_API_KEY mine $MINE home $HOME"; exit 3'))
    at = await backend.start(1)
    async with await connect(at) as conn:
        yield Box(backend, at, conn)


async def test_a_command_runs_for_real_in_its_own_home(box: Box) -> None:
    home = str(box.backend.home(1))
    assert (await box.out("pwd; echo ~; echo $HOME; cd /; cd; pwd")).splitlines() == [home] * 4
    done = await box.run("echo out; echo err >&2; exit 7")
    assert (done.exit_status, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert (await box.run("kill -9 $$")).exit_signal is not None
    assert (await box.run("no-such-program")).exit_status == 127
    assert "Python 3" in await box.out("python3 -V; python -V")
    assert await box.out("echo $USER-$LOGNAME") == "root-root\n"


@every_kind
async def test_container_variables_reach_onstart_but_no_ssh_shell(box: Box) -> None:
    said = f"key instance-key mine a b home {box.backend.home(1)}\n"
    await eventually(lambda: box.backend.log(1) == said, what="onstart's output in the log")
    env = await box.out("env")
    assert "CONTAINER" not in env and "MINE" not in env and "instance-key" not in env
    assert (await box.out("bash -lc env")).count("CONTAINER") == 0
    if box.backend.isolation != "plain":
        first = await box.out("tr '\\0' '\\n' < /proc/1/environ")
        assert "CONTAINER_ID=1" in first.splitlines()


async def test_standard_input_is_binary_clean_and_large(box: Box) -> None:
    data = os.urandom(1 << 20) * 12 + bytes(range(256))
    done = await box.run("cat", input=data, encoding=None)
    assert done.stdout == data
    assert (await box.run("head -c 3", input=data, encoding=None)).stdout == data[:3]


@every_kind
async def test_a_terminal(box: Box) -> None:
    done = await box.run(
        "tty; stty size; echo $TERM; test -t 1 && exit 5", term_type="xterm", term_size=(100, 30)
    )
    lines = str(done.stdout).split()
    assert lines[0].startswith("/dev/pts/") and lines[1:] == ["30", "100", "xterm"]
    assert done.exit_status == 5
    async with box.conn.create_process(None, term_type="xterm") as shell:
        shell.stdin.write("trap 'echo got it' WINCH; echo read''y\n")
        await asyncio.wait_for(shell.stdout.readuntil("ready\r\n"), 20)
        shell.change_terminal_size(132, 50)
        shell.stdin.write("stty size; nvidia-smi -L | head -1; exit 4\n")
        rest = await asyncio.wait_for(shell.stdout.read(), 20)
        assert "50 132" in rest and "GPU 0:" in rest
        assert (await shell.wait()).exit_status == 4


@embedded_only
async def test_a_signal_reaches_the_commands_group(box: Box) -> None:
    # OpenSSH's server does not pass signals on when root is the one logged in
    process = await box.conn.create_process("trap 'echo caught; exit 9' TERM; echo up; sleep 60 & wait")
    assert await process.stdout.readline() == "up\n"
    process.terminate()
    done = await asyncio.wait_for(process.wait(), 20)
    assert (done.stdout, done.exit_status) == ("caught\n", 9)


async def test_sftp_starts_at_home(box: Box) -> None:
    async with box.conn.start_sftp_client() as sftp:
        assert await sftp.realpath(".") == str(box.backend.home(1))
        async with sftp.open("from sftp", "wb") as f:
            await f.write(b"x" * 100_000)
    assert (await box.out("wc -c < 'from sftp'")).strip() == "100000"


@embedded_only
async def test_forwarding_reaches_a_port_of_the_container(box: Box) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await box.conn.open_connection("127.0.0.1", port)
        assert await reader.read() == b"hello"
        writer.close()


async def test_only_authorized_keys_of_root_get_in(box: Box) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        await connect(box.at, stranger)
    with pytest.raises(asyncssh.PermissionDenied):
        await connect(box.at, user="nobody-here")
    await box.backend.authorize(1, stranger.export_public_key().decode())
    async with await connect(box.at, stranger) as conn:
        assert (await conn.run("echo in")).stdout == "in\n"


@embedded_only
async def test_the_cards(box: Box) -> None:
    listing = (await box.out("nvidia-smi -L")).splitlines()
    assert len(listing) == 2 and listing[1].startswith("GPU 1: NVIDIA GeForce RTX 4090 (UUID: GPU-")
    query = "nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader,nounits"
    assert (await box.out(query)).splitlines() == ["NVIDIA GeForce RTX 4090, 24564, 550.90.07"] * 2
    with_header = await box.out("nvidia-smi --query-gpu=index,memory.used,compute_cap --format=csv -i 1")
    assert with_header == "index, memory.used [MiB], compute_cap\n1, 2 MiB, 8.9\n"
    table = await box.out("nvidia-smi")
    assert "CUDA Version: 12.4" in table and table.count("RTX 4090") == 2
    bad = await box.run("nvidia-smi --query-gpu=nonsense --format=csv")
    assert bad.exit_status == 2 and "not a valid field" in str(bad.stdout)


@every_kind
async def test_the_system_is_out_of_reach(box: Box, tmp_path: Path) -> None:
    if box.backend.isolation == "plain":
        for program in ("apt", "apt-get", "sudo"):
            done = await box.run(f"{program} install something")
            assert done.exit_status == 100 and "refused" in str(done.stderr)
        assert "NOT isolated" in box.backend.banner()
        return
    assert "isolated by" in box.backend.banner()
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    box_etc = box.backend.home(1).parent / "etc"
    for path in ("/etc/choline-test", f"{outside}/x", f"{box_etc}/x", "/usr/x"):
        assert (await box.run(f"touch {shlex.quote(path)}")).exit_status != 0, path
    assert not list(outside.iterdir())
    await box.out("touch ~/mine /tmp/choline-mine")
    assert not Path("/tmp/choline-mine").exists()
    assert int((await box.out("ls -d /proc/[0-9]* | wc -l")).strip()) < 15


@every_kind
async def test_stop_ends_every_process_and_keeps_the_disk(box: Box) -> None:
    mark = f"31{os.getpid()}.{abs(hash(box.backend.root)) % 1000}"
    # leaves its session, its group and its parent behind
    await box.out(f"echo kept > file; (setsid nohup sh -c 'sleep {mark}; :' >/dev/null 2>&1 &) ; true")
    await box.out(
        f"python3 -c 'import os; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); "
        f'os.execlp("sleep", "sleep", "{mark}")\' </dev/null >/dev/null 2>&1'
    )
    await eventually(lambda: len(processes(f"sleep {mark}")) >= 2, what="the daemons run")
    await box.backend.stop(1)
    assert processes(mark) == []
    with pytest.raises((OSError, asyncssh.Error)):
        await connect(box.at)
    assert (box.backend.home(1) / "file").read_text() == "kept\n"
    again = await box.backend.start(1)
    async with await connect(again) as conn:
        assert (await conn.run("cat file; ls hasbooted")).stdout == "kept\nhasbooted\n"
    await eventually(lambda: box.backend.log(1).count("key instance-key") == 2, what="onstart ran again")


@embedded_only
async def test_destroy_removes_everything(box: Box) -> None:
    await box.out("mkdir -p shut/in && touch shut/in/file && chmod 0 shut/in shut; ln -s / root-of-all")
    home = box.backend.home(1)
    await box.backend.destroy(1)
    assert not home.parent.exists() and Path("/etc/passwd").exists()
    await box.backend.destroy(1)
    with pytest.raises(NotFound):
        box.backend.log(1)


async def test_the_host_key_stays_and_is_as_told(box: Box) -> None:
    def seen(conn: asyncssh.SSHClientConnection) -> str:
        key = conn.get_server_host_key()
        assert key is not None
        return " ".join(key.export_public_key().decode().split()[:2])

    assert seen(box.conn) == box.backend.host_key(1)
    await box.backend.stop(1)
    async with await connect(await box.backend.start(1)) as conn:
        assert seen(conn) == box.backend.host_key(1)


async def test_ssh_can_be_refused_and_cut(box: Box) -> None:
    await box.backend.drop_ssh(1)
    await eventually(box.conn.is_closed, what="the connection is cut")
    async with await connect(box.at) as conn:
        await box.backend.refuse_ssh(1, True)
        await eventually(conn.is_closed, what="the connection is cut")
        with pytest.raises(ConnectionRefusedError):
            await connect(box.at)
        await box.backend.refuse_ssh(1, False)
        async with await connect(box.at) as again:
            assert (await again.run("echo back")).stdout == "back\n"


async def test_a_job_survives_the_connection_that_started_it(box: Box) -> None:
    async with await connect(box.at) as conn:
        await conn.create_process("echo begun > begun; sleep 0.3; echo done > done")
        await eventually((box.backend.home(1) / "begun").exists)
    await eventually((box.backend.home(1) / "done").exists)


async def test_rsync_both_ways(box: Box, tmp_path: Path) -> None:
    needs("rsync", "ssh")
    key = tmp_path / "id"
    key.touch(mode=0o600)
    key.write_bytes(KEY.export_private_key())
    source = tmp_path / "from here"
    for name in ("a b", "quo'te\"", "new\nline", "-dash", "ünï"):
        (source / "sub dir").mkdir(parents=True, exist_ok=True)
        (source / "sub dir" / name).write_text(name)
    (source / "big").write_bytes(os.urandom(3 << 20))
    ssh = (
        f"ssh -F /dev/null -i {key} -p {box.at.port} -o StrictHostKeyChecking=no -o BatchMode=yes "
        "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    )

    async def rsync(*args: str) -> None:
        process = await asyncio.create_subprocess_exec(
            "rsync", "-a", "-s", "-e", ssh, *args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said = (await asyncio.wait_for(process.communicate(), 30))[0]
        assert process.returncode == 0, said

    await rsync(f"{source}/", "root@127.0.0.1:to there/")
    assert (box.backend.home(1) / "to there" / "sub dir" / "new\nline").read_text() == "new\nline"
    await rsync("root@127.0.0.1:to there/", f"{tmp_path}/back/")
    assert subprocess.run(["diff", "-r", source, tmp_path / "back"]).returncode == 0


# -- of one kind only


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[ProcessBackend]:
    made = ProcessBackend(tmp_path / "remotes")
    yield made
    await made.close()


async def test_many_at_once_keep_apart(one: ProcessBackend) -> None:
    async def life(contract: int) -> str:
        await one.create(launch(contract))
        async with await connect(await one.start(contract)) as conn:
            done = await conn.run("echo $$ > me; ls")
        return str(done.stdout)

    listings = await asyncio.gather(*(life(n) for n in (1, 2, 3)))
    assert all("me\n" in listing for listing in listings)
    assert len({one.host_key(n) for n in (1, 2, 3)}) == 3


async def test_onstart_that_never_ends_does_not_hold_the_stop(one: ProcessBackend) -> None:
    mark = f"32{os.getpid()}"
    await one.create(launch(onstart=f"trap '' TERM INT HUP; echo up; sleep {mark}; sleep {mark}"))
    await one.start(1)
    await eventually(lambda: "up" in one.log(1))
    await asyncio.wait_for(one.stop(1), 60)
    assert processes(f"sleep {mark}") == []


async def test_a_frozen_container_is_killed(one: ProcessBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("choline_tui.simulator.remotes.process.STOP_LIMIT", 0.3)
    await one.create(launch())
    async with await connect(await one.start(1)) as conn:
        await conn.create_process("kill -STOP $PPID; sleep 600")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(conn.run("true"), 0.3)
        await asyncio.wait_for(one.stop(1), 60)
        conn.abort()


async def test_users_path_and_odd_variables(one: ProcessBackend) -> None:
    env = {"PATH": "/opt/x:/usr/bin:/bin", "-p 8080:8080": "1", "HOME": "/elsewhere", "LINES2": "a\nb"}
    await one.create(launch(onstart='echo "$PATH $HOME $LINES2"; nvidia-smi -L | wc -l', env=env))
    await one.start(1)
    await eventually(lambda: one.log(1).endswith("2\n"))
    first = one.log(1).splitlines()[0]
    assert "/opt/x:" in first and "/elsewhere" not in first


async def test_wrong_questions(one: ProcessBackend, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await one.start(5)
    await one.create(launch())
    with pytest.raises(RemoteError):
        await one.create(launch())
    with pytest.raises(UsageError):
        await one.authorize(1, "ssh-ed25519 AAAA\nssh-ed25519 BBBB")
    assert await one.start(1) == await one.start(1)
    with pytest.raises(UsageError):
        await ProcessBackend(tmp_path / "a:b").create(launch())


def test_without_an_sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("choline_tui.simulator.remotes.openssh.find_sshd", lambda: None)
    with pytest.raises(UsageError, match="no sshd"):
        ProcessBackend(tmp_path, "openssh")


def test_isolation_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "works", lambda kind: kind == "plain")
    assert isolation.best() == "plain"
    monkeypatch.setattr(isolation, "works", lambda kind: kind != "bubblewrap")
    assert isolation.best() == "userns"


# -- nothing outlives the simulator


OWNER = """
import asyncio, sys
from pathlib import Path
from choline_tui.simulator.backend import Launch
from choline_tui.simulator.remotes import ProcessBackend

async def main():
    backend = ProcessBackend(Path(sys.argv[1]), isolate=sys.argv[2])
    await backend.create(Launch(1, "i", {"CONTAINER_ID": "1"}, sys.argv[3], 1.0))
    await backend.start(1)
    print("up", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("isolate", ["auto", "userns", "plain"])
@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_killed_simulator(tmp_path: Path, isolate: str, sig: signal.Signals) -> None:
    if isolate == "userns" and not isolation.works("userns"):
        pytest.skip(f"no {isolate} here")
    mark = f"33{os.getpid()}.{int(sig)}{len(isolate)}"
    onstart = f"(setsid sleep {mark} >/dev/null 2>&1 &); (trap '' TERM HUP; sleep {mark}) & sleep {mark}"
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "r"), isolate, onstart],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    with owner:
        assert owner.stdout is not None and owner.stdout.readline() == b"up\n"
        wait_until(lambda: len(processes(f"sleep {mark}")) >= 3, what="the container's processes run")
        owner.send_signal(sig)
    wait_until(lambda: processes(mark) == [], within=15, what="all processes of the container are gone")
    wait_until(lambda: processes(str(tmp_path)) == [], within=15, what="its own processes are gone too")


def processes(text: str) -> list[str]:
    """Command lines of live processes with ``text`` in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
            if text in line and state != "Z" and int(path.name) != os.getpid():
                found.append(line)
    return found


def test_disks_are_private(tmp_path: Path) -> None:
    async def scenario() -> None:
        backend = ProcessBackend(tmp_path / "private")
        await backend.create(launch())
        assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "private" / "1" / "etc" / "host_key").stat().st_mode) == 0o600
        await backend.close()
        assert list((tmp_path / "private").iterdir()) == []

    asyncio.run(scenario())


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed here")
def test_bubblewrap_is_taken_first() -> None:
    if isolation.works("bubblewrap"):
        assert isolation.best() == "bubblewrap"
