"""The list of a run's result files, as a remote tells it and home checks it.

One JSON object a line: ``{"p": path, "n": size, "m": mtime_ns, "h": sha256 or ""}``; the path is
relative to the run's folder and starts with ``results/`` or ``keep/``. Its bytes are carried by
surrogate escapes, so that any name a file can have survives. The last line is ``{"end": count}`` with
``"cut": true`` when the list was cut at its bound.
"""

import json
from dataclasses import dataclass
from typing import Dict, Iterable, Tuple

__all__ = ["MAX_FILES", "PARTIAL", "PARTS", "Entry", "encode", "encode_end", "read", "safe_path"]

MAX_FILES = 1_000_000
PARTIAL = ".choline-partial"
"""Folder in which interrupted transfers keep their pieces; never part of the results."""
PARTS = ("results", "keep")
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Entry:
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


def encode_end(count: int, cut: bool = False) -> bytes:
    return json.dumps({"end": count, "cut": cut}).encode("ascii") + b"\n"


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
    raw = path.encode("utf-8", "surrogateescape")
    if not safe_path(raw):
        raise ValueError("a manifest path leaves the results")
    size, mtime = _integer(data.get("n")), _integer(data.get("m"))
    if not isinstance(digest, str) or (digest and (len(digest) != 64 or not set(digest) <= _HEX)):
        raise ValueError("a manifest hash is none")
    if size < 0:
        raise ValueError("a manifest size is negative")
    return Entry(raw, size, mtime, digest)


def read(lines: Iterable[bytes]) -> Tuple[Dict[bytes, Entry], bool]:
    """All entries by path, and whether the remote cut the list. Raises ``ValueError`` for a list that
    is malformed or has no proper end (a lost connection must not look like fewer files)."""
    entries: Dict[bytes, Entry] = {}
    for line in lines:
        try:
            data = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as e:
            raise ValueError("a manifest line is not JSON") from e
        if not isinstance(data, dict):
            raise ValueError("a manifest line is not an object")
        if "end" in data:
            if data["end"] != len(entries):
                raise ValueError("the manifest is not whole")
            return entries, data.get("cut") is True
        if len(entries) >= MAX_FILES:
            raise ValueError("the manifest is too long")
        entry = _entry(data)
        entries[entry.path] = entry
    raise ValueError("the manifest has no end")
