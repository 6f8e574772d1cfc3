"""Foreign text made inert: it cannot move a cursor, forge a screen, reorder or hide what is written.

What comes out holds printable characters, ``\\n`` and ``\\t`` only. Escape sequences are taken out;
other control characters are shown as their pictures (U+2400 block); characters that reorder text or
take no room (bidirectional controls, zero-width ones, variation selectors, tags) are taken out; more
than four marks stacked on one character are cut. A carriage return starts the line again, so that a
progress bar's last state is what remains.
"""

import codecs
import re
import unicodedata
from typing import List, Union

__all__ = ["CUT", "MAX_LINE", "PlainLines", "plain"]

MAX_LINE = 4096
"""Characters of a line kept by ``PlainLines``, unless told otherwise."""
CUT = "\u2026"
"""Ends a line that was cut."""

# Strings (OSC, DCS, SOS, PM, APC) end at a line's end at the latest: a missing terminator must not
# swallow the rest of a log.
_STRING = r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
_CSI = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
_ESC = r"\x1b[ -/]*[0-~]?"
_SEQUENCE = re.compile("%s|%s|%s" % (_STRING, _CSI, _ESC))

_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001345f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_HIDDEN = re.compile("[%s]" % _INVISIBLE)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
MAX_MARKS = 4
_MAY_BE_MARKS = re.compile("[\u0300-\U000effff]{%d,}" % (MAX_MARKS + 1))
_SUSPECT = re.compile(r"[^\n\t\x20-\x7e]")


def _picture(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return " " if code in (0x85, 0x2028, 0x2029) else "\ufffd"


# by a table: a log of nothing but NULs must not cost a call each
_CODES = (
    *(0, 1, 2, 3, 4, 5, 6, 7, 8),
    *range(0x0B, 0x20),
    *range(0x7F, 0xA0),
    *(0x2028, 0x2029, 0xFFFE, 0xFFFF),
    *range(0xD800, 0xE000),
    *range(0xFDD0, 0xFDF0),
)
_PICTURES = {code: _picture(code) for code in _CODES}


def _unstacked(match: "re.Match[str]") -> str:
    """Without the marks beyond the fourth on one character: those of any script, and the Korean vowels
    and finals that take no room of their own."""
    out: List[str] = []
    marks = 0
    for char in match.group():
        mark = (
            unicodedata.category(char)[0] == "M"
            or "\u1160" <= char <= "\u11ff"
            or "\ud7b0" <= char <= "\ud7ff"
        )
        marks = marks + 1 if mark else 0
        if marks <= MAX_MARKS:
            out.append(char)
    return "".join(out)


def _erase(line: str) -> str:
    """Backspaces take back what was written before them (Keras draws its bars so)."""
    out: List[str] = []
    for char in line:
        if char != "\b":
            out.append(char)
        elif out:
            out.pop()
    return "".join(out)


def _line(raw: str) -> str:
    """One line without its newline."""
    if not _SUSPECT.search(raw):
        return raw
    text = _SEQUENCE.sub("", raw)
    if "\r" in text:
        states = [state for state in text.split("\r") if state]
        text = states[-1] if states else ""
    if "\b" in text:
        text = _erase(text)
    text = _HIDDEN.sub("", text)
    if _CONTROL.search(text):
        text = text.translate(_PICTURES)
    return _MAY_BE_MARKS.sub(_unstacked, text)


def plain(data: Union[bytes, str]) -> str:
    """All of ``data`` as inert text; bytes are UTF-8, what is not becomes U+FFFD."""
    text = data.decode("utf-8", "replace") if isinstance(data, (bytes, bytearray)) else data
    if not _SUSPECT.search(text):
        return text
    return "\n".join(_line(line) for line in text.split("\n"))


class PlainLines:
    """The same for a stream: bytes in, finished lines out, memory bounded whatever comes.

    ``partial`` is the last state of the line that is not finished yet (a prompt, a progress bar).
    """

    def __init__(self, max_line: int = MAX_LINE) -> None:
        if max_line < 1:
            raise ValueError("max_line must be positive")
        self._max = max_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._raw = ""
        self._dropped = False

    def feed(self, data: bytes) -> List[str]:
        """Lines that ended in ``data``, without their newlines."""
        return self._take(self._decoder.decode(data))

    def finish(self) -> List[str]:
        """What is left when the stream has ended: no line or one."""
        lines = self._take(self._decoder.decode(b"", True))
        if self._raw:
            lines.append(self._finish_line())
        return lines

    @property
    def partial(self) -> str:
        return self._show(self._raw, self._dropped)

    def _take(self, text: str) -> List[str]:
        if not text:
            return []
        first, *rest = text.split("\n")
        lines: List[str] = []
        self._append(first)
        for piece in rest:
            lines.append(self._finish_line())
            self._append(piece)
        return lines

    def _append(self, piece: str) -> None:
        room = 8 * self._max  # sequences are longer than what they leave
        if len(self._raw) + len(piece) <= room and not self._dropped:
            self._raw += piece
            return
        states = (self._raw + piece).split("\r")
        if len(states) > 1:
            # only the last state that says something, and the one being written, can still be seen
            kept = next((s for s in reversed(states[:-1]) if s), "")
            self._dropped = len(kept) > room or len(states[-1]) > room
            self._raw = kept[:room] + "\r" + states[-1][:room]
            return
        self._dropped = self._dropped or len(states[0]) > room
        self._raw = states[0][:room]

    def _finish_line(self) -> str:
        line = self._show(self._raw, self._dropped)
        self._raw, self._dropped = "", False
        return line

    def _show(self, raw: str, dropped: bool) -> str:
        line = _line(raw)
        if len(line) > self._max or dropped:
            return line[: self._max] + CUT
        return line
