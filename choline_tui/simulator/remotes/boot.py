"""The first program of a container that bubblewrap does not make: a private init.

Run as a script (``python -I boot.py SPEC``), standard library only, and small: it does not import the
package. SPEC is JSON: ``mode`` (userns or plain), ``argv`` (the container's server), ``owner`` (pid of
the simulator), ``fds`` to pass on, ``home``, ``tmp``, ``box`` (read-only), ``binds`` (pairs over /etc),
``within`` (pairs: places at which it finds its home as well).

*plain*: a subreaper. Whatever the container starts, however often it forks away, stays below this
process; when the server ends, on TERM, or when the simulator dies, all of it is killed. On systems other
than Linux daemonised processes can get away.

*userns*: the same as pid 1 of its own pid namespace, in a mount namespace in which everything but the
container's home and a private /tmp is read-only. The kernel ends all of it with pid 1.
"""

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

LINUX = sys.platform.startswith("linux")

COVERED = "/tmp"  # noqa: S108 - the place itself; each container has its own there

PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38
CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x8000000, 0x10000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = (
    1024,
    2048,
    4096,
    16384,
    1 << 18,
    1 << 21,
)
MOUNT_FLAGS = {
    "ro": MS_RDONLY,
    "nosuid": MS_NOSUID,
    "nodev": MS_NODEV,
    "noexec": MS_NOEXEC,
    "noatime": MS_NOATIME,
    "nodiratime": MS_NODIRATIME,
    "relatime": MS_RELATIME,
}
KEPT_CAPS = (0, 1, 3, 4, 5, 6, 7, 10, 18, 29)
"""chown, dac_override, fowner, fsetid, kill, setgid, setuid, net_bind_service, sys_chroot, audit_write:
what sshd and ordinary work as root need; none of them can undo a mount"""


class Ended(BaseException):
    """TERM: the owner wants it gone, or is gone."""


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def die_with(parent: int, sig: int) -> None:
    """Get ``sig`` when ``parent`` dies; at once when it already has."""
    if LINUX:
        _libc().prctl(PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def descendants(root: int) -> list[int]:
    """Every process below ``root``, by one look at the process table."""
    children: dict[int, list[int]] = {}
    if LINUX:
        for name in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/stat", "rb") as f:
                    # the command's name may hold anything, also spaces and brackets: count from its end
                    parent = int(f.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            children.setdefault(parent, []).append(int(name))
    else:
        table = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True).stdout
        for line in table.splitlines():
            pid, parent_text = line.split()
            children.setdefault(int(parent_text), []).append(int(pid))
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def kill_below() -> None:
    """Kill everything below this process, until nothing is left to wait for."""
    while True:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(OSError):  # it may have ended meanwhile
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def supervise(spec: dict[str, Any]) -> None:
    """Run the server; return when it has ended, or on TERM, with everything else killed."""

    def ended(*_: object) -> None:
        raise Ended

    try:
        signal.signal(signal.SIGTERM, ended)
        server = subprocess.Popen(
            spec["argv"], pass_fds=spec["fds"], cwd=spec["home"], stdin=subprocess.DEVNULL
        )
        for fd in spec["fds"]:
            os.close(fd)
        while os.waitpid(-1, 0)[0] != server.pid:
            pass
        server.returncode = 0  # reaped here, not by Popen
    except (Ended, ChildProcessError):
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        kill_below()


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: bytes | None = None) -> None:
    def text(value: str | None) -> bytes | None:
        return None if value is None else os.fsencode(value)

    _check(_libc().mount(text(source), text(target), text(kind), flags, data), f"mount {target}")


def _mounts() -> list[tuple[str, int]]:
    """Every mount point now and its flags, by /proc/self/mountinfo."""
    found = []
    with open("/proc/self/mountinfo", "rb") as f:
        for line in f.read().splitlines():
            parts = line.split(b" ")
            raw = re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), parts[4])
            path = os.fsdecode(raw)
            flags = 0
            for option in parts[5].decode().split(","):
                flags |= MOUNT_FLAGS.get(option, 0)
            found.append((path, flags))
    return found


def isolate(spec: dict[str, Any]) -> None:
    """Enter namespaces of our own with everything read-only but home and /tmp; OSError when not allowed."""
    libc = _libc()
    uid, gid = os.getuid(), os.getgid()
    flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID
    if uid != 0:
        flags |= CLONE_NEWUSER
    _check(libc.unshare(flags), "unshare")
    if uid != 0:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as f:
                f.write(text)
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    # taken before /tmp is covered: they may lie below it
    sources = [source for source, _ in spec["within"]]
    wanted = {*spec["reveal"], *sources, spec["box"], spec["home"]}
    held = {path: os.open(path, os.O_PATH) for path in wanted}
    _mount(spec["tmp"], COVERED, None, MS_BIND)
    for path in [*spec["reveal"], spec["box"], spec["home"]]:
        Path(path).mkdir(parents=True, exist_ok=True)
        _mount(f"/proc/self/fd/{held[path]}", path, None, MS_BIND | MS_REC)
    for source, target in spec["binds"]:
        _mount(source, target, None, MS_BIND)
    for source, target in spec["within"]:
        _mount(f"/proc/self/fd/{held[source]}", target, None, MS_BIND)
    for fd in held.values():
        os.close(fd)
    # terminals of our own, of our own group
    _mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, b"newinstance,ptmxmode=0666,mode=620")
    _mount("/dev/pts/ptmx", "/dev/ptmx", None, MS_BIND)
    within = [target for _, target in spec["within"]]
    for path, old in _mounts():
        if path in (spec["home"], COVERED, *within) or path == "/proc" or path.startswith(("/proc/", "/dev")):
            continue
        try:
            _mount(None, path, None, old | MS_REMOUNT | MS_BIND | MS_RDONLY)
        except OSError:
            if os.access(path, os.W_OK):
                raise


def _userns(spec: dict[str, Any]) -> NoReturn:
    isolate(spec)
    # entering a user namespace gave this process capabilities, and with that the kernel forgot the wish
    die_with(spec["owner"], signal.SIGTERM)
    child = os.fork()
    if child == 0:
        _libc().prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        for cap in range(64):
            if cap not in KEPT_CAPS:
                _libc().prctl(PR_CAPBSET_DROP, cap, 0, 0, 0)
        _libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # once more, as a program that never had more rights than those below it
        os.execv(  # noqa: S606 - no shell is meant
            sys.executable, [*sys.orig_argv[:-1], json.dumps({**spec, "mode": "init"})]
        )
    for fd in spec["fds"]:
        os.close(fd)

    def ended(*_: object) -> None:
        os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGTERM, ended)
    os.waitpid(child, 0)  # returns when the whole namespace is empty
    os._exit(0)


def main() -> None:
    spec = json.loads(sys.argv[1])
    if spec["mode"] == "init":
        supervise(spec)
        os._exit(0)
    if spec["mode"] == "userns":
        die_with(spec["owner"], signal.SIGTERM)
        _userns(spec)
    if LINUX:
        _libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    die_with(spec["owner"], signal.SIGTERM)
    supervise(spec)


if __name__ == "__main__":
    main()
