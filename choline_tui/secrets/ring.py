"""The system keyring (Keychain, Secret Service, KWallet, ...), by the ``keyring`` library.

It is loaded when it is needed only: it takes a third of a second, and most lookups end before it. A
computer without one (a server, a container) is an ordinary case, not an error, until something is to be kept.
"""

import contextlib
import json
from typing import Any, Protocol

from choline_tui.kernel.errors import ConfigError, NotFound
from choline_tui.kernel.secret import redact

__all__ = ["SERVICE", "Keyring", "Ring"]

SERVICE = "choline"
INDEX = "names of secrets"
"""A keyring cannot be listed: the names are kept in an entry of their own. No variable can have this name."""
WITHOUT = "Put it into the project's .env, or set it in the environment."


class Ring(Protocol):
    def get(self, name: str) -> tuple[str, str]:
        """(value, why there is none): '' where there is nothing to say."""
        ...


class Keyring:
    """``backend``: an object of ``keyring``'s own kind; the system's unless given."""

    def __init__(self, backend: Any = None, service: str = SERVICE) -> None:
        self._given = backend
        self._service = service

    def _backend(self) -> Any:
        if self._given is None:
            import keyring

            self._given = keyring.get_keyring()
        return self._given

    def usable(self) -> str:
        """Why it cannot be used; '' when it can."""
        try:
            backend = self._backend()
            if type(backend).__module__.startswith(("keyring.backends.fail", "keyring.backends.null")):
                return "this computer has none"
        except Exception as error:  # of whatever backend is installed here
            return _words(error)
        return ""

    def get(self, name: str) -> tuple[str, str]:
        why = self.usable()
        if why:
            return "", why
        try:
            return self._backend().get_password(self._service, name) or "", ""
        except Exception as error:
            return "", _words(error)

    def set(self, name: str, text: str) -> None:
        """Raises ConfigError when there is no keyring, or it refuses."""
        self.need()
        try:
            self._backend().set_password(self._service, name, text)
            self._write_names([*self.names(), name])
        except Exception as error:
            words = redact(_words(error), [text])
            raise ConfigError(f"the keyring does not take it: {words}", hint=WITHOUT) from None

    def remove(self, name: str) -> None:
        """Raises NotFound, ConfigError."""
        self.need()
        backend = self._backend()
        try:
            known = backend.get_password(self._service, name) is not None
            if known:
                backend.delete_password(self._service, name)
            self._write_names([each for each in self.names() if each != name])
        except Exception as error:
            raise ConfigError(f"the keyring does not give it away: {_words(error)}") from None
        if not known:
            raise NotFound(f"the keyring has no {name}", hint="'choline secrets list' shows what it has.")

    def names(self) -> list[str]:
        """What ``set`` put there; empty without a keyring."""
        if self.usable():
            return []
        with contextlib.suppress(Exception):
            known = json.loads(self._backend().get_password(self._service, INDEX) or "[]")
            if isinstance(known, list):
                return sorted({str(each)[:200] for each in known})
        return []

    def _write_names(self, names: list[str]) -> None:
        self._backend().set_password(self._service, INDEX, json.dumps(sorted(set(names))))

    def need(self) -> None:
        """Raises ConfigError when there is no keyring that can be used."""
        why = self.usable()
        if why:
            raise ConfigError(f"no system keyring can be used: {why}", hint=WITHOUT)


def _words(error: Exception) -> str:
    """A backend's own words name services and paths, not values; one line of them."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
