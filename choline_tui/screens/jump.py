"""Jump mode (``ctrl+o``): a letter on each part of the screen; the letter goes there."""

from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from choline_tui.screens.base import Modal

__all__ = ["LETTERS", "JumpScreen", "targets_of"]

LETTERS = "asdfgwertzuvbnm"


def targets_of(screen: Screen[Any]) -> list[tuple[str, Widget]]:
    """What may have the focus, each with its letter, in order of place."""
    shown = [w for w in screen.focus_chain if isinstance(w, Widget) and w.region.area and w.is_on_screen]
    shown.sort(key=lambda w: (w.region.y, w.region.x))
    return list(zip(LETTERS, shown, strict=False))


class JumpScreen(Modal[Widget]):
    """Gives the widget to go to, or None."""

    DEFAULT_CSS = """
    JumpScreen { background: $background 40%; }
    JumpScreen Static {
        position: absolute; width: 3; height: 1; background: $accent; color: $background; text-style: bold;
    }
    """

    def __init__(self, targets: list[tuple[str, Widget]]) -> None:
        super().__init__()
        self.targets = targets

    def compose(self) -> ComposeResult:
        for letter, widget in self.targets:
            label = Static(Content(f" {letter} "))
            label.styles.offset = (widget.region.x, widget.region.y)
            yield label

    def on_key(self, event: events.Key) -> None:
        target = next((w for letter, w in self.targets if letter == event.key), None)
        if target is not None or event.key == "ctrl+o":
            event.stop()
            self.dismiss(target)

    def on_click(self, event: events.Click) -> None:
        inside = (w for _, w in reversed(self.targets) if w.region.contains(event.screen_x, event.screen_y))
        self.dismiss(next(inside, None))
