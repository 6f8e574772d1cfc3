"""``vastai copy`` between an instance and one's own computer: the client's rsync, and a real daemon."""

import subprocess
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from choline_tui.simulator import Simulator
from choline_tui.simulator.remotes import ProcessBackend
from tests.simulator.market_client import Caller
from tests.simulator.test_official_client import vastai  # noqa: F401 - a fixture
from tests.simulator.test_remotes_process import backend_of
from tests.support import eventually, needs

KEY = asyncssh.generate_private_key("ssh-ed25519", comment="copy")


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    file = tmp_path / "id"
    file.write_bytes(KEY.export_private_key())
    file.chmod(0o600)
    return file


async def rented(sim: Simulator) -> tuple[Caller, int]:
    call = Caller(sim)
    await call("POST", "/api/v0/ssh/", {"ssh_key": KEY.export_public_key().decode().strip()})
    number = await call.rented()
    await eventually(lambda: sim.contracts.get(number).published, what="running")  # type: ignore[union-attr]
    return call, number


def rsync(identity: Path, port: int, *words: str) -> Any:
    """The client's own command, poll for its end; ``None`` until then."""
    ssh = f"ssh -i {identity} -F none -p {port} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    command = ["rsync", "-arz", "-v", "--progress", "--rsh=ssh", "-e", ssh, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def poll() -> Any:
        return None if process.poll() is None else (process.communicate()[0], process.returncode)

    return poll


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("kind", ["openssh-auto", "asyncssh-userns", "asyncssh-plain"], indirect=True)
async def test_both_ways_with_the_clients_own_command(tmp_path: Path, identity: Path, kind: str) -> None:
    needs("ssh", "rsync")
    sshd, isolate = kind.split("-")
    backend = backend_of(tmp_path / "market", sshd, isolate)
    async with Simulator(offers=60, boot=0.2, moving=False, listen=False, backend=backend) as sim:
        call, number = await rented(sim)
        to_us = {"src_id": f"C.{number}", "dst_id": "local", "src_path": "/workspace/", "dst_path": "/d"}
        status, told = await call("PUT", "/api/v0/commands/copy_direct/", to_us)
        if not backend.copies:
            assert status == 400 and "rsync" in told["msg"]
            return
        host = f"vastai_kaalia@{told['src_addr']}::C.{number}"
        (backend.home(number) / "out").mkdir()
        (backend.home(number) / "out" / "mödel").write_bytes(bytes(range(256)) * 1000)

        async def copy(*words: str) -> tuple[str, int]:
            found: tuple[str, int] = await eventually(
                rsync(identity, told["src_port"], *words), what="the copy"
            )
            return found

        said, code = await copy(f"{host}//workspace/out", str(tmp_path / "d"))
        assert code == 0, said
        assert (tmp_path / "d" / "out" / "mödel").read_bytes() == bytes(range(256)) * 1000
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "data").write_text("mine")
        said, code = await copy(f"{tmp_path}/in/", f"{host}//root/data/")
        assert code == 0, said
        assert (backend.home(number) / "data" / "data").read_text() == "mine"

        # it is rsync and nothing else, and reaches the home and nothing else
        for elsewhere in (f"{host}//etc/passwd", f"{host}//workspace/../../etc/passwd", f"{host}9//root/"):
            _, code = await copy(elsewhere, str(tmp_path / "d"))
            assert code != 0
        assert not (tmp_path / "d" / "passwd").exists()
        async with asyncssh.connect(
            told["src_addr"], told["src_port"], username="vastai_kaalia", client_keys=[KEY],
            known_hosts=None, config=None, agent_path=None,
        ) as conn:  # fmt: skip
            answer = await conn.run("echo a shell", input="nothing a daemon knows\n")
            assert "a shell" not in str(answer.stdout)


@pytest.mark.parametrize("kind", ["openssh-auto", "asyncssh-userns"], indirect=True)
async def test_the_disk_of_one_that_stands_is_reached_and_nothing_runs_there(
    tmp_path: Path, identity: Path, kind: str
) -> None:
    needs("ssh", "rsync")
    sshd, isolate = kind.split("-")
    backend = backend_of(tmp_path / "market", sshd, isolate)
    async with Simulator(offers=60, boot=0.2, moving=False, listen=False, backend=backend) as sim:
        call, number = await rented(sim)
        contract = sim.contracts.get(number)
        assert contract is not None
        (backend.home(number) / "out").mkdir()
        (backend.home(number) / "out" / "last").write_bytes(b"checkpoint" * 1000)
        its_own = contract.endpoint
        sim.contracts.stop(contract)
        await eventually(lambda: contract.current == "stopped" and not contract.held, what="it stands")
        ask = {"src_id": f"C.{number}", "dst_id": "local", "src_path": "/workspace/", "dst_path": "/d"}
        status, told = await call("PUT", "/api/v0/commands/copy_direct/", ask)
        if not backend.copies:
            assert status == 400
            return
        assert status == 200 and told["src_port"] != its_own.port  # type: ignore[union-attr]
        host = f"vastai_kaalia@{told['src_addr']}::C.{number}"
        # by each of its names in the container, the one that its HOME says among them
        for n, name in enumerate(("/workspace", "/root", str(backend.home(number)))):
            copying = rsync(identity, told["src_port"], f"{host}/{name}/out", str(tmp_path / str(n)))
            said, code = await eventually(copying, what="the copy")
            assert code == 0, said
            assert (tmp_path / str(n) / "out" / "last").read_bytes() == b"checkpoint" * 1000
        # its own SSH is away, and the copier lets nobody else in
        with pytest.raises((OSError, asyncssh.Error)):
            async with asyncssh.connect(
                told["src_addr"], told["src_port"], username="root", client_keys=[KEY],
                known_hosts=None, config=None, agent_path=None,
            ):  # fmt: skip
                pass
        assert backend.traffic(number)[0] > 10_000, "what was copied is on the bill"
        again, told_again = await call("PUT", "/api/v0/commands/copy_direct/", ask)
        assert (again, told_again["src_port"]) == (200, told["src_port"])
        sim.contracts.lose_host(contract.machine)
        assert (await call("PUT", "/api/v0/commands/copy_direct/", ask))[0] == 400


async def test_with_the_official_client(tmp_path: Path, identity: Path, vastai: Path) -> None:  # noqa: F811
    needs("ssh", "rsync")
    # the client's ssh would write to this person's known hosts
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(
        '#!/bin/sh\nexec /usr/bin/ssh -F none -o UserKnownHostsFile=/dev/null "$@"\n'
    )
    (tmp_path / "bin" / "ssh").chmod(0o755)
    backend = ProcessBackend(tmp_path / "market")
    async with Simulator(offers=60, boot=0.2, moving=False, backend=backend) as sim:
        _, number = await rented(sim)
        (backend.home(number) / "result").write_text("won")
        env = {
            "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "VAST_URL": sim.url,
            "VAST_API_KEY": "k",
            "VASTAI_NO_UPDATE_CHECK": "1",
        }
        words = ["copy", "-i", str(identity), f"C.{number}:/workspace/result", f"local:{tmp_path}/d"]
        process = subprocess.Popen([str(vastai), *words], env=env, stdout=subprocess.PIPE, text=True)
        await eventually(lambda: process.poll() is not None, what="the client")
        said = process.communicate()[0]
        assert (tmp_path / "d" / "result").read_text() == "won", said
