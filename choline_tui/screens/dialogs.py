"""Asking before something is spent or lost. The button that changes nothing has the focus."""

from dataclasses import dataclass, field

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from choline_tui.kernel.text import plain
from choline_tui.screens.base import Modal

__all__ = ["Confirm", "ConfirmScreen"]


MOST = 1000
"""characters of a line that are shown"""


@dataclass(frozen=True, slots=True)
class Confirm:
    """``verb``: what the other button says ("Destroy"). ``cost``: what it costs or saves, '' for nothing.
    ``danger``: something is lost for good."""

    title: str
    lines: list[str] = field(default_factory=list)
    verb: str = "Do it"
    cost: str = ""
    danger: bool = False


class ConfirmScreen(Modal[bool]):
    DEFAULT_CSS = """
    ConfirmScreen { align: center middle; background: $background 60%; }
    ConfirmScreen > Vertical {
        width: 70; max-width: 90%; height: auto; max-height: 90%; padding: 1 2; background: $surface;
        border: round $warning;
    }
    ConfirmScreen.-danger > Vertical { border: round $error; }
    ConfirmScreen VerticalScroll { height: auto; max-height: 55vh; }
    ConfirmScreen Static { height: auto; }
    ConfirmScreen Horizontal { height: auto; margin-top: 1; align-horizontal: right; }
    ConfirmScreen Button { margin-left: 2; min-width: 12; }
    """
    BINDINGS = [  # noqa: RUF012
        Binding("n", "answer(False)", "Cancel", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("left,right,h,l", "other", "Other button", show=False),
    ]

    def __init__(self, question: Confirm) -> None:
        super().__init__(classes="-danger" if question.danger else "")
        self.question = question

    def compose(self) -> ComposeResult:
        ask = self.question
        glyph = "!" if ask.danger else "?"
        parts = [Content.styled(f"{glyph} {plain(ask.title)[:MOST]}", "bold"), Content("")]
        parts += [Content(plain(line)[:MOST]) for line in ask.lines]
        if ask.cost:
            parts += [Content(""), Content.styled(plain(ask.cost)[:MOST], "bold $text-warning")]
        with Vertical():
            with VerticalScroll(can_focus=False):
                yield Static(Content("\n").join(parts), id="question")
            with Horizontal():
                yield Button(Content("Cancel"), id="cancel")
                yield Button(
                    Content(plain(ask.verb)[:30]), id="yes", variant="error" if ask.danger else "warning"
                )

    def on_mount(self) -> None:
        self.query_one("#cancel", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, agreed: bool) -> None:
        self.dismiss(agreed)

    def action_other(self) -> None:
        self.focus_next("Button")

    def action_scroll(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def action_dismiss_modal(self) -> None:
        self.dismiss(False)
