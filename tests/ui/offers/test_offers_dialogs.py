"""Export and plan card: what is shown is what goes out, and Cancel is the default."""

import asyncio
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Button, Input

from choline_tui.kernel.errors import NoOffer, UsageError
from choline_tui.model.filters import Filter
from choline_tui.screens.offers.export import ExportScreen
from choline_tui.screens.offers.market import Needs
from choline_tui.screens.offers.plan_card import PlanScreen, card_rows, interruptible_hint
from choline_tui.services.looks import Looks
from tests.ui.conftest import screen_text
from tests.ui.fake import HOSTILE, FakeCholine, market_rows, offer, offer_step, offers, plan
from tests.ui.offers.conftest import Open, press, screen_of, until
from tests.ui.offers.scenes import set_up

ROWS = market_rows()


def export_of(pilot: Any) -> ExportScreen:
    found = pilot.app.screen
    assert isinstance(found, ExportScreen)
    return found


async def test_the_export_previews_counts_and_copies_every_form(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as pilot:
        copied: list[str] = []
        monkeypatch.setattr(pilot.app, "copy", lambda text, what: copied.append(text))
        pilot.app.fake.found = offers(*ROWS[:7], complete=False)  # type: ignore[attr-defined]
        await pilot.press("space", "space", "e")
        await pilot.pause()
        screen = export_of(pilot)
        assert "2 of the 40 offers here match" in screen_text(pilot.app)
        await until(pilot, lambda: screen.market)
        await pilot.pause()
        assert "the market lists 7+ now" in screen_text(pilot.app)
        await pilot.press("3", "end")
        await pilot.pause()
        cap = ROWS[1]["price"] * 2
        names = {(ROWS[n]["gpu_name"], ROWS[n]["num_gpus"]) for n in (0, 1)}
        like = [r for r in ROWS if (r["gpu_name"], r["num_gpus"]) in names and r["price"] <= cap]
        assert f"{len(like)} of the 40 offers here match" in screen_text(pilot.app)
        for _ in range(5):
            await pilot.press("y", "tab")
            await pilot.pause()
        table, same, vastai, api, run = copied
        assert table == same and vastai.startswith("vastai search offers") and run.startswith("choline run")
        assert tomllib.loads(table)["filter"]["max_price"] == pytest.approx(cap)
        assert json.loads(api)["dph_total"] == {"lte": pytest.approx(cap)}
        await pilot.press("shift+tab", "2", "k")
        await pilot.pause()
        assert screen.form == 4 and "gpu_ram>=" in screen_text(pilot.app) and not screen.keep
        await pilot.press("1", "escape")
        await pilot.pause()
        assert screen_of(pilot).premium == 100, "the premium found here is the list's"


async def test_an_export_is_saved_as_a_filter_and_as_a_file(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened((80, 24)) as pilot:
        fake = pilot.app.fake  # type: ignore[attr-defined]
        await pilot.press("e")
        await pilot.pause()
        screen = export_of(pilot)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(pilot.app.focused, Input))
        await press(pilot, "my own")
        await pilot.press("enter")
        await pilot.pause()
        assert pilot.app.faults[-1].message.startswith("'my own' cannot be")  # type: ignore[attr-defined]
        await pilot.press("escape", "s")
        await until(pilot, lambda: isinstance(pilot.app.focused, Input))
        await press(pilot, "mine")
        await pilot.press("enter")
        await until(pilot, lambda: "mine" in fake.filters())
        assert fake.filter("mine") == screen.as_filter() and isinstance(fake.filter("mine"), Filter)
        assert fake.filter("mine").max_price == pytest.approx(ROWS[0]["price"] * 1.1)
        for ending in ("toml", "toml", "sh", "json", "sh"):
            await pilot.press("w")
            await until(pilot, lambda: isinstance(pilot.app.focused, Input))
            await pilot.press("enter", "tab")
            await pilot.pause()
            assert list(tmp_path.glob(f"offers-*.{ending}"))
        assert len(list(tmp_path.iterdir())) == 5
        assert export_of(pilot) is screen


async def test_what_the_official_client_cannot_say_is_said(opened: Open) -> None:
    async with opened() as pilot:
        screen_of(pilot).set_text("gpu_ram in [24.564,24.576]")
        assert screen_of(pilot).table.shown
        await pilot.press("e")
        await pilot.pause()
        await pilot.press("tab", "tab")
        await pilot.pause()
        assert "no words for a list for gpu_ram" in screen_text(pilot.app)
        await pilot.press("w", "y")
        await pilot.pause()
        assert not export_of(pilot).query_one("#export-name").has_class("-there")


# ------------------------------------------------------------------------------------------ the plan


def plan_of(pilot: Any) -> PlanScreen:
    found = pilot.app.screen
    assert isinstance(found, PlanScreen)
    return found


def requests(fake: FakeCholine, method: str) -> list[Any]:
    return [what for name, what in fake.asked if name == method]


async def test_the_plan_card_cancels_by_default_and_rents_when_told_to(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened() as pilot:
        fake, opened_runs = pilot.app.fake, []  # type: ignore[attr-defined,var-annotated]
        monkeypatch.setattr(pilot.app, "open_run", opened_runs.append)
        for how in ("enter", "escape"):
            await pilot.press("R")
            await until(pilot, lambda: plan_of(pilot).card is not None)
            await pilot.pause()
            assert pilot.app.focused.id == "plan-cancel"  # type: ignore[union-attr]
            await pilot.press(how)
            await pilot.pause()
            assert not isinstance(pilot.app.screen, PlanScreen)
        assert not requests(fake, "start") and not opened_runs
        await pilot.press("R")
        await until(pilot, lambda: plan_of(pilot).card is not None)
        await pilot.pause()
        asked = requests(fake, "plan")[-1]
        assert (asked.offer, asked.disk, asked.type) == (ROWS[0]["id"], 20, "on-demand")
        assert asked.max_price == pytest.approx(ROWS[0]["price"] * 1.1) and asked.project == str(tmp_path)
        text = screen_text(pilot.app)
        said = "offer|cap|image|20 GB disk|6006|python train.py|sends|7 files|$25.00|enough for|cost"
        said += "|if offline|results|price|$0.3871/h|GPU off"
        assert [word for word in said.split("|") if word not in text] == []
        await pilot.press("right", "enter")
        await until(pilot, lambda: opened_runs)
        started = requests(fake, "start")
        assert len(started) == 1 and started[0].max_price == 0.45, "the cap of the card, nothing else"
        assert opened_runs == ["abc123"]


async def test_several_marked_offers_are_planned_together(opened: Open) -> None:
    async with opened() as pilot:
        await pilot.press("space", "space", "R")
        await until(pilot, lambda: plan_of(pilot).card is not None)
        asked = requests(pilot.app.fake, "plan")[-1]  # type: ignore[attr-defined]
        assert asked.query == f"ask_contract_id in [{ROWS[0]['id']},{ROWS[1]['id']}]" and asked.offer is None
        assert asked.max_price == pytest.approx(ROWS[1]["price"] * 1.1)


async def test_an_unverified_offer_is_not_left_out_of_its_own_plan(opened: Open) -> None:
    fake = FakeCholine(steps=[offer_step([{**ROWS[0], "verification": "unverified"}])])
    async with opened(fake=fake) as pilot:
        screen = screen_of(pilot)
        assert screen.plan_fields([ROWS[0]])["query"] == ""
        screen.table.set_filter(None)
        await pilot.press("R")
        await until(pilot, lambda: plan_of(pilot).card is not None)
        asked = requests(fake, "plan")[-1]
        assert (asked.query, asked.offer) == ("verified in [true,false]", ROWS[0]["id"])


async def test_without_a_command_the_card_asks_for_one_and_plans_anew(opened: Open) -> None:
    fake = FakeCholine(fails={"plan": UsageError("there is no command to run", hint="Give it.")})
    async with opened(fake=fake) as pilot:
        await pilot.press("R")
        await until(pilot, lambda: isinstance(pilot.app.focused, Input))
        assert "no command to run" in screen_text(pilot.app)
        assert plan_of(pilot).query_one("#plan-go", Button).disabled
        del fake.fails["plan"]
        await press(pilot, "make train")
        await pilot.press("enter")
        await until(pilot, lambda: plan_of(pilot).card is not None)
        assert requests(fake, "plan")[-1].command == "make train"
        await until(pilot, lambda: not plan_of(pilot).query_one("#plan-go", Button).disabled)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.focused, Input))
        await press(pilot, " x")
        assert plan_of(pilot).query_one("#plan-go", Button).disabled, "another command is another plan"


