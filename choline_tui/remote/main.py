"""The zipapp's verbs: ``python3 supervisor.pyz VERB``, one round trip each.

::

    ensure, status                prints RemoteStatus
    prepare RUN                   lease on stdin: folders, lease, supervisor; prints RemoteStatus
    lease                         lease on stdin; prints RemoteStatus
    secrets JOB                   values by name on stdin, before its submit; prints Kept
    submit                        job on stdin; prints JobStatus
    stop JOB --grace S --reason R prints JobStatus
    stream JOB --setup N --run N  frames until the job has ended and its logs are out
    manifest RUN [--only]         results with hashes; --only: of the NUL-separated paths on stdin
    data                          request on stdin; lines of progress and the answer (``remote.data``)
    data-list KEY                 hashes of the data that has arrived of that key
    clone RUN                     request on stdin; the run's code by git, prints Cloned (``remote.clone``)
    attach JOB --key N            this terminal joined to the job's own; N: control character that leaves
    enter JOB [TEXT]              TEXT given to a shell, with the job's variables and directory; a shell
    version                       prints the version

Every verb but ``version``, ``secrets``, ``manifest``, ``data``, ``data-list``, ``clone``, ``stream``,
``attach`` and ``enter`` starts the supervisor when none runs. An error is one line of JSON, ``{"error":
{"code", "message", "hint"}}``, and exit status 1; those of ``attach`` and ``enter``, whose output a person
reads, are words on stderr, and exit status 255.
"""

import argparse
import json
import os
import signal
import sys
import time
from typing import Any, Dict, List, Optional

from choline_tui.kernel.errors import CholineError, NotFound, ProtocolMismatch, RemoteError, UsageError
from choline_tui.kernel.handover import Handover, Kept
from choline_tui.kernel.lease import age
from choline_tui.kernel.protocol import PROTOCOL, JobSpec, Lease, RemoteStatus
from choline_tui.remote.files import lock, read_json
from choline_tui.remote.jobstore import JobStore
from choline_tui.remote.machine import Machine
from choline_tui.remote.paths import Paths
from choline_tui.remote.vault import Vault

__all__ = ["Remote", "main"]

START_S = 15.0
"""How long a supervisor may take to come up (a loaded machine, a slow disk)."""
MAX_INPUT = 8 << 20
FOR_PEOPLE = ("attach", "enter")
FAILED = 255
"""As ssh itself when it fails: no exit status of a command that ran."""


