"""What home and the supervisor say to each other: plain data with strict readers.

Home treats whatever a remote says as hostile: every ``from_wire`` checks types and bounds and raises
``ValueError``; nothing here trusts a length, a name or a number. Times inside a status are seconds on
the *remote's* clock and are only compared with each other.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from choline_tui.kernel.text import plain

__all__ = [
    "DISK_FULL",
    "DISK_LOW",
    "ENDED",
    "PROTOCOL",
    "Also",
    "Frame",
    "GpuFact",
    "JobSpec",
    "JobStatus",
    "Lease",
    "Probe",
    "RemoteStatus",
]

PROTOCOL = 1
"""Version of everything in this module. Each version leaves a sample in ``tests/samples/protocol``."""

QUEUED, SETUP, RUNNING, STOPPING, ENDED = "queued", "setup", "running", "stopping", "ended"
JOB_STATES = (QUEUED, SETUP, RUNNING, STOPPING, ENDED)

DISK_LOW, DISK_FULL = "low", "full"
BEHIND, ENDING, WHOLE, FAILED = "behind", "ending", "whole", "failed"
ALSO_STATES = ("", BEHIND, ENDING, WHOLE, FAILED)

SOURCES = ("setup", "run")
MAX_TEXT = 4096


def _text(data: Dict[str, Any], key: str, default: str = "", limit: int = MAX_TEXT) -> str:
    value = data.get(key, default)
    if not isinstance(value, str):
        raise ValueError("%s is not text" % key)
    return value[:limit]


def _number(data: Dict[str, Any], key: str, default: float = 0.0) -> float:
    value = data.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) > 1e18:
        raise ValueError("%s is not a number" % key)
    return float(value)


def _maybe_number(data: Dict[str, Any], key: str) -> Optional[float]:
    return None if data.get(key) is None else _number(data, key)


def _words(data: Dict[str, Any], key: str, limit: int = MAX_TEXT) -> str:
    """Text for a person: it goes into events and onto the screen, so it is made inert where it comes in."""
    return plain(_text(data, key, limit=limit))[:limit]


def _count(data: Dict[str, Any], key: str) -> int:
    """A number of bytes, say: never negative."""
    value = _number(data, key)
    if value < 0:
        raise ValueError("%s is negative" % key)
    return int(value)


def _exit_status(data: Dict[str, Any], key: str) -> Optional[int]:
    """As a shell gives it: 0 to 255."""
    value = _maybe_number(data, key)
    if value is not None and (value != int(value) or not 0 <= value <= 255):
        raise ValueError("%s is no exit status" % key)
    return None if value is None else int(value)


def _names(data: Dict[str, Any], key: str) -> List[str]:
    value = data.get(key, [])
    if not isinstance(value, list) or len(value) > 100 or not all(isinstance(each, str) for each in value):
        raise ValueError("%s is not a list of names" % key)
    return [each[:200] for each in value]


def _one_of(data: Dict[str, Any], key: str, known: Tuple[str, ...]) -> str:
    value = _text(data, key)
    if value not in known:
        raise ValueError("unknown state of %s" % key)
    return value


def _mapping(data: Any, what: str) -> Dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("%s is not an object" % what)
    return data


@dataclass
class Also:
    """A second home of the results, which the remote writes by itself: ``s3://bucket/prefix``. Its keys are
    among the job's secrets."""

    url: str
    endpoint: str = ""
    region: str = ""

    def to_wire(self) -> Dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, data: Any) -> "Also":
        d = _mapping(data, "also")
        return cls(_text(d, "url"), _text(d, "endpoint", limit=1000), _text(d, "region", limit=100))


