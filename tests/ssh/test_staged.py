"""Results come home from a real sshd by rsync and by tar: whole, each at once, with what they replaced."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from choline_tui.kernel.errors import TransferFailed
from choline_tui.kernel.session import ResultRules
from choline_tui.ssh import staged
from choline_tui.ssh.connection import SshConnection
from choline_tui.ssh.listing import Listing
from choline_tui.ssh.staged import bring
from choline_tui.ssh.transfer import Method
from tests.ssh.server import Sshd
from tests.support import needs

BOTH = pytest.mark.parametrize("method", ["rsync", "tar"])
OLD = time.time() - 600
"""long before anything here begins"""


def put(path: Path, content: bytes, at: float = OLD) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (at, at))


def contents(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            name = str(path.relative_to(folder))
            found[name.partition("@")[0]] = path.read_bytes()
    return found


@BOTH
async def test_checkpoints_come_whole_and_what_is_written_stays_apart(
    sshd: Sshd, conn: SshConnection, tmp_path: Path, method: Method
) -> None:
    needs("rsync", "ssh", "tar")
    there, home = sshd.home / "results", tmp_path / "home"
    now = time.time()
    put(there / "last.pt", b"epoch 1")
    put(there / "train.log", b"line 1\n", now + 30)
    put(there / "half.tmp", b"ha")
    put(there / "wandb/x", b"x")
    (there / "best.pt").symlink_to("last.pt")
    rules = ResultRules(exclude=("wandb/",), versions=1)

    async def sync(final: bool = False) -> int:
        got = await bring(conn, "results", home, "results", rules=rules, final=final, method=method)
        assert not got.skipped
        nonlocal unfinished_files
        unfinished_files = got.unfinished
        return got.files

    unfinished_files = 0

    assert await sync() == 1
    assert unfinished_files == 2
    first = {"results/last.pt": b"epoch 1", "results/best.pt": b"epoch 1"}
    assert contents(home) == {**first, "unfinished/results/train.log": b"line 1\n"}
    assert (home / "results/best.pt").is_symlink()
    put(there / "last.pt", b"epoch 2 is half wri", now + 30)
    put(there / "train.log", b"line 1\nline 2\n", now + 31)
    assert await sync() == 0
    unfinished = {
        "unfinished/results/train.log": b"line 1\nline 2\n",
        "unfinished/results/last.pt": b"epoch 2 is half wri",
    }
    assert contents(home) == {**first, **unfinished}
    put(there / "last.pt", b"epoch 2 is written", OLD + 60)
    assert await sync() == 1
    versions = {".versions/results/last.pt": b"epoch 1"}
    second = {"results/last.pt": b"epoch 2 is written", "results/best.pt": b"epoch 2 is written"}
    del unfinished["unfinished/results/last.pt"]
    assert contents(home) == {**second, **versions, **unfinished}
    # the end: nothing is written any more, whatever its time and name say
    assert await sync(final=True) == 2
    end = {"results/train.log": b"line 1\nline 2\n", "results/half.tmp": b"ha"}
    assert contents(home) == {**second, **versions, **end}
    assert sorted(p.name for p in home.iterdir()) == [".versions", "results"]


@BOTH
async def test_a_file_that_changes_under_the_copy_does_not_replace_the_last_good_one(
    sshd: Sshd, conn: SshConnection, tmp_path: Path, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("rsync", "ssh", "tar")
    there, home = sshd.home / "results", tmp_path / "home"
    rules = ResultRules()
    put(there / "last.pt", b"good")
    await bring(conn, "results", home, "results", rules=rules, final=False, method=method)
    put(there / "last.pt", b"better", OLD + 60)
    put(there / "other.pt", b"other")
    honest = staged.remote_look
    looks = 0

    async def look(conn: SshConnection, path: str) -> Listing:
        nonlocal looks
        looks += 1
        if looks == 2:  # the copy was made; before it is looked at again, the next one is being written
            put(there / "last.pt", b"torn..", OLD + 120)
        return await honest(conn, path)

    monkeypatch.setattr(staged, "remote_look", look)
    await bring(conn, "results", home, "results", rules=rules, final=False, method=method)
    assert looks == 2
    found = contents(home / "results")
    assert found == {"last.pt": b"good", "other.pt": b"other"}
    await bring(conn, "results", home, "results", rules=rules, final=False, method=method)
    assert contents(home) == {"results/last.pt": b"torn..", "results/other.pt": b"other"}


@BOTH
async def test_a_transfer_that_is_cut_leaves_the_last_good_one(
    sshd: Sshd, conn: SshConnection, tmp_path: Path, method: Method
) -> None:
    needs("rsync", "ssh", "tar")
    there, home = sshd.home / "keep", tmp_path / "home"
    put(there / "last.pt", b"good")
    await bring(conn, "keep", home, "keep", rules=ResultRules(), final=False, method=method)
    new = os.urandom(6_000_000)
    put(there / "last.pt", new, OLD + 60)
    ours = asyncio.ensure_future(
        bring(
            conn, "keep", home, "keep", rules=ResultRules(), final=False, method=method,
            on_progress=lambda progress: ours.cancel() if progress.bytes_done else None,
        )
    )  # fmt: skip
    with pytest.raises(asyncio.CancelledError):
        await ours
    assert (home / "keep/last.pt").read_bytes() == b"good"
    await bring(conn, "keep", home, "keep", rules=ResultRules(versions=3), final=False, method=method)
    assert contents(home) == {"keep/last.pt": new, ".versions/keep/last.pt": b"good"}


async def test_a_directory_where_a_file_comes_is_kept_and_more_than_allowed_is_refused(
    sshd: Sshd, conn: SshConnection, tmp_path: Path
) -> None:
    there, home = sshd.home / "results", tmp_path / "home"
    put(there / "a", b"a file now")
    put(home / "results/a/mine", b"mine")
    got = await bring(conn, "results", home, "results", rules=ResultRules(), final=False)
    assert contents(home) == {"results/a": b"a file now", "results/a.before-1/mine": b"mine"}
    assert "kept as a.before-1" in got.skipped[0]
    put(there / "b", bytes(1000))
    with pytest.raises(TransferFailed, match="more than the 1000 allowed"):
        await bring(conn, "results", home, "results", rules=ResultRules(), final=False, max_bytes=1000)
