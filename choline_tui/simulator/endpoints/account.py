"""The account: who it is, its variables for containers, and its bill."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from choline_tui.simulator.access import Key
from choline_tui.simulator.contract import Contract
from choline_tui.simulator.endpoints.base import USER_ID, Desk, Endpoints, Route, route
from choline_tui.simulator.endpoints.volumes import Volumes
from choline_tui.simulator.ledger import Day
from choline_tui.simulator.wire import Request, as_number, refuse

__all__ = ["Account"]

MAX_SECRETS = 100
MAX_SECRET = 32_768
MAX_PAGE = 500


class Account(Endpoints):
    """``variables`` are the account's own (its "secrets"), for every container made from now on."""

    def __init__(self, desk: Desk, volumes: Volumes) -> None:
        super().__init__(desk)
        self._volumes = volumes
        self.variables: dict[str, str] = {}
        self._since = desk.clock.time()

    def routes(self) -> list[Route]:
        read, write, money = "user_read", "user_write", "billing_read"
        return [
            route("GET", "v0/users/current", "user.current", read, self.user),
            route("GET", "v0/users/me/ipaddrs", "ipaddrs", read, self.addresses),
            route("GET", "v0/audit_logs", "audit", read, self.audit),
            route("GET", "v0/subaccounts", "subaccounts", read, self.subaccounts),
            route("GET", "v0/secrets", "secret.list", read, self.secrets),
            route("POST", "v0/secrets", "secret.write", write, self.secret_create),
            route("PUT", "v0/secrets", "secret.write", write, self.secret_update),
            route("DELETE", "v0/secrets", "secret.write", write, self.secret_delete),
            route("GET", "v0/charges", "charges", money, self.charges),
            route("GET", "v1/invoices", "invoices", money, self.invoices),
        ]

    async def user(self, request: Request, key: Key | None, _: int) -> Any:
        credit = self.desk.contracts.credit()
        keys = self.desk.ssh_keys
        return {
            "id": USER_ID,
            "key_id": key.id if key else None,
            "username": "rehearsal",
            "fullname": "Rehearsal Market",
            "email": "rehearsal@example.com",
            "email_verified": True,
            "balance": round(min(0.0, credit), 6),
            "credit": round(credit, 6),
            "balance_threshold": 0.0,
            "balance_threshold_enabled": False,
            "autobill_threshold": None,
            "autobill_amount": None,
            "billed_expected": 0.0,
            "billaddress_city": None,
            "billaddress_country": None,
            "billaddress_line1": None,
            "billaddress_line2": None,
            "billaddress_zip": None,
            "host_agreement_accepted": False,
            "has_billing": True,
            "ssh_key": keys[0].key if keys else None,
            "sid": None,
        }

    async def addresses(self, request: Request, key: Key | None, _: int) -> Any:
        seen = datetime.fromtimestamp(self._since, UTC).isoformat()
        row = {"ip": request.client, "first_seen": seen, "first_location": "loopback"}
        return {"success": True, "results": [row]}

    async def audit(self, request: Request, key: Key | None, _: int) -> Any:
        return []

    async def subaccounts(self, request: Request, key: Key | None, _: int) -> Any:
        return {"success": True, "users": []}

    # ---- variables for containers

    async def secrets(self, request: Request, key: Key | None, _: int) -> Any:
        return {"success": True, "secrets": dict.fromkeys(self.variables, "*****")}

    async def secret_create(self, request: Request, key: Key | None, _: int) -> Any:
        name, value = self._secret(request.json())
        if name in self.variables:
            raise refuse(400, "existing_key", f"The variable {name} exists already.")
        if len(self.variables) >= MAX_SECRETS:
            raise refuse(400, "max_secrets", "There are too many variables.")
        self.variables[name] = value
        return {"success": True, "msg": "Environment variable created."}

    async def secret_update(self, request: Request, key: Key | None, _: int) -> Any:
        name, value = self._secret(request.json())
        if name not in self.variables:
            raise refuse(404, "nonexistent_key", f"There is no variable {name}.")
        self.variables[name] = value
        return {"success": True, "msg": "Environment variable updated."}

    async def secret_delete(self, request: Request, key: Key | None, _: int) -> Any:
        name, _value = self._secret({"value": "", **request.json()})
        if self.variables.pop(name, None) is None:
            raise refuse(404, "nonexistent_key", f"There is no variable {name}.")
        return {"success": True, "msg": "Environment variable deleted."}

    @staticmethod
    def _secret(body: Mapping[str, Any]) -> tuple[str, str]:
        name, value = body.get("key"), body.get("value")
        if not isinstance(name, str) or not isinstance(value, str) or not name:
            raise refuse(400, "missing_input", "A variable needs key and value.")
        if not name.isidentifier() or len(name) > 256 or len(value) > MAX_SECRET or "\0" in value:
            raise refuse(400, "invalid_input", "That is no name or value of a variable.")
        return name.upper(), value

    # ---- the bill

    async def charges(self, request: Request, key: Key | None, _: int) -> Any:
        filters = _filters(request)
        first, last = _range(filters.get("day")) or (0.0, self.desk.clock.time())
        kinds = filters.get("type")
        wanted = kinds.get("in") if isinstance(kinds, Mapping) else None
        self.desk.contracts.alive()
        rows = []
        for contract in self.desk.contracts.history:
            for day in contract.bill.between(first, last):
                rows.append(_charge(contract, day))
        rows += self._volumes.charges(first, last)
        if isinstance(wanted, list):
            rows = [row for row in rows if row["type"] in wanted]
        return _paged(rows, request, default=50)

    async def invoices(self, request: Request, key: Key | None, _: int) -> Any:
        when = _range(_filters(request).get("when"))
        if when is None:
            # with status 200, as on Vast
            return {"success": False, "error": "invalid_request", "msg": "Invalid date range"}
        rows = [
            {
                "start": deposit.at,
                "end": deposit.at,
                "type": "credit",
                "source": f"credit-{number}",
                "description": deposit.description,
                "amount": round(deposit.amount, 6),
                "metadata": {},
                "items": [],
            }
            for number, deposit in enumerate(self.desk.contracts.deposits, 1)
            if when[0] <= deposit.at <= when[1]
        ]
        return _paged(rows, request, default=20)


