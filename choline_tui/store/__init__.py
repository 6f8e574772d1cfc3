"""The store: runs, attempts, rentals and the append-only event log, in one SQLite file."""

from choline_tui.store.db import Store

__all__ = ["Store"]
