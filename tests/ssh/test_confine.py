"""Against archives, links and listings made to get out of the folder."""

import asyncio
import errno
import io
import os
import shlex
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from choline_tui.kernel.errors import TransferFailed
from choline_tui.ssh.confine import Folder, Refused, link_stays_inside
from choline_tui.ssh.listing import excluder, remote_path, safe_name
from choline_tui.ssh.manifest import parse_manifest
from choline_tui.ssh.progress import Meter
from choline_tui.ssh.tarstream import receive

PARTS = st.sampled_from([b"..", b".", b"a", b"b", b"l", b""])


@given(st.lists(st.tuples(st.lists(PARTS, min_size=1, max_size=3), st.lists(PARTS, max_size=5)), max_size=6))
def test_no_set_of_links_leads_out(
    tmp_path_factory: Any, links: list[tuple[list[bytes], list[bytes]]]
) -> None:
    root = tmp_path_factory.mktemp("links") / "inner"
    folder = Folder(root)
    top = os.path.realpath(os.fsencode(root))
    try:
        folder.directory(b"a/b")
        for name, target in links:
            try:
                folder.link(b"/".join(name), b"/".join(target))
            except (Refused, OSError):
                continue
        for here, dirs, files in os.walk(top):
            for entry in dirs + files:
                path = os.path.join(here, entry)
                try:
                    os.stat(path)
                except OSError as error:
                    if error.errno == errno.ELOOP:
                        # leads nowhere, and realpath answers nonsense
                        continue
                real = os.path.realpath(path)
                assert real == top or real.startswith(top + b"/")
    finally:
        folder.close()


def test_link_rule_examples() -> None:
    assert link_stays_inside(1, b"../x") and link_stays_inside(0, b"a/b")
    assert not link_stays_inside(0, b"../x")
    assert not link_stays_inside(5, b"a/../x")
    assert not link_stays_inside(5, b"/etc") and not link_stays_inside(0, b"")


@given(st.binary(max_size=20))
def test_safe_names_stay_below(name: bytes) -> None:
    if safe_name(name):
        joined = os.path.normpath(b"/top/" + name)
        assert joined.startswith(b"/top/") and b"\0" not in name


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_quoting_survives_a_shell(path: str) -> None:
    quoted = shlex.quote(remote_path(path))
    said = subprocess.run(["sh", "-c", f"printf %s {quoted}"], capture_output=True, check=True).stdout
    assert said == (path if path.startswith("/") else f"./{path}").encode()
    assert not remote_path(path).startswith("-")


class _FakeProcess:
    """Plays a remote's tar."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(b"choline-tar\n" + data)
        self.stderr = b""

    async def __aenter__(self) -> "_FakeProcess":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def readline(self, limit: int = 0) -> bytes:
        return self._data.readline()

    async def read(self, limit: int = 65536) -> bytes:
        await asyncio.sleep(0)
        return self._data.read(limit)

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def close_stdin(self) -> None: ...

    async def wait(self) -> int:
        return 0


class _FakeConnection:
    address = "remote"

    def __init__(self, data: bytes) -> None:
        self._data = data

    def process(self, command: str) -> _FakeProcess:
        return _FakeProcess(self._data)


def archive(*members: tuple[str, bytes, str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, target, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


async def unpack(data: bytes, into: Path, names: list[bytes], max_bytes: int = 0) -> list[str]:
    folder = Folder(into)
    try:
        connection: Any = _FakeConnection(data)
        return (await receive(connection, "src", folder, names, Meter(None), max_bytes))[2]
    finally:
        folder.close()


async def test_hostile_archive_writes_nothing_outside(tmp_path: Path) -> None:
    asked = [b"../up", b"/abs", b"a/../../b", b"dev", b"hard", b"out", b"out/through", b"ok"]
    members = [
        ("../up", tarfile.REGTYPE, "", b"x"),
        ("/abs", tarfile.REGTYPE, "", b"x"),
        ("a/../../b", tarfile.REGTYPE, "", b"x"),
        ("dev", tarfile.CHRTYPE, "", b""),
        ("hard", tarfile.LNKTYPE, "/etc/passwd", b""),
        ("out", tarfile.SYMTYPE, "..", b""),
        ("out/through", tarfile.REGTYPE, "", b"inside after all"),
        ("unasked", tarfile.REGTYPE, "", b"x"),
        ("ok", tarfile.REGTYPE, "", b"fine"),
    ]
    inner = tmp_path / "inner"
    refused = await unpack(archive(*members), inner, asked)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inner"]
    assert (inner / "ok").read_bytes() == b"fine"
    assert (inner / "out" / "through").read_bytes() == b"inside after all"
    assert {line.split(":")[0] for line in refused} >= {
        "../up",
        "/abs",
        "a/../../b",
        "dev",
        "hard",
        "out",
        "unasked",
    }


async def test_a_link_that_is_there_is_never_followed(tmp_path: Path) -> None:
    outside, inner = tmp_path / "outside", tmp_path / "inner"
    outside.mkdir()
    inner.mkdir()
    (outside / "file").write_text("mine")
    (inner / "d").symlink_to(outside)
    (inner / "f").symlink_to(outside / "file")
    data = archive(("d/new", tarfile.REGTYPE, "", b"x"), ("f", tarfile.REGTYPE, "", b"theirs"))
    await unpack(data, inner, [b"d/new", b"f"])
    assert [p.name for p in outside.iterdir()] == ["file"] and (outside / "file").read_text() == "mine"
    assert (inner / "d" / "new").read_text() == "x" and (inner / "f").read_text() == "theirs"


@pytest.mark.parametrize("end", [700, 1536, 1800])
async def test_a_cut_archive_is_said_and_leaves_no_half_file(tmp_path: Path, end: int) -> None:
    data = archive(("a", tarfile.REGTYPE, "", b"a" * 600), ("b", tarfile.REGTYPE, "", b"b" * 600))
    with pytest.raises(TransferFailed):
        await unpack(data[:end], tmp_path / "i", [b"a", b"b"])
    assert all(p.stat().st_size == 600 for p in (tmp_path / "i").iterdir())


async def test_bombs_are_bounded(tmp_path: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    with pytest.raises(TransferFailed, match="damaged"):
        await unpack(info.tobuf() + bytes(5_000_000), tmp_path / "a", [b"pax"])
    huge = tarfile.TarInfo("huge")
    huge.size = 1 << 40
    with pytest.raises(TransferFailed, match="more than"):
        await unpack(huge.tobuf() + bytes(100_000), tmp_path / "b", [b"huge"], max_bytes=1000)
    with pytest.raises(TransferFailed):
        await unpack(os.urandom(50_000), tmp_path / "c", [b"x"])


def test_manifest_is_not_believed() -> None:
    good = b"choline-manifest\0" + b"a" * 64 + b" 5 na\nme\0"
    assert list(parse_manifest(b"noise" + good)) == [b"na\nme"]
    for bad in (b"", good + b"b" * 64 + b" 1 ../up\0", good + b"junk\0", good.replace(b" 5", b" -5")):
        with pytest.raises(TransferFailed):
            parse_manifest(bad)


def test_exclude_patterns() -> None:
    out = excluder(["*.tmp", "/top", "a/*/c", "x/**"])
    assert out(b"d/e.tmp") and out(b"top/q") and out(b"a/b/c") and out(b"x/y/z")
    assert not out(b"d/top") and not out(b"a/b/d/c") and not out(b"tmp")
