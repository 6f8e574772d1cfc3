"""What is done with runs: each asks first where something ends or is lost, and says what it did."""

import sys
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Button, Input, OptionList, Static

from choline_tui import actions
from choline_tui.kernel.errors import NotFound, RemoteError, SystemFault
from choline_tui.model.run import Outcome, RentalState
from choline_tui.screens.dialogs import ConfirmScreen
from choline_tui.screens.runs import outside
from choline_tui.screens.runs.actions import ACTIONS, PAGE, VERBS
from choline_tui.screens.runs.forward import ForwardScreen
from choline_tui.screens.runs.page import RunScreen
from choline_tui.screens.runs.screen import RunsScreen
from choline_tui.services.choline import RunView
from choline_tui.services.looks import Looks
from tests.ui.conftest import Shot, screen_text
from tests.ui.fake import NOW, attempt, ended_view, live_view, plan, rental
from tests.ui.runs.stage import Include, RunsFake, make_app, picture, until

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
FAILS = [sys.executable, "-c", "import sys; sys.exit('bind: Address already in use [/x]')"]


class Told:
    """An app whose toasts and copies are kept."""

    def __init__(self, fake: RunsFake, monkeypatch: pytest.MonkeyPatch, **how: Any) -> None:
        self.fake = fake
        self.app = make_app(fake, **how)
        self.said: list[str] = []
        self.copied: list[str] = []
        monkeypatch.setattr(self.app, "say", self.said.append)
        monkeypatch.setattr(self.app, "copy", lambda text, what: self.copied.append(text))

    async def ask(self, pilot: Any, *keys: str) -> ConfirmScreen:
        await pilot.press(*keys)
        await until(pilot, lambda: isinstance(self.app.screen, ConfirmScreen))
        screen = self.app.screen
        assert isinstance(screen, ConfirmScreen)
        focused = self.app.focused
        assert isinstance(focused, Button) and focused.id == "cancel", "the default changes nothing"
        return screen

    async def idle(self, pilot: Any) -> None:
        await until(pilot, lambda: not [w for w in self.app.workers if w.group == "verb"])


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(RunsFake(), monkeypatch)


async def begin(pilot: Any, told: Told, name: str) -> None:
    await pilot.pause()
    screen = told.app.main_screen
    assert isinstance(screen, RunsScreen)
    screen.table.move_to_key(name)
    await pilot.pause()


def words(screen: ConfirmScreen) -> str:
    return "\n".join([screen.question.title, *screen.question.lines, screen.question.cost])


async def test_stop_says_what_it_will_do_and_asks(told: Told, shot: Shot) -> None:
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "live00")
        question = await told.ask(pilot, "x")
        text = words(question)
        assert "live00 tiny-0" in text
        assert "2x RTX 4090" in text
        assert "$0.1000 so far; ends $0.7200/h" in text
        await picture(shot, pilot, "runs/ask-stop-80x24")
        await pilot.press("enter")
        await told.idle(pilot)
        assert not told.fake.of("stop")
        await told.ask(pilot, "x")
        await pilot.press("right", "enter")
        await told.idle(pilot)
        assert told.fake.of("stop") == [("live00", {"drop_results": False})]
        assert told.said == ["asked to stop: live00"]


async def test_stopping_again_offers_to_lose_what_is_not_home(told: Told) -> None:
    view = told.fake.views[5]
    told.fake.views[5] = RunView(view.run.but(want="stop"), view.attempts, view.rentals)
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "live05")
        question = await told.ask(pilot, "x")
        assert question.question.danger
        assert "LOST" in words(question)
        await pilot.press("right", "enter")
        await told.idle(pilot)
        assert told.fake.of("stop") == [("live05", {"drop_results": True})]


async def test_what_is_marked_is_stopped_and_what_has_ended_is_left_alone(told: Told) -> None:
    told.fake.fails["stop"] = NotFound("no such run")
    async with told.app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        question = await told.ask(pilot, "asterisk", "x")
        text = words(question)
        assert "Stop 10 runs?" in text
        assert "8 of the marked have ended already" in text
        assert "... and 2 more" in text
        del told.fake.fails["stop"]
        await pilot.press("right", "enter")
        await told.idle(pilot)
        assert {name for name, _ in told.fake.of("stop")} == {f"live{n:02d}" for n in range(10)}


