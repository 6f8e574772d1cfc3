"""Secrets by name: where a value is looked for, in which order, and where it was found.

1. the environment of whoever asks (``environ``)
2. ``.env`` in the project's directory
3. ``.netrc`` (``NETRC``, else ``~/.netrc``), for the names of ``HOSTS``: the password of that machine
4. the file where ``huggingface_hub`` keeps a login's token, for Hugging Face's names
5. the system keyring: what ``choline secrets set NAME`` put there

An empty value is none. No value is ever part of a message.
"""

import netrc
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from choline_tui.kernel.errors import ConfigError, UsageError
from choline_tui.kernel.secret import Secret
from choline_tui.secrets.dotenv import MAX_FILE, read_dotenv
from choline_tui.secrets.ring import Keyring, Ring

__all__ = [
    "ENVIRONMENT",
    "HOSTS",
    "MAX_VALUE",
    "Found",
    "Hidden",
    "Value",
    "find",
    "missing_error",
    "recognised",
]

MAX_VALUE = 64 << 10
"""bytes: more is a file to send, not a variable (Linux takes 128 KiB for one)"""
ENVIRONMENT = "the environment"

HOSTS = {
    "WANDB_API_KEY": "api.wandb.ai",
    "HF_TOKEN": "huggingface.co",
    "HUGGING_FACE_HUB_TOKEN": "huggingface.co",
    "GITHUB_TOKEN": "github.com",
    "GH_TOKEN": "github.com",
}
"""Names with a machine in ``.netrc``. wandb's login writes there (its docs, "wandb login"), git reads it."""
_HUGGING_FACE = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Hidden(Secret):
    """As ``Secret``, of any text a variable may hold: it goes into no header. Refuses (ValueError) an empty
    one, one with a zero byte, and one beyond ``MAX_VALUE``."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        if not text or "\0" in text or len(text.encode("utf-8", "surrogateescape")) > MAX_VALUE:
            raise ValueError("a secret is text without zero bytes, not empty, and of 64 KiB at most")
        self._text = text


@dataclass(frozen=True)
class Value:
    """``where``: for a person; a place, never the value."""

    secret: Secret
    where: str


@dataclass
class Found:
    values: dict[str, Value] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    looked: dict[str, list[str]] = field(default_factory=dict)
    """of what is missing: the places that were looked at"""

    @property
    def places(self) -> dict[str, str]:
        """Where each name was found; '' for one that is missing."""
        return {name: value.where for name, value in self.values.items()} | dict.fromkeys(self.missing, "")

    def revealed(self) -> dict[str, str]:
        return {name: value.secret.reveal() for name, value in self.values.items()}


def find(
    names: Iterable[str],
    project: Path | None,
    environ: Mapping[str, str],
    *,
    ring: Ring | None = None,
    shell: bool = True,
) -> Found:
    """Look each name up; each at most once, in the order given.

    ``project``: the directory with ``.env``; None: there is none. ``ring``: the system keyring unless given.
    ``shell``: whether ``environ`` is the environment of whoever asks; False: it only says where home is.
    Blocks on the disk, and on a keyring that may ask a person to unlock it. Raises ConfigError for a file
    that is there and cannot be read, UsageError for a name no variable can have.
    """
    found = Found()
    files = _Files(project, environ)
    ring = ring if ring is not None else Keyring()
    for name in dict.fromkeys(names):
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name[:60]!r} is not a name a secret can have")
        looked: list[str] = []
        value = _one(name, environ if shell else {}, files, ring, looked)
        if value is None:
            found.missing.append(name)
            found.looked[name] = looked
        else:
            found.values[name] = value
    return found


def missing_error(found: Found) -> UsageError:
    """For names that were not found: each with the places that were looked at."""
    first = found.missing[0]
    what = "; ".join(f"{name} (looked in {', '.join(found.looked[name])})" for name in found.missing)
    return UsageError(
        f"no value for {'secrets' if len(found.missing) > 1 else 'the secret'} {what}"[:900],
        hint=f"Set it here (export {first}=...), put it into .env, or keep it: choline secrets set {first}",
        missing=list(found.missing),
    )


def recognised(machine: str) -> str:
    """The variable for a machine of ``.netrc``; '' when there is none known."""
    return next((name for name, host in HOSTS.items() if host == machine), "")


def _one(name: str, shell: Mapping[str, str], files: "_Files", ring: Ring, looked: list[str]) -> Value | None:
    if shell.get(name, "").strip():
        # of an equal value the place that is still there tomorrow is told
        given = _value(name, shell[name], ENVIRONMENT)
        lasting = files.find(name, [], trouble=False)
        return lasting if lasting is not None and lasting.secret == given.secret else given
    looked.append(ENVIRONMENT)
    value = files.find(name, looked)
    if value is None:
        text, why = ring.get(name)
        if text:
            return _value(name, text, "the keyring")
        looked.append(f"the keyring ({why})" if why else "the keyring")
    return value


def _value(name: str, text: str, where: str) -> Value:
    try:
        return Value(Hidden(text), where)
    except ValueError as error:
        raise ConfigError(f"what stands in {where} for {name} cannot be used: {error}") from None


class _Files:
    """The files, each read once."""

    def __init__(self, project: Path | None, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
        self._dotenv = project / ".env" if project is not None else None
        self._variables: dict[str, str] | None = None
        self._machines: dict[str, str] | None = None

    def find(self, name: str, looked: list[str], *, trouble: bool = True) -> Value | None:
        """``looked``: is told the places without it. ``trouble``: whether an unreadable file is an error."""
        try:
            for where, text in self._places(name):
                if text.strip():
                    return _value(name, text, where)
                looked.append(where)
        except ConfigError:
            if trouble:
                raise
        return None

    def _places(self, name: str) -> Iterator[tuple[str, str]]:
        if self._dotenv is not None:
            if self._variables is None:
                self._variables = read_dotenv(self._dotenv)
            yield self._short(self._dotenv, ".env"), self._variables.get(name, "")
        host = self._host(name)
        if host:
            path = self._netrc()
            if self._machines is None:
                self._machines = _passwords(path)
            yield f"{self._short(path)} ({host})", self._machines.get(host, "")
        if name in _HUGGING_FACE:
            path = self._hugging_face()
            yield self._short(path), _small(path)

    def _host(self, name: str) -> str:
        own = urlsplit(self._environ.get("WANDB_BASE_URL", "")).hostname if name == "WANDB_API_KEY" else None
        return own or HOSTS.get(name, "")

    def _netrc(self) -> Path:
        said = self._environ.get("NETRC", "")
        return Path(said) if said else self._home / ".netrc"

    def _hugging_face(self) -> Path:
        """As huggingface_hub's constants: HF_TOKEN_PATH, else HF_HOME, else the user's cache."""
        said = self._environ.get("HF_TOKEN_PATH", "")
        if said:
            return Path(said).expanduser()
        cache = self._environ.get("XDG_CACHE_HOME", "") or str(self._home / ".cache")
        return Path(self._environ.get("HF_HOME", "") or f"{cache}/huggingface").expanduser() / "token"

    def _short(self, path: Path, name: str = "") -> str:
        if name:
            return name
        try:
            return f"~/{path.relative_to(self._home)}"
        except ValueError:
            return str(path)


def _small(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_VALUE + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}", hint="Mend it.") from None
    return data.decode("utf-8", "replace").strip()


def _passwords(path: Path) -> dict[str, str]:
    try:
        if path.stat().st_size > MAX_FILE:
            raise ConfigError(f"{path} is too large to be a file of logins", hint="Make it smaller.")
        hosts = netrc.netrc(str(path)).hosts
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}", hint="Mend it.") from None
    except netrc.NetrcParseError as error:
        # its words repeat what stands there, which may be a password
        where = f"line {error.lineno}" if error.lineno else "some line"
        raise ConfigError(f"{path}: {where} cannot be read as in a .netrc", hint="Mend it.") from None
    except ValueError:
        raise ConfigError(f"{path} cannot be read as a .netrc", hint="Mend it.") from None
    return {host: entry[2] or "" for host, entry in hosts.items() if host != "default"}
