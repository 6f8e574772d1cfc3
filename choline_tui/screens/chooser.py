"""A small window that gives one of a list: a column to sort by, a port to close."""

from collections.abc import Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from choline_tui.kernel.text import plain
from choline_tui.screens.windows import Window

__all__ = ["Choice", "Chooser"]


@dataclass(frozen=True, slots=True)
class Choice:
    """``key`` is what is given back; ``label`` and ``help`` may be foreign."""

    key: str
    label: str
    help: str = ""


class Chooser(Window[str]):
    """Gives the key of the choice, or None. A letter goes to the next choice that begins with it."""

    DEFAULT_CSS = """
    Chooser > #window { width: auto; min-width: 36; max-width: 80; height: auto; max-height: 90%; }
    Chooser OptionList { height: auto; max-height: 24; width: auto; min-width: 34; max-width: 76; }
    """

    def __init__(self, heading: str, choices: Sequence[Choice], chosen: str | None = None) -> None:
        super().__init__()
        self.heading = heading
        self.choices = list(choices)
        self.chosen = chosen

    def compose_inside(self) -> ComposeResult:
        width = max((len(plain(c.label)) for c in self.choices), default=0)
        yield OptionList(*(Option(self._drawn(c, width)) for c in self.choices), compact=True, id="choices")

    @staticmethod
    def _drawn(choice: Choice, width: int) -> Content:
        label = Content.styled(f"{plain(choice.label):<{width}}", "bold")
        return label + Content.styled(f"  {plain(choice.help)}", "$muted") if choice.help else label

    def on_mount(self) -> None:
        super().on_mount()
        self.set_heading(self.heading)
        box = self.query_one("#choices", OptionList)
        keys = [c.key for c in self.choices]
        box.highlighted = keys.index(self.chosen) if self.chosen in keys else 0
        box.focus()

    def on_key(self, event: object) -> None:
        character = getattr(event, "character", None)
        if not character or not character.isalnum():
            return
        box = self.query_one("#choices", OptionList)
        here = box.highlighted or 0
        order = [*range(here + 1, len(self.choices)), *range(here + 1)]
        found = next(
            (n for n in order if self.choices[n].label.casefold().startswith(character.casefold())), None
        )
        if found is not None:
            box.highlighted = found

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self.choices[event.option_index].key)
