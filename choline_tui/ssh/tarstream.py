"""The other way to move files: a tar stream over the open connection, where there is no rsync.

The remote needs tar (GNU or BSD). Memory is bounded: a thread reads or writes the archive through a
queue of a few blocks. What is unchanged (size and time) is not sent again.
"""

# names are bytes here, which pathlib does not do
# ruff: noqa: PTH114, PTH115, PTH116, PTH118

import asyncio
import contextlib
import os
import queue
import shlex
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from choline_tui.kernel.errors import SshDropped, TransferFailed
from choline_tui.ssh.confine import Folder, Refused, cannot_be_named
from choline_tui.ssh.connection import RemoteProcess, SshConnection, one_line
from choline_tui.ssh.listing import leads_out, remote_path
from choline_tui.ssh.progress import Meter

__all__ = ["receive", "send"]

_BLOCK = 256 * 1024
_BLOCKS = 16
_MAX_HEADER = 1 << 20
_MARK = b"choline-tar\n"
_SILENCE_S = 600.0
"""a machine that stands still for so long is not waited for: it bills on"""


class _Stopped(Exception):
    """The other end of the pipe went away."""


class _Pipe:
    """Blocks between the event loop and a thread, a few at a time."""

    def __init__(self) -> None:
        self._blocks: queue.Queue[bytes] = queue.Queue(_BLOCKS)
        self._stopped = threading.Event()
        self._rest = b""

    def stop(self) -> None:
        self._stopped.set()

    def put(self, block: bytes) -> None:
        while not self._stopped.is_set():
            try:
                return self._blocks.put(block, timeout=0.1)
            except queue.Full:
                continue
        raise _Stopped

    def get(self) -> bytes:
        while not self._stopped.is_set():
            try:
                return self._blocks.get(timeout=0.1)
            except queue.Empty:
                continue
        raise _Stopped

    def write(self, data: bytes) -> int:
        for start in range(0, len(data), _BLOCK):
            self.put(bytes(data[start : start + _BLOCK]))
        return len(data)

    def read(self, size: int) -> bytes:
        if not self._rest:
            self._rest = self.get()
            if not self._rest:
                self._blocks.put(b"")
                return b""
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


class _BoundedInfo(tarfile.TarInfo):
    """Refuses headers that tarfile would otherwise read whole into memory, or keep for good."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        kinds = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        if self.type in (tarfile.XGLTYPE, tarfile.GNUTYPE_SPARSE):
            # no tar we ask writes them; maps of holes and headers for all files grow without bound
            raise tarfile.ReadError("it has a kind of header that was not asked for")
        long = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if self.type in (*kinds, *long) and self.size > _MAX_HEADER:
            raise tarfile.ReadError("a header is too large")
        return super()._proc_member(archive)  # type: ignore[misc, no-any-return]

    def _proc_gnusparse_10(self, *_: Any) -> None:
        raise tarfile.ReadError("it has a map of holes that was not asked for")


async def send(
    conn: SshConnection, base: Path, dest: str, names: Sequence[bytes], meter: Meter, links: str = "keep"
) -> tuple[int, int, list[str]]:
    """Send ``names`` (relative to ``base``; directories without content) into ``dest`` on the remote.
    ``links``: as for ``transfer.upload``.

    Bytes and files sent, and what was left out. Raises ``TransferFailed`` and ``SshDropped``.
    """
    pipe = _Pipe()
    # -m is not given: times are what later calls compare
    command = f"cd -- {shlex.quote(remote_path(dest))} && exec tar -x -o -p -f -"
    async with conn.process(command) as process:
        writer = asyncio.ensure_future(asyncio.to_thread(_write_archive, pipe, base, names, meter, links))
        try:
            pump = asyncio.ensure_future(_pump_out(pipe, process, writer, meter))
            try:
                status = await _its_end(process, meter)
            finally:
                pipe.stop()
                pump.cancel()
                await asyncio.wait([pump])
            if status != 0:
                raise _refused(conn, process, status)
            if not pump.cancelled() and (error := pump.exception()) is not None:
                raise error
            return writer.result() if writer.done() else await writer
        finally:
            pipe.stop()
            await asyncio.wait([writer])


async def _its_end(process: RemoteProcess, meter: Meter) -> int:
    """The exit status of the remote's tar, which must take bytes until then."""
    moved = -1
    while True:
        try:
            async with asyncio.timeout(_SILENCE_S):
                while await process.read():
                    pass
                return await process.wait()
        except TimeoutError:
            if meter.moved == moved:
                raise SshDropped(f"The remote has taken nothing for {_SILENCE_S:g} s.") from None
            moved = meter.moved


async def _pump_out(pipe: _Pipe, process: RemoteProcess, writer: "asyncio.Future[Any]", meter: Meter) -> None:
    while block := await asyncio.to_thread(pipe.get):
        process.write(block)
        await process.drain()
        meter.tell()
    await writer
    process.close_stdin()


