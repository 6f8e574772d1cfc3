"""Bulk bytes by rsync over OpenSSH's client, pinned to the host key the connection has seen."""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import re
import resource
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from choline_tui.kernel.errors import HostKeyChanged, SshDenied, SshDropped, TransferFailed
from choline_tui.ssh.connection import SshConnection, one_line
from choline_tui.ssh.listing import PARTIAL, remote_path
from choline_tui.ssh.progress import Meter

__all__ = [
    "VANISHED",
    "RsyncUnusable",
    "child_setup",
    "end_child",
    "failure",
    "read_complaint",
    "remote_end",
    "remote_shell",
    "rsync_here",
    "run_rsync",
]

VANISHED = 24
"""rsync's exit status when files were gone before they could be sent (rsync(1), EXIT VALUES)"""
SILENCE_S = 600
"""rsync gives up when nothing goes over the line for so long: a machine that stands still bills on"""
_PARTIAL_ERROR = 23
_PROTOCOL = (1, 2, 4, 127)
"""the two rsyncs do not understand each other, or something at login writes into the stream"""
_ITEM = re.compile(rb"=([<>ch.*][fdLDS.])\S{0,20} (\d{1,18})")
_MOVED = re.compile(rb"(?:^|[\r\n]) {0,40}([\d,]{1,30}) {1,9}\d{1,3}%")
_PIPE = 1 << 20
_LOOK = 0.05
"""s between two looks at what rsync tells"""

try:
    # loaded here: between fork and exec nothing may be imported
    _prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
except (OSError, AttributeError):
    _prctl = None


class RsyncUnusable(Exception):
    """This pair of machines cannot use rsync; another way may do."""


@cache
def rsync_here() -> bool:
    """Whether this computer has the ssh and an rsync (3.1 or later) that can be used."""
    program = shutil.which("rsync")
    if program is None or shutil.which("ssh") is None:
        return False
    import subprocess

    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, timeout=10, stdin=subprocess.DEVNULL, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    version = re.search(rb"rsync\s+version v?(\d+)\.(\d+)", said)
    return version is not None and (int(version[1]), int(version[2])) >= (3, 1)


async def run_rsync(
    conn: SshConnection,
    options: Sequence[str],
    *,
    base: Path,
    remote: str,
    upload: bool,
    files: Sequence[bytes] | None,
    meter: Meter,
    max_file: int = 0,
    watch: Callable[[], str] | None = None,
) -> tuple[int, int, int]:
    """Run one rsync: its status (0 or ``VANISHED``), bytes and files sent.

    ``watch`` is called in a thread while it runs and returns why it must end, or ''. ``max_file`` > 0
    limits every file written here, in bytes, by the kernel. Raises ``TransferFailed``, ``SshDropped``
    and ``RsyncUnusable``. Cancelling ends the child; what has arrived stays for the next call.
    """
    there = remote_end(conn, f"{remote_path(remote).rstrip('/')}/")
    argv = [
        "rsync",
        "--no-motd" if conn.module else "-s",
        f"--partial-dir={PARTIAL.decode()}",
        "--info=progress2",
        "--out-format==%i %l",
        "-ii",
        "--outbuf=L",
        "--no-human-readable",
        f"--timeout={SILENCE_S}",
        f"--rsh={remote_shell(conn)}",
        *options,
    ]
    if files is not None:
        argv += ["--files-from=-", "--from0"]
    argv += ["--", *(["./", there] if upload else [there, "./"])]
    told, write_end = _pipe()
    try:
        try:
            child = await asyncio.create_subprocess_exec(
                *argv,
                cwd=base,
                stdin=PIPE if files is not None else DEVNULL,
                stdout=write_end,
                stderr=PIPE,
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C"},
                preexec_fn=child_setup(os.getpid(), max_file),
            )
        finally:
            os.close(write_end)
        return await _attended(conn, child, told, files=files, meter=meter, watch=watch)
    finally:
        os.close(told)


def remote_shell(conn: SshConnection) -> str:
    """What rsync reaches a machine with. Raises ``RsyncUnusable`` when its files cannot be written."""
    try:
        config = conn.openssh.write()
    except OSError as error:
        raise RsyncUnusable(str(error)) from error
    return f"ssh -F {_rsh_quoted(str(config))}"


def remote_end(conn: SshConnection, path: str) -> str:
    """A path there as rsync has it; an absolute one where a host's copier answers."""
    target = f"[{conn.openssh.target}]" if ":" in conn.openssh.target else conn.openssh.target
    return f"{target}::{conn.module}/{path}" if conn.module else f"{target}:{path}"


async def _attended(
    conn: SshConnection,
    child: Process,
    told: int,
    *,
    files: Sequence[bytes] | None,
    meter: Meter,
    watch: Callable[[], str] | None,
) -> tuple[int, int, int]:
    """Be with a started rsync until it has ended."""
    reason = ""
    counter = _Counter(told, meter)
    try:
        async with asyncio.TaskGroup() as group:
            follower = group.create_task(counter.follow())
            complaint = group.create_task(read_complaint(child))
            if files is not None:
                group.create_task(_feed(child, files))
            watcher = group.create_task(_watch(child, watch)) if watch else None
            status = await child.wait()
            follower.cancel()
            if watcher is not None:
                if watcher.done():
                    reason = watcher.result()
                watcher.cancel()
    finally:
        await end_child(child)
    if reason:
        raise TransferFailed(reason)
    counter.take()
    if status not in (0, VANISHED):
        raise failure(conn, status, complaint.result())
    return status, counter.sent, counter.count