def _charge(c: Contract, day: Day) -> dict[str, Any]:
    """One contract's day; amounts in $, exact to the microdollar."""
    source = f"instance-{c.id}"
    parts = (
        ("gpu", day.gpu, f"{day.gpu_s:.0f} s of GPU", day.gpu_s),
        ("disk", day.disk, f"{day.disk_s:.0f} s of {c.order.disk_gb:g} GB disk", day.disk_s),
        ("bwu", day.up, f"{day.up_bytes / 1e9:.6f} GB sent", day.up_bytes),
        ("bwd", day.down, f"{day.down_bytes / 1e9:.6f} GB received", day.down_bytes),
    )
    items = [
        {
            "type": kind,
            "description": text,
            "amount": round(amount, 6),
            "quantity": quantity,
            "start": day.start,
            "end": day.end,
            "source": source,
            "metadata": {},
            "items": [],
        }
        for kind, amount, text, quantity in parts
        if quantity
    ]
    return {
        "start": day.start,
        "end": day.end,
        "type": "instance",
        "source": source,
        "description": f"Instance {c.id} {c.slice.row['gpu_name']}",
        "amount": round(day.total, 6),
        "metadata": {"label": c.label, "machine_id": c.machine.id},
        "items": items,
    }


def _filters(request: Request) -> dict[str, Any]:
    filters = request.json_param("select_filters", {})
    if not isinstance(filters, dict):
        raise refuse(400, "invalid_request", "Error in query parameters: select_filters")
    return filters


def _range(condition: Any) -> tuple[float, float] | None:
    if not isinstance(condition, Mapping):
        return None
    first, last = as_number(condition.get("gte")), as_number(condition.get("lte"))
    if first is None and last is None:
        return None
    return (first or 0.0, last if last is not None else float("inf"))


def _paged(rows: list[dict[str, Any]], request: Request, *, default: int) -> dict[str, Any]:
    params = request.params()
    newest = params.get("latest_first", "false").lower() in ("true", "1")
    rows.sort(key=lambda row: (row["start"], row["source"]), reverse=newest)
    limit = max(1, min(MAX_PAGE, int(as_number(params.get("limit") or default) or default)))
    first = 0
    if token := params.get("after_token"):
        try:
            first = int(json.loads(base64.b64decode(token, validate=True))["after"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise refuse(400, "invalid_token", "Invalid after_token") from None
    shown = rows[max(0, first) : max(0, first) + limit]
    following = None
    if first + limit < len(rows):
        following = base64.b64encode(json.dumps({"after": first + limit}).encode()).decode()
    return {
        "success": True,
        "count": len(shown),
        "total": len(rows),
        "next_token": following,
        "results": shown,
    }
