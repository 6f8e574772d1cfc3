"""Transfers against plain ``rsync -a -e ssh`` on a private sshd on loopback.

``python -m tests.bench.bench_transfer [--quick] [--json]``: 10,000 small files and one of 1 GB; up, again
unchanged, down; by rsync (aim: within 1.1 times) and as a tar stream over the connection that is open
already, for where there is no rsync. The ways take turns; the best of three rounds counts. ``TMPDIR``
says on which disk.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.connection import SshConnection
from choline_tui.ssh.keys import ensure_key
from choline_tui.ssh.transfer import Method, download, upload
from tests.bench.report import Figure, main, missing
from tests.ssh.server import Sshd

AIM = 1.1


def make(base: Path, files: int, megabytes: int) -> None:
    for number in range(files):
        path = base / f"d{number % 100}" / f"file {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1000))
    if megabytes:
        base.mkdir(parents=True, exist_ok=True)
        with (base / "large").open("wb") as file:
            for _ in range(megabytes):
                file.write(os.urandom(1_000_000))


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def plain(server: Sshd, key: Path, source: str, target: str) -> None:
    shell = (
        f"ssh -F /dev/null -i {key} -p {server.port} -o BatchMode=yes -o StrictHostKeyChecking=no "
        f"-o UserKnownHostsFile={server.root}/seen -o LogLevel=ERROR"
    )
    child = await asyncio.create_subprocess_exec("rsync", "-a", "-e", shell, source, target)
    if await child.wait() != 0:
        raise SystemExit("plain rsync failed")


async def one_round(
    server: Sshd, conn: SshConnection, key: Path, base: Path, scratch: Path
) -> dict[str, dict[str, float]]:
    times: dict[str, dict[str, float]] = {}
    remote = f"{server.user}@127.0.0.1:"
    methods: list[Method] = ["rsync", "tar"]
    for who in ("plain", *methods):
        there, back = f"to-{who}", scratch / f"back-{who}"
        shutil.rmtree(server.home / there, ignore_errors=True)
        shutil.rmtree(back, ignore_errors=True)
        if who == "plain":
            steps: dict[str, Callable[[], Awaitable[object]]] = {
                "up": lambda t=there: plain(server, key, f"{base}/", f"{remote}{t}/"),  # type: ignore[misc]
                "again": lambda t=there: plain(server, key, f"{base}/", f"{remote}{t}/"),  # type: ignore[misc]
                "down": lambda t=there, b=back: plain(server, key, f"{remote}{t}/", f"{b}/"),  # type: ignore[misc]
            }
        else:
            method: Method = "rsync" if who == "rsync" else "tar"
            steps = {
                "up": lambda t=there, m=method: upload(conn, base, t, method=m),  # type: ignore[misc]
                "again": lambda t=there, m=method: upload(conn, base, t, method=m),  # type: ignore[misc]
                "down": lambda t=there, b=back, m=method: download(conn, t, b, method=m),  # type: ignore[misc]
            }
        times[who] = {step: await timed(work) for step, work in steps.items()}
    return times


async def bench(files: int, megabytes: int, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    result = {}
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        key = ensure_key(root / "key", "bench")
        server = Sshd(root / "server", key.public).start()
        pool = SshPool(key, known_hosts_dir=root / "known", ssh_config=None, use_agent=False)
        try:
            conn = await pool.connect([server.address], name="bench")
            for what, counts in {"small files": (files, 0), "one large": (0, megabytes)}.items():
                base = root / what.replace(" ", "-")
                make(base, *counts)
                best: dict[str, dict[str, float]] = {}
                for _ in range(rounds):
                    for who, steps in (await one_round(server, conn, key.private_path, base, root)).items():
                        for step, seconds in steps.items():
                            row = best.setdefault(who, {})
                            row[step] = min(seconds, row.get(step, seconds))
                result[what] = best
                shutil.rmtree(base)
        finally:
            await pool.close()
            server.stop()
    return result


def measure(quick: bool) -> list[Figure]:
    missing("rsync", "ssh", "ssh-keygen", "sshd")
    result = asyncio.run(bench(*((200, 5, 1) if quick else (10_000, 1000, 3))))
    figures = []
    for way, name in (("rsync", ""), ("tar", " (tar)")):
        for what, best in result.items():
            for step, peer in best["plain"].items():
                aim = AIM if way == "rsync" else None
                figures.append(Figure(f"{what} {step}{name} / rsync -a", best[way][step], peer, aim))
    return figures


if __name__ == "__main__":
    main(measure, __doc__)
