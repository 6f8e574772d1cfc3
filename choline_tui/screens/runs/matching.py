"""The filter of the runs list: words that all must be found in a run."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from choline_tui.screens.runs.cells import billing, commit_of, gpu_of, place_of, state_word

if TYPE_CHECKING:
    from choline_tui.services.choline import RunView

__all__ = ["GROUPS", "matcher"]

GROUPS: "dict[str, Callable[[RunView], bool]]" = {
    "live": lambda view: view.run.live,
    "ended": lambda view: not view.run.live,
    "billing": lambda view: bool(billing(view)),
}
"""words that mean a kind of run, when they stand alone"""


def matcher(text: str) -> "Callable[[RunView], bool] | None":
    """True for runs that hold every word of ``text`` in id, name, note, state, GPU, place, commit, branch or
    reason; ``-word``: that do not. ``live``, ``ended``, ``billing`` mean what they say. None: no words."""
    tests = [_test(word) for word in text.casefold().split()]
    tests = [test for test in tests if test is not None]
    if not tests:
        return None
    return lambda view: all(test(view) for test in tests)  # type: ignore[misc]


def _test(word: str) -> "Callable[[RunView], bool] | None":
    if word in ("-", "!"):
        return None
    if word[0] in "-!":
        inner = _test(word[1:])
        return None if inner is None else lambda view: not inner(view)
    group = GROUPS.get(word)
    if group is not None:
        return group
    return lambda view: word in _text(view)


def _text(view: "RunView") -> str:
    run = view.run
    states = " ".join(str(r.state) for r in billing(view))
    branch = run.code.branch if run.code is not None else ""
    parts = (
        run.id, run.plan.name, run.plan.note, state_word(run), str(run.state), states, gpu_of(view),
        gpu_of(view).replace(" ", "_"), place_of(view), commit_of(run), branch, run.reason,
    )  # fmt: skip
    return "\n".join(parts).casefold()
