"""Another machine answers at the address, and folders that nobody can read."""

import asyncio
import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from choline_tui.kernel.errors import HostKeyChanged, SshDropped, TransferFailed
from choline_tui.kernel.protocol import Lease
from choline_tui.kernel.session import ResultRules
from choline_tui.provision.session import SshSession
from choline_tui.ssh import rsync
from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.keys import KeyPair
from choline_tui.ssh.progress import Meter
from choline_tui.ssh.transfer import download
from tests.hostile.test_results import nested
from tests.ssh.server import Sshd
from tests.ssh.test_transfer import tree
from tests.support import needs


async def test_a_stranger_is_offered_no_user_key_agent_or_password(
    sshd: Sshd, key: KeyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("rsync", "ssh")
    asked: list[bytes] = []

    async def agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    listening = await asyncio.start_unix_server(agent, tmp_path / "agent")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    pool = SshPool(key, known_hosts_dir=tmp_path / "kh", ssh_config=None, use_agent=True)
    try:
        session = SshSession(pool, [sshd.address], name="box")
        (sshd.home / "results").mkdir()
        (sshd.home / "results" / "f").write_text("x")
        conn = await session._connection()
        sshd.stop()
        sshd.new_host_key()
        config = sshd.root / "config"
        config.write_text(config.read_text().replace("LogLevel VERBOSE", "LogLevel DEBUG3"))
        (sshd.root / "log").unlink()
        sshd.start()
        with contextlib.suppress(SshDropped):
            await session.status()  # the end of the old connection, perhaps
        for _ in range(2):
            with pytest.raises(HostKeyChanged, match="another host key"):
                await session.status()
        # bulk bytes go by OpenSSH's own client: it is as strict
        with pytest.raises(HostKeyChanged):
            await rsync.run_rsync(
                conn, [], base=tmp_path, remote="results", upload=False, files=None,
                meter=Meter(None),
            )  # fmt: skip
        log = (sshd.root / "log").read_text(errors="replace")
        assert "SSH2_MSG_KEXINIT" in log
        for word in ("userauth-request", "Accepted", "Postponed", "attempt 0", sshd.user + " service"):
            assert word not in log
        assert asked == []
    finally:
        await pool.close()
        listening.close()


async def test_results_that_no_path_names_are_not_given_up_in_silence(
    sshd: Sshd, pool: SshPool, tmp_path: Path
) -> None:
    """What is deeper than any path stays on the machine, so the machine is kept, in words."""
    session = SshSession(pool, [sshd.address], name="box")
    status = await session.prepare("r", Lease(600, 600))
    results = sshd.home / "choline/r/results"
    (results / "good").write_text("x")
    nested(results, 2100)
    into = tmp_path / "in"
    try:
        got = await session.fetch("r", str(into), final=False, rules=ResultRules(settle_s=0))
        assert got.files == 1 and "too long for this computer" in got.skipped[0]
        with pytest.raises(TransferFailed, match=r"1 result folder\(s\) cannot be read there") as caught:
            await session.fetch("r", str(into), final=True)
        assert "it is kept" in caught.value.hint and len(caught.value.message) < 500
        assert tree(into / "results") == {b"good": b"x"}
        subprocess.run(["rm", "-rf", results / "d"], check=True)
        assert (await session.fetch("r", str(into), final=True)).skipped == []
    finally:
        os.kill(status.pid, 9)
        subprocess.run(["rm", "-rf", results], check=True)


async def test_results_that_are_a_link_or_missing(sshd: Sshd, pool: SshPool, tmp_path: Path) -> None:
    conn = await pool.connect([sshd.address], name="box")
    (sshd.home / "elsewhere").mkdir()
    (sshd.home / "elsewhere" / "f").write_text("theirs")
    (sshd.home / "link").symlink_to("elsewhere")
    (sshd.home / "dangling").symlink_to("nowhere")
    (sshd.home / "file").write_text("x")
    assert (await download(conn, "link", tmp_path / "a")).files == 1
    for name in ("dangling", "file", "missing"):
        assert (await download(conn, name, tmp_path / "b")).files == 0
    assert tree(tmp_path / "b") == {}
