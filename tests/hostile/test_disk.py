"""A disk that is really full: at home and on the machine, on a small file system of its own."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from choline_tui.kernel.errors import TransferFailed
from choline_tui.ssh import listing, transfer
from choline_tui.ssh.connection import SshConnection
from choline_tui.ssh.transfer import Method, download
from tests.remote.box import Remote
from tests.ssh.server import Sshd
from tests.ssh.test_transfer import tree
from tests.support import needs, wait_until

BOTH = pytest.mark.parametrize("method", ["rsync", "tar"])
Disk = Callable[[Path, int], None]


@pytest.fixture
def disk() -> Iterator[Disk]:
    """``disk(path, bytes)`` makes ``path`` a file system of its own; for that one must be root."""
    mounted: list[Path] = []

    def make(path: Path, size: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True, text=True
        )
        if done.returncode != 0:
            pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
        mounted.append(path)

    needs("mount", "umount")
    yield make
    for path in reversed(mounted):
        subprocess.run(["umount", "-l", path], check=True)


@BOTH
async def test_home_is_full_in_the_middle_of_a_transfer(
    conn: SshConnection,
    sshd: Sshd,
    tmp_path: Path,
    method: Method,
    disk: Disk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The machine's list says little, so that the transfer begins; what is home stays, and it goes on when
    there is room."""
    needs("rsync", "ssh", "tar")
    back = tmp_path / "back"
    disk(back, 8 << 20)
    there = sshd.home / "results"
    there.mkdir()
    (there / "first").write_bytes(os.urandom(1 << 20))
    monkeypatch.setattr(transfer, "KEPT_FREE", 0)
    counted = transfer._room
    await download(conn, "results", back / "r", method=method)
    before = tree(back / "r")
    (back / "ballast").write_bytes(bytes(5 << 20))
    (there / "second").write_bytes(os.urandom(4 << 20))
    honest = listing.remote_listing

    async def lying(*args: Any) -> Any:
        found = await honest(*args)
        return {name: entry._replace(size=5) if name == b"second" else entry for name, entry in found.items()}

    monkeypatch.setattr(transfer, "remote_listing", lying)
    monkeypatch.setattr(transfer, "_room", lambda dest, needed: 1 << 40)  # the disk itself says no
    with pytest.raises((TransferFailed, OSError)) as caught:
        await download(conn, "results", back / "r", method=method)
    assert "space" in f"{caught.value} {getattr(caught.value, 'hint', '')}" or "fits" in str(caught.value)
    assert {name: content for name, content in tree(back / "r").items() if b".choline" not in name} == before
    monkeypatch.setattr(transfer, "remote_listing", honest)
    monkeypatch.setattr(transfer, "_room", counted)
    with pytest.raises(TransferFailed, match="are free in"):
        await download(conn, "results", back / "r", method=method)
    (back / "ballast").unlink()
    await download(conn, "results", back / "r", method=method)
    assert tree(back / "r") == tree(there)
    assert (back / "r" / "second").stat().st_size == 4 << 20


def test_the_machines_disk_is_full(tmp_path: Path, disk: Disk) -> None:
    """The job is told by its own writes; its end and exit status are kept all the same."""
    home = tmp_path / "box"
    disk(home, 4 << 20)
    remote = Remote(home)
    try:
        remote.submit(
            "r-1",
            "head -c 20000000 /dev/zero > $CHOLINE_RESULTS/big; echo code $?; yes | head -c 9000000; exit 7",
        )
        ended = remote.ended("r-1", within=60)
        assert (ended.reason, ended.exit_code) == ("exited", 7)
        assert ended.log_dropped > 0
        frames = remote.stream("r-1")
        assert frames[-1].status is not None and frames[-1].status.exit_code == 7
        (home / "choline/r/results/big").unlink()
        remote.submit("r-2", "echo room again > $CHOLINE_RESULTS/small; echo said")
        assert remote.ended("r-2", within=60).exit_code == 0
        assert remote.log("r-2") == b"said\n"
    finally:
        remote.close()


def state_of(pid: int) -> str:
    """As /proc says: T is stopped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_a_job_waits_while_the_machines_disk_is_full(tmp_path: Path, disk: Disk) -> None:
    """All its processes are stopped and it is said; they go on when there is room; a stop reaches them."""
    home = tmp_path / "box"
    disk(home, 40 << 20)
    remote = Remote(home)
    results = home / "choline/r/results"
    try:
        command = (
            "sleep 300 & echo $! > $CHOLINE_RESULTS/pid; head -c 60M /dev/zero > $CHOLINE_RESULTS/a; "
            "while [ ! -e $CHOLINE_RESULTS/go ]; do sleep 0.1; done; kill $!"
        )
        remote.submit("r-1", command, disk_pause=True)
        wait_until(lambda: remote.status("r-1").held, within=30, what="the job stopped")
        status = remote.status("r-1")
        assert (status.state, status.disk) == ("running", "full") and status.disk_free_bytes < 1 << 20
        child = int((results / "pid").read_text())
        wait_until(lambda: state_of(child) == "T", within=10, what="its children stopped")
        os.truncate(results / "a", 0)
        (results / "go").touch()
        assert remote.ended("r-1", within=30).exit_code == 0
        assert not remote.status("r-1").held and remote.status("r-1").disk == ""
        (results / "go").unlink()
        remote.submit("r-2", command, disk_pause=True)
        wait_until(lambda: remote.status("r-2").held, within=30, what="the second job stopped")
        remote.call("stop", "r-2", "--grace", "20")
        ended = remote.ended("r-2", within=15)
        assert (ended.reason, ended.exit_code) == ("stopped", 143)
    finally:
        remote.close()
