"""The README's script, as it stands there, does the whole job."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from choline_tui.cli.simulate import configure_simulate
from choline_tui.config.paths import Paths
from choline_tui.services import Choline
from choline_tui.simulator.faults import CONTRACT_FAULTS, REQUEST_FAULTS, FaultPlan
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.remotes import ProcessBackend
from tests.support import eventually

ROOT = Path(__file__).resolve().parents[2]


def script() -> str:
    found = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(found) == 1
    return str(found[0])


def test_the_bad_day_is_one() -> None:
    found = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (day,) = [text for text in found if "[[fault]]" in text]
    assert [rule.what for rule in FaultPlan.from_toml(day).rules] == ["lost", "ssh-refused"]


def test_help_has_every_fault_by_name() -> None:
    parser = argparse.ArgumentParser()
    configure_simulate(parser)
    words = set((parser.epilog or "").split())
    assert not (CONTRACT_FAULTS | REQUEST_FAULTS) - words


def test_the_script_is_about_twenty_lines() -> None:
    body = script().split("async def main")[1].split("asyncio.run")[0]
    assert len([line for line in body.splitlines() if line.strip()]) <= 20


async def test_the_script_does_the_whole_job(tmp_path: Path, home: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(
        "import os\nprint('trained on', os.environ['CHOLINE_NUM_GPUS'])\n"
        "open(os.environ['CHOLINE_RESULTS'] + '/model', 'w').write('m')\n"
    )
    (tmp_path / "script.py").write_text(script())
    backend = ProcessBackend(tmp_path / "market")
    async with Simulator(offers=800, boot=1.0, backend=backend, moving=False) as sim:
        environ = {**os.environ, "VAST_URL": sim.url, "VAST_API_KEY": "rehearsal", "CHOLINE_HOME": str(home)}
        environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *sys.path])
        done = await eventually(
            _run([sys.executable, str(tmp_path / "script.py")], project, environ),
            within=90,
            what="the script",
        )
        assert done.returncode == 0, done.stderr
        assert "trained on 1" in done.stdout and "succeeded" in done.stdout
        assert [c.destroyed is not None for c in sim.contracts.history] == [True]
        async with Choline(home, environ, start_engine=False) as choline:
            await choline.engine_stop()
        await eventually(lambda: not Paths(home).engine_socket.exists(), what="the engine ends")
    assert [p.read_text() for p in project.glob("results/*/results/model")] == ["m"]


def _run(command: list[str], cwd: Path, env: dict[str, str]):  # type: ignore[no-untyped-def]
    """A poller for a program's end, so that the market's loop goes on meanwhile."""
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def poll() -> "subprocess.CompletedProcess[str] | None":
        if process.poll() is None:
            return None
        out, err = process.communicate()
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    return poll
