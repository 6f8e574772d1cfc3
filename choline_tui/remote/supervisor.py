"""The one long-lived process of a remote: takes jobs from the spool, obeys the lease, beats.

It owns no job: each has its shim, which goes on when the supervisor is killed. Everything it knows is
read from disk, so that a new one goes on where an old one ended.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Callable, Dict, Mapping, Optional, Set, Tuple

from choline_tui.kernel import lease as lease_rules
from choline_tui.kernel.jobs import live
from choline_tui.kernel.protocol import ENDED, PROTOCOL, JobStatus
from choline_tui.remote import market
from choline_tui.remote.files import append_line, lock, write_json
from choline_tui.remote.jobstore import JobStore
from choline_tui.remote.machine import Machine
from choline_tui.remote.paths import Paths
from choline_tui.remote.processes import signal_all
from choline_tui.remote.vault import Vault

__all__ = ["Supervisor"]

TICK_S = 0.1
LOOK_S = 1.0
"""How often the jobs and the lease are looked at; the spool is looked at every tick."""
BEAT_S = 5.0
IDLE_S = 900.0
"""On a machine of one's own a supervisor with nothing to do ends; the next contact starts one."""
STOP_GRACE_S = 30.0
SWEEP_S = 600.0
RETRIES_S = (5.0, 10.0, 20.0, 40.0, 60.0)

Ask = Callable[[str, Mapping[str, str]], Tuple[bool, str]]


