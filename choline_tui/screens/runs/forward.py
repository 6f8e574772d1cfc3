"""Asking which port of a run's machine is to be reached from here, and closing those that are open."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from choline_tui.kernel.text import plain
from choline_tui.screens.windows import Window

__all__ = ["ForwardScreen"]


class ForwardScreen(Window[tuple[str, str]]):
    """Gives ("open", ports) or ("close", ports) or None. ``known``: open ones; ``wanted``: the plan's."""

    HEADING = "Forward a port"
    HELP = "enter opens the port that was typed; enter on an open one, in the list, closes it."
    DEFAULT_CSS = """
    ForwardScreen > #window { height: auto; max-width: 64; }
    ForwardScreen OptionList { height: auto; max-height: 8; margin-top: 1; }
    """

    def __init__(self, run: str, known: Sequence[str], wanted: Sequence[str]) -> None:
        super().__init__()
        self.run_name = run
        self.known = list(known)
        self.wanted = [port for port in wanted if port]

    def compose_inside(self) -> ComposeResult:
        lines = [Content("A port here, for this computer only, that leads to one of its machine.")]
        lines.append(Content.styled("6006, or 8080:80 when they differ", "$muted"))
        yield Static(Content("\n").join(lines))
        first = next((p for p in self.wanted if p not in self.known), "")
        yield Input(value=first, placeholder="6006", id="ports", max_length=20)
        if self.known:
            yield OptionList(
                *(Option(Content(f"close {plain(p)}  (http://localhost:{plain(p.partition(':')[0])})"))
                  for p in self.known),
                compact=True, id="known",
            )  # fmt: skip

    def on_mount(self) -> None:
        super().on_mount()
        self.set_heading(f"Forward a port of {self.run_name}")
        self.query_one("#ports", Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(("open", event.value.strip()))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(("close", self.known[event.option_index]))
