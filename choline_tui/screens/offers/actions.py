"""What a person can do on the offers screen."""

from choline_tui.actions import Action

__all__ = ["ACTIONS"]

ACTIONS: tuple[Action, ...] = ()
