"""What keeps a container's processes from the rest of this computer, and what starts them in it."""

import functools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from choline_tui.simulator.remotes import boot, copier

__all__ = ["Box", "Kind", "best", "launcher", "works"]

Kind = Literal["bubblewrap", "userns", "plain"]

BOOT = str(Path(boot.__file__).resolve())

_CAPS = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_AUDIT_WRITE",
)
"""for a simulator run as root; the same as boot.KEPT_CAPS"""


@dataclass(frozen=True)
class Box:
    """A container's place on this computer's disk."""

    contract: int
    base: Path
    volumes: tuple[tuple[Path, Path], ...] = ()
    """folder of each volume, and where in the home it is seen"""

    @property
    def home(self) -> Path:
        return self.base / "root"

    @property
    def etc(self) -> Path:
        return self.base / "etc"

    @property
    def bin(self) -> Path:
        return self.base / "bin"

    @property
    def tmp(self) -> Path:
        return self.base / "tmp"

    @property
    def log(self) -> Path:
        return self.base / "container.log"

    @property
    def server_log(self) -> Path:
        return self.base / "server.log"

    def within(self) -> list[tuple[str, str]]:
        """Folders of ours that the container may write, and where it finds them."""
        volumes = [(str(volume), str(place)) for volume, place in self.volumes]
        # after the volumes, so that the copier sees them as well
        return volumes + [(str(self.home), str(p)) for p in copier.places(self.base, self.home) if p.is_dir()]

    def over_etc(self) -> list[tuple[str, str]]:
        """Files of our own that lie over the system's, where it has them."""
        pairs = [(self.etc / name, Path("/etc") / name) for name in ("passwd", "shadow", "group")]
        return [(str(ours), str(theirs)) for ours, theirs in pairs if ours.exists() and theirs.exists()]


def _reveal() -> list[str]:
    """Paths below /tmp or /run that a container needs though those are covered: Python and its packages."""
    wanted = {sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), *sys.path}
    wanted |= {str(Path(sys.executable).resolve().parent), str(Path(__file__).resolve().parents[3])}
    covered = (boot.COVERED + "/", "/run/")
    real = sorted({p for p in wanted if p and p.startswith(covered) and Path(p).exists()})
    top: list[str] = []
    for path in real:  # a parent sorts before what is below it
        if not any(path.startswith(parent + "/") for parent in top):
            top.append(path)
    return top


def _bubblewrap(box: Box, argv: Sequence[str], info: int | None) -> list[str]:
    args = ["bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    args += ["--hostname", f"C.{box.contract}", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    args += ["--bind", str(box.tmp), boot.COVERED, "--tmpfs", "/run"]
    if info is not None:
        args += ["--info-fd", str(info)]
    if os.getuid() == 0:
        args += ["--dir", "/run/sshd", "--cap-drop", "ALL"]
        for cap in _CAPS:
            args += ["--cap-add", cap]
    resolv = str(Path("/etc/resolv.conf").resolve())
    if resolv.startswith("/run/") and Path(resolv).exists():
        args += ["--ro-bind", resolv, resolv]
    for path in _reveal():
        args += ["--ro-bind", path, path]
    args += ["--ro-bind", str(box.base), str(box.base), "--bind", str(box.home), str(box.home)]
    for source, target in box.within():
        args += ["--bind", source, target]
    for ours, theirs in box.over_etc():
        args += ["--ro-bind", ours, theirs]
    return [*args, "--chdir", str(box.home), "--", *argv]


def _boot(kind: Kind, box: Box, argv: Sequence[str], fds: Sequence[int]) -> list[str]:
    spec = {
        "mode": kind,
        "argv": list(argv),
        "owner": os.getpid(),
        "fds": list(fds),
        "home": str(box.home),
        "tmp": str(box.tmp),
        "box": str(box.base),
        "binds": box.over_etc(),
        "within": box.within(),
        "reveal": _reveal(),
    }
    return [sys.executable, "-I", BOOT, json.dumps(spec)]


def launcher(
    kind: Kind, box: Box, argv: Sequence[str], fds: Sequence[int], info: int | None = None
) -> list[str]:
    """The command that runs ``argv`` as the container of ``box``; ``fds`` stay open in it.

    When that command ends, everything of the container has ended. It ends when this process does.
    ``info``: where bubblewrap writes which process is the container's first.
    """
    if kind == "bubblewrap":
        return _bubblewrap(box, argv, info)
    return _boot(kind, box, argv, fds)


@functools.cache
def works(kind: Kind) -> bool:
    """Whether this computer lets us isolate that way: tried once, with the very command of a container."""
    if kind == "plain":
        return True
    if not sys.platform.startswith("linux") or (kind == "bubblewrap" and shutil.which("bwrap") is None):
        return False
    with tempfile.TemporaryDirectory(prefix="choline-probe-") as base:
        box = Box(0, Path(base).resolve())
        for directory in (box.home, box.etc, box.tmp):
            directory.mkdir()
        script = 'touch "$1/home-is-writable"; touch "$2/box-is-writable" 2>/dev/null; exit 0'
        argv = launcher(kind, box, ["/bin/sh", "-c", script, "sh", str(box.home), str(box.base)], [])
        try:
            subprocess.run(argv, timeout=20, capture_output=True, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError):
            return False
        return (box.home / "home-is-writable").exists() and not (box.base / "box-is-writable").exists()


def best() -> Kind:
    """The strongest isolation that works here."""
    kinds: tuple[Kind, ...] = ("bubblewrap", "userns")
    return next((kind for kind in kinds if works(kind)), "plain")
