"""Templates: set-ups that a person keeps for other projects, one TOML file each in the home.

A template is a ``choline.toml`` without what belongs to one project (its name, its data) and without
variables, which may be secrets. A secret's name may stand in it, never a value.
"""

import contextlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from choline_tui.config.paths import Paths
from choline_tui.config.project import read_project
from choline_tui.config.toml import nearest, write_toml
from choline_tui.kernel.errors import ConfigError, NotFound, ProjectError

__all__ = [
    "LEFT_OUT", "MAX_TEMPLATE", "Template", "find_template", "read_template", "read_templates",
    "remove_template", "save_template", "template_values",
]  # fmt: skip

MAX_TEMPLATE = 64 * 1024
"""bytes"""
MAX_TEMPLATES = 500
MAX_NAME = 60
LEFT_OUT = ("name", "send", "env")
"""what of a project's file a template does not hold"""


@dataclass(frozen=True)
class Template:
    """``values`` as a ``choline.toml`` holds them; ``wrong``: why the saved file cannot be used, and then
    they are empty; ``left``: keys that stood there and are not taken."""

    name: str
    values: Mapping[str, Any]
    wrong: str = ""
    left: tuple[str, ...] = ()

    def flat(self) -> dict[str, Any]:
        """By key, dotted for a table's."""
        found: dict[str, Any] = {}
        for key, value in self.values.items():
            if isinstance(value, Mapping) and key != "filter":
                found |= {f"{key}.{name}": inner for name, inner in value.items()}
            else:
                found[key] = value
        return found


def _folder(paths: Paths) -> Path:
    return paths.config_dir / "templates"


def _check_name(name: str) -> str:
    if not name or len(name) > MAX_NAME or name[0] == "." or not all(c.isalnum() or c in "-_." for c in name):
        raise ConfigError(
            f"{name[:MAX_NAME]!r} cannot be a template's name",
            hint=f"Letters, digits and - _ . only, at most {MAX_NAME}: for example llm-4090.",
        )
    return name


def template_values(data: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(what of a project's file makes a template, keys that are left out). Raises ProjectError for what
    cannot stand in a project's file."""
    values = {key: value for key, value in data.items() if key not in LEFT_OUT}
    read_project(values, Path("/"))
    return values, tuple(key for key in data if key in LEFT_OUT)


def read_template(name: str, text: str) -> Template:
    """A template of this text; ``name`` is only what it is called. Raises ProjectError."""
    if len(text.encode("utf-8", "replace")) > MAX_TEMPLATE:
        raise ProjectError(f"{name} is larger than a template can be ({MAX_TEMPLATE >> 10} KiB)")
    try:
        data = tomllib.loads(text)
        values, left = template_values(data)
    except (tomllib.TOMLDecodeError, RecursionError):
        raise ProjectError(
            f"{name} is not TOML", hint="A template is a choline.toml, or a part of one."
        ) from None
    except ProjectError as error:
        message = error.message.replace("/choline.toml", name)
        raise ProjectError(message, hint=error.hint) from None
    if not values:
        raise ProjectError(f"{name} says nothing that a template could hold")
    return Template(name, values, left=left)


def read_templates(paths: Paths) -> list[Template]:
    """All of them, by name; one that cannot be used says why. Raises ConfigError when the folder cannot be
    read."""
    try:
        files = sorted(p for p in _folder(paths).iterdir() if p.suffix == ".toml" and p.is_file())
    except FileNotFoundError:
        return []
    except OSError as fault:
        raise ConfigError(f"cannot read {_folder(paths)}: {fault.strerror or fault}") from None
    found = []
    for file in files[:MAX_TEMPLATES]:
        try:
            found.append(_read(file, file.stem))
        except ProjectError as error:
            found.append(Template(file.stem, {}, error.message))
    return found


def _read(file: Path, name: str) -> Template:
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_TEMPLATE + 1)
        return read_template(name, raw.decode("utf-8"))
    except OSError as fault:
        raise ProjectError(f"cannot read {file}: {fault.strerror or fault}") from None
    except UnicodeDecodeError:
        raise ProjectError(f"{file} is not UTF-8 text") from None


def find_template(paths: Paths, name: str) -> Template:
    """Raises NotFound, with the nearest name; ProjectError when it cannot be used."""
    file = _folder(paths) / f"{name}.toml"
    with contextlib.suppress(ConfigError):
        _check_name(name)
        if file.is_file():
            return _read(file, name)
    known = [each.name for each in read_templates(paths)]
    hint = nearest(name, known) if known else "'choline templates save NAME' makes one of this project."
    raise NotFound(f"there is no template {name[:60]!r}", hint=hint)


def save_template(paths: Paths, name: str, data: Mapping[str, Any]) -> Template:
    """Keep what of ``data`` (a project's file) makes a template; one of the same name is replaced. Raises
    ConfigError, ProjectError."""
    _check_name(name)
    values, left = template_values(data)
    if not values:
        raise ProjectError("there is nothing in it that a template could hold")
    folder = _folder(paths)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise ConfigError(f"cannot make {folder}: {fault.strerror or fault}") from None
    write_toml(folder / f"{name}.toml", values)
    return Template(name, values, left=left)


def remove_template(paths: Paths, name: str) -> None:
    """Raises NotFound; ConfigError when it cannot be removed."""
    file = _folder(paths) / f"{name}.toml"
    try:
        _check_name(name)
        file.unlink()
    except (ConfigError, FileNotFoundError):
        find_template(paths, name)
    except OSError as fault:
        raise ConfigError(f"cannot remove {file}: {fault.strerror or fault}") from None
