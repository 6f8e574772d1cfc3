"""The line of keys at the bottom: what can be done here, as few as fit, ``? help`` last. Clickable."""

from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive

from choline_tui.kernel.text import plain
from choline_tui.widgets.clicks import Clickable, doing

__all__ = ["Key", "KeyLine", "fitting"]


@dataclass(frozen=True, slots=True)
class Key:
    """``shown``: as a person reads it; ``key``: as it is pressed when clicked. ``last``: at the end."""

    shown: str
    label: str
    key: str
    enabled: bool = True
    last: bool = False


def fitting(keys: tuple[Key, ...], width: int) -> list[Key]:
    """Those there is room for: the last ones always, the others from the left."""
    end = [key for key in keys if key.last]
    room = width - sum(_width(key) for key in end)
    shown = []
    for key in keys:
        if key.last:
            continue
        room -= _width(key)
        if room < 0:
            break
        shown.append(key)
    return [*shown, *end]


def _width(key: Key) -> int:
    return cell_len(f" {key.shown} {key.label} ")


class KeyLine(Clickable):
    """Set ``keys``. A click presses the key."""

    DEFAULT_CSS = """
    KeyLine {
        height: 1; width: 1fr; dock: bottom; background: $footer-background; color: $footer-foreground;
    }
    """
    ALLOW_SELECT = False
    can_focus = False
    keys: reactive[tuple[Key, ...]] = reactive((), always_update=False)

    def render(self) -> Content:
        line = Content("")
        for key in fitting(self.keys, self.size.width or 80):
            style = "bold $footer-key-foreground" if key.enabled else "dim"
            part = Content.styled(f" {plain(key.shown)}", style) + Content.styled(
                f" {plain(key.label)} ", "" if key.enabled else "dim"
            )
            line += doing(part, f"app.simulate_key({key.key!r})")
        return line
