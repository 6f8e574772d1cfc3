"""Results by the host's copier: of a machine that stands, or that nobody reaches by its own SSH."""

import json
from pathlib import Path

from choline_tui.kernel import layout
from choline_tui.kernel import manifest as manifests
from choline_tui.kernel.errors import TransferFailed
from choline_tui.kernel.protocol import JobStatus
from choline_tui.kernel.session import RULES, Address, OnProgress, ResultRules, Transfer
from choline_tui.kernel.text import plain
from choline_tui.provision.session import added, after, check_run
from choline_tui.ssh import copier
from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.connection import SshConnection
from choline_tui.ssh.rsync import rsync_here
from choline_tui.ssh.staged import bring

__all__ = ["CopierSession"]

MAX_STATUS = 64 * 1024
HOME = "/root"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-")


class CopierSession:
    """``kernel.session.HostCopier`` over SSH and rsync.

    ``host``, ``port``: where the market says that the host's copier answers. ``home``: the remote user's home
    in the container, as the machine said. ``name``: of the connection in the pool. ``host_key``: the pinned
    key of the host; '' at first contact, when whatever answers is pinned and told as ``host_key``.
    """

    def __init__(
        self,
        pool: SshPool,
        host: str,
        port: int,
        *,
        contract: int,
        home: str,
        name: str,
        host_key: str = "",
    ) -> None:
        self._pool = pool
        self._address = Address(host, port, copier.USER, "direct")
        self._module = f"C.{contract}"
        # rsync's daemon takes some characters of a path for patterns
        sound = home.startswith("/") and set(home) <= _PLAIN and ".." not in home
        self._home = (home if sound else HOME).rstrip("/")
        self._name = name
        self.host_key = host_key

    async def _connection(self) -> SshConnection:
        if not rsync_here():
            raise TransferFailed(
                "The host's copier speaks rsync over ssh, and one of them is missing here.",
                hint="Install rsync (3.1 or later) and OpenSSH's client on this computer.",
            )
        conn = await self._pool.connect([self._address], host_key=self.host_key or None, name=self._name)
        self.host_key = conn.host_key
        if not conn.openssh.usable:
            raise TransferFailed("rsync cannot be used with the path of choline's directory.")
        conn.module = self._module
        conn.facts["has rsync"] = True
        return conn

    async def close(self) -> None:
        await self._pool.forget(self._name)

    async def job(self, job: str) -> JobStatus | None:
        check_run(job)
        path = f"{self._home}/{layout.job_dir(job)}/status.json"
        data = await copier.small_file(await self._connection(), path, MAX_STATUS)
        if data is None:
            return None
        try:
            status = JobStatus.from_wire(json.loads(data))
        except (ValueError, RecursionError):
            raise TransferFailed("What the machine's disk says of the job makes no sense.") from None
        if status.id != job:
            raise TransferFailed("The machine's disk speaks of another job.")
        return status

    async def fetch(
        self,
        run: str,
        into: str,
        *,
        final: bool,
        max_bytes: int = 0,
        on_progress: OnProgress | None = None,
        rules: ResultRules = RULES,
    ) -> Transfer:
        """``final``: compared by rsync's checksums of the whole files; what differs is fetched once more
        first. ``TransferFailed`` names what still differs (``details['files']``, at most 100)."""
        check_run(run)
        base = Path(into)
        base.mkdir(parents=True, exist_ok=True)
        total = await self._bring(run, base, final, max_bytes, on_progress, rules)
        if not final:
            return total
        differ = await self._differing(run, base, rules)
        if differ:
            added(total, await self._bring(run, base, final, max_bytes, on_progress, rules, differ))
            differ = await self._differing(run, base, rules)
        if differ:
            names = [plain(name.decode("utf-8", "replace"))[:200] for name in differ[:100]]
            raise TransferFailed(
                f"{len(differ)} result file(s) did not arrive whole, the first is {names[0]}.",
                hint=" ".join(["choline keeps the machine and tries again.", *total.skipped[:3]])[:600],
                files=names,
            )
        return total

    async def _bring(
        self,
        run: str,
        base: Path,
        final: bool,
        max_bytes: int,
        on_progress: OnProgress | None,
        rules: ResultRules,
        again: list[bytes] | None = None,
    ) -> Transfer:
        total = Transfer()
        conn = await self._connection()
        for part in manifests.PARTS:
            inside = f"{part}/".encode()
            named = tuple(name[len(inside) :] for name in again or () if name.startswith(inside))
            if again and not named:
                continue
            done = await bring(
                conn,
                f"{self._home}/{layout.run_dir(run)}/{part}",
                base,
                part,
                rules=rules,
                final=final,
                max_bytes=max(1, max_bytes - total.bytes) if max_bytes > 0 else 0,
                on_progress=after(total, on_progress),
                again=named,
                method="rsync",
            )
            added(total, done)
        return total

    async def _differing(self, run: str, base: Path, rules: ResultRules) -> list[bytes]:
        path = f"{self._home}/{layout.run_dir(run)}"
        return await copier.unequal(
            await self._connection(), path, base, manifests.PARTS, list(rules.exclude)
        )
