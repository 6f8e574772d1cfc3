"""Data by its content: what a thing to send consists of, and the key that only the same things share.

Times and owners are not part of it, nor write permissions: a copy on another machine has the same key.
"""

import hashlib
from typing import Iterable, NamedTuple

__all__ = ["DIGITS", "Content", "is_key", "key_of"]

DIGITS = 40
"""of a key: 160 bits of a SHA-256"""
_HEX = frozenset("0123456789abcdef")


class Content(NamedTuple):
    """One name below what is sent. ``kind``: f file, d directory, l symbolic link."""

    path: bytes
    kind: str
    size: int = 0
    digest: str = ""
    """sha256 in hex: of a file's bytes, of a link's target"""
    runs: bool = False
    """its owner may execute it"""


def key_of(entries: Iterable[Content]) -> str:
    """The same for the same names, kinds and bytes, in whatever order they come; 40 hex digits."""
    total = hashlib.sha256(b"choline data 1\n")
    for e in sorted(entries):
        total.update(("%s%d %d %s " % (e.kind, e.runs, e.size, e.digest)).encode("ascii"))
        total.update(e.path + b"\0")
    return total.hexdigest()[:DIGITS]


def is_key(text: object) -> bool:
    return isinstance(text, str) and len(text) == DIGITS and set(text) <= _HEX
