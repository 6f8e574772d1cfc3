"""``RemoteSession`` over SSH: few round trips, and nothing a remote says is believed unchecked."""

import asyncio
import contextlib
import json
import os
import secrets
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from choline_tui.kernel import frames, layout, nvidia_smi
from choline_tui.kernel import manifest as manifests
from choline_tui.kernel.errors import (
    CholineError,
    MachineRefused,
    NotFound,
    ProtocolMismatch,
    RemoteError,
    SshDropped,
    TransferFailed,
    UsageError,
)
from choline_tui.kernel.handover import Handover, Kept
from choline_tui.kernel.protocol import ENDED, PROTOCOL, Frame, JobSpec, JobStatus, Lease, Probe, RemoteStatus
from choline_tui.kernel.session import RULES, Address, Item, OnProgress, Progress, ResultRules, Transfer
from choline_tui.kernel.text import plain
from choline_tui.provision import snippets, verify
from choline_tui.provision.clone import cloned
from choline_tui.provision.data import Sender, told_progress
from choline_tui.provision.install import MARK, Program, program
from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.connection import RemoteProcess, SshConnection
from choline_tui.ssh.listing import excluder
from choline_tui.ssh.staged import bring
from choline_tui.ssh.transfer import upload

__all__ = ["SshSession", "added", "after", "check_run"]

MAX_STATUS = 4 << 20
"""Bytes of an answer: ten thousand jobs. What is read is held some thirty times over for a moment."""
MAX_NOISE = 1 << 20
"""Bytes that a login shell may say before our program begins."""
SMALL = 16 * 1024
SMALL_AT_ONCE, SMALL_PER_S = 20_000, 100
"""Pieces of a stream that carry less than ``SMALL`` bytes: the supervisor makes some 40 a second at most."""
SMALL_CODE = 1 << 20
"""Bytes that are sent sooner than rsync has made a connection of its own."""
SILENCE_S = 3 * frames.BEAT_SECONDS
HASHING_S = 1800.0
"""A remote may read a file of some 100 GB before it says its hash."""
DATA_SILENCE_S = 300.0
"""The remote tells of data while it hashes and fetches, but not while one read or one answer takes long."""
MAX_DATA_LINE = 256 * 1024
_PARTS = ("src", "data", "keep")
_ERRORS: tuple[type[CholineError], ...] = (NotFound, UsageError, ProtocolMismatch, RemoteError)


@dataclass
class _Found:
    """What a probe told beyond ``Probe``."""

    python: str = ""
    installed: str = ""
    """version of the program that lies there"""
    running: str = ""
    running_protocol: int = 0
    live: int = 0


