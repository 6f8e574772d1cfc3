"""Bringing results home so that what is there is always whole.

Files arrive in a folder beside (``.incoming``), are compared with a second look at the remote, and only
then take their place, each at once. A file that is still written takes none: a small one is shown in
``unfinished``, of others the version before stays. The versions that were replaced may be kept.
"""

# names are bytes here, which pathlib does not do
# ruff: noqa: PTH100, PTH106, PTH108, PTH118

import asyncio
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from choline_tui.kernel.errors import TransferFailed
from choline_tui.kernel.session import OnProgress, ResultRules, Transfer
from choline_tui.ssh import copier, versions
from choline_tui.ssh.confine import Folder, Refused
from choline_tui.ssh.connection import SshConnection
from choline_tui.ssh.listing import Entry, Listing, excluder, local_entry, local_listing, remote_look
from choline_tui.ssh.settled import Sorted, sort
from choline_tui.ssh.tarstream import printable
from choline_tui.ssh.together import together
from choline_tui.ssh.transfer import KEPT_FREE, Method, differs, download, one_here

__all__ = ["INCOMING", "UNFINISHED", "VERSIONS", "bring"]

INCOMING = ".incoming"
UNFINISHED = "unfinished"
VERSIONS = ".versions"


@dataclass(frozen=True)
class _Way:
    """One part's folders at home, and how it is brought."""

    conn: SshConnection
    src: str
    base: Path
    part: str
    method: Method

    @property
    def dest(self) -> Path:
        return self.base / self.part

    @property
    def stage(self) -> Path:
        return self.base / INCOMING / self.part

    @property
    def unfinished(self) -> Path:
        return self.base / UNFINISHED / self.part


async def bring(
    conn: SshConnection,
    src: str,
    base: Path,
    part: str,
    *,
    rules: ResultRules,
    final: bool,
    max_bytes: int = 0,
    on_progress: OnProgress | None = None,
    again: Collection[bytes] = (),
    method: Method = "auto",
) -> Transfer:
    """Bring what is under ``src`` (relative to the remote's home) into ``base/part``.

    ``final``: nothing is written there any more, so everything comes and the unfinished copies go.
    ``again``: bring these names, whatever size and time say. Nothing is deleted at home. Raises as
    ``transfer.download`` does; then what had been at home still is, whole.
    """
    way = _Way(conn, src, base, part, method)
    way.dest.mkdir(parents=True, exist_ok=True)
    look, here = await together(_look(conn, src), asyncio.to_thread(local_listing, way.dest))
    excluded = excluder(rules.exclude)
    there = {name: entry for name, entry in look.entries.items() if not excluded(name)}
    if again:
        there = {name: there[name] for name in again if name in there}
        here = {name: entry for name, entry in here.items() if entry.kind == "d"}
    total = sum(entry.size for entry in there.values() if entry.kind == "f")
    if max_bytes and total > max_bytes:
        raise TransferFailed(
            f"There are {total} bytes to fetch, more than the {max_bytes} allowed.",
            hint="Raise the limit, or leave something out.",
        )
    skipped = _refused(there, here, sorted(look.too_long))
    settle = 0.0 if final else rules.settle_s
    found = sort(there, here, look.now, settle, differs, lambda name: _is_file(way.unfinished, name))
    needed = sum(entry.size for entry in found.ready.values() if entry.kind == "f")
    await asyncio.to_thread(versions.make_room, base / VERSIONS, needed + KEPT_FREE)
    unfinished = len(found.changing) + len(found.waiting)
    moved = Transfer(how="none", skipped=skipped, unfinished=unfinished)
    folder = Folder(way.dest)
    try:
        moved.skipped += await asyncio.to_thread(one_here, folder, there)
        if found.ready:
            got = await _arrive(way, found, max_bytes, on_progress, again, rules)
            whole = found.ready if final else await _unchanged(way, found.ready)
            moved.skipped += got.skipped
            moved.bytes, moved.files, moved.seconds, moved.how = got.bytes, got.files, got.seconds, got.how
            moved.skipped += await asyncio.to_thread(_publish, way, folder, whole, rules.versions)
        await asyncio.to_thread(_directories, folder, found.directories)
    finally:
        folder.close()
    if final:
        await asyncio.to_thread(shutil.rmtree, way.unfinished, ignore_errors=True)
        await asyncio.to_thread(shutil.rmtree, way.stage, ignore_errors=True)
    else:
        await _show_unfinished(way, found)
    await asyncio.to_thread(_tidy, (way.unfinished.parent, way.stage.parent))
    del moved.skipped[1000:]
    return moved


