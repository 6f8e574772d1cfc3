"""SSH inside a container by the system's OpenSSH: one ``sshd -i`` for each connection.

Run that way it needs no port and no daemon of its own, and everything a client meets is OpenSSH.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from choline_tui.simulator.remotes import copier
from choline_tui.simulator.remotes.container import GREETING, shell
from choline_tui.simulator.remotes.traffic import Meter

__all__ = ["OpenSshServer", "find_sshd", "write_config"]

_SFTP_SERVERS = (
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/sftp-server",
)


def find_sshd() -> str | None:
    return shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")


def _quoted(path: Path | str) -> str:
    # % starts a token in several of sshd's options
    return '"' + str(path).replace("%", "%%") + '"'


def write_config(etc: Path, home: Path, path: str, *, own_accounts: bool) -> None:
    """Write ``sshd_config`` and what it names into ``etc`` (beside ``host_key``), and the copier's.

    ``own_accounts``: the container has a passwd of its own in which root lives in ``home``; otherwise a
    forced command leads every session there, and there is no copier. ``path``: the shells' PATH.
    """
    (etc / "banner").write_text(GREETING, encoding="utf-8")
    lines = [
        f"HostKey {_quoted(etc / 'host_key')}",
        f"AuthorizedKeysFile {_quoted(home / '.ssh' / 'authorized_keys')}",
        f"Banner {_quoted(etc / 'banner')}",
        f'SetEnv "PATH={path}" "HOME={home}"',
        "PidFile none",
        "UsePAM no",
        "StrictModes no",
        "UseDNS no",
        "PermitRootLogin yes",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitUserRC no",
        "PrintMotd no",
        "PrintLastLog no",
        "AcceptEnv LANG LC_*",
        "AllowTcpForwarding yes",
        "AllowUsers root",
        "MaxSessions 100",
        "LoginGraceTime 30",
        "LogLevel ERROR",
    ]
    if own_accounts:
        lines.append("Subsystem sftp internal-sftp")
        (etc / "passwd").write_text(_passwd(home), encoding="utf-8")
        shadow = "".join(f"{name}:*:19700:0:99999:7:::\n" for name in ("root", copier.USER))
        (etc / "shadow").write_text(shadow, encoding="utf-8")
        if rsync := copier.find_rsync():
            words = shlex.join(copier.command(etc / "rsyncd.conf", rsync))
            own = {
                lines[0]: f"HostKey {_quoted(etc / copier.HOST_KEY)}",
                "AllowUsers root": f"AllowUsers {copier.USER}",
                "AllowTcpForwarding yes": "AllowTcpForwarding no",
                "Subsystem sftp internal-sftp": f"ForceCommand {words}",
            }
            text = "\n".join(own.get(line, line) for line in lines) + "\n"
            (etc / copier.CONFIG).write_text(text, encoding="utf-8")
        if os.getuid() != 0:
            # sshd gives a terminal to the group tty, where there is one; here it could not
            (etc / "group").write_text(f"root:x:{os.getgid()}:\n", encoding="utf-8")
    else:
        wrapper = etc / "login"
        wrapper.write_text(_login(home, path), encoding="utf-8")
        wrapper.chmod(0o755)
        lines.append(f"ForceCommand {shlex.quote(str(wrapper))}")
        sftp = next((p for p in _SFTP_SERVERS if Path(p).exists()), None)
        if sftp:
            lines.append(f"Subsystem sftp {sftp}")
    (etc / "sshd_config").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _passwd(home: Path) -> str:
    """The system's accounts, with root being whoever runs this and living in ``home``."""
    system = Path("/etc/passwd")
    others = [
        line
        for line in (
            system.read_text(encoding="utf-8", errors="replace") if system.exists() else ""
        ).splitlines()
        if line.split(":")[2:3] != [str(os.getuid())] and not line.startswith("root:")
    ]
    ours = [f"{name}:x:{os.getuid()}:{os.getgid()}:{name}:{home}:{shell()}" for name in ("root", copier.USER)]
    return "\n".join([*ours, *others]) + "\n"


def _login(home: Path, path: str) -> str:
    quote = shlex.quote
    return f"""#!/bin/sh
export HOME={quote(str(home))} PATH={quote(path)} USER=root LOGNAME=root SHELL={quote(shell())}
cd || exit 1
if [ -z "${{SSH_ORIGINAL_COMMAND+x}}" ]; then exec {quote(shell())} -l; fi
command=$SSH_ORIGINAL_COMMAND
unset SSH_ORIGINAL_COMMAND
exec {quote(shell())} -c "$command"
"""


class OpenSshServer:
    def __init__(self, config: Mapping[str, Any], meter: Meter) -> None:
        self._config = config
        self._meter = meter
        self._accepting: asyncio.Task[None] | None = None
        self._sock: socket.socket | None = None
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._waiting: set[asyncio.Task[None]] = set()

    async def listen(self, sock: socket.socket) -> None:
        self._sock = sock
        self._accepting = asyncio.create_task(self._accept(sock))

    async def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            conn, _ = await loop.sock_accept(sock)
            task = asyncio.create_task(self._serve(conn))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _serve(self, conn: socket.socket) -> None:
        with conn:
            conn.setblocking(True)  # sshd and its children inherit the open file description
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            process = await asyncio.create_subprocess_exec(
                self._config["sshd_path"],
                "-i",
                "-e",
                "-f",
                self._config["sshd_config"],
                stdin=conn.fileno(),
                stdout=conn.fileno(),
                stderr=asyncio.subprocess.DEVNULL,
                env={"PATH": self._config["path"]},
                start_new_session=True,
            )
            self._running[process.pid] = process
            # our own end stays open until sshd has ended, for what the kernel has counted by then
            counted = self._meter.begin(conn)
            try:
                await process.wait()
            finally:
                self._running.pop(process.pid, None)
                self._meter.end(counted)

    def close(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            self._accepting = None
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def drop(self) -> None:
        # its own group: the monitor and the unprivileged half, not the user's commands
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
