"""A home with a real engine process, watched by the named rules of the virtual lives.

What ``tests.proof.monitor`` sees in process it sees here at the market's door and on the two disks: an engine
that waits for the answer to a destroy does nothing about that machine meanwhile, and what it wrote since
its last request is read before its next one is answered.
"""

import contextlib
import os
import random
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from choline_tui.config.edit import set_value
from choline_tui.config.paths import Paths
from choline_tui.kernel.clock import SystemClock
from choline_tui.kernel.errors import EngineError, NotFound
from choline_tui.model.run import Outcome, RentalState, Run, RunState
from choline_tui.services import Choline
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.remotes import ProcessBackend
from choline_tui.simulator.wire import Request, Response
from choline_tui.store import Store
from tests.proof.monitor import Monitor
from tests.support import eventually

__all__ = ["SCRIPT", "Disks", "Job", "RealHome", "leftovers", "model"]

SCRIPT = """
import os, random, time
job = os.environ["CHOLINE_RUN"] + "-" + os.environ["CHOLINE_ATTEMPT"]
with open(os.path.expanduser("~/began.txt"), "a") as f:
    f.write(job + "\\n")
out, keep = os.environ["CHOLINE_RESULTS"], os.environ["CHOLINE_KEEP"]
for step in range(int(os.environ["STEPS"])):
    print("step", step, flush=True)
    with open(os.path.join(keep, "checkpoint"), "w") as f:
        f.write(str(step))
    with open(os.path.join(out, "part-%d" % (step // 5)), "ab" if step % 5 else "wb") as f:
        f.write(random.Random(step).randbytes(100_000))
    time.sleep(0.1)
with open(os.path.join(out, "naïve 'model' \\"x\\".bin"), "wb") as f:
    f.write(random.Random(int(os.environ["SEED"])).randbytes(int(os.environ["BYTES"])))
"""
"""leaves a line in the machine's home each time it begins, outside of what comes home"""

SETTINGS = {
    "engine.settle": "6s",
    "engine.boot_poll": "0.5",
    "engine.watch": "2s",
    "run.results_every": "1s",
    "run.boot_limit": "25s",
    "run.ssh_limit": "30s",
    "run.wait": "120s",
    "run.tries": "20",
}


@dataclass(frozen=True)
class Job:
    """What a run was asked to do."""

    seed: int
    steps: int
    size: int
    """bytes of the one large file"""

    @property
    def env(self) -> dict[str, str]:
        return {"SEED": str(self.seed), "STEPS": str(self.steps), "BYTES": str(self.size)}

    def files(self) -> dict[str, bytes]:
        """Everything a whole run brings home."""
        found = {"keep/checkpoint": str(self.steps - 1).encode()}
        for step in range(self.steps):
            name = f"results/part-{step // 5}"
            found[name] = found.get(name, b"") + random.Random(step).randbytes(100_000)
        return found | {model(): random.Random(self.seed).randbytes(self.size)}


def model() -> str:
    return "results/naïve 'model' \"x\".bin"


