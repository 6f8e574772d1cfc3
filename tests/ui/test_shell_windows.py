"""Help, palette, settings, error log, jump mode, copying: by keys and by mouse, and with hostile text."""

import base64
import tomllib

import pytest
from textual.widgets import Input, OptionList, Static

from choline_tui import actions
from choline_tui.config import Paths
from choline_tui.kernel.errors import BadKey, MarketDown
from choline_tui.screens.clipboard import CAP, CopyScreen, osc52
from choline_tui.screens.dialogs import Confirm, ConfirmScreen
from choline_tui.screens.errors import ErrorsScreen
from choline_tui.screens.help import HelpScreen
from choline_tui.screens.jump import JumpScreen
from choline_tui.screens.palette import PaletteScreen
from choline_tui.screens.settings import SettingsScreen
from choline_tui.services.looks import Looks
from tests.ui.bare import BareApp
from tests.ui.conftest import Shot, screen_text
from tests.ui.fake import HOSTILE, live_view

SIZES = [(80, 24), (160, 50)]


@pytest.mark.parametrize("size", SIZES)
async def test_pictures_of_the_windows(size: tuple[int, int], shot: Shot) -> None:
    small = size == (80, 24)
    app = BareApp(looks=Looks(theme="choline-light" if small else "choline-dark"))
    where = f"{size[0]}x{size[1]}"

    def keep(name: str) -> None:
        shot(pilot, f"shell/{name}-{where}", svg=True)

    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press("question_mark")
        await pilot.pause()
        keep("help")
        await pilot.press("escape", "ctrl+p", "t", "h", "e", "m", "e")
        await pilot.pause()
        keep("palette")
        await pilot.press("escape")
        app.fail(MarketDown("the market does not answer (502)"), "searching the market")
        app.fail(MarketDown("the market does not answer (502)"), "searching the market")
        app.fail(BadKey("the key is not known"), "asking for the credit")
        await pilot.press("exclamation_mark")
        await pilot.pause()
        keep("errors")
        await pilot.press("escape", "f2", "down", "down")
        assert isinstance(app.screen, SettingsScreen)
        app.screen.set_heading("Settings: config.toml")
        await pilot.pause()
        keep("settings")
        await pilot.press("escape")
        question = Confirm(
            "Destroy rental abc123-1?",
            ["2x RTX 4090, Sweden, SE, held since 20 minutes", "Its results are at home."],
            "Destroy",
            "saves $0.72/h; it cost $1.10 so far",
            danger=True,
        )
        app.push_screen(ConfirmScreen(question))
        await pilot.pause()
        keep("confirm")


def test_every_action_says_what_it_is() -> None:
    for one in actions.registry().values():
        assert one.help.endswith((".", "?")), one.id
        assert one.label and len(one.label) <= 24, one.id
        good, wrong = actions.overrides({one.id: "f19"})
        assert good == {one.id: "f19"} and not wrong


async def test_help_is_of_what_has_the_focus() -> None:
    app = BareApp()
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        app.screen.query_one("#first").focus()
        await pilot.press("f1")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        titles = [section.title for section in app.screen.sections]
        assert titles[0] == "Text" and titles[-1] == "Everywhere"
        everywhere = {row.label: row.keys for row in app.screen.sections[-1].rows}
        assert everywhere["Help"] == "f1", "a question mark is text to a line one writes in"
        await pilot.press("f1")
        assert sum(isinstance(s, HelpScreen) for s in app.screen_stack) == 1
        await pilot.press("escape")
        app.screen.set_focus(None)
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        everywhere = {row.label: row.keys for row in app.screen.sections[-1].rows}
        assert everywhere["Help"] == "? f1"


async def test_the_palette_does_what_is_chosen() -> None:
    app = BareApp()
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        await pilot.press("colon")
        await pilot.pause()
        assert isinstance(app.screen, PaletteScreen)
        await pilot.press(*"run: live03", "enter")
        await pilot.pause()
        assert app.main_screen.WHERE == "runs"
        assert app.main_screen.opened == "live03"


async def test_a_theme_is_seen_before_it_is_chosen_and_kept_only_then() -> None:
    app = BareApp()
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        await pilot.press("ctrl+p", *"choline-light")
        await pilot.pause()
        assert app.theme == "choline-light"
        await pilot.press("escape")
        await pilot.pause()
        assert app.theme == "choline-dark"
        await pilot.press("ctrl+p", *"choline-safe", "enter")
        await pilot.pause()
        assert app.theme == "choline-safe"
        assert tomllib.loads(Paths().config_file.read_text())["ui"] == {"theme": "choline-safe"}


async def test_the_palette_by_mouse() -> None:
    app = BareApp()
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        await pilot.press("ctrl+p", *"settings")
        await pilot.pause()
        await pilot.click("#found", offset=(3, 0))
        await pilot.pause()
        assert isinstance(app.screen, SettingsScreen)


async def write(pilot: object, app: BareApp, key: str, value: str) -> None:
    screen = app.screen
    assert isinstance(screen, SettingsScreen)
    names = [row.key for row in screen.shown]
    screen.query_one("#settings", OptionList).highlighted = names.index(key)
    await pilot.press("enter")  # type: ignore[attr-defined]
    line = screen.query_one("#value", Input)
    line.value = value
    await pilot.press("enter")  # type: ignore[attr-defined]


