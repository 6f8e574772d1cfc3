"""The error log (``!``): everything that went wrong since the app started, with what to do next."""

import time
import traceback
from dataclasses import dataclass, replace

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from choline_tui.kernel.errors import CholineError
from choline_tui.kernel.text import plain
from choline_tui.screens.states import State, StatePanel
from choline_tui.screens.windows import Window

__all__ = ["ErrorsScreen", "Fault"]

MAX_MESSAGE = 2000


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that went wrong, ``count`` times in a row. ``at``, ``last``: epoch s."""

    at: float
    last: float
    doing: str
    kind: str
    message: str
    hint: str
    trace: str = ""
    """where in the program, for a report, when nobody foresaw it"""
    count: int = 1

    @classmethod
    def of(cls, error: BaseException, doing: str, at: float) -> "Fault":
        if isinstance(error, CholineError):
            return cls(at, at, doing, error.code, _one(error.message), _one(error.hint))
        trace = plain("".join(traceback.format_exception(error)))[-20_000:]
        return cls(
            at, at, doing, "fault", _one(f"{type(error).__name__}: {error}"),
            "This is a fault of choline itself: copy it (y) into a report.", trace,
        )  # fmt: skip

    def same(self, other: "Fault") -> bool:
        return (self.doing, self.kind, self.message) == (other.doing, other.kind, other.message)

    def again(self, at: float) -> "Fault":
        return replace(self, last=at, count=self.count + 1)

    def text(self) -> str:
        """All of it, for a report."""
        when = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(self.at))
        times = f" ({self.count} times, last {time.strftime('%H:%M:%S', time.localtime(self.last))})"
        lines = [f"{when}{times if self.count > 1 else ''}  {self.doing}", f"  {self.kind}: {self.message}"]
        if self.hint:
            lines.append(f"  {self.hint}")
        if self.trace:
            lines.append(self.trace)
        return "\n".join(lines)


def _one(text: str) -> str:
    return " ".join(plain(text[:MAX_MESSAGE]).split())


class ErrorsScreen(Window[None]):
    """Newest first; the one under the cursor in full below."""

    HEADING = "Errors"
    HELP = "Everything that went wrong since choline was opened. Nothing is taken away by itself."
    DEFAULT_CSS = """
    ErrorsScreen OptionList { height: 1fr; }
    ErrorsScreen #detail {
        height: auto; max-height: 50%; border-top: solid $border-blurred; background: $surface; padding: 0;
    }
    """
    BINDINGS = [  # noqa: RUF012
        Binding("y", "copy", "Copy", tooltip="Copy this one, with all that is known of it."),
        Binding("Y", "copy_all", "Copy all", tooltip="Copy the whole log."),
        Binding("exclamation_mark", "dismiss_modal", "Close", show=False),
    ]

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__()
        self.faults = list(reversed(faults))

    def compose_inside(self) -> ComposeResult:
        if not self.faults:
            yield StatePanel(NOTHING)
            return
        yield OptionList(*(Option(_line(fault)) for fault in self.faults), compact=True, id="faults")
        with VerticalScroll(id="detail", can_focus=False):
            yield Static(id="fault")

    def on_mount(self) -> None:
        super().on_mount()
        if self.faults:
            self.query_one("#faults").focus()
            self.set_heading("Errors", f"{len(self.faults)}, newest first")

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self.query_one("#fault", Static).update(Content(plain(self.faults[event.option_index].text())))

    def _chosen(self) -> Fault | None:
        if not self.faults:
            return None
        return self.faults[self.query_one("#faults", OptionList).highlighted or 0]

    def action_copy(self) -> None:
        fault = self._chosen()
        if fault is not None:
            self.choline_app.copy(fault.text(), "the error")

    def action_copy_all(self) -> None:
        if self.faults:
            self.choline_app.copy("\n\n".join(f.text() for f in reversed(self.faults)), "the error log")


NOTHING = State("✓", "ok", "Nothing went wrong", "Errors stay here until choline is closed.")


def _line(fault: Fault) -> Content:
    when = time.strftime("%H:%M:%S", time.localtime(fault.last))
    count = f" ({fault.count} times)" if fault.count > 1 else ""
    return (
        Content.styled(f"{when} ", "$muted")
        + Content.styled(f"{plain(fault.doing)}: ", "bold")
        + Content(fault.message + count)
    )
