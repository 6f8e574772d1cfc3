"""Keys that arrive together, faster than the focus moves."""

from typing import Any

import pytest
from textual.events import Key

from choline_tui.screens.chooser import Chooser
from choline_tui.screens.offers.choose import SortScreen
from choline_tui.widgets.table import Table
from choline_tui.widgets.typing import FilterLine
from tests.ui.fake import FakeApp
from tests.ui.runs.stage import until


def together(app: FakeApp, *keys: str) -> None:
    """As a terminal gives what was typed at once: one after the other, with no turn of the loop between."""
    for key in keys:
        app.post_message(Key(key, None))


def line_of(app: FakeApp) -> Any:
    return next(each for screen in reversed(app.screen_stack) for each in screen.query(FilterLine))


async def ready(app: FakeApp, pilot: Any) -> None:
    await until(pilot, lambda: app.snapshot is not None and isinstance(app.screen.focused, Table))


@pytest.mark.parametrize("where", ["offers", "runs"])
async def test_what_follows_the_slash_is_in_the_filter_and_what_follows_enter_is_not(where: str) -> None:
    app = FakeApp(where)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot)
        together(app, "slash", "4", "0", "9", "0", "enter", "s")
        await until(
            pilot, lambda: isinstance(app.screen, (Chooser, SortScreen))
        )  # s: which column to sort by
        assert line_of(app).value == "4090"


@pytest.mark.parametrize("where", ["offers", "runs"])
async def test_a_filter_that_is_left_and_entered_in_one_breath(where: str) -> None:
    app = FakeApp(where)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot)
        together(app, "slash", "4", "escape", "slash", "5", "down", "down")
        await until(pilot, lambda: line_of(app).value == "5")
        assert isinstance(app.screen.focused, Table)


async def test_a_mistake_keeps_the_filter() -> None:
    app = FakeApp("offers")
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot)
        together(app, "slash", *"gpu_ram>=x", "enter")
        await until(pilot, lambda: line_of(app).value == "gpu_ram>=x")
        await until(pilot, lambda: line_of(app).has_focus)  # something is to be put right
