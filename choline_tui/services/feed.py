"""A live picture of this home: runs, money, engine and account, for a screen to draw.

The store is the truth that all apps and commands beside them share: whether it changed is asked a few
times a second (``PRAGMA data_version``, some microseconds), and only documents that changed are decoded.
The engine is asked for its state and the account's credit; nothing here starts it.
"""

import asyncio
import contextlib
import datetime
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from choline_tui.kernel.clock import Clock, SystemClock
from choline_tui.kernel.errors import BadKey, CholineError, EngineError, MarketDown

if TYPE_CHECKING:
    from choline_tui.services.choline import Choline, Closed, Money, RunView
    from choline_tui.services.connection import Connection

__all__ = ["EngineState", "Feed", "MarketState", "Snapshot", "Source"]

POLL = 0.25
"""s between two looks at whether the store changed"""
AFTER = 0.5
"""s from a picture to the next look: an engine that is busy with many runs writes all the time"""
KNOCK = 2.0
"""s between two tries to reach an engine that does not answer"""
CREDIT_EVERY = 300.0
CREDIT_AGAIN = 30.0
"""s after a failed question for the credit"""
MONEY_EVERY = 5.0
"""s after which a picture is given though nothing changed, while something bills: money moves by itself"""


@dataclass(frozen=True)
class EngineState:
    state: Literal["up", "down", "unknown"] = "unknown"
    text: str = ""
    busy: bool = False
    searches: int = 0
    """searches of today"""
    ration: int = 0


@dataclass(frozen=True)
class MarketState:
    """``url``: the market the engine works on. ``error``: why the account could not be read."""

    state: Literal["ok", "no-key", "offline", "error", "unknown"] = "unknown"
    url: str = ""
    error: CholineError | None = None

    @property
    def simulator(self) -> bool:
        """On this computer: nobody's real money."""
        from choline_tui.config.settings import is_rehearsal

        return is_rehearsal(self.url)


@dataclass(frozen=True)
class Snapshot:
    """``at``: epoch s. ``credit``: $, None when unknown. ``trouble``: the store could not be read."""

    at: float
    runs: "tuple[RunView, ...]"
    money: "Money"
    engine: EngineState = EngineState()
    credit: float | None = None
    generation: int = 0
    market: MarketState = MarketState()
    trouble: CholineError | None = None


class Source(Protocol):
    """What a screen needs of a feed."""

    def watch(self) -> AsyncIterator[Snapshot]: ...

    def look_again(self) -> None: ...

    async def close(self) -> None: ...


@dataclass
class _Known:
    """One record as it was last read."""

    doc: str
    value: Any


