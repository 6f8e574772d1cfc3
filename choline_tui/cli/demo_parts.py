"""What a rehearsal is made of: a market process, an engine to be ended, a sample project, and its results."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from choline_tui.kernel.errors import SystemFault

__all__ = ["KEY", "EnginePart", "MarketPart", "check_results", "make_home", "make_project", "undisturbed"]

KEY = "rehearsal"
STEPS = 6
STEP_S = 0.5
START_WITHIN = 30.0
END_WITHIN = 20.0
ENGINE_WITHIN = 15.0
POLL = 0.05

TRAIN = f'''\
"""A training run in small: prints its steps, writes metrics and a checkpoint."""
import json, os, subprocess, sys, time

steps = int(sys.argv[1]) if len(sys.argv) > 1 else {STEPS}
results, keep = os.environ["CHOLINE_RESULTS"], os.environ["CHOLINE_KEEP"]
print(f"training on {{os.environ.get('CHOLINE_NUM_GPUS', '?')}} GPU(s)", flush=True)
print(subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout.strip(), flush=True)
with open(os.path.join(results, "metrics.jsonl"), "w") as metrics:
    for step in range(1, steps + 1):
        time.sleep({STEP_S})
        loss = round(2.0 / step, 4)
        print(f"step {{step}}/{{steps}}  loss {{loss:.4f}}", flush=True)
        metrics.write(json.dumps({{"step": step, "loss": loss}}) + "\\n")
        metrics.flush()
with open(os.path.join(keep, "checkpoint.json"), "w") as checkpoint:
    json.dump({{"step": steps, "loss": loss}}, checkpoint)
print("done", flush=True)
'''

PROJECT = """\
name = "demo"
command = "python3 train.py"
gpu = "1x4090"
disk = 20
"""


def make_home(home: Path, environ: Mapping[str, str]) -> None:
    """A home whose engine need not spare the market: a rehearsal is not to be waited for."""
    from choline_tui.config.paths import Paths

    config = Paths(home, environ).config_file
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("[vast]\npaced = false    # a rehearsal market takes any number of requests\n", "utf-8")


def make_project(folder: Path, environ: Mapping[str, str]) -> Path:
    """A project as a person would have it; a git repository where git is installed."""
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN, "utf-8")
    (folder / "choline.toml").write_text(PROJECT, "utf-8")
    git = shutil.which("git", path=environ.get("PATH"))
    if git is not None:
        who = ["-c", "user.name=demo", "-c", "user.email=demo@example.invalid", "-c", "commit.gpgsign=false"]
        nothing = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        env = {k: v for k, v in environ.items() if not k.startswith("GIT_")} | nothing
        for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "A sample project"]):
            subprocess.run([git, *who, *words], cwd=folder, env=env, check=False, capture_output=True)
    return folder


def check_results(results: Path, run_dir: Path) -> str:
    """What is wrong with what came home; '' when everything is there, with the right content."""
    last = {"step": STEPS, "loss": round(2.0 / STEPS, 4)}
    try:
        metrics = (results / "results" / "metrics.jsonl").read_text("utf-8").splitlines()
        steps = [json.loads(line)["step"] for line in metrics]
        if steps != list(range(1, STEPS + 1)):
            return f"metrics.jsonl holds steps {steps}"
        if json.loads((results / "keep" / "checkpoint.json").read_text("utf-8")) != last:
            return "the checkpoint is not the last step's"
        log = (run_dir / "attempt-1" / "run.log").read_text("utf-8").splitlines()
        if log[-1:] != ["done"] or sum(line.startswith("step ") for line in log) != STEPS:
            return "the log is not whole"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return str(error)
    return ""


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """While a rehearsal is taken down, which ends within a minute: neither an impatient Ctrl-C nor the second
    word of a terminal that is closed may leave half of it running."""
    signs = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(sign, signal.SIG_IGN) for sign in signs]
    try:
        yield
    finally:
        for sign, handler in zip(signs, before, strict=True):
            signal.signal(sign, handler)


class MarketPart:
    """The rehearsal market as a process of its own; it ends when this one does, however that happens."""

    def __init__(self, root: Path, *, boot: float, environ: Mapping[str, str], people: float = 0.0) -> None:
        self.root = root
        self.boot = boot
        self.people = people
        self.environ = dict(environ)
        self.books: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> str:
        """Its address. Raises SystemFault when it does not come up."""
        ready = self.root / "market.url"
        words = [
            sys.executable, "-m", "choline_tui.cli", "simulate", "--port", "0", "--boot", str(self.boot),
            "--root", str(self.root / "market"), "--ready-file", str(ready),
            "--report-file", str(self._report), "--until-eof", "--people", str(self.people),
        ]  # fmt: skip
        process = self._process = self._spawn(words)
        waited = 0.0
        while not ready.exists():
            if process.poll() is not None or waited > START_WITHIN:
                raise SystemFault("the rehearsal market did not start", hint=f"See {self._log}.")
            await asyncio.sleep(POLL)
            waited += POLL
        return ready.read_text("utf-8")

    def _spawn(self, words: list[str]) -> "subprocess.Popen[bytes]":
        with open(self._log, "wb") as log:
            # a session of its own: Ctrl-C is for this program, which ends the market after the engine
            return subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.root,
                env=self.environ,
                start_new_session=True,
            )

    @property
    def _report(self) -> Path:
        return self.root / "market.json"

    @property
    def _log(self) -> Path:
        return self.root / "market.log"

    async def end(self) -> None:
        """Tell it to stop; ``books`` then holds what it had at that moment."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        if not await _ended(process, END_WITHIN):
            process.kill()
            process.wait()
        with contextlib.suppress(OSError, ValueError):
            self.books = json.loads(self._report.read_text("utf-8"))


async def _ended(process: subprocess.Popen[bytes], within: float) -> bool:
    waited = 0.0
    while process.poll() is None:
        if waited > within:
            return False
        await asyncio.sleep(POLL)
        waited += POLL
    return True


class EnginePart:
    """The engines that a rehearsal's services started, as far as ending them goes."""

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self.home = home
        self.environ = environ

    async def end(self) -> bool:
        """Ask it to end, then make it; True when it ended by itself (or there was none). None of them is left
        after it, nor one that was only just starting: their files can be removed."""
        from choline_tui.kernel.errors import CholineError
        from choline_tui.services import Choline
        from choline_tui.services.launch import STARTED

        # of this home alone: the app that the rehearsal was opened from may have started a real one
        ours = [process for home, process in STARTED if home == self.home]
        if all(process.poll() is not None for process in ours):
            return True
        try:
            async with Choline(home=self.home, environ=self.environ, start_engine=False) as choline:
                await asyncio.wait_for(choline.engine_stop(), 5)
        except (CholineError, TimeoutError, OSError):
            for process in ours:
                process.terminate()
        gentle = True
        for process in ours:
            if not await _ended(process, ENGINE_WITHIN):
                gentle = False
                process.kill()
                process.wait()
        return gentle
