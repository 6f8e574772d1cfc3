"""The second home of a run's results, read from home: how a job ended whose machine is gone."""

import json
from collections.abc import Mapping

from choline_tui.kernel.errors import UsageError
from choline_tui.kernel.protocol import ENDED, JobStatus
from choline_tui.kernel.s3 import Bucket, record_key, said
from choline_tui.kernel.source import parse
from choline_tui.kernel.text import plain
from choline_tui.kernel.web import Web, WebTrouble

__all__ = ["end_of"]

MAX_RECORD = 1 << 20


def end_of(
    url: str, endpoint: str, region: str, run: str, job: str, secrets: Mapping[str, str]
) -> JobStatus | None:
    """What the machine left there when all results had arrived; None: it never did. Blocking. Raises
    ``WebTrouble`` when the bucket does not answer, ``UsageError`` when it refuses."""
    try:
        source = parse(url)
        bucket = Bucket(source.bucket, endpoint, region, dict(secrets))
    except ValueError as error:
        raise UsageError(str(error)) from None
    web = Web()
    try:
        for _ in range(2):
            target = bucket.url(record_key(source.prefix, run, job))
            answer = web.ask("GET", target, bucket.headers(target))
            body = answer.text(MAX_RECORD)
            if answer.status == 404:
                return None
            if answer.status == 200:
                return _read(body, job)
            code, words = said(body)
            text = plain(" ".join(filter(None, (f"HTTP {answer.status}", code, words))))[:300]
            if answer.status >= 500 or answer.status == 429:
                raise WebTrouble(text)
            elsewhere = answer.headers.get("x-amz-bucket-region", "")[:40]
            if not elsewhere or elsewhere == bucket.region:
                raise UsageError(text)
            bucket.region = elsewhere
        raise UsageError(text)
    finally:
        web.close()


def _read(body: bytes, job: str) -> JobStatus | None:
    """A record that makes no sense is none."""
    try:
        status = JobStatus.from_wire(json.loads(body.decode("utf-8")))
    except (ValueError, RecursionError):
        return None
    return status if status.id == job and status.state == ENDED else None
