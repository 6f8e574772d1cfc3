"""The settings (``f2``): the home's config file, every setting with what it is and where it comes from."""

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from choline_tui.kernel.errors import CholineError
from choline_tui.kernel.text import plain
from choline_tui.screens.windows import Window

if TYPE_CHECKING:
    from choline_tui.config import Shown

__all__ = ["SettingsScreen"]

ORIGIN = {"default": "", "home": "set", "project": "project", "env": "environment"}


class SettingsScreen(Window[None]):
    """A list to choose from, what the chosen one is, and a line to write it in."""

    HEADING = "Settings"
    HELP = "Changes are written to the home's file at once; 'choline config' does the same."
    DEFAULT_CSS = """
    SettingsScreen OptionList { height: 1fr; }
    SettingsScreen #about { height: auto; max-height: 8; border-top: solid $border-blurred; padding: 0; }
    SettingsScreen #edit { height: auto; display: none; }
    SettingsScreen #edit.-open { display: block; }
    SettingsScreen #wrong { height: auto; color: $text-error; }
    """
    BINDINGS = [  # noqa: RUF012
        Binding("u", "unset", "Default", tooltip="Take it out of the file: its default holds again."),
        Binding("slash", "find", "Filter", tooltip="Show only settings whose name holds what you type."),
        Binding("y", "copy", "Copy", show=False, tooltip="Copy the setting's name and value."),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Shown] = []
        self.shown: list[Shown] = []
        self.editing = ""
        """the setting that is written; '/' for the filter, '' for none"""
        self.wanted = ""

    def compose_inside(self) -> ComposeResult:
        yield OptionList(id="settings", compact=True)
        yield Static(id="about")
        with Vertical(id="edit"):
            yield Input(id="value")
            yield Static(id="wrong")

    def on_mount(self) -> None:
        super().on_mount()
        self._load()
        self.query_one("#settings").focus()

    def _load(self) -> None:
        try:
            self.rows = self.choline_app.choline.settings()
        except CholineError as error:
            self.rows = []
            self.query_one("#about", Static).update(_wrong(error))
        self._fill()

    def _fill(self) -> None:
        table = self.query_one("#settings", OptionList)
        at = table.highlighted
        key = self.shown[at].key if at is not None and at < len(self.shown) else ""
        self.shown = [row for row in self.rows if self.wanted.lower() in row.key]
        width = max((len(row.key) for row in self.shown), default=0)
        table.clear_options()
        table.add_options([Option(_line(row, width)) for row in self.shown])
        if self.shown:
            keys = [row.key for row in self.shown]
            table.highlighted = keys.index(key) if key in keys else 0
        path = str(self.choline_app.choline.paths.config_file)
        self.set_heading(f"Settings: {path}", f"filter: {self.wanted}" if self.wanted else "")

    def _row(self) -> "Shown | None":
        at = self.query_one("#settings", OptionList).highlighted
        return self.shown[at] if at is not None and at < len(self.shown) else None

    def on_option_list_option_highlighted(self) -> None:
        row = self._row()
        if row is not None:
            self.query_one("#about", Static).update(_about(row))

    def on_option_list_option_selected(self) -> None:
        row = self._row()
        if row is None:
            return
        if row.origin == "env":
            self._complain(f"{row.variable} of the environment overrides it: change it there")
            return
        secret = row.key == "vast.key"
        start = "" if secret or row.key == "keys" else row.value
        self._open(row.key if row.key != "keys" else "keys.", start, secret)

    def _open(self, key: str, value: str, secret: bool = False) -> None:
        self.editing = key
        line = self.query_one("#value", Input)
        line.password = secret
        line.placeholder = {"/": "a part of a setting's name", "keys.": "offers.export = E"}.get(
            key, f"{key}: as people write it (24h, 0.9, true, text)"
        )
        line.value = value
        self.query_one("#wrong", Static).update("")
        self.query_one("#edit").add_class("-open")
        line.focus()

    def _close(self) -> None:
        self.editing = ""
        self.query_one("#edit").remove_class("-open")
        self.query_one("#settings").focus()

    def _complain(self, text: str) -> None:
        self.query_one("#wrong", Static).update(Content(plain(text)))
        self.query_one("#edit").add_class("-open")

    def on_input_changed(self, event: Input.Changed) -> None:
        if self.editing == "/":
            self.wanted = event.value.strip()
            self._fill()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        key, value = self.editing, event.value.strip()
        if key == "/":
            self._close()
            return
        if key == "keys.":
            name, _, value = (part.strip() for part in value.partition("="))
            key += name
        if self._write(key, value or None):
            self._close()

    def action_unset(self) -> None:
        row = self._row()
        if row is not None and row.origin == "home":
            self._write(row.key, None)

    def _write(self, key: str, value: str | None) -> bool:
        app = self.choline_app
        try:
            if key.startswith("keys.") and value is not None:
                app.check_keys({key.partition(".")[2]: value})
            if key == "ui.theme" and value is not None:
                app.check_theme(value)
            app.choline.change_setting(key, value)
        except CholineError as error:
            self._complain(f"{error.message}. {error.hint}" if error.hint else error.message)
            return False
        self._load()
        app.apply_looks()
        return True

    def action_find(self) -> None:
        self._open("/", self.wanted)

    def action_copy(self) -> None:
        row = self._row()
        if row is not None:
            self.choline_app.copy(f"{row.key} = {row.value}", row.key)

    def action_dismiss_modal(self) -> None:
        if self.query_one("#edit").has_class("-open"):
            if self.editing == "/":
                self.wanted = ""
                self._fill()
            self._close()
        else:
            self.dismiss(None)


def _line(row: "Shown", width: int) -> Content:
    set_here = row.origin != "default"
    name = Content.styled(f"{plain(row.key):<{width}}  ", "bold" if set_here else "")
    value = Content.styled(f"{plain(row.value) or '-':<28} ", "$text-accent" if set_here else "$muted")
    return name + value + Content.styled(ORIGIN[row.origin], "$muted")


def _about(row: "Shown") -> Content:
    lines = [Content(plain(row.description))]
    if row.variable:
        lines.append(Content.styled(f"environment: {row.variable}", "$muted"))
    return Content("\n").join(lines)


def _wrong(error: CholineError) -> Content:
    return Content.styled(plain(f"{error.message}\n{error.hint}"), "$text-error")
