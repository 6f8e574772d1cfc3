"""What a source holds: names, sizes, tags. The remote that fetches it asks, and home before renting."""

import hashlib
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Callable, Dict, List, Mapping, Optional

from choline_tui.kernel.content import DIGITS
from choline_tui.kernel.errors import NotFound, RemoteError, UsageError
from choline_tui.kernel.s3 import Bucket, Page, read_page, said
from choline_tui.kernel.source import Source, parse, shown
from choline_tui.kernel.text import plain
from choline_tui.kernel.web import Answer, Web, WebTrouble

__all__ = ["Holding", "Thing", "Wanted", "headers_of", "look", "refused"]

MAX_THINGS = 1_000_000
_PAGE = 16 << 20
TRIES = 4


@dataclass(frozen=True)
class Wanted:
    """One source to fetch. ``env``: variables by which it may be reached; values may be secret."""

    source: Source
    endpoint: str = ""
    region: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    bearer: str = field(default="", repr=False)
    """token for ``Authorization``"""

    @classmethod
    def from_wire(cls, data: Mapping[str, object]) -> "Wanted":
        """Raises ``ValueError``."""
        env = data.get("env")
        values = {str(k): str(v) for k, v in env.items()} if isinstance(env, dict) else {}
        source = parse(str(data.get("url", "")))
        named = [str(n) for n in data["bearer"]] if isinstance(data.get("bearer"), list) else []  # type: ignore[attr-defined]
        bearer = next((values[name] for name in named if values.get(name)), "")
        return cls(source, str(data.get("endpoint", "")), str(data.get("region", "")), values, bearer)

    def bucket(self) -> Bucket:
        return Bucket(self.source.bucket, self.endpoint, self.region, self.env)


@dataclass
class Thing:
    """One file. ``size`` None: not told. ``tag``: a strong entity tag, or ''."""

    name: str
    url: str
    size: Optional[int] = None
    tag: str = ""
    when: str = ""
    """Last-Modified"""


@dataclass
class Holding:
    things: List[Thing]
    folders: List[str] = field(default_factory=list)
    bucket: Optional[Bucket] = None

    @property
    def size(self) -> Optional[int]:
        """Bytes in all; None when a part is not known."""
        sizes = [thing.size for thing in self.things]
        return None if None in sizes else sum(s for s in sizes if s is not None)

    def key(self, source: Source) -> str:
        """As ``content.key_of``: what has the same address, sizes and tags is the same. '' when nothing tells
        one state of it from another."""
        if source.sha256:
            return hashlib.sha256(("sha256 %s %s" % (source.sha256, source.name)).encode()).hexdigest()[
                :DIGITS
            ]
        if any(not thing.tag and not thing.when for thing in self.things):
            return ""
        where = self.bucket.url() if self.bucket is not None else ""
        total = hashlib.sha256(("%s %s\n" % (source.url, where)).encode("utf-8", "surrogateescape"))
        for thing in sorted(self.things, key=lambda t: t.name):
            text = "%s\0%s\0%s\0%s\n" % (thing.name, thing.size, thing.tag, thing.when)
            total.update(text.encode("utf-8", "surrogateescape"))
        for folder in sorted(self.folders):
            total.update(folder.encode("utf-8", "surrogateescape") + b"/\n")
        return total.hexdigest()[:DIGITS]


def headers_of(wanted: Wanted, bucket: Optional[Bucket], url: str) -> Dict[str, str]:
    if bucket is not None:
        return bucket.headers(url)
    return {"Authorization": "Bearer " + wanted.bearer} if wanted.bearer else {}


def refused(url: str, answer: Answer, body: bytes) -> Exception:
    """The error for an answer that is not the file: it says what to mend, or may be tried again."""
    code, message = said(body)
    words = plain((message or code).encode()).strip()[:200]
    tail = ": " + words if words else ""
    if answer.status in (404, 410):
        return NotFound("there is no %s%s" % (shown(url), tail), hint="Correct its address in send.")
    if answer.status in (401, 403):
        return UsageError(
            "%s refuses (%d)%s" % (shown(url), answer.status, tail),
            hint='Name what it wants: {path = "...", credentials = ["AWS_ACCESS_KEY_ID", ...]} in send.',
        )
    if answer.status in (408, 425, 429) or answer.status >= 500:
        return WebTrouble("%s answers %d%s" % (shown(url), answer.status, tail))
    return UsageError("%s answers %d%s" % (shown(url), answer.status, tail))


