"""Colours of a log line, kept; everything else in it made inert.

A line is stored as its inert text with sequences of our own in between: ``ESC [ 0 ; ... m``, each the whole
style from there on. So what a program wrote is read once, and no sequence of its own is ever kept. Text
in the colour of its background, and concealed text, would hide something: it is shown.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from rich.color import Color
from rich.style import Style

from choline_tui.kernel.text import CUT, MAX_LINE, plain

__all__ = ["PLAIN", "Look", "clean", "pieces", "style_of", "text_of"]

_SGR = re.compile(r"\x1b\[([0-9;:]*)m")
_FIRST = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "reverse", 9: "strike"}
_LAST = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 27: ("reverse",), 29: ("strike",)}


@dataclass(frozen=True, slots=True)
class Look:
    """``front`` and ``back``: -1 the terminal's own, 0-255 of the palette, 2**24 + rgb."""

    front: int = -1
    back: int = -1
    marks: frozenset[str] = frozenset()


PLAIN = Look()


def _colour(codes: list[int], at: int) -> tuple[int | None, int]:
    """The colour that ``5;n`` or ``2;r;g;b`` from ``at`` on means, and how many codes it took."""
    kind = codes[at] if at < len(codes) else -1
    if kind == 5 and at + 1 < len(codes):
        return (codes[at + 1] if codes[at + 1] < 256 else None), 2
    if kind == 2 and at + 3 < len(codes):
        red, green, blue = codes[at + 1 : at + 4]
        if max(red, green, blue) < 256:
            return 2**24 + red * 65536 + green * 256 + blue, 4
        return None, 4
    return None, len(codes) - at


@lru_cache(maxsize=4096)
def _after(look: Look, words: str) -> Look:
    """The look after ``ESC [ words m``."""
    # 38:2::r:g:b has a place for a colour space that nobody fills
    codes = [int(word[:4] or 0) for word in words.replace("2::", "2:").replace(":", ";").split(";")[:64]]
    at = 0
    while at < len(codes):
        code = codes[at]
        at += 1
        if code == 0:
            look = PLAIN
        elif code in _FIRST:
            look = replace(look, marks=look.marks | {_FIRST[code]})
        elif code in _LAST:
            look = replace(look, marks=look.marks - set(_LAST[code]))
        elif 30 <= code <= 37 or 90 <= code <= 97:
            look = replace(look, front=code - 30 if code < 90 else code - 82)
        elif 40 <= code <= 47 or 100 <= code <= 107:
            look = replace(look, back=code - 40 if code < 100 else code - 92)
        elif code == 39:
            look = replace(look, front=-1)
        elif code == 49:
            look = replace(look, back=-1)
        elif code in (38, 48):
            colour, taken = _colour(codes, at)
            at += taken
            if colour is not None:
                look = replace(look, front=colour) if code == 38 else replace(look, back=colour)
    return look


@lru_cache(maxsize=1024)
def _ours(look: Look) -> str:
    """The sequence that sets exactly this look."""
    codes = ["0", *(str(code) for code, mark in _FIRST.items() if mark in look.marks)]
    for base, colour in ((38, look.front), (48, look.back)):
        if colour >= 2**24:
            codes.append(f"{base};2;{colour >> 16 & 255};{colour >> 8 & 255};{colour & 255}")
        elif colour >= 0:
            codes.append(f"{base};5;{colour}")
    return f"\x1b[{';'.join(codes)}m"


def clean(raw: str, look: Look = PLAIN) -> tuple[str, Look]:
    """A line as a program wrote it, begun in ``look``: the stored form, and the look it ends in.

    After a carriage return the line begins again: the last state that says something is kept. Tabs go to
    every eighth character. More than MAX_LINE characters are cut.
    """
    if "\x1b" not in raw and look == PLAIN:
        return _cut(_tabs(plain(raw))), PLAIN
    states = raw.split("\r")
    kept = next((n for n in range(len(states) - 1, 0, -1) if plain(states[n])), 0)
    out: list[str] = []
    room, column = MAX_LINE, 0
    drawn = PLAIN
    for number, state in enumerate(states):
        for n, piece in enumerate(_SGR.split(state)):
            if n & 1:
                look = _after(look, piece)
                continue
            if number != kept or room <= 0:
                continue
            text = _tabs(plain(piece), column)
            if not text:
                continue
            column += len(text)
            if look != drawn:
                out.append(_ours(look))
                drawn = look
            out.append(text if len(text) <= room else text[:room] + CUT)
            room -= len(text)
    return "".join(out), look


def _cut(text: str) -> str:
    return text if len(text) <= MAX_LINE else text[:MAX_LINE] + CUT


def _tabs(text: str, column: int = 0) -> str:
    if "\t" not in text:
        return text
    return (" " * (column % 8) + text).expandtabs(8)[column % 8 :]


def text_of(line: str) -> str:
    """A stored line without its colours."""
    return _SGR.sub("", line) if "\x1b" in line else line


def pieces(line: str) -> list[tuple[str, Look]]:
    """A stored line as texts of one look each."""
    if "\x1b" not in line:
        return [(line, PLAIN)] if line else []
    found: list[tuple[str, Look]] = []
    look = PLAIN
    for n, piece in enumerate(_SGR.split(line)):
        if n & 1:
            look = _after(look, piece)
        elif piece:
            found.append((piece, look))
    return found


@lru_cache(maxsize=1024)
def style_of(look: Look, colours: bool = True) -> Style:
    """``colours``: False where none are wanted (``NO_COLOR``): greys made of them may not be seen."""
    front, back = look.front, look.back
    if front == back or not colours:
        front = back = -1
    return Style(
        color=_rich(front),
        bgcolor=_rich(back),
        **dict.fromkeys(look.marks, True),  # type: ignore[arg-type]
    )


def _rich(colour: int) -> Color | None:
    if colour < 0:
        return None
    if colour < 256:
        return Color.from_ansi(colour)
    return Color.from_rgb(colour >> 16 & 255, colour >> 8 & 255, colour & 255)