class SshSession:
    """One remote, over pooled connections; reconnects by itself at the next call.

    ``addresses``: tried in order. ``name``: the connection's name in the pool. ``host_key``: the pinned
    key; None at first contact, when whatever answers is pinned for this session and told as
    ``host_key``. ``installation``: what is installed on the remote.
    """

    def __init__(
        self,
        pool: SshPool,
        addresses: Sequence[Address],
        *,
        name: str,
        host_key: str | None = None,
        installation: Program | None = None,
    ) -> None:
        self._pool = pool
        self._addresses = tuple(addresses)
        self._name = name
        self.host_key = host_key or ""
        self._program = installation or program()
        self._found: _Found | None = None
        self._last: SshConnection | None = None
        self._sender = Sender(self._ask_data, lambda key: f"sh {snippets.LAUNCHER} data-list {key}")

    @classmethod
    async def open(
        cls,
        pool: SshPool,
        addresses: Sequence[Address],
        *,
        name: str,
        host_key: str | None = None,
        installation: Program | None = None,
    ) -> "SshSession":
        """A session that has connected. Raises what ``SshPool.connect`` raises."""
        session = cls(pool, addresses, name=name, host_key=host_key, installation=installation)
        await session._connection()
        return session

    async def _connection(self) -> SshConnection:
        conn = await self._pool.connect(self._addresses, host_key=self.host_key or None, name=self._name)
        self.host_key = conn.host_key
        self._last = conn
        return conn

    async def close(self) -> None:
        """Close the connection; the remote goes on."""
        if self._last is not None:
            await self._last.close()
            self._last = None

    # looking

    async def probe(self) -> Probe:
        """One round trip; changes nothing."""
        done = await (await self._connection()).run("sh -s", input=snippets.probe(), timeout=90.0)
        told = snippets.marked(done.stdout)
        home = _last(told, "home")
        if not home.startswith("/") or len(home) > 4096:
            raise RemoteError(f"The machine gives no shell: {_words(done.stderr or done.stdout)}")
        version, _, python = _last(told, "python").partition(" ")
        gpus, gpu_error, status = _cards(told.get("gpu", []))
        found = _Found(python=python if version else "")
        mark, _, rest = _last(told, "installed").partition(f"{MARK} ")
        if not mark and rest:
            found.installed = rest.split(" ")[-1]
        beat = _json(_last(told, "beat"))
        if isinstance(beat, dict):
            found.running = _text(beat.get("version"))[:100]
            found.running_protocol = _whole(beat.get("protocol"))
            found.live = _whole(beat.get("live"))
        self._found = found
        return Probe(
            home=home,
            python=plain(version)[:20],
            gpus=gpus,
            gpu_error=gpu_error if gpus or status == 127 else gpu_error or _no_cards(status),
            disk_free_bytes=_free(_last(told, "disk")),
            has_rsync=bool(_last(told, "rsync")),
            supervisor=found.running,
            guard=bool(_last(told, "guard")),
            market=_market(_last(told, "market")),
        )

    async def status(self) -> RemoteStatus:
        return self._remote_status(await self._verb("status"))

    async def evidence(self) -> dict[str, bytes]:
        """Works without our program, too; a part that cannot be had is empty."""
        boundary = f"choline-{secrets.token_hex(8)}"
        conn = await self._connection()
        done = await conn.run("sh -s", input=snippets.evidence(boundary), timeout=180.0, max_output=2 << 20)
        parts: dict[str, bytes] = {}
        for piece in done.stdout.split(b"\n" + boundary.encode() + b" ")[1:]:
            name, _, content = piece.partition(b"\n")
            known = name.decode("utf-8", "replace")
            if known in snippets.EVIDENCE:  # the machine knows the boundary and may make up others
                parts[known] = content
        return parts

    # preparing

    async def prepare(self, run: str, lease: Lease) -> RemoteStatus:
        """One round trip (two when nothing was probed before). ``MachineRefused``: no Python 3.8+.
        ``ProtocolMismatch``: a supervisor of another protocol has jobs that live."""
        check_run(run)
        if self._found is None:
            await self.probe()
        found = self._found
        assert found is not None
        keep = bool(found.running) and found.live > 0 and found.running != self._program.version
        if keep and found.running_protocol != PROTOCOL:
            raise _mismatch(found.running_protocol)
        install = not keep and found.installed != self._program.version
        script = snippets.prepare(
            run, lease, python=found.python, program=self._program.data if install else None
        )
        self._found = None  # whatever happens now, the next time looks again
        done = await (await self._connection()).run(
            "sh -s", input=script, timeout=90.0, max_output=MAX_STATUS
        )
        if _last(snippets.marked(done.stdout), "nopython"):
            raise MachineRefused(
                "The machine has no Python 3.8 or later.",
                hint="Use an image with Python, or let the start script install one.",
            )
        status = self._remote_status(self._answer(done.exit_status, done.stdout, done.stderr))
        self._found = _Found(
            found.python,
            self._program.version if install else found.installed,
            status.version,
            status.protocol,
            sum(1 for job in status.jobs.values() if job.state != ENDED),
        )
        return status

    async def renew(self, lease: Lease) -> None:
        self._remote_status(await self._verb("lease", json.dumps(lease.to_wire()).encode()))

    # jobs

    async def secrets(self, job: str, given: Handover) -> Kept:
        """On stdin: nothing of it stands in a command line. ``ProtocolMismatch``: an older supervisor whose
        jobs live cannot take any."""
        check_run(job)
        try:
            told = await self._verb(f"secrets {job}", json.dumps(given.to_wire()).encode())
            return Kept.from_wire(told)
        except ValueError as e:
            raise RemoteError(f"The remote's answer to secrets makes no sense: {e}.") from None
        except RemoteError as error:
            if "invalid choice" not in error.message:
                raise
            raise ProtocolMismatch(
                "The machine's supervisor is of an older choline, and takes no secrets.",
                hint="Wait until its jobs have ended: it is renewed then.",
            ) from None

    async def submit(self, spec: JobSpec) -> JobStatus:
        return self._job_status(await self._verb("submit", json.dumps(spec.to_wire()).encode()), spec.id)

    async def stop(self, job: str, grace_s: float, reason: str) -> JobStatus:
        check_run(job)
        words = [
            "stop",
            job,
            "--grace",
            f"{max(0.0, grace_s):g}",
            "--reason",
            shlex.quote(reason[:100] or "-"),
        ]
        return self._job_status(await self._verb(" ".join(words)), job)

    async def stream(self, job: str, offsets: dict[str, int]) -> AsyncIterator[Frame]:
        """Frames without the heartbeats. ``SshDropped`` when the remote falls silent or breaks off."""
        check_run(job)
        expected = {"setup": offsets.get("setup", 0), "run": offsets.get("run", 0)}
        command = (
            f"sh {snippets.LAUNCHER} stream {job} --setup {expected['setup']:d} --run {expected['run']:d}"
        )
        conn = await self._connection()
        noise = _Noise()
        async with conn.process(command) as process:
            patience = _Patience()
            while True:
                line = await _next_line(process, SILENCE_S, Frame.MAX_LINE)
                if not line:
                    code = await process.wait()
                    raise self._no_answer(code, process.stderr, SshDropped)
                if noise.is_noise(line):
                    continue
                if line.startswith(b'{"error"'):
                    self._answer(1, line, b"")
                try:
                    frame = frames.decode(line)
                except ValueError as e:
                    raise RemoteError(f"The remote's log stream makes no sense: {e}.") from None
                if len(frame.data) < SMALL:
                    patience.one_more()
                if frames.is_beat(frame):
                    continue
                if frame.source:
                    if frame.offset != expected[frame.source]:
                        raise RemoteError("The remote's log stream skips bytes.")
                    expected[frame.source] += len(frame.data)
                elif frame.status is not None and frame.status.id != job:
                    raise RemoteError("The remote speaks of another job.")
                yield frame
                if frame.status is not None and frame.status.state == ENDED:
                    return

    # files

    async def send(self, run: str, items: Sequence[Item], on_progress: OnProgress | None = None) -> Transfer:
        """The items in turn. Progress counts all of them as far as they are known. What has ``content`` goes
        through the remote's store: see ``Sender.send``."""
        check_run(run)
        conn = await self._connection()
        total = Transfer()
        for item in items:
            into = PurePosixPath(item.into)
            if item.part not in _PARTS or into.is_absolute() or ".." in into.parts:
                raise UsageError(f"Nothing can be sent to {item.part}/{item.into}.")
            total.skipped += item.left_out
            if item.url:
                added(total, await self._sender.fetch(run, item, after(total, on_progress)))
                continue
            if item.content is not None:
                added(total, await self._sender.send(conn, run, item, after(total, on_progress)))
                continue
            target = str(PurePosixPath(layout.run_dir(run), item.part, into))
            if item.clone is not None:
                total.cloned = await cloned(self._verb, run, item)
            done = await upload(
                conn,
                Path(item.base),
                target,
                files=item.files,
                mirror=item.mirror,
                on_progress=after(total, on_progress),
                small=SMALL_CODE,
            )
            added(total, done)
        return total

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
        """``final``: checked by the remote's manifest; what differs is fetched once more first.
        ``TransferFailed`` names what still differs (``details['files']``, at most 100)."""
        check_run(run)
        base = Path(into)
        base.mkdir(parents=True, exist_ok=True)
        conn = await self._connection()
        total = await self._download(conn, run, base, max_bytes, on_progress, rules, final)
        if not final:
            return total
        manifest = await self._manifest(conn, run)
        if rules.exclude:
            excluded = excluder(rules.exclude)
            manifest = {k: v for k, v in manifest.items() if not excluded(k.partition(b"/")[2])}
        differs = await asyncio.to_thread(verify.differing, base, manifest)
        if differs:
            # what is here stays until something better has come whole: the list may be a lie
            again = await self._download(conn, run, base, max_bytes, on_progress, rules, final, differs)
            added(total, again)
            fresh = await self._manifest(conn, run, only=differs)
            differs = await asyncio.to_thread(verify.differing, base, fresh)
        if differs:
            names = [plain(os.fsdecode(path))[:200] for path in differs[:100]]
            raise TransferFailed(
                f"{len(differs)} result file(s) did not arrive whole, the first is {names[0]}.",
                hint=" ".join(["choline keeps the machine and tries again.", *total.skipped[:3]])[:600],
                files=names,
            )
        return total

    async def _download(
        self,
        conn: SshConnection,
        run: str,
        base: Path,
        max_bytes: int,
        on_progress: OnProgress | None,
        rules: ResultRules,
        final: bool,
        again: Sequence[bytes] = (),
    ) -> Transfer:
        """``again``: paths (``results/...``) to bring whatever their size and time say."""
        total = Transfer()
        for part in manifests.PARTS:
            inside = f"{part}/".encode()
            named = tuple(path[len(inside) :] for path in again if path.startswith(inside))
            if again and not named:
                continue
            done = await bring(
                conn,
                f"{layout.run_dir(run)}/{part}",
                base,
                part,
                rules=rules,
                final=final,
                max_bytes=max(1, max_bytes - total.bytes) if max_bytes > 0 else 0,
                on_progress=after(total, on_progress),
                again=named,
            )
            added(total, done)
        return total

    async def _manifest(
        self, conn: SshConnection, run: str, only: Sequence[bytes] | None = None
    ) -> dict[bytes, manifests.Entry]:
        reader = manifests.Reader()
        noise = _Noise()
        command = f"sh {snippets.LAUNCHER} manifest {run}" + (" --only" if only is not None else "")
        async with conn.process(command) as process:
            if only is not None:
                with contextlib.suppress(SshDropped):  # one that does not read says why, or nothing
                    process.write(b"\0".join(only))
            process.close_stdin()
            try:
                while line := await _next_line(process, HASHING_S, Frame.MAX_LINE):
                    if noise.is_noise(line):
                        continue
                    if line.startswith(b'{"error"'):
                        self._answer(1, line, b"")
                    if not reader.ended:
                        reader.take(line)
                reader.finish()
            except ValueError as e:
                raise TransferFailed(f"The remote's list of results cannot be used: {e}.") from None
        if reader.cut:
            raise TransferFailed(
                f"There are more than {manifests.MAX_FILES:,} result files.",
                hint="Pack them into fewer files at the end of the run.",
            )
        if reader.unread:
            raise TransferFailed(
                f"{reader.unread} result folder(s) cannot be read there, the first is {reader.first}.",
                hint="Too deep, or no permission: what they hold is only on the machine, so it is kept.",
            )
        return reader.entries

    async def _ask_data(self, request: dict[str, Any], on_progress: OnProgress | None) -> dict[str, Any]:
        """The remote's answer to a request for data, with its progress meanwhile."""
        conn = await self._connection()
        noise, patience = _Noise(), _Patience()
        async with conn.process(f"sh {snippets.LAUNCHER} data") as process:
            with contextlib.suppress(SshDropped):  # as above
                process.write(json.dumps(request).encode())
            process.close_stdin()
            while line := await _next_line(process, DATA_SILENCE_S, MAX_DATA_LINE):
                if noise.is_noise(line):
                    continue
                data = _json(line)
                if not isinstance(data, dict):
                    raise RemoteError("The remote's answer about data makes no sense.")
                if isinstance(data.get("error"), dict):
                    raise _told(data["error"])
                if "progress" not in data:
                    return data
                patience.one_more()
                told = told_progress(data["progress"])
                if told is not None and on_progress is not None:
                    on_progress(told)
            raise self._no_answer(await process.wait(), process.stderr, SshDropped)

    # talking to our program

    async def _verb(self, words: str, data: bytes = b"", timeout: float = 60.0) -> Any:
        conn = await self._connection()
        command = f"sh {snippets.LAUNCHER} {words}"
        done = await conn.run(command, input=data, timeout=timeout, max_output=MAX_STATUS)
        return self._answer(done.exit_status, done.stdout, done.stderr)

    def _answer(self, exit_status: int, stdout: bytes, stderr: bytes) -> Any:
        """The JSON in the last line that is any; raises the error it tells."""
        tries = 20
        for line in reversed(stdout.split(b"\n")):
            if not line.startswith(b"{"):
                continue
            data = _json(line)
            if not isinstance(data, dict):
                # what a shell says at its end, perhaps
                tries -= 1
                if not tries:
                    break
                continue
            error = data.get("error")
            if isinstance(error, dict):
                raise _told(error)
            if exit_status == 0:
                return data
            break
        raise self._no_answer(exit_status, stderr, RemoteError)

    def _no_answer(self, exit_status: int, stderr: bytes, cls: type[RemoteError]) -> RemoteError:
        words = _words(stderr)
        if exit_status in (2, 126, 127) and snippets.LAUNCHER in words:
            return RemoteError("The machine has no supervisor.", hint="It must be prepared first.")
        return cls(f"The supervisor's program ended with {exit_status}: {words or 'no words'}")

    def _remote_status(self, data: Any) -> RemoteStatus:
        protocol = _whole(data.get("protocol")) if isinstance(data, dict) else 0
        if protocol and protocol != PROTOCOL:
            raise _mismatch(protocol)
        try:
            return RemoteStatus.from_wire(data)
        except ValueError as e:
            raise RemoteError(f"The remote's status makes no sense: {e}.") from None

    def _job_status(self, data: Any, job: str) -> JobStatus:
        try:
            status = JobStatus.from_wire(data)
        except ValueError as e:
            raise RemoteError(f"The remote's status of a job makes no sense: {e}.") from None
        if status.id != job:
            raise RemoteError("The remote speaks of another job.")
        return status


