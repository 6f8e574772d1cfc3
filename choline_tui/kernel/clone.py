"""What a machine is told so that it gets the code of a run by a clone, and what it answers.

A clone only saves sending: the machine keeps of it what has the digests that home names, and home sends the
rest as ever. So nothing depends on what the server gives, nor on the clone at all.
"""

import json
import re
import zlib
from dataclasses import dataclass, field
from typing import Any, Dict, Tuple

__all__ = ["MAX_WIRE", "Clone", "CloneFile", "Cloned"]

MAX_WIRE = 7 << 20
"""bytes of a request as it is sent"""
_MAX_TEXT = 256 << 20
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_URL = re.compile(r"https?://[^\s/@?#\\]+/[^\s?#\\]*")
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")


@dataclass(frozen=True)
class CloneFile:
    """A file as it is to lie in the run's src; ``link`` instead of a digest for a symbolic link."""

    path: str
    """relative to the project; bytes that are no UTF-8 as surrogates"""
    size: int = 0
    executable: bool = False
    mtime_ns: int = 0
    digest: str = ""
    """SHA-256, hexadecimal"""
    link: str = ""


@dataclass(frozen=True)
class Clone:
    """``url``: ``https://HOST/PATH`` (``http://`` on loopback) without credentials. ``prefix``: the project's
    directory below the repository's top, with a ``/`` at its end; '' for the top itself."""

    url: str
    commit: str
    prefix: str = ""
    tree: Tuple[CloneFile, ...] = ()
    token: str = field(default="", repr=False)

    def to_wire(self) -> bytes:
        """Packed, as it goes over stdin. ``ValueError`` for more than ``MAX_WIRE``."""
        files = [[f.path, f.size, f.executable, f.mtime_ns, f.digest, f.link] for f in self.tree]
        told: Dict[str, Any] = {"url": self.url, "commit": self.commit, "prefix": self.prefix, "tree": files}
        data = zlib.compress(json.dumps({**told, "token": self.token}).encode("ascii"), 6)
        if len(data) > MAX_WIRE:
            raise ValueError("it has too many files to tell of")
        return data

    @classmethod
    def from_wire(cls, data: bytes) -> "Clone":
        """Raises ``ValueError``, without the token."""
        try:
            unpacker = zlib.decompressobj()
            text = unpacker.decompress(data, _MAX_TEXT)
            told = json.loads(text.decode("ascii"))
            files = tuple(
                CloneFile(str(path), int(size), bool(executable), int(mtime), str(digest), str(link))
                for path, size, executable, mtime, digest, link in told["tree"]
            )
            made = cls(str(told["url"]), str(told["commit"]), str(told["prefix"]), files, str(told["token"]))
        except (zlib.error, ValueError, KeyError, TypeError, RecursionError):
            raise ValueError("not a request for a clone") from None
        if not _URL.fullmatch(made.url) or not _COMMIT.fullmatch(made.commit):
            raise ValueError("it names no address or no commit")
        if made.token and not _TOKEN.fullmatch(made.token):
            raise ValueError("its token is none")
        if made.prefix and (not made.prefix.endswith("/") or not _inside(made.prefix[:-1])):
            raise ValueError("its directory is none of a repository")
        if not all(_inside(f.path) for f in made.tree):
            raise ValueError("it names a file that is not below the project")
        return made


def _inside(path: str) -> bool:
    parts = path.split("/")
    return "\0" not in path and not any(part in ("", ".", "..", ".git") for part in parts)


@dataclass(frozen=True)
class Cloned:
    """What became of it. ``why``: why there is no clone, in words; '' when there is one, or when src had
    something already (``count`` is 0 then)."""

    count: int = 0
    """files that are there now, as home has them"""
    size: int = 0
    """bytes of their content"""
    why: str = ""

    def to_wire(self) -> Dict[str, Any]:
        return {"count": self.count, "size": self.size, "why": self.why}

    @classmethod
    def from_wire(cls, data: Any) -> "Cloned":
        """Raises ``ValueError``."""
        told = data if isinstance(data, dict) else {}
        count, size, why = told.get("count"), told.get("size"), told.get("why")
        for number in (count, size):
            if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 62:
                raise ValueError("it says no numbers")
        if not isinstance(why, str):
            raise ValueError("it gives no words")
        return cls(count, size, why)  # type: ignore[arg-type]
