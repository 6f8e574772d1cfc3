"""The list of a run's result files, as a remote tells it and home checks it.

One JSON object a line: ``{"p": path, "n": size, "m": mtime_ns, "h": sha256 or ""}``; the path is
relative to the run's folder and starts with ``results/`` or ``keep/``. Its bytes are carried by
surrogate escapes, so that any name a file can have survives. The last line is ``{"end": count}`` with
``"cut": true`` when the list was cut at its bound, and ``"unread"`` (a number) and ``"first"`` (a path)
when there are folders that could not be looked into: they may hold results, so the list is not all.
"""

import json
from typing import Dict, Iterable, NamedTuple, Tuple

from choline_tui.kernel.text import plain

__all__ = [
    "MAX_BYTES",
    "MAX_FILES",
    "MAX_LINE",
    "PARTIAL",
    "PARTS",
    "Entry",
    "Reader",
    "encode",
    "encode_end",
    "read",
    "safe_path",
]

MAX_FILES = 1_000_000
MAX_LINE = 32 * 1024
"""A path of 4096 bytes, each written as six, and what goes with it."""
MAX_BYTES = 256 << 20
"""Of one list: 256 bytes a file when there are as many as may be."""
PARTIAL = ".choline-partial"
"""Folder in which interrupted transfers keep their pieces; never part of the results."""
PARTS = ("results", "keep")
_HEX = frozenset("0123456789abcdef")


class Entry(NamedTuple):
    path: bytes
    size: int
    mtime_ns: int
    sha256: str = ""
    """hex, '' when the file could not be read or was not asked for"""


def encode(entry: Entry) -> bytes:
    data = {
        "p": entry.path.decode("utf-8", "surrogateescape"),
        "n": entry.size,
        "m": entry.mtime_ns,
        "h": entry.sha256,
    }
    return json.dumps(data, separators=(",", ":")).encode("ascii") + b"\n"


def encode_end(count: int, cut: bool = False, unread: int = 0, first: bytes = b"") -> bytes:
    data = {"end": count, "cut": cut}  # type: Dict[str, object]
    if unread:
        data.update(unread=unread, first=first[:1000].decode("utf-8", "backslashreplace"))
    return json.dumps(data).encode("ascii") + b"\n"


def safe_path(path: bytes) -> bool:
    """Relative, inside results/ or keep/, with no part that could climb out."""
    parts = path.split(b"/")
    if len(parts) < 2 or len(path) > 4096 or b"\0" in path:
        return False
    return parts[0] in (b"results", b"keep") and not any(part in (b"", b".", b"..") for part in parts)


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 1 << 63:
        raise ValueError("a manifest number is none")
    return value


def _entry(data: Dict[str, object]) -> Entry:
    path, digest = data.get("p"), data.get("h")
    if not isinstance(path, str):
        raise ValueError("a manifest path is not text")
    raw = path.encode("utf-8", "surrogateescape")  # UnicodeEncodeError is a ValueError
    if not safe_path(raw):
        raise ValueError("a manifest path leaves the results")
    size, mtime = _integer(data.get("n")), _integer(data.get("m"))
    if not isinstance(digest, str) or (digest and (len(digest) != 64 or not set(digest) <= _HEX)):
        raise ValueError("a manifest hash is none")
    if size < 0:
        raise ValueError("a manifest size is negative")
    return Entry(raw, size, mtime, digest)


class Reader:
    """Takes a manifest line by line, so that no more is held than what it is worth.

    Every method raises ``ValueError`` for a list that is malformed. ``entries`` by path; ``cut``: the
    remote stopped at ``MAX_FILES``; ``unread``: folders there that could not be looked into, with ``first``
    of them; both hold once ``ended`` is true.
    """

    def __init__(self) -> None:
        self.entries: Dict[bytes, Entry] = {}
        self.ended = False
        self.cut = False
        self.unread = 0
        self.first = ""
        self._bytes = 0

    def take(self, line: bytes) -> None:
        if self.ended:
            raise ValueError("the manifest goes on after its end")
        self._bytes += len(line)
        if len(line) > MAX_LINE or self._bytes > MAX_BYTES:
            raise ValueError("the manifest is too long")
        try:
            data = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as e:
            raise ValueError("a manifest line is not JSON") from e
        if not isinstance(data, dict):
            raise ValueError("a manifest line is not an object")
        if "end" in data:
            if isinstance(data["end"], bool) or data["end"] != len(self.entries):
                raise ValueError("the manifest is not whole")
            self.unread = max(0, _integer(data.get("unread", 0)))
            first = data.get("first", "")
            self.first = plain(first[:4096])[:300] if isinstance(first, str) else ""
            self.cut = data.get("cut") is True
            self.ended = True
            return
        if len(self.entries) >= MAX_FILES:
            raise ValueError("the manifest is too long")
        entry = _entry(data)
        if entry.path in self.entries:
            raise ValueError("the manifest has a file twice")
        self.entries[entry.path] = entry

    def finish(self) -> None:
        """A list without its end: a lost connection must not look like fewer files."""
        if not self.ended:
            raise ValueError("the manifest has no end")


def read(lines: Iterable[bytes]) -> Tuple[Dict[bytes, Entry], bool]:
    """All entries by path, and whether the remote cut the list. Raises ``ValueError``."""
    reader = Reader()
    for line in lines:
        reader.take(line)
        if reader.ended:
            break
    reader.finish()
    return reader.entries, reader.cut