@dataclass
class JobSpec:
    """One command for a supervisor. ``setup`` and ``command`` are given to ``sh -c`` (bash if there)."""

    id: str
    run: str
    command: str
    setup: str = ""
    env: Dict[str, str] = field(default_factory=dict)
    attempt: int = 1
    gpus: int = 0
    grace_s: float = 30.0
    """between TERM and KILL when it is stopped"""
    time_limit_s: float = 0.0
    """0: none"""
    log_max_bytes: int = 256 << 20
    results_max_bytes: int = 0
    """the job is stopped when results/ and keep/ grow past this; 0: no limit"""
    tty: bool = False
    """the command runs on a terminal of its own, to which people may attach; one that does not know this
    field runs it without"""
    secrets: List[str] = field(default_factory=list)
    """names of variables that were handed over before (``kernel/handover.py``); without all of them the job
    does not begin, and what they hold is masked in its logs"""
    settle_s: float = 10.0
    """a result file that has not changed for so long is told as fresh (``JobStatus.fresh``)"""
    results_exclude: List[str] = field(default_factory=list)
    """patterns of results that go to no other place"""
    also: Optional[Also] = None
    disk_pause: bool = False
    """its processes are stopped (SIGSTOP) while the disk is full, and go on when there is room"""
    protocol: int = PROTOCOL

    def to_wire(self) -> Dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, data: Any) -> "JobSpec":
        d = _mapping(data, "job")
        env = _mapping(d.get("env", {}), "env")
        spec = cls(
            id=_text(d, "id", limit=200),
            run=_text(d, "run", limit=200),
            command=_text(d, "command", limit=1 << 20),
            setup=_text(d, "setup", limit=1 << 20),
            env={str(k): str(v) for k, v in env.items()},
            attempt=int(_number(d, "attempt", 1)),
            gpus=int(_number(d, "gpus")),
            grace_s=_number(d, "grace_s", 30.0),
            time_limit_s=_number(d, "time_limit_s"),
            log_max_bytes=int(_number(d, "log_max_bytes", 256 << 20)),
            results_max_bytes=int(_number(d, "results_max_bytes")),
            tty=d.get("tty") is True,
            settle_s=_number(d, "settle_s", 10.0),
            results_exclude=_names(d, "results_exclude"),
            also=None if d.get("also") is None else Also.from_wire(d["also"]),
            disk_pause=d.get("disk_pause") is True,
            secrets=_names(d, "secrets"),
            protocol=int(_number(d, "protocol", PROTOCOL)),
        )
        for name in (spec.id, spec.run):
            if not name or name.startswith(".") or not all(c.isalnum() or c in "-_." for c in name):
                raise ValueError("bad job or run id")
        return spec


@dataclass
class JobStatus:
    """How a job stands. ``reason`` of an ended job: exited, stopped, time_limit, lease, deadline,
    results_full, setup_failed, lost (the remote restarted under it)."""

    id: str
    state: str = QUEUED
    reason: str = ""
    exit_code: Optional[int] = None
    """as the shell gives it; 128+n when a signal ended it"""
    setup_exit: Optional[int] = None
    queued: float = 0.0
    started: Optional[float] = None
    ended: Optional[float] = None
    log_bytes: Dict[str, int] = field(default_factory=dict)
    log_dropped: int = 0
    """bytes not written because the log's cap was reached"""
    results_bytes: int = 0
    fresh: int = 0
    """grows when result files that were written have come to rest: there is something whole to bring"""
    also: str = ""
    """how the second home stands: '', behind, ending (the command is over, results are still sent), whole,
    failed"""
    also_words: str = ""
    also_files: int = 0
    also_bytes: int = 0
    disk: str = ""
    """'', low or full: the disk it writes to"""
    disk_free_bytes: int = 0
    """when ``disk`` last changed"""
    held: bool = False
    """stopped (SIGSTOP) until there is room on the disk"""
    message: str = ""

    def to_wire(self) -> Dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, data: Any) -> "JobStatus":
        d = _mapping(data, "job status")
        if "id" not in d or "state" not in d:
            raise ValueError("a job status without id and state")  # an echo of what was sent, say
        state = _text(d, "state", QUEUED)
        if state not in JOB_STATES:
            raise ValueError("unknown job state")
        logs = _mapping(d.get("log_bytes", {}), "log_bytes")
        status = cls(
            id=_text(d, "id", limit=200),
            state=state,
            reason=_words(d, "reason", limit=100),
            exit_code=_exit_status(d, "exit_code"),
            setup_exit=_exit_status(d, "setup_exit"),
            queued=_number(d, "queued"),
            started=_maybe_number(d, "started"),
            ended=_maybe_number(d, "ended"),
            log_bytes={k: _count(logs, k) for k in SOURCES if k in logs},
            log_dropped=_count(d, "log_dropped"),
            results_bytes=_count(d, "results_bytes"),
            fresh=_count(d, "fresh"),
            also=_one_of(d, "also", ALSO_STATES),
            also_words=_words(d, "also_words", limit=400),
            also_files=_count(d, "also_files"),
            also_bytes=_count(d, "also_bytes"),
            disk=_one_of(d, "disk", ("", DISK_LOW, DISK_FULL)),
            disk_free_bytes=_count(d, "disk_free_bytes"),
            held=d.get("held") is True,
            message=_words(d, "message"),
        )
        if status.state == ENDED and status.reason == "exited" and status.exit_code is None:
            raise ValueError("the command ended without an exit status")
        return status


