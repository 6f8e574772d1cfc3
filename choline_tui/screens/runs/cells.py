"""A run as one row: what its columns hold, how they are written, which go first when it is narrow.

Pure: time and the last log line come from the caller. Everything that may bill is pointed out.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from choline_tui.model.event_words import STATES
from choline_tui.model.words import clean, dollars, span
from choline_tui.widgets.columns import Column
from choline_tui.widgets.glyphs import glyph

if TYPE_CHECKING:
    from choline_tui.model.run import Rental, Run
    from choline_tui.services.choline import RunView

__all__ = [
    "ORDER",
    "alarm",
    "alarms",
    "billing",
    "columns",
    "commit_of",
    "gpu_of",
    "happening",
    "machine_state",
    "place_of",
    "row_colour",
    "since",
    "state_colour",
    "state_word",
    "what_happens",
    "worth_first",
]

ORDER = (
    "running", "collecting", "preparing", "acquiring", "interrupted", "pausing", "paused", "waiting",
    "scheduled", "draft", "error", "failed", "missed", "stopped", "cancelled", "succeeded",
)  # fmt: skip
"""states and outcomes, as sorting by them has it"""
_PLACE = {word: at for at, word in enumerate(ORDER)}
_COLOURS = {
    "running": "good", "succeeded": "good", "failed": "bad", "error": "bad", "missed": "warn",
    "interrupted": "warn", "stopped": "dim", "cancelled": "dim", "draft": "dim", "scheduled": "accent",
}  # fmt: skip


def state_word(run: "Run") -> str:
    """The outcome of a run that has ended, else its state."""
    return str(run.outcome or run.state)


def state_colour(run: "Run") -> str:
    return _COLOURS.get(state_word(run), "accent")


def billing(view: "RunView") -> "list[Rental]":
    return [r for r in view.rentals if r.may_bill]


def machine_state(view: "RunView") -> str:
    """The state of what may bill (the worst one first); '' when nothing does."""
    states = {str(r.state) for r in billing(view)}
    worst = ("releasing", "unknown", "held", "intended", "booting", "up")
    return next((s for s in worst if s in states), next(iter(states), ""))


def _machine_colour(view: "RunView") -> str:
    state = machine_state(view)
    if state == "up" and not view.run.live:
        return "bad"
    return {"releasing": "bad", "unknown": "bad", "held": "warn", "up": "good"}.get(state, "accent")


def row_colour(view: "RunView") -> str:
    """A run that is over is dim; red, when something of it may still bill that should not."""
    if view.run.live:
        return ""
    states = {str(r.state) for r in billing(view)}
    if not states:
        return "dim"
    return "warn" if states == {"held"} else "bad"


def gpu_of(view: "RunView") -> str:
    rental = view.rental
    return f"{rental.num_gpus}x {clean(rental.gpu_name, 40)}" if rental is not None else ""


def place_of(view: "RunView") -> str:
    rental = view.rental
    if rental is None:
        return "here" if view.run.plan.place == "here" else ""
    return clean(rental.place_name, 60)


def since(view: "RunView") -> float:
    """Epoch s from which its present state is counted: the end, the command's start, the making."""
    run = view.run
    if run.ended is not None:
        return run.ended
    if str(run.state) == "running":
        began = view.attempts[-1].started if view.attempts else None
        return began or run.started or run.created
    return run.created


def commit_of(run: "Run") -> str:
    """``1a2b3c4+3``: commit and how many files differ from it."""
    code = run.code
    if code is None or not code.commit:
        return ""
    dirty = f"+{code.dirty_count}" if code.dirty_count else ""
    return clean(code.commit, 20)[:7] + dirty


def _clock(at: float) -> str:
    return time.strftime("%H:%M %Z", time.localtime(at))


def alarm(rental: "Rental", run_live: bool, now: float) -> tuple[str, str]:
    """What is to be said of a rental that may bill, with its colour; '' when all is as it should be."""
    state = str(rental.state)
    price = dollars(rental.price if rental.price is not None else rental.offer_price)
    why = f": {clean(rental.trouble, 200)}" if rental.trouble else ""
    if state == "releasing":
        return f"being destroyed{why}; may bill {price}/h until two listings are without it", "bad"
    if state == "unknown" or (state == "intended" and not run_live):
        return f"not known whether it was rented{why}; may bill {price}/h, its label is looked for", "bad"
    if state == "held":
        until = ""
        if rental.keep_until is not None:
            until = f" until {_clock(rental.keep_until)} ({span(rental.keep_until - now)} more)"
        return f"kept{until}, bills {price}/h{why}", "warn"
    if not run_live:
        return f"is {state}{why} though its run has ended, bills {price}/h", "bad"
    if rental.stopped_since is not None:
        by = " by the market or its host"
        if rental.halted is not None:
            by = ", because its host key changed" if rental.stranger else ", because nobody reached it"
        return f"stopped{by}{why}; its disk bills {dollars(rental.disk_per_hour)}/h", "warn"
    if rental.trouble:
        return clean(rental.trouble, 200), "warn"
    return "", ""


