"""Fetching data from where it is, into the store: resumed where it stopped, checked, bounded by the disk."""

import hashlib
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Mapping, Optional

from choline_tui.kernel.content import DIGITS
from choline_tui.kernel.errors import RemoteError, UsageError
from choline_tui.kernel.look import Holding, Thing, Wanted, headers_of, look, refused
from choline_tui.kernel.s3 import md5_of
from choline_tui.kernel.source import shown
from choline_tui.kernel.web import Answer, Web, WebTrouble
from choline_tui.remote import tree
from choline_tui.remote.datastore import DataStore, Slot
from choline_tui.remote.share import share

__all__ = ["fetch"]

_BLOCK = 1 << 20
_THREADS = 8
TRIES = 6
"""in a row without a byte of progress"""
CHANGES = 3
_LOOK_AT_DISK = 64 << 20
"""bytes written between two looks at what is free"""

Told = Callable[..., None]


class _Changed(Exception):
    """It is not what it was when its size was asked."""


class _Full(Exception):
    """The disk's last bytes are not for data."""


def fetch(
    store: DataStore,
    run: str,
    into: str,
    request: Mapping[str, Any],
    tell: Told,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, Any]:
    """Give ``run`` what is at ``request["url"]``, fetched unless it is in the store.

    Answers as ``DataStore.use``, with ``fetched`` (bytes that came now). Raises ``NotFound`` and
    ``UsageError`` for what no machine could mend, ``RemoteError`` for what may go better later, ``OSError``.
    """
    try:
        wanted = Wanted.from_wire(request)
    except ValueError as e:
        raise UsageError("send: %s %s" % (shown(str(request.get("url", ""))), e)) from None
    for _ in range(CHANGES):
        web = Web()
        try:
            holding = look(wanted, web, sleep)
        finally:
            web.close()
        try:
            return _once(store, run, into, wanted, holding, tell, sleep)
        except _Changed:
            continue
    raise RemoteError("%s keeps changing while it is fetched" % shown(wanted.source.url))


def _once(
    store: DataStore,
    run: str,
    into: str,
    wanted: Wanted,
    holding: Holding,
    tell: Told,
    sleep: Callable[[float], None],
) -> Dict[str, Any]:
    # what has nothing to tell its states apart by is good for this run alone
    alone = hashlib.sha256(("%s %s" % (run, wanted.source.url)).encode()).hexdigest()[:DIGITS]
    slot = store.slot(holding.key(wanted.source) or alone)

    def waiting() -> None:
        tell(what="waiting", done=0, of=holding.size or 0)

    waiting()
    with slot.locked(waiting=waiting):
        slot.used(run, into)
        written = _written_to(slot)
        noted, came = slot.whole(), 0
        if noted is None:
            _clean(slot, holding, written)
            if holding.size is not None:
                have = tree.files_of(slot.tree)[0] + tree.files_of(slot.part)[0]
                free = store.make_room(holding.size - have, slot.key)
                if holding.size - have > free:
                    return {"state": "full", "free": max(0, free), "need": holding.size - have}
            work = _Work(store, slot, wanted, holding, tell, sleep)
            try:
                came = work.run()
            except _Full:
                return {"state": "full", "free": store.make_room(0, slot.key), "need": work.total or 0}
            size, files = tree.files_of(slot.tree)
            noted = slot.note(size, files)
            shutil.rmtree(slot.part, ignore_errors=True)
        how = share(slot.tree, store.place(run, into), told=lambda _: waiting())
        return {
            "state": "whole",
            "how": how,
            "bytes": noted["bytes"],
            "files": noted["files"],
            "fetched": came,
        }


def _written_to(slot: Slot) -> float:
    """When it was whole (epoch s), for finding what was written to since; 0.0 when it never was."""
    try:
        return os.stat(os.path.join(slot.top, "whole")).st_mtime
    except OSError:
        return 0.0


