"""Events in a person's words, and which of them a person who watches need not hear.

The log of events is written for the record: a run, its attempt and its rental each tell of the same moment.
Nothing is lost here: ``choline show`` has every row, ``--json`` as it was written.
"""

import re
from typing import TYPE_CHECKING

from choline_tui.model.words import clean

if TYPE_CHECKING:
    from choline_tui.model.run import Event

__all__ = ["STATES", "plain_words", "worth_telling"]

STATES = {
    "run": {
        "scheduled": "waits for its time",
        "waiting": "looks for an offer",
        "acquiring": "a machine is being rented",
        "preparing": "the machine is being prepared",
        "running": "the command runs",
        "pausing": "is being paused",
        "paused": "is paused",
        "interrupted": "the machine was taken away",
        "collecting": "the results are being brought home",
        "ended": "the run has ended",
    },
    "attempt": {
        "acquiring": "waits for its machine",
        "preparing": "the machine is being prepared",
        "running": "the command runs",
        "collecting": "the results are being brought home",
        "ended": "this attempt has ended",
    },
    "rental": {
        "intended": "is about to be rented",
        "unknown": "it is not known whether it was rented",
        "booting": "the machine starts",
        "up": "the machine is up",
        "held": "the machine is kept: it bills",
        "releasing": "is being destroyed; it may bill until that is verified",
        "gone": "is gone; nothing of it bills",
    },
}
"""what being in a state means, for a text that only names the state"""

_BARE = re.compile(r"(?:\w+ -> )?(\w+)", re.ASCII)
_ATTEMPT = re.compile(r"attempt (\d+)( ended)?", re.ASCII)
_JOB = re.compile(r"job: (\w+)", re.ASCII)


def plain_words(event: "Event", limit: int = 400) -> str:
    """The event as an inert line; names of states are put into words."""
    text = clean(event.text, limit)
    bare = _BARE.fullmatch(text)
    if bare is not None:
        return STATES.get(event.kind, {}).get(bare[1], text)
    job = _JOB.fullmatch(text)
    return f"the machine says of the command: {job[1]}" if job is not None else text


def worth_telling(event: "Event", limit: int = 400) -> str:
    """As ``plain_words``; '' for what another event of the same moment says better."""
    text = clean(event.text, limit)
    if event.kind == "attempt":
        number = _ATTEMPT.fullmatch(text)
        if number is not None:
            # how an attempt ended is told by the run; that there is a first one goes without saying
            return "" if number[2] or number[1] == "1" else f"on to another machine: attempt {number[1]}"
        if text in ("the command was handed over", "job: running"):
            return ""  # "the command runs" is the run's own
    if event.kind == "run":
        if event.new == "acquiring" and text.startswith("renting "):
            return ""  # the rental has told it, with the offer
        if text == "preparing":
            return ""  # the check of the machine and what is sent are told
    return plain_words(event, limit)
