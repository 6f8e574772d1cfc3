"""Faults of contracts with real remotes: refused and cut connections, and a disk that is really full."""

import os
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest

from choline_tui.simulator import Simulator
from choline_tui.simulator.faults import FaultPlan, Rule
from choline_tui.simulator.remotes import ProcessBackend
from tests.simulator.market_client import Caller
from tests.support import eventually

KEY = asyncssh.generate_private_key("ssh-ed25519", comment="faults")


def market(backend: ProcessBackend, *rules: Rule) -> Simulator:
    return Simulator(
        offers=60, boot=0.2, moving=False, listen=False, backend=backend, faults=FaultPlan(list(rules))
    )


async def rented(sim: Simulator) -> tuple[int, int]:
    """The contract and its SSH port."""
    call = Caller(sim)
    await call("POST", "/api/v0/ssh/", {"ssh_key": KEY.export_public_key().decode().strip()})
    number = await call.rented()
    contract = sim.contracts.get(number)
    await eventually(lambda: contract.published, what="running")
    return number, contract.endpoint.port


async def connect(port: int) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        "127.0.0.1",
        port,
        username="root",
        client_keys=[KEY],
        known_hosts=None,
        config=None,
        agent_path=None,
    )


async def test_ssh_is_refused_for_a_while(tmp_path: Path) -> None:
    async with market(ProcessBackend(tmp_path), Rule("ssh-refused", seconds=2.5)) as sim:
        _, port = await rented(sim)
        with pytest.raises((OSError, asyncssh.Error)):
            await connect(port)

        async def answers() -> asyncssh.SSHClientConnection | None:
            try:
                return await connect(port)
            except (OSError, asyncssh.Error):
                return None

        async with await eventually(answers, what="SSH") as conn:
            assert (await conn.run("echo ok")).stdout == "ok\n"
        assert sim.contracts.faults == []


async def test_ssh_is_cut_in_the_middle(tmp_path: Path) -> None:
    async with market(ProcessBackend(tmp_path), Rule("ssh-dropped", delay_s=4)) as sim:
        _, port = await rented(sim)
        async with await connect(port) as conn:
            cut = await conn.run("sleep 60")
            assert cut.exit_status is None, "nobody said how it ended"
        async with await connect(port) as again:
            assert (await again.run("echo ok")).stdout == "ok\n"
        assert sim.contracts.faults == []


def test_a_full_disk_refuses_what_is_written(tmp_path: Path) -> None:
    """In a mount namespace of its own, with a file system of 16 MiB in it: nobody has to be root, and nothing
    is left mounted."""
    mount = 'mount -t tmpfs -o size=16m tmpfs "$1" && exec "$2" -m tests.simulator.full_disk "$1"'
    words = ["unshare", *([] if os.getuid() == 0 else ["--user", "--map-root-user"]), "--mount"]
    if subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("this computer lets nobody make a mount namespace")
    done = subprocess.run(
        [*words, "sh", "-c", mount, "sh", str(tmp_path), sys.executable],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "space again" in done.stdout


async def test_a_disk_that_cannot_be_filled_is_said_so(tmp_path: Path) -> None:
    async with market(ProcessBackend(tmp_path), Rule("disk-full", seconds=0.1)) as sim:
        await rented(sim)
        await eventually(lambda: len(sim.contracts.faults) == 1, what="told")
        assert "small file system" in sim.contracts.faults[0]
