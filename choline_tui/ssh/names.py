"""One OpenSSH configuration file with a name for each machine of ours, for other tools to include."""

from collections.abc import Mapping
from pathlib import Path

from choline_tui.ssh.keys import write_private
from choline_tui.ssh.openssh import OpenSsh

__all__ = ["write_names"]

HEAD = """\
# Machines of runs that choline rents now; it writes this file, and nothing in it is worth editing.
# Each host key is the one that was pinned at first contact.
"""


def write_names(path: Path, machines: Mapping[str, OpenSsh]) -> bool:
    """Replace the file at once (mode 0600); False when it said the same already. Machines whose paths no
    such file can hold are left out. Raises ``OSError``."""
    blocks = [machine.block(name) for name, machine in sorted(machines.items()) if machine.usable]
    data = "\n".join([HEAD, *blocks]).encode("utf-8", "surrogateescape")
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        if not blocks:
            return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, data)
    return True
