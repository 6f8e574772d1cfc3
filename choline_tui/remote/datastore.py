"""Data by content, once on a remote however many runs use it.

::

    data/<key>/tree/        what has arrived so far
    data/<key>/whole        made when all of it was hashed and is that key's; with the quick look of then
    data/<key>/lock         held by whoever looks at it, fetches it, or takes it away
    data/<key>/runs/<run>   who uses it, and into which directory below its data/

What no run uses that is not over goes when the disk gets short, the longest unused first.
"""

import os
import shutil
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional

from choline_tui.kernel.content import is_key, key_of
from choline_tui.kernel.errors import RemoteError, UsageError
from choline_tui.kernel.protocol import ENDED
from choline_tui.remote import tree
from choline_tui.remote.files import lock, read_json, write_json
from choline_tui.remote.jobstore import JobStore
from choline_tui.remote.paths import Paths
from choline_tui.remote.share import share, unshare

__all__ = ["KEPT_FREE", "DataStore", "Slot"]

KEPT_FREE = 256 << 20
"""bytes of the disk that data never takes: the run has to write something, too"""
PREPARING_S = 6 * 3600.0
"""a run that has no job yet is on its way, until it has had none for so long"""
LOCK_S = 3600.0

Told = Callable[[int, int], None]
"""told of (bytes done, bytes in all) of a hashing"""


class Slot:
    """One key's place; ``DataStore.slot`` makes it."""

    def __init__(self, paths: Paths, key: str) -> None:
        self.key = key
        self.top = os.path.join(paths.data, key)
        self.tree = os.path.join(self.top, "tree")
        self.part = os.path.join(self.top, "part")
        self.runs = os.path.join(self.top, "runs")
        self._whole = os.path.join(self.top, "whole")

    def make(self) -> None:
        for path in (self.top, self.tree, self.runs):
            os.makedirs(path, mode=0o700, exist_ok=True)

    @contextmanager
    def locked(self, wait: float = LOCK_S, waiting: Optional[Callable[[], None]] = None) -> Iterator[None]:
        """``waiting`` is called again and again while somebody else has it."""
        self.make()
        path, until = os.path.join(self.top, "lock"), time.monotonic() + wait
        held = lock(path, wait=min(wait, 1.0))
        while held is None and time.monotonic() < until:
            if waiting is not None:
                waiting()
            held = lock(path, wait=1.0)
        if held is None:
            raise RemoteError("another run has been busy with the same data on this machine for too long")
        try:
            yield
        finally:
            os.close(held)

    def whole(self) -> Optional[Dict[str, Any]]:
        """What was noted when all of it was there; None when it was not, or was written to since."""
        noted = read_json(self._whole)
        if noted is None:
            return None
        try:
            if noted.get("quick") == tree.quick(self.tree):
                return noted
        except OSError:
            pass
        os.unlink(self._whole)
        return None

    def settle(self, told: Optional[Callable[[int], None]] = None) -> Optional[Dict[str, Any]]:
        """Hash everything; note it as whole when it is this key's, None when it is not."""
        found = tree.contents(self.tree, told)
        if key_of(found) != self.key:
            return None
        return self.note(sum(e.size for e in found), sum(e.kind == "f" for e in found))

    def note(self, size: int, files: int) -> Dict[str, Any]:
        """From here on it counts as whole."""
        tree.seal(self.tree)
        noted = {"quick": tree.quick(self.tree), "bytes": size, "files": files}
        write_json(self._whole, noted)
        return noted

    def used(self, run: str, into: str) -> None:
        write_json(os.path.join(self.runs, run), {"into": into}, sync=False)

    def users(self) -> List[str]:
        try:
            return [name for name in os.listdir(self.runs) if not name.endswith(".tmp")]
        except OSError:
            return []

    def last_used(self) -> float:
        times = []
        for path in [self.runs, *(os.path.join(self.runs, run) for run in self.users())]:
            try:
                times.append(os.stat(path).st_mtime)
            except OSError:
                continue
        return max(times, default=0.0)


