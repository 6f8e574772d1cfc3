"""A life that fails, made as short as it can be while it still breaks the same rule."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.proof import lives
from tests.proof.recipe import Recipe, draw

__all__ = ["check_of", "failure", "shrunk"]

TRIES = 250
"""lives that a shrinking may take"""


def check_of(error: BaseException) -> str:
    """The name of the rule that was broken, or of whatever else went wrong."""
    return str(getattr(error, "check", type(error).__name__))


def failure(recipe: Recipe) -> Exception | None:
    """How a life ends: None when it keeps every rule."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            lives.one(Path(folder), recipe.seed, recipe)
        except Exception as error:
            return error
    return None


def shrunk(
    seed: int, check: str, fails: Callable[[Recipe], Exception | None] = failure, tries: int = TRIES
) -> Recipe:
    """The recipe of ``seed`` without what is not needed to break ``check``: halves of its decisions are left
    out, then quarters, until not one of them can be."""
    whole = draw(seed)
    names: list[str] = whole.names()
    left = tries

    def still(kept: Sequence[str]) -> bool:
        nonlocal left
        left -= 1
        error = fails(whole.only(kept))
        return error is not None and check_of(error) == check

    size = max(1, len(names) // 2)
    while left > 0:
        removed = False
        at = len(names)
        while at > 0 and left > 0:
            # from the end: what came last is most often not needed
            begin = max(0, at - size)
            kept = names[:begin] + names[at:]
            if kept and still(kept):
                names, removed = kept, True
            at = begin
        if size == 1 and not removed:
            break
        size = size if removed and size == 1 else max(1, size // 2)
    return whole.only(names)
