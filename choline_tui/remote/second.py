"""A second home of a run's results: an S3 bucket that the machine writes by itself.

Objects lie under ``PREFIX/RUN/results/...`` and ``PREFIX/RUN/keep/...``; ``PREFIX/RUN/choline/JOB.json`` says
how the job ended, and is written last. A file is sent when it has come to rest, and again when it changed;
nothing is deleted there. A large file goes in parts (Amazon S3 API Reference, "CreateMultipartUpload"), and
appears when all have arrived; one that broke off is begun anew. Every body is signed with its SHA-256, which
the server checks; size and entity tag are compared at the end.
"""

import hashlib
import os
import time
from email.utils import parsedate_to_datetime
from typing import Callable, Dict, Iterator, List, Mapping, Sequence, Tuple
from xml.sax.saxutils import escape

from choline_tui.kernel.errors import UsageError
from choline_tui.kernel.patterns import excluder
from choline_tui.kernel.protocol import Also
from choline_tui.kernel.s3 import Bucket, home_of, md5_of, read_page, record_key, said, upload_id
from choline_tui.kernel.source import parse
from choline_tui.kernel.text import plain
from choline_tui.kernel.unfinished import is_temporary
from choline_tui.kernel.web import Answer, Web, WebTrouble
from choline_tui.remote.listing import tree

__all__ = ["PART", "GivenUp", "SecondHome"]

PART = 16 << 20
"""bytes; an object that is no larger goes in one piece"""
MOST_PARTS = 9000
"""of one object: S3 takes 10,000"""
TRIES = 6
_PARTS = ("results", "keep")


class GivenUp(Exception):
    """Somebody wants the end more than the copy."""


class _Changed(Exception):
    """The file is not what it was when it was listed."""


