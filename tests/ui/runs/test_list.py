"""The list of runs: what it shows of each, filter, sort, marks, and the way to a page."""

import csv
import io
import json
from pathlib import Path

import pytest

from choline_tui.kernel.errors import StoreError
from choline_tui.model.run import Outcome, RentalState, RunState
from choline_tui.screens.chooser import Chooser
from choline_tui.screens.runs.cells import alarms, machine_state, row_colour, what_happens, worth_first
from choline_tui.screens.runs.matching import matcher
from choline_tui.screens.runs.page import RunScreen
from choline_tui.screens.runs.screen import RunsScreen
from choline_tui.services.choline import RunView
from choline_tui.services.feed import EngineState
from choline_tui.widgets.words import Words
from tests.ui.conftest import Shot, screen_text
from tests.ui.fake import HOSTILE, NOW, FakeApp, attempt, ended_view, every_state, live_view, rental, run
from tests.ui.runs.stage import RunsFake, make_app, picture, until

SIZES = [(80, 24), (160, 50)]


def screen(app: FakeApp) -> RunsScreen:
    found = app.main_screen
    assert isinstance(found, RunsScreen)
    return found


def many(count: int) -> list[RunView]:
    views = []
    for n in range(count):
        view = live_view() if n % 10 == 0 else ended_view(list(Outcome)[n % 6])
        name = f"r{n:03d}"
        views.append(
            RunView(
                view.run.but(id=name, created=NOW - 60 * n, plan=view.run.plan.but(name=f"sweep {n}")),
                view.attempts,
                [r.but(id=f"{name}-1", run=name) for r in view.rentals],
            )
        )
    return views


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_pictures(size: tuple[int, int], shot: Shot) -> None:
    fake = RunsFake()
    for view in fake.views:
        if view.run.live and view.attempts:
            fake.write_log(view.run.id, f"epoch 3/10\rstep 120 of {view.run.plan.name} loss 0.0421")
    app = make_app(fake)
    name = f"{size[0]}x{size[1]}"
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await picture(shot, pilot, f"runs/list-{name}", svg=size[0] == 160)
        screen(app).table.move_to_key("going1")
        await pilot.pause()
        await picture(shot, pilot, f"runs/list-releasing-{name}")
        fake.views = many(500)
        app.fake_feed.touch()
        await pilot.pause()
        await pilot.press("slash", *"live sweep", "enter", "space", "space")
        await pilot.pause()
        await picture(shot, pilot, f"runs/list-many-filtered-{name}")
        await pilot.press("slash", *" nothing")
        await pilot.pause()
        await picture(shot, pilot, f"runs/list-no-match-{name}")
        await pilot.press("escape", "s")
        await pilot.pause()
        await picture(shot, pilot, f"runs/list-sort-{name}")
        await pilot.press("escape")
        app.fake_feed.engine = EngineState("down", "it ended")
        app.fake_feed.touch()
        await pilot.pause()
        await picture(shot, pilot, f"runs/list-engine-down-{name}")
        fake.views = []
        app.fake_feed.engine = EngineState("up", "")
        app.fake_feed.touch()
        await pilot.pause()
        await picture(shot, pilot, f"runs/list-empty-{name}")
        app.fake_feed.trouble = StoreError("the store is of a later version", hint="Update choline.")
        app.fake_feed.touch()
        await pilot.pause()
        await picture(shot, pilot, f"runs/list-trouble-{name}")


async def test_a_light_picture(shot: Shot) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.theme = "choline-light"
        await pilot.pause()
        await picture(shot, pilot, "runs/list-light-80x24", svg=True)


