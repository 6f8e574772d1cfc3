"""Bytes of one source become lines; what is not finished yet stays bounded."""

import codecs

from choline_tui.kernel.text import MAX_LINE
from choline_tui.widgets.sgr import PLAIN, Look, clean

__all__ = ["LogStream"]

_ROOM = 8 * MAX_LINE
"""characters kept of a line that is not finished: sequences are longer than what they leave"""


class LogStream:
    """``partial``: the stored form of the line being written (a prompt, a progress bar); "" when none is."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._raw = ""
        self._look: Look = PLAIN

    def feed(self, data: bytes) -> list[str]:
        """The stored forms of the lines that ended in ``data``."""
        *ended, rest = self._decoder.decode(data).split("\n")
        lines: list[str] = []
        for raw in ended:
            lines.append(self._finish(self._bounded(self._raw + raw) if self._raw else raw))
            self._raw = ""
        self._raw = self._bounded(self._raw + rest)
        return lines

    def finish(self) -> list[str]:
        """What is left when the source has ended: no line or one."""
        raw = self._bounded(self._raw + self._decoder.decode(b"", True))
        self._raw = ""
        return [self._finish(raw)] if raw else []

    @property
    def partial(self) -> str:
        return clean(self._raw, self._look)[0] if self._raw else ""

    def _finish(self, raw: str) -> str:
        # "\r\n" ends a line on some systems; alone it would start the line again with nothing
        line, self._look = clean(raw.removesuffix("\r"), self._look)
        return line

    @staticmethod
    def _bounded(raw: str) -> str:
        if len(raw) <= _ROOM:
            return raw
        states = raw.split("\r")
        if len(states) == 1:
            return raw[:_ROOM]
        # only the last state that says something, and the one being written, can still be seen
        kept = next((state for state in reversed(states[:-1]) if state), "")
        return f"{kept[:_ROOM]}\r{states[-1][:_ROOM]}"