async def test_a_run_that_has_ended_cannot_be_stopped(told: Told) -> None:
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "ended0")
        await pilot.press("x")
        await told.idle(pilot)
        assert "has ended already (succeeded)" in told.app.faults[-1].message
        assert not told.fake.of("stop")


async def test_a_held_machine_is_destroyed_with_price_and_contract_named(told: Told, shot: Shot) -> None:
    async with told.app.run_test(size=(160, 50)) as pilot:
        await begin(pilot, told, "held01")
        question = await told.ask(pilot, "D")
        text = words(question)
        assert "Destroy held01-1?" in text
        assert "contract 9001" in text
        assert "ends $0.7200/h" in text
        assert not question.question.danger
        await picture(shot, pilot, "runs/ask-destroy-160x50")
        await pilot.press("right", "enter")
        await told.idle(pilot)
        assert told.fake.of("destroy") == [("held01-1", {"drop_results": False})]


async def test_destroying_says_when_results_are_lost(told: Told) -> None:
    held = rental("h1", state=RentalState.HELD)
    ended = ended_view(Outcome.FAILED, "h1", results_complete=False).run
    told.fake.views = [RunView(ended, [attempt("h1", submitted=NOW - 300)], [held])]
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "h1")
        question = await told.ask(pilot, "D")
        assert question.question.danger
        assert "LOST" in words(question)
        await pilot.press("right", "enter")
        await told.idle(pilot)
        assert told.fake.of("destroy") == [("h1-1", {"drop_results": True})]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("live07", "goes with the run"),
        ("going1", "it is releasing already"),
        ("ended0", "nothing of it bills"),
    ],
)
async def test_what_is_not_held_is_not_destroyed(told: Told, name: str, why: str) -> None:
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, name)
        await pilot.press("D")
        await told.idle(pilot)
        assert why in told.app.faults[-1].message
        assert not told.fake.of("destroy")


async def test_remove_asks_and_takes_runs_out(told: Told) -> None:
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "ended0")
        question = await told.ask(pilot, "space", "space", "delete")
        assert "Remove 2 runs?" in words(question)
        assert "Results at home stay" in words(question)
        await pilot.press("right", "enter")
        await told.idle(pilot)
        assert told.fake.of("rm") == [(("ended0", "ended1"), {"drop_results": False})]
        assert told.said == ["removed 2 runs; 4.0 MB freed"]
        await until(pilot, lambda: "old-0" not in screen_text(told.app))


@pytest.mark.parametrize("name", ["live00", "held01", "going1"])
async def test_what_lives_or_bills_is_not_removed(told: Told, name: str) -> None:
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, name)
        await pilot.press("delete")
        await told.idle(pilot)
        assert name in told.app.faults[-1].message
        assert not told.fake.of("rm")


async def test_removing_from_its_page_goes_back_to_the_list(told: Told) -> None:
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "ended0")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(told.app.screen, RunScreen))
        await told.ask(pilot, "delete")
        await pilot.press("right", "enter")
        await told.idle(pilot)
        await until(pilot, lambda: isinstance(told.app.screen, RunsScreen))


@pytest.mark.parametrize(("key", "verb"), [("R", "again"), ("L", "like")])
async def test_again_and_like_go_through_the_plan_card(
    told: Told, key: str, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards: list[Any] = []

    async def card(screen: Any, request: Any) -> str:
        cards.append(request)
        return "live02"

    monkeypatch.setattr("choline_tui.screens.runs.verbs.plan_card", card)
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "ended0")
        await pilot.press(key)
        await told.idle(pilot)
        assert [name for name, _ in told.fake.of(verb)] == ["ended0"]
        assert cards[0].like == "ended0"
        assert not told.fake.of("start")
        await until(pilot, lambda: isinstance(told.app.screen, RunScreen))


async def test_the_real_plan_card_spends_nothing_until_it_is_agreed(told: Told) -> None:
    from choline_tui.model.request import PlanCard

    told.fake.card = PlanCard(plan=plan(name="once more"), price=0.7)
    told.fake.after_start = live_view(id="new001")
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "ended0")
        await pilot.press("R")
        await until(pilot, lambda: told.fake.of("plan"))
        assert told.fake.of("plan")[0].like == "ended0"
        await until(pilot, lambda: "once more" in screen_text(told.app))
        await pilot.press("escape")
        await told.idle(pilot)
        assert not told.fake.of("start")
        assert isinstance(told.app.screen, RunsScreen)


