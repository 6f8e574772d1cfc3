"""The verb ``data``: home asks in one JSON object on stdin, and is answered by lines of JSON.

``{"progress": {...}}`` as often as something is worth telling, and the answer in the last line. Requests:

::

    {"do": "use", "key", "run", "into", "size", "arrived", "before"}    see ``DataStore.use``
    {"do": "fetch", "url", "run", "into", "endpoint", "region", "env", "bearer"}    see ``remote.fetch``

What stands in ``env`` may be secret: it stays in this process.
"""

import threading
import time
from typing import Any, Callable, Dict

from choline_tui.kernel.errors import UsageError
from choline_tui.kernel.manifest import PARTIAL
from choline_tui.remote import tree
from choline_tui.remote.datastore import DataStore

__all__ = ["Teller", "answer", "write_list"]

EVERY_S = 0.5


class Teller:
    """Tells of progress, from any thread, twice a second at most."""

    def __init__(self, tell: Callable[[Dict[str, Any]], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._last = 0.0

    def __call__(self, **progress: Any) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._last >= EVERY_S:
                self._last = now
                self._tell({"progress": progress})


def answer(store: DataStore, request: Any, tell: Callable[[Dict[str, Any]], None]) -> Dict[str, Any]:
    """Do what is asked. Raises ``UsageError``, ``RemoteError``, ``OSError``."""
    if not isinstance(request, dict):
        raise UsageError("not a request for data")
    run = str(request.get("run", ""))
    if not run or run.startswith(".") or not all(c.isalnum() or c in "-_." for c in run):
        raise UsageError("bad run id")
    into = str(request.get("into", ""))
    teller = Teller(tell)
    if request.get("do") == "use":
        size = request.get("size")
        return store.use(
            str(request.get("key", "")),
            run,
            into,
            size=size if isinstance(size, int) and size >= 0 else 0,
            arrived=request.get("arrived") is True,
            before=str(request.get("before", "")),
            told=lambda done, of: teller(what="checking", done=done, of=of),
        )
    if request.get("do") == "fetch":
        from choline_tui.remote.fetch import fetch

        return fetch(store, run, into, request, teller)
    raise UsageError("no such request for data: %s" % str(request.get("do"))[:50])


def write_list(store: DataStore, key: str, write: Callable[[bytes], object]) -> None:
    """What has arrived of a key, hashed: after a mark, ``sha256 SP size SP name NUL`` for each file."""
    write(b"choline-manifest\0")
    slot = store.slot(key)
    slot.make()
    for entry in tree.contents(slot.tree):
        if entry.kind == "f" and PARTIAL.encode() not in entry.path.split(b"/"):
            write(b"%s %d %s\0" % (entry.digest.encode(), entry.size, entry.path))
