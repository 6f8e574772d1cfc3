"""The second run on a machine that was kept: until its first line of output, against bare ``rsync`` and
``ssh host command``.

The first run has ended and its rental is kept; one file is edited, and ``choline run --on`` starts the
next one there (the real engine, a rehearsal machine behind OpenSSH). Counted from the moment the machine is
the second run's; the whole of it, from the request on (the code is frozen first), is told as well.
Run: ``python -m tests.bench.bench_warm [--quick]``. Aim: 2 s at most, whatever the peer takes.
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
from tests.bench.bench_first_line import FILES, bare
from tests.bench.report import Figure, main, missing

AIM_S = 2.0


async def once(choline: Choline, project: Path, on: str) -> tuple[str, float, float]:
    """The run, the seconds from the machine to its first output, and those from the request to it."""
    asked = time.time()
    run = await choline.start(choline.request(project=str(project), on=on, keep_s=1800.0))
    taken = first = 0.0
    async for item in choline.follow(run.id, until="ended"):
        if item.event is not None and item.event.text.startswith(("taken over", "SSH answers")):
            taken = item.event.at
        if item.log and item.source == "run" and not first:
            assert item.log.startswith(b"first")
            first = time.time()
    assert first and taken, "no output came"
    return run.id, first - taken, first - asked


async def bench(rounds: int) -> list[Figure]:
    times: dict[str, list[float]] = {"warm": [], "whole": [], "bare": []}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        project, home = root / "project", root / "home"
        project.mkdir()
        for n in range(FILES):
            (project / f"{n}.py").write_bytes(os.urandom(2000))
        (project / "choline.toml").write_text('command = "echo first"\nquery = "num_gpus=1"\n')
        paths = Paths(home).ensure()
        for setting, value in (("boot_poll", "0.5"), ("watch", "1s"), ("settle", "2s")):
            set_value(paths, f"engine.{setting}", value)
        backend = ProcessBackend(root / "market", "openssh")
        async with Simulator(offers=300, boot=1.0, backend=backend, moving=False) as sim:
            environ = {**os.environ, "VAST_URL": sim.url, "VAST_API_KEY": "rehearsal"}
            environ |= {"CHOLINE_HOME": str(home), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
            async with Choline(home, environ) as choline:
                last, _, _ = await once(choline, project, "")
                (contract,) = sim.contracts.alive()
                assert contract.endpoint is not None
                (key,) = (p.with_suffix("") for p in paths.ssh_dir.glob("*.pub"))
                for number in range(rounds):
                    (project / "0.py").write_bytes(os.urandom(2000))
                    last, warm, whole = await once(choline, project, last)
                    times["warm"].append(warm)
                    times["whole"].append(whole)
                    seen = root / f"seen{number}"
                    times["bare"].append(await bare(key, contract.endpoint.port, seen, project))
                await choline.destroy(choline.show(last).rentals[0].id)
                await choline.wait(last)
                await choline.engine_stop()
    middle = {who: statistics.median(found) for who, found in times.items()}
    return [
        Figure("warm machine to first line / rsync + ssh", middle["warm"], middle["bare"], AIM_S, extra=True),
        Figure("request to first line, warm / rsync + ssh", middle["whole"], middle["bare"]),
    ]


def measure(quick: bool) -> list[Figure]:
    missing("rsync", "ssh", "sshd", "git")
    return asyncio.run(bench(1 if quick else 7))


if __name__ == "__main__":
    main(measure, __doc__)
