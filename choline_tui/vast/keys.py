"""What an API key may do, found out without changing anything.

Each permission category is tried with a read that needs it. What only a write could tell is looked up in
the account's list of keys, when the key may read that; else it stays unknown.
"""

import json
from collections.abc import Mapping
from typing import Any

from choline_tui.kernel.clock import Clock
from choline_tui.kernel.errors import BadKey, CholineError, MissingScope, NotFound, VastError
from choline_tui.model.market_types import salvage
from choline_tui.vast.calls import Calls
from choline_tui.vast.types import Account, KeyReport, Scope

__all__ = ["NEEDED", "RECOMMENDED", "check_key"]

NEEDED = ("misc", "instance_read", "instance_write", "user_read", "user_write")
"""misc: search; instance_*: rent, list, stop, destroy, logs; user_*: account, SSH keys."""
RECOMMENDED: dict[str, dict[str, dict[str, str]]] = {"api": {name: {} for name in NEEDED}}
"""The permissions of a key that can do what choline does and nothing else: no billing, no team."""
_ALL = (*NEEDED, "billing_read", "billing_write", "machine_read", "machine_write", "team_read", "team_write")


async def check_key(calls: Calls, clock: Clock, keyed: bool) -> KeyReport:
    if not keyed:
        return _report(False, dict.fromkeys(NEEDED, "unknown"), None, no_key=True)
    scopes: dict[str, Scope] = dict.fromkeys(_ALL, "unknown")
    account: Account | None = None
    try:
        account = salvage(Account, await calls.repeat("account", "GET", "/api/v0/users/current"))
        scopes["user_read"] = "allowed"
    except BadKey:
        return _report(False, scopes, None)
    except MissingScope:
        scopes["user_read"] = "denied"
    now = clock.time()
    day = json.dumps({"day": {"gte": now - 86400, "lte": now}})
    probes: dict[str, tuple[str, str, str, dict[str, Any]]] = {
        "instance_read": ("listing", "GET", "/api/v1/instances/", {"params": {"limit": "1"}}),
        "misc": ("search", "POST", "/api/v0/bundles/", {"body": {"limit": 1, "allocated_storage": 10.0}}),
        "billing_read": (
            "charges",
            "GET",
            "/api/v0/charges/",
            {"params": {"select_filters": day, "limit": "1"}},
        ),
    }
    for name, (endpoint, method, path, more) in probes.items():
        scopes[name] = await _probe(calls, endpoint, method, path, more)
    for name, scope in (await _written(calls, account)).items():
        if scopes.get(name) == "unknown":
            scopes[name] = scope
    return _report(True, scopes, account)


async def _probe(calls: Calls, endpoint: str, method: str, path: str, more: dict[str, Any]) -> Scope:
    try:
        await calls.repeat(endpoint, method, path, **more)
    except (MissingScope, BadKey):
        return "denied"
    except (VastError, NotFound):
        return "unknown"
    return "allowed"


async def _written(calls: Calls, account: Account | None) -> dict[str, Scope]:
    """What the account's list of keys says of this one, by category."""
    if account is None or account.key_id is None:
        return {}
    try:
        body = await calls.repeat("keys", "GET", "/api/v0/auth/apikeys/")
    except CholineError:
        return {}
    rows = body.get("apikeys") if isinstance(body, dict) else None
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, Mapping) and row.get("id") == account.key_id:
            return _rights(row.get("permissions") or row.get("rights"))
    return {}


def _rights(rights: object) -> dict[str, Scope]:
    if isinstance(rights, str):
        try:
            rights = json.loads(rights)
        except (ValueError, RecursionError):
            return {}
    api = rights.get("api") if isinstance(rights, Mapping) else None
    if not isinstance(api, Mapping) or not api:
        return {}
    return {name: "allowed" if name in api else "denied" for name in _ALL}


def _report(
    valid: bool, scopes: dict[str, Scope], account: Account | None, no_key: bool = False
) -> KeyReport:
    report = KeyReport(valid, scopes, NEEDED, (), account)
    permissions = json.dumps(RECOMMENDED)
    make = (
        "Make a restricted key at https://cloud.vast.ai/manage-keys/ with the permissions "
        f"{', '.join(NEEDED)} (as JSON: {permissions})."
    )
    advice = []
    if no_key:
        advice = ["There is no key: set VAST_API_KEY, or rehearse without one: 'choline demo'.", make]
    elif not valid:
        advice = ["The market does not know this key.", make]
    else:
        if report.missing:
            advice.append(f"The key lacks {', '.join(report.missing)}: choline cannot work with it.")
        if report.unneeded:
            advice.append(f"The key can do more than choline needs ({', '.join(report.unneeded)}).")
        if report.missing or report.unneeded or "unknown" in scopes.values():
            advice.append(make)
        if any(scopes.get(name) == "unknown" for name in NEEDED):
            advice.append("What is unknown can only be seen by doing it; the first run will tell.")
    return KeyReport(valid, scopes, NEEDED, tuple(advice), account)