def look(
    wanted: Wanted, web: Web, sleep: Callable[[float], None] = time.sleep, tries: int = TRIES
) -> Holding:
    """Ask what is there. Raises ``NotFound`` and ``UsageError`` for what no machine could mend,
    ``WebTrouble`` after ``tries`` failures."""
    for attempt in range(1, tries + 1):
        try:
            return _bucket(wanted, web) if wanted.source.scheme == "s3" else _page(wanted, web)
        except WebTrouble:
            web.close()
            if attempt == tries:
                raise
            sleep(min(20.0, 1.5**attempt))
    raise RemoteError("not tried")


def _page(wanted: Wanted, web: Web) -> Holding:
    url = wanted.source.url
    answer = web.ask("HEAD", url, headers_of(wanted, None, url))
    if answer.status in (403, 405, 501) or (answer.status == 200 and answer.length is None):
        # some servers, and signed addresses, know GET only; the body is not read
        web.close()
        answer = web.ask("GET", url, {**headers_of(wanted, None, url), "Range": "bytes=0-0"})
        web.close()
    if answer.status not in (200, 206):
        raise refused(url, answer, b"")
    size = answer.length
    if answer.status == 206:
        whole = answer.headers.get("content-range", "").rpartition("/")[2]
        size = int(whole) if whole.isascii() and whole.isdigit() and len(whole) < 19 else None
    when = answer.headers.get("last-modified", "")[:100]
    return Holding([Thing(wanted.source.name, url, size, answer.tag, when)])


def _bucket(wanted: Wanted, web: Web) -> Holding:
    try:
        bucket = wanted.bucket()
    except ValueError as e:
        raise UsageError(str(e)) from None
    prefix = wanted.source.prefix
    things = []  # type: List[Thing]
    folders = []  # type: List[str]
    more = ""
    while True:
        page = _list(bucket, web, prefix, more, wanted.source.url)
        for key, size, tag in page.keys:
            name = key[len(prefix) :] if prefix.endswith("/") or not prefix else key[len(prefix) + 1 :]
            if key == prefix and not prefix.endswith("/"):
                name = wanted.source.name
            elif prefix and not prefix.endswith("/") and key[len(prefix)] != "/":
                continue  # s3://bucket/set is no part of s3://bucket/settings
            if not name:
                continue
            if name.endswith("/") and size == 0:
                folders.append(_sound(name[:-1]))
                continue
            things.append(Thing(_sound(name), bucket.url(key), size, tag))
        if len(things) > MAX_THINGS:
            raise UsageError(
                "there are more than %d objects below %s" % (MAX_THINGS, wanted.source.url),
                hint="Pack them into fewer.",
            )
        more = page.more
        if not more:
            break
    if not things and not folders:
        raise NotFound(
            "there is nothing at %s" % wanted.source.url[:300], hint="Correct its address in send."
        )
    _no_clash(things, folders)
    return Holding(things, folders, bucket)


def _list(bucket: Bucket, web: Web, prefix: str, more: str, shown_as: str) -> Page:
    for again in (True, False):
        url = bucket.list_url(prefix, more)
        answer = web.ask("GET", url, bucket.headers(url))
        body = answer.text(_PAGE)
        if answer.status == 200:
            try:
                return read_page(body)
            except ValueError as e:
                raise UsageError("%s: the answer is not of S3: %s" % (shown_as[:300], e)) from None
        if not again or not _corrected(bucket, answer, body):
            break
        web.close()
    raise refused(shown_as, answer, body)


def _corrected(bucket: Bucket, answer: Answer, body: bytes) -> bool:
    """Whether the server told what to do otherwise: another region, or another time."""
    region = answer.headers.get("x-amz-bucket-region", "")
    if region and region != bucket.region and len(region) < 50 and region.replace("-", "").isalnum():
        bucket.region = region
        return True
    if said(body)[0] == "RequestTimeTooSkewed":
        try:
            bucket.skew = parsedate_to_datetime(answer.headers.get("date", "")).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return False
        return True
    return False


def _sound(name: str) -> str:
    """A name that can be a file's below a directory. Raises ``UsageError``."""
    parts = name.split("/")
    if "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise UsageError(
            "an object's name cannot be a file's: %s" % plain(name.encode("utf-8", "replace"))[:200],
            hint="Fetch what is below another prefix, or copy it to a name without empty parts and dots.",
        )
    return name


def _no_clash(things: List[Thing], folders: List[str]) -> None:
    """S3 has objects ``a`` and ``a/b`` side by side; a disk has not."""
    names = {thing.name for thing in things}
    for name in [*names, *folders]:
        while "/" in name:
            name = name.rpartition("/")[0]
            if name in names:
                raise UsageError(
                    "%s is an object, and there are others below it: no disk can hold both" % name[:200]
                )
