"""Sizes and hashes of files on both sides, and where they differ: the last word on a transfer."""

# names are bytes here, which pathlib does not do
# ruff: noqa: PTH118

import hashlib
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from choline_tui.kernel.errors import TransferFailed
from choline_tui.ssh.connection import SshConnection, one_line
from choline_tui.ssh.listing import excluder, local_listing, remote_path, safe_name

__all__ = ["Digest", "compare", "manifest_local", "manifest_remote", "parse_manifest"]

_MARK = b"choline-manifest\0"
_PROGRAM = """
import hashlib, os, stat, sys
out = sys.stdout.buffer
def walk(top):
    for e in os.scandir(top):
        s = e.stat(follow_symlinks=False)
        if stat.S_ISDIR(s.st_mode):
            walk(e.path)
        elif stat.S_ISREG(s.st_mode):
            h = hashlib.sha256()
            n = 0
            with open(e.path, "rb") as f:
                while True:
                    b = f.read(1048576)
                    if not b:
                        break
                    h.update(b)
                    n += len(b)
            out.write(b"%s %d %s\\0" % (h.hexdigest().encode(), n, e.path[2:]))
out.write(b"choline-manifest\\0")
if os.path.isdir(sys.argv[1]):
    os.chdir(sys.argv[1])
    walk(b"./")
"""
_MAX = 256 << 20


@dataclass(frozen=True)
class Digest:
    """``sha256`` in hex, ``size`` in bytes."""

    size: int
    sha256: str


def manifest_local(path: Path, *, exclude: Sequence[str] = ()) -> dict[bytes, Digest]:
    """Every plain file under ``path`` by relative name; links are left out. Blocking: call in a thread."""
    excluded = excluder(exclude)
    found: dict[bytes, Digest] = {}
    for name, entry in local_listing(path).items():
        if entry.kind != "f" or excluded(name):
            continue
        with open(os.path.join(os.fsencode(path), name), "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            found[name] = Digest(file.tell(), digest.hexdigest())
    return found


async def manifest_remote(
    conn: SshConnection, path: str, *, command: str | None = None, timeout: float = 3600
) -> dict[bytes, Digest]:
    """The same on the remote. ``command`` prints ``choline-manifest NUL`` and then, for each file,
    ``sha256 SP size SP name NUL``; without one python3 does it there. Raises ``TransferFailed``."""
    if command is None:
        command = f"exec python3 -c {shlex.quote(_PROGRAM)} {shlex.quote(remote_path(path))}"
    done = await conn.run(command, timeout=timeout, max_output=_MAX)
    if done.exit_status != 0 or done.truncated:
        words = one_line(done.stderr.decode("utf-8", "replace")[-300:]) or f"status {done.exit_status}"
        raise TransferFailed(f"The files on {conn.address} cannot be hashed: {words}.")
    return parse_manifest(done.stdout)


def parse_manifest(data: bytes) -> dict[bytes, Digest]:
    """``TransferFailed`` when it is not one."""
    _, marked, records = data.partition(_MARK)
    found: dict[bytes, Digest] = {}
    for record in records.split(b"\0"):
        if not record:
            continue
        match = re.fullmatch(rb"([0-9a-f]{64}) (\d{1,18}) (.+)", record, re.DOTALL)
        if match is None or not safe_name(match[3]):
            raise TransferFailed("The remote's manifest of its files cannot be read.")
        if b".choline-partial" not in match[3].split(b"/"):
            found[match[3]] = Digest(int(match[2]), match[1].decode())
    if not marked:
        raise TransferFailed("The remote gave no manifest of its files.")
    return found


def compare(wanted: dict[bytes, Digest], got: dict[bytes, Digest]) -> list[bytes]:
    """The names in ``wanted`` that are missing from ``got`` or differ there."""
    return sorted(name for name, digest in wanted.items() if got.get(name) != digest)
