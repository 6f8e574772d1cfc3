"""Results coming home against plain ``rsync -a -e ssh`` on a private sshd on loopback.

``python -m tests.bench.bench_results [--quick] [--json]``: 2 GB in eight checkpoints, of which one is written
anew before each sync (aim: within 1.1 times); then nothing is new. Ours stages what arrives, looks twice
whether it changed, keeps the version before, and replaces it at once. The ways take turns; the median of
five rounds counts. ``TMPDIR`` says on which disk.
"""

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from choline_tui.kernel.session import ResultRules
from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.keys import ensure_key
from choline_tui.ssh.staged import bring
from tests.bench.bench_transfer import AIM, plain, timed
from tests.bench.report import Figure, main, missing
from tests.ssh.server import Sshd

FILES = 8


def write(path: Path, megabytes: int, age_s: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    then = time.time() - age_s
    os.utime(path, (then, then))


async def bench(megabytes: int, rounds: int) -> dict[str, tuple[float, float]]:
    """By step: seconds of ours and of plain rsync."""
    times: dict[str, dict[str, list[float]]] = {"one new": {}, "none new": {}}
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        key = ensure_key(root / "key", "bench")
        server = Sshd(root / "server", key.public).start()
        pool = SshPool(key, known_hosts_dir=root / "known", ssh_config=None, use_agent=False)
        try:
            conn = await pool.connect([server.address], name="bench")
            there, ours, peer = server.home / "results", root / "ours", root / "peer"
            for n in range(FILES):
                write(there / f"step-{n}.pt", megabytes, 9000 - n)

            async def bring_ours() -> None:
                await bring(conn, "results", ours, "results", rules=ResultRules(versions=1), final=False)

            async def bring_plain() -> None:
                await plain(server, key.private_path, f"{server.user}@127.0.0.1:results/", f"{peer}/")

            ways = {"ours": bring_ours, "plain": bring_plain}
            for way in ways.values():
                await way()
            for n in range(rounds):
                write(there / f"step-{n % FILES}.pt", megabytes, 8000 - n)
                order = list(ways) if n % 2 else list(reversed(ways))
                for step in times:
                    for name in order:
                        times[step].setdefault(name, []).append(await timed(ways[name]))
        finally:
            await pool.close()
            server.stop()
    return {
        step: (statistics.median(both["ours"]), statistics.median(both["plain"]))
        for step, both in times.items()
    }


def measure(quick: bool) -> list[Figure]:
    missing("rsync", "ssh", "ssh-keygen", "sshd")
    result = asyncio.run(bench(*((2, 1) if quick else (250, 5))))
    size = f"{FILES * (2 if quick else 250) / 1000:g} GB of results"
    return [Figure(f"{size}, {step} / rsync -a", *both, AIM) for step, both in result.items()]


if __name__ == "__main__":
    main(measure, __doc__)
