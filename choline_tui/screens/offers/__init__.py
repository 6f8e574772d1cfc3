"""The offers screen."""

from choline_tui.screens.offers.screen import OffersScreen

__all__ = ["OffersScreen"]
