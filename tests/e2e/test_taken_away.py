"""A machine that is outbid with the checkpoint on its disk: real engine, sshd, rsync daemon of the host."""

from functools import partial
from pathlib import Path
from typing import Any

from choline_tui.config.edit import set_value
from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import CholineError
from choline_tui.model.run import Outcome, RunState
from tests.e2e.rehearsed import Rehearsed, rehearsed
from tests.support import eventually, needs

TRAIN = """
import os, time
keep, out = os.environ["CHOLINE_KEEP"], os.environ["CHOLINE_RESULTS"]
place = os.path.join(keep, "checkpoint")
if os.path.exists(place):
    print("goes on from", len(open(place, "rb").read()), flush=True)
    open(os.path.join(out, "model"), "w").write("whole")
else:
    open(os.path.join(out, "epoch one \\xfc.bin"), "wb").write(os.urandom(3_000_000))
    open(place + ".new", "wb").write(b"weights" * 100_000)
    os.rename(place + ".new", place)
    print("saved", flush=True)
    time.sleep(600)
"""


def said(all_of_it: Rehearsed, run: str) -> str:
    return "\n".join(event.text for event in all_of_it.choline.events(run))


async def test_its_checkpoint_comes_by_the_hosts_copier_and_the_run_goes_on(
    tmp_path: Path, home: Path
) -> None:
    needs("sshd", "ssh", "rsync")
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(TRAIN)
    (project / "choline.toml").write_text('command = "python3 train.py"\ngpu = "1x4090"\n')
    async with rehearsed(tmp_path / "market", home) as all_of_it:
        # nothing comes home while it runs: what is there in the end came by the copier
        whole = [("engine.copy_after", "1h"), ("run.results_every", "1h"), ("run.results_settle", "1h")]
        for key, value in whole:
            set_value(Paths(home), key, value)
        backend: Any = all_of_it.sim.backend
        assert backend.copies, "without isolation there is no copier: install bubblewrap"
        run = (await all_of_it.start(project, type="interruptible", premium=50.0)).id
        log = all_of_it.choline.log_file(run, 1, "run")
        await eventually(lambda: log.exists() and "saved" in log.read_text(), what="the checkpoint")
        into = Path(all_of_it.choline.show(run).run.plan.results_into)
        (contract,) = all_of_it.sim.contracts.alive()
        disk = backend.home(contract.id) / "choline" / run
        (saved,) = (disk / "results").iterdir()
        there = {"keep/checkpoint": b"weights" * 100_000, f"results/{saved.name}": saved.read_bytes()}

        assert not list(into.rglob("*.bin")), "it is on the machine alone"
        contract.fate.outbid = True
        contract.wake.set()
        interrupted = partial(all_of_it.choline.show, run)
        await eventually(lambda: interrupted().run.state is RunState.INTERRUPTED, what="it is outbid")
        pulled = await _pulled(all_of_it, run)
        assert pulled["copied"] == "it stands" and pulled["files"] == 2
        assert {name: (into / name).read_bytes() for name in there} == there

        await all_of_it.choline.engine_stop()
        await eventually(lambda: not Paths(home).engine_socket.exists(), what="the engine ends")
        set_value(Paths(home), "engine.copy_after", "1s")
        for name in there:
            (into / name).unlink()
        ended, _, _ = await all_of_it.ended(run)
        words = said(all_of_it, run)
        assert ended.outcome is Outcome.SUCCEEDED and ended.results_complete, words
        assert "results are home by the host's copier" in words, words
        second = all_of_it.choline.log_file(run, 2, "run").read_text()
        assert "goes on from 700000" in second, second
        assert (into / "results" / "model").read_text() == "whole"
        assert {name: (into / name).read_bytes() for name in there} == there
        assert not contract.alive
        await all_of_it.choline.wait(run)
        assert not all_of_it.sim.contracts.alive()


async def _pulled(all_of_it: Rehearsed, run: str) -> dict[str, Any]:
    """As soon as the engine has seen that the machine stands; until then it is asked over SSH."""

    async def pull() -> dict[str, Any] | None:
        try:
            answer = await all_of_it.choline.pull(run)
        except CholineError:
            return None
        return answer if "copied" in answer else None

    found: dict[str, Any] = await eventually(pull, what="by the copier")
    return found
