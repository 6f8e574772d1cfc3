"""A job's files on the remote, and the two questions about it: may it be started, does it live?

::

    spool/<job>.json        handed in by home
    jobs/<job>/spec.json    taken: the same file, renamed
    jobs/<job>/owner        locked by the job's shim for as long as it lives
    jobs/<job>/claim        made once, ever, before anything is started: a job is never started twice
    jobs/<job>/pgid         process group of what runs now; gone when nothing does
    jobs/<job>/status.json  how it stands
    jobs/<job>/tty          socket of its terminal, if it has one
"""

import os
import time
from typing import Callable, Dict, List, Optional

from choline_tui.kernel.protocol import ENDED, JobSpec, JobStatus
from choline_tui.remote.files import lock, read_bytes, read_json, sync_dir, write_json
from choline_tui.remote.paths import Paths

__all__ = ["JobStore"]

SOURCES = ("setup", "run")


class JobStore:
    def __init__(self, paths: Paths, wall: Callable[[], float] = time.time) -> None:
        self._paths = paths
        self._wall = wall

    def submit(self, spec: JobSpec) -> JobStatus:
        """Put a job into the spool, unless its id was ever seen. Raises ``OSError``."""
        known = self.status(spec.id)
        if known is None:
            write_json(os.path.join(self._paths.spool, spec.id + ".json"), spec.to_wire())
            known = self.status(spec.id) or JobStatus(id=spec.id, queued=self._wall())
        return known

    def waiting(self) -> List[str]:
        """Ids in the spool, oldest first."""
        found = []
        try:
            with os.scandir(self._paths.spool) as entries:
                for entry in entries:
                    if entry.name.endswith(".json") and not entry.name.startswith("."):
                        try:
                            found.append((entry.stat().st_mtime_ns, entry.name[: -len(".json")]))
                        except OSError:
                            continue
        except OSError:
            return []
        return [name for _, name in sorted(found)]

    def take(self, job: str) -> Optional[JobSpec]:
        """Move a job out of the spool. None when its id was taken before or its file is no job; the
        latter is remembered as ended, so that home learns of it."""
        source = os.path.join(self._paths.spool, job + ".json")
        target = self._paths.job(job, "spec.json")
        os.makedirs(self._paths.job(job), mode=0o700, exist_ok=True)
        if os.path.exists(target):
            os.unlink(source)
            return None
        queued = os.stat(source).st_mtime
        os.rename(source, target)
        sync_dir(self._paths.job(job))
        sync_dir(self._paths.spool)
        spec = self.spec(job)
        if spec is None:
            self.save(JobStatus(job, ENDED, "lost", queued=queued, ended=self._wall(), message="no job"))
            return None
        if self.status(job) is None:
            self.save(JobStatus(id=job, queued=queued))
        return spec

    def spec(self, job: str) -> Optional[JobSpec]:
        data = read_json(self._paths.job(job, "spec.json"))
        try:
            spec = None if data is None else JobSpec.from_wire(data)
        except ValueError:
            return None
        return spec if spec is not None and spec.id == job else None

    def taken(self) -> List[str]:
        try:
            return sorted(
                name for name in os.listdir(self._paths.jobs) if os.path.isdir(self._paths.job(name))
            )
        except OSError:
            return []

    def claim(self, job: str) -> bool:
        """Once in a job's life this is True: the caller, which holds ``own``, may start it."""
        try:
            fd = os.open(self._paths.job(job, "claim"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return False
        try:
            os.write(fd, b"%d\n" % os.getpid())
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_dir(self._paths.job(job))
        return True

    def claimed(self, job: str) -> bool:
        return os.path.exists(self._paths.job(job, "claim"))

    def own(self, job: str, wait: float = 0.0) -> Optional[int]:
        """Become the job's owner: a descriptor to keep, or None when it has a living one."""
        return lock(self._paths.job(job, "owner"), wait)

    def status(self, job: str) -> Optional[JobStatus]:
        """As last written, with the logs' sizes as they are; a job still in the spool is queued."""
        data = read_json(self._paths.job(job, "status.json"))
        try:
            status = None if data is None else JobStatus.from_wire(data)
        except ValueError:
            status = None
        if status is None:
            for path in (
                self._paths.job(job, "spec.json"),
                os.path.join(self._paths.spool, job + ".json"),
            ):
                try:
                    return JobStatus(id=job, queued=os.stat(path).st_mtime)
                except OSError:
                    continue
            return None
        for source in SOURCES:
            size = self.log_size(job, source)
            if size is not None:
                status.log_bytes[source] = size
        return status

    def log_size(self, job: str, source: str) -> Optional[int]:
        try:
            return os.stat(self._paths.job(job, source + ".log")).st_size
        except OSError:
            return None

    def save(self, status: JobStatus, *, sync: bool = True) -> None:
        write_json(self._paths.job(status.id, "status.json"), status.to_wire(), sync=sync)

    def all(self) -> Dict[str, JobStatus]:
        found: Dict[str, JobStatus] = {}
        for job in self.waiting() + self.taken():
            status = self.status(job)
            if status is not None:
                found[job] = status
        return found

    def request_stop(self, job: str, grace_s: float, reason: str) -> None:
        request = {"grace_s": grace_s, "reason": reason}
        try:
            write_json(self._paths.stop(job), request)
        except OSError:
            # a disk that the job has filled: what its keeper holds free is for its end
            try:
                os.unlink(self._paths.job(job, "reserve"))
            except OSError:
                pass
            write_json(self._paths.stop(job), request)

    def stop_request(self, job: str) -> Optional["StopRequest"]:
        data = read_json(self._paths.stop(job))
        if data is None:
            return None
        grace, reason = data.get("grace_s"), data.get("reason")
        sound = isinstance(grace, (int, float)) and not isinstance(grace, bool) and 0 <= grace < 1e9
        return StopRequest(float(grace) if sound and grace is not None else 30.0, str(reason or "stopped"))

    def group(self, job: str) -> int:
        data = (read_bytes(self._paths.job(job, "pgid"), 20) or b"").strip()
        return int(data) if data.isdigit() else 0


class StopRequest:
    def __init__(self, grace_s: float, reason: str) -> None:
        self.grace_s = grace_s
        self.reason = reason[:100]
