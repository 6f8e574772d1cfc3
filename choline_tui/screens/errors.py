"""The error log (``!``): everything that went wrong since the app started, with what to do next."""

import time
import traceback
from dataclasses import dataclass, replace

from choline_tui.kernel.errors import CholineError
from choline_tui.kernel.text import plain

__all__ = ["Fault"]

MAX_MESSAGE = 2000


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that went wrong, ``count`` times in a row. ``at``, ``last``: epoch s."""

    at: float
    last: float
    doing: str
    kind: str
    message: str
    hint: str
    trace: str = ""
    """where in the program, for a report, when nobody foresaw it"""
    count: int = 1

    @classmethod
    def of(cls, error: BaseException, doing: str, at: float) -> "Fault":
        if isinstance(error, CholineError):
            return cls(at, at, doing, error.code, _one(error.message), _one(error.hint))
        trace = plain("".join(traceback.format_exception(error)))[-20_000:]
        return cls(
            at, at, doing, type(error).__name__, _one(f"{type(error).__name__}: {error}"),
            "This is a fault of choline itself: copy it (y) into a report.", trace,
        )  # fmt: skip

    def same(self, other: "Fault") -> bool:
        return (self.doing, self.kind, self.message) == (other.doing, other.kind, other.message)

    def again(self, at: float) -> "Fault":
        return replace(self, last=at, count=self.count + 1)

    def text(self) -> str:
        """All of it, for a report."""
        when = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(self.at))
        times = f" ({self.count} times, last {time.strftime('%H:%M:%S', time.localtime(self.last))})"
        lines = [f"{when}{times if self.count > 1 else ''}  {self.doing}", f"  {self.kind}: {self.message}"]
        if self.hint:
            lines.append(f"  {self.hint}")
        if self.trace:
            lines.append(self.trace)
        return "\n".join(lines)


def _one(text: str) -> str:
    return " ".join(plain(text[:MAX_MESSAGE]).split())
