"""A market that answers with hostile text, numbers, sizes and directions."""

import asyncio
import gzip
import json
import resource
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from choline_tui.kernel.errors import CholineError, MarketDown, VastError
from choline_tui.kernel.secret import Secret
from choline_tui.model.offer import decode_offers
from choline_tui.model.query import parse_query
from choline_tui.model.run import Outcome
from choline_tui.vast import wire
from choline_tui.vast.client import VastClient
from choline_tui.vast.pace import UNPACED
from choline_tui.vast.types import RentRequest
from tests.support.world import World, live
from tests.vast.fake import PUBLIC, Market

KEY = "topsecret" * 7
EVIL = "a\x1b[2J\x1b]52;c;cHduZWQ=\x07\x1b]8;;http://evil\x1b\\b\u202e\u2066[red]c[/red]\0" + "\u0e47" * 300
ODD: list[Any] = [
    *(EVIL, "x" * 100_000, "", [], {}, [[[[]]]], {"a": {"b": []}}, True, False, None),
    *(-1, 0, 10**30, -(10**30), 1.5, 1e308, float("nan"), float("inf"), "1e999", "NaN", "\ud800"),
]


class Server:
    """Answers with prepared bytes; keeps what it was asked. ``endless``: repeated until nobody listens."""

    def __init__(self, *answers: bytes, endless: bytes = b"") -> None:
        self.answers = list(answers)
        self.endless = endless
        self.asked: list[bytes] = []
        self.sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head)
            if b"content-length: " in head.lower():
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
            await writer.drain()
            while self.endless and self.sent < 1 << 30:
                writer.write(self.endless)
                self.sent += len(self.endless)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[str]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


def answer(body: bytes, *headers: bytes, status: bytes = b"200 OK", sized: bool = True) -> bytes:
    lines = [b"HTTP/1.1 " + status, *headers, b"Connection: close"]
    if sized:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.fixture(autouse=True)
