"""Results named and made to get out, to get lost or to fill this computer: by rsync and as a tar stream."""

import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from choline_tui.kernel.errors import TransferFailed
from choline_tui.ssh import listing, transfer
from choline_tui.ssh.confine import Folder
from choline_tui.ssh.connection import SshConnection
from choline_tui.ssh.transfer import Method, download
from tests.ssh.server import Sshd
from tests.ssh.test_transfer import tree
from tests.support import needs

BOTH = pytest.mark.parametrize("method", ["rsync", "tar"])


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def _programs() -> None:
    needs("rsync", "ssh", "tar")


@pytest.fixture
def there(sshd: Sshd) -> Path:
    made = sshd.home / "results"
    made.mkdir()
    return made


def put(base: Path, name: bytes, content: bytes = b"x") -> None:
    path = os.path.join(os.fsencode(base), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(content)


def nested(base: Path, depth: int, leaf: bytes = b"leaf") -> None:
    """A file so deep that no path names it."""
    here = os.open(base, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(b"d", dir_fd=here)
        below = os.open(b"d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open(leaf, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=here))
    os.close(here)


def outside(tmp_path: Path) -> dict[str, bytes]:
    """Every file of the test that is not in its results or on the server."""
    found = {}
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.is_symlink():
            name = str(path.relative_to(tmp_path))
            if not name.startswith(("server/", "back/")):
                found[name] = path.read_bytes()
    return found


@BOTH
async def test_names_made_to_be_mistaken(
    conn: SshConnection, there: Path, tmp_path: Path, method: Method
) -> None:
    names = [
        b"~",
        b"~root",
        b"-rf",
        b"--delete",
        b"...",
        b".. ",
        b"new\nline",
        b"\x1b[2J\x1b]0;title\x07",
        b"\xff\xfe\x80",
        "\u202egnp.exe".encode(),
        b"%s%n",
        b"$(touch pwned)",
        b"`touch pwned`",
        b"a:b",
        b"::module/x",
        b"C:\\x",
        b"x" * 255,
        b"[ab]*?\\",
        b"sub/-o ProxyCommand=x/--server",
        b"rsyncd-munged",
        "A\u0301".encode(),
        "\u00c1".encode(),
        b"CASE",
        b"case",
    ]
    for n, name in enumerate(names):
        put(there, name, b"%d" % n)
    before = outside(tmp_path)
    got = await download(conn, "results", tmp_path / "back", method=method)
    assert (got.how, got.skipped) == (method, [])
    assert tree(tmp_path / "back") == {name: b"%d" % n for n, name in enumerate(names)}
    new = {name for name in outside(tmp_path) if name not in before and not name.startswith("known hosts/")}
    assert new == set()
    assert not list(tmp_path.rglob("pwned"))


@BOTH
async def test_links_devices_sockets_and_set_uid(
    conn: SshConnection, there: Path, tmp_path: Path, method: Method
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    put(there, b"good")
    put(there, b"sub/file")
    os.symlink("/etc/passwd", there / "abs")
    os.symlink("../../../secret", there / "up")
    os.symlink("sub/../../x", there / "mixed")
    os.symlink("loop2", there / "loop1")
    os.symlink("loop1", there / "loop2")
    os.symlink("self", there / "self")
    os.symlink("sub", there / "to-dir")
    os.symlink("/rsyncd-munged//etc/passwd", there / "munged")
    os.link(secret, there / "hard")  # a file of another folder of that machine, by a second name
    os.link(there / "good", there / "sub" / "second")
    os.mkfifo(there / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        old = os.getcwd()
        os.chdir(there)
        try:
            listening.bind("sock")
        finally:
            os.chdir(old)
    for odd, mode in (("setuid", 0o4755), ("setgid", 0o2755), ("no-mode", 0o400)):
        put(there, odd.encode())
        os.chmod(there / odd, mode)
    if os.geteuid() == 0:
        os.mknod(there / "device", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    got = await download(conn, "results", tmp_path / "back", method=method)
    found = tree(tmp_path / "back")
    assert found[b"hard"] == b"mine" and found[b"sub/second"] == b"x"
    assert found[b"to-dir"] == b"-> sub"
    refused = {line.split(":")[0] for line in got.skipped}
    expected = {"abs", "up", "mixed", "munged", "pipe", "sock"} | ({"device"} if os.geteuid() == 0 else set())
    assert refused == expected
    assert not refused & {os.fsdecode(name) for name in found}
    for odd in ("setuid", "setgid"):
        assert not (tmp_path / "back" / odd).stat().st_mode & (stat.S_ISUID | stat.S_ISGID)
    assert secret.stat().st_nlink == 2  # ours is a copy, not a third name
    assert secret.read_text() == "mine"


@BOTH
async def test_a_path_longer_than_any_path_is_told_and_the_rest_comes(
    conn: SshConnection, there: Path, tmp_path: Path, method: Method
) -> None:
    nested(there, 400)  # more directories than are gone down
    put(there, b"good")
    try:
        for _ in range(2):
            got = await download(conn, "results", tmp_path / "back", method=method)
            (told,) = got.skipped
            assert "too long for this computer" in told and len(told) < 600
            assert tree(tmp_path / "back") == {b"good": b"x"}
    finally:
        # Python's own way of removing a tree goes no deeper than its stack
        subprocess.run(["rm", "-rf", there, tmp_path / "back"], check=True)


@BOTH
async def test_a_directory_that_became_a_link_or_a_file(
    conn: SshConnection, there: Path, tmp_path: Path, method: Method
) -> None:
    put(there, b"sub/file", b"old")
    put(there, b"other/file", b"old")
    put(there, b"good")
    back = tmp_path / "back"
    await download(conn, "results", back, method=method)
    shutil.rmtree(there / "sub")
    shutil.rmtree(there / "other")
    os.symlink("/etc", there / "sub")
    put(there, b"other", b"a file now")
    put(there, b"good", b"new")
    for _ in range(2):
        got = await download(conn, "results", back, method=method)
    assert tree(back) == {
        b"good": b"new",
        b"other": b"a file now",
        b"other.before-1/file": b"old",
        b"sub/file": b"old",
    }
    assert [line.split(":")[0] for line in got.skipped] == ["sub"]


@BOTH
async def test_a_directory_swapped_for_a_link_between_listing_and_transfer(
    conn: SshConnection,
    sshd: Sshd,
    there: Path,
    tmp_path: Path,
    method: Method,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What lies behind the link is the stranger's own; nothing here may be reached through it."""
    put(there, b"sub/file", b"old")
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("mine")
    honest = listing.remote_listing

    async def listed_then_swapped(*args: Any) -> Any:
        found = await honest(*args)
        shutil.rmtree(there / "sub")
        os.symlink(victim, there / "sub")
        return found

    monkeypatch.setattr(transfer, "remote_listing", listed_then_swapped)
    back = tmp_path / "back"
    try:
        got = await download(conn, "results", back, method=method)
        assert [line.split(":")[0] for line in got.skipped] == ["sub"]
    except TransferFailed as error:
        assert method == "tar" and "sub/file" in error.message + str(error.details), error.message
    assert (victim / "file").read_text() == "mine" and len(list(victim.iterdir())) == 1
    assert not (back / "sub").is_symlink()
    assert b"victim" not in b"".join(tree(back).values())


@BOTH
async def test_a_sparse_file_of_ten_terabytes(
    conn: SshConnection, there: Path, tmp_path: Path, method: Method
) -> None:
    put(there, b"good")
    with open(there / "sparse", "wb") as f:
        f.truncate(10 << 40)
    with pytest.raises(TransferFailed, match=r"10995116277761 bytes to fetch, and \d+ are free") as caught:
        await download(conn, "results", tmp_path / "back", method=method)
    assert "Make room" in caught.value.hint
    assert tree(tmp_path / "back") == {}


@BOTH
async def test_the_room_needed_is_that_of_what_is_not_here_yet(
    conn: SshConnection, there: Path, tmp_path: Path, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results larger than what is free came in part already: only the rest needs room."""
    put(there, b"big", bytes(3_000_000))
    back = tmp_path / "back"
    await download(conn, "results", back, method=method)
    put(there, b"small", bytes(1000))
    free = transfer.KEPT_FREE + 1_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, free))
    assert (await download(conn, "results", back, method=method)).files == 1
    put(there, b"big", bytes(3_000_001))
    with pytest.raises(TransferFailed, match="are free in"):
        await download(conn, "results", back, method=method)
    assert (back / "big").stat().st_size == 3_000_000


@BOTH
async def test_more_than_was_listed_never_fills_this_disk(
    conn: SshConnection, there: Path, tmp_path: Path, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(there, b"big", bytes(30_000_000))
    honest = listing.remote_listing

    async def lying(*args: Any) -> Any:
        return {name: entry._replace(size=5) for name, entry in (await honest(*args)).items()}

    monkeypatch.setattr(transfer, "remote_listing", lying)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, transfer.KEPT_FREE + 1_000_000))
    with pytest.raises(TransferFailed):
        await download(conn, "results", tmp_path / "back", method=method)
    assert sum(len(content) for content in tree(tmp_path / "back").values()) <= 1_000_000


@BOTH
async def test_names_that_are_one_on_this_disk_are_told(
    conn: SshConnection, there: Path, tmp_path: Path, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (b"Model.bin", b"model.bin", "\u00e9".encode(), "e\u0301".encode(), b"other"):
        put(there, name, name)
    assert (await download(conn, "results", tmp_path / "a", method=method)).skipped == []
    monkeypatch.setattr(Folder, "folds_names", lambda self: True)
    got = await download(conn, "results", tmp_path / "b", method=method)
    assert len(got.skipped) == 2
    assert all("the same name as" in line for line in got.skipped)


def test_this_disk_is_asked_whether_it_folds_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path / "f")
    try:
        assert folder.folds_names() is (tmp_path / "F").exists()
        monkeypatch.setattr(Folder, "_has", lambda self, name: True)
        assert folder.folds_names()
        assert list((tmp_path / "f").iterdir()) == []
    finally:
        folder.close()


@pytest.mark.parametrize("limit", ["names", "bytes"])
async def test_more_names_than_are_worth_holding(
    conn: SshConnection, there: Path, tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The million is measured by hand: ``python -m tests.hostile million``."""
    monkeypatch.setattr(listing, *(("MAX_FILES", 100) if limit == "names" else ("_MAX_LISTING", 2000)))
    for n in range(150):
        put(there, b"%d" % n)
    with pytest.raises(TransferFailed, match="more than"):
        await download(conn, "results", tmp_path / "back")
    assert not (tmp_path / "back").exists() or tree(tmp_path / "back") == {}


@BOTH
async def test_files_that_grow_and_shrink_under_the_copy(
    conn: SshConnection, there: Path, tmp_path: Path, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(there, b"grows", bytes(1000))
    put(there, b"shrinks", bytes(2_000_000))
    put(there, b"goes")
    put(there, b"good")
    honest = listing.remote_listing

    async def listed_then_changed(*args: Any) -> Any:
        found = await honest(*args)
        put(there, b"grows", bytes(50_000))
        os.truncate(there / "shrinks", 10)
        (there / "goes").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(transfer, "remote_listing", listed_then_changed)
    await download(conn, "results", tmp_path / "back", method=method)
    assert {name: len(content) for name, content in tree(tmp_path / "back").items()} == {
        b"good": 1,
        b"grows": 50_000,
        b"shrinks": 10,
    }
