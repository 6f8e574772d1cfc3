"""Where a job's secrets lie until it ends: in memory-backed storage where this machine has some.

::

    /dev/shm/choline-<uid>-<home>/<job>     if /dev/shm is a tmpfs; 0600, its directory 0700
    $XDG_RUNTIME_DIR/choline-...            if that is one
    jobs/<job>/secrets.json                 else: on the disk
    jobs/<job>/secrets                      which of them, for whoever comes later
"""

import json
import os
import shutil
import stat
import time
from typing import Dict, List, Mapping, Optional

from choline_tui.kernel.handover import Handover, Kept, memory_name
from choline_tui.remote.files import read_bytes, write_atomic
from choline_tui.remote.paths import Paths

__all__ = ["Vault"]

MEMORY = ("tmpfs", "ramfs")
UNUSED_S = 3600.0
"""Secrets of a job that was never handed in are kept so long: home may be about to."""


class Vault:
    """``shared``: memory-backed storage of everybody; ``mounts``: the kernel's list of what is mounted."""

    def __init__(
        self,
        paths: Paths,
        environ: Optional[Mapping[str, str]] = None,
        *,
        shared: str = "/dev/shm",
        mounts: str = "/proc/self/mounts",
    ) -> None:
        self._paths = paths
        self._environ = os.environ if environ is None else environ
        self._shared = shared
        self._mounts = mounts

    def put(self, job: str, given: Handover) -> Kept:
        """Keep them, instead of what was there: at no moment is there nothing, for the job may be starting.
        Raises ``OSError``."""
        os.makedirs(self._paths.job(job), mode=0o700, exist_ok=True)
        old = self._path(job)
        path = self._write(job, json.dumps(given.to_wire()).encode("ascii"))
        write_atomic(self._paths.job(job, "secrets"), os.fsencode(path), sync=False)
        if old and old != path:
            try:
                os.unlink(old)
            except OSError:
                pass
        return Kept(memory=path != self._on_disk(job))

    def _on_disk(self, job: str) -> str:
        return self._paths.job(job, "secrets.json")

    def _write(self, job: str, data: bytes) -> str:
        """Where they lie now. Raises ``OSError``."""
        for _ in range(3):  # another job's end may take the directory away between two steps
            for directory in self._directories():
                path = os.path.join(directory, job)
                try:
                    write_atomic(path, data, sync=False)
                except OSError:  # full, or not to be written to
                    continue
                return path
        write_atomic(self._on_disk(job), data, sync=False)
        return self._on_disk(job)

    def read(self, job: str) -> Dict[str, str]:
        """Values by name; empty when there are none (any more)."""
        path = self._path(job)
        data = read_bytes(path) if path else None
        if data is None:
            return {}
        try:
            return Handover.from_wire(json.loads(data.decode("utf-8"))).values
        except (ValueError, RecursionError):
            return {}

    def remove(self, job: str) -> None:
        path = self._path(job)
        if not path:
            return
        for each in (path, self._paths.job(job, "secrets")):
            try:
                os.unlink(each)
            except OSError:
                pass
        if path != self._on_disk(job):
            try:
                os.rmdir(os.path.dirname(path))  # when it was the last one
            except OSError:
                pass

    def sweep(self, known: List[str]) -> None:
        """Remove what waits for a job that nobody has handed in for long; ``known``: jobs that live."""
        try:
            names = os.listdir(self._paths.jobs)
        except OSError:
            return
        for job in names:
            if job in known:
                continue
            try:
                age = time.time() - os.stat(self._paths.job(job, "secrets")).st_mtime
            except OSError:
                continue
            if age > UNUSED_S:
                self.remove(job)

    def clear(self) -> None:
        """Everything in memory: the jobs' folder is gone, so nobody else will."""
        for place in self._places():
            directory = os.path.join(place, memory_name(os.getuid(), self._paths.home))
            if self._ours(directory):
                shutil.rmtree(directory, ignore_errors=True)

    def _path(self, job: str) -> str:
        return os.fsdecode(read_bytes(self._paths.job(job, "secrets"), 4096) or b"")

    def _places(self) -> List[str]:
        places = (self._shared, self._environ.get("XDG_RUNTIME_DIR", ""))
        return [place for place in places if place.startswith("/") and self._in_memory(place)]

    def _directories(self) -> List[str]:
        """Directories of our own in memory-backed storage, made if need be."""
        found = []
        for place in self._places():
            directory = os.path.join(place, memory_name(os.getuid(), self._paths.home))
            try:
                os.mkdir(directory, 0o700)
            except FileExistsError:
                pass
            except OSError:
                continue
            if self._ours(directory):
                found.append(directory)
        return found

    @staticmethod
    def _ours(directory: str) -> bool:
        """Everybody may write to /dev/shm: a directory that somebody else put there is not used."""
        try:
            seen = os.lstat(directory)
        except OSError:
            return False
        return stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.getuid() and not seen.st_mode & 0o077

    def _in_memory(self, path: str) -> bool:
        best, kind = "", ""
        path = os.path.realpath(path)
        for line in (read_bytes(self._mounts) or b"").splitlines():
            fields = line.split(b" ")
            if len(fields) < 3:
                continue
            # proc(5): blanks in a mount point are written as octal
            point = os.fsdecode(fields[1].replace(b"\\040", b" "))
            inside = path == point or path.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, kind = point, os.fsdecode(fields[2])
        return kind in MEMORY