def _clean(slot: Slot, holding: Holding, whole_at: float) -> None:
    """Take out what is none of it, has another size, or was written to by a run that shared it."""
    sizes = {os.fsencode(thing.name): thing.size for thing in holding.things}
    for name, info in list(tree.entries(slot.tree)):
        path = os.path.join(os.fsencode(slot.tree), name)
        if os.path.isdir(path) and not os.path.islink(path):
            continue
        late = whole_at > 0 and info.st_mtime > whole_at
        if late or name not in sizes or sizes[name] != info.st_size or info.st_mode & 0o170000 != 0o100000:
            os.unlink(path)


class _Work:
    """All files of one holding, several at a time."""

    def __init__(
        self,
        store: DataStore,
        slot: Slot,
        wanted: Wanted,
        holding: Holding,
        tell: Told,
        sleep: Callable[[float], None],
    ) -> None:
        self._store = store
        self._slot = slot
        self._wanted = wanted
        self._holding = holding
        self._tell = tell
        self._sleep = sleep
        self.total = holding.size
        self._lock = threading.Lock()
        self._done = self._came = self._files = self._since = 0
        self._began = time.monotonic()
        self._stop = False
        self._webs = threading.local()
        self._tags_tell = True
        """whether an object's tag is its MD5"""

    def run(self) -> int:
        """Bytes that came over the line."""
        os.makedirs(self._slot.part, mode=0o700, exist_ok=True)
        for folder in self._holding.folders:
            os.makedirs(os.path.join(os.fsencode(self._slot.tree), os.fsencode(folder)), exist_ok=True)
        todo = [thing for thing in self._holding.things if not self._there(thing)]
        webs: List[Web] = []

        def begin() -> None:
            self._webs.web = Web()
            webs.append(self._webs.web)

        with ThreadPoolExecutor(min(_THREADS, max(1, len(todo))), initializer=begin) as pool:
            try:
                for _ in pool.map(self._one, todo):
                    pass
            except BaseException:
                self._stop = True
                raise
            finally:
                for web in webs:
                    if self._stop:
                        web.close()
        for web in webs:
            web.close()
        return self._came

    def _there(self, thing: Thing) -> bool:
        path = os.path.join(os.fsencode(self._slot.tree), os.fsencode(thing.name))
        if thing.size is None or not os.path.isfile(path):
            return False
        self._count(thing.size, came=False)
        self._files += 1
        return True

    def _part(self, thing: Thing) -> str:
        """Where it lies until it is whole; another name when it is another state of it."""
        text = "%s\0%s\0%s" % (thing.name, thing.tag, thing.when)
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        return os.path.join(self._slot.part, digest[:DIGITS])

    def _one(self, thing: Thing) -> None:
        part, web = self._part(thing), self._webs.web
        failed = 0
        counted = self._size(part)
        self._count(counted, came=False)
        wrong = False
        while True:
            before = self._size(part)
            try:
                self._piece(thing, part, web)
                if self._sound(thing, part):
                    break
                self._count(-self._size(part), came=False)
                os.unlink(part)
                if wrong:
                    raise UsageError(
                        "%s came twice with bytes that are not what was promised" % shown(thing.url),
                        hint="Is its sha256 right?" if self._wanted.source.sha256 else "",
                    )
                wrong = True
            except WebTrouble:
                web.close()
                failed = 1 if self._size(part) > before else failed + 1
                if failed >= TRIES or self._stop:
                    raise
                self._sleep(min(30.0, 2.0**failed))
        target = os.path.join(os.fsencode(self._slot.tree), os.fsencode(thing.name))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.chmod(part, 0o644)
        os.rename(os.fsencode(part), target)
        with self._lock:
            self._files += 1

    @staticmethod
    def _size(path: str) -> int:
        try:
            return os.stat(path).st_size
        except OSError:
            return 0

    def _piece(self, thing: Thing, part: str, web: Web) -> None:
        """Ask for what is missing, and write it down until it ends. Raises ``WebTrouble`` when it breaks."""
        have = self._size(part)
        if thing.size is not None and have == thing.size:
            return
        headers = headers_of(self._wanted, self._holding.bucket, thing.url)
        mark = thing.tag or thing.when
        if have and (thing.size is None or have < thing.size) and mark:
            headers.update({"Range": "bytes=%d-" % have, "If-Range": mark})
        answer = web.ask("GET", thing.url, headers)
        if answer.status == 416 and thing.size is None:
            return  # it had ended there
        if answer.status not in (200, 206):
            raise refused(thing.url, answer, answer.text(1 << 16))
        when = answer.headers.get("last-modified", "")[:100]
        other = (answer.tag and answer.tag != thing.tag) if thing.tag else (thing.when and when != thing.when)
        if other and not self._wanted.source.sha256:  # mirrors may tag the same bytes in different ways
            web.close()
            raise _Changed
        encrypted = "x-amz-server-side-encryption-customer-algorithm" in answer.headers
        if encrypted or "kms" in answer.headers.get("x-amz-server-side-encryption", ""):
            self._tags_tell = False  # Amazon S3 API Reference, "Object": ETag
        goes_on = answer.status == 206 and answer.headers.get("content-range", "").startswith(
            "bytes %d-" % have
        )
        if answer.status == 206 and not goes_on:
            web.close()
            raise WebTrouble("%s answers with another part than was asked for" % shown(thing.url))
        if not goes_on:
            self._count(-have, came=False)
        self._write(thing, part, answer, goes_on)

    def _write(self, thing: Thing, part: str, answer: Answer, goes_on: bool) -> None:
        size = 0
        expected = answer.length
        with open(part, "ab" if goes_on else "wb") as out:
            begun = out.tell()
            while True:
                block = answer.read(_BLOCK)
                if not block:
                    break
                size += len(block)
                if thing.size is not None and begun + size > thing.size:
                    raise UsageError("%s is longer than it said" % shown(thing.url))
                out.write(block)
                self._count(len(block), came=True)
                if self._stop:
                    raise WebTrouble("it was ended")
        if expected is not None and size < expected:
            raise WebTrouble("%s broke off" % shown(thing.url))

    def _sound(self, thing: Thing, part: str) -> bool:
        """Whether it has the size and the hash that it is known by."""
        if not os.path.exists(part):  # an empty file, of which nothing was asked
            open(part, "wb").close()
        if thing.size is not None and self._size(part) != thing.size:
            return False
        if self._wanted.source.sha256:
            return _hash(part, hashlib.sha256()) == self._wanted.source.sha256
        md5 = md5_of(thing.tag) if self._holding.bucket is not None and self._tags_tell else None
        if md5 is not None:
            try:
                return _hash(part, hashlib.md5()) == md5  # noqa: S324 - what S3 has
            except ValueError:
                pass  # not to be had on this machine (FIPS)
        return True

    def _count(self, size: int, *, came: bool) -> None:
        with self._lock:
            self._done += size
            if came:
                self._came += size
                self._since += size
            look_at_disk = self._since >= _LOOK_AT_DISK
            if look_at_disk:
                self._since = 0
            took = time.monotonic() - self._began
            speed = self._came / took if took > 0.5 else 0.0
            left: Optional[float] = None
            if self.total is not None and speed > 0:
                left = max(0, self.total - self._done) / speed
            files = self._files
        if look_at_disk and self._store.make_room(1, self._slot.key) < 1:
            raise _Full
        self._tell(
            what="fetching",
            done=max(0, self._done),
            of=self.total or 0,
            files=len(self._holding.things),
            files_done=files,
            left=left,
        )


def _hash(path: str, total: "hashlib._Hash") -> str:
    with open(path, "rb", buffering=0) as f:
        while True:
            block = f.read(_BLOCK)
            if not block:
                return total.hexdigest()
            total.update(block)
