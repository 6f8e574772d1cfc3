"""Every state of the offers screen, as it looks at 80x24 and at 160x50."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from textual.pilot import Pilot

from choline_tui.kernel.errors import BadKey, EngineError, MarketDown, QuotaSpent
from choline_tui.screens.offers import OffersScreen
from choline_tui.screens.offers.export import ExportScreen
from choline_tui.screens.offers.market import Market
from choline_tui.screens.offers.plan_card import PlanScreen
from choline_tui.services.looks import Looks
from tests.ui.conftest import Shot
from tests.ui.fake import NOW, market_rows, offer_step
from tests.ui.offers.conftest import Open, press, screen_of, until

SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=["80x24", "160x50"])
ROWS = market_rows()
Size = tuple[int, int]


def name_of(what: str, size: Size) -> str:
    return f"offers/{what}-{size[0]}x{size[1]}"


def never() -> asyncio.Event:
    return asyncio.Event()


STATES: dict[str, Callable[[], list[Any]]] = {
    "loading": lambda: [never()],
    "cached": lambda: [
        offer_step(ROWS[:30], cached=True, last=False, complete=False, seen_at=NOW - 400),
        never(),
    ],
    "deeper": lambda: [offer_step(ROWS[:30], last=False, complete=False, used_today=930), never()],
    "offline-with-rows": lambda: [
        offer_step(ROWS[:9], cached=True, last=False, seen_at=NOW - 7200),
        offer_step([], trouble=MarketDown("no answer within 60 s"), complete=False),
    ],
    "offline": lambda: [offer_step([], trouble=MarketDown("no answer within 60 s"), complete=False)],
    "no-key": lambda: [offer_step([], trouble=BadKey("there is no API key"), complete=False)],
    "ration": lambda: [offer_step([], trouble=QuotaSpent("spent", until=NOW), complete=False)],
    "engine-down": lambda: [offer_step([], trouble=EngineError("the engine went away"), complete=False)],
    "nothing": lambda: [offer_step([])],
}


@SIZES
async def test_states(opened: Open, shot: Shot, size: Size) -> None:
    """One app goes through all of them: another for each would cost a second of its own."""
    async with opened(size) as pilot:
        screen, app = screen_of(pilot), pilot.app
        for state, made in STATES.items():
            steps = made()
            screen.action_cancel()
            app.faults.clear()  # type: ignore[attr-defined]
            app.unseen = 0  # type: ignore[attr-defined]
            screen.market = Market()
            screen.table.set_records([])
            app.fake.steps = steps  # type: ignore[attr-defined]
            screen.ask()
            await until(pilot, partial(has_told, screen, steps))
            await settle(pilot)
            app.tell_top_line()  # type: ignore[attr-defined]
            await settle(pilot)
            shot(pilot, name_of(state, size))


def has_told(screen: OffersScreen, steps: list[Any]) -> bool:
    told = any(not isinstance(step, asyncio.Event) for step in steps)
    held = isinstance(steps[-1], asyncio.Event)
    return screen.market.looking is held and (not told or screen.market.ration > 0)


async def settle(pilot: Pilot[Any]) -> None:
    for _ in range(3):
        await pilot.pause()


@SIZES
async def test_the_list_and_what_is_typed(opened: Open, shot: Shot, size: Size) -> None:
    async with opened(size) as pilot:
        svg = size == (160, 50)
        await settle(pilot)
        shot(pilot, name_of("complete", size), svg=svg)
        await pilot.press("slash")
        await press(pilot, "num_gpus>=2 gpu_rom>=24")
        await settle(pilot)
        shot(pilot, name_of("filter-error", size))
        screen = screen_of(pilot)
        for what, text in (
            ("filter-trap", "gpu_ram=24"),
            ("filter-pending", "sweden gpu_ram>"),
            ("no-match", "b200"),
        ):
            screen.bar.input.value = ""
            await press(pilot, text)
            await settle(pilot)
            shot(pilot, name_of(what, size))


@SIZES
async def test_windows(opened: Open, shot: Shot, size: Size) -> None:
    async with opened(size) as pilot:
        await pilot.press("space", "j", "space", "p", "end")
        await settle(pilot)
        shot(pilot, name_of("premium", size))
        await pilot.press("p", "v")
        await settle(pilot)
        shot(pilot, name_of("details", size))
        await pilot.press("escape", "d")
        await settle(pilot)
        shot(pilot, name_of("needs", size))
        await pilot.press("escape", "s")
        await settle(pilot)
        shot(pilot, name_of("sort", size))
        await pilot.press("escape", "ctrl+e")
        await settle(pilot)
        shot(pilot, name_of("save", size))
        await pilot.press("escape", "f")
        await settle(pilot)
        shot(pilot, name_of("saved", size))


@SIZES
async def test_export_and_plan(opened: Open, shot: Shot, size: Size) -> None:
    async with opened(size) as pilot:
        await pilot.press("e", "3")
        await until(pilot, lambda: isinstance(pilot.app.screen, ExportScreen) and pilot.app.screen.market)
        await settle(pilot)
        shot(pilot, name_of("export", size))
        await pilot.press("tab", "tab")
        await settle(pilot)
        shot(pilot, name_of("export-vastai", size))
        await pilot.press("escape", "R")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlanScreen) and pilot.app.screen.card)
        await settle(pilot)
        shot(pilot, name_of("plan", size), svg=size == (160, 50))


async def test_light_and_ascii(opened: Open, shot: Shot) -> None:
    async with opened((80, 24), looks=Looks(theme="choline-light")) as pilot:
        await settle(pilot)
        shot(pilot, "offers/complete-light-80x24", svg=True)
    async with opened((80, 24), looks=Looks(ascii=True)) as pilot:
        await settle(pilot)
        shot(pilot, "offers/complete-ascii-80x24")
        from tests.ui.conftest import screen_text

        table = "\n".join(screen_text(pilot.app).splitlines()[2:])
        signs = {c for c in table if not c.isascii()} - set("é▁▂▃▄▅▆▇█")
        assert not signs, "what people wrote stays, and Textual's scroll bar; all signs of ours are ASCII"
