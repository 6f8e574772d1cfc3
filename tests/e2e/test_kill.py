"""kill -9 of the real engine at seeded moments of a real job: real sshd, real rsync, real processes.

The project's path holds spaces, quotes and letters beyond ASCII. Afterwards: one contract was made, the
command ran once, its results are at home, nothing bills.
"""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from choline_tui.config.edit import set_value
from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import EngineError
from choline_tui.model.run import Outcome
from choline_tui.services import Choline
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.remotes import ProcessBackend
from tests.support import eventually, needs

SCRIPT = """
import os, time
out = os.environ["CHOLINE_RESULTS"]
with open(os.path.join(out, "began.txt"), "a") as f:
    f.write("%d\\n" % os.getpid())
for step in range(40):
    print("step", step, flush=True)
    time.sleep(0.1)
with open(os.path.join(out, "naïve 'model' \\"x\\".bin"), "wb") as f:
    f.write(bytes(range(256)) * 4096)
with open(os.path.join(os.environ["CHOLINE_KEEP"], "checkpoint"), "w") as f:
    f.write("40")
"""
KILLS = 5


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_killing_the_engine_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, home: Path, seed: int
) -> None:
    needs("sshd", "ssh", "rsync", "git")
    project = tmp_path / "my 'quoted' \"projéct\" ü"
    project.mkdir()
    (project / "train me.py").write_text(SCRIPT)
    (project / "choline.toml").write_text(
        'command = ["python3", "train me.py"]\ngpu = "1x4090"\n[run]\nresults_every = "1s"\n'
    )
    paths = Paths(home).ensure()
    for key, value in (("engine.settle", "6s"), ("engine.boot_poll", "0.5"), ("engine.watch", "2s")):
        set_value(paths, key, value)
    rng = random.Random(seed)
    backend = ProcessBackend(tmp_path / "market", "openssh")
    async with Simulator(seed=seed, offers=300, boot=1.0, backend=backend, moving=False) as sim:
        environ = {**os.environ, "VAST_URL": sim.url, "VAST_API_KEY": "rehearsal", "CHOLINE_HOME": str(home)}
        environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        async with Choline(home, environ) as choline:
            run = await choline.start(choline.request(project=str(project)))
            for _ in range(KILLS):
                await asyncio.sleep(rng.random() * 2.5)  # the moment is the seed's, nothing is waited for
                await _kill(choline)
            async with asyncio.timeout(120):
                ended = await choline.wait(run.id)
            story = "\n".join(f"{e.at:.2f} {e.kind} {e.text}" for e in choline.events(run.id))
            assert ended.outcome is Outcome.SUCCEEDED, story
            assert [c.destroyed is not None for c in sim.contracts.history] == [True], story
            assert sim.contracts.billing_now() == 0.0 and not sim.contracts.alive()
            into = Path(ended.plan.results_into)
            assert len((into / "results" / "began.txt").read_text().splitlines()) == 1, story
            model = into / "results" / "naïve 'model' \"x\".bin"
            assert model.read_bytes() == bytes(range(256)) * 4096
            assert (into / "keep" / "checkpoint").read_text() == "40"
            log = choline.log_file(run.id, choline.show(run.id).attempts[-1].n, "run").read_text()
            assert log == "".join(f"step {n}\n" for n in range(40)), story
            await choline.engine_stop()
            await eventually(lambda: not paths.engine_socket.exists(), what="the engine ends")


async def _kill(choline: Choline) -> None:
    """SIGKILL to the engine that runs, if one does; the next request starts another."""
    try:
        pid = (await choline.engine_status())["pid"]
    except EngineError:
        return
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: _dead(pid), what="the engine is dead")


def _dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
