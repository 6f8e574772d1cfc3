"""The offers screen."""

from textual.app import ComposeResult

from choline_tui.actions import bindings
from choline_tui.screens.base import MainScreen
from choline_tui.screens.offers.actions import ACTIONS
from choline_tui.screens.states import LOADING, StatePanel

__all__ = ["OffersScreen"]


class OffersScreen(MainScreen):
    WHERE = "offers"
    BINDINGS = bindings("offers", ACTIONS)

    def compose_body(self) -> ComposeResult:
        yield StatePanel(LOADING)
