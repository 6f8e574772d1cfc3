"""Where data comes from when it is not a path: ``https://...`` and ``s3://bucket/prefix``.

``https://HOST/PATH#sha256=HEX`` names its content's hash as well. ``http://`` is taken for this computer
itself only (127.0.0.0/8, ::1, localhost): anybody on the way could change what comes from elsewhere.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

__all__ = ["Source", "is_source", "loopback", "parse", "shown"]

MAX_URL = 4096
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
"""Amazon S3 User Guide, "General purpose bucket naming rules"."""
_SHA256 = re.compile(r"sha256=([0-9a-fA-F]{64})", re.ASCII)


@dataclass(frozen=True)
class Source:
    """``url`` is without its fragment. ``bucket`` and ``prefix`` are of ``s3://`` alone."""

    scheme: str
    url: str
    sha256: str = ""
    bucket: str = ""
    prefix: str = ""

    @property
    def name(self) -> str:
        """What the file is called that comes from it."""
        path = self.prefix if self.scheme == "s3" else unquote(urlsplit(self.url).path)
        last = path.rstrip("/").rpartition("/")[2]
        return last if last not in ("", ".", "..") and "\0" not in last else "data"


def is_source(text: str) -> bool:
    """Whether it means an address rather than a path."""
    return _SCHEME.match(text) is not None


def shown(url: str) -> str:
    """For people: without what may be a key in its query."""
    return url.partition("?")[0].partition("#")[0][:300] + ("?..." if "?" in url else "")


def loopback(host: str) -> bool:
    """Whether this host is the computer itself."""
    import ipaddress  # late: few need it

    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def parse(text: str) -> Source:
    """Raises ``ValueError``, in words for a person."""
    if len(text) > MAX_URL or not text.isprintable() or " " in text:
        raise ValueError("is no address: it holds spaces or what cannot be printed")
    plain, _, fragment = text.partition("#")
    try:
        parts = urlsplit(plain)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("is no address") from None
    if "@" in parts.netloc:
        raise ValueError("must not hold a name or password: they go into credentials, by name")
    if not host or port == 0:
        raise ValueError("has no host" if parts.scheme != "s3" else "has no bucket")
    scheme = parts.scheme.lower()
    if scheme == "s3":
        if fragment or parts.query or not _BUCKET.fullmatch(parts.netloc):
            raise ValueError("needs the form s3://bucket/prefix")
        return Source(
            "s3", plain, bucket=parts.netloc, prefix=plain.split("/", 3)[3] if plain.count("/") > 2 else ""
        )
    if scheme not in ("https", "http"):
        raise ValueError("begins with %s://; https:// and s3:// can be fetched" % scheme[:20])
    if scheme == "http" and not loopback(host):
        raise ValueError("is http://, which anybody on the way may change: use https://")
    found = _SHA256.fullmatch(fragment)
    if fragment and found is None:
        raise ValueError("may end with #sha256=HEX (64 digits) and nothing else after the #")
    return Source(scheme, plain, sha256=found.group(1).lower() if found else "")
