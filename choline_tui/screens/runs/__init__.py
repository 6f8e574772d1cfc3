"""The runs: a list, a page for each, and what can be done with them.

The registry of actions reads ``actions`` before the first frame: the screen itself is loaded when it is
opened.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from choline_tui.screens.runs.screen import RunsScreen

__all__ = ["RunsScreen"]


def __getattr__(name: str) -> Any:
    if name == "RunsScreen":
        from choline_tui.screens.runs.screen import RunsScreen

        return RunsScreen
    raise AttributeError(name)
