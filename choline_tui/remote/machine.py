"""What the machine says about itself: its instance key, the user's variables, its boot, its disk."""

import os
import shutil
import time
from typing import Callable, Dict, Mapping, Optional

from choline_tui.kernel.lease import LeaseRecord
from choline_tui.kernel.protocol import Lease
from choline_tui.remote.files import read_bytes, read_json, write_atomic, write_json
from choline_tui.remote.paths import Paths

__all__ = ["Machine"]

DEFAULT_URL = "https://console.vast.ai"
_SECRET = ("CONTAINER_API_KEY", "VAST_API_KEY")
_OF_THE_SESSION = frozenset(
    ("HOME", "USER", "LOGNAME", "SHELL", "SHLVL", "PWD", "OLDPWD", "_", "TERM", "HOSTNAME", "SSH_PUBLIC_KEY")
)


def _pairs(data: bytes) -> Dict[str, str]:
    """Variables as in /proc/<pid>/environ: NUL-separated, values may hold newlines."""
    found: Dict[str, str] = {}
    for item in data.split(b"\0"):
        name, equals, value = item.partition(b"=")
        if equals and name:
            found[os.fsdecode(name)] = os.fsdecode(value)
    return found


class Machine:
    """Reads on every call: the guard may come later than the supervisor.

    ``wall`` gives epoch seconds; ``boot`` seconds since boot that go on while the machine sleeps, None
    where there is no such clock; ``proc`` is where /proc is.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        wall: Callable[[], float] = time.time,
        boot: Optional[Callable[[], Optional[float]]] = None,
        proc: str = "/proc",
    ) -> None:
        self._paths = paths
        self.wall = wall
        self.boot = boot or self._boottime
        self._proc = proc

    @staticmethod
    def _boottime() -> Optional[float]:
        clock = getattr(time, "CLOCK_BOOTTIME", None)
        return None if clock is None else time.clock_gettime(clock)

    def boot_id(self) -> str:
        data = read_bytes(self._proc + "/sys/kernel/random/boot_id", 100) or b""
        return data.decode("ascii", "replace").strip()

    def instance(self) -> Optional[Dict[str, str]]:
        """CONTAINER_ID, CONTAINER_API_KEY and VAST_URL of a rented machine; None on one's own."""
        found: Dict[str, str] = {}
        saved = read_bytes(os.path.join(self._paths.guard, "env"), 65536)
        if saved is not None:
            for line in saved.decode("utf-8", "replace").splitlines():
                name, equals, value = line.partition("=")
                if equals:
                    found[name.strip()] = value.strip()
        else:
            first = _pairs(read_bytes(self._proc + "/1/environ", 1 << 20) or b"")
            found = {k: first[k] for k in ("CONTAINER_ID", "CONTAINER_API_KEY") if k in first}
        if not found.get("CONTAINER_ID", "").isdigit() or not found.get("CONTAINER_API_KEY"):
            return None
        found.setdefault("VAST_URL", DEFAULT_URL)
        return found

    def user_environment(self, session: Mapping[str, str]) -> Dict[str, str]:
        """The variables a job starts from: this session's, and over them the container's own.

        SSH shells do not have the container's variables on Vast, so they come from what the guard saved,
        else from the container's first process. Keys of the market are taken out.
        """
        data = read_bytes(os.path.join(self._paths.guard, "environ"), 1 << 20)
        container = _pairs(data or b"")
        if not container:
            first = _pairs(read_bytes(self._proc + "/1/environ", 1 << 20) or b"")
            container = first if "CONTAINER_ID" in first else {}
        found = dict(session)
        found.update((k, v) for k, v in container.items() if k not in _OF_THE_SESSION)
        for name in _SECRET:
            found.pop(name, None)
        return found

    def disk_free(self) -> int:
        try:
            return shutil.disk_usage(self._paths.home).free
        except OSError:
            return 0

    def deadline(self) -> Optional[float]:
        """Seconds until the guard acts; None when there is no guard here."""
        data = (read_bytes(self._paths.deadline, 100) or b"").strip()
        return int(data) - self.wall() if data.isdigit() else None

    def started_s(self) -> Optional[float]:
        """Seconds since the container started: the guard writes its variables anew at every start.

        Not since the supervisor started: that may be started again at any time, and comes after the
        first lease.
        """
        try:
            return max(0.0, self.wall() - os.stat(os.path.join(self._paths.guard, "env")).st_mtime)
        except OSError:
            return None

    def lease(self) -> Optional[LeaseRecord]:
        data = read_json(self._paths.lease)
        if data is None:
            return None
        try:
            lease = Lease.from_wire(data)
            mtime = os.stat(self._paths.lease).st_mtime
        except (ValueError, OSError):
            return None
        lease.safe = lease.safe or self.elsewhere()
        boot, boot_id = data.get("boot"), data.get("boot_id")
        sound = isinstance(boot, (int, float)) and not isinstance(boot, bool)
        return LeaseRecord(
            lease, mtime, float(boot) if sound and boot is not None else None, str(boot_id or "")
        )

    def save_lease(self, lease: Lease) -> None:
        """Take a lease as of now; the guard's deadline and its permission to destroy follow it."""
        data = lease.to_wire()
        data["boot"] = self.boot()
        data["boot_id"] = self.boot_id()
        write_json(self._paths.lease, data)
        if not os.path.isdir(self._paths.guard):
            return
        if lease.deadline_s is not None and lease.deadline_s > 0:
            write_atomic(self._paths.deadline, b"%d\n" % int(self.wall() + lease.deadline_s))
        self._may_be_destroyed(lease.safe or self.elsewhere())

    def _may_be_destroyed(self, safe: bool) -> None:
        """The guard's permission. Raises ``OSError``."""
        if not os.path.isdir(self._paths.guard):
            return
        if safe:
            write_atomic(self._paths.safe, b"")
        else:
            try:
                os.unlink(self._paths.safe)
            except FileNotFoundError:
                pass

    def elsewhere(self) -> bool:
        """Whether all that jobs ever made here is in a bucket: of a job without such a mark nothing is
        known, and one that waits has made nothing yet that could be."""
        try:
            jobs = os.listdir(self._paths.jobs)
            waiting = [name for name in os.listdir(self._paths.spool) if name.endswith(".json")]
        except OSError:
            return False
        marks = [os.path.exists(self._paths.job(job, "elsewhere")) for job in jobs]
        return bool(marks) and all(marks) and not waiting

    def kept_elsewhere(self, job: str) -> None:
        """A job has ended, and its results are in a bucket, compared: with that the machine may go."""
        try:
            write_atomic(self._paths.job(job, "elsewhere"), b"")
            self.heed()
        except OSError:
            pass  # it stops instead, and keeps its disk

    def heed(self) -> None:
        """See that the guard may destroy what is safe and nothing else. Raises ``OSError``."""
        record = self.lease()
        self._may_be_destroyed(record is not None and record.lease.safe)