class DataStore:
    """``free``: bytes that may be written below a directory; ``wall``: epoch s."""

    def __init__(
        self,
        paths: Paths,
        jobs: JobStore,
        *,
        free: Optional[Callable[[], int]] = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._paths = paths
        self._jobs = jobs
        self._free = free or self._disk_free
        self._wall = wall

    def slot(self, key: str) -> Slot:
        if not is_key(key):
            raise UsageError("bad key of data")
        return Slot(self._paths, key)

    def use(
        self,
        key: str,
        run: str,
        into: str,
        *,
        size: int,
        arrived: bool = False,
        before: str = "",
        told: Optional[Told] = None,
    ) -> Dict[str, Any]:
        """Give ``run`` the data of that key below ``into`` of its data/, when it is whole.

        ``size``: bytes it takes. ``arrived``: all of it was sent, so hash it. ``before``: the key that it had
        before something in it changed: what had arrived then counts. Answers ``{"state": ...}``: whole (and
        ``how``), differs, part (and ``have``), full (and ``free``). Raises ``OSError``.
        """
        slot = self.slot(key)
        if before and is_key(before) and not os.path.isdir(slot.top):
            self._move(self.slot(before), slot)
        with slot.locked(waiting=lambda: told and told(0, size)):
            slot.used(run, into)
            was_whole = os.path.exists(os.path.join(slot.top, "whole"))
            noted = slot.whole()
            if noted is None and (arrived or was_whole):
                # one that was written to may still have the same bytes
                noted = slot.settle(_counted(told, size))
            if noted is not None:
                how = share(slot.tree, self.place(run, into), told=_counted(told, size))
                return {"state": "whole", "how": how, "bytes": noted["bytes"], "files": noted["files"]}
            if arrived:
                return {"state": "differs"}
            have, _ = tree.files_of(slot.tree)
            free = self.make_room(size - have, key)
            if size - have > free:
                return {"state": "full", "free": max(0, free), "need": size - have}
            return {"state": "part", "have": have}

    def place(self, run: str, into: str) -> str:
        """The directory of a run that data goes to. ``UsageError`` for one outside of data/."""
        parts = [part for part in into.split("/") if part not in ("", ".")]
        if ".." in parts or into.startswith("/") or "\0" in into:
            raise UsageError("data goes below data/ only")
        return os.path.join(self._paths.run(run, "data"), *parts)

    def _move(self, old: Slot, new: Slot) -> None:
        """What was sent of an earlier state of the same files; one that is whole stays as it is."""
        try:
            with old.locked(wait=0.0):
                if old.whole() is None:
                    os.rename(old.top, new.top)
                    shutil.rmtree(new.runs, ignore_errors=True)
        except (OSError, RemoteError):
            pass  # it is sent once more

    # room

    def _disk_free(self) -> int:
        found = os.statvfs(self._paths.system)
        return found.f_bavail * found.f_frsize - KEPT_FREE

    def make_room(self, needed: int, keep: str) -> int:
        """Bytes that may be written, after what nobody needs went if fewer than ``needed`` were."""
        free = self._free()
        if needed <= free:
            return free
        for slot in sorted(self._unused(keep), key=Slot.last_used):
            self._drop(slot)
            free = self._free()
            if needed <= free:
                break
        return free

    def _unused(self, keep: str) -> List[Slot]:
        try:
            names = [name for name in os.listdir(self._paths.data) if is_key(name) and name != keep]
        except OSError:
            return []
        slots = [self.slot(name) for name in names]
        live = {job.rpartition("-")[0] for job, status in self._jobs.all().items() if status.state != ENDED}
        over = {job.rpartition("-")[0] for job in self._jobs.taken()} - live
        return [slot for slot in slots if not any(self._needs(slot, r, live, over) for r in slot.users())]

    def _needs(self, slot: Slot, run: str, live: "set[str]", over: "set[str]") -> bool:
        if run in live:
            return True
        if run in over:
            return False
        try:
            return self._wall() - os.stat(os.path.join(slot.runs, run)).st_mtime < PREPARING_S
        except OSError:
            return False

    def _drop(self, slot: Slot) -> None:
        try:
            with slot.locked(wait=0.0):
                for run in slot.users():
                    noted = read_json(os.path.join(slot.runs, run)) or {}
                    # a file's bytes are free only when its last name is gone
                    unshare(slot.tree, self.place(run, str(noted.get("into", ""))))
                try:
                    os.unlink(os.path.join(slot.top, "whole"))
                except FileNotFoundError:
                    pass
                shutil.rmtree(slot.top, ignore_errors=True)
        except (OSError, RemoteError, UsageError):
            pass  # somebody is busy with it, or it will not go: another one may


def _counted(told: Optional[Told], size: int) -> Optional[Callable[[int], None]]:
    """Hashed in several threads; a count that misses a block now and then is good enough to be shown."""
    if told is None:
        return None
    done = [0]

    def count(more: int) -> None:
        done[0] += more
        told(min(done[0], size), size)

    return count
