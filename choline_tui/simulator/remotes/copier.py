"""The host's copier: the account to which the official client's ``copy`` goes with rsync over SSH.

On Vast it is the host's own, and reaches every container's disk as an rsync module of the container's name,
also while the container stands. Here it is an SSH of its own beside the container's, begun when it is first
asked for, and reaches this container's home: as ``/root``, as ``/workspace``, and where the container has it.
"""

import os
import shutil
from pathlib import Path

__all__ = ["CONFIG", "HOST_KEY", "USER", "command", "find_rsync", "places", "write_config"]

USER = "vastai_kaalia"
HOST_KEY = "copier_key"
"""the host's key, which is not the container's"""
CONFIG = "sshd_copier_config"
PLACES = ("root", "workspace")
"""where a container's home is seen in its module"""


def find_rsync() -> str | None:
    return shutil.which("rsync", path=os.environ.get("PATH", "") + ":/usr/bin:/usr/local/bin")


def command(config: Path | str, rsync: str) -> list[str]:
    """What the account runs, whatever it is asked for."""
    return [rsync, "--server", "--daemon", f"--config={config}", "."]


def places(base: Path, home: Path) -> list[Path]:
    """Folders at which the container's home must be mounted: rsync's daemon follows no links."""
    return [base / "copier" / name for name in (*PLACES, str(home).lstrip("/"))]


def write_config(etc: Path, base: Path, contract: int) -> None:
    """Raises ``OSError``."""
    lines = [
        "use chroot = no",
        "munge symlinks = no",
        f"uid = {os.getuid()}",
        f"gid = {os.getgid()}",
        "log file = /dev/null",
        f"[C.{contract}]",
        f"path = {base / 'copier'}",
        "read only = no",
        "list = no",
    ]
    (etc / "rsyncd.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
