"""What is the same on both sides costs no rsync; what differs in any way that counts does."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from choline_tui.ssh import transfer
from choline_tui.ssh.connection import SshConnection
from choline_tui.ssh.transfer import download, upload
from tests.ssh.server import Sshd
from tests.support import needs


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Grows by one for each rsync."""
    needs("rsync", "ssh")
    calls: list[bool] = []
    real = transfer.run_rsync

    async def counted(*args: Any, **more: Any) -> Any:
        calls.append(more["upload"])
        return await real(*args, **more)

    monkeypatch.setattr(transfer, "run_rsync", counted)
    return calls


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "base"
    (base / "deep").mkdir(parents=True)
    (base / "deep" / "a\nb").write_text("1")
    (base / "c").write_text("2")
    return base


def _content(base: Path) -> None:
    (base / "c").write_text("22")


def _time(base: Path) -> None:
    os.utime(base / "c", (1, 1))


def _mode(base: Path) -> None:
    (base / "c").chmod(0o755)


def _new(base: Path) -> None:
    (base / "deep" / "new").write_text("")


CHANGES = pytest.mark.parametrize("change", [_content, _time, _mode, _new])


@CHANGES
async def test_up(
    conn: SshConnection, sshd: Sshd, base: Path, started: list[bool], change: Callable[[Path], None]
) -> None:
    await upload(conn, base, "d", method="rsync")
    again = await upload(conn, base, "d", method="rsync")
    assert (again.files, again.how) == (0, "rsync") and len(started) == 1
    change(base)
    await upload(conn, base, "d", method="rsync")
    assert len(started) == 2
    there = sshd.home / "d" / "c"
    assert there.read_text() == (base / "c").read_text()
    assert there.stat().st_mode == (base / "c").stat().st_mode
    assert there.stat().st_mtime == (base / "c").stat().st_mtime
    assert (sshd.home / "d/deep/new").exists() == (base / "deep/new").exists()


@pytest.mark.parametrize("named", [False, True])
async def test_what_only_the_remote_has_goes_when_mirrored(
    conn: SshConnection, sshd: Sshd, base: Path, started: list[bool], named: bool
) -> None:
    files = [b"c", b"deep/a\nb"] if named else None
    await upload(conn, base, "d", files=files, method="rsync")
    (sshd.home / "d" / "more").write_text("")
    await upload(conn, base, "d", files=files, method="rsync")
    assert (sshd.home / "d" / "more").exists()
    await upload(conn, base, "d", files=files, mirror=True, method="rsync")
    assert not (sshd.home / "d" / "more").exists()


@CHANGES
async def test_down(
    conn: SshConnection,
    sshd: Sshd,
    base: Path,
    tmp_path: Path,
    started: list[bool],
    change: Callable[[Path], None],
) -> None:
    await upload(conn, base, "d", method="rsync")
    back = tmp_path / "back"
    await download(conn, "d", back, method="rsync")
    again = await download(conn, "d", back, method="rsync")
    assert (again.files, again.how) == (0, "rsync") and started == [True, False]
    change(sshd.home / "d")
    await download(conn, "d", back, method="rsync")
    assert started == [True, False, False]
    assert (back / "c").read_text() == (sshd.home / "d" / "c").read_text()
    assert os.access(back / "c", os.X_OK) == os.access(sshd.home / "d" / "c", os.X_OK)
    assert (back / "deep/new").exists() == (sshd.home / "d" / "deep/new").exists()


async def test_a_file_that_a_link_replaced_comes(
    conn: SshConnection, sshd: Sshd, base: Path, tmp_path: Path, started: list[bool]
) -> None:
    await upload(conn, base, "d", method="rsync")
    (base / "c").unlink()
    (base / "c").symlink_to("deep")
    await upload(conn, base, "d", method="rsync")
    (base / "c").unlink()
    (base / "c").symlink_to("elsewhere")
    await upload(conn, base, "d", method="rsync")
    assert os.readlink(sshd.home / "d" / "c") == "elsewhere"
