"""Renting over real sockets: what a broken connection looks like to the real HTTP library."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from choline_tui.kernel.errors import MarketDown, UnknownOutcome
from choline_tui.kernel.secret import Secret
from choline_tui.model.query import parse_query
from choline_tui.simulator import Simulator
from choline_tui.vast.client import VastClient
from choline_tui.vast.pace import UNPACED
from choline_tui.vast.types import RentRequest
from tests.support import free_port

REQUEST = RentRequest("a/b", 10, "l")
YES = b'{"success": true, "new_contract": 9}'


class Server:
    """Answers each whole request with the same bytes, then closes; counts requests."""

    def __init__(self, answer: bytes, *, before_reading: bool = False) -> None:
        self.answer = answer
        self.before_reading = before_reading
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests += 1
        if not self.before_reading:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.write(self.answer)
        writer.close()


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[str]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


def answer(body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (size, body)


async def rent(url: str) -> Any:
    async with VastClient(Secret("k"), base_url=url, paces=UNPACED) as client:
        return await client.rent(5, REQUEST)


async def test_a_whole_answer() -> None:
    server = Server(answer(YES))
    async with running(server) as url:
        assert (await rent(url)).contract_id == 9


@pytest.mark.parametrize(
    "make",
    [
        lambda: Server(b""),
        lambda: Server(b"", before_reading=True),
        lambda: Server(answer(YES, length=500)),
        lambda: Server(answer(YES)[:60]),
        lambda: Server(b"SSH-2.0-OpenSSH_9.6\r\n"),
    ],
    ids=["closed", "closed at once", "cut body", "cut head", "not http"],
)
async def test_a_connection_lost_after_it_was_made_is_unknown(make: Callable[[], Server]) -> None:
    server = make()
    async with running(server) as url:
        with pytest.raises(UnknownOutcome):
            await rent(url)
    assert server.requests == 1


async def test_where_nobody_listens_nothing_was_sent() -> None:
    with pytest.raises(MarketDown) as caught:
        await rent(f"http://127.0.0.1:{free_port()}")
    assert caught.value.details["sent"] is False


async def test_the_rehearsal_market_over_its_socket() -> None:
    async with (
        Simulator(offers=100, moving=False, boot=0.2) as sim,
        VastClient(Secret("k"), base_url=sim.url, paces=UNPACED) as client,
    ):
        page = await client.search(parse_query("duration>30"))
        made = await client.rent(page.offers[0].id, RentRequest("a/b", 20, "choline-abcd-efgh-1"))
        listing = await client.listing()
        assert [each.id for each in listing.labelled("choline-abcd-efgh-1")] == [made.contract_id]
        assert isinstance(await client.logs(made.contract_id), str)
        assert await client.destroy(made.contract_id) is True
