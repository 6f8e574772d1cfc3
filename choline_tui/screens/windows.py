"""A window in the middle of the screen: a title, something in it, and a line that says which keys do what."""

from typing import Any, TypeVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen

from choline_tui.kernel.text import plain
from choline_tui.screens.base import Modal, keys_of_screen
from choline_tui.widgets.key_line import KeyLine

__all__ = ["Window"]

T = TypeVar("T")


class Window(Modal[T]):
    """Subclasses give ``heading`` and ``compose_inside``; ``set_heading`` changes it later."""

    DEFAULT_CSS = """
    Window { align: center middle; background: $background 60%; }
    Window > #window {
        width: 96%; max-width: 110; height: 90%; max-height: 44; background: $surface;
        border: round $border; border-title-color: $accent; border-title-style: bold;
        border-subtitle-color: $muted; padding: 0 1;
    }
    """
    HEADING = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="window") as window:
            window.border_title = Content(self.HEADING)
            yield from self.compose_inside()
            yield KeyLine(id="key-line")

    def compose_inside(self) -> ComposeResult:
        yield from ()

    def set_heading(self, text: str, under: str = "") -> None:
        """The window's title, and what stands at the right of its lower border; both may be foreign."""
        window = self.query_one("#window", Vertical)
        window.border_title = Content(plain(text))
        window.border_subtitle = Content(plain(under)) if under else None

    def on_mount(self) -> None:
        self.bindings_updated_signal.subscribe(self, self._keys_changed)
        self._keys_changed(self)

    def _keys_changed(self, _screen: Screen[Any]) -> None:
        line = self.query_one_optional("#key-line", KeyLine)
        if line is not None:
            line.keys = keys_of_screen(self)
