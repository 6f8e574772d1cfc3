"""The shell without any screen of its own: what its tests look at must not change with offers or runs."""

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.widgets import Input

from choline_tui.screens.base import MainScreen
from choline_tui.screens.states import LOADING, StatePanel
from choline_tui.services.feed import Snapshot
from tests.ui.fake import FakeApp

__all__ = ["Bare", "BareApp"]


class Bare(MainScreen):
    """Two lines to write in and one state."""

    WHERE = "offers"
    AUTO_FOCUS = ""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Snapshot] = []
        self.opened = ""

    def compose_body(self) -> ComposeResult:
        yield Input(id="first", compact=True)
        yield StatePanel(LOADING, id="state")
        yield Input(id="second", compact=True)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        self.seen.append(snapshot)

    def open_run(self, run: str) -> None:
        self.opened = run


class BareRuns(Bare):
    WHERE = "runs"


class BareWizard(Bare):
    WHERE = "wizard"


class BareApp(FakeApp):
    MODES: ClassVar[Any] = {"offers": Bare, "runs": BareRuns, "wizard": BareWizard}
    suspended = False

    def action_suspend_process(self) -> None:
        """What it does is in ``test_terminal``: here is no terminal."""
        self.suspended = True
