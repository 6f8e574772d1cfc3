"""A small HTTP/1.1 server for the rehearsal market: keep-alive, limits, a clean end.

It listens on loopback and speaks to programs of this computer, but does not trust them: sizes, times and
the number of connections are bounded.
"""

import asyncio
import contextlib
import json
import logging
import socket
import struct
from collections.abc import Awaitable, Callable

import h11

from choline_tui.simulator.wire import Lost, Request, Response

__all__ = ["HttpServer"]

log = logging.getLogger(__name__)

MAX_BODY = 1 << 20
MAX_HEAD = 64 * 1024
MAX_CONNECTIONS = 500
IDLE_S = 75.0
"""a connection without a request is closed after this"""
REQUEST_S = 30.0
"""and one whose request is not whole after this"""
CLOSE_S = 3.0
LINGER_S = 1.0

Handle = Callable[[Request], Awaitable[Response]]


class HttpServer:
    """``await start()``, ``await close()``. ``port`` 0 takes a free one; read it from ``port`` then."""

    def __init__(self, handle: Handle, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._handle = handle
        self.host = host
        self.port = port
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], bool] = {}
        """task -> whether it is answering a request"""

    async def start(self) -> None:
        """Raises ``OSError`` when the address cannot be had."""
        self._server = await asyncio.start_server(self._connected, self.host, self.port, limit=MAX_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Finish the answers that are under way, then end every connection."""
        if self._server is None:
            return
        self._server.close()
        for task, answering in list(self._connections.items()):
            if not answering:
                task.cancel()
        if self._connections:
            _, late = await asyncio.wait(self._connections, timeout=CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections[task] = False
        task.add_done_callback(lambda t: self._connections.pop(t, None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        task = asyncio.current_task()
        assert task is not None
        try:
            while await self._one(connection, reader, writer, task):
                connection.start_next_cycle()
                if self._server is None or not self._server.is_serving():
                    break
        except (OSError, TimeoutError, EOFError):
            pass
        except asyncio.CancelledError:
            # only close() cancels us; the connection ends below
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one(
        self,
        connection: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        task: "asyncio.Task[None]",
    ) -> bool:
        """One request and its answer; whether the connection can carry another."""
        try:
            request = await self._read(connection, reader, writer)
        except h11.RemoteProtocolError as error:
            if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                answer = _failure(error.error_status_hint or 400, "invalid_request", "Not a valid request.")
                await self._send(connection, writer, answer, close=True)
                await self._linger(reader, writer)
            return False
        if request is None:
            return False
        self._connections[task] = True
        try:
            if isinstance(request, Response):
                await self._send(connection, writer, request, close=True)
                await self._linger(reader, writer)
                return False
            try:
                answer = await self._handle(request)
            except Lost as lost:
                await self._lose(connection, writer, lost)
                return False
            except Exception:
                log.exception("the market failed at %s %s", request.method, request.path)
                answer = _failure(500, "server_error", "Something went wrong")
            await self._send(connection, writer, answer, head=request.method == "HEAD")
        finally:
            self._connections[task] = False
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    async def _read(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Request | Response | None:
        head: h11.Request | None = None
        body = bytearray()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + IDLE_S
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    writer.write(
                        connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
                    )
                async with asyncio.timeout_at(deadline):
                    data = await reader.read(65_536)
                if data and head is None and deadline - loop.time() > REQUEST_S:
                    deadline = loop.time() + REQUEST_S
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY:
                    return _failure(413, "invalid_request", "The body is too large.")
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return _request(head, bytes(body), writer)
            else:
                # closed, or paused by a pipelined request whose turn has not come
                return None

    @staticmethod
    async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read what the caller still sends for a moment: closing on it would take our answer from him."""
        writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                left = 4 * MAX_BODY
                while left > 0 and (data := await reader.read(65_536)):
                    left -= len(data)

    @staticmethod
    async def _lose(connection: h11.Connection, writer: asyncio.StreamWriter, lost: Lost) -> None:
        """Reset the connection, in the middle of an answer or before it."""
        if lost.answer is not None:
            headers = [*lost.answer.headers.items(), ("content-length", str(len(lost.answer.body)))]
            head = connection.send(h11.Response(status_code=lost.answer.status, headers=headers)) or b""
            writer.write(head + lost.answer.body[: lost.sent])
            with contextlib.suppress(OSError):
                await writer.drain()
        sock = writer.get_extra_info("socket")
        if sock is not None:
            # closing sends a reset instead of an end, as a proxy that dies does
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    @staticmethod
    async def _send(
        connection: h11.Connection,
        writer: asyncio.StreamWriter,
        answer: Response,
        *,
        close: bool = False,
        head: bool = False,
    ) -> None:
        headers = [(name, value) for name, value in answer.headers.items()]
        headers.append(("content-length", str(len(answer.body))))
        if close:
            headers.append(("connection", "close"))
        start = connection.send(h11.Response(status_code=answer.status, headers=headers)) or b""
        rest = b"" if head else connection.send(h11.Data(data=answer.body)) or b""
        writer.write(start + rest + (connection.send(h11.EndOfMessage()) or b""))
        await writer.drain()


def _request(head: h11.Request, body: bytes, writer: asyncio.StreamWriter) -> Request:
    target = head.target.decode("latin-1")
    path, _, query = target.partition("?")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    peer = writer.get_extra_info("peername")
    client = str(peer[0]) if peer else ""
    return Request(head.method.decode("latin-1"), path, query, headers, body, client)


def _failure(status: int, error: str, msg: str) -> Response:
    text = json.dumps({"success": False, "error": error, "msg": msg}).encode()
    return Response(status, {"content-type": "application/json"}, text)
