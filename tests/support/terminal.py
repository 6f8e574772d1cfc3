"""A person at a terminal: a program on a pseudo-terminal, what it shows, what is typed, how big it is."""

import contextlib
import fcntl
import os
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import wait_until

__all__ = ["Person"]

_OWN = 'exec "$@" 0<>"$0" 1>&0 2>&0'
"""a session's leader that opens a terminal has it as its own: only then is it told of a new size"""


class Person:
    """``argv`` on a terminal of its own. ``seen`` is all it has written so far."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        rows: int = 24,
        columns: int = 80,
        cwd: Path | str = "/",
    ) -> None:
        self._master, slave = os.openpty()
        self._size(rows, columns)
        self.seen = b""
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", _OWN, os.ttyname(slave), *argv],
            stdin=slave, stdout=slave, stderr=slave, env=dict(env), cwd=cwd, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 1 << 16):
                self.seen += data

    def types(self, text: str | bytes) -> None:
        os.write(self._master, text.encode() if isinstance(text, str) else text)

    def resizes(self, rows: int, columns: int) -> None:
        self._size(rows, columns)

    def sees(self, text: str) -> bool:
        return text.encode() in self.seen

    def waits(self, text: str, within: float = 30.0) -> None:
        """Until it was shown."""
        try:
            wait_until(lambda: self.sees(text), within=within, what=repr(text))
        except AssertionError as error:
            raise AssertionError(f"{error}; seen: {self.seen[-2000:]!r}") from None

    def left(self, within: float = 30.0) -> int:
        """The exit status, once the program has ended."""
        code = self.process.wait(timeout=within)
        self._reader.join(within)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(10)
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def __enter__(self) -> "Person":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