class _Noise:
    """What a login shell says beside our program: some of it is let pass, endless talk is not.

    A line that is no JSON object is noise; one that begins like ours is so only before the first that is.
    """

    def __init__(self) -> None:
        self._left = MAX_NOISE
        self._begun = False

    def is_noise(self, line: bytes) -> bool:
        if line.startswith(b"{") and (self._begun or isinstance(_json(line), dict)):
            self._begun = True
            return False
        self._left -= max(64, len(line))
        if self._left < 0:
            raise RemoteError("The remote talks without end instead of running our program.")
        return True


class _Patience:
    """Bounds how often a stream may speak without saying much."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._begun = self._clock()
        self._count = 0

    def one_more(self) -> None:
        self._count += 1
        if self._count > SMALL_AT_ONCE + SMALL_PER_S * (self._clock() - self._begun):
            raise RemoteError("What the remote tells makes no sense: it never stops repeating itself.")


async def _next_line(process: RemoteProcess, seconds: float, limit: int) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return await process.readline(limit)
    except TimeoutError:
        raise SshDropped(f"The remote has been silent for {seconds:g} s.") from None


def _last(told: Mapping[str, list[str]], key: str) -> str:
    values = told.get(key) or [""]
    return values[-1]


def _words(data: bytes) -> str:
    lines = [line.strip() for line in plain(data[-4096:]).split("\n") if line.strip()]
    return lines[-1][:300] if lines else ""


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _text(value: Any) -> str:
    """Foreign text as inert text; '' for what is none (a deep list is not made into words)."""
    return plain(value[:4096]) if isinstance(value, str) else ""


def _digits(text: str, most: int = 15) -> int | None:
    """A plain decimal number; other scripts' digits are digits for Python, too, and int() takes not all."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= most else None


