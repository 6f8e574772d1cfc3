"""Where a key stands in a TOML file: line and column, for pointing at a mistake.

A scanner of its own: parsers tell no positions of what they accept. The text must be valid TOML.
"""

import re
import tomllib
from typing import NamedTuple

__all__ = ["Place", "locate", "syntax_error"]

_BARE = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = re.compile(rf"\s*({_BARE}(?:\s*\.\s*{_BARE})*)\s*")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")|\'\'\'.*?\'{3,5}(?!\')|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL
)


class Place(NamedTuple):
    """Both count from 1. ``value``: column where the value begins; 0 for a table."""

    line: int
    column: int
    value: int = 0


def locate(text: str, key: str) -> Place | None:
    """Where ``key`` (dotted; ``[N]`` of a list is not looked into) stands; its nearest table if not there."""
    places = _scan(text)
    parts = re.sub(r"\[\d+\]", "", key).split(".")
    while parts:
        if found := places.get(tuple(parts)):
            return found
        parts.pop()
    return None


def _scan(text: str) -> dict[tuple[str, ...], Place]:
    found: dict[tuple[str, ...], Place] = {}
    table: tuple[str, ...] = ()
    at = 0
    while at < len(text):
        char = text[at]
        if char in " \t\r\n":
            at += 1
        elif char == "#":
            at = _line_end(text, at)
        elif char == "[":
            start = at
            said = _KEY.match(text, at + (2 if text.startswith("[[", at) else 1))
            if said:
                table = _parts(said[1])
                found.setdefault(table, _place(text, start))
            at = _line_end(text, said.end() if said else at)
        else:
            said = _KEY.match(text, at)
            if said is None or not text.startswith("=", said.end()):
                return found
            value = said.end() + 1
            while text[value : value + 1] in (" ", "\t"):
                value += 1
            name = (*table, *_parts(said[1]))
            place = _place(text, said.start(1))
            found.setdefault(name, place._replace(value=_place(text, value).column))
            at = _value_end(text, value)
    return found


def _parts(name: str) -> tuple[str, ...]:
    return tuple(piece.strip("\"'") for piece in _PART.findall(name))


def _place(text: str, at: int) -> Place:
    return Place(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _value_end(text: str, at: int) -> int:
    """Behind a value: at the end of its last line."""
    depth = 0
    while at < len(text):
        char = text[at]
        if char in "\"'":
            said = _STRING.match(text, at)
            at = said.end() if said else len(text)
        elif char == "#":
            at = _line_end(text, at) - 1 if _line_end(text, at) < len(text) else len(text)
        elif char == "\n" and depth == 0:
            return at + 1
        else:
            depth += (char in "[{") - (char in "]}")
            at += 1
    return at


def syntax_error(text: str) -> tuple[int, int] | None:
    """(line, column) of what is not TOML, as the parser tells it; None for good TOML."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        said = re.search(r"at line (\d+), column (\d+)", str(fault))
        if said:
            return int(said[1]), int(said[2])
        return text.count("\n") + 1, len(text) - text.rfind("\n")
    except RecursionError:
        return 1, 1
    return None
