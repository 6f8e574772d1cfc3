"""``--place here`` with everything real: the engine's process, the supervisor, the command, this computer."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from choline_tui.config.paths import Paths
from choline_tui.model.run import Outcome
from choline_tui.services import Choline
from tests.support import needs

COMMAND = (
    'echo "seed $SEED in $(basename "$PWD") of $(basename "$HOME")"; echo part >"$CHOLINE_RESULTS/part"; '
    'while [ ! -e go ]; do sleep 0.05; done; cat go >"$CHOLINE_RESULTS/out"; exit 0'
)


@contextlib.asynccontextmanager
async def home(top: Path) -> AsyncIterator[tuple[Choline, Path]]:
    project = top / "project"
    project.mkdir()
    (project / "choline.toml").write_text(f"command = '''{COMMAND}'''\n[env]\nSEED = \"7\"\n")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("VAST")}
    # no key, and a market that does not answer: it is not asked
    environ |= {"CHOLINE_HOME": str(top / "home"), "VAST_URL": "http://127.0.0.1:9", "HOME": str(top)}
    environ["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    async with Choline(top / "home", environ) as choline:
        try:
            yield choline, project
        finally:
            await choline.engine_stop()
            _end_supervisor(choline.paths)


def _end_supervisor(paths: Paths) -> None:
    """It would end by itself after a while with nothing to do."""
    beat = paths.here_dir / "choline/.system/supervisor.json"
    if beat.exists():
        import json

        with contextlib.suppress(ProcessLookupError):
            os.kill(int(json.loads(beat.read_text())["pid"]), signal.SIGTERM)


async def heard(choline: Choline, run: str, words: bytes) -> None:
    got = b""
    async for item in choline.follow(run):
        got += item.log
        if words in got:
            return
    raise AssertionError(got)


async def test_a_run_here_is_a_run_and_costs_nothing(tmp_path: Path) -> None:
    needs("git")
    async with home(tmp_path) as (choline, project):
        card = await choline.plan(choline.request(project=str(project), place="here"))
        assert card.price == 0 and card.offer is None and card.plan.cap == 0
        run = (await choline.start(choline.request(project=str(project), place="here"))).id
        await heard(choline, run, b"seed 7 in src of here\n")

        words = await choline.exec_command(run, 'echo "$CHOLINE_RUN $SEED"')
        child = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        assert (await child.communicate())[0] == f"{run} 7\n".encode()
        shell = await choline.ls_command(run, "results")
        child = await asyncio.create_subprocess_exec(*shell, stdout=asyncio.subprocess.PIPE)
        assert b"part" in (await child.communicate())[0]

        os.kill((await choline.engine_status())["pid"], signal.SIGKILL)
        await choline.close()  # a line that was not used yet does not know that its engine is dead
        (project / "go").write_text("went")
        sent = await choline.push(run)
        assert sent["files"] == ["go"]
        ended = await choline.wait(run)
        assert ended.outcome is Outcome.SUCCEEDED and ended.results_complete, ended.reason
        assert (Path(ended.plan.results_into) / "results/out").read_text() == "went"
        view = choline.show(run)
        assert view.rentals == [] and view.gone and view.cost(2e9) == 0 and choline.money(2e9).spent == 0
        assert len(view.attempts) == 1, "the engine that died did not begin it anew"

        (project / "go").unlink()
        second = (await choline.start(choline.again(run, same_code=False))).id
        assert choline.show(second).run.plan.place == "here"
        await heard(choline, second, b"seed 7")
        await choline.stop(second)
        ended = await choline.wait(second)
        assert ended.outcome is Outcome.STOPPED and ended.results_complete, ended.reason
        assert (Path(ended.plan.results_into) / "results/part").read_text() == "part\n"
        left = choline.paths.here_dir / "choline"
        assert not (left / run).exists() and not list((left / ".system/jobs").glob(f"{run}-*"))