def test_what_may_bill_after_the_end_is_said_first_and_in_red() -> None:
    states = {view.run.id: view for view in every_state()}
    going, held = states["going1"], states["held01"]
    assert row_colour(going) == "bad"
    assert machine_state(going) == "releasing"
    assert "may bill $0.7200/h" in what_happens(going, NOW, "its last line")
    assert row_colour(held) == "warn"
    assert "20m00s more" in what_happens(held, NOW, "")
    assert row_colour(states["ended0"]) == "dim"
    assert not alarms(states["live00"], NOW)
    unknown = RunView(going.run, [], [rental("going1", state=RentalState.UNKNOWN, trouble="no answer")])
    assert row_colour(unknown) == "bad"
    assert "not known whether it was rented: no answer" in what_happens(unknown, NOW, "")
    up = RunView(going.run, [], [rental("going1", state=RentalState.UP)])
    assert row_colour(up) == "bad"
    gone = RunView(going.run, [], [rental("going1", state=RentalState.GONE)])
    assert row_colour(gone) == "dim"
    assert machine_state(gone) == ""


def test_what_lives_or_bills_comes_first() -> None:
    order = [view.run.id for view in sorted(every_state(), key=worth_first)]
    assert order[0] == "live00"
    assert set(order[10:12]) == {"held01", "going1"}
    assert order[12:] == [f"ended{n}" for n in range(6)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("live", {f"live{n:02d}" for n in range(10)}),
        ("billing -live", {"held01", "going1"}),
        ("FAILED", {"ended1", "ended2"}),
        ("ended -tiny", {"ended0", "ended1", "ended2", "ended3", "ended4", "ended5", "held01", "going1"}),
        ("releasing", {"going1"}),
        ("rtx_4090 waiting", {"live06"}),
        ("[/foo]", set()),
    ],
)
def test_the_filter_finds(text: str, found: set[str]) -> None:
    test = matcher(text)
    assert test is not None
    assert {view.run.id for view in every_state() if test(view)} == found


def test_a_filter_without_words_is_none() -> None:
    assert matcher("  ") is None
    assert matcher("- !") is None


async def test_the_cursor_stays_on_its_run_while_others_come_and_go() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        table = screen(app).table
        table.move_to_key("ended1")
        app.fake.views = [live_view(id="new001", created=NOW), *app.fake.views[3:]]
        app.fake_feed.touch()
        await pilot.pause()
        assert table.cursor_record is not None
        assert table.cursor_record.run.id == "ended1"
        assert table.shown_records[0].run.id == "new001"


async def test_sort_reverse_and_move_a_column() -> None:
    app = make_app()
    async with app.run_test(size=(160, 50)) as pilot:
        await pilot.pause()
        table = screen(app).table
        await pilot.press("s")
        assert isinstance(app.screen, Chooser)
        await pilot.press("c", "enter")
        await pilot.pause()
        assert (table.sort_key, table.reverse) == ("cost", False)
        await pilot.press("S")
        assert table.reverse
        before = [c.key for c in table.visible_columns]
        await pilot.press("greater_than_sign")
        after = [c.key for c in table.visible_columns]
        assert after.index("cost") == before.index("cost") + 1
        await pilot.press("less_than_sign")
        assert [c.key for c in table.visible_columns] == before
        await pilot.press("s", "home", "enter")
        await pilot.pause()
        assert table.sort_key is None
        await pilot.click("#runs", offset=(5, 0))
        assert table.sort_key == "state"


async def test_enter_and_double_click_open_a_page_and_escape_comes_back() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("down", "enter")
        await pilot.pause()
        assert isinstance(app.screen, RunScreen)
        assert app.screen.run_id == "live01"
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)
        await pilot.click("#runs", offset=(20, 4), times=2)
        await pilot.pause()
        assert isinstance(app.screen, RunScreen)
        assert app.screen.run_id == "live03"


