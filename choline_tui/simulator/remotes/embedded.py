"""SSH inside a container by asyncssh: no program of the system is needed."""

import asyncio
import contextlib
import fcntl
import io
import os
import signal
import socket
import struct
import termios
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import asyncssh

from choline_tui.simulator.remotes import copier
from choline_tui.simulator.remotes.container import GREETING, shell, shell_environment
from choline_tui.simulator.remotes.traffic import Meter

__all__ = ["EmbeddedServer"]

BUFFER = 1 << 18


class _Login(asyncssh.SSHServer):
    def __init__(
        self,
        authorized_keys: str,
        connections: "set[asyncssh.SSHServerConnection]",
        meter: Meter,
        user: str,
    ) -> None:
        self._authorized_keys = authorized_keys
        self._connections = connections
        self._meter = meter
        self._user = user
        self._counted = 0
        self._conn: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._conn = conn
        self._connections.add(conn)
        self._counted = self._meter.begin(conn.get_extra_info("socket"))

    def connection_lost(self, exc: Exception | None) -> None:
        # the event loop closes the socket after this
        self._meter.end(self._counted)
        if self._conn is not None:
            self._connections.discard(self._conn)

    def begin_auth(self, username: str) -> bool:
        assert self._conn is not None
        self._conn.send_auth_banner(GREETING)
        if username == self._user:
            # read at every login, so that a key attached later works at once
            with contextlib.suppress(OSError, ValueError):
                self._conn.set_authorized_keys(self._authorized_keys)
        return True

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return self._user != copier.USER

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        return self._user != copier.USER


class EmbeddedServer:
    def __init__(self, config: Mapping[str, Any], meter: Meter) -> None:
        self._config = config
        self._meter = meter
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()

    async def listen(self, sock: socket.socket) -> None:
        home = self._config["home"]
        copies = self._config["copier"]
        user = copier.USER if copies else "root"
        login: Callable[[], asyncssh.SSHServer] = lambda: _Login(  # noqa: E731
            f"{home}/.ssh/authorized_keys", self._connections, self._meter, user
        )
        self._acceptor = await asyncssh.listen(
            sock=sock,
            server_factory=login,
            server_host_keys=[self._config["host_key"]],
            process_factory=self._session,
            sftp_factory=not copies,
            encoding=None,
            line_editor=False,
            allow_scp=False,
            agent_forwarding=False,
            x11_forwarding=False,
            gss_host=None,
        )

    def close(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None

    def drop(self) -> None:
        for conn in list(self._connections):
            conn.abort()

    async def _session(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        """One exec or shell request as a real process of its own session."""
        env = shell_environment(self._config)
        peer = process.get_extra_info("peername") or ("127.0.0.1", 0)
        here = process.get_extra_info("sockname") or ("127.0.0.1", 0)
        env["SSH_CLIENT"] = f"{peer[0]} {peer[1]} {here[1]}"
        env["SSH_CONNECTION"] = f"{peer[0]} {peer[1]} {here[0]} {here[1]}"
        # what a stock sshd takes over from its client
        env |= {k: v for k, v in process.env.items() if k == "LANG" or k.startswith("LC_")}
        argv = [shell(), "-c", process.command] if process.command is not None else [shell(), "-l"]
        copies = self._config["copier"]
        if copies:
            argv = copier.command(self._config["rsyncd_config"], copier.find_rsync() or "rsync")
        with contextlib.suppress(asyncssh.Error, ConnectionError):
            if process.term_type and not copies:
                await self._on_terminal(process, argv, env | {"TERM": process.term_type})
            else:
                await self._on_pipes(process, argv, env)

    async def _on_pipes(
        self, process: "asyncssh.SSHServerProcess[bytes]", argv: list[str], env: dict[str, str]
    ) -> None:
        stdin, to_stdin = os.pipe()
        from_stdout, stdout = os.pipe()
        from_stderr, stderr = os.pipe()
        try:
            child = await asyncio.create_subprocess_exec(
                *argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=env,
                cwd=self._config["home"],
                start_new_session=True,
            )
        except OSError as exc:
            for fd in (to_stdin, from_stdout, from_stderr):
                os.close(fd)
            process.stderr.write(f"{exc}\n".encode())
            process.exit(127)
            return
        finally:
            for fd in (stdin, stdout, stderr):
                os.close(fd)
        out, err = await _readable(from_stdout), await _readable(from_stderr)
        await self._relay(process, child, to_stdin, [(out, process.stdout), (err, process.stderr)])

    async def _on_terminal(
        self, process: "asyncssh.SSHServerProcess[bytes]", argv: list[str], env: dict[str, str]
    ) -> None:
        master, slave = os.openpty()
        name = os.ttyname(slave)
        env["SSH_TTY"] = name

        def resize(columns: int, rows: int, width: int, height: int) -> None:
            with contextlib.suppress(OSError):
                fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, width, height))

        resize(*process.term_size)
        setattr(process, "terminal_size_changed", resize)  # noqa: B010 - a hook of the session's
        # the first terminal that a session's leader opens becomes its controlling one
        opener = 'exec 0<>"$0" 1>&0 2>&0; exec "$@"'
        try:
            child = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                opener,
                name,
                *argv,
                # held from the start: a master whose terminal nobody has open reads as ended
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=env,
                cwd=self._config["home"],
                start_new_session=True,
            )
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        out = await _readable(master)
        await self._relay(process, child, os.dup(master), [(out, process.stdout)])

    async def _relay(
        self,
        process: "asyncssh.SSHServerProcess[bytes]",
        child: asyncio.subprocess.Process,
        to_stdin: int,
        outputs: "list[tuple[_Readable, asyncssh.SSHWriter[bytes]]]",
    ) -> None:
        """Carry bytes until the command has ended and its output is out, then say how it ended.

        As with sshd, a process left behind that holds the output open holds the session open too; when
        the client goes away the command is not killed, but finds its pipes (or terminal) closed.
        """

        def on_signal(name: str) -> None:
            number = getattr(signal, f"SIG{name}", None)
            if number is not None and child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, number)

        setattr(process, "signal_received", on_signal)  # noqa: B010 - a hook of the session's
        feeding = asyncio.create_task(_feed(process.stdin, to_stdin))
        try:
            await asyncio.gather(*(_drain(source, sink) for source, sink in outputs))
            status = await child.wait()
        finally:
            for source, _ in outputs:
                source.transport.close()
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        if status >= 0:
            process.exit(status)
        else:
            process.exit_with_signal(signal.Signals(-status).name[3:])


@dataclass
class _Readable:
    reader: asyncio.StreamReader
    transport: asyncio.ReadTransport


async def _readable(fd: int) -> _Readable:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=BUFFER)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), io.FileIO(fd, "rb")
    )
    return _Readable(reader, transport)


async def _drain(source: _Readable, sink: "asyncssh.SSHWriter[bytes]") -> None:
    while True:
        try:
            data = await source.reader.read(BUFFER)
        except OSError:  # a terminal whose last user is gone
            return
        if not data:
            return
        sink.write(data)
        await sink.drain()


async def _feed(source: "asyncssh.SSHReader[bytes]", fd: int) -> None:
    """The client's bytes into the command's standard input, and then its end."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, io.FileIO(fd, "wb"))
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        while data := await source.read(BUFFER):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, asyncssh.Error, asyncssh.BreakReceived):
        pass  # the command closed its input, or the client is gone
    finally:
        transport.close()
