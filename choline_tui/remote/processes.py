"""Processes of a job: its group, and descendants that left it. /proc where there is one."""

import ctypes
import os
from typing import Dict, List, Set

__all__ = ["adopt_orphans", "children_of", "signal_all"]

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def adopt_orphans() -> bool:
    """Become the parent of descendants whose own parent ends (Linux), so that none gets away."""
    try:
        return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def _parents(proc: str) -> Dict[int, int]:
    found: Dict[int, int] = {}
    try:
        names = os.listdir(proc)
    except OSError:
        return found
    for name in names:
        if not name.isdigit():
            continue
        try:
            with open("%s/%s/stat" % (proc, name), "rb") as f:
                # the command in brackets may hold anything, brackets and spaces too
                fields = f.read(4096).rpartition(b")")[2].split()
            if fields[0] not in (b"Z", b"X"):
                found[int(name)] = int(fields[1])
        except (OSError, IndexError, ValueError):
            continue
    return found


def children_of(root: int, proc: str = "/proc") -> List[int]:
    """Every living descendant of process ``root``."""
    by_parent: Dict[int, List[int]] = {}
    for pid, parent in _parents(proc).items():
        by_parent.setdefault(parent, []).append(pid)
    found: List[int] = []
    seen: Set[int] = {root}
    queue = [root]
    while queue:
        for pid in by_parent.get(queue.pop(), ()):
            if pid not in seen:
                seen.add(pid)
                found.append(pid)
                queue.append(pid)
    return found


def signal_all(group: int, owner: int, number: int) -> bool:
    """Send a signal to a process group and to every descendant of ``owner`` (0: the group only).

    True when there was anything to send it to.
    """
    reached = False
    try:
        if group > 1:
            os.killpg(group, number)
            reached = True
    except (ProcessLookupError, PermissionError):
        pass
    for pid in children_of(owner) if owner > 1 else ():
        try:
            if os.getpgid(pid) != group:
                os.kill(pid, number)
            reached = True
        except (ProcessLookupError, PermissionError):
            continue
    return reached
