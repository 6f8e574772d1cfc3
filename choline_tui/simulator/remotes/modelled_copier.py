"""``kernel.session.HostCopier`` over a modelled machine's disk: it answers while the machine stands."""

from collections.abc import Callable
from pathlib import Path

from choline_tui.kernel.clock import Clock
from choline_tui.kernel.errors import SshDropped, SshRefused
from choline_tui.kernel.protocol import JobStatus
from choline_tui.kernel.session import RULES, OnProgress, Progress, ResultRules, Transfer
from choline_tui.simulator.remotes.machine_model import Machine
from choline_tui.simulator.remotes.modelled_session import wanted, write

__all__ = ["ModelledCopier"]

LATENCY = 0.5
"""s that a question takes: each is a connection of its own"""
STEPS = 4


class ModelledCopier:
    """``find``: the machine, None when its disk is gone. ``speed``: bytes/s of transfers."""

    def __init__(self, find: Callable[[], Machine | None], contract: int, clock: Clock, speed: float) -> None:
        self.host_key = ""
        self._find = find
        self._contract = contract
        self._clock = clock
        self._speed = speed

    async def _disk(self) -> Machine:
        await self._clock.sleep(LATENCY)
        machine = self._find()
        if machine is None:
            raise SshRefused("nothing answers for that disk")
        self.host_key = f"ssh-ed25519 copier-of-{self._contract}"
        return machine

    async def job(self, job: str) -> JobStatus | None:
        """As the supervisor left it: of an end that came with the machine's it has written nothing."""
        machine = await self._disk()
        found = machine.jobs.get(job)
        return None if found is None else machine.job_status(found)

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
        """Writes real files, as ``ModelledSession.fetch`` does."""
        began = self._clock.monotonic()
        files = wanted(await self._disk(), run, max_bytes, rules)
        size, count = sum(map(len, files.values())), len(files)
        for step in range(1, STEPS + 1):
            await self._clock.sleep(size / self._speed / STEPS)
            machine = self._find()
            if machine is None:
                raise SshDropped("the disk is gone")
            machine.bytes_out += size * step // STEPS - size * (step - 1) // STEPS
            if on_progress is not None:
                left = size / self._speed * (STEPS - step) / STEPS
                on_progress(Progress(size * step // STEPS, size, count * step // STEPS, count, left))
        # a second look, as the comparison is: what changed under the copy is what counts
        files = wanted(await self._disk(), run, max_bytes, rules)
        write(Path(into), files)
        return Transfer(size, count, self._clock.monotonic() - began, "modelled")

    async def close(self) -> None:
        return None
