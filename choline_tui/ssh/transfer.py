"""Files to and from a remote: by rsync over OpenSSH where both have it, else as a tar stream.

Both ways go on where an earlier call stopped, send only what changed (size and time), and survive
names with any byte. What comes from the remote is kept inside its folder: no device, no link that
leads out; such names are in ``Transfer.skipped``.
"""

import asyncio
import os
import re
import shlex
import shutil
import unicodedata
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Literal

from choline_tui.kernel.errors import TransferFailed
from choline_tui.kernel.session import OnProgress, Transfer
from choline_tui.ssh import tarstream
from choline_tui.ssh.confine import Folder
from choline_tui.ssh.connection import SshConnection, one_line
from choline_tui.ssh.listing import (
    MAX_FILES,
    Entry,
    excluder,
    leads_out,
    local_entry,
    local_listing,
    remote_listing,
    remote_path,
    safe_name,
)
from choline_tui.ssh.progress import Meter
from choline_tui.ssh.rsync import VANISHED, RsyncUnusable, rsync_here, run_rsync
from choline_tui.ssh.tarstream import printable
from choline_tui.ssh.together import together

__all__ = ["KEPT_FREE", "Method", "differs", "download", "one_here", "remove_there", "upload"]

Method = Literal["auto", "rsync", "tar"]

_FEW = 1000
_MAX_LEFT = 200
"""names on one command line"""
KEPT_FREE = 32 << 20
"""bytes of this computer's disk that results never take"""
_UP = ("-rlpt", "--no-devices", "--no-specials", "--force")
_LINKS = {"keep": [], "out": ["--copy-unsafe-links"], "all": ["--copy-links"]}
# permissions as our umask says, never set-uid; links disarmed until they have been looked at
_DOWN = ("-rltE", "--no-devices", "--no-specials", "--munge-links", "--chmod=Du+rwx,Fu+rw")


async def upload(
    conn: SshConnection,
    base: Path,
    dest: str,
    *,
    files: Sequence[bytes] | None = None,
    mirror: bool = False,
    on_progress: OnProgress | None = None,
    method: Method = "auto",
    links: str = "keep",
    small: int = 0,
) -> Transfer:
    """Send ``files`` (relative to ``base``; None: everything under it) into ``dest``.

    ``dest`` is relative to the remote's home and is made. ``mirror`` deletes there what was not sent.
    A named directory is made without its content. ``links``: "keep" sends them as links, "out" those that
    lead out of ``base`` as what they point to, "all" every one. ``small``: up to so many bytes into a folder
    that holds nothing yet go over this connection, where rsync would make one of its own.
    Raises ``TransferFailed``, ``SshDropped``, ``SshTimeout``. Cancelling the task stops it; the same call
    again goes on from there.
    """
    meter = Meter(on_progress)
    if not base.is_dir():
        raise TransferFailed(f"{base} is not a directory.", hint="Nothing was sent.")
    (listing, names, skipped), use_rsync, there = await together(
        asyncio.to_thread(_local_plan, base, files, links), _prepare(conn, dest, method), _listed(conn, dest)
    )
    for name in names:
        if listing[name].kind == "f":
            meter.bytes_total += listing[name].size
            meter.files_total += 1
    if use_rsync and method == "auto" and not there and there is not None and len(names) <= _FEW:
        use_rsync = meter.bytes_total > small
    extras: list[bytes] = []
    if not use_rsync or (mirror and files is not None):
        there = await remote_listing(conn, dest) if there is None else there
        extras = _extras(there, listing, mirror)
    if extras:
        await remove_there(conn, dest, extras)
    if use_rsync:
        if there and _all_there(listing, names, there, whole=mirror and files is None):
            return _done(meter, 0, 0, "rsync", skipped)
        try:
            named = None if files is None else names
            size, count = await _rsync_up(conn, base, dest, named, mirror, meter, links)
            return _done(meter, size, count, "rsync", skipped)
        except RsyncUnusable as error:
            _give_up_on_rsync(conn, method, error)
            there = await remote_listing(conn, dest)
            await remove_there(conn, dest, _extras(there, listing, mirror))
    assert there is not None
    changed = [name for name in names if differs(listing[name], there.get(name))]
    _count_present(meter, listing, set(names) - set(changed))
    size, count, left_out = await tarstream.send(conn, base, dest, changed, meter, links)
    return _done(meter, size, count, "tar", skipped + left_out)


