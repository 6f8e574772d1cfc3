"""Hostile text in every foreign field, one after the other: it is drawn inert, in its own place, and what
stands around it stays as it was. The fields are those of the models, so that none is forgotten."""

import re
from typing import Any

import pytest
from pydantic import BaseModel
from rich.cells import cell_len
from textual.app import App
from textual.pilot import Pilot

from choline_tui.kernel.errors import MarketDown
from choline_tui.kernel.text import plain
from choline_tui.model.code import CodeState
from choline_tui.model.offer import Offer
from choline_tui.model.run import Attempt, Plan, Rental, Run
from choline_tui.screens.dialogs import Confirm, ConfirmScreen
from tests.ui.conftest import screen_text
from tests.ui.fake import FakeApp, attempt, live_view, rental, run
from tests.ui.runs.stage import RunsFake, RunView, until

KINDS = {
    "markup": "[/foo] [bold red]x[/] [@click=app.quit]y[/]",
    "escapes": "\x1b[2J\x1b]0;owned\x07\x1b]52;c;AAAA\x07\x9b31mred\x00\x08\x7f",
    "lines": "one\r\ntwo\rthree\u2028four\tfive\x0bsix",
    "wide": "日本語テキスト👩‍👩‍👧👍🏽ｗｉｄｅ",
    "combining": "Z" + "\u0300\u0301\u0302\u0303\u0304\u0305" * 20 + "e\u0301",
    "bidi": "\u202eevil\u202c \u2066\u0627\u0644\u0639\u2069 \u200b\u200d\ufeff",
    "long": "x" * 10_000,
    "long and wide": "長" * 5_000 + " word" * 1_000,
}
HOSTILE = list(KINDS.values())
OURS = {"id", "run", "like", "frozen_dir", "objects_dir", "results_into", "project", "remote_home", "label"}
"""made by ourselves, and used as names of files and rows"""


def texts_of(model: type[BaseModel]) -> list[str]:
    """Names of fields that hold any text."""
    return [name for name, each in model.model_fields.items() if name not in OURS and _text(each.annotation)]


def _text(annotation: Any) -> bool:
    said = str(annotation)
    return bool(re.search(r"\bstr\b", said)) and not any(
        no in said for no in ("list", "dict", "tuple", "Literal")
    )


def inert(app: App[Any]) -> str:
    text = screen_text(app)
    assert plain(text) == text, "something could move the cursor, or hide"
    for line in text.split("\n"):
        assert cell_len(line) <= app.size.width, "something is wider than the screen"
    return text


def frame(text: str) -> tuple[str, str, int]:
    """The top line, the line of keys, the number of lines."""
    lines = text.split("\n")
    return lines[0], lines[-2], len(lines)


def test_there_are_fields() -> None:
    found = {model.__name__: len(texts_of(model)) for model in (Offer, Run, Plan, CodeState, Rental, Attempt)}
    assert all(found.values()), found


def _bad_views() -> list[RunView]:
    views: list[RunView] = []

    def add(**changes: Any) -> None:
        number = len(views)
        base = live_view(id=f"h{number:03d}")
        code = base.run.code
        assert code is not None
        text = HOSTILE[number % len(HOSTILE)]
        what, name = changes["what"], changes["name"]
        made = base.run
        attempts, rentals = [attempt(made.id)], [rental(made.id)]
        if what is Run:
            made = made.model_copy(update={name: text})
        elif what is Plan:
            made = made.model_copy(update={"plan": made.plan.model_copy(update={name: text})})
        elif what is CodeState:
            made = made.model_copy(update={"code": code.model_copy(update={name: text})})
        elif what is Rental:
            rentals = [rentals[0].model_copy(update={name: text})]
        else:
            attempts = [attempts[0].model_copy(update={name: text})]
        views.append(RunView(made, attempts, rentals))

    for model in (Run, Plan, CodeState, Rental, Attempt):
        for name in texts_of(model):
            add(what=model, name=name)
    return views


async def test_runs() -> None:
    views = _bad_views()
    app = FakeApp("runs", fake=RunsFake(views=views))
    async with app.run_test(size=(160, 50)) as pilot:
        await until(pilot, lambda: app.main_screen is not None and app.main_screen.chosen_views())
        await pilot.pause()
        before = frame(inert(app))
        for view in views:
            app.main_screen.table.move_to_key(view.run.id)
            await pilot.pause()
            assert frame(inert(app)) == before, view.run.id
        assert not app.faults


@pytest.mark.parametrize("kind", list(KINDS))
async def test_a_page_errors_toasts_and_questions(kind: str) -> None:
    bad = KINDS[kind]
    made = run(
        **dict.fromkeys(texts_of(Run), bad),
        plan={name: bad for name in texts_of(Plan) if name not in ("type", "place", "order", "query")},
    )
    view = RunView(
        made, [attempt(made.id).model_copy(update=dict.fromkeys(texts_of(Attempt), bad))],
        [rental(made.id).model_copy(update=dict.fromkeys(texts_of(Rental), bad))],
    )  # fmt: skip
    app = FakeApp("runs", fake=RunsFake(views=[view]))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.main_screen is not None and app.main_screen.chosen_views())
        app.open_run(made.id)
        await _shown(pilot, "RunScreen")
        for part in ("log", "timeline", "machines", "results", "about"):
            app.screen.action_show_part(part)  # type: ignore[attr-defined]
            await pilot.pause()
            assert "Timeline" in inert(app)
        assert not app.faults
        app.fail(MarketDown(bad, hint=bad), bad)
        app.say(bad)
        await pilot.pause()
        inert(app)
        await pilot.press("exclamation_mark")
        await _shown(pilot, "ErrorsScreen")
        inert(app)
        await pilot.press("escape")
        app.push_screen(ConfirmScreen(Confirm(bad, [bad], bad, bad, danger=True)))
        await _shown(pilot, "ConfirmScreen")
        assert "Cancel" in inert(app)


async def _shown(pilot: Pilot[Any], name: str) -> None:
    await until(pilot, lambda: type(pilot.app.screen).__name__ == name)
    await pilot.pause()
