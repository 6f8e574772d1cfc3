"""A project's packages, from its files to a run that imports them: real engine, sshd, uv, package index."""

from pathlib import Path

from choline_tui.model.run import Outcome, RentalState
from tests.e2e.rehearsed import rehearsed
from tests.support import needs
from tests.support.package_index import PackageIndex

TRAIN = """
import os, sys, alpha
print("trained with", alpha.__version__, "in", sys.prefix)
open(os.path.join(os.environ["CHOLINE_RESULTS"], "model"), "w").write(alpha.__version__)
"""


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
    keep = {"keep_s": 1800, "env": {"UV_HTTP_RETRIES": "0"}}
    try:
        async with rehearsed(tmp_path / "market", home) as all_of_it:
            first = await all_of_it.start(project, **keep)
            first, log, told = await all_of_it.ended(first.id)
            assert first.outcome is Outcome.SUCCEEDED, first.reason
            assert "trained with 1.0 in" in log and ".system/envs/" in log
            assert (Path(first.plan.results_into) / "results/model").read_text() == "1.0"
            assert any(text.startswith("environment: built in ") for text in told)
            # the next one on the machine finds it there; what cannot be had is named
            (project / "train.py").write_text(TRAIN + "print('again')\n")
            second, log, told = await all_of_it.ended(
                (await all_of_it.start(project, on=first.id, **keep)).id
            )
            assert second.outcome is Outcome.SUCCEEDED and "again" in log
            assert any(text.startswith("environment: reused in ") for text in told)
            (project / "requirements.txt").write_text("alpha<2\nnosuchthing\n")
            third, log, _ = await all_of_it.ended((await all_of_it.start(project, on=second.id, **keep)).id)
            assert third.outcome is Outcome.FAILED and not log and "(nosuchthing)" in third.reason
            rental = all_of_it.choline.show(third.id).rental
            assert rental is not None and rental.state is RentalState.HELD  # as long as was asked for
            await all_of_it.choline.destroy(rental.id)
            await all_of_it.choline.wait(third.id)
            assert not all_of_it.sim.contracts.alive()
    finally:
        index.stop()
