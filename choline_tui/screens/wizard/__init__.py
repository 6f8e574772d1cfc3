"""The wizard: a project looked at, asked about, and written down as its ``choline.toml``."""

from choline_tui.screens.wizard.screen import Wanted, WizardScreen

__all__ = ["Wanted", "WizardScreen"]
