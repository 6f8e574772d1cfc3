"""The host's copier: rsync's daemon behind SSH, which reaches a container's disk when nothing runs there.

No command can be run there, so everything is asked of rsync itself: what lies in a folder, by a dry run into
an empty one; whether what came is the same, by a dry run that compares checksums and must find nothing to do.
"""

import asyncio
import contextlib
import os
import re
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from calendar import timegm
from collections.abc import Callable, Sequence
from pathlib import Path

from choline_tui.kernel.errors import SshDropped, TransferFailed
from choline_tui.ssh.connection import SshConnection
from choline_tui.ssh.listing import MAX_FILES, Entry, Listing, excluder
from choline_tui.ssh.rsync import (
    VANISHED,
    RsyncUnusable,
    child_setup,
    end_child,
    failure,
    read_complaint,
    remote_end,
    remote_shell,
)

__all__ = ["USER", "look", "small_file", "unequal"]

USER = "vastai_kaalia"
"""the host's account for it, as the official client has it"""
LOOK_S = 300
HASH_S = 1800
"""s for which rsync may be silent: a host may read a file of some 100 GB before it says its checksum"""
MAX_LINE = 32 * 1024
_LINE = re.compile(rb"@([<>ch.*])([fdLDS])\S{0,20} {1,20}(\d{1,18}) (\S{1,40}) (.+)", re.DOTALL)
_ESCAPED = re.compile(rb"\\#(\d{3})")
_FORMAT = "--out-format=@%i %l %M %n"
_ASK = ("-n", "-rltD", "-ii", "--no-human-readable", _FORMAT, "--outbuf=L")


async def look(conn: SshConnection, path: str) -> Listing:
    """What lies under a folder of a run (an absolute path in the container); empty when only the folder
    above is there. Its time is this computer's: the copier tells none. Raises ``TransferFailed`` when the
    folder above is not there, or cannot be read whole."""
    above, _, part = path.rstrip("/").rpartition("/")
    prefix = part.encode() + b"/"
    found = Listing()
    found.now = int(time.time())

    def take(kind: bytes, size: int, mtime: int, name: bytes) -> None:
        name = name.rstrip(b"/")
        if name.startswith(prefix):
            letter = kind.decode() if kind in (b"f", b"d") else "l" if kind == b"L" else "x"
            found.add(name[len(prefix) :], Entry(letter, size, mtime))

    only = [f"--include=/{part}/***", "--exclude=*"]
    with tempfile.TemporaryDirectory(prefix="choline-look-") as empty:
        await _told(conn, [*_ASK, *only], f"{above}/", Path(empty), lambda way, *entry: take(*entry), LOOK_S)
    return found


async def unequal(
    conn: SshConnection, path: str, base: Path, parts: Sequence[str], exclude: Sequence[str] = ()
) -> list[bytes]:
    """Files of a run's folder that ``base`` has not, or not the same, by rsync's checksums of the whole
    files; names begin with their part. Both sides read all of them."""
    excluded = excluder(exclude)
    rules = [f"--include=/{part}/" for part in parts]
    rules += [each for pattern in exclude for each in _excluding(pattern, parts)]
    rules += [*(f"--include=/{part}/***" for part in parts), "--exclude=*"]
    differ: list[bytes] = []

    def take(way: bytes, kind: bytes, size: int, mtime: int, name: bytes) -> None:
        if way in b"<>" and kind == b"f" and not excluded(name.partition(b"/")[2]):
            differ.append(name)
            if len(differ) > MAX_FILES:
                raise ValueError("there are too many files")

    await _told(conn, [*_ASK, "--checksum", *rules], f"{path.rstrip('/')}/", base, take, HASH_S)
    return sorted(differ)


async def small_file(conn: SshConnection, path: str, limit: int) -> bytes | None:
    """The content of a file; None when there is none of at most ``limit`` bytes."""
    with tempfile.TemporaryDirectory(prefix="choline-file-") as folder:
        options = ["-t", f"--max-size={limit}"]
        try:
            await _told(conn, options, path, Path(folder), None, LOOK_S, max_file=max(limit, 1 << 20))
        except TransferFailed as error:
            if error.details.get("status") == 23:
                return None
            raise
        with contextlib.suppress(OSError):
            fd = os.open(Path(folder, Path(path).name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(fd, "rb") as file:
                return file.read(limit)
    return None


def _excluding(pattern: str, parts: Sequence[str]) -> list[str]:
    bare = pattern.strip("/")
    if "/" in bare or pattern.startswith("/"):
        return [f"--exclude=/{part}/{bare}" for part in parts]
    return [f"--exclude={bare}"]


_Take = Callable[[bytes, bytes, int, int, bytes], None]


async def _told(
    conn: SshConnection,
    options: Sequence[str],
    path: str,
    here: Path,
    take: _Take | None,
    silence: int,
    *,
    max_file: int = 1,
) -> None:
    """Run one rsync from the copier into ``here``, and give every line of its list to ``take``. Raises
    ``TransferFailed``, ``SshDropped`` and what else ``rsync.failure`` tells apart."""
    try:
        argv = ["rsync", "--no-motd", f"--timeout={silence}", f"--rsh={remote_shell(conn)}", *options]
    except RsyncUnusable as error:
        raise TransferFailed(f"rsync cannot be used here: {error}.") from error
    argv += ["--", remote_end(conn, path), "./"]
    child = await asyncio.create_subprocess_exec(
        *argv,
        cwd=here,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        limit=MAX_LINE,
        start_new_session=True,
        env={**os.environ, "LC_ALL": "C", "TZ": "UTC0"},
        preexec_fn=child_setup(os.getpid(), max_file),
    )
    assert child.stdout is not None
    try:
        complaint = asyncio.create_task(read_complaint(child))
        try:
            async with asyncio.timeout(silence) as patience:
                while line := await child.stdout.readline():
                    patience.reschedule(asyncio.get_running_loop().time() + silence)
                    if take is not None and line.startswith(b"@") and not line.startswith(b"@ERROR"):
                        take(*_entry(line))
                status = await child.wait()
            said = await complaint
        finally:
            complaint.cancel()
            await asyncio.gather(complaint, return_exceptions=True)
    except ValueError as error:
        raise TransferFailed(f"What the host's copier lists makes no sense: {error}.") from None
    except TimeoutError:
        raise SshDropped(f"The host's copier is silent for {silence} s.") from None
    finally:
        await end_child(child)
    if status not in (0, VANISHED):
        failed = failure(conn, status, said)
        if isinstance(failed, RsyncUnusable):
            raise TransferFailed(f"The host's copier refuses: {failed}.")
        raise failed


def _entry(line: bytes) -> tuple[bytes, bytes, int, int, bytes]:
    """One line of ``_FORMAT``. ``ValueError`` when it is none."""
    match = _LINE.fullmatch(line.rstrip(b"\n"))
    if match is None:
        raise ValueError("a line of it is none")
    way, kind, size, when, name = match.groups()
    # rsync(1), --8-bit-output: what is no plain character, and a backslash before #, is \#ooo
    name = _ESCAPED.sub(lambda m: bytes([int(m[1], 8) & 255]), name)
    return way, kind, int(size), _seconds(when), name


def _seconds(when: bytes) -> int:
    """Epoch s; -1 for a time that rsync does not say as one (a file of such a time is never taken)."""
    try:
        return timegm(time.strptime(when.decode("ascii", "replace"), "%Y/%m/%d-%H:%M:%S"))
    except (ValueError, OverflowError):
        return -1