async def download(
    conn: SshConnection,
    src: str,
    dest: Path,
    *,
    exclude: Sequence[str] = (),
    max_bytes: int = 0,
    on_progress: OnProgress | None = None,
    method: Method = "auto",
    again: Collection[bytes] = (),
    listed: dict[bytes, Entry] | None = None,
    basis: Path | None = None,
) -> Transfer:
    """Bring what is under ``src`` (relative to the remote's home) into the folder ``dest``.

    ``exclude``: see ``listing.excluder``. Nothing is deleted here. ``max_bytes`` > 0: ``TransferFailed``
    when there is more, and enforced against a remote that lies about it; so is the room on this
    computer's disk. ``again``: names to bring, and no others, whatever their size and time say. ``listed``:
    what is there, as looked at before: these names and no others, but that a host's copier sends all that is
    not excluded. ``basis``: an absolute folder whose files rsync may start from. Raises as ``upload`` does. A
    directory that is not there counts as an empty one.
    """
    meter = Meter(on_progress)
    too_long: list[bytes] = []
    there, use_rsync, here = await together(
        remote_listing(conn, src, too_long) if listed is None else _known(listed),
        _prepare(conn, None, method),
        asyncio.to_thread(local_listing, dest),
    )
    excluded = excluder(exclude)
    wanted = {name: entry for name, entry in there.items() if not excluded(name)}
    if again:
        wanted = {name: wanted[name] for name in again if name in wanted}
    directories = {name for name, entry in here.items() if entry.kind == "d"}
    # a link instead of a directory that came before is not taken: what is in the directory counts more
    linked = [name for name, entry in wanted.items() if entry.kind == "l" and name in directories]
    for name in linked:
        del wanted[name]
    blocked = [name for name, entry in wanted.items() if entry.kind == "f" and name in directories]
    if again:
        here = {}
    plain = [entry for entry in wanted.values() if entry.kind == "f"]
    meter.bytes_total, meter.files_total = sum(entry.size for entry in plain), len(plain)
    if max_bytes and meter.bytes_total > max_bytes:
        raise TransferFailed(
            f"There are {meter.bytes_total} bytes to fetch, more than the {max_bytes} allowed.",
            hint="Raise the limit, or leave something out.",
        )
    skipped = [f"{printable(n)}: not a file" for n, entry in wanted.items() if entry.kind == "x"]
    skipped += [
        f"{printable(name[:100])}...: too deep, its path is too long for this computer" for name in too_long
    ]
    skipped += [f"{printable(name)}: a link now; the directory that came before is kept" for name in linked]
    folder = Folder(dest)
    try:
        for name in blocked:
            kept = folder.make_way(name)
            skipped.append(f"{printable(name)}: a directory before, kept as {printable(kept)}")
        del skipped[1000:]
        needed = {n for n, e in wanted.items() if e.kind in "fdl" and differs(e, here.get(n))}
        room = _room(dest, sum(wanted[name].size for name in needed if wanted[name].kind == "f"))
        skipped += await asyncio.to_thread(one_here, folder, wanted)
        if not wanted:
            return _done(meter, 0, 0, "none", skipped)
        if use_rsync:
            if not needed and not any(
                entry.kind != "x" and _runs(entry) != _runs(here[name]) for name, entry in wanted.items()
            ):
                return _done(meter, 0, 0, "rsync", skipped)
            try:
                leave = [
                    *(_excluding(pattern) for pattern in exclude),
                    *_excluded(too_long, "/"),
                    *_excluded(linked, ""),
                ]
                names = sorted(wanted) if again or listed is not None else None
                if conn.module:
                    # a daemon of rsync 3.5 that is given names below a folder finds none of them (measured)
                    names = None
                leave += ["--checksum" if conn.module else "--ignore-times"] if again else []
                leave += [f"--compare-dest={basis}"] if basis is not None else []
                size, count = await _rsync_down(
                    conn, src, dest, folder, leave, names, max_bytes=max_bytes, room=room, meter=meter
                )
                removed = await asyncio.to_thread(folder.mend_links)
                skipped += [f"{printable(name)}: a link that leads out of the folder" for name in removed]
                return _done(meter, size, count, "rsync", skipped)
            except RsyncUnusable as error:
                _give_up_on_rsync(conn, method, error)
            except BaseException:
                # no link that was disarmed on the way is left lying
                await asyncio.shield(asyncio.to_thread(folder.mend_links))
                raise
        if not again:
            here = await asyncio.to_thread(local_listing, dest)
        names = [n for n, e in wanted.items() if e.kind in "fdl" and differs(e, here.get(n))]
        _count_present(meter, wanted, set(wanted) - set(names))
        if not names:
            return _done(meter, 0, 0, "tar", skipped)
        size, count, refused = await tarstream.receive(
            conn, src, folder, names, meter, _least(max_bytes, room), meter.bytes_total
        )
        return _done(meter, size, count, "tar", skipped + refused)
    finally:
        folder.close()


