"""The list and a page in the light theme, in safe colours and in none."""

import pytest

from choline_tui.services.looks import Looks
from tests.ui.conftest import Shot, screen_text
from tests.ui.fake import FakeApp, every_state
from tests.ui.runs.stage import RunsFake, event, until


@pytest.mark.parametrize("look", ["light", "safe", "no-color"])
async def test_looks(look: str, shot: Shot, monkeypatch: pytest.MonkeyPatch) -> None:
    if look == "no-color":
        monkeypatch.setenv("NO_COLOR", "1")
    fake = RunsFake(views=every_state(), history=[event(-50, "rental", "rented: contract 24000028", 1)])
    fake.write_log("live00", "step 1/2  loss 0.5\n\x1b[31mred\x1b[0m and not\n")
    theme = "choline-dark" if look == "no-color" else f"choline-{look}"
    app = FakeApp("runs", fake=fake, looks=Looks(theme=theme))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.main_screen is not None and app.main_screen.chosen_views())
        for _ in range(3):
            await pilot.pause()
        if look != "light":
            shot(pilot, f"runs/list-{look}-80x24", svg=True)
        app.open_run("live00")
        await until(pilot, lambda: getattr(app.screen, "view", None) is not None)
        await until(pilot, lambda: "red and not" in screen_text(app))
        for _ in range(3):
            await pilot.pause()
        shot(pilot, f"runs/page-{look}-80x24", svg=True)