async def test_a_start_that_fails_says_why_and_leaves_nothing(opened: Open) -> None:
    fake = FakeCholine(fails={"start": NoOffer("none under the cap", hint="Raise it.")})
    async with opened(fake=fake) as pilot:
        await pilot.press("R")
        await until(pilot, lambda: plan_of(pilot).card is not None)
        await pilot.pause()
        await pilot.press("right", "enter")
        await until(pilot, lambda: pilot.app.faults)  # type: ignore[attr-defined]
        await pilot.pause()
        assert "none under the cap" in screen_text(pilot.app) and not plan_of(pilot).starting
        await pilot.press("escape")
        await pilot.pause()
        assert not isinstance(pilot.app.screen, PlanScreen)


async def test_a_run_is_started_once_however_often_it_is_asked(opened: Open) -> None:
    async with opened() as pilot:
        gate = asyncio.Event()
        fake = pilot.app.fake  # type: ignore[attr-defined]
        start = fake.start

        async def slow(request: Any) -> Any:
            await gate.wait()
            return await start(request)

        fake.start = slow
        await pilot.press("R")
        await until(pilot, lambda: plan_of(pilot).card is not None)
        await pilot.pause()
        await pilot.press("right", "enter", "enter", "escape")
        await pilot.pause()
        assert plan_of(pilot).starting, "it cannot be left half-way"
        gate.set()
        await until(pilot, lambda: not isinstance(pilot.app.screen, PlanScreen))
        assert len(requests(fake, "start")) == 1


