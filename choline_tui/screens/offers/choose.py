"""Small windows with a list: the column to sort by, a saved filter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from choline_tui.kernel.text import plain
from choline_tui.screens.windows import Window
from choline_tui.widgets.columns import Column
from choline_tui.widgets.glyphs import glyph, uses_ascii

if TYPE_CHECKING:
    from choline_tui.model.filters import Filter

__all__ = ["SavedChoice", "SavedScreen", "SortScreen"]

LIST_KEYS: Any = [
    Binding("j", "app.simulate_key('down')", show=False),
    Binding("k", "app.simulate_key('up')", show=False),
]


class SortScreen(Window[str]):
    """Gives the key of a column. The one it is sorted by already reverses."""

    HEADING = "Sort by"
    DEFAULT_CSS = "SortScreen > #window { height: auto; max-height: 90%; max-width: 76; }"
    BINDINGS: ClassVar[Any] = LIST_KEYS

    def __init__(self, columns: Sequence[Column[Any]], sort_key: str | None, reverse: bool) -> None:
        super().__init__()
        self.columns, self.sort_key, self.reverse = columns, sort_key, reverse

    def compose_inside(self) -> ComposeResult:
        ascii = uses_ascii(self)
        options = []
        for each in self.columns:
            way = (
                glyph("descending" if self.reverse else "ascending", ascii)
                if each.key == self.sort_key
                else " "
            )
            text = Content.styled(f"{way} {each.label:<9}", "bold") + Content.styled(
                f" {each.help}", "$muted"
            )
            options.append(Option(text, id=each.key))
        yield OptionList(*options)

    def on_mount(self) -> None:
        super().on_mount()
        found = self.query_one(OptionList)
        found.focus()
        keys = [each.key for each in self.columns]
        found.highlighted = keys.index(self.sort_key) if self.sort_key in keys else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)


@dataclass(frozen=True, slots=True)
class SavedChoice:
    """``use``, ``save`` (as ``name``) or ``forget``."""

    what: str
    name: str


class SavedScreen(Window[SavedChoice]):
    """Enter uses one, ``n`` saves what is typed now under a name, delete forgets one."""

    HEADING = "Saved filters"
    AUTO_FOCUS = "OptionList"
    DEFAULT_CSS = """
    SavedScreen > #window { height: auto; max-height: 90%; max-width: 90; }
    SavedScreen Input { display: none; }
    SavedScreen Input.-there { display: block; }
    SavedScreen #saved-none { color: $text-muted; padding: 1 0; }
    """
    BINDINGS: ClassVar[Any] = [
        Binding("n", "name", "Save the present one", id="saved.name"),
        Binding("delete,x", "forget", "Forget", id="saved.forget"),
        *LIST_KEYS,
    ]

    def __init__(self, saved: "dict[str, Filter]", present: str) -> None:
        super().__init__()
        self.saved, self.present = saved, present
        self.names = list(saved)

    def compose_inside(self) -> ComposeResult:
        options = []
        for each in self.names:
            one = self.saved[each]
            more = [one.type or "", f"{one.disk:g} GB" if one.disk else ""]
            more.append(f"at most ${one.max_price:g}/h" if one.max_price else "")
            text = Content.styled(f"{plain(each):<18} ", "bold") + Content(plain(one.query) or "everything")
            said = ", ".join(part for part in more if part)
            options.append(Option(text + Content.styled(f"  {said}", "$muted"), id=each))
        if options:
            yield OptionList(*options)
        else:
            yield Static(
                Content("None yet. n saves what is typed now; e on an offer makes one of it."),
                id="saved-none",
            )
        yield Static(Content.styled(f"now: {plain(self.present) or 'everything'}", "$muted"))
        yield Input(
            placeholder="a name for the present filter, such as cheap-4090", id="saved-name", max_length=60
        )

    def on_mount(self) -> None:
        super().on_mount()
        found = self.query_one_optional(OptionList)
        if found is not None:
            found.focus()

    def action_name(self) -> None:
        box = self.query_one("#saved-name", Input)
        box.add_class("-there")
        # not now: the key that asked for it would be typed into it
        self.call_after_refresh(box.focus)

    def action_forget(self) -> None:
        found = self.query_one_optional(OptionList)
        if found is not None and found.highlighted is not None:
            self.dismiss(SavedChoice("forget", self.names[found.highlighted]))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(SavedChoice("save", event.value.strip()))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(SavedChoice("use", str(event.option.id)))