async def _known(listed: dict[bytes, Entry]) -> dict[bytes, Entry]:
    return listed


def _least(max_bytes: int, room: int) -> int:
    """``max_bytes`` 0 is no limit."""
    return min(max_bytes, room) if max_bytes else room


def _room(dest: Path, needed: int) -> int:
    """Bytes that may be written below ``dest``. ``TransferFailed`` when more are needed."""
    free = shutil.disk_usage(dest).free
    room = free - KEPT_FREE
    if needed > max(0, room):
        raise TransferFailed(
            f"There are {needed} bytes to fetch, and {free} are free in {dest}.",
            hint="Make room there; choline tries again.",
            no_room=True,
        )
    return max(1, room)


def one_here(folder: Folder, names: Collection[bytes]) -> list[str]:
    """What to say of names that are several there and would be one on this computer's disk."""
    seen: dict[str, bytes] = {}
    doubles: list[tuple[bytes, bytes]] = []
    for name in names:
        folded = unicodedata.normalize("NFD", name.decode("utf-8", "backslashreplace")).casefold()
        other = seen.setdefault(folded, name)
        if other != name and len(doubles) < 100:
            doubles.append((name, other))
    if not doubles or not folder.folds_names():
        return []
    return [
        f"{printable(name)}: the same name as {printable(other)} on this computer's disk"
        for name, other in doubles
    ]


def _excluding(pattern: str) -> str:
    bare = pattern.strip("/")
    anchored = "/" in bare or pattern.startswith("/")
    return f"--exclude={'/' if anchored else ''}{bare}"


def _excluded(names: Sequence[bytes], end: str) -> list[str]:
    """Options that make rsync leave out just these names; ``end``: "/" for directories."""
    tops = set()
    for name in names[:_MAX_LEFT]:
        text = os.fsdecode(name)
        if any(c in text for c in "*?["):
            text = re.sub(r"([*?\[\\])", r"\\\1", text)
        tops.add(f"--exclude=/{text}{end}")
    return sorted(tops)


