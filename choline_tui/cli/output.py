"""What commands print: tables that fit, one JSON document, colours with a glyph and a word beside them.

Every foreign text goes through ``clean`` before it is drawn. Tables are plain strings made here: a table
library would take longer to load than the whole of ``choline offers`` may take.
"""

import json
import os
import shutil
import sys
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

from choline_tui.kernel.text import CUT
from choline_tui.model.words import clean, dollars, number, size, span, when

__all__ = [
    "Column",
    "Output",
    "cell_width",
    "clean",
    "color_wanted",
    "cut",
    "dollars",
    "folded",
    "number",
    "pad",
    "size",
    "span",
    "when",
]

Style = Literal["bold", "dim", "red", "green", "yellow", "cyan", ""]

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
GAP = "  "


def cell_width(text: str) -> int:
    """Columns ``text`` takes on a terminal: wide characters take two, marks none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """At most ``width`` columns of ``text``; an ellipsis stands for what was cut."""
    if cell_width(text) <= width:
        return text
    if width <= 1:
        return CUT[:width]
    kept = text[:width]
    while kept and cell_width(kept) > width - 1:
        kept = kept[:-1]
    return kept + CUT


def pad(text: str, width: int, align: str = "left") -> str:
    room = " " * max(0, width - cell_width(text))
    return room + text if align == "right" else text + room


def folded(text: str, width: int | None, indent: int = 0) -> str:
    """``text`` in lines of at most ``width`` columns, cut between words, the later ones indented; None: one
    line."""
    if width is None or cell_width(text) <= width - indent:
        return text
    room = max(20, width - indent)
    lines = textwrap.wrap(text, room, break_on_hyphens=False, drop_whitespace=True) or [""]
    return f"\n{' ' * indent}".join(lines)


@dataclass(frozen=True)
class Column:
    """``keep``: columns with a lower number stay longer when the terminal is narrow; 0 is never dropped.
    ``least``: it may be cut down to this many characters before any column is dropped (0: never cut)."""

    title: str
    align: Literal["left", "right"] = "right"
    keep: int = 0
    least: int = 0


def color_wanted(stream: TextIO, environ: Mapping[str, str], setting: str) -> bool:
    """``setting``: ui.color. NO_COLOR (https://no-color.org) counts when it is not empty."""
    if setting in ("always", "never"):
        return setting == "always"
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    return _isatty(stream)


def _isatty(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (ValueError, AttributeError):
        return False


def ui_color(environ: Mapping[str, str]) -> str:
    """ui.color as the home's file has it, read leniently: a broken file is told by what needs it."""
    from choline_tui.config.paths import Paths

    try:
        found = tomllib.loads(Path(Paths(environ=environ).config_file).read_text("utf-8"))["ui"]["color"]
    except (OSError, ValueError, KeyError, TypeError):
        return "auto"
    return found if found in ("always", "never") else "auto"


@dataclass
class Output:
    """The two streams of a command. ``width``, ``height``: columns and lines of stdout's terminal,
    ``err_width``: columns of stderr's; None in a pipe."""

    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    width: int | None = None
    color: bool = False
    color_err: bool = False
    height: int | None = None
    err_width: int | None = None

    @classmethod
    def standard(cls, environ: Mapping[str, str]) -> "Output":
        for stream in (sys.stdout, sys.stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                # an odd locale cannot show every character; a question mark is better than no answer
                reconfigure(errors="replace")
        setting = ui_color(environ)
        size = shutil.get_terminal_size()
        return cls(
            environ=environ,
            width=size.columns if _isatty(sys.stdout) else None,
            height=size.lines if _isatty(sys.stdout) else None,
            err_width=size.columns if _isatty(sys.stderr) else None,
            color=color_wanted(sys.stdout, environ, setting),
            color_err=color_wanted(sys.stderr, environ, setting),
        )

    @property
    def err_is_terminal(self) -> bool:
        return _isatty(self.stderr)

    @property
    def out_is_terminal(self) -> bool:
        return _isatty(self.stdout)

    def paint(self, text: str, *styles: Style, err: bool = False) -> str:
        codes = ";".join(_CODES[s] for s in styles if s)
        on = self.color_err if err else self.color
        return f"\x1b[{codes}m{text}\x1b[0m" if codes and on and text else text

    def line(self, text: str = "", *styles: Style) -> None:
        print(self.paint(text, *styles), file=self.stdout)

    def note(self, text: str, *styles: Style) -> None:
        """Beside the answer: on stderr."""
        self.stdout.flush()
        print(self.paint(text, *styles, err=True), file=self.stderr, flush=True)

    def json(self, document: Any) -> None:
        """One document, ASCII only: whatever a text holds, it is inert."""
        print(json.dumps(document, indent=2, ensure_ascii=True, default=str), file=self.stdout)

    def fields(self, rows: Sequence[tuple[str, str]], indent: str = "") -> None:
        """``name  value`` lines; rows with an empty value are left out."""
        shown = [(name, value) for name, value in rows if value]
        wide = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            # a painted value is short and in one piece: its codes are not columns
            text = value if "\x1b" in value else folded(value, self.width, len(indent) + wide + len(GAP))
            self.line(f"{indent}{self.paint(pad(name, wide), 'dim')}  {text}")

    def table(
        self,
        columns: Sequence[Column],
        rows: Sequence[Sequence[str]],
        styles: Sequence[Mapping[int, Style]] = (),
    ) -> None:
        """``rows`` hold inert one-line texts. ``styles``: for each row, styles by column. A column that has
        nothing in any row is left out."""
        for line in self.table_lines(columns, rows, styles):
            print(line, file=self.stdout)

    def table_lines(
        self,
        columns: Sequence[Column],
        rows: Sequence[Sequence[str]],
        styles: Sequence[Mapping[int, Style]] = (),
    ) -> list[str]:
        widths = [
            max([cell_width(c.title), *(cell_width(row[i]) for row in rows)]) for i, c in enumerate(columns)
        ]
        shown = [i for i in range(len(columns)) if not rows or any(row[i] for row in rows)]
        if self.width is not None:
            shown = _fit(columns, widths, self.width, shown)
        lines = [self.paint(_joined(columns, widths, shown, [c.title for c in columns]), "bold")]
        for n, row in enumerate(rows):
            of_row = styles[n] if n < len(styles) else {}
            cells = [
                self.paint(pad(cut(row[i], widths[i]), widths[i], columns[i].align), of_row.get(i, ""))
                for i in shown
            ]
            last = shown[-1]
            if columns[last].align == "left":  # nothing after the last word of a line
                cells[-1] = self.paint(cut(row[last], widths[last]), of_row.get(last, ""))
            lines.append(GAP.join(cells).rstrip())
        return lines


def _joined(columns: Sequence[Column], widths: Sequence[int], shown: Sequence[int], cells: list[str]) -> str:
    return GAP.join(pad(cut(cells[i], widths[i]), widths[i], columns[i].align) for i in shown).rstrip()


def _fit(columns: Sequence[Column], widths: list[int], room: int, wanted: Sequence[int]) -> list[int]:
    """Those of the columns ``wanted`` that fit into ``room``; ``widths`` of those that may be cut shrink."""
    shown = list(wanted)

    def over() -> int:
        return sum(widths[i] for i in shown) + len(GAP) * (len(shown) - 1) - room

    while True:
        slack = sum(max(0, widths[i] - columns[i].least) for i in shown if columns[i].least)
        droppable = [i for i in shown if columns[i].keep > 0]
        if over() <= slack or not droppable:
            break
        shown.remove(max(droppable, key=lambda i: columns[i].keep))
    for i in sorted((i for i in shown if columns[i].least), key=lambda i: -widths[i]):
        excess = over()
        if excess <= 0:
            break
        widths[i] = max(columns[i].least, widths[i] - excess)
    return shown