class Disks(ProcessBackend):
    """Remotes whose disks are looked at before they go: which jobs began there, and how often."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "openssh")
        self.began: dict[int, list[str]] = {}

    async def destroy(self, contract: int) -> None:
        self.note(contract)
        await super().destroy(contract)

    def note(self, contract: int) -> None:
        with contextlib.suppress(OSError, NotFound):
            self.began[contract] = (self.home(contract) / "began.txt").read_text().split()

    def jobs(self) -> list[str]:
        """Every job that began anywhere, as often as it did."""
        for contract in list(self._remotes):
            self.note(contract)
        return [job for jobs in self.began.values() for job in jobs]


@dataclass
class RealHome:
    """``name``: the home's id, part of its labels. Its key to the market is told from others' by it."""

    name: str
    root: Path
    sim: Simulator
    backend: Disks
    store: Any = None
    jobs: dict[str, Job] = field(default_factory=dict)
    ended: list[Run] = field(default_factory=list)
    """its runs, after the life"""
    cut: bool = False
    """the network between it and the market is gone"""
    kill_at: tuple[str, str, bool] | None = None
    """the engine dies at the next request of this method and path, before it or (True) after it was done"""
    kills: int = 0

    def __post_init__(self) -> None:
        self.paths = Paths(self.root).ensure()
        for key, value in SETTINGS.items():
            set_value(self.paths, key, value)
        made = Store(self.paths.store)
        made.set_meta("home", self.name)
        made.close()
        self.clock = SystemClock()
        self.market = SimpleNamespace(before=[], heard=[])
        self.on_boot: list[Any] = []
        environ = {**os.environ, "VAST_URL": self.sim.url, "VAST_API_KEY": self.key}
        environ |= {"CHOLINE_HOME": str(self.root), "PYTHONPATH": os.pathsep.join(sys.path)}
        self.monitor = RealMonitor(self, self.name)  # type: ignore[arg-type]
        self.choline = Choline(self.root, environ)
        self.store = self.choline.store

    @property
    def key(self) -> str:
        return f"key-of-{self.name}"

    def sends(self, request: Request) -> bool:
        return request.header("authorization") == f"Bearer {self.key}"

    async def asked(self, request: Request) -> httpx.Request:
        """It is about to ask the market for something."""
        path = "/" + request.path.strip("/") + "/"
        asked = httpx.Request(
            request.method, f"{self.sim.url}{path}", params=request.params(), content=request.body
        )
        self.monitor.catch_up()
        for rule in self.market.before:
            await rule(asked)
        return asked

    def told(self, request: httpx.Request, answer: Response | None) -> None:
        """The market has answered; None: it will not hear it."""
        heard = None if answer is None else httpx.Response(answer.status, content=answer.body)
        for rule in self.market.heard:
            rule(request, heard)

    def dies_here(self, request: Request, done: bool) -> bool:
        if self.kill_at is None:
            return False
        method, path, after = self.kill_at
        if method != request.method or not request.path.startswith(path) or after != done:
            return False
        self.kill_at = None
        self.signal(signal.SIGKILL)
        return True

    # ------------------------------------------------------------------------------------- the engine

    def pid(self) -> int | None:
        try:
            pid = int(self.paths.engine_lock.read_text())
            found = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if b"choline_tui.engine" in found and not _ended(pid) else None

    def signal(self, number: signal.Signals) -> int | None:
        """To the engine that runs, if one does."""
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                self.kills += number == signal.SIGKILL
        return pid

    async def kill(self) -> None:
        pid = self.signal(signal.SIGKILL)
        if pid is not None:
            await eventually(lambda: _ended(pid), what="the engine is dead")

    async def retry(self, call: Any) -> Any:
        """Ask the engine, another one when it dies meanwhile."""
        for _ in range(4):
            with contextlib.suppress(EngineError):
                return await call()
        return await call()

    # ---------------------------------------------------------------------------------------- its runs

    def run(self, run: str) -> Run:
        found = self.store.run(run)
        assert isinstance(found, Run)
        return found

    @property
    def runs(self) -> list[str]:
        return [run.id for run in reversed(self.store.runs())]

    def story(self) -> str:
        return f"home {self.name}\n" + "\n".join(
            f"{e.at:.2f} {e.kind} {e.rental or e.run or ''} {e.text}" for e in self.store.events()
        )

    def contracts(self) -> list[Any]:
        mine = f"choline-{self.name}-"
        return [c for c in self.sim.contracts.alive() if (c.label or "").startswith(mine)]

    # ------------------------------------------------------------------------------------------- rules

    def watch(self) -> None:
        """What must hold whenever it is looked at."""
        self.monitor.catch_up()
        for contract in self.contracts():
            for rental in self.store.rentals():
                if rental.contract == contract.id and rental.state is RentalState.GONE:
                    self.monitor.say("bills", f"{rental.id} counts as gone and contract {contract.id} bills")
        self.monitor.check()

    def check(self) -> None:
        """The end of the life."""
        self.watch()
        assert not self.contracts(), "something of ours bills"
        began = Counter(self.backend.jobs())
        for run in self.runs:
            self._check_run(run, began)
            self._check_log(run)

    def _check_run(self, run_id: str, began: Counter[str]) -> None:
        run, attempts = self.run(run_id), self.store.attempts(run_id)
        rentals = {r.label: r for r in self.store.rentals(run=run_id)}
        assert run.state is RunState.ENDED and run.outcome is not None and run.reason
        assert not any(a.live for a in attempts)
        assert all(r.state is RentalState.GONE and r.gone is not None for r in rentals.values())
        made = Counter(c.label for c in self.sim.contracts.history if c.label in rentals)
        assert all(count == 1 for count in made.values()), f"one contract per attempt: {made}"
        for contract in self.sim.contracts.history:
            rental = rentals.get(contract.label or "")
            if rental is not None and contract.gpu_price + contract.disk_price > rental.cap * 1.0001:
                assert rental.failed, f"{rental.id} was kept above its cap"
        for attempt in attempts:
            assert began[attempt.job] <= 1, f"{attempt.job} began {began[attempt.job]} times"
        handed_over = [a for a in attempts if a.submitted is not None]
        if run.outcome is Outcome.SUCCEEDED:
            assert began[attempts[-1].job] == 1, f"{run_id} succeeded without having run"
        if handed_over and not run.results_complete:
            vanished = [r for r in rentals.values() if "vanished" in r.release_reason]
            assert run.drop_results or vanished, f"results were lost: {run.reason}"
        if run.outcome is Outcome.SUCCEEDED and run.results_complete:
            self._check_results(run, attempts[-1].n)

    def _check_results(self, run: Run, attempt: int) -> None:
        top, job = Path(run.plan.results_into), self.jobs[run.id]
        for name, data in job.files().items():
            assert (top / name).read_bytes() == data, f"{run.id}: {name} is not what the command wrote"
        log = self.choline.log_file(run.id, attempt, "run").read_text()
        assert log == "".join(f"step {n}\n" for n in range(job.steps)), f"{run.id}: {log!r:.300}"

    def _check_log(self, run_id: str) -> None:
        """Old to new of each record's events, in order, leads to how it stands."""
        states: dict[str, str] = {}
        for event in self.store.events(run=run_id):
            if event.new is None or event.kind not in ("run", "rental"):
                continue
            what = event.rental or run_id
            assert event.old is None or states.get(what) == event.old, f"{what}: {event}"
            states[what] = event.new
        assert states[run_id] == self.run(run_id).state
        for rental in self.store.rentals(run=run_id):
            assert states[rental.id] == rental.state


