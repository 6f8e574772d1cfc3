"""The runs screen."""

from choline_tui.screens.runs.screen import RunsScreen

__all__ = ["RunsScreen"]
