"""A text area for the project's file: comments stand back, keys stand out, the wrong line is marked."""

import re
from typing import Any

from rich.style import Style
from rich.text import Text
from textual.color import Color, ColorParseError
from textual.widgets import TextArea

from choline_tui.kernel.text import plain

__all__ = ["TomlArea"]

_KEY = re.compile(r"^\s*([A-Za-z0-9_.\"'-]+)\s*(?==)")
_HEAD = re.compile(r"^\s*\[.*\]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
_COMMENT = re.compile(r"""^(?:[^"'#]|"(?:[^"\\]|\\.)*"|'[^']*')*?(#.*)$""")


def inert(line: str) -> str:
    """As many characters, none of which moves the cursor or hides."""
    if plain(line) == line:
        return line
    return "".join(c if plain(c) == c else "\N{REPLACEMENT CHARACTER}" for c in line)


class TomlArea(TextArea):
    """``mark(line)`` marks a line (from 0) that is wrong; None for none."""

    def __init__(self, text: str = "", **how: Any) -> None:
        super().__init__(text, show_line_numbers=True, compact=True, soft_wrap=True, **how)
        self._marked: int | None = None

    def mark(self, line: int | None) -> None:
        if line != self._marked:
            self._marked = line
            self._line_cache.clear()
            self.refresh()

    def get_line(self, line_index: int) -> Text:
        line = inert(self.document.get_line(line_index))
        text = Text(line, end="", no_wrap=True)
        muted, accent, string, bad = self._colours()
        if comment := _COMMENT.match(line):
            text.stylize(muted, comment.start(1))
        end = comment.start(1) if comment else len(line)
        if (head := _HEAD.match(line)) and head.end() <= end:
            text.stylize(accent + Style(bold=True), 0, head.end())
        elif (key := _KEY.match(line)) and key.end() <= end:
            text.stylize(accent, *key.span(1))
            for said in _STRING.finditer(line, key.end(), end):
                text.stylize(string, *said.span())
        if line_index == self._marked:
            text.stylize(bad)
        return text

    def _colours(self) -> tuple[Style, Style, Style, Style]:
        if self.app.no_color:
            return Style(dim=True), Style(), Style(), Style(underline=True)
        found = self.app.get_css_variables()

        def of(name: str) -> Style:
            try:
                return Style(color=Color.parse(found[name]).rich_color)
            except (KeyError, ColorParseError):  # a terminal's own colours
                return Style()

        bad = Style(underline=True) + of("text-error")
        return of("muted"), of("text-accent"), of("text-success"), bad
