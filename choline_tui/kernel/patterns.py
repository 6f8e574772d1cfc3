"""Names that are left out, as rsync understands patterns: home and remote must agree on them."""

import re
from typing import Callable, Iterable, Pattern, Sequence

__all__ = ["excluder"]


def excluder(patterns: Sequence[str]) -> Callable[[bytes], bool]:
    """Whether a relative path is left out: a pattern without ``/`` means any name at any depth, one with a
    ``/`` a path from the top; ``*`` stops at ``/`` and ``**`` does not."""
    compiled = [(("/" in p.strip("/")) or p.startswith("/"), _glob(p.strip("/"))) for p in patterns]

    if not compiled:
        return lambda path: False

    def excluded(path: bytes) -> bool:
        parts = path.split(b"/")
        for end in range(1, len(parts) + 1):
            for anchored, pattern in compiled:
                subject = b"/".join(parts[:end]) if anchored else parts[end - 1]
                if pattern.fullmatch(subject):
                    return True
        return False

    return excluded


def _glob(pattern: str) -> "Pattern[bytes]":
    def translated(pieces: Iterable[str]) -> Iterable[bytes]:
        for piece in pieces:
            if piece == "**":
                yield b".*"
            elif piece == "*":
                yield b"[^/]*"
            elif piece == "?":
                yield b"[^/]"
            else:
                yield re.escape(piece.encode("utf-8", "surrogateescape"))

    return re.compile(b"".join(translated(re.findall(r"\*\*|\*|\?|[^*?]+", pattern))), re.DOTALL)
