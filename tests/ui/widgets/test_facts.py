"""A column of short texts: wrapped beside their leads, inert, scrolled, selected and copied."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult

from choline_tui.kernel.text import plain
from choline_tui.widgets.facts import Fact, Facts, _wrapped
from tests.ui.conftest import screen_text


class Host(App[None]):
    def __init__(self, **how: bool) -> None:
        super().__init__()
        self.view = Facts(empty="Nothing.", **how)
        self.copied: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.view

    def on_facts_copy_requested(self, event: Facts.CopyRequested) -> None:
        self.copied.append(event.text)


async def test_leads_texts_and_headings() -> None:
    app = Host()
    async with app.run_test(size=(30, 8)) as pilot:
        await pilot.pause()
        assert "Nothing." in screen_text(app)
        app.view.show(
            [
                Fact("", "Head", "head"),
                Fact("a", "one two three four five six seven"),
                Fact("long", "[/foo]\x1b[2J"),
            ]
        )
        await pilot.pause()
        assert screen_text(app).rstrip().split("\n") == [
            " Head", " a     one two three four", "       five six seven", " long  [/foo]",
        ]  # fmt: skip
        await pilot.resize_terminal(60, 8)
        await pilot.pause()
        assert " a     one two three four five six seven" in screen_text(app)
        await pilot.press("tab", "ctrl+c")
        await pilot.pause()
        assert app.copied == ["Head\na             one two three four five six seven\nlong          [/foo]"]


@pytest.mark.parametrize("follow", [True, False])
async def test_it_stays_at_the_end_when_it_is_there(follow: bool) -> None:
    app = Host(follow=follow)
    async with app.run_test(size=(30, 5)) as pilot:
        facts = [Fact(str(n), f"fact {n}") for n in range(20)]
        app.view.show(facts)
        app.view.focus()
        await pilot.pause()
        assert ("fact 19" in screen_text(app)) == follow
        await pilot.press("home")
        app.view.show([*facts, Fact("x", "newest")])
        await pilot.pause()
        assert "fact 0" in screen_text(app)
        await pilot.press("end")
        assert "newest" in screen_text(app)
        await pilot.press("pageup", "k", "j", "down", "up")
        assert "newest" not in screen_text(app)


async def test_what_is_selected_is_what_is_seen() -> None:
    app = Host()
    async with app.run_test(size=(30, 5)) as pilot:
        app.view.show([Fact("a", "first"), Fact("b", "second")])
        await pilot.pause()
        await pilot.mouse_down(app.view, offset=(4, 0))
        await pilot.hover(app.view, offset=(9, 1))
        await pilot.mouse_up(app.view, offset=(9, 1))
        await pilot.pause()
        selected = app.screen.get_selected_text()
        assert selected is not None
        assert selected.startswith("first\n b  sec")


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=200), st.integers(8, 60))
def test_wrapped_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    lines = _wrapped(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert all(plain(line) == line for line in lines)
    kept = "".join("".join(lines).split())
    assert kept == "".join(plain(text).split())


async def test_what_came_while_it_was_hidden_is_there_when_it_is_shown() -> None:
    app = Host(follow=True)
    async with app.run_test(size=(40, 10)) as pilot:
        facts = app.view
        facts.show([Fact("one", "first")])
        await pilot.pause()
        assert "first" in screen_text(app)
        facts.display = False
        await pilot.pause()
        facts.show([Fact("one", "first"), Fact("two", "second")])
        await pilot.pause()
        facts.display = True
        await pilot.pause()
        assert "second" in screen_text(app)


async def test_it_stays_at_its_end_when_it_has_less_room_for_a_while() -> None:
    app = Host(follow=True)
    async with app.run_test(size=(40, 10)) as pilot:
        facts = app.query_one(Facts)
        facts.show([Fact("one", f"line {n}") for n in range(30)])
        await pilot.pause()
        assert "line 29" in screen_text(app)
        facts.styles.height = 7
        await pilot.pause()
        assert "line 29" in screen_text(app)
        facts.show([Fact("one", f"line {n}") for n in range(31)])
        facts.styles.height = 9
        await pilot.pause()
        assert "line 30" in screen_text(app)
        facts.focus()
        await pilot.press("home")
        facts.show([Fact("one", f"line {n}") for n in range(32)])
        facts.styles.height = 6
        await pilot.pause()
        assert "line 0" in screen_text(app), "where a person has gone it stays"