async def _look(conn: SshConnection, src: str) -> Listing:
    return await (copier.look(conn, src) if conn.module else remote_look(conn, src))


def _refused(there: dict[bytes, Entry], here: Mapping[bytes, Entry], too_long: Sequence[bytes]) -> list[str]:
    """Take out of ``there`` what is not brought; what to say of it."""
    said = [
        f"{printable(name[:100])}...: too deep, its path is too long for this computer" for name in too_long
    ]
    for name, entry in list(there.items()):
        before = here.get(name)
        if entry.kind == "x":
            said.append(f"{printable(name)}: not a file")
        elif entry.kind == "l" and before is not None and before.kind == "d":
            # what is in the directory counts more
            said.append(f"{printable(name)}: a link now; the directory that came before is kept")
        else:
            continue
        del there[name]
    return said


def _is_file(folder: Path, name: bytes) -> bool:
    entry = local_entry(os.path.join(os.fsencode(folder), name))
    return entry is not None and entry.kind == "f"


async def _arrive(
    way: _Way,
    found: Sorted,
    max_bytes: int,
    on_progress: OnProgress | None,
    again: Collection[bytes],
    rules: ResultRules,
) -> Transfer:
    """What is ready, into the folder beside; what lies there from an earlier call is gone on from."""
    await asyncio.to_thread(_drop_others, way.stage, found.ready)
    return await download(
        way.conn,
        way.src,
        way.stage,
        max_bytes=max_bytes,
        on_progress=on_progress,
        method=way.method,
        exclude=rules.exclude if way.conn.module else (),
        listed=dict(found.ready),
        again=sorted(found.ready) if again else (),
        basis=None if again and not way.conn.module else Path(os.path.abspath(way.dest)),
    )


def _drop_others(folder: Path, wanted: Collection[bytes]) -> None:
    if not folder.is_dir():
        return
    root = os.fsencode(folder)
    for name, entry in local_listing(folder).items():
        if entry.kind != "d" and name not in wanted:
            os.unlink(os.path.join(root, name))


async def _unchanged(way: _Way, ready: Mapping[bytes, Entry]) -> dict[bytes, Entry]:
    """Those that are on the remote as they were before they were copied: the copy is of one moment."""
    if not any(entry.kind == "f" for entry in ready.values()):
        return dict(ready)
    after = (await _look(way.conn, way.src)).entries
    return {
        name: entry
        for name, entry in ready.items()
        if entry.kind != "f" or (after.get(name) or entry)[:3] == entry[:3]
    }


def _publish(way: _Way, folder: Folder, whole: Mapping[bytes, Entry], keep: int) -> list[str]:
    """Let every file that arrived take its place; what to say."""
    if not way.stage.is_dir():
        return []
    said: list[str] = []
    arrived = local_listing(way.stage)
    here = local_listing(way.dest)
    stage = Folder(way.stage)
    kept = versions.Shelf(way.base / VERSIONS / way.part) if keep > 0 else None
    try:
        for name, entry in arrived.items():
            wanted = whole.get(name)
            if wanted is None or entry.kind != wanted.kind or entry.kind not in "fl":
                continue
            if entry.kind == "f" and (entry.size, entry.mtime) != (wanted.size, wanted.mtime):
                continue
            before = here.get(name)
            try:
                if before is not None and before.kind == "d":
                    moved = folder.make_way(name)
                    said.append(f"{printable(name)}: a directory before, kept as {printable(moved)}")
                place = None
                if kept is not None and before is not None and before.kind == "f":
                    place = kept.place(name, before)
                if folder.take(stage, name, place) and kept is not None:
                    kept.took(name)
            except Refused as error:
                said.append(f"{printable(name)}: {error}")
        if kept is not None:
            kept.prune(keep)
    finally:
        stage.close()
        if kept is not None:
            kept.close()
    return said


def _directories(folder: Folder, names: Sequence[bytes]) -> None:
    for name in names:
        try:
            folder.directory(name)
        except (Refused, OSError):
            continue  # an empty directory is no result; one with files is made with them


async def _show_unfinished(way: _Way, found: Sorted) -> None:
    """Copies of what is still written, where nobody takes them for results; others go."""
    small = found.small() if not way.conn.module else {}  # a copier cannot be asked for some of them
    if not small and not way.unfinished.is_dir():
        return
    await asyncio.to_thread(_drop_others, way.unfinished, small)
    if small:
        await download(way.conn, way.src, way.unfinished, listed=small, method=way.method)


def _tidy(folders: Sequence[Path]) -> None:
    """Remove what is empty of them."""
    for top in folders:
        for here, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(here)
            except OSError:
                continue
