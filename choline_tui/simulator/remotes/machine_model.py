"""A modelled machine: its disk, its jobs, and the guard and supervisor that end it when home is silent.

The decisions are the kernel's own (``kernel.lease.decide``); here is only when they are looked at. All
times are seconds of the clock's monotonic time: a machine does not notice when the laptop's clock jumps.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from choline_tui.kernel import lease as lease_rules
from choline_tui.kernel.clock import Clock
from choline_tui.kernel.guard import RENEWED_S
from choline_tui.kernel.protocol import PROTOCOL, JobSpec, JobStatus, Lease, RemoteStatus
from choline_tui.simulator.backend import Launch
from choline_tui.simulator.remotes.job_model import JobModel, ModelledJob

__all__ = ["Api", "Machine", "Sent", "guard_seconds"]

Api = Callable[[int, str], Awaitable[None]]
"""What a machine asks of the market with its instance key: (contract, "stop" or "destroy"); may raise."""

VERSION = "modelled"
GUARD_GRACE = 60.0
"""seconds the guard gives jobs between TERM and KILL"""
RETRY = 30.0
"""seconds between two requests to the market"""
TICK = 0.001
"""looked at this long after a moment, so that rounding never makes it be looked at too early"""

_GUARD = re.compile(
    r"^# choline-guard: seconds=(?P<seconds>\d+)(?: deadline=(?P<deadline>\d+))?(?: .*)?$", re.MULTILINE
)


def guard_seconds(onstart: str) -> tuple[int, int] | None:
    """(seconds, deadline as epoch s or 0) of the guard in an onstart script; None: there is none."""
    found = _GUARD.search(onstart)
    return (int(found["seconds"]), int(found["deadline"] or 0)) if found else None


@dataclass(frozen=True)
class Sent:
    """One item that came from home."""

    run: str
    part: str
    into: str
    names: tuple[bytes, ...]
    bytes: int
    key: str = ""
    """of data by content"""


@dataclass
class Machine:
    launch: Launch
    clock: Clock
    model_for: Callable[[JobSpec], JobModel]
    api: Api
    port: int
    running: bool = False
    starts: int = 0
    connections: int = 0
    """counts up whenever all connections are cut"""
    refuse: bool = False
    full: bool = False
    """nothing more can be written"""
    removed: set[str] = field(default_factory=set)
    """results deleted from outside, as "RUN/PATH" """
    bytes_out: int = 0
    bytes_in: int = 0
    jobs: dict[str, ModelledJob] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    """by job, as handed over: in the machine's memory"""
    sent: list[Sent] = field(default_factory=list)
    lease: Lease | None = None
    lease_at: float = 0.0
    supervisor: bool = False
    installed: bool = False
    deadline: float | None = None
    asked: list[tuple[float, str]] = field(default_factory=list)
    """requests made to the market: (epoch s, what)"""

    def __post_init__(self) -> None:
        self.epoch = self.clock.time() - self.clock.monotonic()
        self._wake: set[asyncio.Future[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._requests: set[asyncio.Task[None]] = set()
        self._expired_at: float | None = None
        self._ask_at = 0.0
        self._started_at = 0.0

    def now(self) -> float:
        return self.clock.monotonic()

    # -- the container's life

    def start(self) -> None:
        if self.running:
            return
        now = self.now()
        self.running = True
        self.starts += 1
        self._expired_at = None
        self._ask_at = self._started_at = now
        guard = guard_seconds(self.launch.onstart) if "CONTAINER_ID" in self.launch.env else None
        if guard is not None:
            seconds, absolute = guard
            if self.deadline is None:
                self.deadline = now + seconds
                if now < absolute - self.epoch < self.deadline:
                    self.deadline = absolute - self.epoch
            elif self.deadline <= now:
                self.deadline = now + RENEWED_S
        # the guard starts a supervisor that was there before
        self.supervisor = self.installed and guard is not None
        if self.supervisor:
            self._mend()
        self._keeper = asyncio.create_task(self._keep())

    def stop(self) -> None:
        now = self.now()
        self.running = self.supervisor = False
        self.secrets.clear()
        self.cut()
        for job in self.jobs.values():
            job.lose(now)
        if self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None

    async def close(self) -> None:
        self.stop()
        current = asyncio.current_task()
        # a request of ours may be what closes us: it must not wait for itself
        waiting = [task for task in self._requests if task is not current]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def cut(self) -> None:
        """Every connection is lost."""
        self.connections += 1
        self.changed()

    # -- waiting

    def changed(self) -> None:
        for future in self._wake:
            if not future.done():
                future.set_result(None)

    async def wait(self, seconds: float | None) -> None:
        """Until something changes that was not foreseen, at most ``seconds``."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wake.add(future)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await future
        finally:
            self._wake.discard(future)

    # -- the supervisor

    def prepare(self, lease: Lease) -> None:
        self.installed = True
        if not self.supervisor:
            self.supervisor = True
            self._mend()
        self.renew(lease)

    def _mend(self) -> None:
        for job in self.jobs.values():
            if job.lost_at is not None and job.mended_at is None:
                job.mended_at = self.now()

    def renew(self, lease: Lease) -> None:
        self.lease, self.lease_at = lease, self.now()
        if lease.deadline_s is not None and self.deadline is not None:
            self.deadline = self.now() + lease.deadline_s
        self.changed()

    def submit(self, spec: JobSpec) -> ModelledJob:
        if spec.id not in self.jobs:
            self.jobs[spec.id] = ModelledJob(spec, self.model_for(spec), self.now())
            self.changed()
        return self.jobs[spec.id]

    def job_status(self, job: ModelledJob) -> JobStatus:
        return job.status(self.now(), self.epoch)

    def status(self) -> RemoteStatus:
        now = self.now()
        return RemoteStatus(
            protocol=PROTOCOL,
            version=VERSION,
            pid=100 + self.starts,
            disk_free_bytes=self.disk_free(),
            deadline_in_s=None if self.deadline is None else self.deadline - now,
            lease_in_s=None if self.lease is None else self.lease.seconds - (now - self.lease_at),
            jobs={name: self.job_status(job) for name, job in self.jobs.items()},
        )

    def disk_free(self) -> int:
        if self.full:
            return 0
        used = sum(item.bytes for item in self.sent) + sum(len(c) for c in self.files().values())
        return max(0, int(self.launch.disk_gb * 1e9) - used)

    def files(self, run: str | None = None) -> dict[str, bytes]:
        """results/ and keep/ of a run (None: of all), as they are now; a later attempt writes over."""
        now = self.now()
        found: dict[str, bytes] = {}
        for job in sorted(self.jobs.values(), key=lambda j: j.began):
            if run is None:
                found.update({f"{job.spec.run}/{path}": c for path, c in job.results(now).items()})
            elif job.spec.run == run:
                found.update(job.results(now))
        if self.removed:
            prefix = "" if run is None else f"{run}/"
            found = {path: c for path, c in found.items() if prefix + path not in self.removed}
        return found

    # -- guard and lease

    async def _keep(self) -> None:
        while self.running:
            now = self.now()
            due = [moment for moment in (self._guard(now), self._obey(now)) if moment is not None]
            await self.wait(max(0.0, min(due) - now) + TICK if due else None)

    def _live(self, now: float) -> list[ModelledJob]:
        return [job for job in self.jobs.values() if not job.ended_by(now)]

    def _guard(self, now: float) -> float | None:
        """Act if the deadline has passed; the next moment to look, None: never by itself."""
        if self.deadline is None:
            return None
        if self._expired_at is None:
            if now < self.deadline:
                return self.deadline
            self._expired_at = now
            live = self._live(now)
            for job in live:
                job.stop(now, GUARD_GRACE, "deadline")
            if live:
                self.changed()
                self._ask_at = now + GUARD_GRACE
        safe = self.lease is not None and self.lease.safe
        return self._request(now, lease_rules.DESTROY if safe else lease_rules.STOP)

    def _obey(self, now: float) -> float | None:
        if not self.supervisor or self._expired_at is not None:
            return None
        live = self._live(now)
        ends = [end for job in self.jobs.values() if (end := job.end_time()) is not None]
        past = [end for end in ends if end <= now]
        decision = lease_rules.decide(
            self.lease,
            age_s=now - self.lease_at,
            live_jobs=len(live),
            since_last_end_s=now - max(past) if past else None,
            billed="CONTAINER_ID" in self.launch.env,
            started_s=now - self._started_at,
        )
        if decision.action == lease_rules.END_JOBS:
            for job in live:
                job.stop(now, job.spec.grace_s, "lease")
            self.changed_jobs(live)
        elif decision.action != lease_rules.NOTHING:
            return self._request(now, decision.action)
        moments = [end for job in live if (end := job.end_time()) is not None]
        if decision.in_s is not None:
            moments.append(now + decision.in_s)
        return min(moments, default=None)

    def changed_jobs(self, jobs: list[ModelledJob]) -> None:
        if any(job.stop_at == self.now() for job in jobs):
            self.changed()

    def _request(self, now: float, action: str) -> float:
        """Ask the market, again every ``RETRY`` until this machine has ended."""
        if now < self._ask_at:
            return self._ask_at
        self._ask_at = now + RETRY
        self.asked.append((self.epoch + now, action))

        async def ask() -> None:
            # an unreachable or refusing market is asked again
            with contextlib.suppress(Exception):
                await self.api(self.launch.contract, action)

        # its own task: the answer may well be that this machine is stopped, with its keeper
        task = asyncio.create_task(ask())
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        return self._ask_at