@dataclass
class Lease:
    """How long a remote may go on without hearing from home, from when it receives this."""

    seconds: float
    grace_s: float = 1800.0
    """after a run has ended and home stays silent: how long before the machine is stopped"""
    safe: bool = False
    """everything of value is at home: when nobody comes, destroy rather than stop"""
    hold: bool = False
    """kept on purpose: an ended job does not start the grace"""
    deadline_s: Optional[float] = None
    """moves the guard's deadline to this long from now; None: leaves it where it is"""

    def to_wire(self) -> Dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, data: Any) -> "Lease":
        d = _mapping(data, "lease")
        if "seconds" not in d:
            raise ValueError("a lease has no length")
        return cls(
            seconds=_number(d, "seconds"),
            grace_s=_number(d, "grace_s", 1800.0),
            safe=d.get("safe") is True,
            hold=d.get("hold") is True,
            deadline_s=_maybe_number(d, "deadline_s"),
        )


@dataclass
class GpuFact:
    """One card as the remote's driver reports it (nvidia-smi); memory in MiB."""

    name: str
    memory_mib: float = 0.0
    driver: str = ""

    def to_wire(self) -> Dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, data: Any) -> "GpuFact":
        d = _mapping(data, "gpu")
        return cls(_text(d, "name", limit=200), _number(d, "memory_mib"), _text(d, "driver", limit=50))


@dataclass
class Probe:
    """A remote at first contact."""

    home: str
    python: str = ""
    """version of python3, '' when there is none that will do"""
    gpus: List[GpuFact] = field(default_factory=list)
    gpu_error: str = ""
    """what nvidia-smi said when it failed"""
    disk_free_bytes: int = 0
    has_rsync: bool = False
    supervisor: str = ""
    """version of a supervisor found running here, '' when none"""
    guard: bool = True
    """its guard's loop runs (meant for rented machines)"""
    market: Optional[bool] = None
    """it reaches the market, which its guard needs to end it; None: not tried"""


@dataclass
class RemoteStatus:
    """A remote's supervisor and all its jobs."""

    protocol: int
    version: str
    pid: int
    disk_free_bytes: int = 0
    deadline_in_s: Optional[float] = None
    """until the guard acts"""
    lease_in_s: Optional[float] = None
    jobs: Dict[str, JobStatus] = field(default_factory=dict)

    def to_wire(self) -> Dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, data: Any) -> "RemoteStatus":
        d = _mapping(data, "status")
        if "protocol" not in d or "jobs" not in d:
            raise ValueError("a status without protocol and jobs")
        jobs = _mapping(d.get("jobs", {}), "jobs")
        if len(jobs) > 10_000:
            raise ValueError("too many jobs")
        return cls(
            protocol=int(_number(d, "protocol")),
            version=_words(d, "version", limit=100),
            pid=int(_number(d, "pid")),
            disk_free_bytes=_count(d, "disk_free_bytes"),
            deadline_in_s=_maybe_number(d, "deadline_in_s"),
            lease_in_s=_maybe_number(d, "lease_in_s"),
            jobs={str(k)[:200]: JobStatus.from_wire(v) for k, v in jobs.items()},
        )


@dataclass
class Frame:
    """One piece of a job's stream: bytes of a log at an offset, or the job's status, or a heartbeat.

    On the wire: one JSON object a line, ``{"s": "run", "o": offset, "d": base64}``,
    ``{"status": {...}}`` or ``{"beat": 1}``; a line is at most ``MAX_LINE`` bytes.
    """

    MAX_LINE = 128 * 1024
    MAX_DATA = 64 * 1024

    source: str = ""
    offset: int = 0
    data: bytes = b""
    status: Optional[JobStatus] = None
