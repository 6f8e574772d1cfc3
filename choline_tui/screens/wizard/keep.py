"""Keeping a set-up as a template: a name for it."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input, Static

from choline_tui.screens.windows import Window

__all__ = ["KeepScreen"]


class KeepScreen(Window[str]):
    """Gives the name, or None."""

    HEADING = "Keep as template"
    DEFAULT_CSS = """
    KeepScreen > #window { width: 64; height: auto; }
    KeepScreen Static { height: auto; margin-bottom: 1; }
    KeepScreen Input { margin-bottom: 1; }
    """
    AUTO_FOCUS: ClassVar[str] = "#keep-name"

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__()
        self.start = name
        self.known = known

    def compose_inside(self) -> ComposeResult:
        text = "Environment, hardware, limits, ignore rules and command; not name, data and variables."
        yield Static(Content(text))
        yield Input(self.start, id="keep-name", max_length=60)
        yield Static("", id="keep-known", markup=False)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        there = event.value.strip() in self.known
        text = "There is one of this name: it is replaced." if there else ""
        self.query_one("#keep-known", Static).update(Content.styled(text, "$text-warning"))

    @on(Input.Submitted)
    def _chosen(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())