def _local_plan(
    base: Path, files: Sequence[bytes] | None, links: str
) -> tuple[dict[bytes, Entry], list[bytes], list[str]]:
    if files is None:
        listing = local_listing(base)
    else:
        listing = {}
        root = bytes(base) + b"/"
        for name in dict.fromkeys(files):
            if not safe_name(name):
                raise TransferFailed(
                    f"{printable(name)} is not a name below {base}.", hint="Nothing was sent."
                )
            entry = local_entry(root + name)
            if entry is not None and entry.kind == "l" and links != "keep":
                out = links == "all" or leads_out(name, os.readlink(root + name))  # noqa: PTH115
                entry = local_entry(root + name, follow=True) if out else entry
            if entry is not None:
                listing[name] = entry
    gone = [] if files is None else [f"{printable(n)}: gone" for n in files if n not in listing]
    skipped = gone + [f"{printable(n)}: not a file" for n, e in listing.items() if e.kind == "x"]
    return listing, sorted(n for n, e in listing.items() if e.kind != "x"), skipped


async def _prepare(conn: SshConnection, path: str | None, method: Method) -> bool:
    """Make the directory if one is given, and tell whether rsync can be used."""
    if path is None and "has rsync" in conn.facts:
        return _can_rsync(conn, method)
    make = f"mkdir -p -- {shlex.quote(remote_path(path))} && " if path is not None else ""
    done = await conn.run(make + "{ command -v rsync >/dev/null && echo has-rsync; :; }")
    if done.exit_status != 0:
        words = one_line(done.stderr.decode("utf-8", "replace")) or f"status {done.exit_status}"
        raise TransferFailed(f"The directory cannot be made on {conn.address}: {words}.")
    conn.facts["has rsync"] = b"has-rsync" in done.stdout
    return _can_rsync(conn, method)


def _can_rsync(conn: SshConnection, method: Method) -> bool:
    if method == "tar":
        return False
    can = conn.facts["has rsync"] and rsync_here() and conn.openssh.usable
    if not can and method == "rsync":
        raise TransferFailed("rsync or ssh is missing, here or on the remote.", hint="Install both.")
    return can and (method == "rsync" or not conn.facts.get("rsync unusable"))


def _give_up_on_rsync(conn: SshConnection, method: Method, error: RsyncUnusable) -> None:
    if method == "rsync":
        raise TransferFailed(f"rsync does not work with {conn.address}: {one_line(str(error))}.") from error
    conn.facts["rsync unusable"] = True


async def _rsync_up(
    conn: SshConnection,
    base: Path,
    dest: str,
    names: Sequence[bytes] | None,
    mirror: bool,
    meter: Meter,
    links: str,
) -> tuple[int, int]:
    options = [*_UP, *(["--ignore-missing-args"] if names is not None else []), *_LINKS[links]]
    if mirror and names is None:
        options.append("--delete")
    if names is not None:
        options.append("--no-recursive")

    async def attempt() -> tuple[int, int, int]:
        return await run_rsync(conn, options, base=base, remote=dest, upload=True, files=names, meter=meter)

    return await _with_one_repeat(attempt)


async def _rsync_down(
    conn: SshConnection,
    src: str,
    dest: Path,
    folder: Folder,
    leave: Sequence[str],
    names: Sequence[bytes] | None,
    *,
    max_bytes: int,
    room: int,
    meter: Meter,
) -> tuple[int, int]:
    """``leave``: options that say what is left out or not looked at. ``names``: bring these alone."""
    options = [*_DOWN, *leave]
    if names is not None:
        options += ["--ignore-missing-args", "--no-recursive"]
    before, there = await asyncio.to_thread(folder.usage)

    def watch() -> str:
        size, count = folder.usage()
        if max_bytes and size > before + max_bytes:
            return f"The remote sends more than the {max_bytes} bytes allowed."
        if size > before + room or shutil.disk_usage(dest).free < KEPT_FREE // 2:
            return "The remote sends more than it has listed, and more than fits on this computer's disk."
        return "The remote sends too many files." if count > there + 2 * MAX_FILES else ""

    async def attempt() -> tuple[int, int, int]:
        return await run_rsync(
            conn,
            options,
            base=dest,
            remote=src,
            upload=False,
            files=names,
            meter=meter,
            max_file=_least(max_bytes, room),
            watch=watch,
        )

    size, count = await _with_one_repeat(attempt)
    if reason := await asyncio.to_thread(watch):
        raise TransferFailed(reason)
    return size, count


