"""Who may do what: account key, restricted keys, instance keys.

A restricted key's ``permissions`` are ``{"api": {NAME: {} or {"constraints": {"id": {"eq": 1}}}}}`` where
NAME is a category (``instance_read``) or one route (``instance.state``).
"""

import secrets
from dataclasses import dataclass, field
from typing import Any

from choline_tui.simulator.wire import Request, as_number, refuse

__all__ = ["CATEGORIES", "Access", "Key"]

CATEGORIES = (
    "misc",
    "instance_read",
    "instance_write",
    "user_read",
    "user_write",
    "billing_read",
    "billing_write",
    "machine_read",
    "machine_write",
    "team_read",
    "team_write",
)

INSTANCE_ROUTES = ("instance.state", "instance.destroy")


@dataclass
class Key:
    id: int
    name: str
    created_at: float
    permissions: dict[str, Any] | None = None
    """None: everything"""
    secret: str = field(default="", repr=False)
    revoked: bool = False
    contract: int | None = None
    """the instance that it belongs to"""

    def allows(self, route: str, category: str, target: int | None) -> bool:
        """Whether a route of a category may be used on the object ``target``."""
        if self.permissions is None:
            return True
        api = self.permissions.get("api")
        if not isinstance(api, dict):
            return False
        return any(name in api and _within(api[name], target) for name in (category, route))


def _within(grant: Any, target: int | None) -> bool:
    constraints = grant.get("constraints") if isinstance(grant, dict) else None
    if not constraints:
        return True
    bounds = constraints.get("id") if isinstance(constraints, dict) else None
    if not isinstance(bounds, dict) or target is None:
        return False
    tests = {"eq": lambda n: target == n, "lte": lambda n: target <= n, "gte": lambda n: target >= n}
    for op, value in bounds.items():
        number = as_number(value)
        if op not in tests or number is None or not tests[op](number):
            return False
    return True


class Access:
    """The account's keys. Without ``key`` any key that was never a restricted one is the account's."""

    def __init__(self, key: str | None, now: float) -> None:
        self._account = key
        self._keys: dict[str, Key] = {}
        self._next = 1
        self.main = self._add("account", now, None, key or "")

    @property
    def named(self) -> bool:
        """Whether one account key is demanded."""
        return self._account is not None

    def identify(self, request: Request) -> Key | None:
        """The key a request carries; None without one. Raises ``Refusal`` (404) for an unknown one."""
        words = request.header("authorization").split(None, 1)
        secret = words[1].strip() if len(words) == 2 and words[0].lower() == "bearer" else ""
        secret = secret or request.params().get("api_key", "")
        if not secret:
            return None
        known = self._keys.get(secret)
        if known is not None and not known.revoked:
            return known
        if known is None and self._account is None:
            return self.main
        raise refuse(404, "auth_error", "Invalid user key")

    def demand(self, key: Key | None, route: str, category: str, target: int | None) -> Key:
        """The key, when it is there and may do this. Raises ``Refusal`` (403)."""
        if key is None:
            raise refuse(403, "auth_error", "This action requires login.")
        if not key.allows(route, category, target):
            raise refuse(403, "auth_error", f"This API key lacks the permission {category}.")
        return key

    def instance_key(self, secret: str, contract: int, now: float) -> None:
        """A key that may start, stop, label and destroy one instance and nothing else."""
        grant = {"constraints": {"id": {"eq": contract}}}
        made = self._add(f"instance {contract}", now, {"api": dict.fromkeys(INSTANCE_ROUTES, grant)}, secret)
        made.contract = contract

    def create(self, name: str, permissions: Any, now: float) -> Key:
        """Raises ``Refusal`` (400) for permissions that are not understood."""
        api = permissions.get("api") if isinstance(permissions, dict) else None
        if not isinstance(api, dict) or not all(
            (n in CATEGORIES or "." in n) and isinstance(v, dict) for n, v in api.items()
        ):
            raise refuse(400, "invalid_args", "permissions must be an object of categories under 'api'")
        return self._add(name, now, permissions, secrets.token_hex(32))

    def revoke(self, secret: str) -> None:
        if secret in self._keys:
            self._keys[secret].revoked = True

    def delete(self, key_id: int) -> bool:
        for key in self._keys.values():
            if key.id == key_id and key is not self.main and not key.revoked:
                key.revoked = True
                return True
        return False

    def listing(self) -> list[Key]:
        keys = [key for key in self._keys.values() if key is not self.main and not key.revoked]
        return [self.main, *(key for key in keys if not key.name.startswith("instance "))]

    def _add(self, name: str, now: float, permissions: dict[str, Any] | None, secret: str) -> Key:
        key = Key(self._next, name, now, permissions, secret)
        self._next += 1
        if secret:
            self._keys[secret] = key
        return key
