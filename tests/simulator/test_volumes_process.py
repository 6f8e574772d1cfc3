"""Volumes in process remotes: what is written there outlives the container, and links lead nowhere."""

from pathlib import Path

import asyncssh
import pytest

from choline_tui.kernel.errors import RemoteError, UsageError
from choline_tui.simulator import Simulator
from choline_tui.simulator.remotes import volumes
from tests.simulator.market_client import Caller
from tests.simulator.test_remotes_process import backend_of
from tests.support import eventually

KEY = asyncssh.generate_private_key("ssh-ed25519", comment="volume")


async def connect(sim: Simulator, number: int) -> asyncssh.SSHClientConnection:
    contract = sim.contracts.get(number)
    await eventually(lambda: contract.published, what="running")  # type: ignore[union-attr]
    return await asyncssh.connect(
        "127.0.0.1", contract.endpoint.port, username="root", client_keys=[KEY],  # type: ignore[union-attr]
        known_hosts=None, config=None, agent_path=None,
    )  # fmt: skip


@pytest.mark.parametrize("isolate", ["auto", "userns", "plain"])
async def test_a_volume_outlives_its_instances(tmp_path: Path, isolate: str) -> None:
    backend = backend_of(tmp_path / "market", "asyncssh", isolate)
    async with Simulator(offers=60, boot=0.2, moving=False, listen=False, backend=backend) as sim:
        call = Caller(sim)
        await call("POST", "/api/v0/ssh/", {"ssh_key": KEY.export_public_key().decode().strip()})
        _, answer = await call("POST", "/api/v0/volumes/search/", {"disk_space": {"gt": "50"}})
        offer = answer["offers"][0]
        _, made = await call("PUT", "/api/v0/volumes/", {"size": 40, "id": offer["id"], "name": "data"})
        numbers = []
        for word in ("first", "second"):
            ask = (await call.search(machine_id={"eq": offer["machine_id"]}))[0]
            _, answer = await call.rent(ask["id"], env={f"-v {made['volume_name']}:/data": "1"})
            numbers.append(answer["new_contract"])
            async with await connect(sim, numbers[-1]) as conn:
                await conn.run(f"echo {word} >> data/log", check=True)
                said = str((await conn.run("cat ~/data/log", check=True)).stdout)
            assert said.split() == ["first", "second"][: len(numbers)]
            # and it is there after a restart
            contract = sim.contracts.get(numbers[-1])
            assert contract is not None
            began = contract.running_since
            await call("PUT", f"/api/v0/instances/reboot/{numbers[-1]}/", {})
            await eventually(lambda c=contract, t=began: c.running_since not in (None, t), what="it restarts")
            async with await connect(sim, numbers[-1]) as conn:
                assert (await conn.run("test -s data/log")).exit_status == 0
            await call("DELETE", f"/api/v0/instances/{numbers[-1]}/")
            await eventually(lambda: not backend._remotes, what="it is gone")
        folder = backend.volume(made["volume_name"])
        assert (folder / "log").exists()
        status, _ = await call("DELETE", "/api/v0/volumes/", {}, id=str(made["volume_id"]))
        assert status == 200 and not folder.exists()


def test_no_link_is_followed_to_a_mount_point(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    home.mkdir()
    outside.mkdir()
    assert volumes.mount_point(home, "/data/sets") == home / "data" / "sets"
    assert volumes.mount_point(home, "/workspace/../workspace/x") == home / "x"
    (home / "link").symlink_to(outside)
    (home / "file").write_text("")
    for path in ("/link", "/link/deeper", "/root/file"):
        with pytest.raises(RemoteError):
            volumes.mount_point(home, path)
    assert not list(outside.iterdir())
    for path in ("/", "/root", "/workspace/", "/root/.ssh", "/../root", ""):
        with pytest.raises(UsageError):
            volumes.mount_point(home, path)
