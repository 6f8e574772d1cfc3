"""Inside a container: its first real process. Runs onstart, then lets SSH in. The host's copier beside it is
the same without onstart, and lets only rsync in.

Started by ``process.ProcessBackend`` with a control socket (its number is the first argument): lines of
JSON, one question one answer. The first line is the configuration. End of file there means the owner is
gone, and this process ends; what made the container (bubblewrap or ``boot``) ends all the others.
"""

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from choline_tui.simulator.remotes.traffic import Meter

__all__ = ["GREETING", "Server", "main", "shell", "shell_environment"]

GREETING = (
    "Welcome to vast.ai. If authentication fails, try again after a few seconds, "
    "and double check your ssh key.\n"
)
"""Vast sends this before authentication; clients must cope with it on their standard error."""


TELL_S = 0.5
"""how often the traffic so far is told"""


class Server(Protocol):
    """Something that answers SSH on a listening socket."""

    async def listen(self, sock: socket.socket) -> None: ...

    def close(self) -> None:
        """Answer no new connection; those that are there stay."""
        ...

    def drop(self) -> None:
        """Cut every connection."""
        ...


def shell() -> str:
    return shutil.which("bash") or "/bin/sh"


def shell_environment(config: Mapping[str, Any]) -> dict[str, str]:
    """What an SSH shell starts with: nothing of the container's own variables, as on Vast."""
    return {
        "HOME": config["home"],
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": shell(),
        "PATH": config["path"],
    }


class Container:
    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._home = Path(config["home"])
        self._meter = Meter(config["traffic"])
        self._port = 0
        self._server = self._make_server()
        self._listening = False
        self._tasks: set[asyncio.Task[None]] = set()

    def _make_server(self) -> Server:
        if self._config["sshd"] == "openssh":
            from choline_tui.simulator.remotes.openssh import OpenSshServer

            return OpenSshServer(self._config, self._meter)
        from choline_tui.simulator.remotes.embedded import EmbeddedServer

        return EmbeddedServer(self._config, self._meter)

    def prepare_home(self) -> None:
        """Files an image brings along. From inside, where a stranger's link leads nowhere."""
        ssh = self._home / ".ssh"
        ssh.mkdir(mode=0o700, exist_ok=True)
        for key in self._config["keys"]:
            self.authorize(key)
        path = self._config["bin"]
        for name, text in (
            (
                ".profile",
                f'export PATH="{path}:$PATH"\nif [ -n "$BASH" ] && [ -f ~/.bashrc ]; then . ~/.bashrc; fi\n',
            ),
            (
                ".bashrc",
                f"case $- in *i*) ;; *) return;; esac\nPS1='root@C.{self._config['contract']}:\\w\\$ '\n",
            ),
        ):
            file = self._home / name
            if not file.exists():
                file.write_text(text, encoding="utf-8")

    def authorize(self, key: str) -> None:
        file = self._home / ".ssh" / "authorized_keys"
        wanted = " ".join(key.split())
        present = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
        if wanted in present.splitlines():
            return
        with open(file, "a", encoding="utf-8") as f:
            f.write(("" if not present or present.endswith("\n") else "\n") + wanted + "\n")
        file.chmod(0o600)

    def revoke(self, key: str) -> None:
        """From the next login on; connections that are there stay."""
        file = self._home / ".ssh" / "authorized_keys"
        unwanted = " ".join(key.split())
        present = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
        left = [line for line in present.splitlines() if " ".join(line.split()) != unwanted]
        file.write_text("".join(f"{line}\n" for line in left), encoding="utf-8")

    async def tell_traffic(self) -> None:
        while True:
            await asyncio.sleep(TELL_S)
            self._meter.tell()

    async def start_onstart(self, port: int) -> None:
        """Vast runs it at every start; what it prints is the container's log (our own stdout)."""
        script = self._home / "onstart.sh"
        script.write_text(self._config["onstart"], encoding="utf-8")
        script.chmod(0o755)
        env = dict(self._config["env"])
        env["VAST_TCP_PORT_22"] = str(port)
        process = await asyncio.create_subprocess_exec(
            shell(),
            str(script),
            env=env,
            cwd=self._home,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )

        async def mark() -> None:
            await process.wait()
            with contextlib.suppress(OSError):
                (self._home / "hasbooted").touch()

        task = asyncio.create_task(mark())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _bind(self, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            if not port:
                raise
            sock.bind(("127.0.0.1", 0))  # somebody else has it by now; on Vast a port may change as well
        sock.setblocking(False)
        return sock

    async def start(self) -> int:
        sock = self._bind(self._config["port"])
        self._port = sock.getsockname()[1]
        if self._config["copier"]:
            (self._home / ".ssh").mkdir(mode=0o700, exist_ok=True)
            for key in self._config["keys"]:
                self.authorize(key)
        else:
            self.prepare_home()
            await self.start_onstart(self._port)
        telling = asyncio.create_task(self.tell_traffic())
        self._tasks.add(telling)
        if self._config["refuse"]:
            sock.close()
        else:
            sock.listen(128)
            await self._server.listen(sock)
            self._listening = True
        return self._port

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        op = request.get("op")
        if op == "authorize":
            self.authorize(request["key"])
        elif op == "revoke":
            self.revoke(request["key"])
        elif op == "drop":
            self._server.drop()
        elif op == "refuse":
            self._server.drop()
            if request["on"] and self._listening:
                self._server.close()
                self._listening = False
            elif not request["on"] and not self._listening:
                sock = self._bind(self._port)
                sock.listen(128)
                await self._server.listen(sock)
                self._listening = True
        else:
            return {"error": f"unknown request {op!r}"}
        return {"ok": True}


def _bound_files(disk_gb: float) -> None:
    """No file here can be larger than the disk that was rented. The sum is not held: the disk is a folder."""
    most = int(disk_gb * 1e9)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


async def _serve(control: socket.socket) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=control, limit=1 << 22)

    async def say(message: dict[str, Any]) -> None:
        writer.write(json.dumps(message).encode() + b"\n")
        await writer.drain()

    config = json.loads(await reader.readline())
    os.umask(0o022)
    _bound_files(config["disk_gb"])
    os.chdir(config["home"])
    try:
        container = Container(config)
        await say({"port": await container.start()})
    except Exception as exc:  # the owner turns it into its own error
        await say({"error": f"{type(exc).__name__}: {exc}"})
        return
    while line := await reader.readline():
        try:
            await say(await container.answer(json.loads(line)))
        except (OSError, ValueError, KeyError) as exc:
            await say({"error": f"{type(exc).__name__}: {exc}"})


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(ConnectionError):
        asyncio.run(_serve(control))
    # not through the interpreter's end: nothing may hold it up, all the others end after it
    os._exit(0)


if __name__ == "__main__":
    main()
