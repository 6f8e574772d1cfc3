"""One process per job. It owns the command, its log and its exit code, and outlives the supervisor.

It lives in a session of its own; so does each command it starts. Time limit, size limits and stop
requests are its business too, so that they hold while no supervisor runs.
"""

import itertools
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from typing import Dict, List, Optional

from choline_tui.kernel import layout
from choline_tui.kernel.jobs import shell_exit
from choline_tui.kernel.mask import Masker
from choline_tui.kernel.protocol import DISK_FULL, ENDED, RUNNING, SETUP, STOPPING, WHOLE, JobSpec, JobStatus
from choline_tui.remote.files import write_atomic
from choline_tui.remote.fresh import Fresh
from choline_tui.remote.jobstore import JobStore
from choline_tui.remote.listing import tree, tree_bytes
from choline_tui.remote.machine import Machine
from choline_tui.remote.paths import Paths
from choline_tui.remote.processes import adopt_orphans, children_of, signal_all
from choline_tui.remote.room import Room
from choline_tui.remote.sending import Sending
from choline_tui.remote.terminal import SOCKET, Terminal
from choline_tui.remote.vault import Vault

__all__ = ["Shim"]

TICK_S = 0.2
HOLD_AGAIN_S = 2.0
LINGER_S = 5.0
"""What a command left running in its group gets at most between TERM and KILL once it has ended."""
LONGEST_ARGUMENT = 100_000
"""Linux takes 131,072 bytes for one argument; longer commands go through a file."""


def _term(name: str) -> str:
    """What the command may expect of whoever attaches."""
    return name if name not in ("", "dumb", "unknown") else "xterm-256color"


class _Log:
    """A log with a cap: what does not fit, or cannot be written, is counted and dropped. Secrets in it are
    masked."""

    def __init__(self, path: str, cap: int, masker: Masker) -> None:
        self._masker = masker
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._room = max(0, cap - os.fstat(self._fd).st_size) if cap > 0 else 1 << 62
        self.dropped = 0

    def write(self, data: bytes) -> None:
        self._keep(self._masker.feed(data))

    def finish(self) -> None:
        """What was held because it might have been the beginning of a secret."""
        self._keep(self._masker.flush())

    def _keep(self, data: bytes) -> None:
        view = data[: self._room]
        self.dropped += len(data) - len(view)
        while view:
            try:
                done = os.write(self._fd, view)
            except OSError:  # the disk is full: the job goes on
                self.dropped += len(view)
                return
            self._room -= done
            view = view[done:]

    def close(self) -> None:
        self.finish()
        os.close(self._fd)


