"""The offers screen: what streams in, what is typed, what the keys do."""

import asyncio
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from choline_tui.kernel.errors import BadKey, EngineError, MarketDown, QuotaSpent
from choline_tui.screens.offers.actions import ACTIONS
from choline_tui.screens.offers.choose import SavedScreen, SortScreen
from choline_tui.screens.offers.detail import DetailPane, DetailScreen, Sheet
from choline_tui.screens.offers.market import Market, Needs, age, cap_over, number_under
from choline_tui.screens.offers.needs import NeedsScreen, read_needs
from choline_tui.screens.offers.save_view import SaveScreen, as_csv, write_new
from choline_tui.screens.states import StatePanel
from choline_tui.services.feed import MarketState
from choline_tui.widgets.slider import PercentSlider
from tests.ui.conftest import screen_text
from tests.ui.fake import HOSTILE, NOW, FakeCholine, market_rows, offer, offer_step
from tests.ui.offers.conftest import Open, press, screen_of, until

ROWS = market_rows()


def streams(fake: FakeCholine) -> list[Any]:
    return [what for name, what in fake.asked if name == "offers_stream"]


# ------------------------------------------------------------------------------------------ streaming


async def test_memory_first_then_the_market_then_deeper_pages(opened: Open) -> None:
    fresh, deeper = asyncio.Event(), asyncio.Event()
    old = [{**row, "price": row["price"] + 1} for row in ROWS[:10]]
    fake = FakeCholine(
        steps=[
            offer_step(old, cached=True, last=False, complete=True, seen_at=NOW - 4000),
            fresh,
            offer_step(ROWS[:8], gone=[ROWS[9]["id"]], last=False, complete=False),
            deeper,
            offer_step(ROWS[8:], known=len(ROWS)),
        ]
    )
    async with opened(fake=fake, wait=False) as pilot:
        screen = screen_of(pilot)
        await until(pilot, lambda: screen.table.shown == 10)
        assert "10 offers" in screen_text(pilot.app) and "from memory, 67 min old" in screen_text(pilot.app)
        await pilot.press("down", "down")
        under = screen.table.cursor_record["id"]  # type: ignore[index]
        fresh.set()
        await until(pilot, lambda: not screen.market.cached)
        await pilot.pause()
        assert screen.market.count == "9+" and screen.table.shown == 9, "eight anew, one more, one gone"
        assert screen.table.cursor_record["id"] == under  # type: ignore[index]
        assert "looking for more" in screen_text(pilot.app) and "9+ offers" in screen_text(pilot.app)
        deeper.set()
        await until(pilot, lambda: not screen.market.looking)
        await pilot.pause()
        assert "40 offers · 3 s old" in screen_text(pilot.app)


async def test_looking_can_be_stopped(opened: Open) -> None:
    never = asyncio.Event()
    fake = FakeCholine(steps=[offer_step(ROWS[:5], last=False, complete=False), never, offer_step(ROWS)])
    async with opened(fake=fake, wait=False) as pilot:
        screen = screen_of(pilot)
        await until(pilot, lambda: screen.table.shown == 5)
        await pilot.press("ctrl+x")
        await pilot.pause()
        assert not screen.market.looking and "5+ offers" in screen_text(pilot.app)
        never.set()
        await pilot.pause()
        assert screen.table.shown == 5, "what was stopped says nothing more"


async def test_refresh_asks_again_and_keeps_the_cursor(opened: Open) -> None:
    async with opened() as pilot:
        screen, fake = screen_of(pilot), pilot.app.fake  # type: ignore[attr-defined]
        await pilot.press("j", "j", "space")
        under = screen.table.cursor_record
        await pilot.press("f5")
        await until(pilot, lambda: len(streams(fake)) == 2 and not screen.market.looking)
        assert streams(fake)[1][1]["again"] is True
        assert screen.table.cursor_record == under and len(screen.table.marked) == 1


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (BadKey("there is no API key"), "No API key"),
        (MarketDown("no answer"), "cannot be reached"),
        (QuotaSpent("spent", until=NOW), "searches are used up"),
        (EngineError("no engine"), "engine does not run"),
    ],
)
async def test_every_trouble_says_what_to_do_and_f5_tries_again(
    opened: Open, trouble: Any, said: str
) -> None:
    fake = FakeCholine(steps=[offer_step([], trouble=trouble, complete=False)])
    async with opened(fake=fake) as pilot:
        screen = screen_of(pilot)
        await pilot.pause()
        assert screen.query_one("#offers-state", StatePanel).display and said in screen_text(pilot.app)
        assert not screen.table.display
        fake.steps = None
        await pilot.press("f5")
        await until(pilot, lambda: screen.table.shown == 40)
        assert screen.table.display and screen.table.has_focus


