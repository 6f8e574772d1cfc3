"""Remotes as real processes on this computer, each an SSH endpoint on loopback with a home of its own.

On disk, below the backend's root, for each contract::

    <contract>/root/           the container's home; the only thing it can write besides its /tmp
              tmp/             its /tmp, where it is isolated
              bin/             first on its PATH: nvidia-smi, python3 when there is none, refusals
              etc/             host key, sshd's configuration
              container.log    what onstart printed
              server.log       trouble of ours inside
              copier/          where the host's copier sees the home
    volumes/V.<id>/            a volume; seen in the home of every container that rents it

A container is one process tree below one launcher (``isolation.launcher``): when the launcher has ended,
nothing of the container runs any more. Launchers end with this process, however it ends.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from choline_tui.kernel.errors import NotFound, RemoteError, UsageError
from choline_tui.kernel.handover import memory_name
from choline_tui.simulator.backend import Endpoint, Launch
from choline_tui.simulator.remotes import copier, disk, isolation, openssh, shims, traffic, volumes
from choline_tui.simulator.remotes.isolation import Box, Kind

__all__ = ["ProcessBackend"]

START_LIMIT = 60.0
"""seconds a container may take to answer; it takes well below one where the computer is not busy"""
STOP_LIMIT = 5.0
"""seconds it may take to end by itself before it is killed"""
LOG_LIMIT = 1 << 20
"""bytes of a container's log that are read, from its end"""


