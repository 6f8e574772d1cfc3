"""Secrets taken out of a stream of bytes, over the borders of its pieces.

A secret is replaced by as many stars as it has bytes: a log keeps its length, so that places in it stay
what they were. Beside a value as it is, these forms of it are masked: in a URL, as base64 (both alphabets,
wherever in a longer text it begins), as JSON text, and, of one with several lines, its longer lines.
"""

import base64
import json
from typing import Dict, Iterable, List, Set, Tuple
from urllib.parse import quote, quote_plus

__all__ = ["Masker", "forms"]

LEAST = 5
"""bytes: hiding every "1" hides nothing and makes a log unreadable"""
LEAST_LINE = 16
"""bytes of one line of a secret that has several"""
STAR = b"*"


def forms(text: str) -> Set[bytes]:
    """Everything that is masked for one secret; empty when it is too short."""
    plain = text.encode("utf-8", "surrogateescape")
    if len(plain) < LEAST:
        return set()
    found = {plain, json.dumps(text)[1:-1].encode(), json.dumps(text, ensure_ascii=False)[1:-1].encode(
        "utf-8", "surrogateescape")}  # fmt: skip
    for safe in ("", "/"):
        found.add(quote(plain, safe=safe).encode())
        found.add(quote_plus(plain, safe=safe).encode())
    found.update(line.strip() for line in plain.splitlines() if len(line.strip()) >= LEAST_LINE)
    found.update(_base64(plain))
    return {form for form in found if len(form) >= LEAST}


def _base64(plain: bytes) -> List[bytes]:
    """As it stands in base64 of a longer text, one for each place modulo 3 where it can begin: the characters
    that hold bits of what is before and after it are left out."""
    found = []
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + plain)
        begin = (0, 2, 3)[before]
        end = len(whole) - (0, 3, 2)[(before + len(plain)) % 3]
        form = whole[begin:end]
        if len(form) >= LEAST + 3:
            found += [form, form.replace(b"+", b"-").replace(b"/", b"_")]
    return found


class Masker:
    """``feed`` gives back what is settled; ``flush`` the rest, at the stream's end.

    What may be the beginning of a secret is held until more is there: at most as much as the longest form.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        every: Set[bytes] = set()
        for text in secrets:
            every |= forms(text)
        self._forms = sorted(every, key=len, reverse=True)
        self._by_first: Dict[int, List[bytes]] = {}
        for form in self._forms:
            self._by_first.setdefault(form[0], []).append(form)
        self._longest = len(self._forms[0]) if self._forms else 0
        self._held = b""
        self._dark = 0  # bytes of what is held that are part of a secret which began before it

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._forms)

    def feed(self, data: bytes) -> bytes:
        if not self._forms:
            return data
        data = self._held + data
        spans = self._spans(data)
        keep = self._beginning(data)
        shown = _starred(data[:keep], spans)
        self._held = data[keep:]
        # a secret that lies in what is held alone is found once more, with what comes
        known = [(0, self._dark), *((begin, end) for begin, end in spans if begin < keep)]
        self._dark = max(0, max(end for _, end in known) - keep)
        return shown

    def flush(self) -> bytes:
        """The rest, masked; and ready for another stream."""
        shown = _starred(self._held, self._spans(self._held))
        self._held, self._dark = b"", 0
        return shown

    def settled(self) -> bytes:
        """Of what is held the beginning that belongs to a secret already told, as stars; the rest, which may
        be half a secret, is forgotten. For a stream that breaks off and is read on from there."""
        shown = STAR * self._dark
        self._held, self._dark = b"", 0
        return shown

    def _spans(self, data: bytes) -> List[Tuple[int, int]]:
        found = [(0, self._dark)] if self._dark else []
        for form in self._forms:
            at = data.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = data.find(form, at + 1)
        return found

    def _beginning(self, data: bytes) -> int:
        """Where the longest end of ``data`` begins that a secret may begin with."""
        for at in range(max(0, len(data) - self._longest + 1), len(data)):
            candidates = self._by_first.get(data[at])
            if candidates:
                end = data[at:]
                if any(len(form) > len(end) and form.startswith(end) for form in candidates):
                    return at
        return len(data)


def _starred(data: bytes, spans: List[Tuple[int, int]]) -> bytes:
    if not spans:
        return data
    shown = bytearray(data)
    for begin, end in spans:
        end = min(end, len(shown))
        for at in range(begin, end):
            if shown[at] not in b"\r\n":
                shown[at] = 42
    return bytes(shown)