async def test_what_is_here_stays_when_the_market_goes(opened: Open) -> None:
    async with opened() as pilot:
        screen, app = screen_of(pilot), pilot.app
        app.fake.fails["offers_stream"] = MarketDown("no answer")  # type: ignore[attr-defined]
        await pilot.press("f5")
        await until(pilot, lambda: screen.market.trouble is not None)
        await pilot.pause()
        assert screen.table.shown == 40 and "no answer" in screen_text(app)
        assert app.faults[-1].message == "no answer"  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------ the filter


async def test_typing_filters_at_once_and_enter_asks_when_not_all_is_here(opened: Open) -> None:
    fake = FakeCholine(steps=[offer_step(ROWS, complete=False)])
    async with opened(fake=fake) as pilot:
        screen = screen_of(pilot)
        await pilot.press("slash")
        await press(pilot, "4090 dph<0.5")
        there = [r for r in ROWS if r["gpu_name"] == "RTX 4090" and r["price"] < 0.5]
        assert screen.table.shown == len(there) > 0
        assert f"{len(there)}+ match" in screen_text(pilot.app)
        assert len(streams(fake)) == 1, "nothing is asked while typing"
        await pilot.press("enter")
        await until(pilot, lambda: len(streams(fake)) == 2)
        assert streams(fake)[1][0] == "dph_total<0.5 gpu_name=RTX_4090" and screen.table.has_focus
        await pilot.press("slash", "escape")
        await until(pilot, lambda: len(streams(fake)) == 3 and not screen.market.looking)
        assert streams(fake)[2][0] == "" and screen.bar.text == "" and screen.table.shown == 40


async def test_a_complete_list_answers_without_the_market(opened: Open) -> None:
    async with opened() as pilot:
        screen, fake = screen_of(pilot), pilot.app.fake  # type: ignore[attr-defined]
        await pilot.press("slash")
        await press(pilot, "num_gpus>=2 se")
        await pilot.press("enter")
        await pilot.pause()
        assert len(streams(fake)) == 1 and 0 < screen.table.shown < 40
        # but a condition that a search leaves out by itself is not in the list
        screen.set_text("verified=false")
        await until(pilot, lambda: len(streams(fake)) == 2)


async def test_mistakes_point_at_their_column_and_tab_puts_them_right(opened: Open) -> None:
    async with opened((80, 24)) as pilot:
        screen = screen_of(pilot)
        await pilot.press("slash")
        await press(pilot, "dph<2 gpu_rom>=24")
        lines = screen_text(pilot.app).splitlines()
        at = next(n for n, line in enumerate(lines) if "dph<2 gpu_rom" in line)
        assert lines[at + 1].index("^") == lines[at].index("gpu_rom")
        assert "gpu_ram" in lines[at + 2]
        await pilot.press("enter")
        assert screen.bar.input.has_focus, "what is wrong is not asked"
        await pilot.press("tab")
        await pilot.pause()
        assert screen.bar.text == "dph<2 gpu_ram>=24" and "no field" not in screen_text(pilot.app)
        await pilot.press("tab")
        assert screen.table.has_focus


async def test_a_trap_is_warned_of_and_what_is_not_finished_is_not_asked(opened: Open) -> None:
    async with opened() as pilot:
        screen = screen_of(pilot)
        await pilot.press("slash")
        await press(pilot, "gpu_ram=24")
        assert screen.table.shown == 0 and "24564 MB" in screen_text(pilot.app)
        await pilot.press("tab")
        await pilot.pause()
        assert screen.bar.text == "gpu_ram>=24" and screen.table.shown > 0
        await press(pilot, " num_gpus>")
        assert "value is missing" in screen_text(pilot.app) and screen.table.shown > 0
        await pilot.press("enter")
        assert screen.bar.input.has_focus and "^ a value is missing" in screen_text(pilot.app)


# ------------------------------------------------------------------------- premium, marks, details


