"""The market's HTTP API, as a pure function from a request to an answer.

Every route stands in ``_ROUTES`` with its name (for rate limits and restricted keys), the permission it
needs, and its handler; paths are accepted with and without a trailing slash.
"""

import json
import re
import secrets
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from choline_tui.kernel.clock import Clock
from choline_tui.simulator.access import Access, Key
from choline_tui.simulator.contract import Contract, SshKey
from choline_tui.simulator.contracts import Contracts
from choline_tui.simulator.instances import instance_row, page
from choline_tui.simulator.limits import Limits
from choline_tui.simulator.market import Market, Slice
from choline_tui.simulator.orders import MAX_BID, invalid, read_label, read_order, read_price
from choline_tui.simulator.search import Search
from choline_tui.simulator.wire import Refusal, Request, Response, as_number, json_response, refuse

__all__ = ["Api"]

USER_ID = 100_001
MAX_RESULTS = 1000
"""log snapshots kept for fetching"""
MAX_SSH_KEYS = 200

Handler = Callable[["Api", Request, Key | None, int], Awaitable[Any]]


class Api:
    """``spend_limit``: $/h that a new account may not exceed; None: no limit.

    ``base_url`` is asked for at every log request, since a port may be chosen late.
    """

    def __init__(
        self,
        market: Market,
        contracts: Contracts,
        access: Access,
        clock: Clock,
        *,
        base_url: Callable[[], str],
        limits: Limits | None = None,
        spend_limit: float | None = None,
        just_taken: Callable[[int], Slice | None] = lambda offer: None,
    ) -> None:
        self.market = market
        self.contracts = contracts
        self.access = access
        self.clock = clock
        self.limits = limits
        self.spend_limit = spend_limit
        self.ssh_keys: list[SshKey] = []
        self._just_taken = just_taken
        self._base_url = base_url
        self._next_ssh = 1
        self._searches = 0
        self._results: dict[str, tuple[str, int]] = {}

    async def handle(self, request: Request) -> Response:
        """Answer a request; never raises for what a caller sent."""
        try:
            result = await self._dispatch(request)
        except Refusal as refusal:
            return refusal.response
        return result if isinstance(result, Response) else json_response(result)

    def route_of(self, request: Request) -> str:
        """The name of the route that a request takes; "" for none."""
        path, method = "/" + request.path.strip("/"), request.method.upper()
        routes = (name for m, pattern, name, _, _ in _ROUTES if m == method and pattern.fullmatch(path))
        return next(routes, "results" if path.startswith("/results/") else "")

    async def _dispatch(self, request: Request) -> Any:
        path = "/" + request.path.strip("/")
        method = request.method.upper()
        known = False
        for route_method, pattern, name, category, handler in _ROUTES:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            known = True
            if route_method != method:
                continue
            key = self.access.identify(request)
            target = int(match.group(1)) if pattern.groups else -1
            if category:
                # a search may be anonymous; a key that is sent must allow it all the same
                public = name == "search" and key is None
                if not public:
                    self.access.demand(key, name, category, target if target >= 0 else None)
            if self.limits is not None:
                self.limits.check(name, self._caller(request))
            return await handler(self, request, key, target)
        if path.startswith("/results/") and method == "GET":
            return self._result(path.removeprefix("/results/"))
        if known:
            raise refuse(405, "method_not_allowed", f"{method[:20]} is not allowed here.")
        raise refuse(404, "not_found", "There is no such endpoint.")

    @staticmethod
    def _caller(request: Request) -> str:
        return f"{request.client} {request.header('authorization')} {request.params().get('api_key', '')}"

    # ---- offers

    async def search_post(self, request: Request, key: Key | None, _: int) -> Any:
        return self._search(request.json())

    async def search_get(self, request: Request, key: Key | None, _: int) -> Any:
        body = request.json_param("q", {})
        if not isinstance(body, dict):
            raise refuse(400, "invalid_request", "Invalid json body")
        return self._search(body)

    async def search_put(self, request: Request, key: Key | None, _: int) -> Any:
        body = request.json()
        query = body.get("q")
        if not isinstance(query, dict):
            raise refuse(400, "invalid_request", "Invalid json body")
        answer = self._search(query)
        columns = body.get("select_cols")
        if isinstance(columns, list) and "*" not in columns:
            answer["offers"] = [{str(c): o.get(str(c)) for c in columns} for o in answer["offers"]]
        return answer

    def _search(self, body: dict[str, Any]) -> dict[str, Any]:
        search = Search(body, self.clock.time())
        self._searches += 1
        rows = [*self.market.rows(), *self.contracts.rented_rows()]
        return {"offers": search.run(rows, Random(f"score/{self.market.seed}/{self._searches}"))}

    async def gpu_names(self, request: Request, key: Key | None, _: int) -> Any:
        return {"gpu_names": self.market.gpu_names()}

    # ---- renting

    async def create(self, request: Request, key: Key | None, ask: int) -> Any:
        if self.contracts.closed:
            raise refuse(503, "server_error", "The market is closing.")
        order = read_order(request.json())
        found = self.market.find(ask)
        race = self._just_taken(ask) if found is None else None
        if race is not None and not order.cancel_unavail:
            # lost a race: the contract is made all the same, and waits for its GPUs
            found = race
        if found is None:
            if self.market.was_listed(ask):
                msg = f"error 410/3907: no_such_ask Instance type {ask} is no longer available."
                raise refuse(410, "no_such_ask", msg, ask_id=ask)
            msg = f"error 404/3603: no_such_ask Instance type by id {ask} is not available."
            raise refuse(404, "invalid_args", msg, ask_id=ask)
        if order.disk_gb > found.row["disk_space"]:
            raise invalid(f"disk: {order.disk_gb:g} GB asked for, {found.row['disk_space']:g} GB available")
        if self.contracts.credit() <= 0:
            raise refuse(400, "insufficient_credit", "Your account lacks credit; see the billing page.")
        price = found.row["base_price"] if order.bid is None else order.bid
        if self.spend_limit is not None and self.contracts.billing_now() + price > self.spend_limit:
            raise refuse(400, "spend_rate_limit", "Your account's spend rate limit would be exceeded.")
        low = order.bid is not None and order.running and order.bid < found.row["min_bid"]
        if low and order.cancel_unavail:
            msg = f"error 410/3907: no_such_ask Instance type {ask} is not available at this bid."
            raise refuse(410, "no_such_ask", msg, ask_id=ask)
        contract = self.contracts.rent(found, order, self.ssh_keys)
        self.access.instance_key(contract.key, contract.id, self.clock.time())
        if low:
            # the contract exists all the same, and its disk bills
            msg = f"error 400/3710: the bid is below the minimum of {found.row['min_bid']:g} $/hr."
            raise refuse(400, "bid_too_low", msg, ask_id=ask, new_contract=contract.id)
        return {"success": True, "new_contract": contract.id, "instance_api_key": contract.key}

    # ---- instances

    async def listing_retired(self, request: Request, key: Key | None, _: int) -> Any:
        msg = "/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead."
        raise refuse(410, "deprecated_endpoint", msg)

    async def listing(self, request: Request, key: Key | None, _: int) -> Any:
        params: dict[str, Any] = dict(request.params())
        for name in ("select_filters", "order_by", "select_cols"):
            params[name] = request.json_param(name, None)
        return page([self._row(contract) for contract in self.contracts.alive()], params)

    async def show(self, request: Request, key: Key | None, target: int) -> Any:
        contract = self.contracts.get(target)
        return {"instances": self._row(contract) if contract else None}

    async def filters(self, request: Request, key: Key | None, _: int) -> Any:
        names = ("actual_status", "verification", "gpu_name")
        rows = [self._row(contract) for contract in self.contracts.alive()]
        found = {tuple(row[name] for name in names) for row in rows}
        ordered = sorted(found, key=str)
        return {"success": True, "filters": [dict(zip(names, values, strict=True)) for values in ordered]}

    async def change(self, request: Request, key: Key | None, target: int) -> Any:
        contract, body = self._contract(target), request.json()
        if "state" not in body and "label" not in body:
            raise invalid("state or label")
        label = read_label(body.get("label"))
        state = self._state(body) if body.get("state") is not None else None
        if "label" in body:
            contract.label = label
        if state and not self._set_state(contract, state):
            msg = "Required resources are currently unavailable, state change queued."
            # with status 200, as on Vast
            return {"success": False, "error": "resources_unavailable", "msg": msg}
        return {"success": True}

    async def change_many(self, request: Request, key: Key | None, _: int) -> Any:
        body = request.json()
        state = self._state(body)
        able = [self._set_state(contract, state) for contract in self._contracts(body.get("ids"))]
        if not all(able):
            msg = "Required resources are currently unavailable, state change queued."
            return {"success": False, "error": "resources_unavailable", "msg": msg}
        return {"success": True}

    async def destroy(self, request: Request, key: Key | None, target: int) -> Any:
        self._destroy(self._contract(target))
        return {"success": True}

    async def destroy_many(self, request: Request, key: Key | None, _: int) -> Any:
        for contract in self._contracts(request.json().get("instance_ids")):
            self._destroy(contract)
        return {"success": True}

    async def bid(self, request: Request, key: Key | None, target: int) -> Any:
        contract = self._contract(target)
        if not contract.is_bid:
            raise invalid("the instance is not interruptible")
        price = read_price(request.json().get("price"), min(MAX_BID, 32.0 * len(contract.slice.gpus)))
        return {"success": True, "price": self.contracts.bid(contract, price)}

    async def reboot(self, request: Request, key: Key | None, target: int) -> Any:
        self.contracts.reboot(self._contract(target))
        return {"success": True}

    def _row(self, contract: Contract) -> dict[str, Any]:
        least = self.market.min_bid(contract.machine, len(contract.slice.gpus))
        return instance_row(contract, self.clock.time(), least)

    def _contract(self, target: int) -> Contract:
        contract = self.contracts.get(target)
        if contract is None:
            raise refuse(404, "no_such_instance", f"Instance {target} not found.")
        return contract

    def _contracts(self, ids: Any) -> list[Contract]:
        numbers = [as_number(i) for i in ids] if isinstance(ids, list) else []
        if not numbers or None in numbers:
            raise invalid("ids")
        return [self._contract(int(number)) for number in numbers if number is not None]

    @staticmethod
    def _state(body: dict[str, Any]) -> str:
        state = body.get("state")
        if state not in ("running", "stopped"):
            raise invalid("state")
        return str(state)

    def _set_state(self, contract: Contract, state: str) -> bool:
        if state == "running":
            return self.contracts.start(contract)
        self.contracts.stop(contract)
        return True

    def _destroy(self, contract: Contract) -> None:
        self.contracts.destroy(contract)
        self.access.revoke(contract.key)

    # ---- logs

    async def request_logs(self, request: Request, key: Key | None, target: int) -> Any:
        contract, body = self._contract(target), request.json()
        text = f"{contract.status_msg or ''}\n" if body.get("daemon_logs") == "true" else ""
        if not text and contract.made:
            text = self.contracts.backend.log(contract.id)
        lines = text.splitlines(keepends=True)
        if (word := body.get("filter")) and isinstance(word, str):
            lines = [line for line in lines if word in line]
        tail = as_number(body.get("tail"))
        if tail is not None and tail > 0:
            lines = lines[-int(tail) :]
        token = secrets.token_urlsafe(24)
        while len(self._results) >= MAX_RESULTS:
            del self._results[next(iter(self._results))]
        self._results[token] = ("".join(lines), 0)
        return {"success": True, "result_url": f"{self._base_url()}/results/{token}", "msg": None}

    def _result(self, token: str) -> Response:
        if token not in self._results:
            raise refuse(404, "not_found", "There is no such result.")
        text, polls = self._results[token]
        self._results[token] = (text, polls + 1)
        if polls == 0:
            # it takes a while until the host has uploaded it
            body = b"<Error><Code>AccessDenied</Code></Error>"
            return Response(403, {"content-type": "application/xml"}, body)
        return Response(200, {"content-type": "text/plain; charset=utf-8"}, text.encode(errors="replace"))

    # ---- SSH keys

    async def ssh_list(self, request: Request, key: Key | None, _: int) -> Any:
        return [_ssh_row(k, "key") for k in self.ssh_keys]

    async def ssh_create(self, request: Request, key: Key | None, _: int) -> Any:
        made = self._ssh_key(request.json())
        if len(self.ssh_keys) >= MAX_SSH_KEYS:
            raise invalid("too many ssh keys")
        self.ssh_keys.append(made)
        return {"success": True, "key": _ssh_row(made, "public_key")}

    async def ssh_update(self, request: Request, key: Key | None, target: int) -> Any:
        known = next((k for k in self.ssh_keys if k.id == target), None)
        if known is None:
            raise refuse(404, "no_such_key", f"SSH key {target} not found.")
        known.key = self._ssh_text(request.json())
        return {"success": True, "key": _ssh_row(known, "public_key")}

    async def ssh_delete(self, request: Request, key: Key | None, target: int) -> Any:
        if not any(k.id == target for k in self.ssh_keys):
            raise refuse(404, "no_such_key", f"SSH key {target} not found.")
        self.ssh_keys = [k for k in self.ssh_keys if k.id != target]
        return {"success": True}

    async def instance_ssh(self, request: Request, key: Key | None, target: int) -> Any:
        keys = [_ssh_row(k, "key") for k in self._contract(target).ssh_keys]
        # JSON within JSON, as on Vast
        return {"success": True, "ssh_keys": json.dumps(keys)}

    async def instance_ssh_attach(self, request: Request, key: Key | None, target: int) -> Any:
        made = self._ssh_key(request.json())
        await self.contracts.attach(self._contract(target), made)
        return {"success": True, "key": _ssh_row(made, "public_key")}

    async def instance_ssh_detach(self, request: Request, key: Key | None, target: int) -> Any:
        contract = self._contract(target)
        key_id = int(request.path.strip("/").rsplit("/", 1)[1])
        if not any(k.id == key_id for k in contract.ssh_keys):
            raise refuse(404, "no_such_key", f"SSH key {key_id} not found.")
        contract.ssh_keys = [k for k in contract.ssh_keys if k.id != key_id]
        return {"success": True}

    def _ssh_key(self, body: dict[str, Any]) -> SshKey:
        made = SshKey(self._next_ssh, USER_ID, self._ssh_text(body), self.clock.time())
        self._next_ssh += 1
        return made

    @staticmethod
    def _ssh_text(body: dict[str, Any]) -> str:
        text = body.get("ssh_key")
        if not isinstance(text, str) or not text.strip():
            raise refuse(400, "no_ssh_key", "No ssh key given.")
        text = text.strip()
        if not _SSH_KEY.fullmatch(text):
            raise invalid("ssh_key is not an OpenSSH public key")
        return text

    # ---- account

    async def user(self, request: Request, key: Key | None, _: int) -> Any:
        return {
            "id": USER_ID,
            "key_id": key.id if key else None,
            "username": "rehearsal",
            "fullname": "Rehearsal Market",
            "email": "rehearsal@example.com",
            "email_verified": True,
            "balance": round(min(0.0, self.contracts.credit()), 6),
            "credit": round(self.contracts.credit(), 6),
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
            "ssh_key": self.ssh_keys[0].key if self.ssh_keys else None,
            "sid": None,
        }

    async def keys_list(self, request: Request, key: Key | None, _: int) -> Any:
        keys = self.access.listing()
        if key is not None and key not in keys:
            keys.append(key)
        return {"apikeys": [_key_row(k) for k in keys]}

    async def keys_create(self, request: Request, key: Key | None, _: int) -> Any:
        body = request.json()
        name = body.get("name")
        if not isinstance(name, str) or not 0 < len(name) <= 256:
            raise invalid("name")
        made = self.access.create(name, body.get("permissions"), self.clock.time())
        return {"success": True, **_key_row(made), "key": made.secret}

    async def keys_delete(self, request: Request, key: Key | None, target: int) -> Any:
        if not self.access.delete(target):
            raise refuse(404, "not_found", f"API key {target} not found.")
        return "Successfully Deleted API Key"


