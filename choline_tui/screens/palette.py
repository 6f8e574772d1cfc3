"""The palette (``ctrl+p``, ``:``): every command there is at this moment, found by a part of its name."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.fuzzy import Matcher
from textual.screen import Screen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from choline_tui import actions
from choline_tui.kernel.text import plain
from choline_tui.screens.windows import Window

__all__ = ["Command", "PaletteScreen", "commands_of"]

NOT_HERE = ("app.palette", "app.quit_now")
MOST = 60
"""commands shown at once"""


@dataclass(frozen=True, slots=True)
class Command:
    """``name``: may be foreign. ``run``: called after the palette is closed. ``preview``: while it is the
    one under the cursor."""

    name: str
    help: str
    run: Callable[[], Any]
    key: str = ""
    preview: Callable[[], Any] | None = None


def commands_of(screen: Screen[Any]) -> list[Command]:
    """What can be done from this screen now: its actions, the app's, and what the screen adds itself
    (``palette_commands()``)."""
    app = screen.app
    known = actions.registry()
    found: dict[str, Command] = {}
    for active in screen.active_bindings.values():
        one = known.get(active.binding.id or "")
        if one is None or not active.enabled or one.id in found or one.id in NOT_HERE:
            continue
        run = partial(app.run_action, active.binding.action, active.node)
        found[one.id] = Command(_name(one), one.help, run, app.get_key_display(active.binding))
    for one in known.values():
        if one.id in found or one.where != "app" or one.keys:
            continue
        found[one.id] = Command(_name(one), one.help, partial(app.run_action, one.does, app))
    order = {name: at for at, name in enumerate(known)}
    here = sorted(found, key=lambda name: (known[name].where == "app", order[name]))
    extra = getattr(screen, "palette_commands", None)
    return [*(found[name] for name in here), *(extra() if callable(extra) else ())]


def _name(one: actions.Action) -> str:
    return one.label if one.where == "app" else f"{one.where.capitalize()}: {one.label}"


def matching(commands: Iterable[Command], typed: str) -> list[Command]:
    """Best first; all in their order when nothing is typed."""
    words = typed.strip()
    if not words:
        return list(commands)
    matcher = Matcher(words)
    scored = [(max(matcher.match(c.name), matcher.match(c.help) * 0.5), c) for c in commands]
    return [c for score, c in sorted(scored, key=lambda pair: -pair[0]) if score > 0]


class PaletteScreen(Window[Command]):
    """Gives the command that was chosen, or None."""

    HEADING = "Commands"
    DEFAULT_CSS = """
    PaletteScreen > #window { height: auto; max-height: 90%; max-width: 90; }
    PaletteScreen OptionList { height: auto; max-height: 24; }
    """
    BINDINGS = [  # noqa: RUF012
        Binding("down,ctrl+n", "move(1)", "Next", show=False, priority=True),
        Binding("up,ctrl+p", "move(-1)", "Previous", show=False, priority=True),
        Binding("pagedown", "move(10)", "Ten on", show=False, priority=True),
        Binding("pageup", "move(-10)", "Ten back", show=False, priority=True),
    ]

    def __init__(self, commands: list[Command]) -> None:
        super().__init__()
        self.commands = commands
        self.found = commands

    def compose_inside(self) -> ComposeResult:
        yield Input(placeholder="a part of a command's name", id="typed")
        yield OptionList(id="found", compact=True)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#found", OptionList).can_focus = False
        self.query_one("#typed", Input).focus()
        self._fill("")

    def _fill(self, typed: str) -> None:
        self.found = matching(self.commands, typed)[:MOST]
        shown = self.query_one("#found", OptionList)
        shown.clear_options()
        width = max((len(c.name) for c in self.found), default=0)
        shown.add_options([Option(_drawn(c, min(width, 34))) for c in self.found])
        if self.found:
            shown.highlighted = 0
        count = f"{len(self.found)} of {len(self.commands)}"
        self.set_heading("Commands", count if self.found else "nothing matches")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def on_input_submitted(self) -> None:
        at = self.query_one("#found", OptionList).highlighted
        if at is not None and at < len(self.found):
            self.dismiss(self.found[at])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self.found[event.option_index])

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_index < len(self.found):
            preview = self.found[event.option_index].preview
            if preview is not None:
                preview()

    def action_move(self, by: int) -> None:
        shown = self.query_one("#found", OptionList)
        if shown.option_count:
            at = shown.highlighted or 0
            shown.highlighted = max(0, min(shown.option_count - 1, at + by))


def _drawn(command: Command, width: int) -> Content:
    name = Content(f"{plain(command.name):<{width}}  ")
    key = Content.styled(f"{command.key:<6} ", "bold $text-accent")
    return name + key + Content.styled(plain(command.help), "$muted")