async def test_the_premium_moves_the_cap_and_the_count_and_dims(opened: Open) -> None:
    async with opened() as pilot:
        screen = screen_of(pilot)
        assert screen._row_style(ROWS[-1]) == "", "nothing is dim before anything is asked"
        await pilot.press("p", "end")
        await pilot.pause()
        cap = ROWS[0]["price"] * 2
        under = sum(row["price"] <= cap for row in ROWS)
        assert f"cap ${cap:.4f}/h · {under} of 40 under it" in screen_text(pilot.app)
        assert screen._row_style(ROWS[-1]) == "dim" and screen._row_style(ROWS[0]) == ""
        await pilot.press("home", "shift+right", "right")
        await pilot.pause()
        assert screen.premium == 6
        await pilot.press("p", "end", "space")
        await pilot.pause()
        assert screen.cap == pytest.approx(ROWS[-1]["price"] * 1.06, abs=2e-6)
        assert screen._row_style(ROWS[-1]) == "" and "1 marked" in screen_text(pilot.app)
        await pilot.press("c")
        await pilot.pause()
        assert not screen.table.marked and not screen.capping and screen._row_style(ROWS[0]) == ""


async def test_the_slider_begins_where_the_settings_say(opened: Open) -> None:
    fake = FakeCholine()
    fake.change_setting("run.premium", "25")
    async with opened(fake=fake) as pilot:
        assert screen_of(pilot).premium == 25 and not screen_of(pilot).capping


