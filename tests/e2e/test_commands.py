"""The commands as a person types them, on real parts: one home, one market, one afternoon."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from choline_tui.config.edit import set_value
from choline_tui.config.paths import Paths
from choline_tui.services import Choline
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.remotes import ProcessBackend
from tests.support import eventually, needs
from tests.support.files_http import Files

SCRIPT = """
import os, sys, time
print("seed", os.environ.get("SEED"), flush=True)
open(os.path.join(os.environ["CHOLINE_RESULTS"], "first"), "w").write("1")
for step in range(int(sys.argv[1])):
    print("step", step, flush=True)
    time.sleep(0.1)
"""


class Shell:
    def __init__(self, cwd: Path, env: dict[str, str]) -> None:
        self.cwd, self.env = cwd, env

    async def __call__(self, *words: str, expect: int = 0, within: float = 90.0) -> str:
        """What the command printed on stdout; its exit code must be ``expect``."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "choline_tui", *words,
            cwd=self.cwd, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(within):
            out, err = await process.communicate()
        text = out.decode()
        assert process.returncode == expect, (
            f"choline {' '.join(words)}: {process.returncode}\n{text}\n{err.decode()}"
        )
        assert "Traceback" not in err.decode()
        return text

    async def json(self, *words: str, **options: Any) -> Any:
        return json.loads(await self(words[0], "--json", *words[1:], **options))


@pytest.fixture
def files() -> Iterator[Files]:
    server = Files()
    yield server
    server.close()


async def test_an_afternoon_with_choline(tmp_path: Path, home: Path, files: Files) -> None:
    needs("sshd", "ssh", "rsync")
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(SCRIPT)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/big").write_bytes(os.urandom(3_000_000))
    files.content["/model.bin"], files.token = b"weights", "tok-of-the-files"
    (project / "choline.toml").write_text(
        'command = "python3 train.py 3"\nname = "net"\ngpu = "1x4090"\n'
        f'send = ["../set", {{path = "{files.url}/model.bin", into = "m", credentials = ["SET_TOKEN"]}}]\n'
        'setup = "echo set up; ls -sR $CHOLINE_DATA; cat $CHOLINE_DATA/m/model.bin"\n[env]\nSEED = "7"\n'
    )
    paths = Paths(home).ensure()
    for key, value in (("engine.boot_poll", "0.5"), ("engine.watch", "1s")):
        set_value(paths, key, value)
    backend = ProcessBackend(tmp_path / "market", "openssh")
    async with Simulator(offers=800, boot=1.0, backend=backend, moving=False) as sim:
        root = str(Path(__file__).resolve().parents[2])
        env = {**os.environ, "VAST_URL": sim.url, "VAST_API_KEY": "rehearsal", "CHOLINE_HOME": str(home)}
        env["SET_TOKEN"] = files.token
        env["PYTHONPATH"] = os.pathsep.join([root, *sys.path])
        choline = Shell(project, env)

        # nothing is spent by looking
        rows = (await choline.json("offers", "--gpu", "4090", "--limit", "3"))["rows"]
        assert 1 <= len(rows) <= 3 and all(r["gpu_name"] == "RTX 4090" for r in rows)
        card = await choline("create", "--dry-run")
        assert "cap" in card and "3.0 MB of data" in card and "model.bin (size unknown)" in card
        assert 'command = "python3 train.py 3"' in await choline("init", "--dry-run")
        checked = await choline.json("check")
        assert checked["good"] and checked["market"]["offers"] > 0 and checked["code"]["files"] == 2
        assert "-y" in await _stderr(choline, "create")  # no terminal to ask on: refused, exit 2
        assert not sim.contracts.history
        await choline("filters", "save", "cheap", "gpu_name=RTX_4090 num_gpus=2", "--disk", "40")
        saved = (await choline.json("offers", "--filter", "cheap"))["rows"]
        async with Choline(home, env) as services:
            query, disk = services.filter("cheap").query, services.filter("cheap").disk
            steps = [step async for step in services.offers_stream(query, disk=disk)]
        assert [row["id"] for row in steps[-1].rows] == [row["id"] for row in saved] and steps[-1].last

        # a project's run, followed to its end
        out = await choline("create", "-y")
        assert "seed 7" in out and "step 2" in out
        first = (await choline.json("status"))["runs"][0]
        assert first["outcome"] == "succeeded" and first["plan"]["name"] == "net"
        set_up = await choline("logs", first["id"], "--source", "setup")
        assert "set up" in set_up and " big\n" in set_up and "weights" in set_up
        sent = [
            e["text"] for e in (await choline.json("show", first["id"]))["events"] if "sent " in e["text"]
        ]
        assert "4 files, 3,000," in sent[0] and "its own fetch" in sent[0]
        assert "step 2" in await choline("logs", first["id"])
        assert (project / "results" / first["id"] / "results" / "first").read_text() == "1"

        # a failing task is the task's failure
        await choline("run", "-y", "--gpu", "1x4090", "--", "sh", "-c", "exit 3", expect=1)

        # a long one: looked at, entered, pulled from, stopped
        started = await choline.json(
            "run", "-y", "-d", "--name", "long", "--", "python3", "train.py", "10000"
        )
        run = started["id"]

        async def running() -> bool:
            shown = await choline.json("show", run)
            return bool(shown["state"] == "running")

        await eventually(running, within=40, what="the long run runs")
        inside = await choline("ssh", run, "--", 'echo "in $PWD"; ls ..')
        assert "src" in inside and "results" in inside
        await eventually(lambda: _has(choline, run, "step 3"), within=20, what="output")
        await choline("pull", run)
        # in unfinished/ for as long as the run may still write to it
        assert list((project / "results" / run).rglob("first"))
        rentals = await choline.json("rentals")
        assert [r["whose"] for r in rentals] == ["ours"]
        refused = await _stderr(choline, "destroy", rentals[0]["rental"], "-y")
        assert "choline stop" in refused
        await choline("stop", run, "-y")
        shown = await choline.json("show", run)
        assert shown["outcome"] == "stopped" and shown["results_complete"]
        assert not sim.contracts.alive()

        # the first one again, with its own code whatever the working tree holds now; kept, then let go
        (project / "train.py").write_text("raise SystemExit(9)\n")
        await choline("again", first["id"], "-y", "--keep", "30m", "--name", "again")
        again = (await choline.json("status", "--name", "again"))["runs"][0]
        assert again["outcome"] == "succeeded"
        held = await choline.json("rentals")
        assert [r["state"] for r in held] == ["held"]
        await choline("destroy", held[0]["rental"], "-y")
        await eventually(lambda: not sim.contracts.alive(), what="the kept machine goes")

        await choline("engine", "stop")
        await eventually(lambda: not paths.engine_socket.exists(), what="the engine ends")
        assert all(c.destroyed for c in sim.contracts.history) and len(sim.contracts.history) == 4


async def _stderr(choline: Shell, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "choline_tui", *words,
        cwd=choline.cwd, env=choline.env, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    _, err = await process.communicate()
    assert process.returncode == 2, err.decode()
    return err.decode()


async def _has(choline: Shell, run: str, text: str) -> bool:
    return text in await choline("logs", run)
