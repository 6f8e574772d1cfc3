"""Local volumes: disks on one machine that outlive the instances there, billed by themselves."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from choline_tui.simulator.access import Key
from choline_tui.simulator.endpoints.base import Desk, Endpoints, Route, route
from choline_tui.simulator.ledger import Bill
from choline_tui.simulator.machines import HOUR, MONTH, Machine
from choline_tui.simulator.market import Row, Slice
from choline_tui.simulator.orders import invalid
from choline_tui.simulator.search import Search
from choline_tui.simulator.wire import Request, as_number, refuse

__all__ = ["Volumes"]

FIRST_OFFER = 900_000_000
"""a machine's volume offer has this id and the machine's number"""
SHARE = 0.5
"""of a machine's disk that may become volumes"""


@dataclass
class _Volume:
    id: int
    name: str
    size: float
    machine: Machine
    row: Row
    settled: float
    created: float
    bill: Bill = field(default_factory=Bill)
    deleted: bool = False

    def settle(self, now: float) -> None:
        if not self.deleted and now > self.settled:
            price = self.size * self.machine.storage_cost * HOUR / MONTH
            self.bill.book(self.settled, now, 0.0, price)
            self.settled = now


class Volumes(Endpoints):
    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._volumes: dict[int, _Volume] = {}
        self._next = 77

    def routes(self) -> list[Route]:
        read, write = "instance_read", "instance_write"
        return [
            route("POST", "v0/volumes/search", "volume.search", "misc", self.search),
            route("GET", "v0/volumes", "volume.list", read, self.listing),
            route("PUT", "v0/volumes", "volume.write", write, self.create),
            route("DELETE", "v0/volumes", "volume.write", write, self.delete),
            route("POST", "v0/volumes/copy", "volume.write", write, self.copy),
        ]

    async def search(self, request: Request, key: Key | None, _: int) -> Any:
        search = Search({"allocated_storage": 1.0, **request.json()}, self.desk.clock.time())
        rng = Random(f"volumes/{self.desk.market.seed}")
        return {"success": True, "offers": search.run(self._offers(), rng)}

    def _offers(self) -> Iterator[Row]:
        seen = set()
        for row in self.desk.market.rows():
            if row["machine_id"] not in seen:
                seen.add(row["machine_id"])
                machine = next(m for m in self._by_id(row["machine_id"]))
                number = FIRST_OFFER + machine.index
                disk = round(machine.disk_space * SHARE - self._used(machine), 2)
                if disk >= 1:
                    yield row | {"id": number, "ask_contract_id": number, "disk_space": disk}

    def _by_id(self, machine_id: int) -> Iterator[Machine]:
        index = (machine_id - 3_000) // 17
        for machine in self.desk.market.machines[max(0, index - 1) : index + 2]:
            if machine.id == machine_id:
                yield machine

    def _used(self, machine: Machine) -> float:
        return sum(v.size for v in self._volumes.values() if v.machine is machine and not v.deleted)

    async def listing(self, request: Request, key: Key | None, _: int) -> Any:
        kind = request.params().get("type", "all_volume")
        if kind not in ("all_volume", "local_volume", "network_volume"):
            raise invalid("type")
        now = self.desk.clock.time()
        rows = [] if kind == "network_volume" else [_row(v, now) for v in self._alive()]
        return {"success": True, "volumes": rows}

    def _alive(self) -> list[_Volume]:
        return [volume for volume in self._volumes.values() if not volume.deleted]

    async def create(self, request: Request, key: Key | None, _: int) -> Any:
        body = request.json()
        number = as_number(body.get("id"))
        offer = next((row for row in self._offers() if row["id"] == number), None)
        if offer is None:
            raise refuse(404, "invalid_args", f"error 404/3603: no_such_ask Volume offer {body.get('id')}")
        made = self._make(offer, body.get("size"), body.get("name"))
        return {"success": True, "volume_name": f"V.{made.id}", "volume_id": made.id}

    def _make(self, offer: Row, size: Any, name: Any) -> _Volume:
        gigabytes = as_number(size)
        if gigabytes is None or not 1 <= gigabytes <= offer["disk_space"]:
            raise invalid("size")
        if name is not None and (not isinstance(name, str) or len(name) > 256):
            raise invalid("name")
        if self.desk.contracts.credit() <= 0:
            raise refuse(400, "insufficient_credit", "Your account lacks credit; see the billing page.")
        machine = self.desk.market.machines[offer["id"] - FIRST_OFFER]
        now = self.desk.clock.time()
        made = _Volume(self._next, name or f"V.{self._next}", gigabytes, machine, offer, now, now)
        self._volumes[made.id] = made
        self._next += 1
        self.desk.contracts.changed()
        return made

    async def delete(self, request: Request, key: Key | None, _: int) -> Any:
        number = as_number(request.params().get("id") or request.json().get("id"))
        volume = self._find(number)
        if volume is None:
            raise refuse(404, "not_found", "There is no such volume.")
        if any((c.volume or {}).get("id") == volume.id for c in self.desk.contracts.alive()):
            raise refuse(400, "volume_in_use", f"Volume {volume.id} belongs to an instance.")
        volume.settle(self.desk.clock.time())
        volume.deleted = True
        remove = getattr(self.desk.contracts.backend, "remove_volume", None)
        if remove is not None:
            await remove(f"V.{volume.id}")
        return {"success": True, "msg": f"Volume {volume.id} deleted."}

    async def copy(self, request: Request, key: Key | None, _: int) -> Any:
        body = request.json()
        source = self._find(as_number(body.get("src_id")))
        offer = next((row for row in self._offers() if row["id"] == as_number(body.get("dst_id"))), None)
        if source is None or offer is None:
            raise refuse(404, "not_found", "There is no such volume.")
        made = self._make(offer, body.get("size") or source.size, None)
        return {"success": True, "volume_name": f"V.{made.id}", "volume_id": made.id}

    def _find(self, number: float | None) -> _Volume | None:
        volume = self._volumes.get(int(number)) if number is not None else None
        return volume if volume is not None and not volume.deleted else None

    # ---- what others ask

    def for_rent(self, info: Any, env: Mapping[str, str], found: Slice) -> dict[str, Any] | None:
        """The volume that a rent names, made if wanted. Raises ``Refusal`` where it is not on the machine."""
        flag = next((name for name in env if name.startswith("-v V.")), None)
        if info is None and flag is not None:
            name, _, path = flag[5:].partition(":")
            info = {"volume_id": name, "mount_path": path}
        if info is None:
            return None
        number = as_number(info.get("volume_id")) if isinstance(info, Mapping) else None
        if number is None:
            raise invalid("volume_info")
        if info.get("create_new"):
            offer = next((row for row in self._offers() if row["id"] == number), None)
            if offer is None or offer["machine_id"] != found.machine.id:
                raise invalid("volume_info: the volume would be on another machine")
            volume = self._make(offer, info.get("size"), info.get("name"))
        else:
            known = self._find(number)
            if known is None or known.machine is not found.machine:
                raise invalid("volume_info: the volume is on another machine")
            volume = known
        return {
            "id": volume.id,
            "name": volume.name,
            "mount_path": str(info.get("mount_path") or "/data"),
            "size": volume.size,
        }

    def costs(self) -> float:
        """$ that all volumes have cost so far."""
        now, total = self.desk.clock.time(), 0.0
        for volume in self._volumes.values():
            volume.settle(now)
            total += volume.bill.total
        return total

    def charges(self, first: float, last: float) -> list[dict[str, Any]]:
        """Rows of the bill for days between two epoch s."""
        self.costs()
        return [
            {
                "start": day.start,
                "end": day.end,
                "type": "volume",
                "source": f"volume-{volume.id}",
                "description": f"Volume {volume.name} {volume.size:g} GB",
                "amount": round(day.disk, 6),
                "metadata": {},
                "items": [],
            }
            for volume in self._volumes.values()
            for day in volume.bill.between(first, last)
        ]


def _row(volume: _Volume, now: float) -> dict[str, Any]:
    names = (
        "cluster_id disk_name driver_version inet_up inet_down reliability2 machine_id verification host_id "
        "geolocation disk_bw cpu_ghz cuda_max_good storage_cost"
    )
    return {name: volume.row.get(name) for name in names.split()} | {
        "id": volume.id,
        "label": volume.name,
        "name": volume.name,
        "disk_space": volume.size,
        "status": "active",
        "type": "local_volume",
        "start_date": volume.created,
        "duration": math.floor(now - volume.created),
        "instances": [],
    }