async def test_settings_are_checked_written_and_worn() -> None:
    app = BareApp()
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        await pilot.press("f2")
        await pilot.pause()
        await write(pilot, app, "run.premium", "a lot")
        assert "needs a number" in app.screen.query_one("#wrong", Static).render().plain
        assert not Paths().config_file.exists()
        await pilot.press("escape")
        assert isinstance(app.screen, SettingsScreen), "escape closes the line first"
        await write(pilot, app, "run.premium", "25")
        await write(pilot, app, "ui.ascii", "true")
        assert app.ascii
        await write(pilot, app, "ui.theme", "choline-lihgt")
        assert "did you mean choline-light" in app.screen.query_one("#wrong", Static).render().plain
        await pilot.press("escape")
        await write(pilot, app, "keys", "app.hepl = f3")
        assert "did you mean app.help" in app.screen.query_one("#wrong", Static).render().plain
        await pilot.press("escape")
        await write(pilot, app, "keys", "app.help = f3")
        await write(pilot, app, "ui.readonly", "true")
        assert app.readonly and app.choline.readonly
        written = tomllib.loads(Paths().config_file.read_text())
        assert written == {
            "run": {"premium": 25}, "ui": {"ascii": True, "readonly": True}, "keys": {"app.help": "f3"},
        }  # fmt: skip
        await pilot.press("escape", "f3")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape", "f2")
        screen = app.screen
        assert isinstance(screen, SettingsScreen)
        screen.query_one("#settings", OptionList).highlighted = [r.key for r in screen.shown].index(
            "ui.ascii"
        )
        await pilot.press("u")
        await pilot.pause()
        assert not app.ascii


async def test_settings_are_filtered_by_name() -> None:
    app = BareApp()
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        await pilot.press("f2", "slash", *"search")
        await pilot.pause()
        assert isinstance(app.screen, SettingsScreen)
        assert {row.key for row in app.screen.shown} == {"search.daily", "search.reserve"}
        await pilot.press("escape")
        assert len(app.screen.shown) > 20


async def test_a_setting_of_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAST_API_KEY", "hush-hush-hush")
    app = BareApp()
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        await pilot.press("f2", "enter")
        await pilot.pause()
        assert "VAST_API_KEY" in app.screen.query_one("#wrong", Static).render().plain
        assert "hush" not in screen_text(app)


async def test_what_is_wrong_in_the_file_is_told_after_the_first_frame() -> None:
    path = Paths().ensure().config_file
    path.write_text('[ui]\ntheme = "choline-drak"\n[keys]\napp.hlep = "f3"\napp.quit = "ctrl+"\n')
    app = BareApp(looks=Looks(theme="choline-drak", keys={"app.hlep": "f3", "app.quit": "ctrl+"}))
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        told = "\n".join(fault.message for fault in app.faults)
        assert "did you mean choline-dark" in told
        assert "did you mean app.help" in told
        assert "'ctrl+' is no key" in told
        assert app.theme == "choline-dark"


async def test_errors_are_kept_counted_and_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    app = BareApp()
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        written: list[str] = []
        monkeypatch.setattr(app._driver, "write", written.append)
        app.fail(MarketDown(f"one {HOSTILE} [/foo]", hint="do [this]"), "looking [/x]")
        try:
            raise ZeroDivisionError("unforeseen")
        except ZeroDivisionError as error:
            app.fail(error, "drawing")
        await pilot.press("exclamation_mark")
        await pilot.pause()
        assert isinstance(app.screen, ErrorsScreen)
        assert app.unseen == 0
        await pilot.press("y", "Y")
        await pilot.pause()
        clips = [t for t in written if t.startswith("\x1b]52;c;")]
        one, both = (base64.b64decode(c[7:-1]).decode() for c in clips)
        assert "ZeroDivisionError: unforeseen" in one and "Traceback" in one
        assert one in both and "do [this]" in both and "\x1b" not in both
        assert screen_text(app).isprintable() or "\x1b" not in screen_text(app)


async def test_jumping_goes_to_the_part_with_the_letter() -> None:
    app = BareApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("ctrl+o")
        await pilot.pause()
        assert isinstance(app.screen, JumpScreen)
        await pilot.press("s")
        await pilot.pause()
        assert app.focused is not None and app.focused.id == "second"
        await pilot.press("ctrl+o", "escape")
        assert app.focused.id == "second"


@pytest.mark.parametrize(
    ("term", "tmux", "text", "begins"),
    [
        ("xterm-256color", "", "x", "\x1b]52;c;eA==\x07"),
        ("tmux-256color", "/tmp/t", "x", "\x1b]52;c;eA==\x07\x1bPtmux;\x1b\x1b]52;c;eA==\x07\x1b\\"),
        ("screen", "", "x", "\x1bP\x1b]52;c;eA==\x07\x1b\\"),
        ("dumb", "", "x", None),
        ("linux", "", "x", None),
        ("xterm", "", "x" * CAP, None),
    ],
)
def test_the_clipboard_is_reached_as_the_terminal_wants_it(
    term: str, tmux: str, text: str, begins: str | None
) -> None:
    assert osc52(text, {"TERM": term, "TMUX": tmux}) == begins


async def test_what_cannot_be_copied_is_shown() -> None:
    app = BareApp(environ={"TERM": "linux"})
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.copy("the [/text] itself", "a thing")
        await pilot.pause()
        assert isinstance(app.screen, CopyScreen)
        assert "the [/text] itself" in screen_text(app)


async def test_hostile_names_change_nothing_but_themselves() -> None:
    app = BareApp()
    app.fake.views = [live_view(plan={"name": f"{HOSTILE} [/foo] [red]x"})]
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        await pilot.press("ctrl+p", *"run: abc")
        await pilot.pause()
        assert "[/foo] [red]x" in screen_text(app)
        app.push_screen(ConfirmScreen(Confirm(f"Stop {HOSTILE}[/b]?", [HOSTILE, "[/i]"], "[/u]", "[/c]")))
        await pilot.pause()
        text = screen_text(app)
        assert "[/i]" in text and "[/u]" in text and "[/c]" in text
        assert "\x1b" not in text and "\u202e" not in text
