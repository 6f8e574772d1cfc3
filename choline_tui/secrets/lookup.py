"""Looking for the account's key, in the official client's order, then in choline's own settings."""

from collections.abc import Mapping
from pathlib import Path

from choline_tui.kernel.errors import ConfigError
from choline_tui.kernel.secret import Secret

__all__ = ["find_key", "key_files"]

VARIABLE = "VAST_API_KEY"
MAX_FILE = 4096
"""bytes: a key is 64 characters; a larger file is something else"""


def key_files(env: Mapping[str, str]) -> list[Path]:
    """Where the official client keeps keys: a login's session key first, then the account's."""
    home = Path(env["HOME"]) if env.get("HOME") else Path.home()
    configured = env.get("XDG_CONFIG_HOME", "")
    # a relative path is to be ignored, says the XDG specification
    config = Path(configured) if configured.startswith("/") else home / ".config"
    return [
        config / "vastai" / "vast_tfa_key",
        config / "vastai" / "vast_api_key",
        home / ".vast_api_key",
    ]


def find_key(env: Mapping[str, str], config_key: str | None = None) -> tuple[Secret, str] | None:
    """The key and, for a person, where it was found; None when there is none.

    Order: ``VAST_API_KEY``, the official client's files, ``config_key``. Raises ConfigError, naming the
    place and never the text, when the first place that has something has no key.
    """
    if env.get(VARIABLE, "").strip():
        return _secret(env[VARIABLE], VARIABLE), VARIABLE
    for path in key_files(env):
        text = _read(path)
        if text.strip():
            return _secret(text, str(path)), str(path)
    if config_key and config_key.strip():
        where = "the config file"
        return _secret(config_key, where), where
    return None


def _read(path: Path) -> str:
    """The file's text, empty when there is none."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""
    except OSError as error:
        raise ConfigError(
            f"the key file {path} cannot be read: {error.strerror}", hint=f"Mend it, or set {VARIABLE}."
        ) from None
    if len(data) > MAX_FILE:
        raise ConfigError(f"the key file {path} is too large to be one", hint=f"Mend it, or set {VARIABLE}.")
    return data.decode("utf-8", "replace")


def _secret(text: str, where: str) -> Secret:
    try:
        return Secret(text.strip())
    except ValueError:
        raise ConfigError(f"what stands in {where} is not a key", hint="A key is one word.") from None