async def _with_one_repeat(attempt: Callable[[], Awaitable[tuple[int, int, int]]]) -> tuple[int, int]:
    """Files that vanish while being read are usual at a running job: one more look, then it is so."""
    size = count = 0
    for last in (False, True):
        status, more, files = await attempt()
        size, count = size + more, count + files
        if status != VANISHED or last:
            break
    return size, count


async def _listed(conn: SshConnection, path: str) -> dict[bytes, Entry] | None:
    """None when the remote cannot tell: rsync does without."""
    try:
        return await remote_listing(conn, path)
    except TransferFailed:
        return None


def _all_there(
    listing: dict[bytes, Entry], names: Sequence[bytes], there: dict[bytes, Entry], *, whole: bool
) -> bool:
    """Whether rsync would find nothing to do, as it tells changes (size and time) and permissions; it
    costs a connection to ask. ``whole``: nor anything else may be there."""
    if whole and len(there) != len(names):
        return False
    for name in names:
        here, found = listing[name], there.get(name)
        if (
            found is None
            or here.kind == "l"
            or (here.kind, here.mtime, here.mode) != ((found.kind, found.mtime, found.mode))
        ):
            return False
        if here.kind == "f" and here.size != found.size:
            return False
    return True


def _runs(entry: Entry) -> bool:
    return entry.kind == "f" and bool(entry.mode & 0o111)


def differs(wanted: Entry, there: Entry | None) -> bool:
    """Whether what is wanted has to be moved, as far as kind, size and time tell."""
    if there is None or there.kind != wanted.kind:
        return True
    if wanted.kind == "l":
        # a link's target is not listed: links are small, send them
        return True
    return wanted.kind == "f" and (wanted.size, wanted.mtime) != (there.size, there.mtime)


def _extras(there: dict[bytes, Entry], listing: dict[bytes, Entry], mirror: bool) -> list[bytes]:
    """What must go from the remote: with ``mirror`` all that was not sent, else only what is in the way
    (a directory where a file comes, or the other way round). The topmost of each tree."""
    kept = set(listing)
    for name in listing:
        while b"/" in name:
            name = name.rpartition(b"/")[0]
            if name in kept and name not in listing:
                break
            kept.add(name)
    gone: set[bytes] = set()
    for name in sorted(there):
        if any(parent in gone for parent in _parents(name)):
            continue
        is_parent = name in kept and name not in listing
        wants_directory = is_parent or (name in listing and listing[name].kind == "d")
        in_the_way = name in kept and (there[name].kind == "d") != wants_directory
        if in_the_way or (mirror and name not in kept):
            gone.add(name)
    return sorted(gone)


def _parents(name: bytes) -> list[bytes]:
    parts = name.split(b"/")
    return [b"/".join(parts[:end]) for end in range(1, len(parts))]


async def remove_there(conn: SshConnection, dest: str, names: Sequence[bytes]) -> None:
    """Take these names, with all below them, out of a directory on the remote."""
    if not names:
        return
    command = f"cd -- {shlex.quote(remote_path(dest))} && xargs -0 rm -rf --"
    data = b"".join(b"./" + name + b"\0" for name in names)
    done = await conn.run(command, input=data, timeout=600)
    if done.exit_status != 0:
        words = one_line(done.stderr.decode("utf-8", "replace")) or f"status {done.exit_status}"
        raise TransferFailed(f"Old files on {conn.address} cannot be removed: {words}.")


def _count_present(meter: Meter, listing: dict[bytes, Entry], present: set[bytes]) -> None:
    for name in present:
        if listing[name].kind == "f":
            meter.bytes_done += listing[name].size
            meter.files_done += 1
    meter.tell()


def _done(meter: Meter, size: int, count: int, how: str, skipped: list[str]) -> Transfer:
    meter.finish()
    return Transfer(bytes=size, files=count, seconds=meter.seconds, how=how, skipped=skipped)
