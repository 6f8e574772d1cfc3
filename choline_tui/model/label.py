"""The label every rental carries on the market: ``choline-<home>-<run>-<attempt>``.

It is how a rental is found again after an unclear answer, and how ours are told from other people's.
"""

import re
from dataclasses import dataclass

__all__ = ["Label", "make_label", "read_label"]

_LABEL = re.compile(r"choline-([a-z0-9]{4,16})-([a-z0-9]{4,16})-([1-9][0-9]{0,5})")


@dataclass(frozen=True)
class Label:
    home: str
    run: str
    attempt: int


def make_label(home: str, run: str, attempt: int) -> str:
    text = f"choline-{home}-{run}-{attempt}"
    if not _LABEL.fullmatch(text):
        raise ValueError(f"not a label: {text!r}")
    return text


def read_label(text: object) -> Label | None:
    """What a label says, or None when it is not one of choline's."""
    found = _LABEL.fullmatch(text) if isinstance(text, str) else None
    return Label(found[1], found[2], int(found[3])) if found else None
