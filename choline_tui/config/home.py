"""The settings in force: defaults, the home's ``config.toml``, the project, the environment; later win."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from choline_tui.config.paths import Paths
from choline_tui.config.project import Project
from choline_tui.config.settings import Settings
from choline_tui.config.toml import checked, leaves, read_toml

__all__ = ["ENVIRONMENT", "Loaded", "Origin", "load"]

Origin = Literal["default", "home", "project", "env"]

ENVIRONMENT = {"vast.key": "VAST_API_KEY", "vast.url": "VAST_URL"}
"""Settings that an environment variable overrides; the names are the official client's."""


@dataclass(frozen=True)
class Loaded:
    """Settings, and where each comes from."""

    settings: Settings
    origins: dict[str, Origin]
    """by dotted key, for every key there is"""


def load(paths: Paths, environ: Mapping[str, str] | None = None, project: Project | None = None) -> Loaded:
    """The settings in force. ``ConfigError`` (``ProjectError`` for the project's file) names the file,
    the key and what is wrong; each file is checked by itself, so that the right one is named."""
    environ = os.environ if environ is None else environ
    try:
        home = read_toml(paths.config_file)
    except FileNotFoundError:
        home = {}
    checked(Settings, home, str(paths.config_file))
    layers: list[tuple[Origin, dict[str, Any]]] = [("home", home)]
    if project is not None and project.overrides():
        # the project's file was checked against the same table when it was loaded
        layers.append(("project", {"run": project.overrides()}))
    named: dict[str, Any] = {}
    for key, variable in ENVIRONMENT.items():
        value = environ.get(variable, "").strip()
        if value:
            table, _, name = key.partition(".")
            checked(Settings, {table: {name: value}}, variable)
            named.setdefault(table, {})[name] = value
    layers.append(("env", named))

    origins: dict[str, Origin] = dict.fromkeys(leaves(Settings), "default")
    merged: dict[str, Any] = {}
    for origin, layer in layers:
        for table, values in layer.items():
            for name, value in values.items():
                merged.setdefault(table, {})[name] = value
                origins[f"{table}.{name}"] = origin
    return Loaded(checked(Settings, merged, "settings"), origins)
