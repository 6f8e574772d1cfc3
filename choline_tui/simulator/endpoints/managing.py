"""Instances: the listing, what a renter may change about them, and their end."""

from typing import Any

from choline_tui.simulator.access import Key
from choline_tui.simulator.contract import Contract
from choline_tui.simulator.endpoints.base import Endpoints, Route, route
from choline_tui.simulator.instances import page
from choline_tui.simulator.machines import HOUR, MONTH
from choline_tui.simulator.orders import MAX_BID, invalid, read_changes, read_label, read_price
from choline_tui.simulator.wire import Request, as_number, refuse

__all__ = ["Managing"]

UNAVAILABLE = "Required resources are currently unavailable, state change queued."
DISCOUNTS = ((3.0, 0.3), (1.0, 0.2))
"""months paid in advance, and the part of the price that this saves"""


class Managing(Endpoints):
    def routes(self) -> list[Route]:
        read, write = "instance_read", "instance_write"
        one = "v0/instances/#"
        return [
            route("GET", "v0/instances", "instance.retired", read, self.listing_retired),
            route("PUT", "v0/instances", "instance.state", write, self.change_many),
            route("POST", "v0/instances/start", "instance.start", write, self.start_many),
            route("DELETE", "v0/instances", "instance.destroy", write, self.destroy_many),
            route("GET", "v1/instances", "instance.list", read, self.listing),
            route("GET", "v0/instances/filters", "instance.filters", read, self.filters),
            route("GET", "v0/instances/count", "instance.list", read, self.count),
            route("GET", one, "instance.show", read, self.show),
            route("PUT", one, "instance.state", write, self.change),
            route("DELETE", one, "instance.destroy", write, self.destroy),
            route("PUT", "v0/instances/bid_price/#", "instance.bid_price", write, self.bid),
            route("PUT", "v0/instances/reboot/#", "instance.reboot", write, self.reboot),
            route("PUT", "v0/instances/recycle/#", "instance.recycle", write, self.recycle),
            route("PUT", "v0/instances/prepay/#", "instance.prepay", write, self.prepay),
            route("GET", "v0/instances/balance/#", "instance.balance", read, self.balance),
            route("PUT", "v0/instances/update_template/#", "instance.update", write, self.update),
            route("GET", "v0/instances/pending-price-increases", "instance.increases", read, self.increases),
            route("PUT", "v0/instances/accept-price-increase", "instance.increase", write, self.accept),
            route("PUT", "v0/instances/reject-price-increase", "instance.increase", write, self.reject),
            route("PUT", "v0/machines/#/report", "report", "misc", self.report),
            route("GET", "v0/machines/#/reports", "report", "misc", self.reports),
        ]

    # ---- reading

    async def listing_retired(self, request: Request, key: Key | None, _: int) -> Any:
        msg = "/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead."
        raise refuse(410, "deprecated_endpoint", msg)

    def _rows(self) -> list[dict[str, Any]]:
        return [self.desk.row(contract) for contract in self.desk.contracts.alive()]

    async def listing(self, request: Request, key: Key | None, _: int) -> Any:
        params: dict[str, Any] = dict(request.params())
        for name in ("select_filters", "order_by", "select_cols"):
            params[name] = request.json_param(name, None)
        return page(self._rows(), params)

    async def show(self, request: Request, key: Key | None, target: int) -> Any:
        contract = self.desk.contracts.get(target)
        return {"instances": self.desk.row(contract) if contract else None}

    async def filters(self, request: Request, key: Key | None, _: int) -> Any:
        names = ("actual_status", "verification", "gpu_name")
        found = {tuple(row[name] for name in names) for row in self._rows()}
        ordered = sorted(found, key=str)
        return {"success": True, "filters": [dict(zip(names, values, strict=True)) for values in ordered]}

    async def count(self, request: Request, key: Key | None, _: int) -> Any:
        return {"success": True, "count": len(self.desk.contracts.alive())}

    # ---- changing

    async def change(self, request: Request, key: Key | None, target: int) -> Any:
        contract, body = self.desk.contract(target), request.json()
        if "state" not in body and "label" not in body:
            raise invalid("state or label")
        label = read_label(body.get("label"))
        state = self._state(body) if body.get("state") is not None else None
        if "label" in body:
            contract.label = label
        if state and not self._set_state(contract, state):
            # with status 200, as on Vast
            return {"success": False, "error": "resources_unavailable", "msg": UNAVAILABLE}
        return {"success": True}

    async def change_many(self, request: Request, key: Key | None, _: int) -> Any:
        body = request.json()
        return self._change_all(self.desk.list_of(body.get("ids")), self._state(body))

    async def start_many(self, request: Request, key: Key | None, _: int) -> Any:
        return self._change_all(self.desk.list_of(request.json().get("IDs")), "running")

    def _change_all(self, contracts: list[Contract], state: str) -> Any:
        able = [self._set_state(contract, state) for contract in contracts]
        if not all(able):
            return {"success": False, "error": "resources_unavailable", "msg": UNAVAILABLE}
        return {"success": True}

    @staticmethod
    def _state(body: dict[str, Any]) -> str:
        state = body.get("state")
        if state not in ("running", "stopped"):
            raise invalid("state")
        return str(state)

    def _set_state(self, contract: Contract, state: str) -> bool:
        if state == "stopped":
            self.desk.contracts.stop(contract)
            return True
        if self.desk.contracts.credit() <= 0:
            raise refuse(400, "missing_billing", "Your account lacks credit; see the billing page.")
        return self.desk.contracts.start(contract)

    async def destroy(self, request: Request, key: Key | None, target: int) -> Any:
        self._destroy(self.desk.contract(target))
        return {"success": True}

    async def destroy_many(self, request: Request, key: Key | None, _: int) -> Any:
        for contract in self.desk.list_of(request.json().get("instance_ids")):
            self._destroy(contract)
        return {"success": True}

    def _destroy(self, contract: Contract) -> None:
        self.desk.contracts.destroy(contract)
        self.desk.access.revoke(contract.key)

    async def bid(self, request: Request, key: Key | None, target: int) -> Any:
        contract = self.desk.contract(target)
        if not contract.is_bid:
            raise invalid("the instance is not interruptible")
        price = read_price(request.json().get("price"), min(MAX_BID, 32.0 * len(contract.slice.gpus)))
        return {"success": True, "price": self.desk.contracts.bid(contract, price)}

    async def reboot(self, request: Request, key: Key | None, target: int) -> Any:
        self.desk.contracts.reboot(self.desk.contract(target))
        return {"success": True}

    async def recycle(self, request: Request, key: Key | None, target: int) -> Any:
        self.desk.contracts.recycle(self.desk.contract(target))
        return {"success": True}

    async def update(self, request: Request, key: Key | None, target: int) -> Any:
        """Another image, environment or onstart; the container is made anew."""
        contract = self.desk.contract(target)
        read_changes(request.json(), contract.order)
        self.desk.contracts.recycle(contract)
        return {"success": True, "updated_instance": self.desk.row(contract)}

    # ---- money

    async def prepay(self, request: Request, key: Key | None, target: int) -> Any:
        """Dollars for months to come; the price is lower from then on."""
        contract = self.desk.contract(target)
        amount = as_number(request.json().get("amount"))
        if amount is None or amount <= 0 or contract.is_bid:
            raise invalid("amount")
        if amount > self.desk.contracts.credit():
            raise refuse(411, "insufficient_credit", "Your account lacks credit; see the billing page.")
        full = contract.gpu_price / (1 - contract.discount)
        contract.prepaid += amount
        months = contract.prepaid / (full * MONTH / HOUR)
        contract.discount = next((part for least, part in DISCOUNTS if months >= least), 0.0)
        self.desk.contracts.reprice(contract, full * (1 - contract.discount))
        return {"success": True, "timescale": round(months, 4), "discount_rate": contract.discount}

    async def balance(self, request: Request, key: Key | None, target: int) -> Any:
        contract = self.desk.contract(target)
        full = contract.gpu_price / (1 - contract.discount)
        return {
            "success": True,
            "refundable_deposit": round(contract.prepaid, 6),
            "total_discount": round(contract.discount, 4),
            "discount_months": round(contract.prepaid / (full * MONTH / HOUR), 4),
        }

    async def increases(self, request: Request, key: Key | None, _: int) -> Any:
        """In the shape that the official client documents; $/s and $/GB."""
        rows = []
        for c in self.desk.contracts.alive():
            if c.increase is None:
                continue
            facts = c.slice.row
            disk = facts["storage_cost"] / MONTH
            rows.append(
                {
                    "pending_price_increase_id": c.increase.id,
                    "contract_id": c.id,
                    "host_id": facts["host_id"],
                    "new_gpu_costpersec": c.increase.price / HOUR,
                    "old_gpu_costpersec": c.gpu_price / HOUR,
                    "new_disk_ram_costpersec": disk,
                    "old_disk_ram_costpersec": disk,
                    "new_bwu_cost": facts["inet_up_cost"],
                    "old_bwu_cost": facts["inet_up_cost"],
                    "new_bwd_cost": facts["inet_down_cost"],
                    "old_bwd_cost": facts["inet_down_cost"],
                    "new_platform_fee": None,
                    "old_platform_fee": None,
                    "contract_end_date": c.end_date,
                    "ask_end_date": c.increase.until,
                    "created_at": c.increase.created,
                }
            )
        return {"success": True, "count": len(rows), "truncated": False, "pending_price_increases": rows}

    async def accept(self, request: Request, key: Key | None, _: int) -> Any:
        return self._answer(request, accept=True)

    async def reject(self, request: Request, key: Key | None, _: int) -> Any:
        return self._answer(request, accept=False)

    def _answer(self, request: Request, *, accept: bool) -> Any:
        body = request.json()
        number = as_number(body.get("pending_price_increase_id"))
        if set(body) != {"pending_price_increase_id"} or number is None:
            raise invalid("pending_price_increase_id")
        for contract in self.desk.contracts.alive():
            if contract.increase is not None and contract.increase.id == number:
                self.desk.contracts.answer_increase(contract, accept)
                return {
                    "success": True,
                    "pending_price_increase_id": int(number),
                    "contract_id": contract.id,
                }
        raise refuse(404, "no_pending_price_increase", "There is no such pending price increase.")

    # ---- hosts

    async def report(self, request: Request, key: Key | None, target: int) -> Any:
        if not any(machine.id == target for machine in self.desk.market.machines):
            raise refuse(404, "not_found", f"Machine {target} not found.")
        return {"success": True}

    async def reports(self, request: Request, key: Key | None, target: int) -> Any:
        return {"success": True, "reports": []}
