"""An engine as far as its socket goes: answers what a test says, and is no process."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from choline_tui import __version__
from choline_tui.config.paths import Paths
from choline_tui.services.identity import fingerprint

KEY = "hush-hush"
URL = "http://127.0.0.1:9"
ENVIRON = {"VAST_API_KEY": KEY, "VAST_URL": URL, "PATH": "/usr/bin:/bin"}

Answer = Callable[[dict[str, Any]], list[bytes]]
"""lines to send for a message; ``EOF`` among them ends the connection"""
EOF = b""


def result(message: dict[str, Any], value: Any) -> list[bytes]:
    return [json.dumps({"id": message["id"], "result": value}).encode() + b"\n"]


def hello(**changes: Any) -> dict[str, Any]:
    return {"version": __version__, "url": URL, "key": fingerprint(KEY), "pid": 1, "busy": False, **changes}


class EngineDouble:
    """``async with EngineDouble(paths, answer)``; ``asked``: methods, in order. It ends when asked to."""

    def __init__(self, paths: Paths, answer: Answer | None = None, **greeting: Any) -> None:
        self.path: Path = paths.ensure().engine_socket
        self.asked: list[str] = []
        self._answer = answer
        self.greeting = hello(**greeting)
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "EngineDouble":
        self._server = await asyncio.start_unix_server(self._client, str(self.path))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end()

    async def end(self) -> None:
        """As a process that dies: nobody listens, every connection is cut."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for writer in list(self._clients):
            writer.close()
        self.path.unlink(missing_ok=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            while line := await reader.readline():
                message = json.loads(line)
                if "cancel" in message:
                    continue
                self.asked.append(message["method"])
                for answer in self._lines(message):
                    if answer == EOF:
                        return
                    writer.write(answer)
                    await writer.drain()
                if message["method"] == "engine_stop":
                    await self.end()
        except ConnectionError:
            pass
        finally:
            self._clients.discard(writer)
            writer.close()

    def _lines(self, message: dict[str, Any]) -> list[bytes]:
        if message["method"] == "hello":
            return result(message, self.greeting)
        if message["method"] == "engine_stop" or self._answer is None:
            return result(message, None)
        return self._answer(message)
