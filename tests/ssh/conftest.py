"""A server and a pool for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.connection import SshConnection
from choline_tui.ssh.keys import KeyPair, ensure_key
from tests.ssh.server import Sshd
from tests.support import needs


@pytest.fixture
def key(tmp_path: Path) -> KeyPair:
    return ensure_key(tmp_path / "key dir", "choline-test")


@pytest.fixture
def sshd(tmp_path: Path, key: KeyPair) -> Iterator[Sshd]:
    needs("sshd", "ssh-keygen")
    server = Sshd(tmp_path / "server", key.public).start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def plain_sshd(tmp_path: Path, key: KeyPair) -> Iterator[Sshd]:
    """Without a forced command: commands run in the user's real home and must not write there."""
    needs("sshd", "ssh-keygen")
    server = Sshd(tmp_path / "plain", key.public, forced=False).start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
async def pool(tmp_path: Path, key: KeyPair) -> AsyncIterator[SshPool]:
    made = SshPool(
        key, known_hosts_dir=tmp_path / "known hosts", ssh_config=None, use_agent=False, connect_timeout=10
    )
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def conn(sshd: Sshd, pool: SshPool) -> SshConnection:
    return await pool.connect([sshd.address], name="machine")
