import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from choline_tui.kernel.errors import (
    HostKeyChanged,
    RemoteError,
    SshDenied,
    SshDropped,
    SshRefused,
    SshTimeout,
)
from choline_tui.kernel.session import Address
from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.keys import KeyPair, ensure_key
from tests.ssh.server import Sshd
from tests.support import eventually, free_port, needs


@pytest.fixture
def mute() -> Iterator[Address]:
    """Accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield Address("127.0.0.1", listener.getsockname()[1])


def quick(key: KeyPair, tmp_path: Path, **more: object) -> SshPool:
    options = {"ssh_config": None, "use_agent": False, "connect_timeout": 0.5, **more}
    return SshPool(key, known_hosts_dir=tmp_path / "kh", **options)  # type: ignore[arg-type]


async def test_first_contact_reports_the_host_key(sshd: Sshd, pool: SshPool) -> None:
    connection = await pool.connect([sshd.address], name="m")
    assert connection.host_key == sshd.host_key
    assert connection.address == sshd.address


async def test_pinned_key_is_accepted_and_another_refused_before_a_user_is_named(
    sshd: Sshd, pool: SshPool
) -> None:
    pinned = sshd.host_key
    first = await pool.connect([sshd.address], host_key=pinned + " a comment", name="m")
    sshd.stop()
    await eventually(lambda: first.lost)
    sshd.new_host_key()
    sshd.start()
    (sshd.root / "log").write_text("")
    other = Address("127.0.0.1", free_port())
    with pytest.raises(HostKeyChanged) as caught:
        await pool.connect([sshd.address, other], host_key=pinned, name="m")
    assert caught.value.details["presented"] == sshd.host_key
    assert "publickey" not in (sshd.root / "log").read_text()
    sshd.stop()
    sshd.new_host_key("ecdsa")
    sshd.start()
    with pytest.raises(HostKeyChanged):
        await pool.connect([sshd.address], host_key=pinned, name="m2")


async def test_a_reused_connection_is_held_to_the_pin_too(sshd: Sshd, pool: SshPool, key: KeyPair) -> None:
    await pool.connect([sshd.address], name="m")
    with pytest.raises(HostKeyChanged):
        await pool.connect([sshd.address], host_key=key.public, name="m")


async def test_other_kinds_of_host_key(sshd: Sshd, pool: SshPool) -> None:
    for kind in ("ecdsa", "rsa"):
        sshd.stop()
        sshd.new_host_key(kind)
        sshd.start()
        first = await pool.connect([sshd.address], name=f"first-{kind}")
        assert first.host_key == sshd.host_key
        again = await pool.connect([sshd.address], host_key=first.host_key, name=f"again-{kind}")
        assert (await again.run("echo hi")).stdout == b"hi\n"


async def test_refused_silent_and_denied_are_told_apart(
    sshd: Sshd, pool: SshPool, mute: Address, key: KeyPair, tmp_path: Path
) -> None:
    hurried = quick(key, tmp_path)
    with pytest.raises(SshRefused):
        await pool.connect([Address("127.0.0.1", free_port())], name="a")
    with pytest.raises(SshTimeout):
        await hurried.connect([mute], name="b")
    with pytest.raises(SshTimeout, match="does not answer"):
        await hurried.connect([Address("no-such-host.invalid", 22)], name="c")
    stranger = SshPool(
        ensure_key(tmp_path / "other", "o"), known_hosts_dir=tmp_path, ssh_config=None, use_agent=False
    )
    with pytest.raises(SshDenied) as denied:
        await stranger.connect([sshd.address], name="d")
    assert denied.value.details["public_key"].endswith(" o")
    with pytest.raises(SshRefused):
        await pool.connect([], name="e")


async def test_a_port_that_closes_at_once_is_not_ready_and_http_is_not_ssh(pool: SshPool) -> None:
    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(b"HTTP/1.1 400 Bad\r\n" * 2000)
            await writer.drain()
        writer.close()

    for handler, expected in ((slam, SshRefused), (web, RemoteError)):
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(expected):
                await pool.connect([Address("127.0.0.1", port)], name=handler.__name__)


async def test_second_address_is_used_and_the_most_telling_error_wins(
    sshd: Sshd, key: KeyPair, mute: Address, tmp_path: Path
) -> None:
    pool = quick(key, tmp_path)
    closed = Address("127.0.0.1", free_port())
    connection = await pool.connect([mute, closed, sshd.address], name="m")
    assert connection.address == sshd.address
    await pool.close()
    stranger = quick(ensure_key(tmp_path / "other", "o"), tmp_path)
    with pytest.raises(SshDenied):
        await stranger.connect([closed, sshd.address, mute], name="m")
    with pytest.raises(SshRefused):
        await stranger.connect([closed, mute], name="m2")


@pytest.mark.parametrize(
    "address",
    [
        Address("-oProxyCommand=touch x", 22),
        Address("a b", 22),
        Address("h", 70000),
        Address("h", 22, "-l x"),
        Address("h\nProxyCommand x", 22),
        Address("", 22),
    ],
)
async def test_addresses_that_are_none_are_refused(pool: SshPool, address: Address) -> None:
    with pytest.raises(RemoteError, match="not one"):
        await pool.connect([address], name="x")


async def test_one_connection_per_name_even_at_once(sshd: Sshd, pool: SshPool) -> None:
    one, two, three = await asyncio.gather(*(pool.connect([sshd.address], name="m") for _ in range(3)))
    assert one is two is three
    assert await pool.connect([sshd.address], name="other") is not one


async def test_a_dropped_connection_is_said_and_replaced(sshd: Sshd, pool: SshPool) -> None:
    first = await pool.connect([sshd.address], name="m")
    running = asyncio.create_task(first.run("sleep 60"))
    await eventually(lambda: len(sshd.children()) >= 2, what="the command")
    await asyncio.sleep(0)
    sshd.drop()
    with pytest.raises(SshDropped):
        await running
    await eventually(lambda: first.lost)
    with pytest.raises(SshDropped):
        await first.run("true")
    second = await pool.connect([sshd.address], host_key=first.host_key, name="m")
    assert second is not first
    assert (await second.run("echo back")).stdout == b"back\n"


async def test_a_machine_that_moved_is_connected_anew(sshd: Sshd, pool: SshPool) -> None:
    first = await pool.connect([sshd.address], name="m")
    moved = Address("localhost", sshd.port, sshd.user)
    second = await pool.connect([moved], host_key=first.host_key, name="m")
    assert second is not first and first.lost


async def test_agent_keys_are_offered_after_our_own(
    sshd: Sshd, key: KeyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("ssh-agent", "ssh-add")
    sock = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL)
    try:
        await eventually(sock.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
        subprocess.run(["ssh-add", "-q", str(key.private_path)], check=True, stderr=subprocess.DEVNULL)
        stranger = ensure_key(tmp_path / "other", "o")
        with_agent = quick(stranger, tmp_path, use_agent=True, connect_timeout=10.0)
        assert (await (await with_agent.connect([sshd.address], name="m")).run("echo in")).stdout == b"in\n"
        await with_agent.close()
        without = quick(stranger, tmp_path, connect_timeout=10.0)
        with pytest.raises(SshDenied):
            await without.connect([sshd.address], name="m")
    finally:
        agent.terminate()
        agent.wait()


async def test_own_machines_follow_the_users_ssh_config(sshd: Sshd, key: KeyPair, tmp_path: Path) -> None:
    dot = tmp_path / "dot ssh"
    dot.mkdir()
    config = dot / "config"
    config.write_text(
        f"Host jump\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.user}\n"
        f' IdentityFile "{key.private_path}"\n UserKnownHostsFile "{dot}/known_hosts"\n'
        f"Host box\n HostName localhost\n Port {sshd.port}\n User {sshd.user}\n ProxyJump jump\n"
        f' IdentityFile "{key.private_path}"\n'
        f"Host plain\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.user}\n"
        f' IdentityFile "{key.private_path}"\n'
    )
    (dot / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
    # our own key is not known there: the one the user's file names is
    pool = quick(ensure_key(tmp_path / "other", "o"), tmp_path, ssh_config=config, connect_timeout=10.0)
    jumped = await pool.connect([Address("box", 0, "", "own")], name="box")
    assert (await jumped.run("echo in")).stdout == b"in\n"
    assert jumped.host_key == sshd.host_key
    await pool.connect([Address("plain", 0, "", "own")], name="plain")
    await pool.close()
    # the user's known_hosts is asked at first contact
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    pool = quick(key, tmp_path, ssh_config=config, connect_timeout=10.0)
    with pytest.raises(HostKeyChanged):
        await pool.connect([Address("plain", 0, "", "own")], name="plain")


async def test_an_asyncssh_server_will_do(key: KeyPair, pool: SshPool) -> None:
    async def handle(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.stdout.write(b"ran " + (process.command or "").encode())
        process.exit(4)

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, given: asyncssh.SSHKey) -> bool:
            return given.export_public_key().split()[1].decode() == key.public.split()[1]

    host = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Server, server_host_keys=[host], process_factory=handle, encoding=None
    )
    try:
        connection = await pool.connect([Address("127.0.0.1", server.get_port())], name="m")
        done = await connection.run("x y")
        assert done.exit_status == 4 and done.stdout.endswith(b"\nx y")
        await connection.close()
    finally:
        server.close()
        await server.wait_closed()


async def test_closed_pool_opens_nothing_and_forget_removes_files(
    sshd: Sshd, pool: SshPool, tmp_path: Path
) -> None:
    connection = await pool.connect([sshd.address], name="m")
    written = connection.openssh.write()
    assert os.stat(written).st_mode & 0o777 == 0o600
    await pool.forget("m")
    assert connection.lost and not list((tmp_path / "known hosts").iterdir())
    await pool.close()
    with pytest.raises(RemoteError, match="closed"):
        await pool.connect([sshd.address], name="m")
