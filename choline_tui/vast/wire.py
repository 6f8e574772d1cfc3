"""One HTTP request to the market: sent once, its answer read whole and bounded."""

import asyncio
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import httpx

from choline_tui.kernel.errors import BadRequest, ConfigError
from choline_tui.kernel.secret import Secret

__all__ = ["MAX_BODY", "Lost", "Reply", "Wire"]

MAX_BODY = 16 * 1024 * 1024
"""bytes of an answer, unpacked: 5,000 offers are 12 MB. Read as JSON they may take twenty times that."""
CONNECT_S = 10.0
SILENCE_S = 60.0
"""s without a byte while an answer is awaited or read"""
TOTAL_S = 120.0

_BEFORE = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""Failures after which nothing of the request has left."""


class Lost(Exception):
    """No whole answer. ``sent`` is False only when certainly nothing reached the market."""

    def __init__(self, what: str, *, sent: bool) -> None:
        super().__init__(what)
        self.what = what
        self.sent = sent


@dataclass(frozen=True)
class Reply:
    """``headers`` by lower-case name. ``body`` may hold secrets: it stays out of the repr."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    cut: bool = False
    """longer than was asked for"""


@lru_cache(maxsize=256)
def _url(address: str, params: tuple[tuple[str, str], ...] | None) -> httpx.URL:
    """The few addresses that are asked again and again: to take one apart costs as much as the rest of a
    request."""
    return httpx.URL(address, params=dict(params)) if params else httpx.URL(address)


class _Unpacker:
    """An answer's bytes, unpacked no further than ``limit``. Raises Lost for a packing that was not asked
    for (packings may be nested, and each multiplies) and for one that is damaged."""

    def __init__(self, encoding: str, limit: int) -> None:
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip"):
            raise Lost("the answer is packed in a way nobody asked for", sent=True)
        self._gzip = zlib.decompressobj(zlib.MAX_WBITS | 16) if name.endswith("gzip") else None
        self._limit = limit
        self._body = bytearray()
        self.over = False

    def feed(self, chunk: bytes) -> None:
        if self.over:
            return
        room = self._limit - len(self._body) + 1
        if self._gzip is not None:
            try:
                chunk = self._gzip.decompress(chunk, room)
            except zlib.error:
                raise Lost("the answer is damaged", sent=True) from None
        self._body += chunk[:room]
        self.over = len(self._body) > self._limit

    def end(self) -> bytes:
        if self._gzip is not None and not self._gzip.eof and not self.over and self._body:
            raise Lost("the answer is cut", sent=True)
        return bytes(self._body[: self._limit])


class Wire:
    """An HTTP client with the market's address and the account's key. Raises ConfigError for an address
    that is none, or that would show the key of the real market to the network."""

    def __init__(
        self, base_url: str, key: Secret | None, transport: httpx.AsyncBaseTransport | None, user_agent: str
    ) -> None:
        self.base = base_url.rstrip("/")
        try:
            parts = urlsplit(self.base)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            parts, host = urlsplit(""), ""
        if (
            parts.scheme not in ("http", "https")
            or not host
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise ConfigError(
                "the market's address must be like https://console.vast.ai", hint="See VAST_URL."
            )
        if parts.scheme == "http" and (host == "vast.ai" or host.endswith(".vast.ai")):
            raise ConfigError("the market's address must begin with https://: a key would be readable")
        self._scheme = parts.scheme
        self._key = key
        self._client = httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S, pool=CONNECT_S),
            # the one packing that ``_Unpacker`` knows
            headers={"User-Agent": user_agent, "Accept": "application/json", "Accept-Encoding": "gzip"},
            follow_redirects=False,
            max_redirects=3,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        auth: bool = True,
        follow: bool = False,
    ) -> Reply:
        """One request, never repeated here. ``follow``: go where a redirect says (a read only; the key is
        not shown to another host). Raises Lost; BadRequest when ``body`` cannot be written as JSON."""
        headers = {}
        content = None
        if body is not None:
            try:
                content = json.dumps(body, allow_nan=False).encode()
            except (ValueError, TypeError, RecursionError):
                raise BadRequest("the request holds something that cannot be sent") from None
            headers["Content-Type"] = "application/json"
        if auth and self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        url = _url(self.base + path, tuple(params.items()) if params else None)
        request = self._client.build_request(method, url, content=content, headers=headers)
        return await self._exchange(request, follow, MAX_BODY)

    async def fetch(self, url: str, limit: int) -> Reply:
        """GET what the market points at, without the key, at most ``limit`` bytes. Raises Lost, also for
        an address that is not https although the market's is."""
        try:
            parts = urlsplit(url)
            # plain http only where the market itself speaks it: a rehearsal on this computer
            good = parts.scheme in ("https", self._scheme)
            request = self._client.build_request("GET", url) if good and parts.hostname else None
        except (ValueError, httpx.InvalidURL):
            request = None
        if request is None:
            raise Lost("the market pointed at an address that cannot be used", sent=False)
        return await self._exchange(request, False, limit, cut=True)

    async def _exchange(
        self, request: httpx.Request, follow: bool, limit: int, *, cut: bool = False
    ) -> Reply:
        try:
            async with asyncio.timeout(TOTAL_S):
                response = await self._client.send(request, stream=True, follow_redirects=follow)
                try:
                    return await self._read(response, limit, cut)
                finally:
                    await response.aclose()
        except _BEFORE as error:
            raise Lost(f"no connection to {request.url.host} ({type(error).__name__})", sent=False) from None
        except TimeoutError:
            raise Lost(f"no whole answer within {TOTAL_S:.0f} s", sent=True) from None
        except httpx.TimeoutException as error:
            raise Lost(f"the answer did not come in time ({type(error).__name__})", sent=True) from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise Lost(f"the connection broke ({type(error).__name__})", sent=True) from None

    @staticmethod
    async def _read(response: httpx.Response, limit: int, cut: bool) -> Reply:
        headers = {name.lower(): value for name, value in response.headers.items()}
        body = _Unpacker(headers.get("content-encoding", ""), limit)
        if response.is_stream_consumed:
            # an answer that was never on a line (a transport in memory) is there already, and unpacked
            body = _Unpacker("", limit)
            body.feed(response.content)
        else:
            async for chunk in response.aiter_raw():
                body.feed(chunk)
                if body.over:
                    break
        if body.over and not cut:
            raise Lost(f"the answer is larger than {limit} bytes", sent=True)
        return Reply(response.status_code, headers, body.end(), body.over)
