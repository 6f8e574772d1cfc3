"""The signs beside words and colours: never colour alone, and every sign has an ASCII one.

Every sign takes one cell in every terminal (none of the characters is of ambiguous or emoji width in
the terminals' default settings, as far as Unicode's East Asian Width goes).
"""

from typing import Final

from textual.widget import Widget

__all__ = ["ASCII", "UNICODE", "bar", "glyph", "spark", "uses_ascii"]

_TABLE: Final[dict[str, tuple[str, str]]] = {
    # a run's states
    "draft": ("◌", "."),
    "scheduled": ("◷", "@"),
    "waiting": ("○", "o"),
    "acquiring": ("◔", "a"),
    "preparing": ("◑", "p"),
    "running": ("●", "*"),
    "collecting": ("◕", "c"),
    "pausing": ("◧", "\\"),
    "paused": ("‖", "="),
    "interrupted": ("↯", "!"),
    "ended": ("■", "#"),
    # how a run ended
    "succeeded": ("✓", "+"),
    "failed": ("✗", "x"),
    "error": ("⚠", "E"),
    "stopped": ("■", "#"),
    "cancelled": ("⊘", "-"),
    "missed": ("∅", "0"),
    # a rental's states
    "intended": ("◌", "."),
    "unknown": ("?", "?"),
    "booting": ("◐", "b"),
    "up": ("●", "*"),
    "held": ("‖", "="),
    "releasing": ("◓", "~"),
    "gone": ("·", "."),
    # the engine, the market, an answer
    "down": ("✗", "x"),
    "stale": ("◌", "."),
    "good": ("✓", "+"),
    "bad": ("✗", "x"),
    "warn": ("▲", "!"),
    "info": ("·", "-"),
    # a table
    "ascending": ("▲", "^"),
    "descending": ("▼", "v"),
    "cursor": ("▸", ">"),
    "mark": ("✓", "*"),
    "more_left": ("‹", "<"),
    "more_right": ("›", ">"),
    "cut": ("…", "~"),
    # a slider and a log
    "track": ("─", "-"),
    "filled": ("━", "="),
    "handle": ("●", "O"),
    "wrapped": ("↪", ">"),
    "up_by": ("↑", "^"),
    "down_by": ("↓", "v"),
    "separator": ("·", "-"),
    "rule": ("─", "-"),
    "tree": ("└", "`"),
    "bullet": ("•", "-"),
}

UNICODE: Final[dict[str, str]] = {name: pair[0] for name, pair in _TABLE.items()}
ASCII: Final[dict[str, str]] = {name: pair[1] for name, pair in _TABLE.items()}

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII_LEVELS = "_.-=+*#@"


def glyph(name: str, ascii: bool = False) -> str:
    """The sign for ``name``, one cell wide; "?" for a name without one (a state of a later version)."""
    return (ASCII if ascii else UNICODE).get(name, "?")


def uses_ascii(widget: Widget) -> bool:
    """Whether the app this widget lives in was told to draw ASCII only (its attribute ``ascii``)."""
    return bool(getattr(widget.app, "ascii", False))


def bar(share: float, width: int, ascii: bool = False) -> str:
    """A bar of ``width`` cells filled by ``share`` (0 to 1; beyond is cut off)."""
    share = min(1.0, max(0.0, share)) if share == share else 0.0
    if ascii:
        full = round(share * width)
        return "#" * full + "." * (width - full)
    eighths = round(share * width * 8)
    full, rest = divmod(eighths, 8)
    text = "█" * full + (_EIGHTHS[rest] if rest else "")
    return text + " " * (width - len(text))


def spark(values: list[float], ascii: bool = False) -> str:
    """One cell a value, scaled from 0 to the largest."""
    levels = _ASCII_LEVELS if ascii else _LEVELS
    top = max(values, default=0.0)
    if top <= 0:
        return levels[0] * len(values)
    return "".join(levels[min(7, max(0, int(value / top * 7.999)))] for value in values)
