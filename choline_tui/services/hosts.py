"""What this home remembers of machines: those it refused, and how its own runs went there."""

from dataclasses import dataclass

from choline_tui.model.run import Outcome
from choline_tui.store import Store

__all__ = ["HostMemory", "remember"]

REFUSED_FOR = 7 * 86400.0
"""s for which the engine leaves a refused machine alone"""


@dataclass(frozen=True)
class HostMemory:
    """One machine, by its id on the market."""

    refused: str = ""
    """why the engine rents nothing there now; '' when it would"""
    runs: int = 0
    """attempts of ours there"""
    succeeded: int = 0
    failed: int = 0
    """the task's own failures"""
    errors: int = 0
    """failures of machine, network or market: what speaks against it"""
    last: float | None = None
    """epoch s of the last rental there"""

    @property
    def words(self) -> str:
        """In a few words; '' when nothing is remembered."""
        parts = []
        if self.refused:
            parts.append("refused")
        if self.errors:
            parts.append(f"{self.errors} bad")
        if self.succeeded:
            parts.append(f"{self.succeeded} ok")
        other = self.runs - self.errors - self.succeeded
        if other > 0:
            parts.append(f"{other} run{'s' if other > 1 else ''}")
        return " ".join(parts)


def remember(store: Store, now: float) -> dict[int, HostMemory]:
    """By machine id; only machines of which something is known."""
    counts: dict[int, dict[str, float]] = {}
    outcomes = {(a.run, a.n): a.outcome for run in store.run_ids() for a in store.attempts(run)}
    for rental in store.rentals():
        if rental.machine_id is None or rental.contract is None:
            continue
        tally = counts.setdefault(
            rental.machine_id, {"runs": 0, "ok": 0, "failed": 0, "error": 0, "last": 0.0}
        )
        for of in (*((stay.run, stay.attempt) for stay in rental.past), (rental.run, rental.attempt)):
            outcome = outcomes.get(of)
            tally["runs"] += 1
            tally["ok"] += outcome is Outcome.SUCCEEDED
            tally["failed"] += outcome is Outcome.FAILED
            tally["error"] += outcome is Outcome.ERROR
        tally["last"] = max(tally["last"], rental.intended)
    refused = store.refused_machines(now - REFUSED_FOR)
    return {
        machine: HostMemory(
            refused=refused.get(machine, ""),
            runs=int(tally.get("runs", 0)),
            succeeded=int(tally.get("ok", 0)),
            failed=int(tally.get("failed", 0)),
            errors=int(tally.get("error", 0)),
            last=tally.get("last") or None,
        )
        for machine in {*counts, *refused}
        for tally in (counts.get(machine, {}),)
    }