class SecondHome:
    """``root``: the run's folder. ``wanted``: whether to go on is asked between requests. ``sent`` and
    ``size``: files and bytes that lie there, as far as was told."""

    def __init__(
        self,
        also: Also,
        run: str,
        job: str,
        root: str,
        secrets: Mapping[str, str],
        *,
        exclude: Sequence[str] = (),
        wanted: Callable[[], bool] = lambda: True,
        sleep: Callable[[float], None] = time.sleep,
        part: int = PART,
    ) -> None:
        source = parse(also.url)
        self.bucket = Bucket(source.bucket, also.endpoint, also.region, dict(secrets))
        self._prefix = home_of(source.prefix, run)
        self._record = record_key(source.prefix, run, job)
        self._root = os.fsencode(root)
        self._excluded = excluder(exclude)
        self._wanted = wanted
        self._sleep = sleep
        self._part = part
        self._web = Web()
        self._there: Dict[bytes, Tuple[int, int, str]] = {}

    @property
    def sent(self) -> int:
        return len(self._there)

    @property
    def size(self) -> int:
        return sum(size for size, _, _ in self._there.values())

    def close(self) -> None:
        self._web.close()

    def bring(self, settle_s: float, wall: float) -> None:
        """Send what is new; ``settle_s`` 0: whatever its age and name. Raises ``UsageError`` when the bucket
        does not take it, ``WebTrouble`` when it does not answer, ``GivenUp``, ``OSError``."""
        for path, info in self._files():
            if settle_s > 0 and (is_temporary(path) or wall - info.st_mtime < settle_s):
                continue
            known = self._there.get(path)
            if known is not None and known[:2] == (info.st_size, info.st_mtime_ns):
                continue
            for last in (False, True):
                try:
                    tag = self._send(path, info.st_size, info.st_mtime_ns)
                    self._there[path] = (info.st_size, info.st_mtime_ns, tag)
                    break
                except FileNotFoundError:
                    break
                except _Changed:
                    if settle_s > 0 or last:
                        break  # it is looked at again when it has come to rest
                    info = os.lstat(os.path.join(self._root, path))

    def differing(self) -> List[bytes]:
        """Files here that the bucket does not hold the same, by its own list. Raises as ``bring``."""
        listed: Dict[str, Tuple[int, str]] = {}
        more = ""
        while True:
            answer = self._ask("GET", self.bucket.list_url(self._prefix, more))
            page = read_page(answer.text(16 << 20))
            listed.update((key.key, (key.size, key.tag.strip('"'))) for key in page.keys)
            more = page.more
            if not more:
                break
        wrong = []
        for path, info in self._files():
            size, mtime, tag = self._there.get(path, (-1, 0, ""))
            same = (size, mtime) == (info.st_size, info.st_mtime_ns)
            same = same and listed.get(self._key(path)) == (size, tag)
            if not same:
                wrong.append(path)
        return sorted(wrong)

    def conclude(self, record: bytes, logs: Mapping[str, str]) -> None:
        """The job's logs (paths by name), and last what says that all is there. Raises as ``bring``."""
        for name, path in logs.items():
            try:
                info = os.stat(path)
                key = "%s.%s" % (self._record[: -len(".json")], name)
                self._send_to(self.bucket.url(key), os.fsencode(path), info.st_size, info.st_mtime_ns)
            except (FileNotFoundError, _Changed):
                continue
        self._ask("PUT", self.bucket.url(self._record), record)

    def _files(self) -> Iterator[Tuple[bytes, os.stat_result]]:
        for part in _PARTS:
            top = os.path.join(self._root, os.fsencode(part))
            for path, info in tree(os.fsdecode(top)):
                if not self._excluded(path[len(top) + 1 :]):
                    yield path[len(self._root) + 1 :], info

    def _key(self, path: bytes) -> str:
        return self._prefix + path.decode("utf-8", "surrogateescape")

    # one file

    def _send(self, path: bytes, size: int, mtime_ns: int) -> str:
        """Its entity tag there."""
        return self._send_to(self.bucket.url(self._key(path)), os.path.join(self._root, path), size, mtime_ns)

    def _send_to(self, url: str, path: bytes, size: int, mtime_ns: int) -> str:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb", buffering=0) as file:

            def unchanged() -> None:
                info = os.fstat(file.fileno())
                if (info.st_size, info.st_mtime_ns) != (size, mtime_ns):
                    raise _Changed

            if size > self._part:
                return self._in_parts(file.fileno(), url, size, unchanged)
            data = _read(file.fileno(), 0, size)
            unchanged()
            answer = self._ask("PUT", url, data)
            return _tag(answer, _md5(data))

    def _in_parts(self, fd: int, url: str, size: int, unchanged: Callable[[], None]) -> str:
        begun = upload_id(self._ask("POST", url + "?uploads=").text())
        step = max(self._part, -(-size // MOST_PARTS))
        tags, digests = [], b""
        try:
            for n, start in enumerate(range(0, size, step), 1):
                data = _read(fd, start, min(step, size - start))
                unchanged()
                target = "%s?%s" % (url, self.bucket.query(partNumber=str(n), uploadId=begun))
                answer = self._ask("PUT", target, data)
                digest = _md5(data)
                tags.append(_tag(answer, digest))
                digests += bytes.fromhex(digest)
            done = "".join(
                "<Part><PartNumber>%d</PartNumber><ETag>&quot;%s&quot;</ETag></Part>" % (n, escape(tag))
                for n, tag in enumerate(tags, 1)
            )
            body = "<CompleteMultipartUpload>%s</CompleteMultipartUpload>" % done
            target = "%s?%s" % (url, self.bucket.query(uploadId=begun))
            text = self._ask("POST", target, body.encode()).text()
            code, words = said(text)  # it may fail after it has begun to answer with 200
            if code:
                raise WebTrouble("%s: %s" % (code, words))
        except BaseException:
            self._abort(url, begun)
            raise
        # HEAD tells the tag of the whole
        answer = self._ask("HEAD", url)
        if answer.length not in (None, size):
            raise WebTrouble("it has another size there")
        whole = "%s-%d" % (_md5(digests), len(tags)) if digests else ""
        return _tag(answer, whole)

    def _abort(self, url: str, begun: str) -> None:
        target = "%s?%s" % (url, self.bucket.query(uploadId=begun))
        try:
            self._web.ask("DELETE", target, self.bucket.headers(target, "DELETE")).text()
        except (WebTrouble, UsageError):
            pass  # what was sent of it is removed by the bucket's own rules

    # one request

    def _ask(self, method: str, url: str, body: bytes = b"") -> Answer:
        """An answer that is a success. Tries again what may get better."""
        failed = 0
        while True:
            if not self._wanted():
                raise GivenUp
            try:
                return self._once(method, url, body)
            except WebTrouble:
                self._web.close()
                failed += 1
                if failed >= TRIES:
                    raise
                self._sleep(min(30.0, 2.0**failed))

    def _once(self, method: str, url: str, body: bytes) -> Answer:
        answer = self._web.ask(method, url, self.bucket.headers(url, method, body), body)
        if 200 <= answer.status < 300:
            if method in ("PUT", "HEAD"):
                answer.text()
            return answer
        code, words = said(answer.text(1 << 16))
        region = answer.headers.get("x-amz-bucket-region", "")[:40]
        if region and region != self.bucket.region:
            self.bucket.region = region
            raise WebTrouble("the bucket is in %s" % plain(region))
        if code == "RequestTimeTooSkewed" and not self.bucket.skew:
            self.bucket.skew = _ahead(answer.headers.get("date", ""))
            raise WebTrouble("its clock shows another time")
        text = plain(" ".join(filter(None, ("HTTP %d" % answer.status, code, words))))[:300]
        if answer.status >= 500 or answer.status in (408, 429) or code in ("RequestTimeout", "SlowDown"):
            raise WebTrouble(text)
        raise UsageError(text)


def _read(fd: int, start: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.pread(fd, size - len(data), start + len(data))
        if not piece:
            raise _Changed
        data += piece
    return data


def _md5(data: bytes) -> str:
    """'' where it is not to be had (FIPS)."""
    try:
        return hashlib.md5(data).hexdigest()  # noqa: S324 - what S3 has
    except ValueError:
        return ""


def _tag(answer: Answer, wanted: str) -> str:
    """The entity tag, which is ``wanted`` unless the bucket encrypts with keys of its own."""
    tag = answer.headers.get("etag", "").strip('"')[:300]
    encrypted = "kms" in answer.headers.get("x-amz-server-side-encryption", "")
    comparable = md5_of(tag) is not None or "-" in tag
    if wanted and comparable and not encrypted and tag.lower() != wanted:
        raise WebTrouble("what arrived there is not what was sent")
    return tag


def _ahead(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (TypeError, ValueError, IndexError):
        return 0.0
