"""Where choline keeps its files, and what a person may set.

``paths`` knows every file of this home; ``settings`` what may be set; ``home`` the settings in force
and where each value comes from; ``edit`` changes the home file; ``project`` reads a project's
``choline.toml``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from choline_tui.config.edit import Shown, set_value, show, unset_value
    from choline_tui.config.home import Loaded, load
    from choline_tui.config.paths import Paths
    from choline_tui.config.project import PROJECT_FILE, Project, Send, find_project, load_project
    from choline_tui.config.settings import Settings

__all__ = [
    "PROJECT_FILE",
    "Loaded",
    "Paths",
    "Project",
    "Send",
    "Settings",
    "Shown",
    "find_project",
    "load",
    "load_project",
    "set_value",
    "show",
    "unset_value",
]

_WHERE = {
    "Loaded": "home",
    "PROJECT_FILE": "project",
    "Paths": "paths",
    "Project": "project",
    "Send": "project",
    "Settings": "settings",
    "Shown": "edit",
    "find_project": "project",
    "load": "home",
    "load_project": "project",
    "set_value": "edit",
    "show": "edit",
    "unset_value": "edit",
}


def __getattr__(name: str) -> Any:
    # late: who only asks where a file lies does not load pydantic
    if name in _WHERE:
        return getattr(import_module(f"choline_tui.config.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
