"""The terminal the app is shown on, and what happens when it goes away.

Textual's own driver does not notice a terminal that is closed: its reader then reads "nothing" without end,
on a whole core, and its writer dies of the first failed write, after which the app waits for ever with what
it still wants to show. Usually SIGHUP ends the program before that, but not a program that takes SIGHUP as a
reason to tidy up (a rehearsal has an engine and a market to end), and not one that is not told (no
controlling terminal: some IDEs, ``docker exec``).
"""

import asyncio
import contextlib
import select
import signal
import threading
from typing import IO, Any, Protocol, cast

from textual.drivers.linux_driver import LinuxDriver

__all__ = ["TerminalDriver"]


class Leaves(Protocol):
    """An app that can be told to end when it comes to it."""

    def leave(self, code: int) -> None: ...


class TerminalDriver(LinuxDriver):
    """Ends the app (a ``Leaves``), in order, when its terminal is closed, on SIGHUP and on SIGTERM."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._file = cast("IO[str]", _Forgiving(self._file))  # type: ignore[assignment, unused-ignore]
        self._watcher: threading.Thread | None = None

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        loop = asyncio.get_running_loop()

        def leave(number: int, _frame: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop may be closed: then the app has ended
                loop.call_soon_threadsafe(self._leave, 128 + number)

        for sign in (signal.SIGHUP, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # only the main thread may
                # not the loop's own handler: with that, what comes once the loop is closed would kill, and a
                # closed terminal may say so three times
                signal.signal(sign, leave)
        if self._watcher is None and self.input_tty:  # once: it is started again after each look elsewhere
            self._watcher = threading.Thread(
                target=self._watch, args=(loop,), name="terminal-watch", daemon=True
            )
            self._watcher.start()

    def run_input_thread(self) -> None:
        with contextlib.suppress(OSError):  # closed while it reads; the watcher sees that as well
            super().run_input_thread()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        poll = select.poll()
        poll.register(self.fileno, 0)  # nothing but that it hung up, which needs no asking for
        with contextlib.suppress(OSError):
            poll.poll()
        self.exit_event.set()  # ends the reader
        with contextlib.suppress(RuntimeError):  # the loop may be closed: then the app has ended
            loop.call_soon_threadsafe(self._leave, 128 + signal.SIGHUP)

    def _leave(self, code: int) -> None:
        # by the app's queue: a signal's handler is not in the app's context
        self._app.call_later(cast(Leaves, self._app).leave, code)


class _Forgiving:
    """A file of text whose terminal may be gone: what is written then goes nowhere."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, text: str) -> int:
        try:
            return int(self._file.write(text))
        except OSError:
            return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._file.flush()

    def fileno(self) -> int:
        return int(self._file.fileno())

    def isatty(self) -> bool:
        return bool(self._file.isatty())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
