"""The other end of a job's terminal: what runs on the machine, on SSH's terminal, for someone attached."""

import os
import re
import select
import signal
import socket
import sys
import termios
import time
import tty
from typing import Any, List, Optional, Tuple

from choline_tui.kernel.errors import NotFound, UsageError
from choline_tui.kernel.protocol import ENDED, JobStatus
from choline_tui.remote.jobstore import JobStore
from choline_tui.remote.paths import Paths
from choline_tui.remote.terminal import SOCKET, TYPED, connect, message, resize

__all__ = ["attach", "key_pattern"]

LAST_WORD_S = 5.0

# whatever a full-screen program switched on: scroll region, other screen, mouse, focus and paste reports,
# keypad, colours; at last below all it drew, wherever it left the cursor
_RESET = (
    b"\x1b[r\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l\x1b[?2004l\x1b[?2026l"
    b"\x1b[<u\x1b[>4;0m\x1b[?1l\x1b>\x1b[?7h\x1b[?25h\x1b[0m\x1b[999;1H"
)


def key_pattern(key: int) -> "re.Pattern[bytes]":
    """How ctrl and a key arrive: as one byte, or spelled out where the program asked for that (CSI u,
    modifyOtherKeys)."""
    code = ord(chr(key + 64).lower())
    return re.compile(b"%s|\x1b\\[%d;5u|\x1b\\[27;5;%d~" % (re.escape(bytes([key])), code, code))


def attach(paths: Paths, store: JobStore, job: str, key: int) -> int:
    """Join SSH's terminal to the job's until ``key`` (a control character) is pressed or the job's terminal
    is gone. The exit status is 0 in both cases. Raises NotFound for a job without a terminal."""
    if not (os.isatty(0) and os.isatty(1)):
        raise UsageError("to attach needs a terminal", hint="Use ssh -t.")
    status = store.status(job)
    if status is None:
        raise NotFound("no job %s on this remote" % job)
    if status.state == ENDED:
        raise NotFound("the command has ended already (%s)" % status.reason)
    try:
        line = connect(paths.job(job, SOCKET))
    except OSError:
        spec = store.spec(job)
        if spec is None or not spec.tty:
            words = "the command does not run on a terminal"
        else:
            words = "the command has no terminal yet" if status.state != "running" else "its terminal is gone"
        raise NotFound(words, hint="'--tty', or 'tty = true' in choline.toml, gives a run one.") from None
    with line:
        left = _Session(line, key_pattern(key)).run()
    now = store.status(job) if left else _last_word(store, job)
    if left:
        words = "detached; the command goes on"
    elif now is not None and now.state == ENDED:
        words = "the command has ended (%s %s)" % (now.reason, now.exit_code)
    else:
        words = "the command's terminal was closed"
    sys.stdout.write("\r\ncholine: %s\r\n" % words)
    sys.stdout.flush()
    return 0


def _last_word(store: JobStore, job: str) -> Optional[JobStatus]:
    """How the command ended; its terminal goes a moment before that is written down."""
    until = time.monotonic() + LAST_WORD_S
    while True:
        status = store.status(job)
        if status is None or status.state == ENDED or time.monotonic() >= until:
            return status
        time.sleep(0.02)


class _Session:
    def __init__(self, line: socket.socket, key: "re.Pattern[bytes]") -> None:
        self._line = line
        self._key = key
        self._unsent = bytearray()
        self._over = False

    def run(self) -> bool:
        """True when the one who sits there left; False when the other side did."""
        wake_r, wake_w = os.pipe()
        os.set_blocking(wake_r, False)
        os.set_blocking(wake_w, False)
        for number in (signal.SIGWINCH, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        old = termios.tcgetattr(0)
        try:
            tty.setraw(0)
            self._line.setblocking(False)
            self._say_size()
            return self._carry(wake_r)
        finally:
            signal.set_wakeup_fd(-1)
            _quietly(lambda: _write(_RESET))
            _quietly(lambda: termios.tcsetattr(0, termios.TCSADRAIN, old))

    def _on_signal(self, number: int, _frame: Any) -> None:
        if number != signal.SIGWINCH:
            self._over = True

    def _carry(self, wake: int) -> bool:
        while not self._over:
            line = self._line.fileno()
            writing: List[int] = [line] if self._unsent else []
            ready, _, _ = select.select([0, line, wake], writing, [])
            if wake in ready:
                _drain(wake)
                self._say_size()
            if line in ready:
                data = self._received()
                if not data:
                    return False
                _write(data)
            if 0 in ready and self._typed():
                return True
            self._send()
        return True

    def _received(self) -> bytes:
        try:
            return self._line.recv(1 << 16)
        except OSError:
            return b""

    def _typed(self) -> bool:
        """True when it was the key to leave, or nobody sits there any more."""
        data, left = _until(os.read(0, 1 << 12), self._key)
        if data:
            self._unsent += message(TYPED, data)
        return left

    def _say_size(self) -> None:
        try:
            size = os.get_terminal_size(1)
            self._unsent += resize(size.lines or 24, size.columns or 80)
        except OSError:
            self._unsent += resize(24, 80)
        self._send()

    def _send(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._line.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            del self._unsent[:]  # that the other side is gone is seen when it is read


def _until(data: bytes, key: "re.Pattern[bytes]") -> Tuple[bytes, bool]:
    found = key.search(data)
    if found is not None:
        return data[: found.start()], True
    return data, not data


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def _drain(fd: int) -> None:
    try:
        while os.read(fd, 512):
            pass
    except BlockingIOError:
        pass


def _quietly(do: Any) -> Optional[BaseException]:
    """SSH's terminal may be gone."""
    try:
        do()
    except (OSError, termios.error) as e:
        return e
    return None