def failure(conn: SshConnection, status: int, complaint: bytes) -> Exception:
    """What rsync's status and words stand for."""
    lines = [one_line(line) for line in complaint.decode("utf-8", "replace").splitlines() if line.strip()]
    words = next((line for line in lines if not line.startswith("rsync error:")), "") or f"status {status}"
    if status in _PROTOCOL:
        return RsyncUnusable(words)
    if status in (-signal.SIGXFSZ, 128 + signal.SIGXFSZ) or "File too large" in words:
        return TransferFailed("A file is larger than allowed.", hint="Raise the limit, or fetch less.")
    if b"Host key verification failed" in complaint or b"IDENTIFICATION HAS CHANGED" in complaint:
        return HostKeyChanged(f"{conn.address} presents another host key than the one pinned.")
    if b"Permission denied (" in complaint and status == 255:
        return SshDenied(f"{conn.address} does not accept the key any more.")
    if status in (12, 30, 35, 255):
        return SshDropped(
            f"The transfer with {conn.address} broke off: {words}.",
            hint="What arrived is kept; choline goes on from there.",
        )
    hint = "Repeat it: what arrived is kept."
    if status == _PARTIAL_ERROR:
        hint = "Some files could not be read or written: check permissions and free space, then repeat."
    elif status == 11:
        hint = "A file could not be written: check the free space on both sides, then repeat."
    return TransferFailed(f"The transfer with {conn.address} failed: {words}.", hint=hint, status=status)


class _Counter:
    """Reads what rsync tells of its files, some times a second: to wake up for each of ten thousand
    lines would take more of the computer than rsync does."""

    def __init__(self, told: int, meter: Meter) -> None:
        self._told = told
        self._meter = meter
        self._rest = b""
        self._seen = self._there = 0
        self.sent = self.count = 0
        """bytes and files that went over the line"""

    async def follow(self) -> None:
        while True:
            got = self.take()
            # rsync waits for us when the pipe is full
            await asyncio.sleep(0 if got >= _PIPE // 2 else _LOOK)

    def take(self) -> int:
        """Count what has been written so far; its bytes."""
        got = 0
        while got < 16 * _PIPE:
            try:
                piece = os.read(self._told, _PIPE)
            except BlockingIOError:
                break
            if not piece:
                break
            got += len(piece)
            self._count(piece)
        if got:
            self._meter.bytes_done = self._meter.moved + self._there
            self._meter.files_done = self._seen
            self._meter.tell()
        return got

    def _count(self, piece: bytes) -> None:
        text = self._rest + piece
        end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        text, self._rest = text[:end], text[end:][-4096:]
        for kind, size in _ITEM.findall(text):
            if kind[1:2] == b"f":
                self._seen += 1
                if kind[:1] in b"<>":
                    self.sent, self.count = self.sent + int(size), self.count + 1
                else:
                    self._there += int(size)
        for number in _MOVED.findall(text):
            self._meter.moved = max(self._meter.moved, int(number.replace(b",", b"")))


def _pipe() -> tuple[int, int]:
    """Read end (which never blocks) and write end, as large as this computer allows."""
    ends = os.pipe()
    os.set_blocking(ends[0], False)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, _PIPE)
    return ends


async def read_complaint(child: Process) -> bytes:
    """Its standard error, the first 64 KiB."""
    assert child.stderr is not None
    kept = b""
    while piece := await child.stderr.read(64 * 1024):
        kept = (kept + piece)[: 64 * 1024]
    return kept


async def _feed(child: Process, files: Sequence[bytes]) -> None:
    assert child.stdin is not None
    with contextlib.suppress(ConnectionError):
        for start in range(0, len(files), 1000):
            child.stdin.write(b"".join(b"./" + name + b"\0" for name in files[start : start + 1000]))
            await child.stdin.drain()
    child.stdin.close()


async def _watch(child: Process, watch: Callable[[], str]) -> str:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.2)
    while True:
        started = loop.time()
        reason = await asyncio.to_thread(watch)
        if reason:
            _signal(child, signal.SIGTERM)
            return reason
        # a look at many files takes longer: spend a twentieth of the time on it at most
        await asyncio.sleep(max(0.25, 19 * (loop.time() - started)))


async def end_child(child: Process) -> None:
    """End it with what it started; rsync keeps a part of a file on TERM."""
    if child.returncode is not None:
        return
    _signal(child, signal.SIGTERM)
    try:
        async with asyncio.timeout(3):
            await child.wait()
    except TimeoutError:
        pass
    finally:
        if child.returncode is None:
            _signal(child, signal.SIGKILL)
            await child.wait()


def _signal(child: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def _rsh_quoted(word: str) -> str:
    """As rsync splits its --rsh: quotes of one kind, doubled inside."""
    return "'" + word.replace("'", "''") + "'"


def child_setup(parent: int, max_file: int) -> Callable[[], None]:
    """What a child does before it is rsync: it ends with the engine, and writes no larger file."""

    def setup() -> None:
        if _prctl is not None:
            _prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG: it must not outlive the engine
            if os.getppid() != parent:
                os._exit(1)
        if max_file > 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_file, max_file))

    return setup
