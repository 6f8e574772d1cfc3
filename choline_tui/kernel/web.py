"""Requests over HTTPS by the standard library: connections kept, redirects followed, bodies in pieces."""

import http.client
import ssl
from typing import Dict, Mapping, Optional, Tuple
from urllib.parse import urljoin, urlsplit

from choline_tui.kernel.errors import RemoteError, UsageError
from choline_tui.kernel.source import loopback

__all__ = ["Answer", "Web", "WebTrouble"]

TIMEOUT_S = 60.0
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 6


class WebTrouble(RemoteError):
    """No answer, or one that broke off: it may be tried again."""


class Answer:
    """``headers`` by their names in lower case. Read its body to the end, or close the ``Web``."""

    def __init__(self, status: int, headers: Dict[str, str], raw: http.client.HTTPResponse) -> None:
        self.status = status
        self.headers = headers
        self._raw = raw

    @property
    def length(self) -> Optional[int]:
        value = self.headers.get("content-length", "")
        return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None

    @property
    def tag(self) -> str:
        """A strong entity tag, quotes and all; '' when there is none (RFC 9110, 8.8.3)."""
        value = self.headers.get("etag", "")
        return value if value.startswith('"') and value.isprintable() and len(value) < 300 else ""

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; b"" at the end. Raises ``WebTrouble`` when it breaks off."""
        try:
            return self._raw.read(size)
        except (OSError, http.client.HTTPException) as e:
            raise WebTrouble("the answer broke off: %s" % (str(e) or type(e).__name__)) from None

    def text(self, limit: int = 1 << 20) -> bytes:
        """Its body, or the first ``limit`` bytes of it."""
        kept = b""
        while len(kept) < limit:
            piece = self.read(1 << 16)
            if not piece:
                break
            kept += piece
        return kept[:limit]


class Web:
    """One thread's connections. ``timeout``: s for each answer and each piece of it."""

    def __init__(self, context: Optional[ssl.SSLContext] = None, timeout: float = TIMEOUT_S) -> None:
        self._context = context
        self._timeout = timeout
        self._open: Dict[Tuple[str, str, int], http.client.HTTPConnection] = {}

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """The answer after all redirects; ``Authorization`` goes to the first host only. Raises
        ``WebTrouble``, and ``UsageError`` for what no repetition mends."""
        given = {"Accept-Encoding": "identity", "User-Agent": "choline", **headers}
        first = urlsplit(url)[:2]
        for _ in range(_MOST_REDIRECTS):
            parts = urlsplit(url)
            if parts[:2] != first:
                given.pop("Authorization", None)
            answer = self._once(method, parts.scheme, parts.hostname or "", parts.port, url, given, body)
            target = answer.headers.get("location", "")
            if answer.status not in _REDIRECTS or not target:
                return answer
            answer.text(1 << 16)
            url = urljoin(url, target)
        raise UsageError("it redirects without end")

    def _once(
        self,
        method: str,
        scheme: str,
        host: str,
        port: Optional[int],
        url: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Answer:
        if not host or (scheme != "https" and not (scheme == "http" and loopback(host))):
            raise UsageError("it leads to an address that is not https://")
        place = (scheme, host, port or (443 if scheme == "https" else 80))
        parts = urlsplit(url)
        target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        for fresh in (False, True):
            # a connection that was kept may have been closed by now: once more on a new one
            known = None if fresh else self._open.get(place)
            connection = known or self._connection(place)
            self._open[place] = connection
            try:
                connection.request(method, target, body or None, dict(headers))
                raw = connection.getresponse()
                found = {name.lower(): value for name, value in raw.getheaders()}
                return Answer(raw.status, found, raw)
            except ssl.SSLCertVerificationError as e:
                self._forget(place)
                raise UsageError(
                    "the certificate of %s cannot be checked: %s" % (host[:200], e.verify_message),
                    hint="Is ca-certificates installed in the image?",
                ) from None
            except (OSError, http.client.HTTPException, UnicodeError) as e:
                self._forget(place)
                if known is None:
                    raise WebTrouble("%s: %s" % (host[:200], str(e) or type(e).__name__)) from None
        raise WebTrouble("%s does not answer" % host[:200])

    def _connection(self, place: Tuple[str, str, int]) -> http.client.HTTPConnection:
        scheme, host, port = place
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout)
        if self._context is None:
            self._context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._context)

    def _forget(self, place: Tuple[str, str, int]) -> None:
        connection = self._open.pop(place, None)
        if connection is not None:
            connection.close()