class Remote:
    def __init__(self, home: str, version: str) -> None:
        self.paths = Paths(home)
        self.machine = Machine(self.paths)
        self.store = JobStore(self.paths)
        self.version = version

    # the supervisor

    def running(self) -> Optional[Dict[str, Any]]:
        """The running supervisor's heartbeat; ``{}`` when it holds the lock and has not beaten yet."""
        try:
            held = lock(self.paths.lock)
        except FileNotFoundError:
            return None
        if held is not None:
            os.close(held)
            return None
        return read_json(self.paths.beat) or {}

    def ensure(self) -> None:
        """See that a supervisor runs. Raises ``RemoteError`` when none comes up."""
        self.paths.make_system()
        beat = self.running()
        if beat and beat.get("version") != self.version and not self._live():
            self._retire(beat)
            beat = None
        if beat:
            return
        if beat is None:
            try:
                os.unlink(self.paths.beat)
            except OSError:
                pass
            self._launch()
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self.running():
                return
            time.sleep(0.01)
        raise RemoteError(
            "the supervisor does not come up on the remote", hint="Its log is ~/%s." % "choline/.system"
        )

    def _live(self) -> bool:
        return any(status.state != "ended" for status in self.store.all().values())

    def _retire(self, beat: Dict[str, Any]) -> None:
        """End an idle supervisor of another version; the lock says that its pid is meant."""
        pid = beat.get("pid")
        if isinstance(pid, int) and pid > 1:
            try:
                os.kill(pid, signal.SIGTERM)
            except OSError:
                pass
        until = time.monotonic() + START_S
        while self.running() is not None and time.monotonic() < until:
            time.sleep(0.02)

    def _launch(self) -> None:
        """Start the supervisor so that nothing of this session holds it, or is held by it."""
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return
        try:
            os.setsid()
            if os.fork():
                os._exit(0)
            null = os.open(os.devnull, os.O_RDWR)
            log = os.open(self.paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(null, 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            # an SSH session ends when nobody holds its pipes any more
            os.closerange(3, 1024)
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.chdir(self.paths.home)
            arguments = [sys.executable, "-I", "-S", os.path.abspath(sys.argv[0]), "_supervise"]
            os.execv(sys.executable, arguments)  # noqa: S606
        finally:
            os._exit(1)

    # what home reads

    def status(self) -> RemoteStatus:
        beat = self.running() or {}
        record = self.machine.lease()
        lease_in: Optional[float] = None
        if record is not None:
            gone = age(
                record,
                wall=self.machine.wall(),
                boot=self.machine.boot(),
                boot_id=self.machine.boot_id(),
            )
            lease_in = record.lease.seconds - gone
        return RemoteStatus(
            protocol=int(beat.get("protocol", PROTOCOL)),
            version=str(beat.get("version", self.version)),
            pid=int(beat.get("pid", 0)),
            disk_free_bytes=self.machine.disk_free(),
            deadline_in_s=self.machine.deadline(),
            lease_in_s=lease_in,
            jobs=self.store.all(),
        )

    def submit(self, data: Any) -> Any:
        try:
            spec = JobSpec.from_wire(data)
        except ValueError as e:
            raise UsageError("not a job: %s" % e) from None
        if spec.protocol != PROTOCOL:
            raise ProtocolMismatch("the job speaks protocol %d, this remote %d" % (spec.protocol, PROTOCOL))
        if any(not k or "=" in k or "\0" in k + v for k, v in spec.env.items()) or "\0" in spec.command:
            raise UsageError("a variable or the command holds what no process can be given")
        self.paths.make_system()
        self.paths.make_run(spec.run)
        self.store.submit(spec)
        if not self.machine.elsewhere():
            self.machine.heed()  # what was safe before this job is not all any more
        self.ensure()
        return (self.store.status(spec.id)).to_wire()  # type: ignore[union-attr]

    def secrets(self, job: str, data: Any) -> Any:
        try:
            given = Handover.from_wire(data)
        except ValueError as e:
            raise UsageError(str(e)) from None
        self.paths.make_system()
        status = self.store.status(job)
        if status is not None and status.state == "ended":
            return Kept().to_wire()  # home asks again what it had no answer to: none are needed any more
        return Vault(self.paths).put(job, given).to_wire()

    def lease(self, data: Any) -> None:
        try:
            lease = Lease.from_wire(data)
        except ValueError as e:
            raise UsageError("not a lease: %s" % e) from None
        self.paths.make_system()
        self.machine.save_lease(lease)

    def stop(self, job: str, grace_s: float, reason: str) -> Any:
        status = self.store.status(job)
        if status is None:
            raise NotFound("no job %s on this remote" % job)
        if status.state != "ended":
            self.store.request_stop(job, grace_s, reason)
            self.ensure()
        return (self.store.status(job) or status).to_wire()


def _read_stdin() -> bytes:
    data = sys.stdin.buffer.read(MAX_INPUT + 1)
    if len(data) > MAX_INPUT:
        raise UsageError("too much on stdin")
    return data


def _read_json() -> Any:
    try:
        return json.loads(_read_stdin().decode("utf-8"))
    except (ValueError, RecursionError):
        raise UsageError("stdin is not JSON") from None


def _print(data: Any) -> None:
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()


def _complain(message: str, hint: str) -> int:
    sys.stderr.write("choline: %s\n%s" % (message, hint and hint + "\n"))
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="supervisor.pyz", description=(__doc__ or "").split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("ensure", "status", "lease", "submit", "data", "version", "_supervise"):
        verbs.add_parser(verb)
    for verb in ("prepare", "manifest", "clone"):
        sub = verbs.add_parser(verb)
        sub.add_argument("run")
        if verb == "manifest":
            sub.add_argument("--only", action="store_true")
    stop = verbs.add_parser("stop")
    stop.add_argument("job")
    stop.add_argument("--grace", type=float, default=30.0)
    stop.add_argument("--reason", default="stopped")
    stream = verbs.add_parser("stream")
    stream.add_argument("job")
    stream.add_argument("--setup", type=int, default=0)
    stream.add_argument("--run", type=int, default=0)
    verbs.add_parser("secrets").add_argument("job")
    verbs.add_parser("_job").add_argument("job")
    verbs.add_parser("data-list").add_argument("key")
    attach = verbs.add_parser("attach")
    attach.add_argument("job")
    attach.add_argument("--key", type=int, choices=range(1, 32), default=28)
    enter = verbs.add_parser("enter")
    enter.add_argument("job")
    enter.add_argument("text", nargs="?", default="")
    return parser


def _name(text: str) -> str:
    """A job's or run's id, checked before it becomes part of a path."""
    if (
        not text
        or len(text) > 200
        or text.startswith(".")
        or not all(c.isalnum() or c in "-_." for c in text)
    ):
        raise UsageError("bad job or run id")
    return text


def _clone(paths: Paths, run: str) -> Any:
    from choline_tui.kernel.clone import Clone
    from choline_tui.remote.clone import clone

    try:
        request = Clone.from_wire(_read_stdin())
    except ValueError as e:
        raise UsageError(str(e)) from None
    return clone(paths, run, request).to_wire()


def _do(remote: Remote, args: argparse.Namespace) -> int:
    verb = args.verb
    if verb == "version":
        _print({"version": remote.version, "protocol": PROTOCOL})
    elif verb == "_supervise":
        from choline_tui.remote.supervisor import Supervisor

        return Supervisor(remote.paths, remote.machine, remote.store, remote.version).run()
    elif verb == "_job":
        from choline_tui.remote.shim import Shim

        return Shim(remote.paths, remote.machine, remote.store).run(_name(args.job))
    elif verb == "stream":
        from choline_tui.remote.stream import follow

        offsets = {"setup": max(0, args.setup), "run": max(0, args.run)}
        if not follow(remote.paths, remote.store, _name(args.job), offsets):
            raise NotFound("no job %s on this remote" % args.job)
    elif verb == "attach":
        from choline_tui.remote.attach import attach

        return attach(remote.paths, remote.store, _name(args.job), args.key)
    elif verb == "enter":
        from choline_tui.remote.enter import enter

        enter(remote.paths, remote.machine, remote.store, _name(args.job), args.text)
    elif verb == "manifest":
        from choline_tui.remote.listing import manifest

        only: Optional[List[bytes]] = None
        if args.only:
            only = [name for name in _read_stdin().split(b"\0") if name]
        manifest(remote.paths, _name(args.run), sys.stdout.buffer.write, only)
        sys.stdout.buffer.flush()
    elif verb in ("data", "data-list"):
        from choline_tui.remote import data
        from choline_tui.remote.datastore import DataStore

        store = DataStore(remote.paths, remote.store)
        if verb == "data":
            _print(data.answer(store, _read_json(), _print))
        else:
            data.write_list(store, _name(args.key), sys.stdout.buffer.write)
            sys.stdout.buffer.flush()
    elif verb == "clone":
        _print(_clone(remote.paths, _name(args.run)))
    elif verb == "submit":
        _print(remote.submit(_read_json()))
    elif verb == "secrets":
        _print(remote.secrets(_name(args.job), _read_json()))
    elif verb == "stop":
        _print(remote.stop(_name(args.job), args.grace, args.reason))
    else:
        if verb == "prepare":
            remote.paths.make_run(_name(args.run))
        if verb in ("prepare", "lease"):
            remote.lease(_read_json())
        remote.ensure()
        _print(remote.status().to_wire())
    return 0


def main(version: str, argv: Optional[List[str]] = None) -> int:
    """Run one verb; the exit status."""
    args = _parser().parse_args(argv)
    # the program's own place says whose home this is, whatever HOME holds
    program = os.path.abspath(sys.argv[0])
    inside = os.path.dirname(os.path.dirname(program))
    known = os.path.basename(program) == "supervisor.pyz" and os.path.basename(inside) == "choline"
    home = os.path.dirname(inside) if known else os.path.expanduser("~")
    try:
        return _do(Remote(home, version), args)
    except CholineError as e:
        if args.verb in FOR_PEOPLE:
            return _complain(e.message, e.hint)
        _print({"error": {"code": e.code, "message": e.message, "hint": e.hint}})
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as e:
        if args.verb in FOR_PEOPLE:
            return _complain("on the remote: %s" % e, "")
        _print({"error": {"code": "RemoteError", "message": "on the remote: %s" % e, "hint": ""}})
    return 1
