"""Which of a run's result files may be brought home now: those that nobody writes any more.

Pure: two listings and a time come in. What is still written is told by its age on the remote's own clock
and by its name; the files of one checkpoint that are written one after another wait for each other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from choline_tui.kernel.unfinished import is_temporary
from choline_tui.ssh.listing import Entry

__all__ = ["SMALL", "TOGETHER_S", "Sorted", "sort"]

TOGETHER_S = 120.0
"""s that a finished file waits for the others of its directory"""
SMALL = 16 << 20
"""bytes of a file that is brought while it is written, as an unfinished one (a log, say)"""


@dataclass
class Sorted:
    """Names by what becomes of them. ``ready``: whole, and to be brought; ``changing``: still written."""

    ready: dict[bytes, Entry] = field(default_factory=dict)
    directories: list[bytes] = field(default_factory=list)
    changing: dict[bytes, Entry] = field(default_factory=dict)
    waiting: dict[bytes, Entry] = field(default_factory=dict)
    """whole, but others of the same checkpoint are still written"""

    def small(self) -> dict[bytes, Entry]:
        """What may be brought while it is written."""
        return {
            name: entry
            for name, entry in self.changing.items()
            if entry.kind == "f" and entry.size <= SMALL and not is_temporary(name)
        }


def sort(
    there: Mapping[bytes, Entry],
    here: Mapping[bytes, Entry],
    now: int | None,
    settle_s: float,
    differs: Callable[[Entry, Entry | None], bool],
    known: Callable[[bytes], bool] = lambda name: False,
) -> Sorted:
    """``there``: files on the remote at its time ``now`` (epoch s; None: not known, nothing is young);
    ``here``: those at home. ``settle_s`` 0: all count as whole. ``known``: whether home has an unfinished
    copy of a name."""
    found = Sorted()
    young: dict[bytes, bool] = {}
    """by directory that holds something unfinished: whether others there wait for it"""
    for name, entry in there.items():
        if entry.kind == "d":
            continue
        if entry.kind == "f" and settle_s > 0 and (is_temporary(name) or _age(entry, now) < settle_s):
            found.changing[name] = entry
            parent = name.rpartition(b"/")[0]
            # what home has seen grow from small on is a log, and no part of a checkpoint
            part = entry.size > SMALL or not (name in here or known(name))
            # files of one checkpoint have a directory of their own: those at the top are each for itself
            young[parent] = young.get(parent, False) or bool(parent and part and not is_temporary(name))
    for name, entry in there.items():
        if entry.kind in "fl" and name not in found.changing and differs(entry, here.get(name)):
            waits = young.get(name.rpartition(b"/")[0], False) and _age(entry, now) < TOGETHER_S
            (found.waiting if waits else found.ready)[name] = entry
    unready = {parent for name in (*found.changing, *found.waiting) for parent in _parents(name)}
    found.directories = [
        name for name, e in there.items() if e.kind == "d" and name not in here and name not in unready
    ]
    return found


def _age(entry: Entry, now: int | None) -> float:
    """s since it changed. A time far ahead of the remote's clock says nothing (a copied time, a clock that
    was set back): such a file counts as old."""
    if now is None or entry.mtime > now + 60:
        return float("inf")
    return max(0.0, float(now - entry.mtime))


def _parents(name: bytes) -> list[bytes]:
    parts = name.split(b"/")
    return [b"/".join(parts[:end]) for end in range(1, len(parts))]
