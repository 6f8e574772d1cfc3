"""``kernel.session.RemoteSession`` over a modelled machine, in process, in the clock's time."""

import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from choline_tui.kernel.clock import Clock
from choline_tui.kernel.content import key_of
from choline_tui.kernel.errors import RemoteError, SshDropped, TransferFailed
from choline_tui.kernel.handover import Handover, Kept
from choline_tui.kernel.protocol import (
    ENDED,
    SOURCES,
    Frame,
    GpuFact,
    JobSpec,
    JobStatus,
    Lease,
    Probe,
    RemoteStatus,
)
from choline_tui.kernel.session import RULES, Item, OnProgress, Progress, ResultRules, Transfer
from choline_tui.simulator.remotes.job_model import ModelledJob
from choline_tui.simulator.remotes.machine_model import TICK, VERSION, Machine, Sent
from choline_tui.simulator.remotes.shims import driver_name

__all__ = ["ModelledSession", "wanted", "write"]

STEPS = 4
"""pieces of a transfer: progress is told, and a lost connection noticed, after each"""


class ModelledSession:
    def __init__(self, machine: Machine, host_key: str, clock: Clock, speed: float, latency: float) -> None:
        self.host_key = host_key
        self._machine = machine
        self._clock = clock
        self._speed = speed
        self._latency = latency
        self._connection: int | None = machine.connections

    def _check(self) -> None:
        if self._connection != self._machine.connections or not self._machine.running:
            raise SshDropped("the connection to the machine was lost")

    async def _request(self) -> Machine:
        """One round trip."""
        self._check()
        await self._clock.sleep(self._latency)
        self._check()
        return self._machine

    async def _carry(
        self, size: int, files: int, on_progress: OnProgress | None, *, arriving: bool = False
    ) -> None:
        """Let the time of a transfer pass; what was carried when it breaks off is billed as well."""
        for step in range(1, STEPS + 1):
            await self._clock.sleep(size / self._speed / STEPS)
            self._check()
            if arriving and size and self._machine.full:
                raise TransferFailed("the machine's disk is full: No space left on device (28)")
            piece = size * step // STEPS - size * (step - 1) // STEPS
            if arriving:
                self._machine.bytes_in += piece
            else:
                self._machine.bytes_out += piece
            if on_progress is not None:
                left = size / self._speed * (STEPS - step) / STEPS
                on_progress(Progress(size * step // STEPS, size, files * step // STEPS, files, left))

    # -- RemoteSession

    async def probe(self) -> Probe:
        machine = await self._request()
        return Probe(
            home="/root",
            python="3.10.12",
            gpus=[
                GpuFact(driver_name(gpu.name, gpu.memory_mib), float(gpu.memory_mib), gpu.driver)
                for gpu in machine.launch.gpus
            ],
            disk_free_bytes=machine.disk_free(),
            has_rsync=True,
            supervisor=VERSION if machine.supervisor else "",
        )

    async def prepare(self, run: str, lease: Lease) -> RemoteStatus:
        machine = await self._request()
        machine.prepare(lease)
        return machine.status()

    async def send(self, run: str, items: Sequence[Item], on_progress: OnProgress | None = None) -> Transfer:
        """Nothing is read but names and sizes; ``Machine.sent`` holds what came."""
        machine = await self._request()
        began = self._clock.monotonic()
        arriving = [_measure(run, item) for item in items]
        fresh = [item for item in arriving if item not in machine.sent]
        # data by content lies there once, whoever sent it
        stored = {item.key for item in machine.sent if item.key}
        machine.sent += [item for item in fresh if item.key in stored]
        fresh = [item for item in fresh if item.key not in stored]
        size, files = sum(item.bytes for item in fresh), sum(len(item.names) for item in fresh)
        await self._carry(size, files, on_progress, arriving=True)
        machine.sent += fresh
        return Transfer(size, files, self._clock.monotonic() - began, "modelled")

    async def secrets(self, job: str, given: Handover) -> Kept:
        machine = await self._request()
        machine.secrets[job] = dict(given.values)
        return Kept()

    async def submit(self, spec: JobSpec) -> JobStatus:
        machine = await self._request()
        if not machine.supervisor:
            raise RemoteError("no supervisor runs on the machine")
        if spec.id not in machine.jobs and not set(spec.secrets) <= set(machine.secrets.get(spec.id, ())):
            raise RemoteError("the job's secrets were not handed over")
        if machine.full and spec.id not in machine.jobs:
            raise RemoteError("the supervisor cannot write the job: No space left on device")
        return machine.job_status(machine.submit(JobSpec.from_wire(spec.to_wire())))

    async def status(self) -> RemoteStatus:
        return (await self._request()).status()

    async def stream(self, job: str, offsets: dict[str, int]) -> AsyncIterator[Frame]:
        machine = await self._request()
        found = self._job(job)
        at = {source: max(0, offsets.get(source, 0)) for source in SOURCES}
        told: tuple[str, str, int] | None = None
        while True:
            self._check()
            now = machine.now()
            status = machine.job_status(found)
            for source in SOURCES:
                log = found.log(source, now)
                while at[source] < len(log):
                    piece = log[at[source] : at[source] + Frame.MAX_DATA]
                    yield Frame(source, at[source], piece)
                    at[source] += len(piece)
            if (status.state, status.reason, status.fresh) != told:
                told = (status.state, status.reason, status.fresh)
                yield Frame(status=status)
            if status.state == ENDED:
                return
            # the reader may have taken long over a frame: look from where we looked
            moment = found.next_change(now)
            await machine.wait(None if moment is None else max(0.0, moment - machine.now()) + TICK)

    async def stop(self, job: str, grace_s: float, reason: str) -> JobStatus:
        machine = await self._request()
        found = self._job(job)
        found.stop(machine.now(), grace_s, reason)
        machine.changed()
        return machine.job_status(found)

    async def renew(self, lease: Lease) -> None:
        machine = await self._request()
        if not machine.supervisor:
            raise RemoteError("no supervisor runs on the machine")
        machine.renew(lease)

    async def fetch(
        self,
        run: str,
        into: str,
        *,
        final: bool,
        max_bytes: int = 0,
        on_progress: OnProgress | None = None,
        rules: ResultRules = RULES,
    ) -> Transfer:
        """Writes real files, those that are new or differ. A modelled file is whole from the beginning."""
        machine = await self._request()
        began = self._clock.monotonic()
        files = wanted(machine, run, max_bytes, rules)
        base = Path(into)
        fresh = {path: content for path, content in files.items() if _differs(base / path, content)}
        size = sum(map(len, fresh.values()))
        await self._carry(size, len(fresh), on_progress)
        write(base, fresh)
        return Transfer(size, len(fresh), self._clock.monotonic() - began, "modelled")

    async def evidence(self) -> dict[str, bytes]:
        machine = await self._request()
        asked = "".join(f"{at:.0f} {what}\n" for at, what in machine.asked)
        return {
            "dmesg": b"modelled machine\n",
            "nvidia-smi": "".join(f"{g.name}, {g.memory_mib} MiB\n" for g in machine.launch.gpus).encode(),
            "guard.log": asked.encode(),
        }

    async def close(self) -> None:
        self._connection = None

    def _job(self, job: str) -> ModelledJob:
        try:
            return self._machine.jobs[job]
        except KeyError:
            raise RemoteError(f"the machine knows no job {job[:100]!r}") from None


def _measure(run: str, item: Item) -> Sent:
    if item.url:  # how much it is nobody says: it takes no time
        return Sent(run, item.part, item.into, (item.url.encode(),), 0, item.url)
    base = Path(item.base)
    if item.content is not None:
        names = tuple(entry.path for entry in item.content)
        size = sum(entry.size for entry in item.content)
        return Sent(run, item.part, item.into, names, size, key_of(item.content))
    if item.files is None:
        paths = [Path(folder, name) for folder, _, names in os.walk(base) for name in names]
        names = tuple(sorted(os.fsencode(os.path.relpath(path, base)) for path in paths))
    else:
        names = item.files
    size = 0
    for name in names:
        with contextlib.suppress(OSError):
            size += (base / os.fsdecode(name)).lstat().st_size
    return Sent(run, item.part, item.into, names, size)


def wanted(machine: Machine, run: str, max_bytes: int, rules: ResultRules) -> dict[str, bytes]:
    """The results of a run as they are on the machine's disk. Raises ``TransferFailed`` for too many."""
    files = {p: content for p, content in machine.files(run).items() if not _left_out(p, rules.exclude)}
    if max_bytes > 0 and sum(map(len, files.values())) > max_bytes:
        raise TransferFailed(f"the results are larger than the {max_bytes} bytes allowed")
    return files


def write(base: Path, files: dict[str, bytes]) -> None:
    """As a real transfer does: a reader never sees half a file."""
    for part in ("results", "keep"):
        (base / part).mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        target = base / path
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        partial.write_bytes(content)
        partial.replace(target)


def _left_out(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(part, p.strip("/")) for part in path.split("/")[1:] for p in patterns)


def _differs(file: Path, content: bytes) -> bool:
    try:
        return file.read_bytes() != content
    except OSError:
        return True