async def test_the_mouse_does_it_too(opened: Open) -> None:
    async with opened((120, 40)) as pilot:
        screen = screen_of(pilot)
        slider = screen.query_one("#premium", PercentSlider)
        await pilot.click(slider, offset=(slider.size.width // 3, 0))
        await pilot.pause()
        assert screen.premium > 10 and screen.capping
        await pilot.click(screen.table, offset=(20, 0))  # a header
        await pilot.pause()
        assert screen.table.sort_key != "price"


async def test_details_and_the_cost_of_my_run(opened: Open) -> None:
    async with opened((160, 50)) as pilot:
        screen = screen_of(pilot)
        row = next(r for r in ROWS if r["machine_id"] == 4003)
        assert screen.table.move_to_key(row["id"])
        await pilot.pause()
        assert screen.query_one(DetailPane).display
        text = screen_text(pilot.app)
        assert "by this home: GPU 1 does not" in text and "cost of this run" in text
        assert screen._row_style(row) == "dim", "the engine rents nothing there"
        await pilot.press("d")
        await pilot.pause()
        assert isinstance(pilot.app.screen, NeedsScreen)
        for name, value in (("hours", "100"), ("gb_up", "50"), ("gb_down", "0")):
            pilot.app.screen.query_one(f"#needs-{name}", Input).value = value
        await pilot.press("enter")
        await pilot.pause()
        gpu, disk = row["dph_base"] * 100, 20 * row["storage_cost"] / 720 * 100
        want = gpu + disk + 50 * row["inet_up_cost"]
        told = re.search(r"all in     \$([\d,.]+)", screen_text(pilot.app))
        assert told is not None and float(told[1].replace(",", "")) == pytest.approx(want, abs=0.02)
        assert len(streams(pilot.app.fake)) == 1  # type: ignore[attr-defined]


async def test_another_disk_or_kind_is_another_search(opened: Open) -> None:
    async with opened() as pilot:
        screen, fake = screen_of(pilot), pilot.app.fake  # type: ignore[attr-defined]
        await pilot.press("d")
        await pilot.pause()
        pilot.app.screen.query_one("#needs-disk_gb", Input).value = "0"
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(pilot.app.screen, NeedsScreen) and "disk GB is a number" in screen_text(pilot.app)
        pilot.app.screen.query_one("#needs-disk_gb", Input).value = "77"
        pilot.app.screen.query_one("#needs-type", Input).value = "int"
        await pilot.press("enter")
        await until(pilot, lambda: len(streams(fake)) == 2 and not screen.market.looking)
        assert streams(fake)[1][1] == {"type": "interruptible", "disk": 77.0, "again": False}
        await pilot.press("t")
        await until(pilot, lambda: len(streams(fake)) == 3 and not screen.market.looking)
        assert streams(fake)[2][1]["type"] == "on-demand"


async def test_enter_and_i_open_the_details_and_esc_closes_them(opened: Open) -> None:
    async with opened((80, 24)) as pilot:
        for key in ("enter", "v"):
            await pilot.press(key)
            await pilot.pause()
            assert isinstance(pilot.app.screen, DetailScreen)
            assert "cost of this run" in str(pilot.app.screen.query_one(Sheet).content)
            await pilot.press("escape")
            await pilot.pause()
            assert not isinstance(pilot.app.screen, DetailScreen)


# ---------------------------------------------------------------------------------- sort, save, copy


async def test_sorting_by_list_key_and_header(opened: Open) -> None:
    async with opened((160, 40)) as pilot:
        screen = screen_of(pilot)
        await pilot.press("s")
        await pilot.pause()
        assert isinstance(pilot.app.screen, SortScreen)
        keys = [column.key for column in screen.table.columns]
        await pilot.press(*["down"] * (keys.index("reliability") - keys.index("price")), "enter")
        await pilot.pause()
        assert (screen.table.sort_key, screen.table.reverse) == ("reliability", True)
        await pilot.press("S")
        assert not screen.table.reverse
        before = [c.key for c in screen.table.visible_columns].index("reliability")
        await pilot.press("less_than_sign")
        await pilot.pause()
        assert [c.key for c in screen.table.visible_columns].index("reliability") == before - 1
        await pilot.press("greater_than_sign")
        await pilot.pause()
        assert [c.key for c in screen.table.visible_columns].index("reliability") == before


async def test_the_list_is_saved_with_exact_numbers(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened() as pilot:
        screen = screen_of(pilot)
        screen.set_text("num_gpus>=2")
        shown = screen.table.shown_records
        for _ in range(2):
            await pilot.press("ctrl+e")
            await pilot.pause()
            assert isinstance(pilot.app.screen, SaveScreen)
            await pilot.press("enter")
            await pilot.pause()
        await pilot.press("ctrl+e")
        await pilot.pause()
        await pilot.press("ctrl+t", "enter")
        await pilot.pause()
        first, second = sorted(tmp_path.glob("*.csv"))
        assert first.read_text() == second.read_text(), "nothing is written over"
        lines = list(csv.DictReader(io.StringIO(first.read_text())))
        assert [float(line["price"]) for line in lines] == [row["price"] for row in shown]
        assert [int(line["id"]) for line in lines] == [row["id"] for row in shown]
        assert json.loads(next(tmp_path.glob("*.json")).read_text()) == shown
        await pilot.press("ctrl+e")
        await pilot.pause()
        for name, why in (("x.txt", "ends in"), ("/nowhere/at/all.csv", "cannot be written")):
            pilot.app.screen.query_one("#save-name", Input).value = name
            await pilot.press("enter")
            await pilot.pause()
            assert why in screen_text(pilot.app) and isinstance(pilot.app.screen, SaveScreen)


async def test_copying(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as pilot:
        copied: list[str] = []
        monkeypatch.setattr(pilot.app, "copy", lambda text, what: copied.append(text))
        await pilot.press("y", "Y")
        await pilot.press("space", "space", "y")
        await pilot.pause()
        first, second = ROWS[0]["id"], ROWS[1]["id"]
        cap = f"{ROWS[0]['price'] * 1.1:.6f}".rstrip("0")
        assert copied == [
            str(first),
            f"choline run --offer {first} --disk 20 --max-price {cap}",
            f"{first}\n{second}",
        ]


async def test_filters_are_saved_used_and_forgotten(opened: Open) -> None:
    async with opened() as pilot:
        screen, fake = screen_of(pilot), pilot.app.fake  # type: ignore[attr-defined]
        screen.set_text("gpu_ram>=24 sweden")
        await pilot.press("f")
        await pilot.pause()
        assert isinstance(pilot.app.screen, SavedScreen)
        await pilot.press("n")
        await press(pilot, "north")
        await pilot.press("enter")
        await pilot.pause()
        saved = fake.filter("north")
        assert saved.query == "gpu_ram>=24 geolocation=SE" and saved.disk == 20
        screen.set_text("")
        commands = {command.name: command for command in screen.palette_commands()}
        assert list(commands) == ["Filter: north"]
        await pilot.press("f")
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert screen.bar.text == "gpu_ram>=24 geolocation=SE" and screen.table.shown < 40
        await pilot.press("f")
        await pilot.pause()
        await pilot.press("delete")
        await pilot.pause()
        assert fake.filters() == {}
        screen.set_text("gpu_ram>")
        await pilot.press("f")
        await pilot.pause()
        await pilot.press("n")
        await press(pilot, "bad")
        await pilot.press("enter")
        await pilot.pause()
        assert fake.filters() == {}, "what is not finished is not saved"


# ------------------------------------------------------------------------------------------ the rest


def test_every_action_has_a_method_and_a_test() -> None:
    from choline_tui.screens.offers import OffersScreen

    here = "".join(p.read_text("utf-8") for p in Path(__file__).parent.glob("test_*.py"))
    for each in ACTIONS:
        assert hasattr(OffersScreen, f"action_{each.does.partition('(')[0]}"), each.id
        for key in each.keys.split(","):
            assert f'"{key}"' in here, f"no test presses {key} ({each.id})"


async def test_hostile_text_in_every_field_changes_nothing_but_itself(opened: Open) -> None:
    bad = dict.fromkeys(("gpu_name", "geolocation", "cpu_name", "disk_name"), HOSTILE + "[/foo][red]")
    bad |= {"driver_version": HOSTILE, "verification": "[/x]", "hostname": HOSTILE}
    fake = FakeCholine(steps=[offer_step([offer(id=1, machine_id=4003, **bad), *ROWS])])
    async with opened((160, 50), fake=fake) as pilot:
        screen = screen_of(pilot)
        screen.table.move_to_key(1)
        await pilot.pause()
        for keys in (("enter",), ("e",), ("f",), ("s",), ("ctrl+e",), ("R",)):
            await pilot.press(*keys)
            await pilot.pause()
            text = screen_text(pilot.app)
            assert not [c for c in text if c != "\n" and (not c.isprintable() or c in "\u202e\u200b")]
            await pilot.press("escape")
            await pilot.pause()
        screen.set_text("[/foo] " + HOSTILE)
        await pilot.pause()
        assert "field name was expected" in screen_text(pilot.app)


def test_the_market_as_it_is_told() -> None:
    market = Market()
    market.begin("x")
    market.take(offer_step([offer(id=1), offer(id=2)], cached=True, last=False), first=True)
    assert market.cached and market.looking and market.count == "2"
    market.take(offer_step([offer(id=3)], gone=[1], complete=False, last=False), first=False)
    assert sorted(market.rows) == [2, 3] and market.count == "2+"
    market.take(offer_step([], trouble=MarketDown("gone"), complete=False, seen_at=NOW), first=False)
    assert sorted(market.rows) == [2, 3] and not market.looking and market.seen_at == NOW - 3


def test_small_things() -> None:
    assert [age(s) for s in (-5, 12, 100, 7200, 400_000)] == ["0 s", "12 s", "2 min", "2 h", "5 d"]
    assert cap_over([], 10) is None and cap_over([offer(price=0.1)], 0) == 0.1
    assert number_under([0.1, 0.2, 0.2, 0.3], 0.2) == 3
    texts = {"hours": "8", "disk_gb": "20", "gb_up": "1", "gb_down": "1", "type": "on"}
    assert read_needs(texts)[0] == Needs(8, 1, 1, 20, "on-demand")
    assert read_needs({**texts, "type": "spot"})[0].type == "interruptible"  # type: ignore[union-attr]
    for name in ("hours", "disk_gb", "gb_up", "type"):
        assert read_needs({**texts, name: "nan"})[1] == name
    assert "'=HYPERLINK" in as_csv([offer(gpu_name="=HYPERLINK()")], _columns())


def _columns() -> Any:
    from choline_tui.screens.offers.columns import columns

    return columns(lambda row: None)


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    assert write_new(tmp_path / "a.csv", "1").name == "a.csv"
    assert write_new(tmp_path / "a.csv", "2").name == "a-2.csv"
    assert (tmp_path / "a.csv").read_text() == "1"


async def test_without_a_key_that_is_said_however_long_the_market_is_looked_for(opened: Open) -> None:
    never = asyncio.Event()
    no_key = MarketState("no-key", "https://console.vast.ai")
    async with opened(fake=FakeCholine(steps=[never]), wait=False, market=no_key) as pilot:
        assert screen_of(pilot).market.looking
        await until(pilot, lambda: "No API key" in screen_text(pilot.app))
        assert "f9" in screen_text(pilot.app)
