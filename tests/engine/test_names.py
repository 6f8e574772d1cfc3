"""The file of names for other tools: who is in it, when it changes, what ssh reads in it."""

import asyncio
import sqlite3
import stat
import subprocess
from pathlib import Path
from typing import Any

from choline_tui.engine.names import Names
from choline_tui.kernel.session import Address
from choline_tui.model.run import Rental, RentalState
from choline_tui.ssh.names import write_names
from choline_tui.ssh.openssh import OpenSsh
from tests.support import needs
from tests.support.world import World, live

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7m8lFyJ0v1x3jGmQq0vE0p1V2b8sJv7i4s0w7V3rTq"


def machine(tmp_path: Path, host: str = "203.0.113.9", **changes: Any) -> OpenSsh:
    fields: dict[str, Any] = {
        "name": "abc123-1",
        "address": Address(host, 41022, "root"),
        "host_key": KEY,
        "private_path": tmp_path / "my keys" / "id",
        "directory": tmp_path / "known hosts",
    }
    return OpenSsh(**{**fields, **changes})


def test_ssh_reads_what_is_written(tmp_path: Path) -> None:
    needs("ssh")
    path = tmp_path / "ssh" / "config"
    assert write_names(path, {"choline-abc123": machine(tmp_path)})
    assert not write_names(path, {"choline-abc123": machine(tmp_path)})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    done = subprocess.run(
        ["ssh", "-F", str(path), "-o", "StrictHostKeyChecking=no", "-G", "choline-abc123"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = set(done.stdout.splitlines())
    assert {"hostname 203.0.113.9", "port 41022", "user root", "forwardagent no"} <= said
    assert f"identityfile {tmp_path}/my keys/id" in said
    # a machine is known by its own pinned key only
    alias = machine(tmp_path).alias
    assert f"hostkeyalias {alias}" in said
    assert (tmp_path / "known hosts" / f"{alias}.hosts").read_text() == f"{alias} {KEY}\n"
    block = path.read_text()
    assert "StrictHostKeyChecking yes" in block and "GlobalKnownHostsFile /dev/null" in block


def test_no_machine_leaves_no_name_and_none_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "config"
    assert not write_names(path, {}) and not path.exists()
    assert write_names(path, {"choline-a": machine(tmp_path)})
    assert write_names(path, {}) and "Host " not in path.read_text()


def test_a_path_no_configuration_can_hold_costs_that_name_only(tmp_path: Path) -> None:
    bad = machine(tmp_path, directory=tmp_path / 'a"b')
    assert write_names(tmp_path / "config", {"choline-a": bad, "choline-b": machine(tmp_path)})
    text = (tmp_path / "config").read_text()
    assert "Host choline-b\n" in text and "choline-a\n" not in text


def test_a_machine_has_a_name_from_its_first_contact_to_its_end(tmp_path: Path) -> None:
    async def life(world: World) -> None:
        assert world.store is not None and world.engine is not None
        told: list[dict[str, Rental]] = []
        names = Names(world.store, world.engine.ctx.hub, world.clock, lambda found: told.append(dict(found)))
        keeper = asyncio.create_task(names.keep())
        try:
            run = world.start()
            await world.until(lambda: bool(told and told[-1]), what="a name")
            rental = told[-1][f"choline-{run}"]
            assert rental.state is RentalState.UP and rental.host_key and rental.remote_home == "/root"
            assert told[0] == {}
            await world.ended(run)
            await world.quiet()
            await world.until(lambda: told[-1] == {}, what="no name")
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    live(tmp_path, life)


def test_a_store_that_cannot_be_read_once_costs_no_later_name(tmp_path: Path) -> None:
    """The task ended with the error, and no name was written any more until the engine was started again."""

    async def life(world: World) -> None:
        assert world.store is not None and world.engine is not None
        told: list[dict[str, Rental]] = []
        errors = [sqlite3.OperationalError("disk I/O error")]

        class Store:
            def rentals(self, **asked: Any) -> Any:
                if errors:
                    raise errors.pop()
                assert world.store is not None
                return world.store.rentals(**asked)

        store: Any = Store()
        names = Names(store, world.engine.ctx.hub, world.clock, lambda found: told.append(dict(found)))
        keeper = asyncio.create_task(names.keep())
        try:
            run = world.start()
            await world.until(lambda: any(told), what="a name")
            await world.ended(run)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    live(tmp_path, life)


def test_a_disk_that_takes_nothing_stops_nothing(tmp_path: Path) -> None:
    async def life(world: World) -> None:
        def full(found: object) -> None:
            raise OSError(28, "No space left on device")

        assert world.store is not None and world.engine is not None
        Names(world.store, world.engine.ctx.hub, world.clock, full).refresh()

    live(tmp_path, life)