def _write_archive(
    pipe: _Pipe, base: Path, names: Sequence[bytes], meter: Meter, links: str
) -> tuple[int, int, list[str]]:
    sent = count = 0
    skipped: list[str] = []
    root = os.fsencode(base)
    with tarfile.open(
        fileobj=pipe,  # type: ignore[call-overload]
        mode="w|",
        format=tarfile.GNU_FORMAT,
        encoding="utf-8",
        errors="surrogateescape",
        bufsize=_BLOCK,
    ) as archive:
        for name in names:
            path = os.path.join(root, name)
            try:
                archive.dereference = links != "keep" and os.path.islink(path)
                if archive.dereference and links == "out":
                    archive.dereference = leads_out(name, os.readlink(path))
                info = archive.gettarinfo(os.fsdecode(path), "./" + os.fsdecode(name))
            except FileNotFoundError:
                skipped.append(f"{printable(name)}: gone")
                continue
            if info is None or not (info.isreg() or info.isdir() or info.issym() or info.islnk()):
                skipped.append(f"{printable(name)}: not a file")
                continue
            info.uname = info.gname = ""
            if info.islnk():
                # tarfile notes a second name of a file as a hard link; it is sent as a file
                found = os.stat(path) if archive.dereference else os.lstat(path)
                info.type, info.size = tarfile.REGTYPE, found.st_size
            if info.isreg():
                with open(path, "rb", buffering=0) as file:
                    archive.addfile(info, _Exactly(file, info.size, meter))
                sent, count = sent + info.size, count + 1
                meter.files_done += 1
            else:
                archive.addfile(info)
            archive.members.clear()
    pipe.put(b"")
    return sent, count, skipped


class _Exactly:
    """A file of the size its header says: one that shrank meanwhile fails the transfer."""

    def __init__(self, file: Any, size: int, meter: Meter) -> None:
        self._file, self._left, self._meter = file, size, meter

    def read(self, size: int) -> bytes:
        piece: bytes = self._file.read(min(size, self._left))
        if not piece and self._left:
            raise TransferFailed("A file became shorter while it was sent.", hint="Repeat the transfer.")
        self._left -= len(piece)
        self._meter.bytes_done += len(piece)
        self._meter.moved += len(piece)
        while len(piece) < size and self._left:
            more = self._file.read(min(size - len(piece), self._left))
            if not more:
                raise TransferFailed("A file became shorter while it was sent.", hint="Repeat the transfer.")
            self._left -= len(more)
            self._meter.bytes_done += len(more)
            self._meter.moved += len(more)
            piece += more
        return piece


async def receive(
    conn: SshConnection,
    src: str,
    folder: Folder,
    names: Sequence[bytes],
    meter: Meter,
    max_bytes: int,
    expected: int = 0,
) -> tuple[int, int, list[str]]:
    """Fetch ``names`` under ``src`` into ``folder``: bytes, files, and what was refused.

    ``max_bytes`` > 0: of content. ``expected``: bytes of content that the remote has named; an archive
    much larger than that is not read to its end.
    """
    most = 2 * expected + _BLOCK * len(names) // 32 + (64 << 20)
    pipe = _Pipe()
    command = (
        f"cd -- {shlex.quote(remote_path(src))} && printf 'choline-tar\\n' && "
        "exec tar -c -f - --null --no-recursion -T -"
    )
    async with conn.process(command) as process:
        reader = asyncio.ensure_future(
            asyncio.to_thread(_read_archive, pipe, folder, set(names), meter, max_bytes)
        )
        feeder = asyncio.ensure_future(_feed(process, names))
        try:
            # a login script may have written something before
            for _ in range(1000):
                async with asyncio.timeout(_SILENCE_S):
                    line = await process.readline()
                if line.endswith(_MARK) or not line:
                    break
            came = 0
            while not reader.done():
                async with asyncio.timeout(_SILENCE_S):
                    block = await process.read(_BLOCK)
                if not block:
                    break
                came += len(block)
                if came > most:
                    raise TransferFailed("The remote sends much more than it has listed.")
                await asyncio.to_thread(_put_unless_done, pipe, block)
                meter.tell()
            if not reader.done():
                await asyncio.to_thread(_put_unless_done, pipe, b"")
            got, count, skipped, missing = await reader
            # what follows the archive's end is padding; more than that is not waited for
            async with asyncio.timeout(_SILENCE_S):
                for _ in range(100):
                    if not await process.read(_BLOCK):
                        break
                status = await process.wait()
            # files that went away meanwhile make GNU tar end with 1 or 2; everything else is a failure
            if missing and not (status in (1, 2) and b"No such file" in process.stderr):
                raise _refused(conn, process, status)
            skipped += [f"{printable(name)}: gone" for name in missing[:1000]]
            return got, count, skipped
        except TimeoutError:
            raise SshDropped(f"The remote has sent nothing for {_SILENCE_S:g} s.") from None
        finally:
            pipe.stop()
            feeder.cancel()
            await asyncio.wait([reader, feeder])


