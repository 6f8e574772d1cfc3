"""The windows over the offers in the light theme, the list in safe colours and in none."""

import pytest

from choline_tui.screens.offers.export import ExportScreen
from choline_tui.screens.offers.plan_card import PlanScreen
from choline_tui.services.looks import Looks
from tests.ui.conftest import Shot
from tests.ui.offers.conftest import Open, until
from tests.ui.offers.test_offers_pictures import settle


@pytest.mark.parametrize(
    ("size", "theme", "name"),
    [((80, 24), "choline-light", "light-80x24"), ((160, 50), "choline-dark", "dark-160x50")],
    ids=["light", "dark"],
)
async def test_export_and_plan(
    opened: Open, shot: Shot, size: tuple[int, int], theme: str, name: str
) -> None:
    async with opened(size, looks=Looks(theme=theme)) as pilot:
        await pilot.press("e", "3")
        await until(pilot, lambda: isinstance(pilot.app.screen, ExportScreen) and pilot.app.screen.market)
        await settle(pilot)
        shot(pilot, f"offers/export-{name}", svg=True)
        await pilot.press("escape", "R")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlanScreen) and pilot.app.screen.card)
        await settle(pilot)
        shot(pilot, f"offers/plan-{name}", svg=True)


async def test_safe_colours_and_none(opened: Open, shot: Shot, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened((80, 24), looks=Looks(theme="choline-safe")) as pilot:
        await pilot.press("space", "p", "end")
        await settle(pilot)
        shot(pilot, "offers/premium-safe-80x24", svg=True)
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened((80, 24)) as pilot:
        await pilot.press("space", "p", "end")
        await settle(pilot)
        shot(pilot, "offers/premium-no-color-80x24", svg=True)
