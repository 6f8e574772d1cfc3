"""From "SSH answers" to the first line of the user's output, against bare ``ssh host command``.

Both send the same files first (bare: by rsync over ssh). A private sshd on loopback, real supervisor.
Prints a table and JSON. Run: ``python -m tests.bench.bench_first_line [--files 20] [--rounds 5]``.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from choline_tui.kernel.protocol import JobSpec, Lease
from choline_tui.kernel.session import Item
from choline_tui.provision.session import SshSession
from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.keys import ensure_key
from tests.ssh.server import Sshd


async def ours(root: Path, sshd: Sshd, project: Path) -> float:
    pool = SshPool(
        ensure_key(root / "key", "bench"), known_hosts_dir=root / "known", ssh_config=None, use_agent=False
    )
    begun = time.perf_counter()
    session = SshSession(pool, [sshd.address], name="bench")
    try:
        await session.probe()
        await session.prepare("r", Lease(600))
        await session.send("r", [Item(str(project), "src")])
        await session.submit(JobSpec("r-1", "r", "echo first; sleep 60"))
        async for frame in session.stream("r-1", {}):
            if frame.source == "run":
                return time.perf_counter() - begun
        raise AssertionError("no output came")
    finally:
        await pool.close()


def bare(root: Path, sshd: Sshd, project: Path) -> float:
    key = ensure_key(root / "key", "bench").private_path
    ssh = f"ssh -q -F /dev/null -i {key} -p {sshd.port}"
    ssh += " -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    host = f"{sshd.user}@127.0.0.1"
    begun = time.perf_counter()
    subprocess.run(["rsync", "-a", "-e", ssh, f"{project}/", f"{host}:bare"], check=True)
    done = subprocess.run([*ssh.split(), host, "cd bare; echo first"], capture_output=True, check=True)
    assert done.stdout == b"first\n"
    return time.perf_counter() - begun


def end_of(home: Path) -> None:
    system = home / "choline/.system"
    with contextlib.suppress(OSError, ValueError):
        os.killpg(int((system / "jobs/r-1/pgid").read_text()), signal.SIGKILL)
    with contextlib.suppress(OSError, ValueError):
        os.kill(json.loads((system / "supervisor.json").read_text())["pid"], signal.SIGKILL)
    shutil.rmtree(home / "choline", ignore_errors=True)
    shutil.rmtree(home / "bare", ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        project = root / "project"
        project.mkdir()
        for n in range(args.files):
            (project / f"{n}.py").write_bytes(os.urandom(2000))
        sshd = Sshd(root / "server", ensure_key(root / "key", "bench").public).start()
        times: dict[str, list[float]] = {"choline": [], "bare": []}
        try:
            for _ in range(args.rounds):
                times["bare"].append(bare(root, sshd, project))
                times["choline"].append(asyncio.run(ours(root, sshd, project)))
                end_of(sshd.home)
        finally:
            end_of(sshd.home)
            sshd.stop()
    found = {who: statistics.median(values) for who, values in times.items()}
    print(f"first line: choline {found['choline']:.2f} s, bare ssh and rsync {found['bare']:.2f} s")
    extra = found["choline"] - found["bare"]
    print(json.dumps({**found, "extra_s": extra, "aim_s": 2.0, "held": extra < 2.0}))


if __name__ == "__main__":
    main()
