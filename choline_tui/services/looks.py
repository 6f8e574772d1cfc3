"""How the screens look, read in a millisecond: the first frame must not wait for the settings' checks.

Only shapes are looked at here. What is wrong in the file is told after the first frame, by
``Choline.settings``, with the setting's name and what is wrong with it.
"""

import contextlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import CholineError

__all__ = ["Looks", "read_looks"]


@dataclass(frozen=True)
class Looks:
    """The ``[ui]`` and ``[keys]`` of the settings; the same defaults as ``config.settings``."""

    theme: str = "choline-dark"
    ascii: bool = False
    animations: bool = False
    readonly: bool = False
    keys: Mapping[str, str] = field(default_factory=dict)


def read_looks(environ: Mapping[str, str] | None = None) -> Looks:
    """What the home's file says; the default for all that is missing or of another type. Raises nothing."""
    data: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, CholineError, RecursionError):
        path = Paths(environ=os.environ if environ is None else environ).config_file
        data = tomllib.loads(path.read_text("utf-8"))
    found = data.get("ui")
    ui: dict[str, Any] = found if isinstance(found, dict) else {}
    default = Looks()
    theme = ui.get("theme")
    return Looks(
        theme=theme if isinstance(theme, str) and theme else default.theme,
        ascii=ui.get("ascii") is True,
        animations=ui.get("animations") is True,
        readonly=ui.get("readonly", False) is not False,  # a mistake there must not let it act
        keys=dict(_flat(data.get("keys"))),
    )


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """``offers.export = "E"`` in TOML is a table in a table; as dotted names."""
    if not isinstance(value, dict):
        return []
    found: list[tuple[str, str]] = []
    for name, inner in value.items():
        if isinstance(inner, str):
            found.append((prefix + name, inner))
        else:
            found += _flat(inner, f"{prefix}{name}.")
    return found