_SSH_KEY = re.compile(r"(ssh-|ecdsa-|sk-)[a-z0-9@.-]{3,60} [A-Za-z0-9+/]{16,}={0,3}( [^\r\n]*)?")


def _ssh_row(key: SshKey, name: str) -> dict[str, Any]:
    return {
        "id": key.id,
        "user_id": key.user_id,
        name: key.key,
        "created_at": key.created_at,
        "deleted_at": None,
    }


def _key_row(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "user_id": USER_ID,
        "name": key.name,
        "rights": key.permissions,
        "permissions": key.permissions,
        "key_params": None,
        "team_id": None,
        "team_name": None,
        "created_at": key.created_at,
    }


def _route(
    method: str, path: str, name: str, category: str, handler: Handler
) -> tuple[str, re.Pattern[str], str, str, Handler]:
    return method, re.compile("/api/" + path.replace("#", "([0-9]{1,15})")), name, category, handler


_ROUTES = [
    _route("POST", "v0/bundles", "search", "misc", Api.search_post),
    _route("GET", "v0/bundles", "search", "misc", Api.search_get),
    _route("PUT", "v0/search/asks", "search", "misc", Api.search_put),
    _route("GET", "v0/gpu_names/unique", "gpu_names", "", Api.gpu_names),
    _route("PUT", "v0/asks/#", "ask.create", "instance_write", Api.create),
    _route("GET", "v0/instances", "instance.retired", "instance_read", Api.listing_retired),
    _route("PUT", "v0/instances", "instance.state", "instance_write", Api.change_many),
    _route("DELETE", "v0/instances", "instance.destroy", "instance_write", Api.destroy_many),
    _route("GET", "v1/instances", "instance.list", "instance_read", Api.listing),
    _route("GET", "v0/instances/filters", "instance.filters", "instance_read", Api.filters),
    _route("GET", "v0/instances/#", "instance.show", "instance_read", Api.show),
    _route("PUT", "v0/instances/#", "instance.state", "instance_write", Api.change),
    _route("DELETE", "v0/instances/#", "instance.destroy", "instance_write", Api.destroy),
    _route("PUT", "v0/instances/bid_price/#", "instance.bid_price", "instance_write", Api.bid),
    _route("PUT", "v0/instances/reboot/#", "instance.reboot", "instance_write", Api.reboot),
    _route("PUT", "v0/instances/request_logs/#", "instance.request_logs", "instance_read", Api.request_logs),
    _route("GET", "v0/instances/#/ssh", "instance.ssh", "instance_read", Api.instance_ssh),
    _route("POST", "v0/instances/#/ssh", "instance.ssh", "instance_write", Api.instance_ssh_attach),
    _route(
        "DELETE",
        "v0/instances/#/ssh/[0-9]{1,15}",
        "instance.ssh_detach",
        "instance_write",
        Api.instance_ssh_detach,
    ),
    _route("GET", "v0/ssh", "ssh.list", "user_read", Api.ssh_list),
    _route("POST", "v0/ssh", "ssh.write", "user_write", Api.ssh_create),
    _route("PUT", "v0/ssh/#", "ssh.write", "user_write", Api.ssh_update),
    _route("DELETE", "v0/ssh/#", "ssh.write", "user_write", Api.ssh_delete),
    _route("GET", "v0/users/current", "user.current", "user_read", Api.user),
    _route("GET", "v0/auth/apikeys", "apikey.list", "user_read", Api.keys_list),
    _route("POST", "v0/auth/apikeys", "apikey.write", "user_write", Api.keys_create),
    _route("DELETE", "v0/auth/apikeys/#", "apikey.write", "user_write", Api.keys_delete),
]