def _whole(value: Any) -> int:
    sound = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31
    return int(value) if sound else 0


def _cards(lines: Sequence[str]) -> tuple[list[Any], str, int]:
    """Cards, the error's words, nvidia-smi's exit status (-1: it was cut)."""
    status = -1
    text = []
    for line in lines:
        if line.startswith("choline-exit "):
            with contextlib.suppress(ValueError):
                status = int(line.split(" ")[1])
        else:
            text.append(line)
    gpus, error = nvidia_smi.parse("\n".join(text))
    return gpus, error, status


def _no_cards(status: int) -> str:
    return f"nvidia-smi ended with {status}" if status else "nvidia-smi names no card"


def _free(line: str) -> int:
    """Bytes free, from a line of ``df -Pk``: device, blocks, used, available, capacity, mount."""
    fields = line.split()
    for at in range(len(fields) - 1):
        blocks = _digits(fields[at])
        if fields[at + 1].endswith("%") and blocks is not None:
            return min(blocks * 1024, 1 << 60)
    return 0


def check_run(name: str) -> None:
    """Raises UsageError for what is no id of a run or a job."""
    if not name or name.startswith((".", "-")) or not all(c.isalnum() or c in "-_." for c in name):
        raise UsageError(f"bad run or job id: {name!r:.100}")


