"""Earlier versions of result files at home: ``.versions/<part>/<path>@<time it was written, UTC>``.

A version is a second name of the file that was replaced, so that keeping it costs no copy.
"""

# names are bytes here, which pathlib does not do
# ruff: noqa: PTH108, PTH118, PTH208

import os
import shutil
import stat
import time
from pathlib import Path

from choline_tui.ssh.confine import Folder
from choline_tui.ssh.listing import Entry

__all__ = ["Shelf", "make_room"]

_LONGEST = 230
"""bytes of a name that leave room for the time in the 255 a disk takes"""


class Shelf:
    """Where the versions of one part go."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder: Folder | None = None
        self._taken: dict[bytes, set[bytes]] = {}

    def place(self, name: bytes, before: Entry) -> tuple[Folder, bytes] | None:
        """Where the version that is here now would be kept; None when its name leaves no room."""
        if len(name.rpartition(b"/")[2]) > _LONGEST:
            return None
        if self._folder is None:
            self._folder = Folder(self._root)
        stamp = time.strftime("%Y-%m-%dT%H.%M.%SZ", time.gmtime(max(0, min(before.mtime, 1 << 33))))
        return self._folder, name + b"@" + stamp.encode()

    def took(self, name: bytes) -> None:
        parent, _, last = name.rpartition(b"/")
        self._taken.setdefault(parent, set()).add(last)

    def prune(self, keep: int) -> None:
        """Leave the newest ``keep`` of every file that got one."""
        root = os.fsencode(self._root)
        for parent, names in self._taken.items():
            folder = os.path.join(root, parent)
            by_name: dict[bytes, list[bytes]] = {}
            for found in os.listdir(folder):
                last, at, _ = found.rpartition(b"@")
                if at and last in names:
                    by_name.setdefault(last, []).append(found)
            for found_all in by_name.values():
                for old in sorted(found_all)[: max(0, len(found_all) - keep)]:
                    os.unlink(os.path.join(folder, old))

    def close(self) -> None:
        if self._folder is not None:
            self._folder.close()


def make_room(root: Path, needed: int) -> int:
    """Remove the oldest versions below ``root`` until ``needed`` bytes are free, or none is left; how many
    went. What is at home as a result is never touched."""
    if not root.is_dir() or shutil.disk_usage(root).free >= needed:
        return 0
    found: list[tuple[float, bytes]] = []
    for folder, _, names in os.walk(os.fsencode(root)):
        for name in names:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            if stat.S_ISREG(info.st_mode):
                found.append((info.st_mtime, path))
    gone = 0
    for _, path in sorted(found):
        if shutil.disk_usage(root).free >= needed:
            break
        os.unlink(path)
        gone += 1
    return gone
