"""The schema, one migration a version; a database never goes back, and a newer one is refused.

Every version leaves a sample in ``tests/samples/store`` that later ones must open.
"""

import sqlite3

from choline_tui.kernel.errors import StoreError

__all__ = ["VERSION", "migrate"]

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE runs (
        id TEXT PRIMARY KEY, state TEXT NOT NULL, name TEXT NOT NULL, created REAL NOT NULL,
        doc TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX runs_by_time ON runs (created);
    CREATE TABLE attempts (
        run TEXT NOT NULL REFERENCES runs, n INTEGER NOT NULL, state TEXT NOT NULL,
        doc TEXT NOT NULL, PRIMARY KEY (run, n)) WITHOUT ROWID;
    CREATE TABLE rentals (
        id TEXT PRIMARY KEY, run TEXT NOT NULL REFERENCES runs, label TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL, contract INTEGER, doc TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX rentals_by_run ON rentals (run);
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
        run TEXT, rental TEXT, old TEXT, new TEXT, text TEXT NOT NULL, data TEXT NOT NULL);
    CREATE INDEX events_by_run ON events (run, seq);
    CREATE TRIGGER events_stay BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;
    CREATE TRIGGER events_last BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;
    CREATE TABLE machines (id INTEGER PRIMARY KEY, refused REAL NOT NULL, reason TEXT NOT NULL);
    CREATE TABLE searches (day TEXT PRIMARY KEY, used INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE offers (
        query TEXT PRIMARY KEY, seen REAL NOT NULL, complete INTEGER NOT NULL, body BLOB NOT NULL)
        WITHOUT ROWID;
    """,
)
VERSION = len(MIGRATIONS)


def migrate(db: sqlite3.Connection) -> None:
    """Bring a database to ``VERSION``, all steps in one transaction. Raises StoreError if it is newer."""
    have = int(db.execute("PRAGMA user_version").fetchone()[0])
    if have > VERSION:
        raise StoreError(
            f"the store was written by a newer choline (schema {have}, this one knows {VERSION})",
            hint="Update choline: pip install -U choline-tui",
        )
    if have == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        have = int(db.execute("PRAGMA user_version").fetchone()[0])
        for step in MIGRATIONS[have:]:
            for statement in _statements(step):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    found: list[str] = []
    part = ""
    for piece in script.split(";"):
        part += piece + ";"
        if sqlite3.complete_statement(part):
            if part.strip(" \n;"):
                found.append(part)
            part = ""
    return found