def _mismatch(protocol: int) -> ProtocolMismatch:
    return ProtocolMismatch(
        f"The remote's supervisor speaks protocol {protocol}, this choline {PROTOCOL}.",
        hint="Use the choline that started it, or wait until its jobs have ended.",
        protocol=protocol,
    )


def _told(error: Mapping[str, Any]) -> CholineError:
    """An error the remote told, as one of the few types it may tell."""
    code = error.get("code")
    cls = next((c for c in _ERRORS if c.__name__ == code), RemoteError)
    message = " ".join(_text(error.get("message")).split())[:300]
    return cls(message or "The remote reports an error without words.", hint=_text(error.get("hint"))[:300])


def added(total: Transfer, done: Transfer) -> None:
    """``total`` with what one of its transfers did."""
    total.bytes += done.bytes
    total.files += done.files
    total.unfinished += done.unfinished
    total.seconds += done.seconds
    if total.how in ("", "none"):
        total.how = done.how
    elif done.how not in ("", "none", *total.how.split(" and ")):
        total.how += f" and {done.how}"
    total.there += done.there
    total.skipped += done.skipped


def after(total: Transfer, on_progress: OnProgress | None) -> OnProgress | None:
    """Progress of one transfer among several: what was done before is added."""
    if on_progress is None:
        return None
    base_bytes, base_files = total.bytes, total.files

    def told(progress: Progress) -> None:
        on_progress(
            Progress(
                progress.bytes_done + base_bytes,
                progress.bytes_total + base_bytes,
                progress.files_done + base_files,
                progress.files_total + base_files,
                progress.seconds_left,
                progress.what,
            )
        )

    return told


def _market(told: str) -> bool | None:
    """Whether the machine reaches the market, from the exit status of curl or wget; None: not tried.

    An answer with an HTTP error is an answer: curl ends with 0 then, wget with 8.
    """
    status = _digits(told)
    return None if status is None else status in (0, 8)
