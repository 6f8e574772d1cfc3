"""Help (``?``): what every key does for what has the focus, on this screen, and everywhere."""

import textwrap
from dataclasses import dataclass
from typing import Any

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Static

from choline_tui import actions
from choline_tui.kernel.text import plain
from choline_tui.screens.windows import Window

__all__ = ["HelpScreen", "Row", "Section", "help_of"]


@dataclass(frozen=True, slots=True)
class Row:
    keys: str
    label: str
    help: str


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    text: str
    rows: tuple[Row, ...]


def help_of(screen: Screen[Any]) -> list[Section]:
    """From the innermost thing outwards, as the bindings are at this moment."""
    app = screen.app
    nodes: list[tuple[DOMNode, dict[str, tuple[list[str], str, str]]]] = []
    for active in screen.active_bindings.values():
        binding = active.binding
        if not binding.description or not active.enabled:
            continue
        known = actions.registry().get(binding.id or "")
        rows = next((rows for node, rows in nodes if node is active.node), None)
        if rows is None:
            rows = {}
            nodes.append((active.node, rows))
        entry = rows.setdefault(
            binding.id or binding.action,
            ([], binding.description, known.help if known else binding.tooltip or ""),
        )
        shown = app.get_key_display(binding)
        if shown not in entry[0]:
            entry[0].append(shown)
    sections = []
    for node, found in nodes:
        order = list(actions.registry())
        ids = sorted(found, key=lambda name: order.index(name) if name in order else -1)
        lines = tuple(Row(" ".join(found[i][0][:4]), *found[i][1:]) for i in ids)
        sections.append(Section(_title(node, screen), _about(node), lines))
    return sections


def _title(node: DOMNode, screen: Screen[Any]) -> str:
    if node is screen.app:
        return "Everywhere"
    given = getattr(node, "HELP_TITLE", "")
    if given:
        return str(given)
    if node is screen:
        return str(getattr(node, "WHERE", "") or getattr(node, "HEADING", "") or "this window").capitalize()
    return {"OptionList": "List", "Input": "Text", "VerticalScroll": "Page"}.get(
        type(node).__name__, type(node).__name__
    )


def _about(node: DOMNode) -> str:
    return " ".join(str(getattr(node, "HELP", None) or "").split())


KEYS, LABEL = 14, 20


def drawn(sections: list[Section], width: int, readonly: bool) -> Content:
    """As lines of at most ``width`` columns."""
    lines: list[Content] = []
    room = max(20, width - KEYS - LABEL - 2)
    if readonly:
        text = "Read-only: what spends or destroys is off (ui.readonly in the settings)."
        lines += [Content.styled(line, "$text-warning") for line in textwrap.wrap(text, width)]
        lines.append(Content(""))
    for section in sections:
        lines.append(Content.styled(plain(section.title), "bold $accent"))
        lines += [Content(line) for line in textwrap.wrap(plain(section.text), width)]
        for row in section.rows:
            first, *rest = textwrap.wrap(plain(row.help), room) or [""]
            head = Content.styled(f"{plain(row.keys):>{KEYS - 2}}  ", "bold $text-accent")
            label = f"{plain(row.label):<{LABEL}} "
            lines.append(head + Content(label) + Content.styled(first, "$muted"))
            lines += [Content.styled(" " * (KEYS + LABEL + 1) + line, "$muted") for line in rest]
        lines.append(Content(""))
    return Content("\n").join(lines)


class HelpScreen(Window[None]):
    """Of the screen below it, as it was when this was asked for."""

    HEADING = "Help"

    def __init__(self, sections: list[Section]) -> None:
        super().__init__()
        self.sections = sections

    def compose_inside(self) -> ComposeResult:
        with VerticalScroll(id="help"):
            yield Static(id="help-text")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#help").focus()
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = max(40, self.query_one("#help").size.width - 2)
        text = drawn(self.sections, width, self.choline_app.readonly)
        self.query_one("#help-text", Static).update(text)
