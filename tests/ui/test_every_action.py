"""Every action of the registry is reached by every key of it, where it is said to be; and is tested."""

from pathlib import Path
from typing import Any

import pytest
from textual.widget import Widget

from choline_tui.actions import Action, registry
from choline_tui.screens.dialogs import Confirm, ConfirmScreen
from tests.ui.fake import FakeApp, every_state
from tests.ui.runs.stage import RunsFake, until
from tests.ui.wizard.stage import open_wizard, project, seen, wizard_of

WHERE = ("app", "offers", "runs", "run", "modal", "wizard")
LIST_ONLY = {"runs.filter", "runs.sort", "runs.reverse", "runs.left", "runs.right", "runs.save_view"}


def of(where: str) -> list[Action]:
    return [one for one in registry().values() if one.where == where]


def test_every_action_stands_somewhere_that_is_driven_here() -> None:
    assert {one.where for one in registry().values()} == set(WHERE)


def _calls(words: str) -> tuple[str, tuple[Any, ...]]:
    """``go('runs')`` as (``go``, (``runs``,)). What stands before a point names a namespace."""
    name, _, rest = words.partition("(")
    return name.rpartition(".")[2], eval(f"({rest[:-1]},)") if rest else ()


@pytest.fixture
def told() -> list[tuple[str, tuple[Any, ...]]]:
    return []


async def _drive(
    where: str, pilot: Any, target: Widget | Any, told: list[Any], patch: pytest.MonkeyPatch
) -> list[str]:
    """Press every key of every action of ``where``; what did not do what it should."""
    actions = [one for one in of(where) if one.id not in LIST_ONLY or type(target).__name__ != "RunScreen"]
    for one in actions:
        name, _ = _calls(one.does)
        assert callable(getattr(target, f"action_{name}")), one.id

        def record(*args: Any, name: str = name) -> None:
            told.append((name, args))

        patch.setattr(target, f"action_{name}", record, raising=True)
    wrong = []
    for one in actions:
        for key in one.keys.split(",") if one.keys else [""]:
            told.clear()
            if key:
                await pilot.press(key)
            else:
                await target.run_action(one.does)  # the palette's way
            await pilot.pause()
            if told != [_calls(one.does)]:
                wrong.append(f"{one.id} by {key!r}: {told}")
    return wrong


@pytest.mark.parametrize("where", ["app", "offers"])
async def test_offers_and_everywhere(where: str, told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    app = FakeApp("offers")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.main_screen is not None and getattr(app.main_screen, "_began", False))
        target = app if where == "app" else app.main_screen
        assert await _drive(where, pilot, target, told, monkeypatch) == []


async def test_the_list_of_runs_and_a_page(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    app = FakeApp("runs", fake=RunsFake(views=every_state()))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.main_screen is not None and app.main_screen.chosen_views())
        assert await _drive("runs", pilot, app.main_screen, told, monkeypatch) == []
        app.open_run("live00")
        await until(pilot, lambda: type(app.screen).__name__ == "RunScreen" and app.screen.chosen_views())
        # in a log y copies what is marked in it
        app.screen.action_show_part("timeline")
        await pilot.pause()
        assert await _drive("runs", pilot, app.screen, told, monkeypatch) == []
        assert await _drive("run", pilot, app.screen, told, monkeypatch) == []


async def test_the_wizard(tmp_path: Path, told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    top = project(tmp_path)
    async with open_wizard(top, seen(top)) as pilot:
        # letters are text in a line to type in: the list of steps has the focus
        pilot.app.screen.query_one("#wizard-steps").focus()
        await pilot.pause()
        assert await _drive("wizard", pilot, wizard_of(pilot), told, monkeypatch) == []


async def test_every_window(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    app = FakeApp("offers")
    async with app.run_test(size=(120, 40)) as pilot:
        for one in of("modal"):
            window = ConfirmScreen(Confirm("Really?", ["yes or no"], "Yes"))
            app.push_screen(window)
            await until(pilot, lambda window=window: app.screen is window)  # type: ignore[misc]
            name, _ = _calls(one.does)
            with monkeypatch.context() as patch:
                told.clear()
                target = app if one.does.startswith("app.") else window
                patch.setattr(target, f"action_{name}", lambda name=name: told.append(name))
                await pilot.press(one.keys)
                await pilot.pause()
            assert told == [name], one.id
            app.pop_screen()


def test_what_every_action_does_is_tested() -> None:
    """By its key, its id, or its method, in a test of the screens that is not this one."""
    me = Path(__file__)
    texts = "\n".join(p.read_text("utf-8") for p in me.parent.rglob("test_*.py") if p != me)
    nobody = []
    for one in registry().values():
        name, _ = _calls(one.does)
        signs = [f'"{key}"' for key in one.keys.split(",") if key]
        signs += [f'"{one.id}"', f"action_{name}", f'"{one.does}"', f"'{one.does}'"]
        if not any(sign in texts for sign in signs):
            nobody.append(one.id)
    assert nobody == []
