"""Whether a run may be taken out of the lists."""

from collections.abc import Sequence
from dataclasses import dataclass

from choline_tui.model.run import Attempt, Rental, RentalState, Run

__all__ = ["Reason", "why_not_removed"]


@dataclass(frozen=True)
class Reason:
    message: str
    hint: str


def why_not_removed(
    run: Run, attempts: Sequence[Attempt], rentals: Sequence[Rental], *, drop_results: bool = False
) -> Reason | None:
    """Why a run must stay in sight; None when it is over, nothing of it bills and nothing is lost."""
    if run.live:
        return Reason(
            f"run {run.id} is still {run.state}", f"'choline stop {run.id}' ends it, results first."
        )
    billing = next((r for r in rentals if r.may_bill), None)
    if billing is not None:
        held = billing.state is RentalState.HELD
        hint = f"'choline destroy {billing.id}' ends it." if held else "It goes when that is verified gone."
        return Reason(f"rental {billing.id} of run {run.id} is {billing.state}: it may bill", hint)
    if not run.results_complete and not drop_results and any(a.begun for a in attempts):
        return Reason(
            f"the results of run {run.id} never came home whole",
            "--drop-results removes it all the same; what did come home stays where it is.",
        )
    return None