async def test_the_app_opens_a_run_from_anywhere() -> None:
    fake = RunsFake()
    app = FakeApp("offers", fake=fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.open_run("live04")
        await pilot.pause()
        assert isinstance(app.screen, RunScreen)
        assert app.screen.run_id == "live04"
        app.open_run("live00")
        await pilot.pause()
        assert isinstance(app.screen, RunScreen)
        assert app.screen.run_id == "live00"
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


@pytest.mark.parametrize("kind", ["csv", "json"])
async def test_the_list_is_saved_with_exact_numbers(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fake = RunsFake()
    fake.views = [live_view(id="r1", plan={"name": "=cmd()"}), live_view(id="r2", plan={"name": HOSTILE})]
    app = make_app(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        for _ in range(2):
            await pilot.press("ctrl+e")
            await until(pilot, lambda: isinstance(app.screen, Chooser))
            await pilot.press(kind[0], "enter")
            await until(pilot, lambda: not [w for w in app.workers if w.group == "verb"])
    text = (tmp_path / f"choline-runs.{kind}").read_text("utf-8")
    assert (tmp_path / f"choline-runs-2.{kind}").read_text("utf-8") == text
    rows = json.loads(text)["runs"] if kind == "json" else list(csv.DictReader(io.StringIO(text)))
    assert float(rows[0]["cost"]) == fake.views[0].cost(NOW)
    assert "\x1b" not in text
    assert rows[0]["name"] == ("=cmd()" if kind == "json" else "'=cmd()")


async def test_hostile_text_changes_nothing_but_itself() -> None:
    def drawn(text: str) -> list[RunView]:
        code = run().code
        assert code is not None
        view = live_view(
            reason=text, phase=text, plan={"name": text, "note": text},
            code=code.model_copy(update={"message": text, "commit": text, "branch": text}),
        )  # fmt: skip
        bad = rental(state=RentalState.RELEASING, gpu_name=text, place_name=text, trouble=text, id="x-1")
        ended = RunView(
            run("x", state=RunState.ENDED, outcome=Outcome.FAILED, reason=text, plan={"name": text}),
            [attempt("x")],
            [bad],
        )
        return [view, ended]

    pictures = []
    for text in ("plain", f"[/foo] [bold]{HOSTILE}"):
        fake = RunsFake(views=drawn(text))
        fake.write_log("abc123", f"{text}\n")
        app = make_app(fake)
        async with app.run_test(size=(160, 24)) as pilot:
            await pilot.pause()
            await pilot.press("down")
            await pilot.pause()
            pictures.append(screen_text(app))
            assert "[/foo]" in pictures[-1] or text == "plain"
    clean, hostile = (p.split("\n") for p in pictures)
    assert "\x1b" not in pictures[1]
    assert [n for n, line in enumerate(clean) if "plain" not in line and line != hostile[n]] == []


async def test_a_log_line_that_comes_is_seen_in_the_list() -> None:
    fake = RunsFake()
    app = make_app(fake)
    async with app.run_test(size=(160, 50)) as pilot:
        await pilot.pause()
        fake.write_log("live00", "first\nstep 7\n\n")
        app.fake_clock.now += 2
        screen(app)._tick()
        await pilot.pause()
        assert "step 7" in screen_text(app)
        assert "step 7" in screen(app).query_one("#peek", Words).told


async def test_time_and_cost_go_on_by_themselves() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        before = screen_text(app)
        app.fake_clock.now += 3600
        screen(app)._tick()
        await pilot.pause()
        after = screen_text(app)
        assert "10m00s" in before
        assert "1h10m" in after.split("\n")[3]


async def test_what_happens_is_drawn_at_once_and_what_creeps_waits_for_the_tick() -> None:
    fake = RunsFake(views=many(60))
    app = make_app(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        table = screen(app).table
        first = fake.views[0]
        creeping = RunView(first.run, first.attempts, [r.but(cost=1.0) for r in first.rentals])
        fake.views[0] = creeping
        app.fake_feed.touch()
        await pilot.pause()
        assert table.records[0] is first
        screen(app)._tick()
        assert table.records[0] is creeping
        ended = RunView(first.run.but(state=RunState.COLLECTING), first.attempts, first.rentals)
        fake.views[0] = ended
        app.fake_feed.touch()
        await pilot.pause()
        assert table.records[0] is ended
        assert "collecting" in screen_text(app)
