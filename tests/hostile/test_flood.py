"""Output faster, longer and stranger than anybody reads: bounded there, on the way, and at home."""

import asyncio
import hashlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from choline_tui.kernel.protocol import JobSpec, Lease
from choline_tui.kernel.text import CUT, MAX_LINE, PlainLines, plain
from choline_tui.provision.session import SshSession
from choline_tui.ssh.connect import SshPool
from tests.remote.box import Remote
from tests.ssh.server import Sshd
from tests.support import needs, wait_until


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    (tmp_path / "box").mkdir()
    made = Remote(tmp_path / "box")
    try:
        yield made
    finally:
        made.close()


def shim_memory(remote: Remote) -> int:
    """KiB of the largest process that is ours there."""
    sizes = [0]
    for pid in remote.processes():
        try:
            if b"supervisor.pyz" in Path(f"/proc/{pid}/cmdline").read_bytes():
                sizes += [
                    int(line.split()[1])
                    for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                    if line.startswith("VmHWM")
                ]
        except OSError:
            continue
    return max(sizes)


def test_yes_for_a_while(remote: Remote) -> None:
    """The log stops at its cap, what did not fit is counted, memory stays, and a stop is obeyed at once."""
    needs("yes")
    remote.submit("r-1", "exec yes", log_max_bytes=1_000_000)
    dropped = 50_000_000
    wait_until(lambda: remote.status("r-1").log_dropped > dropped, within=60, what="output over the cap")
    assert remote.log("r-1") == b"y\n" * 500_000
    assert shim_memory(remote) < 80 << 10
    remote.call("stop", "r-1", "--grace", "5")
    ended = remote.ended("r-1")
    assert ended.reason == "stopped"
    assert ended.log_dropped > dropped and len(remote.log("r-1")) == 1_000_000


def test_binary_garbage_is_kept_as_it_is(remote: Remote) -> None:
    remote.submit(
        "r-1", "head -c 3000000 /dev/urandom | tee $CHOLINE_RESULTS/copy; printf '\\0\\377\\033[2J'"
    )
    remote.ended("r-1")
    log = remote.log("r-1")
    copy = (remote.home / "choline/r/results/copy").read_bytes()
    assert log == copy + b"\0\xff\x1b[2J"
    frames = remote.stream("r-1")
    assert b"".join(frame.data for frame in frames) == log


async def test_a_hundred_thousand_tiny_writes_come_in_few_pieces(sshd: Sshd, pool: SshPool) -> None:
    session = SshSession(pool, [sshd.address], name="box")
    status = await session.prepare("r", Lease(600, 600))
    try:
        code = "import os\nfor n in range(100000): os.write(1, b'%d\\n' % n)"
        await session.submit(JobSpec("r-1", "r", f'python3 -c "{code}"'))
        frames = [frame async for frame in session.stream("r-1", {})]
    finally:
        import os

        os.kill(status.pid, 9)
    text = b"".join(frame.data for frame in frames)
    assert (
        hashlib.sha256(text).digest()
        == hashlib.sha256(b"".join(b"%d\n" % n for n in range(100_000))).digest()
    )
    assert len(frames) < 5000


