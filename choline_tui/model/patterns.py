"""Which names are left out: patterns as in ``.gitignore`` (gitignore(5)), on names as bytes.

A pattern without a slash (or with one at its end only) means that name anywhere; one with a slash means
that path from the project's top; a slash at the end: directories only; ``*`` ``?`` ``[...]`` do not
cross a slash, ``**`` does; ``!`` takes back what an earlier pattern left out, though nothing inside a
directory that is left out comes back; ``#`` begins a comment.
"""

import os
import re
from collections.abc import Iterable

__all__ = ["Patterns"]


class Patterns:
    """Patterns in order; the last one that fits decides. Raises ``ValueError`` for none at all that it
    can read (a ``[`` that is never closed means itself, as in git)."""

    def __init__(self, lines: Iterable[str | bytes]) -> None:
        self._rules: list[tuple[re.Pattern[bytes], bool, bool]] = []
        for line in lines:
            rule = _rule(line.encode("utf-8", "surrogateescape") if isinstance(line, str) else line)
            if rule is not None:
                self._rules.append(rule)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def leaves_out(self, path: bytes, directory: bool = False) -> bool:
        """Whether this very path is left out; its parents are not looked at."""
        out = False
        for regex, directories_only, negated in self._rules:
            if out is negated and (directory or not directories_only) and regex.fullmatch(path):
                out = not negated
        return out

    def leaves_out_within(self, path: bytes, known: dict[bytes, bool]) -> bool:
        """Whether a file is left out, by itself or with a directory above it. ``known`` keeps what was
        found about directories between calls."""
        if not self._rules:
            return False
        return self._directory_out(os.path.dirname(path), known) or self.leaves_out(path)

    def _directory_out(self, path: bytes, known: dict[bytes, bool]) -> bool:
        if not path:
            return False
        if path not in known:
            known[path] = self._directory_out(os.path.dirname(path), known) or self.leaves_out(path, True)
        return known[path]


def _rule(line: bytes) -> tuple[re.Pattern[bytes], bool, bool] | None:
    line = line.rstrip(b"\r\n")
    while line.endswith(b" ") and not line.endswith(b"\\ "):
        line = line[:-1]
    if not line or line.startswith(b"#"):
        return None
    negated = line.startswith(b"!")
    if negated:
        line = line[1:]
    directories_only = line.endswith(b"/")
    line = line.rstrip(b"/")
    anchored = b"/" in line
    line = line.lstrip(b"/")
    if not line:
        return None
    prefix = b"" if anchored else b"(?:.*/)?"
    return re.compile(prefix + _regex(line), re.DOTALL), directories_only, negated


_STAR = b"[^/]*"
_DEEP = b"(?:.*/)?"


def _regex(pattern: bytes) -> bytes:
    return _joined(_pieces(pattern))


def _joined(pieces: list[bytes]) -> bytes:
    """The pieces as one expression. Between two stars the first fit is as good as any other, so it is
    made final (an atomic group): many stars do not take for ever."""
    out, i = b"", 0
    while i < len(pieces):
        if pieces[i] is not _STAR:
            out, i = out + pieces[i], i + 1
            continue
        end = next((k for k in range(i + 1, len(pieces)) if pieces[k] in (_STAR, _DEEP)), len(pieces))
        fixed = b"".join(pieces[i + 1 : end])
        if end < len(pieces) and pieces[end] is _STAR:
            out += b"(?>[^/]*?" + fixed + b")"
        else:
            out += _STAR + fixed
        i = end
    return out


def _pieces(pattern: bytes) -> list[bytes]:
    """One expression per piece; stars and ``**/`` are the very objects ``_STAR`` and ``_DEEP``."""
    out: list[bytes] = []
    i, n = 0, len(pattern)
    while i < n:
        start = i == 0 or pattern[i - 1 : i] == b"/"
        if start and pattern.startswith(b"**/", i):
            if not out or out[-1] is not _DEEP:
                out.append(_DEEP)
            i += 3
            continue
        if start and pattern[i:] == b"**":
            out.append(b".+")
            break
        char = pattern[i : i + 1]
        i += 1
        if char == b"*":
            if not out or out[-1] is not _STAR:  # a row of stars is one
                out.append(_STAR)
        elif char == b"?":
            out.append(b"[^/]")
        elif char == b"\\" and i < n:
            out.append(re.escape(pattern[i : i + 1]))
            i += 1
        elif char == b"[":
            closed = pattern.find(b"]", i + (2 if pattern[i : i + 1] in (b"!", b"^") else 1))
            piece = _char_class(pattern[i:closed]) if closed > 0 else None
            out.append(rb"\[" if piece is None else piece)
            i = i if piece is None else closed + 1
        else:
            out.append(re.escape(char))
    return out


def _char_class(inner: bytes) -> bytes | None:
    if not inner:
        return None
    negate = inner[:1] in (b"!", b"^")
    body = inner[1:] if negate else inner
    body = body.replace(b"\\", b"\\\\").replace(b"[", rb"\[").replace(b"]", rb"\]").replace(b"^", rb"\^")
    piece = (b"(?!/)[^" if negate else b"(?!/)[") + body.replace(b"&&", rb"\&\&").replace(b"||", rb"\|\|")
    piece = piece.replace(b"~~", rb"\~\~") + b"]"
    try:
        re.compile(piece)
    except re.error:  # a range the wrong way round
        return None
    return piece
