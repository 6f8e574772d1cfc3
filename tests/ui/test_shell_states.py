"""The designed states, the small terminal, colours and their absence, read-only, and every action of the
app itself."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from rich.color import Color as RichColor
from textual.color import Color

from choline_tui import actions
from choline_tui.actions import Action
from choline_tui.kernel import errors
from choline_tui.screens import states
from choline_tui.screens.base import MainScreen
from choline_tui.screens.dialogs import ConfirmScreen
from choline_tui.screens.errors import ErrorsScreen
from choline_tui.screens.help import HelpScreen
from choline_tui.screens.jump import JumpScreen
from choline_tui.screens.palette import PaletteScreen
from choline_tui.screens.settings import SettingsScreen
from choline_tui.screens.states import State, StatePanel, state_for
from choline_tui.screens.themes import THEMES
from choline_tui.services.feed import EngineState, MarketState
from choline_tui.services.looks import Looks, read_looks
from tests.ui.bare import BareApp
from tests.ui.conftest import Shot, screen_text

ALL: dict[str, State] = {
    "loading": states.LOADING,
    "empty": states.EMPTY,
    "no-key": states.NO_KEY,
    "bad-key": states.BAD_KEY,
    "no-credit": states.NO_CREDIT,
    "spend-limit": states.SPEND_LIMIT,
    "offline": states.OFFLINE,
    "engine-down": states.ENGINE_DOWN,
    "ration": states.RATION,
    "fault": state_for(errors.StoreError("the store cannot be read: disk full", hint="Make room.")),
}


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_pictures_of_the_states(size: tuple[int, int], shot: Shot) -> None:
    app = BareApp(engine=EngineState("down", "it does not run"), market=MarketState("no-key"), credit=None)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        panel = app.screen.query_one(StatePanel)
        for name, state in ALL.items():
            panel.show(state)
            await pilot.pause()
            shot(pilot, f"shell/state-{name}-{size[0]}x{size[1]}", svg=name == "no-key")


@pytest.mark.parametrize("name", [n for n in ALL if n not in ("loading", "empty")])
def test_every_state_that_is_wrong_says_what_to_do_next(name: str) -> None:
    assert ALL[name].steps and ALL[name].title
    keys = {key for one in actions.registry().values() for key in one.keys.split(",")}
    for step in ALL[name].steps:
        if step.key:
            assert {"!": "exclamation_mark"}.get(step.key, step.key) in keys
            assert step.action


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (errors.BadKey("no API key was found"), "No API key"),
        (errors.BadKey("the market does not know this key"), "The API key is not accepted"),
        (errors.MissingScope("the key may not rent"), "The key may not do this"),
        (errors.NoCredit("nothing left"), "No credit left"),
        (errors.SpendLimit("too much"), "The market limits what this account may spend"),
        (errors.MarketDown("502"), "The market cannot be reached"),
        (errors.RateLimited("slow down"), "The market cannot be reached"),
        (errors.QuotaSpent("spent"), "Today's searches are used up"),
        (errors.EngineError("gone"), "The engine does not run"),
        (errors.NoOffer("nothing fits [/x]", hint="loosen it"), "nothing fits [/x]"),
        (ValueError("odd"), "That did not work"),
    ],
)
def test_every_error_has_a_state(error: Exception, title: str) -> None:
    assert state_for(error).title == title


async def test_a_step_is_done_by_a_click() -> None:
    app = BareApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.screen.query_one(StatePanel).show(states.OFFLINE)
        await pilot.pause()
        lines = screen_text(app).split("\n")
        row = next(n for n, line in enumerate(lines) if "try again" in line)
        before = app.fake_feed.again
        await pilot.click(offset=(lines[row].index("try again"), row))
        await pilot.pause()
        assert app.fake_feed.again == before + 1


async def test_what_is_clicked_at_the_top_and_the_bottom_is_done() -> None:
    app = BareApp()
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.pause()
        lines = screen_text(app).split("\n")
        await pilot.click(offset=(lines[0].index("2 Runs"), 0))
        await pilot.pause()
        assert app.main_screen.WHERE == "runs"
        await pilot.click(offset=(lines[-2].index("Commands"), 23))
        await pilot.pause()
        assert isinstance(app.screen, PaletteScreen)


@pytest.mark.parametrize("size", [(59, 24), (80, 15), (20, 5)])
async def test_a_terminal_too_small_says_so_and_recovers(size: tuple[int, int]) -> None:
    app = BareApp()
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        text = screen_text(app)
        assert "60x16" in " ".join(text.split()) and "Looking" not in text
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert "60x16" not in screen_text(app) and "Looking" in screen_text(app)


async def test_without_colours_all_of_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = BareApp(looks=Looks(theme="ansi-dark"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.pause()
        assert "unknown" in screen_text(app) and "● engine" in screen_text(app)
        assert not app.available_themes[app.theme].ansi
        seen = {
            color.get_truecolor()
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if segment.style
            for color in (segment.style.color, segment.style.bgcolor)
            if isinstance(color, RichColor) and not color.is_default
        }
        assert len(seen) > 1 and all(c.red == c.green == c.blue for c in seen)


def contrast(one: str, other: str) -> float:
    """As the Web Content Accessibility Guidelines reckon it."""

    def light(name: str) -> float:
        parts = (part / 255 for part in Color.parse(name).rgb)
        red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [theme.name for theme in THEMES])
async def test_our_themes_can_be_read(theme: str) -> None:
    app = BareApp(looks=Looks(theme=theme))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        found = app.get_css_variables()
        for back in ("background", "surface", "panel"):
            assert contrast(found["foreground"], found[back]) >= 7
            for name in ("muted", "success", "warning", "error", "accent"):
                assert contrast(found[name], found[back]) >= (3.9 if back == "panel" else 4.3), (name, back)
        cursor = found["block-cursor-background"]
        assert contrast(found["block-cursor-foreground"], cursor) >= 7
        assert contrast(found["muted"], cursor) >= 3


async def test_ascii_signs_are_ascii() -> None:
    app = BareApp(looks=Looks(ascii=True), engine=EngineState("down", ""))
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.pause()
        for state in ALL.values():
            app.screen.query_one(StatePanel).show(state)
            await pilot.pause()
            assert screen_text(app).isascii(), screen_text(app)


async def test_read_only_drops_what_spends_or_destroys(monkeypatch: pytest.MonkeyPatch) -> None:
    spend = Action("bare.spend", "s", "Spend", "Spend.", "bare", "spend_all", spends=True)
    look = Action("bare.look", "l", "Look", "Look.", "bare", "look_at", footer=True)
    done: list[str] = []

    class Shop(MainScreen):
        WHERE = "offers"
        BINDINGS = actions.bindings("bare", (spend, look))

        def action_spend_all(self) -> None:
            done.append("spend")

        def action_look_at(self) -> None:
            done.append("look")

    known = {**actions.registry(), spend.id: spend, look.id: look}
    monkeypatch.setattr(actions, "registry", lambda: known)
    actions.forbidden.cache_clear()
    try:
        for readonly, does in ((False, ["spend", "look"]), (True, ["look"])):
            done.clear()
            app = BareApp(looks=Looks(readonly=readonly))
            monkeypatch.setattr(app, "_modes", {"offers": Shop, "runs": Shop})
            async with app.run_test(size=(100, 24)) as pilot:
                await pilot.pause()
                await pilot.press("s", "l")
                assert done == does
                assert app.may(spend.id) is not readonly and app.may(look.id)
                await pilot.press("question_mark")
                await pilot.pause()
                assert ("Spend." in screen_text(app)) is not readonly
                assert ("Read-only" in screen_text(app)) is readonly
    finally:
        actions.forbidden.cache_clear()


EFFECTS: dict[str, Callable[[Any], bool]] = {
    "app.offers": lambda app: app.main_screen.WHERE == "offers",
    "app.runs": lambda app: app.main_screen.WHERE == "runs",
    "app.wizard": lambda app: app.main_screen.WHERE == "wizard",
    "app.help": lambda app: isinstance(app.screen, HelpScreen),
    "app.palette": lambda app: isinstance(app.screen, PaletteScreen),
    "app.errors": lambda app: isinstance(app.screen, ErrorsScreen),
    "app.settings": lambda app: isinstance(app.screen, SettingsScreen),
    "app.jump": lambda app: isinstance(app.screen, JumpScreen),
    "app.refresh": lambda app: app.fake_feed.again >= 2,
    "app.engine": lambda app: app.fake.methods().count("engine_status") == 2,
    "app.demo": lambda app: isinstance(app.screen, ConfirmScreen),
    "app.theme": lambda app: app.theme == "choline-light",
    "app.quit": lambda app: app._exit,
    "app.quit_now": lambda app: app._exit,
    "app.suspend": lambda app: app.suspended,
}


@pytest.mark.parametrize("one", [a for a in actions.APP if a.where == "app"], ids=lambda a: a.id)
async def test_every_action_of_the_app_is_done_by_each_of_its_keys(one: Action) -> None:
    for key in one.keys.split(",") if one.keys else [""]:
        app = BareApp("runs" if one.id == "app.offers" else "offers")
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.pause()
            if key:
                await pilot.press(key)
            else:
                await pilot.press("ctrl+p", *one.label.lower(), "enter")
            await pilot.pause()
            assert EFFECTS[one.id](app), key


async def test_escape_never_quits_and_closes_the_innermost_thing_only() -> None:
    app = BareApp()
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        await pilot.press("f2", "f1", "escape")
        await pilot.pause()
        assert isinstance(app.screen, SettingsScreen)
        await pilot.press("escape", "escape", "escape")
        await pilot.pause()
        assert isinstance(app.screen, MainScreen) and not app._exit
        await pilot.press("f2", "q")
        assert not app._exit, "q quits from the top level only"
        await pilot.press("ctrl+q")
        await pilot.pause()
        assert app._exit and app.return_code == 0


async def test_the_simulator_is_a_key_away_without_a_key() -> None:
    app = BareApp(market=MarketState("no-key"))
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        await pilot.press("f9")
        await pilot.pause()
    assert app.return_value == "demo"


async def test_an_error_that_nobody_caught_is_told_and_nothing_ends() -> None:
    app = BareApp()
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()

        async def broken() -> None:
            raise errors.StoreError("cannot read [/it]")

        app.run_worker(broken(), group="x", description="reading it", exit_on_error=False)
        await pilot.pause()
        assert [(f.doing, f.message) for f in app.faults] == [("reading it", "cannot read [/it]")]


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        ('[ui]\ntheme = "nord"\nascii = true\nreadonly = true\n', Looks("nord", ascii=True, readonly=True)),
        (
            '[keys]\noffers.export = "E"\n"app.help" = "f3"\n',
            Looks(keys={"offers.export": "E", "app.help": "f3"}),
        ),
        ('[ui]\ntheme = 3\nascii = "yes"\nanimations = true\n', Looks(animations=True)),
        ("ui = 3\nkeys = 4\n", Looks()),
        # who writes that in whatever way does not want to be able to act
        ('[ui]\nreadonly = "yes"\n', Looks(readonly=True)),
        ("[ui]\nreadonly = 1\n", Looks(readonly=True)),
        ("[ui]\nreadonly = false\n", Looks()),
        ("not toml", Looks()),
    ],
)
def test_looks_are_read_without_trust(text: str, looks: Looks) -> None:
    from choline_tui.config import Paths

    Paths().ensure().config_file.write_text(text)
    assert read_looks(os.environ) == looks


@pytest.mark.parametrize(
    ("wanted", "wrong"),
    [
        ({"app.help": "f3"}, ""),
        ({"app.help": "ctrl+e,f6"}, ""),
        ({"app.hepl": "f3"}, "did you mean app.help?"),
        ({"app.help": "ctrl+"}, "is no key"),
        ({"app.help": "hyper+x"}, "is no key"),
        ({"app.help": "q"}, "app.quit already"),
        ({"app.help": "q", "app.quit": "f3"}, ""),
        ({"app.help": "f3", "app.quit": "f3"}, "app.help already"),
        ({"offers.nothing": "f3"}, "there is no such action"),
    ],
)
def test_key_overrides_are_checked(wanted: dict[str, str], wrong: str) -> None:
    good, told = actions.overrides(wanted)
    assert bool(told) is bool(wrong)
    assert wrong in "".join(told)
    assert wrong or good == wanted


def test_a_bad_pair_does_not_take_the_good_ones_with_it() -> None:
    good, told = actions.overrides({"app.help": "f3", "app.nope": "f4"})
    assert good == {"app.help": "f3"} and len(told) == 1
