"""The runs screen."""

from textual.app import ComposeResult

from choline_tui.actions import bindings
from choline_tui.screens.base import MainScreen
from choline_tui.screens.runs.actions import ACTIONS
from choline_tui.screens.states import LOADING, StatePanel

__all__ = ["RunsScreen"]


class RunsScreen(MainScreen):
    WHERE = "runs"
    BINDINGS = bindings("runs", ACTIONS)

    def compose_body(self) -> ComposeResult:
        yield StatePanel(LOADING)
