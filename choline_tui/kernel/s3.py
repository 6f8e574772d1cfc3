"""The little of S3 that fetching needs: signed GET requests, and lists of objects.

Signing: Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header (AWS Signature
Version 4)". Lists: the same, "ListObjectsV2".
"""

import hashlib
import hmac
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import quote, unquote, urlsplit

from choline_tui.kernel.source import loopback

__all__ = ["Bucket", "Key", "Page", "home_of", "md5_of", "read_page", "record_key", "said", "upload_id"]

_EMPTY = hashlib.sha256(b"").hexdigest()
_NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Key(NamedTuple):
    """An object as listed; ``tag`` with its quotes."""

    key: str
    size: int
    tag: str


class Page(NamedTuple):
    keys: List[Key]
    more: str
    """token of the next page; '' when this is the last"""


@dataclass
class Bucket:
    """``endpoint``: '' for Amazon's own. ``env``: variables as the AWS tools know them."""

    name: str
    endpoint: str = ""
    region: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    skew: float = 0.0
    """s that the server's clock is ahead of ours"""

    def __post_init__(self) -> None:
        of_env = [self.env.get(name, "") for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")]
        self.endpoint = (self.endpoint or of_env[0] or of_env[1]).rstrip("/")
        parts = urlsplit(self.endpoint)
        sound = parts.hostname and "@" not in parts.netloc and not parts.query
        if self.endpoint and not (
            sound and (parts.scheme == "https" or (parts.scheme == "http" and loopback(parts.hostname or "")))
        ):
            raise ValueError("the endpoint must be an https:// address")
        self.region = (
            self.region
            or self.env.get("AWS_REGION", "")
            or self.env.get("AWS_DEFAULT_REGION", "")
            or "us-east-1"
        )

    def url(self, key: str = "") -> str:
        path = quote(key.encode("utf-8", "surrogateescape"), safe="/~")
        if self.endpoint:
            return "%s/%s/%s" % (self.endpoint, self.name, path)
        host = "s3.%s.amazonaws.com" % self.region
        if "." in self.name:  # no certificate has such a name below it
            return "https://%s/%s/%s" % (host, self.name, path)
        return "https://%s.%s/%s" % (self.name, host, path)

    def list_url(self, prefix: str, more: str) -> str:
        query = {"list-type": "2", "encoding-type": "url", "prefix": prefix}
        if more:
            query["continuation-token"] = more
        return "%s?%s" % (self.url(), _query(query))

    @staticmethod
    def query(**values: str) -> str:
        """A request's parameters in the form that is signed."""
        return _query(values)

    def headers(self, url: str, method: str = "GET", body: bytes = b"") -> Dict[str, str]:
        """What signs a request for ``url``; nothing when there is no key to sign with."""
        access, secret = self.env.get("AWS_ACCESS_KEY_ID", ""), self.env.get("AWS_SECRET_ACCESS_KEY", "")
        if not access or not secret:
            return {}
        now = time.gmtime(time.time() + self.skew)
        stamp, day = time.strftime("%Y%m%dT%H%M%SZ", now), time.strftime("%Y%m%d", now)
        parts = urlsplit(url)
        payload = hashlib.sha256(body).hexdigest() if body else _EMPTY
        signed = {"host": parts.netloc, "x-amz-content-sha256": payload, "x-amz-date": stamp}
        token = self.env.get("AWS_SESSION_TOKEN", "")
        if token:
            signed["x-amz-security-token"] = token
        names = ";".join(sorted(signed))
        lines = "".join("%s:%s\n" % (name, signed[name].strip()) for name in sorted(signed))
        canonical = "\n".join([method, parts.path or "/", parts.query, lines, names, payload])
        scope = "%s/%s/s3/aws4_request" % (day, self.region)
        to_sign = "\n".join(
            ["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()]
        )
        key = b"AWS4" + secret.encode("utf-8", "surrogateescape")
        for piece in (day, self.region, "s3", "aws4_request"):
            key = hmac.new(key, piece.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        del signed["host"]
        return {
            **signed,
            "Authorization": "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s"
            % (access, scope, names, signature),
        }


def _query(values: Mapping[str, str]) -> str:
    """In the canonical order and form, so that it can be signed as it is."""
    pairs = sorted((quote(k, safe="~"), quote(v, safe="~")) for k, v in values.items())
    return "&".join("%s=%s" % pair for pair in pairs)


def read_page(body: bytes) -> Page:
    """Raises ``ValueError`` for what is no list of objects."""
    if b"<!" in body:
        raise ValueError("a list of objects does not hold declarations")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - no entities: looked for above
    except ElementTree.ParseError:
        raise ValueError("it is no XML") from None
    encoded = _text(root, "EncodingType") == "url"
    found = []  # type: List[Key]
    for item in _all(root, "Contents"):
        key, size = _text(item, "Key"), _text(item, "Size")
        if not key or not (size.isascii() and size.isdigit() and len(size) < 19):
            raise ValueError("an object has no name or no size")
        # what is not UTF-8 stays as it is: quote() makes the same bytes of it again
        name = unquote(key, errors="surrogateescape") if encoded else key
        found.append(Key(name, int(size), _text(item, "ETag")[:300]))
    if not root.tag.endswith("ListBucketResult"):
        raise ValueError("it is no list of objects")
    return Page(found, _text(root, "NextContinuationToken") if _text(root, "IsTruncated") == "true" else "")


def _all(element: ElementTree.Element, name: str) -> List[ElementTree.Element]:
    return element.findall(_NS + name) or element.findall(name)


def _text(element: ElementTree.Element, name: str) -> str:
    found = _all(element, name)
    return found[0].text or "" if found else ""


def home_of(prefix: str, run: str) -> str:
    """Below which key the results of a run lie in a bucket, with a ``/`` at its end."""
    bare = prefix.strip("/")
    return "%s%s/" % (bare + "/" if bare else "", run)


def record_key(prefix: str, run: str, job: str) -> str:
    """The object that says how a job ended: written last, when all of its results are there."""
    return "%scholine/%s.json" % (home_of(prefix, run), job)


def upload_id(body: bytes) -> str:
    """Of an upload in parts that has begun. Raises ``ValueError``."""
    try:
        root = ElementTree.fromstring(body) if b"<!" not in body else None  # noqa: S314
    except ElementTree.ParseError:
        root = None
    found = "" if root is None else _text(root, "UploadId")
    if not found or len(found) > 2000:
        raise ValueError("it names no upload")
    return found


def md5_of(tag: str) -> Optional[str]:
    """The MD5 that an entity tag is; None for one that is none (an object sent in parts, or encrypted)."""
    plain = tag.strip('"').lower()
    return plain if len(plain) == 32 and set(plain) <= set("0123456789abcdef") else None


def said(body: bytes) -> Tuple[str, str]:
    """(code, message) of an error's document; '' where it has none."""
    try:
        root = ElementTree.fromstring(body) if b"<!" not in body else None  # noqa: S314
    except ElementTree.ParseError:
        root = None
    return ("", "") if root is None else (_text(root, "Code")[:100], _text(root, "Message")[:300])