class RealMonitor(Monitor):
    """What the engine writes is read from its store, what is on a machine from its disk."""

    world: Any

    def catch_up(self) -> None:
        """Everything written since the last look, each record as it stands now."""
        for run in self.world.store.runs():
            if run != self._runs.get(run.id):
                self._run(run)
        for rental in self.world.store.rentals():
            if rental != self._rentals.get(rental.id):
                self._rental(rental)

    def missing(self, contract: int, run: Run) -> list[str]:
        into = Path(run.plan.results_into)
        try:
            there = self.world.backend.home(contract) / "choline" / run.id
        except NotFound:
            return []  # the machine is gone: what it had is compared at the end of the life
        found = []
        for file in sorted(f for top in ("results", "keep") for f in (there / top).rglob("*") if f.is_file()):
            name = file.relative_to(there)
            if not (into / name).is_file() or (into / name).read_bytes() != file.read_bytes():
                found.append(str(name))
        return found


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def leftovers(root: Path) -> list[str]:
    """Processes and mounts that still have to do with a folder."""
    found = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(root) in line]
    me, wanted = os.getpid(), os.fsencode(root)
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == me:
            continue
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            if wanted in words or wanted in (folder / "environ").read_bytes():
                found.append(f"{folder.name} {words.replace(bytes(1), b' ').decode(errors='replace')[:200]}")
    return found
