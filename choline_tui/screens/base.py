"""What every screen has: the top line, the body, the line of keys; and what every modal has."""

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widget import Widget

from choline_tui import actions
from choline_tui.widgets.key_line import Key, KeyLine
from choline_tui.widgets.top_line import Standing, TopLine

if TYPE_CHECKING:
    from choline_tui.app import CholineApp
    from choline_tui.services.feed import Snapshot

__all__ = ["LEAST_HEIGHT", "LEAST_WIDTH", "MainScreen", "Modal", "Splash", "keys_of_screen"]

LEAST_WIDTH, LEAST_HEIGHT = 60, 16
T = TypeVar("T")


def keys_of_screen(screen: Screen[Any]) -> tuple[Key, ...]:
    """What stands in the line of keys of this screen, as its bindings are now."""
    found: dict[str, Key] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if not binding.show or binding.action in found:
            continue
        shown = screen.app.get_key_display(binding)
        last = binding.id in ("app.help", "app.palette")
        found[binding.action] = Key(shown, binding.description, binding.key, active.enabled, last)
    return tuple(sorted(found.values(), key=lambda k: k.last))


class Guarded:
    """A read-only choline neither shows nor does what spends or destroys."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        app = cast("CholineApp", cast("Widget", self).app)
        return not (app.readonly and action in actions.forbidden())


class TooSmall(Widget):
    """Stands in front of everything when the terminal is too small to be of use."""

    def render(self) -> Content:
        size = self.app.size
        lines = (
            "choline needs more room",
            f"{LEAST_WIDTH}x{LEAST_HEIGHT} at least, this is {size.width}x{size.height}",
        )
        return Content("\n").join(Content(line) for line in lines)


class MainScreen(Guarded, Screen[None]):
    """``WHERE``: its area. Subclasses give ``compose_body`` and, for what is live, ``on_snapshot``."""

    WHERE: ClassVar[str] = ""
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny-wide"), (LEAST_WIDTH, "-narrow"), (100, "-normal"), (140, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-tiny-high"), (LEAST_HEIGHT, "-short"), (30, "-tall")]  # noqa: RUF012

    @property
    def choline_app(self) -> "CholineApp":
        return cast("CholineApp", self.app)

    def compose(self) -> ComposeResult:
        yield TopLine(id="top-line")
        with Container(id="body"):
            yield from self.compose_body()
        yield KeyLine(id="key-line")
        yield TooSmall(id="too-small")

    def compose_body(self) -> ComposeResult:
        """What is between the top line and the line of keys."""
        yield from ()

    def on_snapshot(self, snapshot: "Snapshot") -> None:
        """The live picture changed; called while this screen is the one in front, and when it comes there."""

    def on_mount(self) -> None:
        self.bindings_updated_signal.subscribe(self, self._keys_changed)
        self._keys_changed(self)
        self.choline_app.tell_top_line()
        self.call_later(self.deliver)

    def on_screen_resume(self) -> None:
        self.choline_app.tell_top_line()
        self.deliver()

    def deliver(self) -> None:
        """Give the live picture to ``on_snapshot``, when there is one and the screen is ready for it."""
        snapshot = self.choline_app.snapshot
        if snapshot is not None and self.is_mounted:
            self.on_snapshot(snapshot)

    def _keys_changed(self, _screen: Screen[Any]) -> None:
        line = self.query_one_optional("#key-line", KeyLine)
        if line is not None:
            line.keys = keys_of_screen(self)

    def action_refresh(self) -> None:
        self.choline_app.look_again()


class Splash(Screen[None]):
    """The furniture alone, painted before the screens are loaded: a fraction of a second."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(id="_default")
        self._standing = standing

    def compose(self) -> ComposeResult:
        line = TopLine(id="top-line")
        line.standing = self._standing
        yield line
        keys = KeyLine(id="key-line")
        keys.keys = keys_of_screen(self)
        yield keys


class Modal(Guarded, ModalScreen[T]):
    """A window over a screen: esc closes it, F1 says what its keys do. ``BINDINGS`` of subclasses add."""

    BINDINGS = actions.bindings("modal")

    @property
    def choline_app(self) -> "CholineApp":
        return cast("CholineApp", self.app)

    def action_dismiss_modal(self) -> None:
        self.dismiss(None)
