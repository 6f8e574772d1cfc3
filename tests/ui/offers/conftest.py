"""An app on the offers screen, settled."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from choline_tui.screens.offers import OffersScreen, export
from choline_tui.screens.offers import screen as offers_screen
from choline_tui.services.looks import Looks
from tests.ui.fake import FakeApp, FakeCholine
from tests.ui.offers.scenes import set_up

Open = Callable[..., AbstractAsyncContextManager[Pilot[Any]]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Open:
    """``async with opened(size, fake=..., looks=..., **feed) as pilot``; nothing is asked by itself."""
    # only what a test does asks the market: no timer of real seconds may come in between
    monkeypatch.setattr(offers_screen, "ASK_AFTER", 1e6)
    monkeypatch.setattr(export, "ASK_AFTER", 0.001)

    @asynccontextmanager
    async def open(
        size: tuple[int, int] = (120, 40), *, fake: FakeCholine | None = None, looks: Looks | None = None,
        wait: bool = True, **feed: Any,
    ) -> AsyncIterator[Pilot[Any]]:  # fmt: skip
        app = FakeApp("offers", fake=set_up(fake or FakeCholine()), looks=looks, **feed)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: isinstance(app.main_screen, OffersScreen) and app.main_screen._began)
            if wait:
                await until(pilot, lambda: not screen_of(pilot).market.looking)
            await pilot.pause()
            yield pilot

    return open


def screen_of(pilot: Pilot[Any]) -> OffersScreen:
    found: OffersScreen = pilot.app.main_screen  # type: ignore[attr-defined]
    return found


async def until(pilot: Pilot[Any], condition: Callable[[], Any], tries: int = 400) -> None:
    """Let the app work until something is so."""
    for _ in range(tries):
        if condition():
            return
        await pilot.pause()
    raise AssertionError("it did not come about")


async def press(pilot: Pilot[Any], text: str) -> None:
    """Type a text where the cursor is: all of it at once, the last character by its key."""
    names = {" ": "space", "_": "underscore", "=": "equals_sign", ">": "greater_than_sign"}
    box = pilot.app.focused
    assert isinstance(box, Input)
    box.value += text[:-1]
    box.cursor_position = len(box.value)
    await pilot.press(names.get(text[-1], text[-1]))
    await pilot.pause()