async def test_one_at_a_time_where_it_must_be(told: Told) -> None:
    async with told.app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("space", "space")
        for key in ("R", "L", "t", "a", "o", "F", "Y"):
            await pilot.press(key)
            assert told.app.faults[-1].message == "2 runs are marked", key
        assert {name for name, _ in told.fake.asked} <= {"engine_status", "close"}


async def test_results_are_fetched(told: Told) -> None:
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "live00")
        await pilot.press("f")
        await told.idle(pilot)
        assert told.fake.of("pull") == ["live00"]
        assert told.said[-1] == "live00: 3 files, 12.0 kB in /r (complete)"
        told.fake.fails["pull"] = RemoteError("it does not answer [/x]", hint="Later.")
        await pilot.press("f")
        await told.idle(pilot)
        assert told.app.faults[-1].message == "it does not answer [/x]"


@pytest.mark.parametrize(("key", "method"), [("t", "ssh_command"), ("a", "attach_command")])
async def test_a_program_gets_the_terminal(
    told: Told, key: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    async def in_terminal(app: Any, argv: list[str]) -> int:
        ran.append(argv)
        return 255 if len(ran) > 1 else 0

    monkeypatch.setattr("choline_tui.screens.runs.verbs.in_terminal", in_terminal)
    told.fake.argv = ["ssh", "-F", "/x y", "m"]
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "live00")
        await pilot.press(key)
        await told.idle(pilot)
        assert told.fake.of(method) == ["live00"]
        assert ran == [["ssh", "-F", "/x y", "m"]]
        assert not told.app.faults
        await pilot.press(key)
        await told.idle(pilot)
        assert told.app.faults[-1].hint == "To see it again: ssh -F '/x y' m"


async def test_without_a_terminal_to_give_the_command_is_told(told: Told) -> None:
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "live00")
        await pilot.press("t")
        await told.idle(pilot)
        assert told.app.faults[-1].hint == "In another one: true"


async def test_vs_code_opens_once_ssh_knows_the_machine(told: Told, tmp_path: Path) -> None:
    told.fake.include = Include(installed=False)
    told.fake.argv = [sys.executable, "-c", f"open({str(tmp_path / 'opened')!r}, 'w')"]
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "live00")
        question = await told.ask(pilot, "o")
        assert told.fake.include.line in words(question)
        await pilot.press("enter")
        await told.idle(pilot)
        assert not told.fake.include.installed
        assert not told.fake.of("open_command")
        await told.ask(pilot, "o")
        await pilot.press("right", "enter")
        await told.idle(pilot)
        assert told.fake.include.installed
        assert (tmp_path / "opened").exists()
        told.fake.argv = FAILS
        await pilot.press("o")
        await told.idle(pilot)
        assert "bind: Address already in use [/x]" in told.app.faults[-1].message


async def test_a_port_is_opened_seen_and_closed(
    told: Told, monkeypatch: pytest.MonkeyPatch, shot: Shot
) -> None:
    monkeypatch.setattr(outside, "SETTLE", 0.05)
    told.fake.argv = SLEEPS
    told.fake.views[0] = live_view(id="live00", plan={"name": "tiny-0", "ports": ["6006/http"]})
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "live00")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(told.app.screen, RunScreen))
        await pilot.press("F")
        await until(pilot, lambda: isinstance(told.app.screen, ForwardScreen))
        assert told.app.screen.query_one("#ports", Input).value == "6006"
        await picture(shot, pilot, "runs/ask-forward-80x24")
        await pilot.press("enter")
        await told.idle(pilot)
        assert told.fake.of("forward_command") == [("live00", ("6006",))]
        assert told.said[-1] == "http://localhost:6006 leads to live00"
        await until(pilot, lambda: "forwarded here: 6006" in screen_text(told.app))
        page = told.app.screen
        assert isinstance(page, RunScreen)
        process = page.forwards.of("live00")[0].process
        await pilot.press("F")
        await until(pilot, lambda: isinstance(told.app.screen, ForwardScreen))
        told.app.screen.query_one("#known", OptionList).focus()
        await pilot.press("enter")
        await told.idle(pilot)
        assert process.returncode is not None
        await until(pilot, lambda: "forwarded here" not in screen_text(told.app))
        told.fake.argv = FAILS
        await pilot.press("F")
        await until(pilot, lambda: isinstance(told.app.screen, ForwardScreen))
        monkeypatch.setattr(outside, "SETTLE", 20.0)
        await pilot.press("enter")
        await told.idle(pilot)
        assert told.app.faults[-1].message == (
            "port 6006 could not be forwarded: bind: Address already in use [/x]"
        )


