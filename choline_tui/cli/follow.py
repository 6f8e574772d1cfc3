"""Following a run: its log on stdout, what happens to it on stderr, and how it ended."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from choline_tui.cli.output import Output, clean, dollars, folded, span
from choline_tui.cli.progress import Screen, Transfers
from choline_tui.kernel.text import PlainLines
from choline_tui.model.event_words import worth_telling
from choline_tui.model.run import Event, Outcome, Run

if TYPE_CHECKING:
    from choline_tui.services import Choline, RunView

__all__ = ["DemoFollower", "Follower", "ended", "exit_code", "follow_run"]

GLYPHS = {
    "succeeded": ("✔", "green"),
    "failed": ("✘", "red"),
    "error": ("‼", "red"),
    "stopped": ("■", "yellow"),
    "cancelled": ("■", "yellow"),
    "missed": ("○", "yellow"),
}


class Follower:
    """``source`` and ``attempt``: only this log ('' and 0: all). ``log_on_stderr``: stdout is for JSON."""

    def __init__(
        self,
        out: Output,
        *,
        events: bool = True,
        source: str = "",
        attempt: int = 0,
        raw: bool = False,
        log_on_stderr: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.screen = Screen(out)
        self.transfers = Transfers(self.screen)
        self.out = out
        self.run: Run | None = None
        self._events = events
        self._source = source
        self._attempt = attempt
        self._raw = raw
        self._log_on_stderr = log_on_stderr
        self._lines: dict[tuple[int, str], PlainLines] = {}
        self._began: float | None = None
        self._last = ""
        self._now = now

    def event(self, event: Event) -> None:
        self.transfers.end()
        if self._began is None:
            self._began = event.at
        text = worth_telling(event)
        if not text:
            return
        # a run and its attempt often say the same thing at the same time
        if self._events and text != self._last:
            offset = _offset(event.at - self._began)
            text_lines = folded(text, self.out.err_width, len(offset) + 2)
            self.screen.note(f"{offset}  {text_lines}", "dim")
        self._last = text

    def log(self, data: bytes, source: str, attempt: int) -> None:
        if (self._source and source != self._source) or (self._attempt and attempt != self._attempt):
            return
        if self._raw:
            raw = getattr(self.out.stdout, "buffer", None)
            if raw is not None:
                raw.write(data)
                raw.flush()
                return
        self.transfers.end()
        lines = self._lines.setdefault((attempt, source), PlainLines())
        for line in lines.feed(data):
            self._line(line)
        # a prompt, or a progress bar that draws over itself
        self.screen.status(lines.partial.replace("\t", " "))

    def finish(self) -> None:
        """Everything was read: half lines are written as they are."""
        self.transfers.end()
        self.screen.status("")
        for lines in self._lines.values():
            for line in lines.finish():
                self._line(line)
        self._lines.clear()

    def _line(self, line: str) -> None:
        if self._log_on_stderr:
            self.screen.note(line)
        else:
            self.screen.line(line)


class DemoFollower(Follower):
    """Everything on stdout, each event as a step of the rehearsal."""

    def __init__(self, out: Output, step: Callable[[str], None]) -> None:
        super().__init__(out)
        self._step = step

    def event(self, event: Event) -> None:
        self.transfers.end()
        text = worth_telling(event)
        if not text:
            return
        if text != self._last:
            self._step(text)
        self._last = text

    def _line(self, line: str) -> None:
        self.screen.line(f"         │ {line}")


def _offset(seconds: float) -> str:
    return f"{seconds:6.1f}s" if seconds < 600 else f"{span(seconds):>7}"


async def follow_run(
    choline: "Choline",
    run: str,
    follower: Follower,
    *,
    history: bool = True,
    logs: bool = True,
    until: Literal["ended", "gone"] = "gone",
) -> None:
    """Draw what happens until the run has ended (``gone``: until nothing of it bills)."""
    try:
        async for item in choline.follow(run, history=history, logs=logs, until=until):
            if item.event is not None:
                follower.event(item.event)
            elif item.progress is not None:
                follower.transfers.show(item.progress)
            elif item.run is not None:
                follower.run = item.run
            else:
                follower.log(item.log, item.source, item.attempt)
    finally:
        follower.finish()


def ended(view: "RunView", out: Output, now: float) -> str:
    """One line: outcome, why, how long, cost, results; painted for stderr."""
    run = view.run
    word = str(run.outcome or run.state)
    glyph, color = GLYPHS.get(word, ("●", "cyan"))
    pieces = [f"about {dollars(view.cost(now))}"]
    if run.ended is not None:
        pieces.insert(0, f"in {span(run.ended - run.created)}")
    if run.outcome is not Outcome.SUCCEEDED and run.reason:
        pieces.append(clean(run.reason, 300))
    if run.results_synced is not None:
        whole = "results" if run.results_complete else "results (not complete)"
        pieces.append(f"{whole} in {clean(run.plan.results_into, 1000)}")
    else:
        pieces.append("no results came home")
    shown = out.paint(f"{glyph} {word}", "bold", color, err=True)  # type: ignore[arg-type]
    return f"{shown} {run.id}: {'; '.join(pieces)}"


def exit_code(view: "RunView") -> int:
    """0 succeeded, 1 the task failed, 3 the system, 4 no offer was found, 130 stopped."""
    match view.run.outcome:
        case Outcome.SUCCEEDED:
            return 0
        case Outcome.FAILED:
            return 1
        case Outcome.STOPPED | Outcome.CANCELLED:
            return 130
        case Outcome.MISSED:
            return 4
        case None:
            return 0
    # an error without any contract, and without an attempt that broke: there was nothing to rent
    rented = any(r.contract is not None for r in view.rentals)
    broken = any(a.outcome is Outcome.ERROR for a in view.attempts)
    return 3 if rented or broken else 4