async def test_read_only_has_no_door_to_spending(opened: Open) -> None:
    async with opened(looks=Looks(readonly=True)) as pilot:
        await pilot.press("R")
        await pilot.pause()
        assert not isinstance(pilot.app.screen, PlanScreen)
        screen_of(pilot).action_plan()
        await pilot.pause()
        assert not isinstance(pilot.app.screen, PlanScreen)
        assert " R " not in screen_text(pilot.app).splitlines()[-1]


def test_the_cards_words_on_money_and_on_interruptible() -> None:
    fake = set_up(FakeCholine())
    card = fake.card
    assert card is not None
    rows = {name: text for name, text, _ in card_rows(card, Needs(hours=100), billing=1.6129)}
    assert rows["credit"] == "$25.00, enough for 12 h of this and all that runs ($1.61/h)"
    bid = card.model_copy(update={"plan": plan(type="interruptible", cap=0.45), "bid": 0.2, "credit": None})
    told = [text for name, text, _ in card_rows(bid, Needs(hours=1), 0.0) if name == "!"]
    assert any("on-demand is the better choice" in text for text in told)
    assert ("credit", "not known", "warn") in card_rows(bid, Needs(), 0.0)
    assert "checkpoints" in interruptible_hint(20, True)
    assert "no results directory" in interruptible_hint(20, False)


async def test_hostile_words_in_a_plan(opened: Open) -> None:
    fake = FakeCholine()
    set_up(fake)
    bad = HOSTILE + "[/foo]"
    assert fake.card is not None
    evil = fake.card.model_copy(
        update={
            "plan": plan(name=bad, command=bad, image=bad, ports=[bad], note=bad),
            "offer": offer(gpu_name=bad, geolocation=bad),
            "branch": bad, "warnings": [bad], "when_unreachable": bad,
        }
    )  # fmt: skip
    async with opened((80, 24), fake=fake) as pilot:
        fake.card = evil
        await pilot.press("R")
        await until(pilot, lambda: plan_of(pilot).card is not None)
        await pilot.pause()
        text = screen_text(pilot.app)
        assert not [c for c in text if c != "\n" and (not c.isprintable() or c in "\u202e\u200b")]


async def test_a_run_of_this_computer_is_repeated_here_and_sends_no_price(opened: Open) -> None:
    fake = set_up(FakeCholine())
    assert fake.card is not None
    fake.card = fake.card.model_copy(
        update={"plan": plan(place="here", cap=0.0), "offer": None, "price": 0.0}
    )
    rows = {name: text for name, text, _ in card_rows(fake.card, Needs(), 0.0)}
    assert "it costs nothing" in rows["on"] and not {"cap", "credit", "at most"} & set(rows)
    here = fake.card
    async with opened(fake=fake) as pilot:
        fake.card = here
        await pilot.press("R")
        await until(pilot, lambda: plan_of(pilot).card is not None)
        await pilot.pause()
        assert str(plan_of(pilot).query_one("#plan-go", Button).label) == "Run here"
        await pilot.press("right", "enter")
        await until(pilot, lambda: not isinstance(pilot.app.screen, PlanScreen))
        (started,) = requests(fake, "start")
        assert started.max_price != 0, "a price of nothing is no cap"
