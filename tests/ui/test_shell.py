"""The shell around the screens: switching, top line, errors, confirmation, read-only."""

from pathlib import Path

import pytest

from choline_tui.kernel.errors import MarketDown, UsageError
from choline_tui.screens.base import MainScreen
from choline_tui.screens.dialogs import Confirm, ConfirmScreen
from choline_tui.services.feed import EngineState
from choline_tui.widgets.top_line import TopLine
from tests.ui.bare import BareApp


def top(app: BareApp) -> str:
    return app.main_screen.query_one(TopLine).render().plain


async def test_the_screens_are_a_key_away() -> None:
    app = BareApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert app.main_screen.WHERE == "offers"
        await pilot.press("2")
        await pilot.pause()
        assert app.main_screen.WHERE == "runs"
        await pilot.press("1")
        await pilot.pause()
        assert isinstance(app.screen, MainScreen)
        assert app.main_screen.WHERE == "offers"


async def test_the_top_line_follows_the_picture() -> None:
    app = BareApp()
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.pause()
        assert "/h now" in top(app)
        assert "1 unknown" in top(app)
        app.fake.views = []
        app.fake_feed.touch()
        await pilot.pause()
        assert "nothing billing" in top(app)


async def test_the_same_error_again_is_counted_once() -> None:
    app = BareApp()
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.pause()
        for _ in range(3):
            app.fail(MarketDown("no answer [/foo]"), "searching the market")
        await pilot.pause()
        assert [(f.message, f.count) for f in app.faults] == [("no answer [/foo]", 3)]
        assert "1 error" in top(app)


@pytest.mark.parametrize(("keys", "agreed"), [("enter", False), ("escape", False), ("right,enter", True)])
async def test_a_question_is_answered_no_unless_the_other_button_is_chosen(keys: str, agreed: bool) -> None:
    app = BareApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        answers: list[bool] = []

        async def ask() -> None:
            answers.append(
                await app.confirm(Confirm("Destroy [/x]?", ["target"], "Destroy", "$1", danger=True))
            )

        app.run_worker(ask())
        await pilot.pause()
        assert isinstance(app.screen, ConfirmScreen)
        await pilot.press(*keys.split(","))
        await pilot.pause()
        assert answers == [agreed]


async def test_read_only_is_refused_in_the_engine_too(tmp_path: Path) -> None:
    from choline_tui.engine.api import ACTS, READS, Api
    from choline_tui.engine.code import CodeMethods
    from choline_tui.engine.server import Server
    from choline_tui.services.connection import Connection

    api = Api.__new__(Api)
    api._code_methods = CodeMethods.__new__(CodeMethods)
    methods = set(api.methods())
    assert methods <= ACTS | READS, f"say in engine/api.py whether these act: {methods - ACTS - READS}"
    assert not ACTS & READS

    async def answer() -> str:
        return "done"

    server = Server(tmp_path / "s", {"stop": answer, "hello": answer}, READS)
    await server.start()
    line = await Connection.open(tmp_path / "s")
    try:
        assert await line.call("stop") == "done"
        line.readonly = True
        assert await line.call("hello") == "done"
        with pytest.raises(UsageError, match="read-only"):
            await line.call("stop")
    finally:
        await line.close()
        await server.close()


async def test_an_engine_that_is_being_started_is_not_called_down() -> None:
    app = BareApp(engine=EngineState("down", "it does not run"))
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.pause()
        assert "engine down" in top(app)
        app._starting = True
        app.tell_top_line()
        await pilot.pause()
        assert "engine down" not in top(app)
