"""The engine's socket: one JSON object a line, answered in any order.

::

    -> {"id": 1, "method": "offers", "params": {...}}
    <- {"id": 1, "result": {...}}            or {"id": 1, "error": {code, message, hint, details}}
    -> {"id": 2, "method": "follow", "params": {...}}
    <- {"id": 2, "item": {...}} ... {"id": 2, "result": null}
    -> {"cancel": 2}
    -> {"id": 3, "method": "stop", "params": {...}, "readonly": true}
    <- {"id": 3, "error": {...}}             a read-only client neither spends nor destroys

The socket lies in a directory only its owner may enter; whoever can open it may do everything.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

from choline_tui.kernel.errors import CholineError, EngineError, UsageError

__all__ = ["MAX_LINE", "Method", "Server"]

log = logging.getLogger("choline.engine")

MAX_LINE = 64 << 20
Method = Callable[..., Awaitable[Any] | AsyncIterator[Any]]


class Server:
    """Serves ``methods`` on a Unix socket; ``clients`` counts open connections. ``reads``: the methods that
    a read-only client may ask; a method that is not named there is refused to it."""

    def __init__(self, path: Path, methods: dict[str, Method], reads: Collection[str] = ()) -> None:
        self.path = path
        self.methods = methods
        self.reads = frozenset(reads)
        self.clients = 0
        self.asked = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()  # the lock is ours, so a socket left there is nobody's
        self._server = await asyncio.start_unix_server(self._client, str(self.path), limit=MAX_LINE)
        self.path.chmod(0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        if me is not None:
            self._tasks.add(me)
            me.add_done_callback(self._tasks.discard)
        self.clients += 1
        calls: dict[int, asyncio.Task[None]] = {}
        try:
            while line := await reader.readline():
                try:
                    message = json.loads(line)
                    if not isinstance(message, dict):
                        raise ValueError("not an object")
                except (ValueError, RecursionError):
                    break
                if "cancel" in message:
                    task = calls.get(message["cancel"]) if isinstance(message["cancel"], int) else None
                    if task is not None:
                        task.cancel()
                    continue
                self.asked += 1
                call = message.get("id", 0)
                if not isinstance(call, int):
                    break
                task = asyncio.create_task(self._call(call, message, writer))
                calls[call] = task
                task.add_done_callback(lambda _t, c=call: calls.pop(c, None))  # type: ignore[misc]
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # the client is gone, or sent a line beyond all bounds
        finally:
            self.clients -= 1
            open_calls = list(calls.values())
            for task in open_calls:
                task.cancel()
            await asyncio.gather(*open_calls, return_exceptions=True)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _call(self, call: int, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        try:
            answer: dict[str, Any] = {"id": call, "result": await self._run(call, message, writer)}
        except asyncio.CancelledError:
            answer = {"id": call, "error": EngineError("cancelled").to_wire()}
            with contextlib.suppress(ConnectionError):
                await _write(writer, answer)
            raise
        except CholineError as error:
            answer = {"id": call, "error": error.to_wire()}
        except (ConnectionError, BrokenPipeError):
            return
        except Exception as error:
            log.exception("method %s failed", message.get("method"))
            wrong = EngineError(f"the engine failed: {error!r}"[:500], hint="The engine's log has more.")
            answer = {"id": call, "error": wrong.to_wire()}
        with contextlib.suppress(ConnectionError):
            await _write(writer, answer)

    async def _run(self, call: int, message: dict[str, Any], writer: asyncio.StreamWriter) -> Any:
        method = self.methods.get(str(message.get("method")))
        params = message.get("params", {})
        if method is None or not isinstance(params, dict):
            raise UsageError(f"the engine knows no {message.get('method')!r}", hint="Is it another version?")
        if message.get("readonly") is True and message["method"] not in self.reads:
            raise UsageError(
                f"read-only: {message['method']!r} is refused",
                hint="'choline config unset ui.readonly' lets the screens act again.",
            )
        try:
            made = method(**params)
        except TypeError as error:
            raise UsageError(f"{message.get('method')}: {error}") from error
        if isinstance(made, AsyncIterator):
            async for item in made:
                await _write(writer, {"id": call, "item": item})
            return None
        return await made


async def _write(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
    await writer.drain()
