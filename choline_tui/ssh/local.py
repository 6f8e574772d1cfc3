"""This computer in the place of a remote: what would go over SSH goes to processes of ours.

``LocalPool`` gives the same ``SshConnection`` as ``SshPool``, so that whatever is done on a remote is done
here by the same code; its home directory is a private one, and bytes go as a tar stream.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from choline_tui.kernel.errors import SystemFault
from choline_tui.kernel.session import Address
from choline_tui.ssh.connection import SshConnection

__all__ = ["LocalPool", "environment_here"]

_KEPT = ("PATH", "LANG", "TZ", "USER", "LOGNAME", "SHELL", "LD_LIBRARY_PATH", "TMPDIR")
_KEPT_BEGINNINGS = ("LC_", "CUDA_", "NVIDIA_", "ROCM_", "HIP_", "SSL_", "UV_", "PIP_")
_BUFFER = 1 << 20


def environment_here(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """What a login on a rented machine would give, with this computer's programs and GPUs: no variables of
    the user's own, which a rented machine would not have either."""
    kept = {k: v for k, v in environ.items() if k in _KEPT or k.startswith(_KEPT_BEGINNINGS)}
    return {"PATH": os.defpath, **kept, "HOME": str(home)}


class LocalPool:
    """``home``: the private home directory; made when it is first needed."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self._home = home
        self._environ = environment_here(environ, home)

    async def connect(
        self, addresses: Sequence[Address], *, host_key: str | None = None, name: str = ""
    ) -> SshConnection:
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SystemFault(f"cannot make the directory {self._home}: {error.strerror}") from None
        raw: Any = _Here(self._home, self._environ)
        openssh: Any = _NoOpenSsh()
        return SshConnection(raw, Address("this computer", 0, "", "own"), "here", openssh)

    async def close(self) -> None:
        """Nothing is open: every process ends with who asked for it."""


class _NoOpenSsh:
    usable = False
    """nothing listens here: bytes go as a tar stream"""


class _Here:
    """As much of a connection as ``SshConnection`` asks of one."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self._home, self._environ = home, dict(environ)
        self._closed = False

    async def create_process(self, command: str, *, encoding: None = None) -> "_Process":
        # a session of its own, as sshd makes one: its number is that of the group, which can be ended
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", command,
            cwd=self._home, env=self._environ, start_new_session=True, limit=_BUFFER,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return _Process(child)

    async def run(self, command: str, *, encoding: None = None) -> None:
        process = await self.create_process(command)
        await process.wait_closed()
        process.close()

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True

    abort = close

    async def wait_closed(self) -> None:
        return None


class _Process:
    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        self.stdin, self.stdout, self.stderr = child.stdin, child.stdout, child.stderr
        self.exit_signal = None

    @property
    def exit_status(self) -> int | None:
        code = self._child.returncode
        return code if code is None or code >= 0 else 128 - code

    async def wait_closed(self) -> None:
        await self._child.wait()

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.stdin.close()
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        """To what the command began as well: it leads a group of its own."""
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, number)
