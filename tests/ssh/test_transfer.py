import asyncio
import dataclasses
import os
import shutil
import stat
from pathlib import Path

import pytest

from choline_tui.kernel.errors import HostKeyChanged, TransferFailed
from choline_tui.kernel.session import Address, Progress
from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.connection import SshConnection
from choline_tui.ssh.keys import KeyPair, ensure_key
from choline_tui.ssh.manifest import compare, manifest_local, manifest_remote
from choline_tui.ssh.transfer import Method, download, upload
from tests.ssh.server import Sshd
from tests.support import eventually, needs

NASTY = [
    b"plain.txt",
    b"with space",
    b"quo'te\"s",
    b"new\nline",
    b"non-utf8-\xff\xfe",
    b"-rf",
    b"--help",
    b"$(touch x)`id`;*?[a]",
    b"back\\slash",
    b" lead and trail ",
    "ümläut/日本".encode(),
    b"deep/er/and \n deeper/f",
    b"#comment",
    b"; semi",
    b"~",
    b"a:b",
]
BOTH = pytest.mark.parametrize("method", ["rsync", "tar"])


@pytest.fixture(autouse=True)
def _programs() -> None:
    needs("rsync", "ssh", "tar")


def make(base: Path, names: list[bytes] = NASTY) -> None:
    for i, name in enumerate(names):
        path = os.path.join(os.fsencode(base), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(name * (i + 1) * 50)


def tree(base: Path) -> dict[bytes, bytes]:
    """Content of every file by name; links as what they point to."""
    found = {}
    root = os.fsencode(base)
    for here, folders, files in os.walk(root):
        for name in files + folders:
            path = os.path.join(here, name)
            short = os.path.relpath(path, root)
            if os.path.islink(path):
                found[short] = b"-> " + os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as f:
                    found[short] = f.read()
    return found


@BOTH
async def test_nasty_names_go_up_and_come_down_unchanged(
    conn: SshConnection, sshd: Sshd, tmp_path: Path, method: Method
) -> None:
    base, back = tmp_path / "ba'se di r", tmp_path / "back: here"
    make(base)
    (base / "link").symlink_to("plain.txt")
    (base / "run.sh").write_text("#!/bin/sh\n")
    (base / "run.sh").chmod(0o755)
    told: list[Progress] = []
    dest = "choline/a run's/src"
    sent = await upload(conn, base, dest, method=method, on_progress=told.append)
    assert sent.how == method and sent.skipped == []
    assert tree(sshd.home / dest) == tree(base)
    assert os.access(sshd.home / dest / "run.sh", os.X_OK)
    size = sum(len(v) for v in tree(base).values() if not v.startswith(b"-> "))
    assert (sent.files, sent.bytes) == (len(NASTY) + 1, size)
    assert told[-1] == Progress(size, size, len(NASTY) + 1, len(NASTY) + 1, 0.0)
    again = await upload(conn, base, dest, method=method)
    assert (again.files, again.bytes) == (0, 0)
    got = await download(conn, dest, back, method=method, on_progress=told.append)
    assert (got.files, got.bytes, got.skipped) == (len(NASTY) + 1, size, [])
    assert tree(back) == tree(base) and os.access(back / "run.sh", os.X_OK)
    assert told[-1].bytes_done == told[-1].bytes_total == size
    assert (await download(conn, dest, back, method=method)).files == 0
    assert tree(back) == tree(base)
    wanted = await manifest_remote(conn, dest)
    assert compare(wanted, manifest_local(back)) == [] and len(wanted) == len(NASTY) + 1
    (back / "plain.txt").write_text("tampered")
    assert compare(wanted, manifest_local(back)) == [b"plain.txt"]


@BOTH
async def test_a_list_sends_just_that(
    conn: SshConnection, sshd: Sshd, tmp_path: Path, method: Method
) -> None:
    base = tmp_path / "base"
    make(base)
    os.mkfifo(base / "pipe")
    some = [*NASTY[::2], b"deep", b"pipe", b"gone"]
    sent = await upload(conn, base, "d", files=some, method=method)
    assert set(tree(sshd.home / "d")) == set(NASTY[::2])
    assert sorted(sent.skipped) == ["gone: gone", "pipe: not a file"]
    with pytest.raises(TransferFailed, match="not a name below"):
        await upload(conn, base, "d", files=[b"../etc"], method=method)


@BOTH
@pytest.mark.parametrize("listed", [True, False])
async def test_mirror_deletes_what_was_not_sent(
    conn: SshConnection, sshd: Sshd, tmp_path: Path, method: Method, listed: bool
) -> None:
    base = tmp_path / "base"
    make(base)
    files = NASTY if listed else None
    there = sshd.home / "d"
    make(there, [b"old", b"old dir/\xff\n", b"deep/extra", b"plain.txt/now a dir"])
    (there / "deep" / "er").symlink_to("/nowhere")
    await upload(conn, base, "d", files=files, mirror=True, method=method)
    assert tree(there) == tree(base)
    make(there, [b"kept"])
    await upload(conn, base, "d", files=files, method=method)
    assert (there / "kept").exists()


@BOTH
async def test_cancelled_midway_and_repeated(
    conn: SshConnection, sshd: Sshd, tmp_path: Path, method: Method
) -> None:
    base, back = tmp_path / "base", tmp_path / "back"
    base.mkdir()
    for i in range(4):
        with open(base / f"f{i}", "wb") as f:
            f.write(os.urandom(15_000_000))

    async def cut(start: object) -> None:
        task = asyncio.ensure_future(start)  # type: ignore[call-overload]
        cut_at.append(task)
        with pytest.raises(asyncio.CancelledError):
            await task
        cut_at.clear()

    cut_at: list[asyncio.Task[object]] = []

    def stop_early(progress: Progress) -> None:
        if progress.bytes_done > 8_000_000 and cut_at:
            cut_at[0].cancel()

    await cut(upload(conn, base, "d", method=method, on_progress=stop_early))
    await eventually(lambda: not any(b"rsync" in _args(p) for p in sshd.children()), what="rsync's end")
    sent = await upload(conn, base, "d", method=method)
    assert tree(sshd.home / "d") == tree(base) and sent.files <= 4
    await cut(download(conn, "d", back, method=method, on_progress=stop_early))
    await download(conn, "d", back, method=method)
    assert tree(back) == tree(base)
    assert not list(back.rglob(".choline*"))


def _args(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@BOTH
async def test_what_would_leave_the_folder_is_refused(
    conn: SshConnection, sshd: Sshd, tmp_path: Path, method: Method
) -> None:
    there, back = sshd.home / "results", tmp_path / "back"
    make(there, [b"good", b"sub/ok"])
    for name, target in {
        "abs": "/etc/passwd",
        "up": "../../secret",
        "sub/down": "../../x",
        "sub/fine": "../good",
        "mixed": "sub/../../x",
        "nice": "sub/ok",
    }.items():
        (there / name).symlink_to(target)
    os.mkfifo(there / "pipe")
    (there / "setuid").write_bytes(b"x")
    (there / "setuid").chmod(0o4755)
    outside = tmp_path / "outside"
    outside.mkdir()
    # someone put a link where the remote has a directory
    back.mkdir()
    (back / "sub").symlink_to(outside)
    got = await download(conn, "results", back, method=method)
    assert list(outside.iterdir()) == []
    found = tree(back)
    assert set(found) == {b"good", b"sub/ok", b"sub/fine", b"nice", b"setuid"}
    assert found[b"nice"] == b"-> sub/ok" and found[b"sub/fine"] == b"-> ../good"
    assert not (back / "setuid").stat().st_mode & stat.S_ISUID
    assert {line.split(":")[0] for line in got.skipped} == {"abs", "up", "sub/down", "mixed", "pipe"}


@BOTH
async def test_limits_hold(conn: SshConnection, sshd: Sshd, tmp_path: Path, method: Method) -> None:
    there = sshd.home / "results"
    make(there, [b"a"])
    with open(there / "sparse", "wb") as f:
        f.truncate(50_000_000)
    with pytest.raises(TransferFailed, match="more than the 1000000 allowed"):
        await download(conn, "results", tmp_path / "b", method=method, max_bytes=1_000_000)
    got = await download(conn, "results", tmp_path / "b", method=method, max_bytes=60_000_000)
    assert got.files == 2


@BOTH
async def test_a_remote_that_lies_about_sizes_is_stopped(
    sshd: Sshd, pool: SshPool, tmp_path: Path, method: Method
) -> None:
    # its find reports nothing of the size; what really comes is larger
    fake = sshd.root / "bin"
    fake.mkdir()
    (fake / "find").write_text("#!/bin/sh\n[ \"$2\" = -maxdepth ] && exit 0\nprintf 'f 5 1 big\\0'\n")
    (fake / "find").chmod(0o755)
    wrapper = sshd.root / "wrapper"
    wrapper.write_text(wrapper.read_text().replace("exec", f"PATH={fake}:$PATH exec"))
    (sshd.home / "results").mkdir()
    (sshd.home / "results" / "big").write_bytes(bytes(30_000_000))
    conn = await pool.connect([sshd.address], name="liar")
    with pytest.raises(TransferFailed):
        await download(conn, "results", tmp_path / "b", method=method, max_bytes=1_000_000)
    total = sum(p.stat().st_size for p in (tmp_path / "b").rglob("*") if p.is_file())
    assert total <= 1_000_000


@BOTH
async def test_exclude(conn: SshConnection, sshd: Sshd, tmp_path: Path, method: Method) -> None:
    make(sshd.home / "r", [b"a.tmp", b"sub/b.tmp", b"sub/keep", b"top/x", b"sub/top/x", b"cache/deep/y"])
    await download(conn, "r", tmp_path / "b", exclude=["*.tmp", "/top", "cache"], method=method)
    assert set(tree(tmp_path / "b")) == {b"sub/keep", b"sub/top/x"}


async def test_without_rsync_there_the_tar_stream_is_taken(
    tmp_path: Path, key: KeyPair, pool: SshPool
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "mkdir", "tar", "find", "xargs", "rm", "cat"):
        (tools / name).symlink_to(shutil.which(name) or "")
    server = Sshd(tmp_path / "bare", key.public, path=str(tools)).start()
    try:
        conn = await pool.connect([server.address], name="bare")
        make(tmp_path / "base")
        assert (await upload(conn, tmp_path / "base", "d")).how == "tar"
        assert (await download(conn, "d", tmp_path / "back")).how == "tar"
        assert tree(tmp_path / "back") == tree(tmp_path / "base")
        with pytest.raises(TransferFailed, match="rsync or ssh is missing"):
            await upload(conn, tmp_path / "base", "d", method="rsync")
    finally:
        server.stop()


@pytest.mark.parametrize("noise", ["echo Welcome to the machine; echo 'have fun'", "echo careful >&2"])
async def test_a_talkative_login_does_not_spoil_it(
    sshd: Sshd, conn: SshConnection, tmp_path: Path, noise: str
) -> None:
    wrapper = sshd.root / "wrapper"
    wrapper.write_text(wrapper.read_text().replace("exec", noise + "\nexec"))
    make(tmp_path / "base")
    await upload(conn, tmp_path / "base", "d", mirror=True)
    await download(conn, "d", tmp_path / "back")
    assert tree(tmp_path / "back") == tree(tmp_path / "base")


@BOTH
async def test_failures_are_said(conn: SshConnection, sshd: Sshd, tmp_path: Path, method: Method) -> None:
    with pytest.raises(TransferFailed, match="not a directory"):
        await upload(conn, tmp_path / "nothing", "d", method=method)
    (sshd.home / "file").write_text("")
    make(tmp_path / "base")
    with pytest.raises(TransferFailed, match="cannot be made"):
        await upload(conn, tmp_path / "base", "file/d", method=method)
    nothing = await download(conn, "not there", tmp_path / "b", method=method)
    assert (nothing.files, nothing.bytes) == (0, 0)


async def test_bulk_bytes_follow_the_users_ssh_config_through_a_jump_host(
    sshd: Sshd, key: KeyPair, tmp_path: Path
) -> None:
    dot = tmp_path / "dot ssh"
    dot.mkdir()
    config = dot / "config"
    config.write_text(
        f"Host jump\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.user}\n"
        f' IdentityFile "{key.private_path}"\n UserKnownHostsFile "{dot}/known_hosts"\n'
        f"Host box\n HostName localhost\n Port {sshd.port}\n User {sshd.user}\n ProxyJump jump\n"
    )
    (dot / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
    pool = SshPool(key, known_hosts_dir=tmp_path / "kh", ssh_config=config, use_agent=False)
    try:
        conn = await pool.connect([Address("box", 0, "", "own")], name="box")
        make(tmp_path / "base")
        assert (await upload(conn, tmp_path / "base", "d", method="rsync")).how == "rsync"
        await download(conn, "d", tmp_path / "back", method="rsync")
        assert tree(tmp_path / "back") == tree(tmp_path / "base")
    finally:
        await pool.close()


async def test_rsync_refuses_another_machine_at_the_address(
    conn: SshConnection, sshd: Sshd, tmp_path: Path
) -> None:
    make(tmp_path / "base")
    conn.facts["has rsync"] = True
    conn.openssh = dataclasses.replace(conn.openssh, host_key=_other_key(tmp_path))
    with pytest.raises(HostKeyChanged):
        await upload(conn, tmp_path / "base", "d", method="rsync")
    assert tree(sshd.home / "d") == {}


def _other_key(tmp_path: Path) -> str:
    return " ".join(ensure_key(tmp_path / "other", "o").public.split()[:2])