@dataclass
class Feed:
    """``choline`` gives paths and environment. ``watch`` is for one reader at a time."""

    choline: "Choline"
    clock: Clock = field(default_factory=SystemClock)
    _db: sqlite3.Connection | None = None
    _version: int | None = None
    _seq: int = 0
    _busy: frozenset[str] = frozenset()
    _views: "dict[str, RunView]" = field(default_factory=dict)
    _order: list[str] = field(default_factory=list)
    """ids of ``_views``, the newest first"""
    _docs: dict[tuple[str, str], _Known] = field(default_factory=dict)
    _closed: "dict[str, Closed]" = field(default_factory=dict)
    _line: "Connection | None" = None
    _engine: EngineState = EngineState()
    _market: MarketState = MarketState()
    _credit: float | None = None
    _knock_at: float = 0.0
    _credit_at: float = 0.0
    _asking: "asyncio.Task[None] | None" = None
    _again: bool = False

    def look_again(self) -> None:
        """Ask everything anew with the next look."""
        self._knock_at = self._credit_at = 0.0
        self._again = True

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
            self._asking = None
        if self._line is not None:
            await self._line.close()
            self._line = None
        if self._db is not None:
            self._db.close()
            self._db = None

    async def watch(self) -> AsyncIterator[Snapshot]:
        """A picture at once, then one whenever something changed. Raises nothing: what cannot be read is
        said in the picture. Leave it by cancelling, then ``close``."""
        generation = 0
        last: Snapshot | None = None
        while True:
            self._ask_engine()
            trouble: CholineError | None = None
            try:
                changed = await self._look()
            except CholineError as error:
                changed, trouble = False, error
            except sqlite3.Error as error:
                from choline_tui.kernel.errors import StoreError

                changed, trouble = False, StoreError(f"the store cannot be read: {error}")
                self._drop_db()
            now = self.clock.time()
            if last is None or changed or self._again or self._moved(last, now, trouble):
                self._again = False
                generation += 1
                last = self._picture(now, generation, trouble)
                yield last
            await self.clock.sleep(AFTER if changed else POLL)

    def _moved(self, last: Snapshot, now: float, trouble: CholineError | None) -> bool:
        if (last.engine, last.market, last.credit) != (self._engine, self._market, self._credit):
            return True
        if (last.trouble is None) != (trouble is None):
            return True
        return bool(last.money.rentals) and not 0 <= now - last.at < MONEY_EVERY

    def _picture(self, now: float, generation: int, trouble: CholineError | None) -> Snapshot:
        from choline_tui.services.choline import money_of

        if len(self._order) != len(self._views) or not self._views.keys() >= set(self._order):
            ordered = sorted(self._views.values(), key=lambda v: (-v.run.created, v.run.id))
            self._order = [view.run.id for view in ordered]
        everything = [self._views[run] for run in self._order]
        # what bills is in sight, whoever put its run away (a contract that came back, say)
        runs = tuple(
            view
            for view in everything
            if view.run.archived is None or any(rental.may_bill for rental in view.rentals)
        )
        midnight = day_start(now)
        rentals = (r for view in everything for r in view.rentals)
        money = money_of(rentals, now, midnight, self._closed)
        return Snapshot(now, runs, money, self._engine, self._credit, generation, self._market, trouble)

    # ------------------------------------------------------------------------------------- the store

    def _drop_db(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db, self._version = None, None

    async def _look(self) -> bool:
        """Read what changed since the last time; whether anything did."""
        if self._db is None:
            if not self.choline.paths.store.exists():
                return False
            from choline_tui.store import Store

            Store(self.choline.paths.store, readonly=True).close()  # its version is checked there
            uri = f"{self.choline.paths.store.absolute().as_uri()}?mode=ro"
            self._db = sqlite3.connect(uri, uri=True, timeout=1)
            self._views.clear()
            self._docs.clear()
            self._seq = 0
        version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
        if version == self._version:
            return False
        first = self._version is None
        self._version = version
        return await self._read(self._db, everything=first)

    async def _read(self, db: sqlite3.Connection, *, everything: bool) -> bool:
        present = {r[0] for r in db.execute("SELECT id FROM runs")}
        busy = frozenset(
            r[0]
            for r in db.execute(
                "SELECT id FROM runs WHERE state != 'ended'"
                " UNION SELECT run FROM rentals WHERE state != 'gone'"
            )
        )
        told = db.execute(
            "SELECT run, max(seq) FROM events WHERE seq > ? GROUP BY run", (self._seq,)
        ).fetchall()
        self._seq = max([self._seq, *(r[1] for r in told)])
        # who left the busy ones has to be read once more
        wanted = busy | self._busy | {r[0] for r in told if r[0]} | (present - set(self._views))
        if everything:
            wanted = frozenset(present)
        self._busy = busy
        changed = False
        for gone in set(self._views) - present:
            del self._views[gone]
            for key in [k for k in self._docs if k[0] == gone]:
                del self._docs[key]
            changed = True
        for count, run in enumerate(sorted(wanted & present)):
            if count % 50 == 49:
                await asyncio.sleep(0)  # a screen must not stand still for a long history
            changed |= self._read_run(db, run)
        return changed or everything

    def _read_run(self, db: sqlite3.Connection, run: str) -> bool:
        from choline_tui.model.run import Attempt, Rental, Run
        from choline_tui.services.choline import RunView

        row = db.execute("SELECT doc FROM runs WHERE id = ?", (run,)).fetchone()
        if row is None:
            return False
        changed = self._decode(run, "run", row[0], Run)
        attempts = []
        for n, doc in db.execute("SELECT n, doc FROM attempts WHERE run = ? ORDER BY n", (run,)):
            changed |= self._decode(run, f"a{n}", doc, Attempt)
            attempts.append(self._docs[run, f"a{n}"].value)
        rentals = []
        for name, doc in db.execute("SELECT id, doc FROM rentals WHERE run = ?", (run,)):
            changed |= self._decode(run, f"r{name}", doc, Rental)
            rentals.append(self._docs[run, f"r{name}"].value)
        had = []
        for name in {a.rental for a in attempts} - {r.id for r in rentals}:
            # what went on to another run: this one's part of its cost stands
            for (doc,) in db.execute("SELECT doc FROM rentals WHERE id = ?", (name,)):
                changed |= self._decode(run, f"r{name}", doc, Rental)
                had.append(self._docs[run, f"r{name}"].value)
        if changed:
            rentals.sort(key=lambda r: (r.intended, r.attempt))
            had.sort(key=lambda r: (r.intended, r.attempt))
            self._views[run] = RunView(self._docs[run, "run"].value, attempts, rentals, had)
        return changed

    def _decode(self, run: str, name: str, doc: str, kind: Any) -> bool:
        known = self._docs.get((run, name))
        if known is not None and known.doc == doc:
            return False
        self._docs[run, name] = _Known(doc, kind.model_validate_json(doc))
        return True

    # ------------------------------------------------------------------------------------ the engine

    def _ask_engine(self) -> None:
        """Look after the line to the engine, without waiting for an answer."""
        now = self.clock.monotonic()
        if self._asking is not None:
            if not self._asking.done():
                return
            self._asking = None
        if self._line is not None and self._line.closed and self._engine.state == "up":
            self._engine = EngineState("down", "it ended")
            self._knock_at = now
        if (self._line is None or self._line.closed) and now >= self._knock_at:
            self._knock_at = now + KNOCK
            self._asking = asyncio.create_task(self._knock())
        elif self._line is not None and not self._line.closed and now >= self._credit_at:
            self._credit_at = now + CREDIT_EVERY
            self._asking = asyncio.create_task(self._ask_credit(self._line))

    async def _knock(self) -> None:
        from choline_tui.services.connection import Connection

        if self._line is not None:
            await self._line.close()
            self._line = None
        try:
            line = await Connection.open(self.choline.paths.engine_socket)
        except (OSError, CholineError):
            was = self._engine
            self._engine = was if was.state == "down" else EngineState("down", "it does not run")
            return
        self._line = line
        await self._greet(line)
        self._credit_at = 0.0

    async def _greet(self, line: "Connection") -> None:
        try:
            hello = await asyncio.wait_for(line.call("hello"), 10)
            self._engine = EngineState(
                "up",
                f"process {hello.get('pid')}",
                busy=bool(hello.get("busy")),
                searches=int(hello.get("searches_today") or 0),
                ration=int(hello.get("ration") or 0),
            )
            self._market = replace(self._market, url=str(hello.get("url") or ""))
        except (CholineError, TimeoutError, ValueError, TypeError, AttributeError) as error:
            self._engine = EngineState("down", str(error) or "it does not answer")
            await line.close()

    async def _ask_credit(self, line: "Connection") -> None:
        again = self.clock.monotonic() + CREDIT_AGAIN
        try:
            account = await line.call("account")
        except EngineError:
            self._credit_at = again
            return
        except CholineError as error:
            self._credit_at = again
            self._credit = None
            state: Literal["no-key", "offline", "error"] = "error"
            if isinstance(error, BadKey):
                state = "no-key"
            elif isinstance(error, MarketDown):
                state = "offline"
            self._market = replace(self._market, state=state, error=error)
        else:
            credit = account.get("credit") if isinstance(account, dict) else None
            self._credit = float(credit) if isinstance(credit, (int, float)) else None
            self._market = replace(self._market, state="ok", error=None)
        with contextlib.suppress(CholineError):
            await self._greet(line)


def day_start(now: float) -> float:
    """Epoch s of the last local midnight."""
    local = datetime.datetime.fromtimestamp(now).astimezone()
    return local.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
