"""The app when its terminal is closed, or somebody ends it."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.drivers._writer_thread import WriterThread

from choline_tui.actions import registry
from choline_tui.widgets.terminal import _Forgiving
from tests.support import wait_until


class Screened:
    """The program on a pseudo terminal; ``controlling``: the one that tells it of its end by SIGHUP."""

    def __init__(self, folder: Path, *, controlling: bool) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("VAST_", "CHOLINE_"))}
        script = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n" if controlling else ""
        script += "import sys; sys.argv[1:] = []; from choline_tui.cli import main; raise SystemExit(main())"
        self.process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env={**environ, "CHOLINE_HOME": str(folder / "home"), "TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(slave)
        self.shown = b""

    def shows(self, what: str) -> bool:
        while select.select([self.master], [], [], 0.05)[0]:
            try:
                self.shown += os.read(self.master, 65536)
            except OSError:  # the other end is closed
                break
        return what.encode() in self.shown

    def close(self) -> None:
        if self.master >= 0:
            os.close(self.master)
        self.master = -1


@pytest.fixture(params=[True, False], ids=["told by SIGHUP", "not told"])
def screened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Screened]:
    made = Screened(tmp_path, controlling=request.param)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        made.close()


def test_the_app_ends_when_its_terminal_is_closed(screened: Screened) -> None:
    wait_until(lambda: screened.shows("Offers"), within=60, what="the first frame")
    # it wakes up to a terminal that is gone and a signal at once, as on a busy machine
    screened.process.send_signal(signal.SIGSTOP)
    screened.close()
    screened.process.send_signal(signal.SIGCONT)
    wait_until(lambda: screened.process.poll() is not None, within=60, what="its end")
    assert screened.process.returncode == 128 + signal.SIGHUP


def test_a_kill_leaves_the_terminal_as_it_was(screened: Screened) -> None:
    wait_until(lambda: screened.shows("Offers"), within=60, what="the first frame")
    screened.process.terminate()
    wait_until(
        lambda: screened.shows("\x1b[?1049l") and screened.process.poll() is not None,
        within=60,
        what="its end, and the terminal's own screen",
    )
    assert screened.process.returncode == 128 + signal.SIGTERM


def test_ctrl_z_puts_it_into_the_background_and_fg_brings_it_back(screened: Screened) -> None:
    wait_until(lambda: screened.shows("Offers"), within=60, what="the first frame")
    assert registry()["app.suspend"].keys == "ctrl+z"

    def state() -> str:
        text = Path(f"/proc/{screened.process.pid}/stat").read_text()
        return text.rpartition(")")[2].split()[0]

    os.write(screened.master, b"\x1a")
    wait_until(lambda: screened.shows("\x1b[?1049l") and state() == "T", within=60, what="the shell's screen")
    screened.shown = b""
    screened.process.send_signal(signal.SIGCONT)
    wait_until(lambda: screened.shows("Offers"), within=60, what="the app's screen again")


def test_what_is_written_to_a_closed_terminal_blocks_nobody() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with contextlib.suppress(OSError), open(writer, "w", encoding="utf-8") as file:
        thread = WriterThread(_Forgiving(file))  # type: ignore[arg-type]
        thread.start()

        def much() -> None:
            for _ in range(200):
                thread.write("x" * 9000)

        feeder = threading.Thread(target=much, daemon=True)
        feeder.start()
        feeder.join(60)
        assert not feeder.is_alive(), "more than the writer's queue holds"
        thread.stop()
