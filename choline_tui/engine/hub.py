"""What happens, told to whoever listens: events from the ledger, log bytes, progress of transfers."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Hub", "News"]


@dataclass(frozen=True)
class News:
    """``topic``: event, log, progress, change. ``data`` is plain JSON."""

    topic: str
    run: str | None
    data: dict[str, Any] = field(default_factory=dict)


class Hub:
    """Bounded: a listener that does not keep up loses progress and log news (it reads the files), and is
    told by a ``missed`` news."""

    LIMIT = 2000

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Queue[News], tuple[str | None, frozenset[str]]] = {}

    def publish(self, topic: str, run: str | None = None, /, **data: Any) -> None:
        if not self._listeners:
            return
        news = News(topic, run, data)
        for queue, (only, topics) in self._listeners.items():
            if (only is not None and run != only) or (topics and topic not in topics):
                continue
            if queue.qsize() >= self.LIMIT:
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(News("missed", run))
            queue.put_nowait(news)

    @asynccontextmanager
    async def listen(
        self, run: str | None = None, topics: Iterable[str] = ()
    ) -> AsyncIterator["asyncio.Queue[News]"]:
        """News of one run, or of all; of these topics, or of all."""
        queue: asyncio.Queue[News] = asyncio.Queue()
        self._listeners[queue] = (run, frozenset(topics))
        try:
            yield queue
        finally:
            del self._listeners[queue]
