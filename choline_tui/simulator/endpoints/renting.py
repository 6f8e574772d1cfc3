"""Renting: one offer, several at once, or whatever a search finds first."""

from collections.abc import Callable
from typing import Any

from choline_tui.simulator.access import Key
from choline_tui.simulator.contract import Contract
from choline_tui.simulator.endpoints.base import Desk, Endpoints, Route, route
from choline_tui.simulator.endpoints.templates import Templates
from choline_tui.simulator.endpoints.volumes import Volumes
from choline_tui.simulator.orders import invalid, read_order
from choline_tui.simulator.wire import Refusal, Request, as_number, refuse

__all__ = ["Renting"]

MAX_BULK = 64
AUTOMATIC_TAG = "@vastai-automatic-tag"


class Renting(Endpoints):
    """``search`` answers a search, for ``launch_instance``."""

    def __init__(
        self,
        desk: Desk,
        templates: Templates,
        volumes: Volumes,
        search: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> None:
        super().__init__(desk)
        self._templates = templates
        self._volumes = volumes
        self._search = search

    def routes(self) -> list[Route]:
        return [
            route("PUT", "v0/asks/#", "ask.create", "instance_write", self.create),
            route("POST", "v0/asks/bulk", "ask.bulk", "instance_write", self.create_many),
            route("PUT", "v0/launch_instance", "ask.launch", "misc", self.launch),
        ]

    async def create(self, request: Request, key: Key | None, ask: int) -> Any:
        return self._made(self.rent(ask, request.json()))

    async def create_many(self, request: Request, key: Key | None, _: int) -> Any:
        """Those that could be had; the first refusal, when none could."""
        body = request.json()
        asks = body.get("ids")
        numbers = [as_number(ask) for ask in asks] if isinstance(asks, list) else []
        if not 0 < len(numbers) <= MAX_BULK or None in numbers:
            raise invalid("ids")
        made, refused = [], []
        for ask in numbers:
            try:
                made.append(self._made(self.rent(int(ask or 0), body)))
            except Refusal as refusal:
                refused.append({"ask_id": ask, **refusal.response.json()})
                if not made and len(refused) == len(numbers):
                    raise
        contracts = [answer["new_contract"] for answer in made]
        return {"success": True, "new_contracts": contracts, "results": made, "failed": refused}

    async def launch(self, request: Request, key: Key | None, _: int) -> Any:
        body = request.json()
        query = body.get("q")
        if not isinstance(query, dict):
            raise invalid("q")
        for offer in self._search(query)["offers"]:
            try:
                return self._made(self.rent(offer["id"], body))
            except Refusal as refusal:
                if b"no_such_ask" not in refusal.response.body:
                    raise
        raise refuse(404, "no_such_ask", "error 404/3603: no_such_ask No offer matches the search.")

    @staticmethod
    def _made(contract: Contract) -> dict[str, Any]:
        return {"success": True, "new_contract": contract.id, "instance_api_key": contract.key}

    def rent(self, ask: int, body: dict[str, Any]) -> Contract:
        """Raises ``Refusal``, also where a contract was made all the same."""
        desk, contracts = self.desk, self.desk.contracts
        if contracts.closed:
            raise refuse(503, "server_error", "The market is closing.")
        body, template = self._templates.fill(body)
        order = read_order(body)
        if order.image.endswith(AUTOMATIC_TAG) and not order.image.startswith("vastai/"):
            raise refuse(500, "server_error", "Something went wrong")
        found = desk.market.find(ask)
        race = desk.just_taken(ask) if found is None else None
        if race is not None and not order.cancel_unavail:
            # lost a race: the contract is made all the same, and waits for its GPUs
            found = race
        if found is None:
            if desk.market.was_listed(ask):
                msg = f"error 410/3907: no_such_ask Instance type {ask} is no longer available."
                raise refuse(410, "no_such_ask", msg, ask_id=ask)
            msg = f"error 404/3603: no_such_ask Instance type by id {ask} is not available."
            raise refuse(404, "invalid_args", msg, ask_id=ask)
        if order.disk_gb > found.row["disk_space"]:
            raise invalid(f"disk: {order.disk_gb:g} GB asked for, {found.row['disk_space']:g} GB available")
        if contracts.credit() <= 0:
            raise refuse(400, "insufficient_credit", "Your account lacks credit; see the billing page.")
        price = found.row["base_price"] if order.bid is None else order.bid
        if desk.spend_limit is not None and contracts.billing_now() + price > desk.spend_limit:
            raise refuse(400, "spend_rate_limit", "Your account's spend rate limit would be exceeded.")
        low = order.bid is not None and order.running and order.bid < found.row["min_bid"]
        if low and order.cancel_unavail:
            msg = f"error 410/3907: no_such_ask Instance type {ask} is not available at this bid."
            raise refuse(410, "no_such_ask", msg, ask_id=ask)
        volume = self._volumes.for_rent(body.get("volume_info"), order.env, found)
        contract = contracts.rent(found, order, desk.ssh_keys)
        contract.template, contract.volume = template, volume
        desk.access.instance_key(contract.key, contract.id, desk.clock.time())
        if low:
            # the contract exists all the same, and its disk bills
            msg = f"error 400/3710: the bid is below the minimum of {found.row['min_bid']:g} $/hr."
            raise refuse(400, "bid_too_low", msg, ask_id=ask, new_contract=contract.id)
        return contract