class Supervisor:
    """``spawn(job)`` starts the job's shim; ``ask`` makes a call to the market; ``mono`` never goes back."""

    def __init__(
        self,
        paths: Paths,
        machine: Machine,
        store: JobStore,
        version: str,
        *,
        spawn: Optional[Callable[[str], "subprocess.Popen[bytes]"]] = None,
        ask: Ask = market.ask,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = paths
        self._machine = machine
        self._store = store
        self._vault = Vault(paths)
        self._version = version
        self._spawn = spawn or self._start_shim
        self._ask = ask
        self._mono = mono
        self._shims: Dict[str, "subprocess.Popen[bytes]"] = {}
        self._over: Set[str] = set()
        self._last_end: Optional[float] = None
        self._idle_since: Optional[float] = None
        self._asking: Optional[threading.Thread] = None
        self._asked = 0
        self._ask_at = 0.0
        self._said = ""
        self._sweep_at = 0.0
        self._quit = False
        self._live = 0

    def run(self) -> int:
        """Until told to end (TERM), idle on one's own machine, or its folder is gone. Exit status."""
        held = lock(self._paths.lock, wait=2.0)
        if held is None:
            return 0  # another one is here
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, self._on_term)
        signal.signal(signal.SIGHUP, lambda *_: None)
        self._log("supervisor %s begins, pid %d" % (self._version, os.getpid()))
        next_look = next_beat = 0.0
        changed = True
        while not self._quit:
            now = self._mono()
            for job in self._store.waiting():
                changed = self._take(job) or changed
            if now >= next_look:
                next_look = now + LOOK_S
                if not self._still_ours(held):
                    self._vault.clear()
                    return 0
                before = self._live
                self._look(now)
                changed = changed or self._live != before
            if now >= next_beat or changed:
                next_beat, changed = now + BEAT_S, False
                self._beat()
            time.sleep(TICK_S)
        self._log("supervisor %s ends" % self._version)
        return 0

    def _on_term(self, *_: object) -> None:
        self._quit = True

    def _log(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._machine.wall()))
        append_line(self._paths.log, "%s %s" % (stamp, text))

    def _still_ours(self, held: int) -> bool:
        """False when the folder was removed (the machine was wiped) or replaced under us."""
        try:
            return os.path.samestat(os.fstat(held), os.stat(self._paths.lock))
        except OSError:
            return False

    # jobs

    def _take(self, job: str) -> bool:
        try:
            spec = self._store.take(job)
        except OSError as e:
            self._log("job %s cannot be taken: %s" % (job, e))
            return False
        if spec is not None:
            self._log("job %s taken" % job)
            self._begin(job)
        return True

    def _begin(self, job: str) -> None:
        try:
            self._shims[job] = self._spawn(job)
        except OSError as e:
            self._log("job %s cannot be started yet: %s" % (job, e))

    def _start_shim(self, job: str) -> "subprocess.Popen[bytes]":
        log = os.open(self._paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", sys.argv[0], "_job", job],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(log)

    def _look(self, now: float) -> None:
        for job, shim in list(self._shims.items()):
            if shim.poll() is not None:
                del self._shims[job]
        statuses: Dict[str, JobStatus] = {}
        for job in self._store.taken():
            if job in self._over:
                continue
            status = self._store.status(job)
            if status is not None and status.state != ENDED and job not in self._shims:
                status = self._mend(job, status)
            if status is None:
                continue
            statuses[job] = status
            if status.state == ENDED:
                self._over.add(job)
                self._last_end = max(self._last_end or 0.0, status.ended or self._machine.wall())
                self._forget_stop(job)
                self._vault.remove(job)
                self._log("job %s ended: %s %s" % (job, status.reason, status.exit_code))
        waiting = self._store.waiting()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_S
            self._vault.sweep([job for job in statuses if job not in self._over] + waiting)
        self._live = live(statuses.values()) + len(waiting)
        self._obey(now)

    def _mend(self, job: str, status: JobStatus) -> Optional[JobStatus]:
        """A job without a shim of ours: it lives under another's, was never started, or was lost."""
        try:
            owner = self._store.own(job)
        except OSError:
            return status
        if owner is None:
            return status
        try:
            fresh = self._store.status(job)
            if fresh is None or fresh.state == ENDED:
                return fresh
            if self._store.claimed(job):
                group = self._store.group(job)
                if group and self._same_boot(job):
                    signal_all(group, 0, signal.SIGKILL)
                fresh.state, fresh.reason, fresh.ended = ENDED, "lost", self._machine.wall()
                fresh.message = fresh.message or "the machine restarted, or the job's keeper was killed"
                self._store.save(fresh)
                return fresh
        finally:
            os.close(owner)
        if self._store.spec(job) is not None:
            self._begin(job)
        return status

    def _same_boot(self, job: str) -> bool:
        """Whether a saved process group can still be the job's: written since this container's start."""
        try:
            written = os.stat(self._paths.job(job, "pgid")).st_mtime
            return written >= os.stat("/proc/1").st_mtime
        except OSError:
            return False

    def _forget_stop(self, job: str) -> None:
        try:
            os.unlink(self._paths.stop(job))
        except OSError:
            pass

    # the lease

    def _obey(self, now: float) -> None:
        record = self._machine.lease()
        instance = self._machine.instance()
        decision = lease_rules.Decision(lease_rules.NOTHING)
        if record is not None:
            wall = self._machine.wall()
            age = lease_rules.age(
                record, wall=wall, boot=self._machine.boot(), boot_id=self._machine.boot_id()
            )
            decision = lease_rules.decide(
                record.lease,
                age_s=age,
                live_jobs=self._live,
                since_last_end_s=None if self._last_end is None else max(0.0, wall - self._last_end),
                billed=instance is not None,
                started_s=self._machine.started_s(),
            )
        if decision.action == lease_rules.NOTHING:
            self._asked = 0
            self._rest(now, rented=instance is not None)
            return
        self._idle_since = None
        said = "%s: %s" % (decision.action, decision.reason)
        if said != self._said:
            self._said = said
            self._log("home is silent: %s" % said)
        if decision.action == lease_rules.END_JOBS:
            self._end_jobs()
        elif instance is not None:
            self._call(now, decision.action, instance)

    def _rest(self, now: float, *, rented: bool) -> None:
        if rented or self._live:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since > IDLE_S:
            self._quit = True

    def _end_jobs(self) -> None:
        for job in self._store.waiting() + self._store.taken():
            if job in self._over or self._store.stop_request(job) is not None:
                continue
            spec = self._store.spec(job)
            self._store.request_stop(job, STOP_GRACE_S if spec is None else spec.grace_s, "lease")

    def _call(self, now: float, action: str, instance: Mapping[str, str]) -> None:
        """Ask the market, in a thread so that jobs and beats go on, again and again until this ends."""
        if now < self._ask_at or (self._asking is not None and self._asking.is_alive()):
            return
        self._ask_at = now + RETRIES_S[min(self._asked, len(RETRIES_S) - 1)]
        self._asked += 1

        def call() -> None:
            done, words = self._ask(action, instance)
            self._log("asked the market to %s: %s" % (action, "taken" if done else words))

        self._asking = threading.Thread(target=call, daemon=True)
        self._asking.start()

    # heartbeat

    def _beat(self) -> None:
        try:
            write_json(
                self._paths.beat,
                {
                    "pid": os.getpid(),
                    "protocol": PROTOCOL,
                    "version": self._version,
                    "beat": self._machine.wall(),
                    "live": self._live,
                },
                sync=False,
            )
        except OSError as e:
            self._log("no heartbeat: %s" % e)
