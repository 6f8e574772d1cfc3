"""A real OpenSSH server on loopback, with a home directory of its own, for one test."""

import contextlib
import os
import shlex
import signal
import subprocess
from pathlib import Path

from choline_tui.kernel.session import Address
from tests.support import free_port, wait_until


class Sshd:
    """Keeps host key, port and home over restarts."""

    def __init__(self, root: Path, authorized: str, *, path: str | None = None, forced: bool = True) -> None:
        self.root = root
        self.home = root / "home"
        self.home.mkdir(parents=True)
        self.port = free_port()
        self.user = os.environ.get("USER") or subprocess.check_output(["id", "-un"], text=True).strip()
        self._process: subprocess.Popen[bytes] | None = None
        self.new_host_key()
        (root / "authorized").write_text(authorized + "\n")
        wrapper = root / "wrapper"
        extra = f"export PATH={shlex.quote(path)}\n" if path is not None else ""
        wrapper.write_text(
            f'#!/bin/sh\nexport HOME={shlex.quote(str(self.home))}\n{extra}cd "$HOME" || exit 1\n'
            'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
        )
        wrapper.chmod(0o755)
        (root / "config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {root}/host_key\n"
            f"AuthorizedKeysFile {root}/authorized\nStrictModes no\nUsePAM no\nPidFile none\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
            "MaxStartups 100\nMaxSessions 100\nLogLevel VERBOSE\n"
            # a shell that sshd starts reads the start-up files of its HOME before any command; those of
            # whoever runs the tests have no place here (version managers in them take 100 ms and more)
            f'SetEnv "HOME={self.home}"\n' + (f"ForceCommand {wrapper}\n" if forced else "")
            # gives each server a home of its own; sshd passes no signals to a forced command
        )

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port, self.user)

    @property
    def host_key(self) -> str:
        return " ".join((self.root / "host_key.pub").read_text().split()[:2])

    def new_host_key(self, kind: str = "ed25519") -> None:
        for name in ("host_key", "host_key.pub"):
            (self.root / name).unlink(missing_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(self.root / "host_key")], check=True
        )

    def start(self) -> "Sshd":
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with (self.root / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["/usr/sbin/sshd", "-D", "-e", "-f", str(self.root / "config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._listens, what="sshd listening")
        return self

    def _listens(self) -> bool:
        """Its own word for it: whoever answers on its port may be somebody else."""
        assert self._process is not None
        said = (self.root / "log").read_text(errors="replace")
        if self._process.poll() is not None:
            raise AssertionError("sshd ended: " + said[-500:])
        return f"Server listening on 127.0.0.1 port {self.port}." in said

    def children(self) -> list[int]:
        """Process ids of everything below the listening sshd."""
        if self._process is None:
            return []
        found = [self._process.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                found += [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found[1:]

    def drop(self) -> None:
        """Kill every open connection; the server goes on listening."""
        for pid in self.children():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        if self._process is not None:
            self.drop()
            self._process.terminate()
            self._process.wait(10)
            self._process = None
