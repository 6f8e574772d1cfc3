"""Other programs: those that take the terminal for a while, those that go on beside us, those that open a
window of their own."""

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from choline_tui.kernel.errors import SystemFault
from choline_tui.kernel.text import plain

if TYPE_CHECKING:
    from choline_tui.app import CholineApp

__all__ = ["Forward", "Forwards", "in_terminal", "start_window"]

SSH_FAILED = 255
SETTLE = 0.7
"""s after which a port that was not refused is taken as open"""
WINDOW_WITHIN = 30.0
ENDS_WITHIN = 3.0
MOST_SAID = 4000


async def in_terminal(app: "CholineApp", argv: Sequence[str]) -> int:
    """Give the terminal to a program until it ends; its exit status. The app goes on behind it, unseen.

    Raises SystemFault when this terminal cannot be given away, or there is no such program.
    """
    command = shlex.join(argv)
    try:
        # the batch: a screen painted while nobody reads it would fill the terminal's queue and stand still
        with app.batch_update(), app.suspend(), _not_interrupted():
            try:
                program = await asyncio.create_subprocess_exec(*argv)
            except OSError as error:
                raise SystemFault(f"{argv[0]} cannot be started: {error.strerror or error}") from error
            status = await program.wait()
            if status == SSH_FAILED:
                # what SSH wrote is on the screen now, and gone when ours comes back
                sys.__stderr__ and print("\nenter: back to choline", file=sys.__stderr__, flush=True)
                await asyncio.to_thread(_enter_pressed)
    except SuspendNotSupported as error:
        raise SystemFault(
            "this terminal cannot be given to another program", hint=f"In another one: {command}"
        ) from error
    app.refresh(layout=True)
    return status


def _enter_pressed() -> None:
    with contextlib.suppress(OSError, ValueError):
        if sys.__stdin__ is not None:
            os.read(sys.__stdin__.fileno(), 1024)


@contextlib.contextmanager
def _not_interrupted() -> Iterator[None]:
    """ctrl+c is the other program's. A handler, as a signal that is ignored would be ignored there too."""
    try:
        before = signal.signal(signal.SIGINT, lambda *_: None)
    except ValueError:  # not the main thread: nobody sends it signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def start_window(argv: Sequence[str]) -> None:
    """A program that opens a window and ends, or stays. Raises SystemFault when it says that it failed."""
    program = await _start(argv)
    try:
        _, said = await asyncio.wait_for(program.communicate(), WINDOW_WITHIN)
    except TimeoutError:
        return
    if program.returncode:
        last = _last(said)
        raise SystemFault(f"{argv[0]} ended with status {program.returncode}" + (f": {last}" if last else ""))


async def _start(argv: Sequence[str]) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *argv, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, start_new_session=True
        )
    except OSError as error:
        raise SystemFault(f"{argv[0]} cannot be started: {error.strerror or error}") from error


def _last(said: bytes) -> str:
    lines = [line.strip() for line in plain(said[-MOST_SAID:]).split("\n") if line.strip()]
    return lines[-1] if lines else ""


@dataclass
class Forward:
    """``ports``: as it was asked for, ``6006`` or ``8080:80``."""

    run: str
    ports: str
    process: Process
    watcher: "asyncio.Task[None] | None" = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.ports.partition(':')[0]}"


@dataclass
class Forwards:
    """Ports that lead to machines, for as long as the app is there."""

    open: list[Forward] = field(default_factory=list)

    def of(self, run: str) -> list[Forward]:
        return [each for each in self.open if each.run == run]

    async def start(self, run: str, ports: str, argv: Sequence[str]) -> Forward:
        """Raises SystemFault when it ends at once: the port is taken, or the machine does not answer."""
        process = await _start(argv)
        try:
            # nothing tells that a tunnel stands: one that cannot ends within moments
            await asyncio.wait_for(process.wait(), SETTLE)
        except TimeoutError:
            pass
        else:
            said = await process.stderr.read(MOST_SAID) if process.stderr is not None else b""
            raise SystemFault(
                f"port {ports} could not be forwarded" + (f": {_last(said)}" if _last(said) else ""),
                hint="A port that is taken here: give another one, such as 8081:80.",
            )
        forward = Forward(run, ports, process)
        forward.watcher = asyncio.create_task(self._watch(forward))
        self.open.append(forward)
        return forward

    async def _watch(self, forward: Forward) -> None:
        stream = forward.process.stderr
        while stream is not None and await stream.read(MOST_SAID):
            pass  # what nobody reads would stop it in the end
        await forward.process.wait()
        if forward in self.open:
            self.open.remove(forward)

    async def stop(self, forward: Forward) -> None:
        with contextlib.suppress(ProcessLookupError):
            forward.process.terminate()
        if forward.watcher is not None:
            done, _ = await asyncio.wait([forward.watcher], timeout=ENDS_WITHIN)
            if not done:
                with contextlib.suppress(ProcessLookupError):
                    forward.process.kill()
                await forward.watcher

    async def close(self) -> None:
        for forward in list(self.open):
            await self.stop(forward)
