"""What a process remote carries is counted, shown and billed; what it is given and what is taken from it."""

from pathlib import Path
from typing import Any

import asyncssh
import pytest

from choline_tui.simulator import Simulator
from choline_tui.simulator.remotes import ProcessBackend
from tests.simulator.market_client import Caller
from tests.support import eventually, needs

KEY = asyncssh.generate_private_key("ssh-ed25519", comment="bill")
PUBLIC = KEY.export_public_key().decode().strip()


async def connect(sim: Simulator, contract: int) -> asyncssh.SSHClientConnection:
    at = sim.contracts.get(contract)
    assert at is not None and at.endpoint is not None
    return await asyncssh.connect(
        at.endpoint.host,
        at.endpoint.port,
        username="root",
        client_keys=[KEY],
        known_hosts=None,
        config=None,
        agent_path=None,
    )


async def up(sim: Simulator, call: Caller, **body: Any) -> int:
    number = await call.rented(**body)
    await eventually(lambda: sim.contracts.get(number).published, what="running")  # type: ignore[union-attr]
    return number


@pytest.mark.parametrize("sshd", ["asyncssh", "openssh"])
async def test_bytes_over_ssh_are_counted_and_billed(tmp_path: Path, sshd: Any) -> None:
    needs(*(["sshd"] if sshd == "openssh" else []))
    backend = ProcessBackend(tmp_path / "market", sshd)
    async with Simulator(offers=60, boot=0.2, moving=False, listen=False, backend=backend) as sim:
        call = Caller(sim)
        await call("POST", "/api/v0/ssh/", {"ssh_key": PUBLIC})
        number = await up(sim, call)
        async with await connect(sim, number) as conn:
            await conn.run("head -c 3000000 /dev/zero", encoding=None)
            await conn.run("cat > x", input=bytes(2_000_000), encoding=None)
            # while it is open, and after it has ended
            await eventually(lambda: backend.traffic(number)[1] > 2_000_000, what="counted")
        await eventually(lambda: backend.traffic(number)[0] > 3_000_000, what="counted")
        contract = sim.contracts.get(number)
        assert contract is not None
        items = {i["type"]: i for i in await _items(call)}
        sent, received = contract.traffic  # as on this bill
        assert 3_000_000 < sent < 3_200_000 and 2_000_000 < received < 2_200_000, "and little besides"
        pulled = items["bwd"]["quantity"] - received
        assert 2e9 <= pulled <= 8e9, "the image"
        prices = contract.slice.row
        assert items["bwu"]["amount"] == pytest.approx(sent / 1e9 * prices["inet_up_cost"], abs=2e-6)
        down = (received + pulled) / 1e9 * prices["inet_down_cost"]
        assert items["bwd"]["amount"] == pytest.approx(down, abs=2e-6)

        # made anew, it counts on from there
        began = contract.boot_began
        await call("PUT", f"/api/v0/instances/recycle/{number}/", {})
        await eventually(lambda: contract.boot_began != began and contract.published, what="running again")
        async with await connect(sim, number) as conn:
            await conn.run("head -c 500000 /dev/zero", encoding=None)
        await eventually(lambda: backend.traffic(number)[0] > sent + 500_000, what="counted on")


async def _items(call: Caller) -> list[dict[str, Any]]:
    _, bill = await call("GET", "/api/v0/charges/")
    return [item for row in bill["results"] for item in row["items"]]


async def test_what_it_is_given_and_what_is_taken_back(tmp_path: Path) -> None:
    backend = ProcessBackend(tmp_path / "market")
    async with Simulator(offers=60, boot=0.2, moving=False, listen=False, backend=backend) as sim:
        call = Caller(sim)
        number = await up(
            sim, call, disk=33, env={"-p 8080:8080": "1", "-p 70:71/udp": "1"}, onstart="env > seen"
        )
        path = f"/api/v0/instances/{number}/ssh/"
        _, first = await call("POST", path, {"ssh_key": PUBLIC})
        contract = sim.contracts.get(number)
        assert contract is not None and contract.endpoint is not None
        async with await connect(sim, number) as conn:
            port = contract.endpoint.port
            for where in ("cat seen", "tr '\\0' '\\n' < /proc/1/environ"):
                if where.startswith("tr") and backend.isolation == "plain":
                    continue
                seen = str((await conn.run(where, check=True)).stdout).splitlines()
                assert f"VAST_TCP_PORT_22={port}" in seen, where
                assert "VAST_TCP_PORT_8080=8080" in seen and "VAST_UDP_PORT_71=71" in seen, where

            # the disk that was rented, whatever this computer's is
            total = 33_000_000_000 // 1024
            shown = str((await conn.run("df -Pk .", check=True)).stdout).splitlines()[-1].split()
            assert int(shown[1]) == total and 0 < int(shown[3]) <= total - int(shown[2])
            await conn.run("head -c 5000000 /dev/zero > x", check=True)
            later = str((await conn.run("df -Pk ~", check=True)).stdout).splitlines()[-1].split()
            assert int(later[2]) >= int(shown[2]) + 4800
            assert "G" in str((await conn.run("df -h", check=True)).stdout)
            assert (await conn.run("df --version", check=True)).stdout
            too_large = await conn.run("truncate -s 34G y")
            assert too_large.exit_status != 0, "no file is larger than the disk"

            assert (await call("DELETE", f"{path}{first['key']['id']}/"))[0] == 200
            with pytest.raises(asyncssh.PermissionDenied):
                await connect(sim, number)
            assert (await conn.run("echo still", check=True)).stdout == "still\n"
        assert (await call("POST", path, {"ssh_key": PUBLIC}))[0] == 200
        (await connect(sim, number)).abort()

        status, told = await call(
            "POST", f"/api/v0/instances/take_snapshot/{number}/", {"personal_repo": "me/x"}
        )
        assert status == 400 and "registry" in told["msg"]
