"""The supervisor as one file: a zipapp of ``kernel/`` and ``remote/``, built in memory.

The same sources give the same bytes; the version is a short hash of them. The file begins with two lines
that a shell can read without unpacking it: ``#!/usr/bin/env python3`` and
``# choline-supervisor <protocol> <version>``.
"""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib import resources

from choline_tui.kernel.protocol import PROTOCOL

__all__ = ["MARK", "Program", "program"]

MARK = "# choline-supervisor"
PACKAGES = ("kernel", "remote")
AT_HOME = frozenset(f"kernel/{name}.py" for name in ("clock", "guard", "nvidia_smi", "secret", "session"))
"""Modules of the kernel that only home uses."""

_MAIN = "import sys\nfrom choline_tui.remote.main import main\nsys.exit(main({version!r}))\n"


@dataclass(frozen=True)
class Program:
    version: str
    """12 hexadecimal digits"""
    data: bytes


def _sources() -> dict[str, bytes]:
    found = {"choline_tui/__init__.py": b""}
    for package in PACKAGES:
        for item in resources.files(f"choline_tui.{package}").iterdir():
            name = f"{package}/{item.name}"
            if item.name.endswith(".py") and name not in AT_HOME:
                found[f"choline_tui/{name}"] = item.read_bytes()
    return found


@cache
def program() -> Program:
    """The program that belongs to this installation. Takes some 20 ms the first time."""
    sources = _sources()
    total = hashlib.sha256()
    for name in sorted(sources):
        total.update(b"%s\0%d\0" % (name.encode(), len(sources[name])))
        total.update(sources[name])
    version = total.hexdigest()[:12]
    sources["__main__.py"] = _MAIN.format(version=version).encode()
    out = io.BytesIO()
    out.write(f"#!/usr/bin/env python3\n{MARK} {PROTOCOL} {version}\n".encode())
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(sources):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, sources[name])
    return Program(version, out.getvalue())
