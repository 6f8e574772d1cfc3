"""One open SSH connection: commands with bounded output, and long-lived processes with byte streams."""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncssh

from choline_tui.kernel.errors import RemoteError, SshDropped, SshTimeout
from choline_tui.kernel.session import Address

if TYPE_CHECKING:
    from choline_tui.ssh.openssh import OpenSsh

__all__ = ["Completed", "RemoteProcess", "SshConnection"]

_CHUNK = 64 * 1024
_STDERR_KEPT = 64 * 1024
_CLOSE_SECONDS = 2.0
_ENDLESS = 64 << 20
"""bytes beyond what was asked for after which a command's output is taken to have no end"""
_SIGNALS = {"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "ABRT": 6, "FPE": 8, "KILL": 9, "SEGV": 11}
_SIGNALS |= {"PIPE": 13, "ALRM": 14, "TERM": 15, "USR1": 10, "USR2": 12}
_ANNOUNCE = 'echo "choline-pid $$" >&2\n'
"""OpenSSH before 9.9 passes no signals to root's commands, so a command says who it is: sshd makes it
the leader of a process group, which can then be ended from beside"""
_ANNOUNCED = re.compile(rb"choline-pid (\d{1,10})\n")
_LOST = (asyncssh.Error, OSError, EOFError)
"""what asyncssh raises from a channel whose connection went away"""


@dataclass(frozen=True)
class Completed:
    """A command's end. ``exit_status`` is 128 + N when signal N ended it, as in a shell."""

    exit_status: int
    stdout: bytes
    stderr: bytes
    truncated: bool = False
    """output beyond the limit was dropped"""


class RemoteProcess:
    """A process on the remote with binary streams. Made by ``SshConnection.process``.

    Every method raises ``SshDropped`` when the connection is lost.
    """

    def __init__(self, connection: "SshConnection", process: "asyncssh.SSHClientProcess[bytes]") -> None:
        self._connection = connection
        self._process = process
        self._buffer = bytearray()
        self._stderr: deque[bytes] = deque()
        self._stderr_size = 0
        self._pid: int | None = None
        self._announced = asyncio.Event()
        self._stderr_task = asyncio.create_task(self._collect_stderr())

    @property
    def stderr(self) -> bytes:
        """The last 64 KiB of what it wrote to stderr so far."""
        return b"".join(self._stderr)[-_STDERR_KEPT:]

    async def read(self, limit: int = _CHUNK) -> bytes:
        """At most ``limit`` bytes of stdout as soon as there are some; b"" at its end."""
        if self._buffer:
            piece = bytes(self._buffer[:limit])
            del self._buffer[: len(piece)]
            return piece
        return await self._receive(limit)

    async def readline(self, limit: int = 128 * 1024) -> bytes:
        """The next line with its newline; b"" at the end of stdout; a last line may lack the newline.

        ``RemoteError`` for a line longer than ``limit`` bytes: the other side is not to be believed.
        """
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end > limit or (end < 0 and len(self._buffer) > limit):
                raise RemoteError(f"The remote sent a line longer than {limit} bytes.")
            if end >= 0:
                line = bytes(self._buffer[: end + 1])
                del self._buffer[: end + 1]
                return line
            searched = len(self._buffer)
            piece = await self._receive(_CHUNK)
            if not piece:
                line = bytes(self._buffer)
                self._buffer.clear()
                return line
            self._buffer += piece

    def write(self, data: bytes) -> None:
        """Queue bytes for stdin; ``drain`` afterwards bounds what is queued."""
        try:
            self._process.stdin.write(data)
        except _LOST as error:
            raise self._connection.dropped(error) from error

    async def drain(self) -> None:
        try:
            await self._process.stdin.drain()
        except _LOST as error:
            raise self._connection.dropped(error) from error

    def close_stdin(self) -> None:
        """The end of stdin, as the remote process sees it."""
        with contextlib.suppress(*_LOST):
            self._process.stdin.write_eof()

    async def wait(self) -> int:
        """Its exit status (128 + N for signal N). Read stdout to its end first."""
        with contextlib.suppress(*_LOST):
            await self._process.wait_closed()
        await asyncio.wait([self._stderr_task])
        status = _exit_status(self._process)
        if status is None:
            raise self._connection.dropped(None)
        return status

    async def close(self) -> None:
        """End it: TERM where the server passes signals on, and the channel closed in any case."""
        if not self._connection.lost and _exit_status(self._process) is None:
            with contextlib.suppress(*_LOST):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._announced.wait()
            if self._pid is not None:
                await self._connection.terminate(self._pid)
        self._process.close()
        with contextlib.suppress(TimeoutError, *_LOST):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._process.wait_closed()
        self._stderr_task.cancel()
        await asyncio.wait([self._stderr_task])

    async def _receive(self, limit: int) -> bytes:
        # what has arrived is given without waiting: one that sends as fast as it can must not keep the
        # others from their turn
        await asyncio.sleep(0)
        try:
            piece = await self._process.stdout.read(limit)
        except _LOST as error:
            raise self._connection.dropped(error) from error
        if not piece and self._connection.lost and _exit_status(self._process) is None:
            raise self._connection.dropped(None)
        return piece

    async def _collect_stderr(self) -> None:
        head = b""
        with contextlib.suppress(*_LOST):
            while piece := await self._process.stderr.read(_CHUNK):
                if self._pid is None and not self._announced.is_set():
                    # a login script may have written something before
                    head += piece
                    found = _ANNOUNCED.search(head)
                    if found is None:
                        if len(head) > _CHUNK:
                            self._announced.set()
                            self._keep(head)
                            head = b""
                        continue
                    self._pid = int(found[1])
                    self._announced.set()
                    piece, head = head[: found.start()] + head[found.end() :], b""
                self._keep(piece)
        self._announced.set()
        if self._pid is None:
            self._keep(head)

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._stderr.append(piece)
            self._stderr_size += len(piece)
            while self._stderr_size - len(self._stderr[0]) >= _STDERR_KEPT:
                self._stderr_size -= len(self._stderr.popleft())


class SshConnection:
    """An authenticated connection. Made by ``SshPool.connect``; many commands may run at once.

    ``host_key`` is an OpenSSH public key line without comment.
    """

    def __init__(
        self, raw: asyncssh.SSHClientConnection, address: Address, host_key: str, openssh: "OpenSsh"
    ) -> None:
        self.address = address
        self.host_key = host_key
        self.openssh = openssh
        """how OpenSSH's own client reaches the same machine, for bulk bytes"""
        self.module = ""
        """rsync's module, when it is a host's copier that answers: it runs no command"""
        self.facts: dict[str, Any] = {}
        """what was found out about the remote over this connection, kept with it"""
        self._raw = raw

    def __repr__(self) -> str:
        return f"<SshConnection {self.address}{' lost' if self.lost else ''}>"

    @property
    def lost(self) -> bool:
        return self._raw.is_closed()

    def dropped(self, cause: BaseException | None) -> SshDropped:
        """The error to raise when something on this connection failed."""
        words = one_line(str(cause)) if cause else "it was closed"
        return SshDropped(
            f"The connection to {self.address} was lost: {words or type(cause).__name__}.",
            hint="choline connects again by itself; the remote goes on meanwhile.",
        )

    async def run(
        self, command: str, *, input: bytes = b"", timeout: float = 60.0, max_output: int = 1 << 20
    ) -> Completed:
        """Run a shell command line to its end. ``timeout`` in s, ``max_output`` in bytes per stream.

        Output beyond the limit is read and dropped (``truncated``). Raises ``SshDropped`` when the
        connection is lost, ``SshTimeout`` when the time is up and ``RemoteError`` when the output is
        endless; the command is then ended.
        """
        try:
            async with asyncio.timeout(timeout), self.process(command) as process:
                feeder = asyncio.create_task(self._feed(process, input))
                try:
                    stdout, cut = await _read_up_to(process, max_output)
                    status = await process.wait()
                finally:
                    feeder.cancel()
                    await asyncio.wait([feeder])
                return Completed(status, stdout, process.stderr[-max_output:], cut)
        except TimeoutError:
            raise SshTimeout(
                f"A command on {self.address} did not end within {timeout:g} s.",
                hint="The machine may be overloaded or its disk may hang; try again, or take another.",
            ) from None

    @asynccontextmanager
    async def process(self, command: str) -> AsyncIterator[RemoteProcess]:
        """Start a command and hand out its streams; leaving the block ends it."""
        if self.lost:
            raise self.dropped(None)
        try:
            raw = await self._raw.create_process(_ANNOUNCE + command, encoding=None)
        except _LOST as error:
            raise self.dropped(error) from error
        process = RemoteProcess(self, raw)
        try:
            yield process
        finally:
            await process.close()

    async def terminate(self, group: int) -> None:
        """TERM to a process group on the remote; does not wait for its end and never fails."""
        with contextlib.suppress(TimeoutError, *_LOST):
            async with asyncio.timeout(_CLOSE_SECONDS):
                # no "--" before the group: the shells of Debian and of busybox do not take it
                await self._raw.run(f"kill -TERM -{group} 2>/dev/null || kill -TERM {group}", encoding=None)

    async def close(self) -> None:
        """Close it, waiting a moment for the other side."""
        self._raw.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._raw.wait_closed()
        except (TimeoutError, *_LOST):
            self._raw.abort()

    @staticmethod
    async def _feed(process: RemoteProcess, data: bytes) -> None:
        # a command may close its stdin early; that is its business
        with contextlib.suppress(SshDropped):
            for start in range(0, len(data), _CHUNK):
                process.write(data[start : start + _CHUNK])
                await process.drain()
            process.close_stdin()


async def _read_up_to(process: RemoteProcess, limit: int) -> tuple[bytes, bool]:
    kept = bytearray()
    dropped = 0
    while piece := await process.read():
        room = limit - len(kept)
        kept += piece[:room]
        dropped += max(0, len(piece) - room)
        if dropped > _ENDLESS:
            raise RemoteError(
                "The remote's output has no end where a few words were asked for.",
                hint="Its login shell may be broken; try another machine.",
            )
    return bytes(kept), dropped > 0


def _exit_status(process: "asyncssh.SSHClientProcess[bytes]") -> int | None:
    if process.exit_signal is not None:
        return 128 + _SIGNALS.get(str(process.exit_signal[0]), 0)
    return process.exit_status


def one_line(text: str, limit: int = 300) -> str:
    """Foreign words made fit for a one-line message: printable, bounded."""
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else "?" for c in words)[:limit].rstrip(". ")
