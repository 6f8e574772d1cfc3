"""``choline config show|set``: what every setting is, where it comes from, and changing the home file."""

import contextlib
import tomllib
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from choline_tui.config.home import ENVIRONMENT, Loaded, Origin
from choline_tui.config.paths import Paths
from choline_tui.config.settings import Settings
from choline_tui.config.toml import checked, leaves, nearest, read_toml, write_toml
from choline_tui.kernel.errors import ConfigError
from choline_tui.model.duration import format_duration, parse_duration

__all__ = ["Shown", "set_value", "show", "unset_value"]


@dataclass(frozen=True)
class Shown:
    """One setting, for a person; a key is masked."""

    key: str
    value: str
    """'' when it is not set"""
    origin: Origin
    description: str
    variable: str = ""
    """the environment variable that overrides it"""


def show(loaded: Loaded) -> list[Shown]:
    """All settings in the order of the tables."""
    found = []
    for key in leaves(Settings):
        if key == Settings.KEYS:
            found += _show_keys(loaded.settings)
            continue
        table, name, field = _place(key)
        value = getattr(getattr(loaded.settings, table), name)
        found.append(
            Shown(
                key=key,
                value=_written(field, value),
                origin=loaded.origins[key],
                description=field.description or "",
                variable=ENVIRONMENT.get(key, ""),
            )
        )
    return found


def _show_keys(settings: Settings) -> list[Shown]:
    """The key overrides, each as a setting of its own; one empty row when there is none."""
    about = Settings.model_fields[Settings.KEYS].description or ""
    if not settings.keys:
        return [Shown(Settings.KEYS, "", "default", about)]
    return [Shown(f"{Settings.KEYS}.{name}", keys, "home", about) for name, keys in settings.keys.items()]


def set_value(paths: Paths, key: str, text: str) -> None:
    """Write one setting of the home file, given as a person types it (``24h``, ``0.9``, ``true``, text
    without quotes). Comments of the file are not kept. ``ConfigError`` when the key is unknown, the value
    is not one, or the file would not be right afterwards; then nothing is written."""
    if key.startswith(f"{Settings.KEYS}."):
        _set_key(paths, key.partition(".")[2], text)
        return
    table, name, field = _place(key)
    data = _home(paths)
    tried: list[Any] = [text]
    with contextlib.suppress(tomllib.TOMLDecodeError, RecursionError):
        # an API key that looks like a number is still text: both readings are tried
        parsed = tomllib.loads(f"value = {text}")
        if len(parsed) == 1:
            tried.insert(0, parsed["value"])
    if _is_duration(field):
        tried.reverse()
    failure: ConfigError | None = None
    for value in tried:
        try:
            checked(Settings, {table: {name: value}}, f"cannot set {key}")
        except ConfigError as error:
            failure = failure or error
            continue
        inner = data.setdefault(table, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{paths.config_file}: {table}: needs a table")
        inner[name] = value
        checked(Settings, data, str(paths.config_file))
        write_toml(paths.config_file, data)
        return
    assert failure is not None
    raise failure


def _set_key(paths: Paths, action: str, text: str | None) -> bool:
    """Write (None: take out) the keys of one action; False: there was nothing to take out."""
    data = _home(paths)
    settings = checked(Settings, data, str(paths.config_file))
    keys = dict(settings.keys)
    if text is None:
        if action not in keys:
            return False
        del keys[action]
    else:
        keys[action] = text
    data[Settings.KEYS] = keys
    if not keys:
        del data[Settings.KEYS]
    checked(Settings, data, str(paths.config_file))
    write_toml(paths.config_file, data)
    return True


def unset_value(paths: Paths, key: str) -> bool:
    """Take a setting out of the home file, so that its default holds again; False: it was not there."""
    if key.startswith(f"{Settings.KEYS}."):
        return _set_key(paths, key.partition(".")[2], None)
    table, name, _ = _place(key)
    data = _home(paths)
    inner = data.get(table)
    if not isinstance(inner, dict) or name not in inner:
        return False
    del inner[name]
    if not inner:
        del data[table]
    write_toml(paths.config_file, data)
    return True


def _home(paths: Paths) -> dict[str, Any]:
    try:
        return read_toml(paths.config_file)
    except FileNotFoundError:
        return {}


def _place(key: str) -> tuple[str, str, FieldInfo]:
    if key == Settings.KEYS:
        raise ConfigError("keys is a table", hint="Name an action: choline config set keys.app.help f3")
    if key not in leaves(Settings):
        raise ConfigError(f"there is no setting '{key[:60]}'", hint=nearest(key, leaves(Settings)))
    table, _, name = key.partition(".")
    model = type(getattr(Settings(), table))
    return table, name, model.model_fields[name]


def _is_duration(field: FieldInfo) -> bool:
    return any(getattr(piece, "func", None) is parse_duration for piece in field.metadata)


def _written(field: FieldInfo, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return "****" + (text[-4:] if len(text) >= 24 else "")
    if _is_duration(field):
        return format_duration(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