def alarms(view: "RunView", now: float) -> list[tuple[str, str, str]]:
    """(rental, what, colour) of everything that should be looked at, the worst first."""
    found = []
    for rental in billing(view):
        text, colour = alarm(rental, view.run.live, now)
        if text:
            found.append((clean(rental.id, 60), text, colour))
    return sorted(found, key=lambda f: f[2] != "bad")


def what_happens(view: "RunView", now: float, last_line: str) -> str:
    """What a person wants to know of it now, in one line."""
    for _, text, _ in alarms(view, now):
        return text
    run = view.run
    word = state_word(run)
    if run.disk:
        return clean(run.disk, 300)
    if word == "running":
        return last_line or clean(run.reason, 200) or STATES["run"][word]
    if word == "succeeded":
        return "" if run.results_complete else "not all results came home"
    said = clean(run.phase if run.live and run.phase else run.reason, 300)
    if word == "failed" and last_line:
        return last_line
    return said


def _happens_colour(view: "RunView", now: float) -> str:
    usual = "warn" if view.run.disk else "" if view.run.live else "dim"
    return next((colour for _, _, colour in alarms(view, now)), usual)


def happening(view: "RunView") -> object:
    """What makes another picture of a run than time, money and the log do."""
    run = view.run
    last = view.attempts[-1] if view.attempts else None
    rentals = tuple((r.id, r.state, r.trouble, r.stopped_since is None, r.gpu_name) for r in view.rentals)
    return (
        run.state, run.outcome, run.want, run.phase, run.reason, run.results_complete, run.plan.name,
        run.plan.note, run.disk, (last.n, last.started) if last is not None else None, rentals,
    )  # fmt: skip


def worth_first(view: "RunView") -> tuple[bool, float, str]:
    """The order without sorting: what lives or bills, then the rest, each newest first."""
    return (not (view.run.live or billing(view)), -view.run.created, view.run.id)


def columns(
    now: Callable[[], float], last_line: "Callable[[RunView], str]", ascii: bool = False
) -> "list[Column[RunView]]":
    """``now``: epoch s."""

    def state(view: "RunView") -> str:
        word = state_word(view.run)
        return f"{glyph(word, ascii)} {word}"

    def machine(view: "RunView") -> str:
        word = machine_state(view)
        return f"{glyph(word, ascii)} {word}" if word else ""

    def rate(view: "RunView") -> float | None:
        return view.per_hour() or None

    def happens(view: "RunView") -> str:
        return what_happens(view, now(), last_line(view))

    return [
        Column(
            "state", "State", 13, lambda v: _PLACE.get(state_word(v.run), len(ORDER)), state,
            style=lambda v: state_colour(v.run), help="What the run does, or how it ended",
        ),
        Column("name", "Name", 8, lambda v: v.run.plan.name.casefold(), lambda v: clean(v.run.plan.name, 80),
               grow=2, help="The name it was given"),
        Column("id", "Run", 7, lambda v: v.run.id, lambda v: v.run.id, priority=5, style=lambda v: "dim",
               help="Its id, as commands take it"),
        Column("machine", "Machine", 11, lambda v: machine_state(v) or None, machine,
               style=_machine_colour, help="What may bill: up, held, releasing; empty when nothing does"),
        Column("gpu", "GPU", 11, lambda v: gpu_of(v) or None, gpu_of, priority=2, grow=1,
               help="GPUs of its newest machine"),
        Column("place", "Place", 11, lambda v: place_of(v) or None, place_of, priority=6, grow=1,
               help="Where its newest machine stands"),
        Column("since", "Since", 7, lambda v: now() - since(v), lambda v: span(now() - since(v)), right=True,
               priority=3, help="Running for, ended ago, or made ago"),
        Column("cost", "Cost", 8, lambda v: v.cost(now()), lambda v: dollars(v.cost(now()), 3), right=True,
               help="$ so far, from price and time; bytes not counted"),
        Column("price", "$/h", 7, rate, lambda v: f"{v.per_hour():.4f}" if rate(v) else "-", right=True,
               priority=1, help="$/h of what may bill now"),
        Column("commit", "Commit", 10, lambda v: commit_of(v.run) or None, lambda v: commit_of(v.run),
               priority=7, style=lambda v: "dim", help="Commit of its code, + files that differ from it"),
        Column("what", "What happens", 16, lambda v: happens(v) or None, happens, priority=4, grow=6,
               style=lambda v: _happens_colour(v, now()), help="Its last log line, or what it waits for"),
    ]  # fmt: skip
