"""Values as a person reads them: foreign text on one line, money, sizes, spans of time. Quick to load."""

import math
import time
from typing import Any

from choline_tui.kernel.text import CUT, plain

__all__ = ["clean", "dollars", "number", "size", "span", "when"]


def clean(value: Any, limit: int = 200) -> str:
    """Foreign text as one inert line of at most ``limit`` characters; None is ''."""
    if value is None:
        return ""
    line = " ".join(plain(str(value)[: 8 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + CUT


def number(value: Any, digits: int = 0, factor: float = 1.0) -> str:
    """A number with that many decimals; what is not a number is '?': it is not known."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return "?"
    return f"{value * factor:.{digits}f}"


def dollars(value: Any, digits: int = 4) -> str:
    shown = number(value, digits)
    return shown if shown == "?" else f"${shown}"


def size(count: Any) -> str:
    """Bytes for a person, in powers of 1000 as disks and networks are sold."""
    if isinstance(count, bool) or not isinstance(count, (int, float)) or not math.isfinite(count):
        return "?"
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 999.95 or unit == "TB":
            break
    return f"{count:.1f} {unit}"


def span(seconds: float | None) -> str:
    """A span of time in one short word: ``42s``, ``3m10s``, ``2h05m``, ``4d03h``."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    left = max(0, round(seconds))
    if left < 60:
        return f"{left}s"
    if left < 3600:
        return f"{left // 60}m{left % 60:02d}s"
    if left < 86400:
        return f"{left // 3600}h{left % 3600 // 60:02d}m"
    return f"{left // 86400}d{left % 86400 // 3600:02d}h"


def when(at: float | None, now: float) -> str:
    """Local time with zone, and how long ago."""
    if at is None:
        return "?"
    shown = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(at))
    return f"{shown} ({span(now - at)} ago)" if at <= now else f"{shown} (in {span(at - now)})"
