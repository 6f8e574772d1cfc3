"""Every step of the wizard as a picture, at both sizes; what it looks like in other colours and in none."""

from pathlib import Path
from typing import Any

import pytest

from choline_tui.config import write
from choline_tui.config.environment import EnvironmentTable
from choline_tui.config.paths import Paths
from choline_tui.config.templates import save_template
from choline_tui.services.looks import Looks
from tests.ui.runs.stage import picture
from tests.ui.wizard.stage import drawn, open_wizard, project, seen, until, wizard_of

SIZES = [(80, 24), (160, 50)]


@pytest.fixture(autouse=True)
def few_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is new one day is no reason to look at every step again."""
    kept = ("command", "setup", "gpu", "query", "max_price", "disk", "send", "results", "exclude", "secrets")
    monkeypatch.setattr(write, "_EXAMPLES", {key: write._EXAMPLES[key] for key in kept})
    monkeypatch.setattr(write, "_TABLES", {"environment": (EnvironmentTable, {"python": "3.11"})})


def named(size: tuple[int, int], step: str) -> str:
    return f"wizard/{size[0]}x{size[1]}-{step}"


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "160x50"])
async def test_every_step(size: tuple[int, int], tmp_path: Path, shot: Any) -> None:
    top = project(tmp_path)
    async with open_wizard(top, seen(top), size) as pilot:
        wizard = wizard_of(pilot)
        for n, step in enumerate(wizard.steps):
            wizard.go_to(n)
            await until(pilot, lambda: drawn(pilot) and not wizard._waits())
            name = step.id if step is not None else "review"
            await picture(shot, pilot, named(size, name), svg=size[0] == 160 and name == "hardware")


async def test_in_light_with_a_template_and_something_wrong(
    tmp_path: Path, shot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"CHOLINE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": str(tmp_path)}
    save_template(Paths(environ=environ), "llm-4090", {"gpu": "2x4090", "max_price": 0.9, "image": "a/b:1"})
    top = project(tmp_path)
    size = (80, 24)
    looks = Looks(theme="choline-light")
    async with open_wizard(top, seen(top), size, looks=looks, environ=environ) as pilot:
        await pilot.press("space")
        await until(pilot, lambda: not wizard_of(pilot)._waits())
        await picture(shot, pilot, named(size, "template"))
        draft = wizard_of(pilot).draft
        assert draft is not None and draft.get("gpu") == "2x4090"
        draft.put("disk", "much")
        draft.put("max_price", "0.9")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: drawn(pilot) and not wizard_of(pilot)._waits())
        await picture(shot, pilot, named(size, "review-light"), svg=True)


async def test_without_colours_and_in_ascii(
    tmp_path: Path, shot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    top = project(tmp_path)
    async with open_wizard(top, seen(top), (80, 24), looks=Looks(ascii=True)) as pilot:
        await pilot.press("ctrl+n", "ctrl+n")
        await until(pilot, lambda: drawn(pilot) and not wizard_of(pilot)._waits())
        await picture(shot, pilot, named((80, 24), "ascii"))
