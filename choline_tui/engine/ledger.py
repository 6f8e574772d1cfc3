"""Changes of records, each with its event, committed before anything else happens.

Every record is read fresh from the store inside one step without awaiting, so lanes that work on the
same run at the same time never write over each other's fields.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from choline_tui.engine.hub import Hub
from choline_tui.kernel.clock import Clock
from choline_tui.model.run import Attempt, Event, Rental, Run, Stay
from choline_tui.store import Store

__all__ = ["Batch", "Ledger"]


class Batch:
    """Several changes that are committed together."""

    def __init__(self, store: Store, now: float) -> None:
        self._store = store
        self._now = now
        self.runs: dict[str, Run] = {}
        self.attempts: dict[tuple[str, int], Attempt] = {}
        self.rentals: dict[str, Rental] = {}
        self.events: list[Event] = []

    def add_run(self, run: Run, text: str) -> None:
        self.runs[run.id] = run
        self.note("run", text, run=run.id, new=run.state)

    def add_attempt(self, attempt: Attempt, text: str) -> None:
        self.attempts[attempt.run, attempt.n] = attempt
        self.note("attempt", text, run=attempt.run, new=attempt.state)

    def add_rental(self, rental: Rental, text: str) -> None:
        self.rentals[rental.id] = rental
        self.note("rental", text, run=rental.run, rental=rental.id, new=rental.state)

    def run(self, run: str, text: str | None = None, **changes: Any) -> Run:
        old = self.runs.get(run) or self._store.run(run)
        new = old.but(**{"updated": self._now, **_sound(changes)})
        self.runs[run] = new
        self._tell("run", text, old.state, new.state, changes.get("reason", ""), run=run)
        return new

    def attempt(self, run: str, n: int, text: str | None = None, **changes: Any) -> Attempt:
        old = self.attempts.get((run, n)) or self._store.attempt(run, n)
        new = old.but(**_sound(changes))
        self.attempts[run, n] = new
        self._tell("attempt", text, old.state, new.state, changes.get("reason", ""), run=run)
        return new

    def rental(self, rental: str, text: str | None = None, **changes: Any) -> Rental:
        old = self.rentals.get(rental) or self._store.rental(rental)
        if {"price", "stopped_since", "state"} & set(changes):
            # the rate may change here: what was spent until now is settled at the old one
            changes = {"cost": old.cost_until(self._now), "cost_at": self._now, **changes}
        new = old.but(**_sound(changes))
        self.rentals[rental] = new
        reason = changes.get("release_reason", "")
        self._tell("rental", text, old.state, new.state, reason, run=old.run, rental=rental)
        return new

    def hand_over(self, rental: str, to: Attempt, text: str, **changes: Any) -> Rental:
        """A rental goes on to the run of this attempt; what it cost until now stays with those it had."""
        old = self.rentals.get(rental) or self._store.rental(rental)
        cost = old.cost_until(self._now)
        stay = Stay(run=old.run, attempt=old.attempt, until=self._now, cost=old.cost_of(old.run, self._now))
        new = old.but(
            run=to.run, attempt=to.n, past=[*old.past, stay], cost=cost, cost_at=self._now, **changes
        )
        self.rentals[rental] = new
        self.note("rental", text, run=to.run, rental=rental, new=new.state)
        self.note("note", f"its machine went on to run {to.run}", run=old.run, rental=rental)
        return new

    def note(
        self,
        kind: str,
        text: str,
        *,
        run: str | None = None,
        rental: str | None = None,
        old: str | None = None,
        new: str | None = None,
        **data: Any,
    ) -> None:
        self.events.append(
            Event(
                at=self._now, kind=kind, text=_utf8(text), run=run, rental=rental, old=old, new=new, data=data
            )
        )

    def _tell(self, kind: str, text: str | None, old: str, new: str, reason: str, **of: Any) -> None:
        if old != new or text is not None:
            self.note(kind, text or reason or f"{old} -> {new}", old=str(old), new=str(new), **of)


def _utf8(text: str) -> str:
    """Names of files that are no UTF-8 come in errors; a text that cannot be written would stop its run."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _sound(changes: dict[str, Any]) -> dict[str, Any]:
    return {k: _utf8(v) if type(v) is str else v for k, v in changes.items()}


class Ledger:
    def __init__(self, store: Store, clock: Clock, hub: Hub) -> None:
        self.store = store
        self.clock = clock
        self.hub = hub

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Commit everything at the end of the block; nothing when it raises."""
        batch = Batch(self.store, self.clock.time())
        yield batch
        records: list[Run | Attempt | Rental] = [
            *batch.runs.values(),
            *batch.attempts.values(),
            *batch.rentals.values(),
        ]
        if not records and not batch.events:
            return
        self.store.commit(*records, events=batch.events)
        for event in batch.events:
            self.hub.publish("event", event.run, **event.model_dump(mode="json"))
        for run in {r.id for r in batch.runs.values()} | {r.run for r in batch.rentals.values()}:
            self.hub.publish("change", run)

    def run(self, run: str, text: str | None = None, **changes: Any) -> Run:
        with self.batch() as batch:
            return batch.run(run, text, **changes)

    def attempt(self, run: str, n: int, text: str | None = None, **changes: Any) -> Attempt:
        with self.batch() as batch:
            return batch.attempt(run, n, text, **changes)

    def rental(self, rental: str, text: str | None = None, **changes: Any) -> Rental:
        with self.batch() as batch:
            return batch.rental(rental, text, **changes)

    def note(self, kind: str, text: str, **of: Any) -> None:
        with self.batch() as batch:
            batch.note(kind, text, **of)
