"""The wizard over a project that was looked at before the test: the same on every computer."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from choline_tui.config.settings import RunSettings
from choline_tui.screens.wizard import Wanted, WizardScreen
from choline_tui.services.looks import Looks
from choline_tui.services.project import Look
from choline_tui.survey import Directory, Finding, Older, Survey
from tests.ui.fake import FakeApp, FakeCholine

__all__ = ["open_wizard", "project", "seen", "until", "wizard_of"]

WITHIN = 20.0
LOCK = """\
version = 1
requires-python = ">=3.10"

[[package]]
name = "tiny"
version = "1"
source = { virtual = "." }
"""
TRAIN = 'import argparse\nif __name__ == "__main__":\n    pass\n'


def survey(top: Path, **changes: Any) -> Survey:
    """A training repository of middling size."""
    found = Survey(str(top))
    found.git = Finding("1a2b3c4d", "git", "branch main")
    found.commands = [
        Finding("python train.py --config configs/base.yaml", "README.md:31", "a line of it"),
        Finding("torchrun --nproc_per_node=4 train.py", "README.md:38", "a line of it"),
        Finding("python eval.py", "eval.py:9", "has __main__ and argparse"),
    ]
    found.python = [Finding(">=3.10", "pyproject.toml", "project.requires-python")]
    found.dependencies = [
        Finding("uv.lock", "uv.lock", "uv"),
        Finding("requirements.txt", "requirements.txt", "requirements"),
    ]
    found.packages = [Finding(f"package-{n}==1.{n}", ".venv") for n in range(187)]
    found.cuda = [Finding("12.8", "uv.lock:214", "nvidia-cuda-runtime")]
    found.gpus = [Finding("NVIDIA GeForce RTX 4090", "nvidia-smi", "driver 570.86.10")]
    found.data = [
        Directory("data/corpus", 2_300_000_000, 412, 0, "its name"),
        Directory("data/tokenizer", 4_100_000, 3, 0, "its name"),
    ]
    found.results = [
        Directory("checkpoints", 812_000_000, 6, 0, "its name"),
        Directory("runs", 0, 0, 0, "a default of the script"),
    ]
    found.large = [Finding("weights/base.safetensors", "weights/base.safetensors", "498000000")]
    found.secret_files = [Finding(".env", ".env", "variables")]
    found.trackers = [Finding("wandb", "train.py:7")]
    found.secrets = [
        Finding("WANDB_API_KEY", ".env"),
        Finding("HF_TOKEN", ".env"),
        Finding("api.wandb.ai", "~/.netrc", "a machine"),
    ]
    found.needs = [Finding("WANDB_API_KEY", "train.py:7"), Finding("OPENAI_API_KEY", "judge.py:12")]
    found.ignore_files = [(".gitignore", 14), (".cholineignore", 2)]
    found.sent_files, found.sent_bytes = 128, 501_200_000
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def seen(top: Path, text: str | None = None, **changes: Any) -> Look:
    import tomllib

    current = tomllib.loads(text) if text is not None else None
    older = changes.pop("older", Older())
    places = {"WANDB_API_KEY": ".env", "OPENAI_API_KEY": ""}
    return Look(survey(top, **changes), older, text, current, RunSettings(), places)


def project(tmp_path: Path, text: str | None = None) -> Path:
    """A directory that has what the canned look names."""
    top = tmp_path / "tiny-train"
    for name in ("data/corpus", "data/tokenizer", "checkpoints"):
        (top / name).mkdir(parents=True)
    (top / "train.py").write_text(TRAIN)
    (top / "requirements.txt").write_text("numpy==2.1.0\n")
    (top / "uv.lock").write_text(LOCK)
    (top / "pyproject.toml").write_text(
        '[project]\nname = "tiny"\nversion = "1"\nrequires-python = ">=3.10"\n'
    )
    if text is not None:
        (top / "choline.toml").write_text(text)
    return top


@asynccontextmanager
async def open_wizard(
    top: Path,
    look: Look | None = None,
    size: tuple[int, int] = (120, 40),
    *,
    looks: Looks | None = None,
    environ: Mapping[str, str] | None = None,
    fake: FakeCholine | None = None,
    app: FakeApp | None = None,
    **wanted: Any,
) -> AsyncIterator[Pilot[Any]]:
    """``look`` None: the directory is really looked at."""
    app = app or FakeApp("wizard", looks=looks, environ=environ, fake=fake)
    app._wanted = Wanted(top, **wanted)
    if look is not None:
        app.look_at = lambda *_, **__: look
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: drawn(pilot))
        yield pilot


def wizard_of(pilot: Pilot[Any]) -> WizardScreen:
    found = pilot.app.main_screen  # type: ignore[attr-defined]
    assert isinstance(found, WizardScreen)
    return found


def drawn(pilot: Pilot[Any]) -> bool:
    """The step is on the screen, with the focus in it."""
    found = pilot.app.main_screen  # type: ignore[attr-defined]
    return isinstance(found, WizardScreen) and found.draft is not None and found.shown_at == found.at


async def until(pilot: Pilot[Any], condition: Callable[[], Any]) -> None:
    """Let the app work until something is so."""
    end = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        await pilot.pause()
        await asyncio.sleep(0.002)
    await pilot.pause()
