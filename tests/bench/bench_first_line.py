"""From "SSH answers" to the first line of the user's output, against bare ``rsync`` and ``ssh host command``.

Ours is the real engine with a rented rehearsal machine (OpenSSH): from the moment in its log at which SSH
answered to the first byte of the command's output at a client that follows; the machine is checked, the
supervisor is installed and the code is sent in between. Bare: the same files by ``rsync -a`` and one
``ssh``, to the same machine, while it does nothing else.
Run: ``python -m tests.bench.bench_first_line [--quick]``. Aim: within 2 s of it.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from choline_tui.config.edit import set_value
from choline_tui.config.paths import Paths
from choline_tui.services import Choline
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.remotes import ProcessBackend
from tests.bench.report import Figure, main, missing

AIM_S = 2.0
FILES = 20


async def ours(choline: Choline, project: Path) -> tuple[str, float]:
    """The run and the seconds it took."""
    run = await choline.start(choline.request(project=str(project)))
    answered = None
    async for item in choline.follow(run.id):
        if item.event is not None and item.event.text.startswith("SSH answers"):
            answered = item.event.at
        if item.log and item.source == "run":
            assert item.log.startswith(b"first") and answered is not None
            return run.id, time.time() - answered
    raise AssertionError("no output came")


async def bare(key: Path, port: int, seen: Path, project: Path) -> float:
    ssh = ["ssh", "-F", "/dev/null", "-i", str(key), "-p", str(port), "-o", "StrictHostKeyChecking=no"]
    ssh += ["-o", f"UserKnownHostsFile={seen}", "-o", "LogLevel=ERROR"]
    begun = time.perf_counter()
    for words in (
        ["rsync", "-a", "-e", " ".join(ssh), f"{project}/", "root@127.0.0.1:bare/"],
        [*ssh, "root@127.0.0.1", "cd bare && echo first"],
    ):
        child = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        out, _ = await child.communicate()
        assert child.returncode == 0
    assert out == b"first\n"
    return time.perf_counter() - begun


async def bench(rounds: int) -> list[Figure]:
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        project, home = root / "project", root / "home"
        project.mkdir()
        for n in range(FILES):
            (project / f"{n}.py").write_bytes(os.urandom(2000))
        (project / "choline.toml").write_text('command = "echo first; sleep 60"\nquery = "num_gpus=1"\n')
        paths = Paths(home).ensure()
        # how soon a rental's end is seen; the figure is not touched by it
        for setting, value in (("boot_poll", "0.5"), ("watch", "1s"), ("settle", "2s")):
            set_value(paths, f"engine.{setting}", value)
        backend = ProcessBackend(root / "market", "openssh")
        async with Simulator(offers=300, boot=1.0, backend=backend, moving=False) as sim:
            environ = {**os.environ, "VAST_URL": sim.url, "VAST_API_KEY": "rehearsal"}
            environ |= {"CHOLINE_HOME": str(home), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
            async with Choline(home, environ) as choline:
                for number in range(rounds):
                    run, took = await ours(choline, project)
                    times["ours"].append(took)
                    (contract,) = sim.contracts.alive()
                    assert contract.endpoint is not None
                    (key,) = (p.with_suffix("") for p in paths.ssh_dir.glob("*.pub"))
                    seen = root / f"seen{number}"
                    times["bare"].append(await bare(key, contract.endpoint.port, seen, project))
                    await choline.stop(run, drop_results=True)
                    await choline.wait(run)
                await choline.engine_stop()
    middle = {who: statistics.median(found) for who, found in times.items()}
    return [Figure("first line of output / rsync + ssh", middle["ours"], middle["bare"], AIM_S, extra=True)]


def measure(quick: bool) -> list[Figure]:
    missing("rsync", "ssh", "sshd", "git")
    return asyncio.run(bench(1 if quick else 7))


if __name__ == "__main__":
    main(measure, __doc__)
