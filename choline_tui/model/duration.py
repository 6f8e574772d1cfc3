"""Spans of time as people write them: ``90s``, ``30m``, ``24h``, ``1d12h``, or a number of seconds."""

import math
import re

__all__ = ["format_duration", "parse_duration"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_MOST = 10 * 365 * 86400.0


def parse_duration(value: str | int | float) -> float:
    """Seconds. Raises ``ValueError``, with what was expected, for anything that is not a span of 0 s to
    10 years."""
    seconds = _seconds(value)
    if not math.isfinite(seconds) or not 0 <= seconds <= _MOST:
        raise ValueError("a duration lies between 0 s and 10 years")
    return seconds


def _seconds(value: str | int | float) -> float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("not a duration; write it like 90s, 30m, 24h or 2d")
    if not isinstance(value, str):
        return float(max(-1.0, min(value, 1e18)))  # a whole number may be larger than any float
    text = "".join(value.split()).lower()
    if len(text) <= 40 and _NUMBER.fullmatch(text):
        return float(text)
    total, at = 0.0, 0
    for part in _PART.finditer(text[:40]):
        if part.start() != at:
            break
        total += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if not text or at != len(text):
        raise ValueError(f"{value[:40]!r} is not a duration; write it like 90s, 30m, 24h or 2d")
    return total


def format_duration(seconds: float) -> str:
    """Text that ``parse_duration`` reads back to the same whole seconds: ``1m30s``, ``36h``, ``3d12h``
    (days from three on), 0 as ``0s``. Fractions of a second are kept only under a minute."""
    if seconds < 60:
        return f"{seconds:g}s"
    left = round(seconds)
    out = []
    for unit in "dhms" if left >= 3 * 86400 else "hms":
        count, left = divmod(left, int(_UNITS[unit]))
        if count:
            out.append(f"{count}{unit}")
    return "".join(out)
