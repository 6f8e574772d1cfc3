"""By hand: a sample with torch (CPU) that trains for seconds, is stopped, and goes on from its checkpoint.

``python -m tests.e2e.torch_sample [--find-links DIR]``: uv builds an environment with torch==2.13.0 (200 MB)
on a machine of a rehearsal market; the run is stopped in the middle, and another one goes on from what came
home. Too long for every CI run.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from choline_tui.model.run import Outcome
from tests.e2e.rehearsed import rehearsed, way_out
from tests.support import eventually

TRAIN = """
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
for step in range(begin, 200):
    loss = torch.nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step,
                "loss": loss.item()}, keep + ".new")
    os.replace(keep + ".new", keep)
    print("step", step, "loss", round(loss.item(), 6), flush=True)
    time.sleep(0.05)
torch.save(model, os.path.join(os.environ["CHOLINE_RESULTS"], "model.pt"))
print("trained with", torch.__version__, flush=True)
"""


async def main(find_links: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        project = top / "project"
        project.mkdir()
        (project / "train.py").write_text(TRAIN)
        (project / "requirements.txt").write_text("torch==2.13.0\n")
        (project / "choline.toml").write_text(
            'command = "python train.py"\ngpu = "1x4090"\ndisk = 40\n[environment]\ncuda = "cpu"\n'
        )
        env = way_out() | ({"UV_FIND_LINKS": find_links} if find_links else {})
        if find_links:
            # wheels of one's own instead of PyTorch's index
            text = (project / "choline.toml").read_text().replace('cuda = "cpu"\n', "")
            (project / "choline.toml").write_text(text)
            (project / "requirements.txt").write_text("torch==2.13.0+cpu\n")
        async with rehearsed(top / "market", top / "home") as all_of_it:
            begun = time.monotonic()
            first = await all_of_it.start(project, env=env, keep_s=1800)
            log = all_of_it.choline.log_file(first.id, 1, "run")
            await eventually(
                lambda: (log.exists() and "step 20 " in log.read_text())
                or not all_of_it.choline.show(first.id).run.live,
                within=1200, what="training",
            )  # fmt: skip
            print(f"training after {time.monotonic() - begun:.0f} s")
            assert all_of_it.choline.show(first.id).run.live, all_of_it.choline.show(first.id).run.reason
            await all_of_it.choline.stop(first.id)
            first, log_text, told = await all_of_it.ended(first.id)
            print(first.outcome, first.reason, [t for t in told if t.startswith("environment:")])
            assert first.outcome is Outcome.STOPPED, log_text[-2000:]
            reached = int(log_text.rsplit("step ", 1)[1].split()[0])
            into = Path(first.plan.results_into)
            assert (into / "keep/checkpoint.pt").exists()
            # as 'choline continue' does it: what was kept goes along
            (project / "seed").mkdir()
            (project / "seed/checkpoint.pt").write_bytes((into / "keep/checkpoint.pt").read_bytes())
            command = 'cp -n seed/checkpoint.pt "$CHOLINE_KEEP"/; exec python train.py'
            second = await all_of_it.start(project, env=env, command=command)
            second, log_text, told = await all_of_it.ended(second.id)
            print(second.outcome, second.reason, [t for t in told if t.startswith("environment:")])
            print("\n".join(log_text.splitlines()[:2] + log_text.splitlines()[-2:]))
            assert second.outcome is Outcome.SUCCEEDED and f"went on from step {reached}" in log_text
            assert "trained with 2.13.0" in log_text
            assert (Path(second.plan.results_into) / "results/model.pt").stat().st_size > 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--find-links", default="", help="directory with torch's wheel, seen by the machine")
    asyncio.run(main(parser.parse_args().find_links))
    sys.exit(0)