@dataclass
class _Running:
    launcher: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    info: int | None
    """a pipe on which bubblewrap says which process is the container's first"""
    first: int | None = None
    """that process as a pidfd: when it has ended, the kernel has ended all others of its namespace.
    Bubblewrap itself ends a little earlier."""
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def note_first(self) -> None:
        """To be called while the container surely lives: a number may name another process later."""
        if self.info is None or self.first is not None:
            return
        os.set_blocking(self.info, False)
        with contextlib.suppress(OSError, ValueError, KeyError):
            self.first = os.pidfd_open(int(json.loads(os.read(self.info, 4096))["child-pid"]))

    def kill(self) -> None:
        """Somebody inside holds up the server: end the container from outside."""
        if self.first is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.first, signal.SIGKILL)
        elif self.launcher.returncode is None:
            # ``boot`` kills everything below it; bubblewrap passes its own end on
            self.launcher.send_signal(signal.SIGTERM)

    async def ended(self) -> None:
        """Wait until no process of the container is left."""
        await self.launcher.wait()
        if self.first is None:
            return
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(self.first, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(self.first)

    def release(self) -> None:
        for fd in (self.info, self.first):
            if fd is not None:
                os.close(fd)
        self.info = self.first = None

    async def ask(self, **request: Any) -> None:
        async with self.asking:
            self.writer.write(json.dumps(request).encode() + b"\n")
            await self.writer.drain()
            _answer(await self.reader.readline())


@dataclass
class _Remote:
    launch: Launch
    box: Box
    keys: list[str]
    traffic: int
    """an open file in which the container tells what its SSH has carried"""
    copied: int
    """the same of the host's copier"""
    port: int = 0
    refuse: bool = False
    running: _Running | None = None
    copier: _Running | None = None
    copier_port: int = 0


def _reserved(port: int) -> socket.socket:
    """A loopback port nobody is given while this is open: this one, if it is free."""
    for wanted in (port, 0):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", wanted))
        except OSError:
            sock.close()
            if not wanted:
                raise
        else:
            break
    return sock


def _answer(line: bytes) -> dict[str, Any]:
    if not line:
        raise RemoteError("the rehearsal container ended unexpectedly")
    data: dict[str, Any] = json.loads(line)
    if "error" in data:
        raise RemoteError(f"the rehearsal container failed: {data['error']}")
    return data


class ProcessBackend:
    """``simulator.backend.RemoteBackend`` with real processes.

    ``root``: a directory for the containers' disks, made when missing. ``sshd``: who answers SSH.
    ``isolate``: how containers are kept apart; ``auto`` takes the strongest that works here.
    Raises ``UsageError`` when what is asked for cannot work on this computer.
    """

    def __init__(
        self,
        root: Path,
        sshd: Literal["asyncssh", "openssh"] = "asyncssh",
        *,
        isolate: Literal["auto", "bubblewrap", "userns", "plain"] = "auto",
    ) -> None:
        self.root = root.resolve()
        self.isolation: Kind = isolation.best() if isolate == "auto" else isolate
        self._sshd = sshd
        self._sshd_path = openssh.find_sshd() or ""
        self._remotes: dict[int, _Remote] = {}
        self._carried: dict[int, tuple[int, int]] = {}
        """what containers that are gone had carried; one made anew goes on from there"""
        if not isolation.works(self.isolation):
            raise UsageError(f"this computer does not let us isolate remotes with {self.isolation}")
        if sshd == "openssh":
            if not self._sshd_path:
                raise UsageError("there is no sshd here", hint="Install openssh-server, or use asyncssh.")
            if self.isolation == "plain" and os.getuid() != 0:
                raise UsageError(
                    "OpenSSH's server can only let 'root' in with isolation, or run as root",
                    hint="Install bubblewrap, or use the built-in server (asyncssh).",
                )

    @property
    def copies(self) -> bool:
        """Whether the official client can copy between an instance and its own computer."""
        return self.isolation != "plain" and copier.find_rsync() is not None

    def banner(self) -> str:
        """One line for a person: what a remote of this market can do to this computer."""
        return {
            "bubblewrap": "remotes are isolated by bubblewrap: they write only below their own home",
            "userns": "remotes are isolated by namespaces: they write only below their own home",
            "plain": "remotes are NOT isolated: their commands run as you, on this computer "
            "(install bubblewrap to isolate them); apt and sudo are refused",
        }[self.isolation]

    # -- RemoteBackend

    async def create(self, launch: Launch) -> None:
        if launch.contract in self._remotes:
            raise RemoteError(f"contract {launch.contract} has a container already")
        base = self.root / str(launch.contract)
        places = [(self.volume(name), volumes.inside(path)) for name, path in launch.volumes]
        box = Box(launch.contract, base, tuple((v, (base / "root").joinpath(*p)) for v, p in places))
        await asyncio.to_thread(self._make, box, launch)
        told = traffic.make(box.base / "traffic", self._carried.pop(launch.contract, (0, 0)))
        copied = traffic.make(box.base / "copied", (0, 0))
        self._remotes[launch.contract] = _Remote(launch, box, list(launch.authorized_keys), told, copied)

    async def start(self, contract: int) -> Endpoint:
        remote = self._remote(contract)
        if remote.running is not None:
            return Endpoint("127.0.0.1", remote.port)
        # bound, so that it stays ours, and not listening, so that the container may have it: the container's
        # variables name it before the container is there
        with _reserved(remote.port) as place:
            remote.port = place.getsockname()[1]
            await asyncio.to_thread(self._mount_points, remote)
            remote.running = await self._spawn(remote, remote.traffic)
            try:
                remote.port = await self._begin(remote, remote.running, self._config(remote))
            except BaseException:
                remote.running = None
                raise
        return Endpoint("127.0.0.1", remote.port)

    async def copier(self, contract: int) -> Endpoint:
        """Where the host's copier answers for this container's disk, whether the container runs or not. It
        is begun at the first question, and stays until the disk goes. Raises ``RemoteError``."""
        remote = self._remote(contract)
        if remote.copier is None:
            await asyncio.to_thread(self._mount_points, remote)
            copier_ = await self._spawn(remote, remote.copied)
            config = self._config(remote) | {
                "copier": True,
                "port": 0,
                "refuse": False,
                "traffic": remote.copied,
                "sshd_config": str(remote.box.etc / copier.CONFIG),
                "host_key": str(remote.box.etc / copier.HOST_KEY),
            }
            remote.copier_port = await self._begin(remote, copier_, config)
            remote.copier = copier_
        return Endpoint("127.0.0.1", remote.copier_port)

    async def _begin(self, remote: _Remote, running: _Running, config: dict[str, Any]) -> int:
        """Its port. When it does not begin, nothing of it is left."""
        contract = remote.launch.contract
        try:
            async with asyncio.timeout(START_LIMIT):
                running.writer.write(json.dumps(config).encode() + b"\n")
                await running.writer.drain()
                port = int(_answer(await running.reader.readline())["port"])
            running.note_first()
            return port
        except BaseException as exc:
            await self._end(running)
            if isinstance(exc, TimeoutError):
                raise RemoteError(f"the container of contract {contract} did not start in time") from exc
            if isinstance(exc, RemoteError):
                said = disk.tail(remote.box.server_log, 300).strip()
                raise RemoteError(f"{exc.message}{': ' + said if said else ''}") from exc
            raise

    async def stop(self, contract: int) -> None:
        remote = self._remote(contract)
        running, remote.running = remote.running, None
        await self._end(running)

    async def destroy(self, contract: int) -> None:
        remote = self._remotes.get(contract)
        if remote is None:
            return
        running, remote.running = remote.running, None
        copying, remote.copier = remote.copier, None
        await self._end(running)
        await self._end(copying)
        self._carried[contract] = self.traffic(contract)
        self._remotes.pop(contract, None)
        os.close(remote.traffic)
        os.close(remote.copied)
        # a container that is not isolated shares this computer's memory-backed storage
        memory = Path("/dev/shm", memory_name(os.getuid(), str(remote.box.home)))  # noqa: S108
        await asyncio.to_thread(shutil.rmtree, memory, ignore_errors=True)
        await asyncio.to_thread(disk.remove, remote.box.base)

    async def authorize(self, contract: int, public_key: str) -> None:
        remote = self._remote(contract)
        if "\n" in public_key.strip():
            raise UsageError("a public key is one line")
        if public_key not in remote.keys:
            remote.keys.append(public_key)
        for server in (remote.running, remote.copier):
            if server is not None:
                await server.ask(op="authorize", key=public_key)

    async def revoke(self, contract: int, public_key: str) -> None:
        """From now on no login with that key; connections that are there stay."""
        remote = self._remote(contract)
        if public_key in remote.keys:
            remote.keys.remove(public_key)
        for server in (remote.running, remote.copier):
            if server is not None:
                await server.ask(op="revoke", key=public_key)

    def traffic(self, contract: int) -> tuple[int, int]:
        """Bytes that its SSH has sent and received so far, roughly: see ``remotes.traffic``."""
        remote = self._remotes.get(contract)
        if remote is None:
            return self._carried.get(contract, (0, 0))
        own, copied = traffic.read(remote.traffic), traffic.read(remote.copied)
        return own[0] + copied[0], own[1] + copied[1]

    def log(self, contract: int) -> str:
        return disk.tail(self._remote(contract).box.log, LOG_LIMIT)

    async def close(self) -> None:
        await asyncio.gather(*(self.destroy(contract) for contract in list(self._remotes)))
        await asyncio.to_thread(disk.remove, self.root / "volumes")

    # -- hooks for tests and for faults

    async def refuse_ssh(self, contract: int, refuse: bool) -> None:
        """From now on nothing listens at the SSH port (connections are cut), or it does again."""
        remote = self._remote(contract)
        remote.refuse = refuse
        if remote.running is not None:
            await remote.running.ask(op="refuse", on=refuse)

    async def drop_ssh(self, contract: int) -> None:
        """Cut the SSH connections that are there; new ones are answered."""
        running = self._remote(contract).running
        if running is not None:
            await running.ask(op="drop")

    async def fill_disk(self, contract: int, full: bool) -> None:
        """From now on nothing more can be written there, or it can again.

        The containers' disks are folders of this computer, so this works only where ``root`` lies on a
        small file system of its own (a tmpfs, say), and then for all of them. Raises ``RemoteError``.
        """
        await asyncio.to_thread(disk.fill, self._remote(contract).box.base / "ballast", full)

    def volume(self, name: str) -> Path:
        """The folder of a volume ("V.77"), on this computer's disk; it outlives the containers."""
        if not name.startswith("V.") or not name[2:].isdecimal():
            raise UsageError(f"{name[:60]!r} is no volume")
        return self.root / "volumes" / name

    async def remove_volume(self, name: str) -> None:
        await asyncio.to_thread(disk.remove, self.volume(name))

    def home(self, contract: int) -> Path:
        """The container's home directory, on this computer's disk."""
        return self._remote(contract).box.home

    def host_key(self, contract: int) -> str:
        """The SSH host key, constant for a contract, as an OpenSSH public key line."""
        return (self._remote(contract).box.etc / "host_key.pub").read_text(encoding="utf-8").strip()

    # -- inside

    def _remote(self, contract: int) -> _Remote:
        try:
            return self._remotes[contract]
        except KeyError:
            raise NotFound(f"there is no container for contract {contract}") from None

    def _mount_points(self, remote: _Remote) -> None:
        """What must be there before the container runs. Raises ``RemoteError``."""
        for name, path in remote.launch.volumes:
            if self.isolation != "plain":
                self.volume(name).mkdir(mode=0o755, parents=True, exist_ok=True)
                volumes.mount_point(remote.box.home, path)

    def _path(self, box: Box) -> str:
        return f"{box.bin}:{shims.SYSTEM_PATH}"

    def _make(self, box: Box, launch: Launch) -> None:
        if any(c in str(box.base) for c in ':"\n'):
            raise UsageError(f"remotes cannot live below {self.root}: the path holds one of : and quotes")
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if box.base.exists():  # left by a simulator that was killed
            disk.remove(box.base)
        for directory in (box.base, box.home, box.etc, box.tmp):
            directory.mkdir(mode=0o755)
        public = disk.host_key(box.etc / "host_key")
        (box.etc / "host_key.pub").write_text(public + "\n", encoding="utf-8")
        disk.host_key(box.etc / copier.HOST_KEY)
        plain = self.isolation == "plain"
        shims.write_shims(box.bin, launch.gpus, launch.machine_id, refuse=plain)
        for volume, place in box.volumes if plain else ():
            # nothing can be mounted for a container that is not isolated
            volume.mkdir(mode=0o755, parents=True, exist_ok=True)
            place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            place.symlink_to(volume)
        shims.write_df(box.bin, box.home, launch.disk_gb)
        copier.write_config(box.etc, box.base, launch.contract)
        for place in copier.places(box.base, box.home):
            place.mkdir(mode=0o755, parents=True)
        openssh.write_config(box.etc, box.home, self._path(box), own_accounts=not plain)
        if self._sshd == "openssh":
            if os.getuid() == 0:
                # sshd's own requirement; bubblewrap makes it inside
                Path("/run/sshd").mkdir(mode=0o755, parents=True, exist_ok=True)
            check = [self._sshd_path, "-t", "-f", str(box.etc / "sshd_config")]
            done = subprocess.run(check, capture_output=True, timeout=30)
            if done.returncode != 0:
                raise RemoteError(
                    "sshd refuses its configuration: " + done.stderr.decode(errors="replace")[:300]
                )

    async def _spawn(self, remote: _Remote, carried: int) -> _Running:
        ours, theirs = socket.socketpair()
        info_out, info_in = os.pipe() if self.isolation == "bubblewrap" else (None, None)
        inside = theirs.fileno()
        # -I: nothing of the environment or the working directory; the path is this process's own
        code = (
            "import sys; sys.path[:] = sys.argv[2:]\n"
            "from choline_tui.simulator.remotes.container import main; main()"
        )
        argv = [
            sys.executable,
            "-I",
            "-c",
            code,
            str(inside),
            *(str(Path(p).absolute()) for p in sys.path),
        ]
        fds = [inside, carried] + ([info_in] if info_in is not None else [])
        log, trouble = disk.append(remote.box.log), disk.append(remote.box.server_log)
        try:
            launcher = await asyncio.create_subprocess_exec(
                *isolation.launcher(self.isolation, remote.box, argv, [inside, carried], info_in),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=trouble,
                pass_fds=fds,
                # the container's variables belong to its first process: /proc/1/environ shows them there
                env=self._environment(remote),
                cwd=remote.box.home,
                # no terminal of ours, and no Ctrl-C of ours
                start_new_session=True,
            )
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
            if info_out is not None:
                os.close(info_out)
            raise
        finally:
            theirs.close()
            os.close(log)
            os.close(trouble)
            if info_in is not None:
                os.close(info_in)
        return _Running(launcher, reader, writer, info_out)

    def _environment(self, remote: _Remote) -> dict[str, str]:
        env = {
            "HOME": str(remote.box.home),
            "PATH": self._path(remote.box),
            "USER": "root",
            "CHOLINE_REHEARSAL": "1",
            "VAST_TCP_PORT_22": str(remote.port),
        }
        for name, value in remote.launch.env.items():
            # names such as "-p 8080:8080" are options of docker's, not variables
            if name.isidentifier() and "\0" not in value and name not in ("HOME", "USER"):
                env[name] = f"{remote.box.bin}:{value}" if name == "PATH" else value
        return env

    def _config(self, remote: _Remote) -> dict[str, Any]:
        box = remote.box
        return {
            "contract": remote.launch.contract,
            "home": str(box.home),
            "bin": str(box.bin),
            "path": self._path(box),
            "env": self._environment(remote),
            "onstart": remote.launch.onstart,
            "keys": remote.keys,
            "port": remote.port,
            "refuse": remote.refuse,
            "traffic": remote.traffic,
            "disk_gb": remote.launch.disk_gb,
            "copier": False,
            "rsyncd_config": str(box.etc / "rsyncd.conf"),
            "sshd": self._sshd,
            "sshd_path": self._sshd_path,
            "sshd_config": str(box.etc / "sshd_config"),
            "host_key": str(box.etc / "host_key"),
        }

    async def _end(self, running: _Running | None) -> None:
        if running is None:
            return
        running.note_first()
        running.writer.close()
        try:
            # the container's server ends at this end of file, and its first process with it
            async with asyncio.timeout(STOP_LIMIT):
                await running.ended()
        except (TimeoutError, asyncio.CancelledError) as exc:
            running.kill()
            await running.ended()
            if isinstance(exc, asyncio.CancelledError):
                raise
        finally:
            with contextlib.suppress(OSError):
                await running.writer.wait_closed()
            running.release()