def _put_unless_done(pipe: _Pipe, block: bytes) -> None:
    # a reader that has seen enough says so in its own result
    with contextlib.suppress(_Stopped):
        pipe.put(block)


async def _feed(process: RemoteProcess, names: Sequence[bytes]) -> None:
    for start in range(0, len(names), 1000):
        process.write(b"".join(b"./" + name + b"\0" for name in names[start : start + 1000]))
        await process.drain()
    process.close_stdin()


def _read_archive(
    pipe: _Pipe, folder: Folder, wanted: set[bytes], meter: Meter, max_bytes: int
) -> tuple[int, int, list[str], list[bytes]]:
    got = count = 0
    missing = set(wanted)
    skipped: list[str] = []
    try:
        with tarfile.open(
            fileobj=pipe,  # type: ignore[call-overload]
            mode="r|",
            tarinfo=_BoundedInfo,
            encoding="utf-8",
            errors="surrogateescape",
            bufsize=_BLOCK,
        ) as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()
                name = os.fsencode(info.name)
                name = name[2:] if name.startswith(b"./") else name
                missing.discard(name)
                try:
                    if name not in wanted:
                        raise Refused("was not asked for")
                    if info.isdir():
                        folder.directory(name)
                    elif info.issym():
                        folder.link(name, os.fsencode(info.linkname))
                    elif info.islnk():
                        # a second name of a file that has come in this archive: here it is a file
                        size = _second_name(info, folder, name, wanted, max_bytes - got if max_bytes else 0)
                        got, count = got + size, count + 1
                        meter.bytes_done += size
                        meter.files_done += 1
                    elif not info.isreg() or info.issparse():
                        raise Refused("not a plain file")
                    else:
                        if max_bytes and got + info.size > max_bytes:
                            raise TransferFailed(
                                f"The remote sends more than the {max_bytes} bytes allowed.",
                                hint="Raise the limit, or fetch less.",
                            )
                        _extract(archive, info, folder, name, meter)
                        got, count = got + info.size, count + 1
                        meter.files_done += 1
                except Refused as error:
                    if len(skipped) < 1000:
                        skipped.append(f"{printable(name)}: {error}")
                except OSError as error:
                    if not cannot_be_named(error):
                        raise
                    if len(skipped) < 1000:
                        skipped.append(f"{printable(name)}: {error.strerror}")
    except (tarfile.TarError, EOFError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise TransferFailed(
            f"The remote's archive is damaged: {one_line(str(error))}.",
            hint="Repeat it; the machine needs GNU tar, or rsync.",
        ) from error
    finally:
        pipe.stop()
    return got, count, skipped, sorted(missing)


def _extract(
    archive: tarfile.TarFile, info: tarfile.TarInfo, folder: Folder, name: bytes, meter: Meter
) -> None:
    source = archive.extractfile(info)
    assert source is not None
    left = info.size
    mtime = max(0, min(int(info.mtime), 1 << 40))
    with folder.file(name, mtime=mtime, executable=bool(info.mode & 0o100)) as handle:
        while left:
            piece = source.read(min(left, _BLOCK))
            if not piece:
                raise EOFError("it ends in the middle of a file")
            view = memoryview(piece)
            while view:
                view = view[os.write(handle, view) :]
            left -= len(piece)
            meter.bytes_done += len(piece)
            meter.moved += len(piece)


def _second_name(info: tarfile.TarInfo, folder: Folder, name: bytes, wanted: set[bytes], room: int) -> int:
    first = os.fsencode(info.linkname)
    first = first[2:] if first.startswith(b"./") else first
    if first not in wanted or first == name:
        raise Refused("a second name of a file that was not asked for")
    with folder.existing(first) as source:
        found = os.fstat(source)
        if room and found.st_size > room:
            raise TransferFailed(
                "The remote sends more than allowed.", hint="Raise the limit, or fetch less."
            )
        executable = bool(found.st_mode & 0o100)
        with folder.file(name, mtime=int(found.st_mtime), executable=executable) as handle:
            while piece := os.read(source, _BLOCK):
                view = memoryview(piece)
                while view:
                    view = view[os.write(handle, view) :]
    return found.st_size


def printable(name: bytes) -> str:
    """A foreign name for people: bounded, nothing that moves a cursor."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)[:500]


def _refused(conn: SshConnection, process: RemoteProcess, status: int) -> TransferFailed:
    words = one_line(process.stderr.decode("utf-8", "replace"))
    words = words or (f"status {status}" if status else "not all files came")
    return TransferFailed(
        f"The transfer with {conn.address} failed: {words}.",
        hint="The machine needs tar, and enough free space; what arrived is kept.",
        status=status,
    )
