"""Projects of other people, and a training with torch, from what lies in the project to a run on a machine.

Nothing here is ours but the training script: three source distributions of the package index are initialised
unattended; torch is the real one, as its CPU build. uv builds each environment on a machine of a rehearsal
market whose SSH is a real sshd.
"""

import asyncio
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from choline_tui.model.run import Outcome
from tests.e2e.rehearsed import rehearsed, way_out
from tests.support import eventually, needs
from tests.support.package_index import PackageIndex

PROJECTS = {"six": "six==1.17.0", "itsdangerous": "itsdangerous==2.2.0", "tinydb": "tinydb==4.8.2"}
TORCH = "torch==2.13.0+cpu"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
STEPS = 100
TRAIN = f"""
import os, time, torch
keep = os.path.join(os.environ["CHOLINE_KEEP"], "checkpoint.pt")
torch.manual_seed(7)
model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
begin = 0
if os.path.exists(keep):
    saved = torch.load(keep)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    begin = saved["step"] + 1
    print("went on from step", saved["step"], "loss", round(saved["loss"], 6), flush=True)
x = torch.randn(512, 8)
y = x.sum(1, keepdim=True).sin()
for step in range(begin, {STEPS}):
    loss = torch.nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    torch.save({{"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step,
                "loss": loss.item()}}, keep + ".new")
    os.replace(keep + ".new", keep)
    print("step", step, "loss", round(loss.item(), 6), flush=True)
    # the first run is stopped in the middle: it waits for that, the second does not
    while step == 20 and begin == 0:
        time.sleep(0.1)
torch.save(model, os.path.join(os.environ["CHOLINE_RESULTS"], "model.pt"))
print("trained with", torch.__version__, flush=True)
"""


def fetched(into: Path, wanted: str, *options: str) -> Path:
    """One file of the package index, by pip; skips, saying so, where there is none (in CI it fails)."""
    into.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--retries", "1", *options, wanted],
        cwd=into, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = list(into.iterdir())
    if done.returncode or len(found) != 1:
        message = f"the package index gives no {wanted}: {done.stderr.strip()[-300:]}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found[0]


async def choline(folder: Path, env: dict[str, str], *words: str) -> str:
    """A command line in ``folder``, with nobody to answer a question; what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "choline_tui", *words, cwd=folder, env=env,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, f"choline {words[0]}: {out.decode(errors='replace')[-2000:]}"
    return out.decode()


async def test_public_projects_from_their_source_distributions(tmp_path: Path) -> None:
    needs("sshd", "rsync", "git")
    projects = {}
    for name, wanted in PROJECTS.items():
        sdist = await asyncio.to_thread(fetched, tmp_path / name, wanted, "--no-binary", ":all:")
        with tarfile.open(sdist) as archive:
            archive.extractall(tmp_path / "projects", filter="data")
        projects[name] = tmp_path / "projects" / sdist.name.removesuffix(".tar.gz")
    async with rehearsed(tmp_path / "market", tmp_path / "home") as home:
        for name, folder in projects.items():
            command = (
                f'python -c \'import {name} as m, sys; print("imported", m.__name__, "by", sys.prefix)\''
            )
            await choline(folder, home.env, "init", "--yes", "--command", command)
            await choline(folder, home.env, "check", "--offline")
            started = await home.start(folder, env=way_out())
            ended, log, told = await home.ended(started.id)
            assert ended.outcome is Outcome.SUCCEEDED, (name, ended.reason, log, told)
            assert f"imported {name} by" in log and ".system/envs/" in log, log
            assert any(text.startswith("environment: built") for text in told), told


async def test_a_training_with_torch_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    needs("sshd", "rsync")
    wheel = await asyncio.to_thread(fetched, tmp_path / "torch", TORCH, "--extra-index-url", TORCH_INDEX)
    index = PackageIndex(tmp_path / "index").start()
    wheel.rename(tmp_path / "index" / "files" / wheel.name)
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(TRAIN)
    (project / "requirements.txt").write_text(f"{TORCH}\n")
    (project / "choline.toml").write_text(
        'command = "python train.py"\ngpu = "1x4090"\ndisk = 40\n[environment]\n'
    )
    env = way_out() | {"UV_FIND_LINKS": f"{index.host}/files/"}
    try:
        async with rehearsed(tmp_path / "market", tmp_path / "home") as home:
            first = await home.start(project, env=env)
            log = home.choline.log_file(first.id, 1, "run")
            await eventually(
                lambda: (log.exists() and "step 20 " in log.read_text())
                or not home.choline.show(first.id).run.live,
                within=300, what="training",
            )  # fmt: skip
            assert home.choline.show(first.id).run.live, home.choline.show(first.id).run.reason
            await home.choline.stop(first.id)
            first, _, told = await home.ended(first.id)
            assert first.outcome is Outcome.STOPPED, told
            kept = Path(first.plan.results_into) / "keep/checkpoint.pt"
            assert kept.exists()
            # another run, on another machine, goes on from what came home
            (project / "seed").mkdir()
            (project / "seed/checkpoint.pt").write_bytes(kept.read_bytes())
            command = 'cp -n seed/checkpoint.pt "$CHOLINE_KEEP"/; exec python train.py'
            second = await home.start(project, env=env, command=command)
            second, text, told = await home.ended(second.id)
            assert second.outcome is Outcome.SUCCEEDED, (second.reason, text[-2000:], told)
            assert "went on from step 20 " in text and "trained with 2.13.0" in text, text[-2000:]
            assert (Path(second.plan.results_into) / "results/model.pt").stat().st_size > 1000
    finally:
        index.stop()