def _once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With real sockets no real second is spent on trying again."""
    if "life" not in request.node.name:
        monkeypatch.setattr("choline_tui.vast.calls.BUDGET_S", 0.0)


async def ask(url: str, call: Callable[[VastClient], Awaitable[Any]]) -> Any:
    async with VastClient(Secret(KEY), base_url=url, paces=UNPACED) as client:
        return await call(client)


async def names(client: VastClient) -> Any:
    return await client.account()


def peak() -> int:
    """KiB"""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def bomb(levels: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
    for _ in range(levels - 1):
        data = gzip.compress(data)
    return data


@pytest.mark.parametrize("levels", [1, 2, 3])
async def test_packed_bombs(levels: int) -> None:
    """100 MB in a tenth of one, or in some hundred bytes: unpacked no further than an answer may be."""
    encoding = b"Content-Encoding: " + b", ".join([b"gzip"] * levels)
    body = bomb(levels)
    before = peak()
    async with running(Server(answer(body, encoding))) as url:
        with pytest.raises(MarketDown, match=r"larger than|nobody asked for"):
            await ask(url, names)
    assert peak() - before < 100 << 10


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"br", b"x"),
        (b"zstd", b"x"),
        (b"deflate", zlib.compress(b"{}")),
        (b"gzip", b"not packed"),
        (b"gzip", gzip.compress(b'{"id": 5, "email": "someone"}', mtime=0)[:-12]),
        (b"evil\x01", b"{}"),
    ],
    ids=["br", "zstd", "deflate", "not packed", "cut", "evil"],
)
async def test_packings_that_are_not_taken(encoding: bytes, body: bytes) -> None:
    async with running(Server(answer(body, b"Content-Encoding: " + encoding))) as url:
        with pytest.raises(MarketDown):
            await ask(url, names)


async def test_what_is_packed_as_asked_is_read() -> None:
    body = gzip.compress(json.dumps({"gpu_names": ["RTX 4090"]}).encode())
    async with running(server := Server(answer(body, b"Content-Encoding: GZIP"))) as url:
        assert await ask(url, lambda client: client.gpu_names()) == ("RTX 4090",)
    assert b"accept-encoding: gzip\r\n" in server.asked[0].lower()


async def test_an_answer_without_end() -> None:
    server = Server(answer(b"", sized=False), endless=b"[" * 65536)
    before = peak()
    async with running(server) as url:
        with pytest.raises(MarketDown, match="larger than"):
            await ask(url, names)
    assert peak() - before < 100 << 10 and server.sent < 4 * wire.MAX_BODY


@pytest.mark.parametrize("status", [b"301 M", b"302 F", b"303 S", b"307 T", b"308 P"])
async def test_the_key_follows_no_redirect_to_another_host(status: bytes) -> None:
    stranger = Server(answer(b'{"gpu_names": [], "offers": [], "id": 5}'))
    async with running(stranger) as elsewhere:
        by_name = elsewhere.replace("127.0.0.1", "localhost")
        for target in (elsewhere, by_name, elsewhere.replace("http:", "")):
            market = Server(answer(b"", b"Location: " + target.encode() + b"/x", status=status))
            async with running(market) as url:
                for call in (names, lambda c: c.search(parse_query("")), lambda c: c.destroy(5)):
                    try:
                        await ask(url, call)
                    except CholineError:
                        continue
            assert KEY.encode() in market.asked[0]
    assert all(KEY.encode() not in head and b"authorization" not in head.lower() for head in stranger.asked)


async def test_renting_and_writing_follow_no_redirect_at_all() -> None:
    stranger = Server(answer(b'{"success": true, "new_contract": 9}'))
    async with running(stranger) as elsewhere:
        market = Server(answer(b"", b"Location: " + elsewhere.encode(), status=b"307 T"))
        async with running(market) as url:
            calls: list[Callable[[VastClient], Awaitable[Any]]] = [
                lambda c: c.rent(5, RentRequest("a/b", 10, "l")),
                lambda c: c.start(5),
                lambda c: c.change_bid(5, 0.1),
                lambda c: c.attach_ssh_key(5, PUBLIC),
            ]
            for call in calls:
                with pytest.raises(VastError):
                    await ask(url, call)
    assert stranger.asked == []


CALLS: dict[str, Callable[[VastClient], Awaitable[Any]]] = {
    "search": lambda c: c.search(parse_query("")),
    "gpu names": lambda c: c.gpu_names(),
    "rent": lambda c: c.rent(5, RentRequest("a/b", 10, "choline-abcd-efgh-1")),
    "listing": lambda c: c.listing(),
    "instance": lambda c: c.instance(5),
    "start": lambda c: c.start(5),
    "stop": lambda c: c.stop(5),
    "destroy": lambda c: c.destroy(5),
    "logs": lambda c: c.logs(5),
    "account": lambda c: c.account(),
    "keys": lambda c: c.ssh_keys(),
    "add": lambda c: c.add_ssh_key(PUBLIC),
    "attach": lambda c: c.attach_ssh_key(5, PUBLIC),
    "check": lambda c: c.key_check(),
}
BODIES: list[bytes] = [
    b"",
    b"null",
    b"[]",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 100_000,
    b"\xff\xfe",
    b"<html><body>502</body></html>",
    json.dumps(EVIL).encode(),
    *(
        json.dumps(
            {
                **dict.fromkeys(("success", "error", "msg", "offers", "instances", "new_contract"), odd),
                **dict.fromkeys(("total_instances", "next_token", "result_url", "ssh_keys", "id"), odd),
                **dict.fromkeys(("gpu_names", "retry_after", "instances_found", "apikeys", "detail"), odd),
            }
        ).encode()
        for odd in ODD
    ),
    *(
        json.dumps({"instances": [{"id": 5, "label": odd}], "total_instances": odd, "offers": [odd]}).encode()
        for odd in ODD
    ),
]


@pytest.mark.parametrize("status", [200, 404, 429, 500])
@pytest.mark.parametrize("name", list(CALLS))
def test_every_call_gets_a_value_or_one_of_our_errors(name: str, status: int) -> None:
    headers = {"Retry-After": "9" * 5000, "X-RateLimit-Reset": "NaN", "Content-Type": "image/png"}
    for body in BODIES:
        market = Market(httpx.Response(status, content=body, headers=headers))
        try:
            market.live(CALLS[name])
        except CholineError as error:
            assert error.message.isprintable(), error.message
            assert len(error.message) < 600 and len(error.hint) < 600
            json.dumps(error.to_wire())


def test_one_spoiled_text_does_not_hide_the_others() -> None:
    row = b'{"id":%d,"label":"choline-abcd-efgh-%d","status_msg":"%s"}'
    rows = [
        row % (1, 1, b"half a pair \\ud800"),
        row % (2, 2, b"a byte \xff"),
        row % (3, 3, b"a control \x01"),
        row % (4, 4, b'", "gpu_ram": ' + b"9" * 9000 + b', "x": "'),
        row % (5, 5, b"fine \\ud83d\\ude00 \\\\ud800"),
    ]
    for one in ([rows[n] for n in range(4)], *([each] for each in rows)):
        body = b'{"instances":[' + b",".join([*one, rows[4]]) + b'],"total_instances":%d}' % (len(one) + 1)
        if one == [rows[4]]:
            continue
        listing = Market(httpx.Response(200, content=body)).live(lambda client: client.listing())
        assert len(listing.instances) == len(one) + 1
        assert listing.instances[-1].status_msg == "fine \U0001f600 \\ud800"
    offers, skipped = decode_offers(b'{"offers":[{"id":1,"gpu_name":"\\ud800"},{"id":2,"gpu_name":"\xff"}]}')
    assert ([offer.id for offer in offers], skipped) == ([1, 2], 0)


def test_a_life_with_a_market_that_writes_on_the_screen(tmp_path: Path) -> None:
    """Hostile text in every text of every answer: the run ends as ever, and what is told is inert."""

    def poison(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: poison(each, key) for key, each in value.items()}
        if isinstance(value, list):
            return [poison(each, name) for each in value]
        if name in (
            "status_msg",
            "hostname",
            "cpu_name",
            "msg",
            "geolocation",
            "mobo_name",
        ):
            return EVIL
        return value

    async def story(world: World) -> None:
        async def spoil(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            try:
                body = json.loads(response.content)
            except ValueError:
                return response
            return httpx.Response(response.status_code, json=poison(body))

        world.market.after.append(spoil)
        run = world.start()
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        world.check(run)
        from choline_tui.model.event_words import plain_words

        assert world.store is not None
        for event in world.store.events():
            assert plain_words(event).isprintable()
            assert len(event.text) < 2000

    live(tmp_path, story)
