"""One SQLite file, WAL, synchronous FULL: what was committed survives a power cut.

One writer (the engine) and many readers (``readonly=True``, each with its own connection). Every change
of a record is committed together with the events that tell of it.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from choline_tui.kernel.errors import NotFound, StoreError
from choline_tui.model.run import Attempt, Event, Rental, RentalState, Run, RunState
from choline_tui.store.schema import VERSION, migrate

__all__ = ["Store"]

R = TypeVar("R", Run, Attempt, Rental)

MAX_READ = 1000
"""records that are kept as they were read"""


class Store:
    """Raises StoreError when the file cannot be opened, is damaged or is newer than this program.

    ``durable=False`` waits for no disk: what was committed survives this process, not a power cut. It is
    for rehearsals whose whole life is one process.
    """

    def __init__(self, path: Path | str, *, readonly: bool = False, durable: bool = True) -> None:
        self.path = str(path)
        self._read: dict[tuple[type[Any], str], tuple[str, Any]] = {}
        try:
            if readonly:
                self._db = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, timeout=10)
            else:
                self._db = sqlite3.connect(self.path, isolation_level=None, timeout=10)
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
                self._db.execute("PRAGMA foreign_keys = ON")
                migrate(self._db)
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        except sqlite3.Error as error:
            raise StoreError(f"cannot open the store {self.path}: {error}") from error
        if version != VERSION:
            raise StoreError(
                f"the store has schema {version}, this program knows {VERSION}",
                hint="Start the engine of this version once: choline engine start",
            )

    def close(self) -> None:
        self._db.close()

    # ------------------------------------------------------------------------------------- writing

    def commit(
        self, *records: Run | Attempt | Rental, events: Iterable[Event] = (), event: Event | None = None
    ) -> None:
        """Write records and events, all or nothing, on disk when this returns."""
        rows = [*events, *([event] if event else [])]
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                for record in records:
                    self._put(record)
                for e in rows:
                    db.execute(
                        "INSERT INTO events (at, kind, run, rental, old, new, text, data)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        (e.at, e.kind, e.run, e.rental, e.old, e.new, e.text, json.dumps(e.data)),
                    )
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreError(f"the store could not be written: {error}", hint="Is the disk full?") from error

    def _write(self, statement: str, values: Sequence[object]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreError(f"the store could not be written: {error}", hint="Is the disk full?") from error

    def _put(self, record: Run | Attempt | Rental) -> None:
        doc = record.model_dump_json()
        if isinstance(record, Run):
            self._db.execute(
                "INSERT INTO runs (id, state, name, created, doc) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET state = excluded.state, name = excluded.name,"
                " doc = excluded.doc",
                (record.id, record.state, record.plan.name, record.created, doc),
            )
        elif isinstance(record, Attempt):
            self._db.execute(
                "INSERT INTO attempts (run, n, state, doc) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (run, n) DO UPDATE SET state = excluded.state, doc = excluded.doc",
                (record.run, record.n, record.state, doc),
            )
        else:
            self._db.execute(
                "INSERT INTO rentals (id, run, label, state, contract, doc) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET run = excluded.run, state = excluded.state,"
                " contract = excluded.contract, doc = excluded.doc",
                (record.id, record.run, record.label, record.state, record.contract, doc),
            )

    # ------------------------------------------------------------------------------------- reading

    def _record(self, model: type[R], key: str, doc: str) -> R:
        """A record from its document. Records are frozen: one whose document has not changed since it was
        read is given again."""
        known = self._read.get((model, key))
        if known is not None and known[0] == doc:
            return cast(R, known[1])
        record = model.model_validate_json(doc)
        if len(self._read) >= MAX_READ:
            self._read.clear()
        self._read[model, key] = (doc, record)
        return record

    def run(self, run: str) -> Run:
        row = self._db.execute("SELECT doc FROM runs WHERE id = ?", (run,)).fetchone()
        if row is None:
            raise NotFound(f"there is no run {run!r}", hint="'choline status' lists the runs.")
        return self._record(Run, run, row[0])

    def find_run(self, text: str) -> Run:
        """A run by id, by an unambiguous beginning of one, or by name (the newest of that name)."""
        row = self._db.execute("SELECT doc FROM runs WHERE id = ?", (text,)).fetchone()
        if row is None:
            row = self._db.execute(
                # one that was taken out of the lists is not what a name means, while there is another
                "SELECT doc FROM runs WHERE name = ?"
                " ORDER BY json_extract(doc, '$.archived') IS NOT NULL, created DESC LIMIT 1",
                (text,),
            ).fetchone()
        if row is not None:
            return Run.model_validate_json(row[0])
        rows = self._db.execute(
            "SELECT doc FROM runs WHERE substr(id, 1, ?) = ? LIMIT 2", (len(text), text)
        ).fetchall()
        if len(rows) == 1 and text:
            return Run.model_validate_json(rows[0][0])
        what = "more than one run begins with" if rows and text else "there is no run"
        raise NotFound(f"{what} {text!r}", hint="'choline status' lists the runs.")

    def runs(self, *, live: bool = False, limit: int = -1) -> list[Run]:
        """Newest first."""
        where = "WHERE state != ?" if live else "WHERE ? IS NOT NULL"
        rows = self._db.execute(
            f"SELECT doc, id FROM runs {where} ORDER BY created DESC, id LIMIT ?",  # noqa: S608
            (RunState.ENDED, limit),
        )
        return [self._record(Run, r[1], r[0]) for r in rows]

    def run_ids(self) -> set[str]:
        return {r[0] for r in self._db.execute("SELECT id FROM runs")}

    def attempts(self, run: str) -> list[Attempt]:
        rows = self._db.execute("SELECT doc, n FROM attempts WHERE run = ? ORDER BY n", (run,))
        return [self._record(Attempt, f"{run} {r[1]}", r[0]) for r in rows]

    def attempt(self, run: str, n: int) -> Attempt:
        row = self._db.execute("SELECT doc FROM attempts WHERE run = ? AND n = ?", (run, n)).fetchone()
        if row is None:
            raise NotFound(f"run {run} has no attempt {n}")
        return self._record(Attempt, f"{run} {n}", row[0])

    def rental(self, rental: str) -> Rental:
        row = self._db.execute("SELECT doc FROM rentals WHERE id = ?", (rental,)).fetchone()
        if row is None:
            raise NotFound(f"there is no rental {rental!r}", hint="'choline rentals' lists them.")
        return self._record(Rental, rental, row[0])

    def rentals(self, *, run: str | None = None, live: bool = False) -> list[Rental]:
        """In order of intent."""
        where, values = [], []
        if run is not None:
            where.append("run = ?")
            values.append(run)
        if live:
            where.append("state != ?")
            values.append(str(RentalState.GONE))
        clause = f"WHERE {' AND '.join(where)}" if where else ""
        rows = self._db.execute(f"SELECT doc, id FROM rentals {clause}", values)  # noqa: S608
        found = [self._record(Rental, r[1], r[0]) for r in rows]
        return sorted(found, key=lambda r: (r.intended, r.attempt))

    def rentals_had(self, run: str) -> list[Rental]:
        """Those that this run ran on and that went on to another run, in order of its attempts."""
        rows = self._db.execute(
            "SELECT rentals.doc, rentals.id FROM attempts"
            " JOIN rentals ON rentals.id = json_extract(attempts.doc, '$.rental')"
            " WHERE attempts.run = ? AND rentals.run != attempts.run GROUP BY rentals.id ORDER BY attempts.n",
            (run,),
        )
        return [self._record(Rental, r[1], r[0]) for r in rows]

    def rentals_labelled(self, labels: Iterable[str]) -> list[Rental]:
        rows = self._db.execute(
            "SELECT doc, id FROM rentals WHERE label IN (SELECT value FROM json_each(?))",
            (json.dumps(list(labels)),),
        )
        return [self._record(Rental, r[1], r[0]) for r in rows]

    def busy_runs(self) -> list[str]:
        """Ids of runs that need the engine: live, or with a rental that is not gone."""
        rows = self._db.execute(
            "SELECT id FROM runs WHERE state != ? UNION SELECT run FROM rentals WHERE state != ?",
            (RunState.ENDED, RentalState.GONE),
        )
        return sorted(r[0] for r in rows)

    def events(self, *, run: str | None = None, after: int = 0, limit: int = -1) -> list[Event]:
        rows = self._db.execute(
            "SELECT seq, at, kind, run, rental, old, new, text, data FROM events"
            " WHERE seq > ? AND (? IS NULL OR run = ?) ORDER BY seq LIMIT ?",
            (after, run, run, limit),
        )
        return [
            Event(
                seq=r[0], at=r[1], kind=r[2], run=r[3], rental=r[4], old=r[5], new=r[6], text=r[7],
                data=json.loads(r[8]),
            )
            for r in rows
        ]  # fmt: skip

    # ---------------------------------------------------------------------------- what is remembered

    def meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Set once; a value that is there stays."""
        self._write("INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", (key, value))

    def refuse_machine(self, machine: int, reason: str, now: float) -> None:
        self._write(
            "INSERT OR REPLACE INTO machines (id, refused, reason) VALUES (?, ?, ?)", (machine, now, reason)
        )

    def refused_machines(self, since: float) -> dict[int, str]:
        rows = self._db.execute("SELECT id, reason FROM machines WHERE refused >= ?", (since,))
        return {int(r[0]): str(r[1]) for r in rows}

    def count_search(self, day: str) -> int:
        """Count one search request of this UTC day; returns how many it are now."""
        self._write(
            "INSERT INTO searches (day, used) VALUES (?, 1) ON CONFLICT (day) DO UPDATE SET used = used + 1",
            (day,),
        )
        return self.searches(day)

    def searches(self, day: str) -> int:
        row = self._db.execute("SELECT used FROM searches WHERE day = ?", (day,)).fetchone()
        return 0 if row is None else int(row[0])

    def keep_offers(self, query: str, seen: float, complete: bool, body: bytes, *, keep: int = 50) -> None:
        """Cache what the market said for a query; the ``keep`` newest stay."""
        self._write(
            "INSERT OR REPLACE INTO offers (query, seen, complete, body) VALUES (?, ?, ?, ?)",
            (query, seen, complete, body),
        )
        self._write(
            "DELETE FROM offers WHERE query NOT IN (SELECT query FROM offers ORDER BY seen DESC LIMIT ?)",
            (keep,),
        )

    def offers(self, query: str) -> tuple[float, bool, bytes] | None:
        row = self._db.execute("SELECT seen, complete, body FROM offers WHERE query = ?", (query,)).fetchone()
        return None if row is None else (float(row[0]), bool(row[1]), bytes(row[2]))

    def check(self) -> Sequence[str]:
        """What SQLite finds wrong with the file; empty when it is sound."""
        found = [str(r[0]) for r in self._db.execute("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found
