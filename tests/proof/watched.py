"""A session to a machine with something between: each call may be spoiled before or after it was done."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from choline_tui.kernel.protocol import Frame, JobStatus
from choline_tui.kernel.session import HostCopier, RemoteSession, Transfer

__all__ = ["CALLS", "Between", "WatchedCopier", "WatchedSession"]

CALLS = frozenset(
    {"probe", "prepare", "send", "secrets", "submit", "status", "stop", "renew", "fetch", "evidence"}
)

Between = Callable[[str, bool, int], Awaitable[None]]
"""called with the call's name, whether it was done, and the contract; it may raise instead"""


class WatchedSession:
    """As ``RemoteSession``."""

    def __init__(self, inner: RemoteSession, contract: int, between: Between) -> None:
        self.host_key = inner.host_key
        self._inner, self._contract, self._between = inner, contract, between

    def __getattr__(self, name: str) -> Any:
        honest = getattr(self._inner, name)
        if name not in CALLS:
            return honest

        async def call(*args: Any, **named: Any) -> Any:
            await self._between(name, False, self._contract)
            result = await honest(*args, **named)
            await self._between(name, True, self._contract)
            return result

        return call

    async def stream(self, job: str, offsets: dict[str, int]) -> AsyncIterator[Frame]:
        await self._between("stream", False, self._contract)
        async for frame in self._inner.stream(job, offsets):
            yield frame
        await self._between("stream", True, self._contract)

    async def close(self) -> None:
        await self._inner.close()


class WatchedCopier:
    """As ``HostCopier``; its calls are the session's of that name."""

    def __init__(self, inner: HostCopier, contract: int, between: Between) -> None:
        self._inner, self._contract, self._between = inner, contract, between

    @property
    def host_key(self) -> str:
        return self._inner.host_key

    async def job(self, job: str) -> JobStatus | None:
        await self._between("status", False, self._contract)
        return await self._inner.job(job)

    async def fetch(self, *args: Any, **named: Any) -> Transfer:
        await self._between("fetch", False, self._contract)
        moved = await self._inner.fetch(*args, **named)
        await self._between("fetch", True, self._contract)
        return moved

    async def close(self) -> None:
        await self._inner.close()
