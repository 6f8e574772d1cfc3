"""A connection to the engine's socket: calls and streams, with the engine's errors as our own types."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from choline_tui.kernel.errors import EngineError, error_from_wire

__all__ = ["Connection"]

MAX_LINE = 64 << 20


class Connection:
    """Calls and streams raise what the engine answers, and EngineError when it goes away in the middle or
    sends what is no message; ``closed`` then."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Queue[Any]] = {}
        self._listener = asyncio.create_task(self._listen())
        self.closed = False
        self.readonly = False
        """every request says so: the engine then refuses what spends or destroys"""

    @classmethod
    async def open(cls, path: Path) -> "Connection":
        """Raises OSError when nobody listens there."""
        reader, writer = await asyncio.open_unix_connection(str(path), limit=MAX_LINE)
        return cls(reader, writer)

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                message = json.loads(line)
                if not isinstance(message, dict):
                    raise ValueError("not an object")
                queue = self._waiting.get(message.get("id", 0))
                if queue is not None:
                    queue.put_nowait(message)
        except (OSError, ValueError, RecursionError, asyncio.IncompleteReadError):
            pass  # told to every waiting call below
        finally:
            self.closed = True
            for queue in self._waiting.values():
                queue.put_nowait({"error": EngineError("the engine went away").to_wire()})

    async def _send(self, message: dict[str, Any]) -> None:
        if self.closed:
            raise EngineError("the engine went away")
        try:
            self._writer.write(json.dumps(message).encode() + b"\n")
            await self._writer.drain()
        except OSError as error:
            # told here before the listener sees it: whoever asks next must not be given this one again
            self.closed = True
            raise EngineError(f"the engine went away: {error}") from error

    async def stream(self, method: str, **params: Any) -> AsyncIterator[Any]:
        """The items a method yields; leaving the loop early cancels it in the engine."""
        call = next(self._ids)
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._waiting[call] = queue
        ended = False
        try:
            message = {"id": call, "method": method, "params": params}
            await self._send({**message, "readonly": True} if self.readonly else message)
            while True:
                message = await queue.get()
                if "item" in message:
                    yield message["item"]
                    continue
                ended = True
                if "error" in message:
                    raise error_from_wire(message["error"])
                if message.get("result") is not None:
                    yield message["result"]
                return
        finally:
            del self._waiting[call]
            if not ended and not self.closed:
                with contextlib.suppress(EngineError):
                    await self._send({"cancel": call})

    async def call(self, method: str, **params: Any) -> Any:
        """The result of a method."""
        answer = None
        async for item in self.stream(method, **params):
            answer = item
        return answer

    async def close(self) -> None:
        self.closed = True
        self._writer.close()
        self._listener.cancel()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._writer.wait_closed()
        await asyncio.gather(self._listener, return_exceptions=True)
