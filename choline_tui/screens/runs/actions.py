"""What a person can do on the runs screen."""

from choline_tui.actions import Action

__all__ = ["ACTIONS"]

ACTIONS: tuple[Action, ...] = ()
