"""Where choline keeps its files, and what a person may set.

``paths`` knows every file of this home; ``settings`` what may be set; ``home`` the settings in force
and where each value comes from; ``edit`` changes the home file; ``project`` reads a project's
``choline.toml``.
"""

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