class Shim:
    """``run`` does the job from claim to final status. ``mono`` gives seconds that never go back."""

    def __init__(self, paths: Paths, machine: Machine, store: JobStore) -> None:
        self._paths = paths
        self._machine = machine
        self._store = store
        self._vault = Vault(paths)
        self._secrets: Dict[str, str] = {}
        self._mono = time.monotonic
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)

    def run(self, job: str) -> int:
        """The verb's exit status: 0 when the job was this process's to do."""
        os.makedirs(self._paths.job(job), mode=0o700, exist_ok=True)
        owner = self._store.own(job, wait=2.0)
        if owner is None:
            return 1
        spec = self._store.spec(job)
        if spec is None or not self._store.claim(job):
            return 1
        self._spec = spec
        self._status = self._store.status(job) or JobStatus(id=job)
        self._status.log_bytes = {}
        self._results_full = False
        self._room = Room(self._paths.home)
        self._hold_again = 0.0
        self._sending: Optional[Sending] = None
        self._why = ""
        self._pumps: Dict[int, _Log] = {}
        self._terminal: Optional[Terminal] = None
        self._logs: List[_Log] = []
        self._keep_reserve()
        # handlers, not SIG_IGN: a command would inherit that signals are ignored
        for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        adopt_orphans()
        try:
            self._do(spec)
        except Exception as e:  # whatever it is, home must learn that the job is over
            self._end("lost", message="%s: %s" % (type(e).__name__, e))
            raise
        finally:
            signal.set_wakeup_fd(-1)
        return 0

    def _do(self, spec: JobSpec) -> None:
        if self._store.stop_request(spec.id) is not None:
            self._end(self._stop_reason(), message="stopped before it was started")
            return
        self._secrets = self._vault.read(spec.id) if spec.secrets else {}
        if not set(spec.secrets) <= set(self._secrets):
            self._end("lost", message="its secrets are gone: the machine restarted before it began")
            return
        self._paths.make_run(spec.run)
        env = self._machine.user_environment(os.environ)
        env.update(layout.environment(self._paths.home, spec.run, spec.attempt, spec.gpus))
        env.update(spec.env)
        env.update(self._secrets)
        env["PWD"] = self._paths.run(spec.run, "src")
        self._status.started = self._machine.wall()
        self._begin = self._mono()
        if spec.also is not None:
            self._sending = Sending(self._paths, spec, self._secrets, self._status, self._machine.wall)
        threading.Thread(target=self._watch_results, daemon=True).start()
        if spec.setup.strip():
            self._state(SETUP)
            self._status.setup_exit = self._execute("setup", spec.setup, env)
            if self._why:
                self._end(self._why)
                return
            if self._status.setup_exit != 0:
                self._end(self._ending(self._status.setup_exit, "setup_failed"))
                return
        self._state(RUNNING)
        self._status.exit_code = self._execute("run", spec.command, env)
        reason = self._ending(self._status.exit_code, "exited")
        if self._sending is not None:
            self._close_logs()
            self._sending.finish(reason, lambda: self._save(sync=False))
        self._end(reason)

    def _ending(self, code: int, otherwise: str) -> str:
        """The guard ends jobs by itself and leaves a mark: only that tells its signal from others."""
        if self._why:
            return self._why
        return "deadline" if code > 128 and os.path.exists(self._paths.expired) else otherwise

    def _state(self, state: str) -> None:
        self._status.state = state
        self._save()

    def _end(self, reason: str, message: str = "") -> None:
        self._close_logs()
        self._vault.remove(self._spec.id)
        self._status.state = ENDED
        self._status.reason = reason
        self._status.held = False
        self._status.ended = self._machine.wall()
        self._status.message = (message or self._status.message)[:1000]
        self._status.results_bytes = self._measure()
        self._drop_reserve()
        self._save()
        if self._status.also == WHOLE:
            self._machine.kept_elsewhere(self._spec.id)

    def _save(self, *, sync: bool = True) -> None:
        self._status.log_dropped = sum(log.dropped for log in self._logs)
        try:
            self._store.save(self._status, sync=sync)
        except OSError:
            if self._status.state == ENDED:
                raise

    def _keep_reserve(self) -> None:
        """Room for the last status on a disk that the job has filled."""
        try:
            write_atomic(self._paths.job(self._spec.id, "reserve"), b"\1" * 65536, sync=False)
        except OSError:
            pass

    def _drop_reserve(self) -> None:
        try:
            os.unlink(self._paths.job(self._spec.id, "reserve"))
        except OSError:
            pass

    def _close_logs(self) -> None:
        if self._terminal is not None:
            self._terminal.finish()
            self._terminal = None
            self._logs[-1].finish()
        for pipe, log in self._pumps.items():
            os.close(pipe)
            log.close()
        self._pumps.clear()

    # why it must end

    def _stop_reason(self) -> str:
        """'' while it may go on."""
        request = self._store.stop_request(self._spec.id)
        if request is not None:
            return request.reason
        if self._results_full:
            return "results_full"
        limit = self._spec.time_limit_s
        if limit > 0 and self._status.started is not None and self._mono() - self._begin >= limit:
            return "time_limit"
        return ""

    def _grace(self) -> float:
        request = self._store.stop_request(self._spec.id)
        return self._spec.grace_s if request is None else request.grace_s

    def _measure(self) -> int:
        run = self._spec.run
        return sum(tree_bytes(self._paths.run(run, part)) for part in ("results", "keep"))

    def _watch_results(self) -> None:
        run = self._spec.run
        settle = max(0.0, self._spec.settle_s)
        fresh = Fresh(settle)
        often = min(5.0, max(0.2, settle / 2))
        limit = self._spec.results_max_bytes
        while True:
            begun = self._mono()
            files = (tree(self._paths.run(run, part)) for part in ("results", "keep"))
            size = fresh.look(itertools.chain.from_iterable(files), begun, self._machine.wall())
            self._status.results_bytes = size
            if fresh.count != self._status.fresh and self._sending is not None:
                self._sending.wake()
            self._status.fresh = fresh.count
            if limit > 0 and size > limit:
                self._results_full = True
            # at most a twentieth of one core, however many files there are
            time.sleep(max(often if limit <= 0 else 1.0, 20.0 * (self._mono() - begun)))

    # one command

    def _arguments(self, source: str, command: str) -> List[str]:
        shell = shutil.which("bash") or "/bin/sh"
        if len(command.encode("utf-8", "surrogateescape")) <= LONGEST_ARGUMENT:
            return [shell, "-c", command]
        path = self._paths.job(self._spec.id, source + ".sh")
        write_atomic(path, command.encode("utf-8", "surrogateescape"))
        return [shell, path]

    def _execute(self, source: str, command: str, env: Dict[str, str]) -> int:
        """Run one command to its end and give its exit code as a shell would.

        What a setup leaves running (a database, say) goes on, its output too; what the command itself
        leaves is ended with it.
        """
        masker = Masker(self._secrets.values())
        log = _Log(self._paths.job(self._spec.id, source + ".log"), self._spec.log_max_bytes, masker)
        self._logs.append(log)
        arguments = self._arguments(source, command)
        if source == "run" and self._spec.tty:
            self._terminal = self._open_terminal(log)
        if self._terminal is not None:
            write_end = stdin = self._terminal.slave
            arguments = self._terminal.arguments(arguments)
            env = dict(env, TERM=_term(self._spec.env.get("TERM") or env.get("TERM", "")))
        else:
            read_end, write_end = os.pipe()
            os.set_blocking(read_end, False)
            self._pumps[read_end] = log
            stdin = subprocess.DEVNULL
        group_file = self._paths.job(self._spec.id, "pgid")
        try:
            child = subprocess.Popen(
                arguments,
                cwd=self._paths.run(self._spec.run, "src"),
                env=env,
                stdin=stdin,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
            )
        except (OSError, ValueError) as e:
            self._status.message = "could not be started: %s" % e
            log.write(("choline: the command could not be started: %s\n" % e).encode("utf-8", "replace"))
            return 126
        finally:
            os.close(write_end)
        try:
            write_atomic(group_file, b"%d\n" % child.pid, sync=False)
        except OSError:
            pass
        child.returncode = self._attend(child.pid, last=source == "run")
        try:
            os.unlink(group_file)
        except OSError:
            pass
        return child.returncode

    def _open_terminal(self, log: _Log) -> Optional[Terminal]:
        """None, and word of it, when this machine gives none: the job is done all the same."""
        try:
            terminal = Terminal(self._paths.job(self._spec.id, SOCKET), log.write)
        except OSError as e:
            self._status.message = "the command has no terminal: %s" % e
            return None
        if terminal.trouble:
            self._status.message = "nobody can attach to its terminal: %s" % terminal.trouble
        return terminal

    def _attend(self, group: int, *, last: bool) -> int:
        """Carry output and keep the limits until the command has ended; ``last``: all of the job too."""
        code: Optional[int] = None
        kill_at: Optional[float] = None
        asked_at = 0.0
        next_look, next_save, fresh = 0.0, self._mono() + 5.0, self._status.fresh
        while True:
            terminal = self._terminal
            reading = [] if terminal is None else terminal.reading()
            writing = [] if terminal is None else terminal.writing()
            ready, able, _ = select.select([self._wake_r, *self._pumps, *reading], writing, [], TICK_S)
            self._drain_wakeups()
            for pipe in ready:
                if pipe in self._pumps:
                    self._pump(pipe)
            if terminal is not None:
                terminal.serve(ready, able)
            code = self._reap(group, code)
            now = self._mono()
            if code is None and now >= next_look:
                next_look = now + TICK_S
                self._why = self._why or self._stop_reason()
                if self._why and kill_at is None:
                    asked_at, kill_at = now, now + self._grace()
                    self._state(STOPPING)
                    signal_all(group, os.getpid(), signal.SIGTERM)
                elif kill_at is not None:
                    # a second request may shorten the grace, never lengthen it
                    kill_at = min(kill_at, asked_at + self._grace())
                self._mind_disk(group, now)
            elif code is not None:
                if (not last and not self._why) or not self._left_over(group):
                    self._pump_rest()
                    return code
                if kill_at is None:
                    kill_at = now + min(LINGER_S, self._grace())
                    signal_all(group, os.getpid(), signal.SIGTERM)
            if kill_at is not None and now >= kill_at:
                signal_all(group, os.getpid(), signal.SIGKILL)
            if now >= next_save or fresh != self._status.fresh:
                next_save, fresh = now + 5.0, self._status.fresh
                self._save(sync=False)

    def _mind_disk(self, group: int, now: float) -> None:
        """Tell of a disk that fills; stop all processes of the job while it is full, but not its end."""
        status, state = self._status, self._room.look()
        hold = state == DISK_FULL and self._spec.disk_pause and not self._why
        if hold and os.path.exists(self._paths.expired):
            hold = False  # its end has come: the guard's TERM must reach it
        if hold and (not status.held or now >= self._hold_again):
            # again and again: one that was just being started got away
            self._hold_again = now + HOLD_AGAIN_S
            signal_all(group, os.getpid(), signal.SIGSTOP)
        elif status.held and not hold:
            signal_all(group, os.getpid(), signal.SIGCONT)
        if (state, hold) != (status.disk, status.held):
            status.disk, status.held, status.disk_free_bytes = state, hold, self._room.free
            self._drop_reserve()  # where there is no room at all it is for this
            self._save(sync=False)
            self._keep_reserve()

    def _pump(self, pipe: int) -> bool:
        """Carry what is there; False when nothing was."""
        try:
            data = os.read(pipe, 1 << 16)
        except BlockingIOError:
            return False
        if data:
            self._pumps[pipe].write(data)
            return True
        self._pumps.pop(pipe).close()
        os.close(pipe)
        return False

    def _pump_rest(self) -> None:
        """All output a command wrote before it ended; what others go on writing must not keep us."""
        for pipe in list(self._pumps):
            for _ in range(64):  # a pipe holds 1 MiB at most (Linux, fs.pipe-max-size)
                if not self._pump(pipe):
                    break

    def _drain_wakeups(self) -> None:
        try:
            while os.read(self._wake_r, 512):
                pass
        except BlockingIOError:
            pass

    def _reap(self, pid: int, code: Optional[int]) -> Optional[int]:
        """Collect every child that has ended; the command's own code when it is among them."""
        while True:
            try:
                found, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return code
            if found == 0:
                return code
            if found == pid:
                code = shell_exit(status)

    def _left_over(self, group: int) -> bool:
        if children_of(os.getpid()):
            return True
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True