@pytest.mark.parametrize(
    "piece",
    [unit * (65536 // len(unit)) for unit in
     (b"x", b"\r", b"\b", b"a\r", b"\x1b]", b"\x1b[", "\u0301".encode(), b"\xff", b"\0")],
    ids=["x", "cr", "bs", "a cr", "osc", "csi", "marks", "no utf-8", "nul"],
)  # fmt: skip
def test_a_line_of_8_megabytes(piece: bytes) -> None:
    """A line of a gigabyte is more of this: nothing of it is kept but what can be drawn."""
    lines = PlainLines()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for n in range(128):
        assert lines.feed(piece) == []
        assert len(lines._raw) <= 16 * MAX_LINE + 1
        assert n % 32 or len(lines.partial) <= MAX_LINE + 1
    (line,) = lines.feed(b"\n")
    assert len(line) <= MAX_LINE + 1 and plain(line) == line
    assert line.endswith(CUT) or len(line) <= MAX_LINE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10


CONTROLS = {
    "csi": "\x1b[2J\x1b[10;10H\x1b[?1049h\x1b[6n\x1b[31m",
    "title, clipboard, link": "\x1b]0;t\x07\x1b]52;c;cHduZWQ=\x07\x1b]8;;http://evil\x1b\\\x1b]8;;\x07",
    "dcs": "\x1bP$q\"p\x1b\\\x1bP+q544e\x1b\\",
    "apc, pm, sos": "\x1b_Gf=100;AAAA\x1b\\\x1b^private\x1b\\\x1bXsos\x1b\\",
    "c1": "\x9b2J\x9d0;t\x07\x90q\x9c\x9fx\x9c\x9ex\x9c\x98x\x9c\x84\x85\x8d",
    "reset, charset": "\x1bc\x1b(0\x1b7\x1b8\x1b#8\x1b=\x1b>",
    "unfinished": "\x1b[\x1b]\x1bP\x1b",
    "bidi": "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
    "no width": "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u180e\u115f\u1160\u3164\uffa0\u2061\u2064\U000e0041",  # noqa: E501
    "selectors": "\ufe0f\ufe00\U000e0100",
}  # fmt: skip


@pytest.mark.parametrize("name", list(CONTROLS))
@pytest.mark.parametrize("as_bytes", [False, True])
def test_no_control_sequence_leaves_anything_but_text(name: str, as_bytes: bool) -> None:
    raw = CONTROLS[name]
    said: bytes | str = (
        f"before{raw}after".encode("utf-8", "surrogatepass") if as_bytes else f"before{raw}after"
    )
    shown = plain(said)
    assert shown.startswith("before") and "\x1b" not in shown
    assert all(char.isprintable() or char in "\n\t" for char in shown)
    if name not in ("unfinished", "apc, pm, sos", "dcs", "c1"):
        assert shown == "beforeafter" or "\u2400" <= shown[6] <= "\u2421", shown
    else:
        assert shown.endswith("after") or name == "unfinished"


def test_c1_as_single_bytes_is_no_control_either() -> None:
    for byte in range(0x80, 0xA0):
        assert plain(b"a" + bytes([byte]) + b"2Jb") == "a\ufffd2Jb"


@pytest.mark.parametrize(
    "mark",
    [
        "\u0301",
        "\u0e47",
        "\u05b0",
        "\u0651",
        "\u0f71",
        "\u0345",
        "\u1ab0",
        "\U0001e8d0",
        "\u1161",
        "\u11a8",
        "\ud7b0",
    ],
)
def test_a_storm_of_marks_of_any_script_is_cut(mark: str) -> None:
    assert plain("e" + mark * 10_000 + "f") == "e" + mark * 4 + "f"
    lines = PlainLines()
    assert lines.feed(("e" + mark * 100 + "\n").encode("utf-8", "surrogatepass"))[0].count(mark) <= 4


@pytest.mark.parametrize(
    "markup",
    ["[bold red]x[/]", "[link=http://evil]x[/link]", "[@click=app.quit]x[/]", ":skull:", "[/nothing]"],
)
def test_markup_stays_the_text_it_is(markup: str) -> None:
    assert plain(markup) == markup


def test_wide_and_joined_characters_are_what_they_look_like() -> None:
    assert (
        plain("\U0001f468\u200d\U0001f469\u200d\U0001f467 \u6f22 \uff21")
        == "\U0001f468\U0001f469\U0001f467 \u6f22 \uff21"
    )


async def test_nothing_keeps_the_loop(sshd: Sshd, pool: SshPool) -> None:
    """A command's endless output beside a short one on the same connection."""
    conn = await pool.connect([sshd.address], name="box")

    async def flood() -> None:
        async with conn.process("exec yes") as process:
            while True:
                await process.read()

    task = asyncio.create_task(flood())
    try:
        for n in range(3):
            assert (await conn.run(f"echo {n}", timeout=30)).stdout == b"%d\n" % n
    finally:
        task.cancel()
        await asyncio.wait([task])