async def test_forwarded_ports_end_with_the_app(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "SETTLE", 0.05)
    told.fake.argv = SLEEPS
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "live00")
        await pilot.press("F")
        await until(pilot, lambda: isinstance(told.app.screen, ForwardScreen))
        await pilot.press(*"8080", "colon", *"80", "enter")
        await told.idle(pilot)
        screen = told.app.main_screen
        process = screen.forwards.of("live00")[0].process
        assert process.returncode is None
    assert process.returncode is not None


async def test_ids_and_the_ssh_command_are_copied(told: Told) -> None:
    told.fake.argv = ["ssh", "-F", "/x y", "m"]
    told.fake.include = Include(installed=False)
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "live00")
        await pilot.press("y", "Y")
        await told.idle(pilot)
        told.fake.include.installed = True
        await pilot.press("Y")
        await told.idle(pilot)
        await pilot.press("space", "space", "y")
        await told.idle(pilot)
        assert told.copied == ["live00", "ssh -F '/x y' m", "ssh choline-live00", "live00 live01"]


async def test_a_read_only_choline_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(RunsFake(), monkeypatch, looks=Looks(readonly=True))
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "live00")
        await pilot.press("x", "R", "L", "D", "delete")
        await told.idle(pilot)
        assert isinstance(told.app.screen, RunsScreen)
        assert {name for name, _ in told.fake.asked} <= {"engine_status", "close"}
        assert "x Stop" not in screen_text(told.app)
        await pilot.press("f")
        await told.idle(pilot)
        assert told.fake.of("pull") == ["live00"]


async def test_every_verb_does_something_on_the_page_too(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    async def card(screen: Any, request: Any) -> None:
        done.append("plan")

    async def in_terminal(app: Any, argv: list[str]) -> int:
        done.append("terminal")
        return 0

    monkeypatch.setattr("choline_tui.screens.runs.verbs.plan_card", card)
    monkeypatch.setattr("choline_tui.screens.runs.verbs.in_terminal", in_terminal)
    told.fake.views = [live_view()]
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "abc123")
        await pilot.press("enter")
        await until(
            pilot, lambda: isinstance(told.app.screen, RunScreen) and told.app.screen.view is not None
        )
        await pilot.press("tab")  # in the log, y copies what is on the screen
        for key in ("R", "L", "t", "a", "f", "Y"):
            await pilot.press(key)
            await told.idle(pilot)
        await pilot.press("y")
        await told.ask(pilot, "x")
        await pilot.press("escape")
        await told.idle(pilot)
        assert done == ["plan", "plan", "terminal", "terminal"]
        assert told.copied[-1] == "abc123"
        for key, why in (
            ("D", "goes with the run"),
            ("delete", "is still running"),
            ("v", "no evidence was kept"),
        ):
            await pilot.press(key)
            await told.idle(pilot)
            assert why in told.app.faults[-1].message


def test_what_spends_or_destroys_is_marked() -> None:
    marked = {a.id for a in ACTIONS if not a.harmless}
    assert marked == {"runs.stop", "runs.again", "runs.like", "runs.destroy", "runs.rm"}
    for one in ACTIONS:
        name = one.does.partition("(")[0]
        holder = RunsScreen if one.where == "runs" else RunScreen
        assert hasattr(holder, f"action_{name}"), one.id
    for one in VERBS:
        assert hasattr(RunScreen, f"action_{one.does}")
    assert {a.id for a in PAGE} <= set(actions.registry())


async def test_a_program_that_cannot_be_started_says_so() -> None:
    with pytest.raises(SystemFault, match="cannot be started"):
        await outside.start_window(["/nowhere/code"])
    forwards = outside.Forwards()
    with pytest.raises(SystemFault, match="cannot be started"):
        await forwards.start("r", "1", ["/nowhere/ssh"])
    assert not forwards.open


async def test_a_question_shows_foreign_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = RunsFake(views=[live_view(plan={"name": "[/foo]\x1b[2J", "results_into": "/r/[x]"})])
    told = Told(fake, monkeypatch)
    async with told.app.run_test(size=(80, 24)) as pilot:
        await begin(pilot, told, "abc123")
        question = await told.ask(pilot, "x")
        text = str(question.query_one("#question", Static).content)
        assert "[/foo]" in text
        assert "/r/[x]" in text
        assert "\x1b" not in text
