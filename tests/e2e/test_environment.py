"""A project's packages, from its files to a run that imports them: real engine, sshd, uv, package index."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

from choline_tui.config.edit import set_value
from choline_tui.config.paths import Paths
from choline_tui.model.run import Outcome, RentalState, Run
from choline_tui.services import Choline
from choline_tui.simulator.backend import Launch
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.remotes import ProcessBackend
from tests.support import needs
from tests.support.package_index import PackageIndex
from tests.support.uv import uv_program

TRAIN = """
import os, sys, alpha
print("trained with", alpha.__version__, "in", sys.prefix)
open(os.path.join(os.environ["CHOLINE_RESULTS"], "model"), "w").write(alpha.__version__)
"""


class WithUv(ProcessBackend):
    """Machines that have uv, as a person's own image may."""

    async def create(self, launch: Launch) -> None:
        await super().create(launch)
        place = self.home(launch.contract) / ".local/bin"
        place.mkdir(parents=True)
        await asyncio.to_thread(shutil.copy2, uv_program(), place / "uv")


async def test_a_project_with_packages(tmp_path: Path, home: Path) -> None:
    needs("sshd", "ssh", "rsync")
    index = PackageIndex(tmp_path / "index")
    index.add("alpha", "1.0")
    index.add("alpha", "2.0")
    index.start()
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(TRAIN)
    (project / "requirements.txt").write_text("alpha<2\n")
    (project / "choline.toml").write_text(
        f'command = "python train.py"\nname = "net"\ngpu = "1x4090"\n[environment]\nindex = "{index.url}"\n'
    )
    paths = Paths(home).ensure()
    for key, value in (("engine.boot_poll", "0.5"), ("engine.watch", "1s")):
        set_value(paths, key, value)
    backend = WithUv(tmp_path / "market", "openssh")
    try:
        async with Simulator(offers=200, boot=0.2, backend=backend, moving=False) as sim:
            env = {**os.environ, "VAST_URL": sim.url, "VAST_API_KEY": "rehearsal", "CHOLINE_HOME": str(home)}
            env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *sys.path])
            async with Choline(home, env) as choline:

                async def run(**changes: object) -> tuple[Run, str, list[str]]:
                    asked = {"project": str(project), "keep_s": 1800, "env": {"UV_HTTP_RETRIES": "0"}}
                    started = await choline.start(choline.request(**asked, **changes))
                    ended = await choline.wait(started.id, until="ended")
                    log = choline.log_file(started.id, 1, "run")
                    told = [event.text for event in choline.events(started.id)]
                    return ended, log.read_text() if log.exists() else "", told

                first, log, told = await run()
                assert first.outcome is Outcome.SUCCEEDED, first.reason
                assert "trained with 1.0 in" in log and ".system/envs/" in log
                assert (Path(first.plan.results_into) / "results/model").read_text() == "1.0"
                assert any(text.startswith("environment: built in ") for text in told)
                # the next one on the machine finds it there; what cannot be had is named
                (project / "train.py").write_text(TRAIN + "print('again')\n")
                second, log, told = await run(on=first.id)
                assert second.outcome is Outcome.SUCCEEDED and "again" in log
                assert any(text.startswith("environment: reused in ") for text in told)
                (project / "requirements.txt").write_text("alpha<2\nnosuchthing\n")
                third, log, _ = await run(on=second.id)
                assert third.outcome is Outcome.FAILED and not log and "(nosuchthing)" in third.reason
                rental = choline.show(third.id).rental
                assert rental is not None and rental.state is RentalState.HELD  # as long as was asked for
                await choline.destroy(rental.id)
                await choline.wait(third.id)
                assert not sim.contracts.alive()
                await choline.engine_stop()
    finally:
        index.stop()
