"""The market in time: which slices are on offer, and at what price, at any moment asked.

Everything is a pure function of the seed and the age of the market (seconds since it began), except the
slices that our renters hold. So a virtual clock may jump by weeks at no cost, and two markets of one seed
agree. A machine is computed again only after its own next change; a search looks at finished rows.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from choline_tui.kernel.clock import Clock
from choline_tui.simulator.catalog import MODELS
from choline_tui.simulator.machines import DAY, Machine, make_machine
from choline_tui.simulator.noise import mix, uniform

__all__ = ["Market", "Row", "Slice"]

Row = dict[str, Any]
"""The fields of one offer that do not depend on the search: no totals, no scores, no durations."""

MAX_MACHINES = 100_000
REMEMBERED = 200_000
"""how many offer ids are remembered after they are gone"""

# what chance is asked about, so that the answers are independent
_PRICE, _BID, _BUSY, _ONLINE, _PHASE, _ID, _TERM = range(1, 8)


@dataclass(frozen=True)
class Slice:
    """Some GPUs of one machine, with the row they were offered as."""

    machine: Machine
    gpus: tuple[int, ...]
    row: Row


@dataclass
class _State:
    """A machine as it is between two changes."""

    rows: list[Row] = field(default_factory=list)
    until: float = math.inf


@cache
def _name_hash(model: str) -> int:
    return mix(*model.encode())


class Market:
    """Machines and their offers. ``offers``: how many rows are listed at the beginning, at least.

    ``moving=False`` freezes prices and other renters at the beginning; time still passes.
    ``contested``: GPUs held by a bid stay on offer for whoever rents on demand or bids more, as on Vast.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        seed: int = 7,
        offers: int = 2000,
        moving: bool = True,
        contested: bool = False,
    ) -> None:
        if not 0 <= offers <= 200_000:
            raise ValueError("offers must be 0 to 200000")
        self.seed = seed
        self.moving = moving
        self.contested = contested
        self.clock = clock
        self.began = clock.time()
        self.machines: list[Machine] = []
        self._salt = mix(seed)
        self._states: list[_State] = []
        self._changes: list[tuple[float, int]] = []
        self._seen_age = 0.0
        self._held: dict[int, dict[int, int]] = {}
        """machine index -> GPU -> contract"""
        self._held_disk: dict[int, float] = {}
        self._released: dict[tuple[int, int], int] = {}
        """how often a GPU was given back: its next offers have other ids"""
        self._yields: dict[int, float] = {}
        """contract -> $/h for one GPU, above which it has to give way"""
        self._pressure: dict[int, float] = {}
        """machine index -> by how much others bid more than usual"""
        self._down: set[int] = set()
        """indexes of machines that are lost"""
        self._ids: dict[int, int] = {}
        """every offer id issued -> machine index"""
        listed = 0
        while listed < offers and len(self.machines) < MAX_MACHINES:
            machine = make_machine(seed, len(self.machines))
            self.machines.append(machine)
            self._states.append(_State())
            self._refresh(machine.index, 0.0)
            listed += len(self._states[machine.index].rows)

    # ---- reading

    def age(self) -> float:
        """Seconds since the market began."""
        return self.clock.time() - self.began

    def rows(self) -> Iterator[Row]:
        """Every slice on offer now."""
        self._advance()
        for state in self._states:
            yield from state.rows

    def find(self, offer_id: int) -> Slice | None:
        """The slice behind an offer that is listed now, else None."""
        self._advance()
        index = self._ids.get(offer_id)
        if index is None:
            return None
        for row in self._states[index].rows:
            if row["id"] == offer_id:
                return Slice(self.machines[index], tuple(row["gpu_ids"]), row)
        return None

    def was_listed(self, offer_id: int) -> bool:
        return offer_id in self._ids

    def next_change(self, machine: Machine) -> float:
        """Seconds until something may change about this machine (frozen: its host's end date)."""
        self._advance()
        return max(0.0, self._states[machine.index].until - self.age())

    def min_bid(self, machine: Machine, gpus: int) -> float:
        """$/h that wins a slice of so many GPUs now."""
        return self._min_bid(machine, gpus, self._market_age())

    def _min_bid(self, machine: Machine, gpus: int, age: float) -> float:
        share = machine.bid_share * (0.85 + 0.3 * self._chance(machine, _BID, age, machine.bid_period))
        share *= self._pressure.get(machine.index, 1.0)
        return max(0.001, round(self._unit_price(machine, age) * share * gpus, 4))

    def unit_price(self, machine: Machine) -> float:
        """$/h for one GPU now, on demand, without disk."""
        return self._unit_price(machine, self._market_age())

    def unit_price_at(self, machine: Machine, at: float) -> float:
        """The same at another moment (epoch s); the market's own past, and its future, are known to it."""
        return self._unit_price(machine, at - self.began if self.moving else 0.0)

    def end_date(self, machine: Machine) -> float:
        """Epoch s when the host's present term ends; hosts begin another one then, for new contracts."""
        return self.began + self._end_age(machine, self.age())

    # ---- renting

    def free(self, machine: Machine, gpus: tuple[int, ...], bid: float | None = None) -> bool:
        """Whether somebody who bids so many $/h for them (None: pays the full price) may have these GPUs."""
        if machine.index in self._down:
            return False
        age = self._market_age()
        held = self._held.get(machine.index, {})
        unit = None if bid is None else bid / len(gpus)
        return all(self._open(held.get(g), unit) and not self._busy(machine, g, age) for g in gpus)

    def _open(self, owner: int | None, unit_bid: float | None) -> bool:
        if owner is None:
            return True
        limit = self._yields.get(owner)
        return limit is not None and (unit_bid is None or unit_bid > limit)

    def hold(
        self, machine: Machine, gpus: tuple[int, ...], contract: int, bid: float | None = None
    ) -> set[int]:
        """Take GPUs off the market for a contract; the contracts that had to give way."""
        held = self._held.setdefault(machine.index, {})
        unit = None if bid is None else bid / len(gpus)
        owners = {held[gpu] for gpu in gpus if held.get(gpu, contract) != contract}
        for owner in owners:
            if not self._open(owner, unit):
                raise ValueError(f"GPUs of machine {machine.id} are held by another contract")
        for gpu in [g for g, owner in held.items() if owner in owners]:
            del held[gpu]
        held.update(dict.fromkeys(gpus, contract))
        self._yield(contract, unit)
        self._refresh(machine.index, self.age())
        return owners

    def raise_bid(self, machine: Machine, gpus: tuple[int, ...], contract: int, bid: float) -> None:
        """A contract that holds GPUs gives way to higher bids only."""
        if contract in self._yields:
            self._yield(contract, bid / len(gpus))
            self._refresh(machine.index, self.age())

    def _yield(self, contract: int, unit: float | None) -> None:
        if self.contested and unit is not None:
            self._yields[contract] = unit
        else:
            self._yields.pop(contract, None)

    def press(self, machine: Machine, factor: float) -> None:
        """Others bid so much more on this machine than usual; 1 ends it."""
        self._pressure[machine.index] = factor
        self._refresh(machine.index, self.age())

    def lose(self, machine: Machine, lost: bool) -> None:
        """A machine drops out of the market, or comes back."""
        (self._down.add if lost else self._down.discard)(machine.index)
        self._refresh(machine.index, self.age())

    def release(self, machine: Machine, contract: int) -> None:
        """Put a contract's GPUs back on the market; nothing happens when it holds none."""
        held = self._held.get(machine.index, {})
        for gpu in [g for g, owner in held.items() if owner == contract]:
            del held[gpu]
            self._released[machine.index, gpu] = self._released.get((machine.index, gpu), 0) + 1
        self._yields.pop(contract, None)
        self._refresh(machine.index, self.age())

    def use_disk(self, machine: Machine, gigabytes: float) -> None:
        """Take (or with a negative figure give back) disk of a machine."""
        self._held_disk[machine.index] = max(0.0, self._held_disk.get(machine.index, 0.0) + gigabytes)
        self._refresh(machine.index, self.age())

    def gpu_names(self) -> list[str]:
        return sorted(model.name for model in MODELS)

    # ---- time

    def _market_age(self) -> float:
        return self.age() if self.moving else 0.0

    def _advance(self) -> None:
        age = self.age()
        if age < self._seen_age - 1.0:
            # the wall clock was set back: what was computed is of the future
            for machine in self.machines:
                self._refresh(machine.index, age)
        while self._changes and self._changes[0][0] <= age:
            until, index = heapq.heappop(self._changes)
            if self._states[index].until == until:
                self._refresh(index, age)
        self._seen_age = age

    def _refresh(self, index: int, age: float) -> None:
        machine = self.machines[index]
        state = _State()
        self._states[index] = state
        when = age if self.moving else 0.0
        state.until = self._end_age(machine, age)
        if self.moving:
            state.until = min(state.until, self._next_boundary(machine, age))
        # rounding may give the boundary we stand on: always go forward
        state.until = max(state.until, age + 0.001)
        if index not in self._down and self._online(machine, when):
            state.rows = list(self._offers(machine, when, self._end_age(machine, age)))
            for row in state.rows:
                # set again, so that ids in use are the last to be forgotten
                self._ids.pop(row["id"], None)
                self._ids[row["id"]] = index
        if len(self._ids) > REMEMBERED:
            for old in list(self._ids)[: REMEMBERED // 10]:
                del self._ids[old]
        heapq.heappush(self._changes, (state.until, index))

    def _next_boundary(self, machine: Machine, age: float) -> float:
        periods = [
            (_PRICE, 0, machine.price_period),
            (_BID, 0, machine.bid_period),
            (_ONLINE, 0, machine.online_period),
        ] + [(_BUSY, slot, machine.slot_period) for slot in range(0, machine.num_gpus, machine.unit)]
        nearest = math.inf
        for kind, slot, period in periods:
            phase = self._phase(machine, kind, slot) * period
            nearest = min(nearest, (math.floor((age + phase) / period) + 1) * period - phase)
        return nearest

    def _end_age(self, machine: Machine, age: float) -> float:
        phase = self._phase(machine, _TERM) * machine.term
        return (math.floor((age + phase) / machine.term) + 1) * machine.term - phase

    def _phase(self, machine: Machine, kind: int, slot: int = 0) -> float:
        return uniform(self._salt, machine.index, _PHASE, kind, slot)

    def _epoch(self, machine: Machine, kind: int, age: float, period: float, slot: int = 0) -> int:
        return math.floor((age + self._phase(machine, kind, slot) * period) / period)

    def _chance(self, machine: Machine, kind: int, age: float, period: float, slot: int = 0) -> float:
        return uniform(self._salt, machine.index, kind, slot, self._epoch(machine, kind, age, period, slot))

    def _online(self, machine: Machine, age: float) -> bool:
        # the market begins with all its machines there
        epoch = self._epoch(machine, _ONLINE, age, machine.online_period)
        return epoch <= 0 or uniform(self._salt, machine.index, _ONLINE, epoch) >= 0.05

    def _busy(self, machine: Machine, gpu: int, age: float) -> bool:
        slot = gpu - gpu % machine.unit
        return self._chance(machine, _BUSY, age, machine.slot_period, slot) < machine.busy

    def _unit_price(self, machine: Machine, age: float) -> float:
        epoch = self._epoch(machine, _PRICE, age, machine.price_period)
        host = 0.95 + 0.1 * uniform(self._salt, machine.index, _PRICE, epoch)
        start = epoch * machine.price_period
        turn = uniform(self._salt, _name_hash(machine.model.name))
        # demand for a model goes up and down over days and weeks, for all its machines together
        model = 1 + 0.08 * math.sin(2 * math.pi * (start / (1.7 * DAY) + turn))
        model += 0.10 * math.sin(2 * math.pi * (start / (9 * DAY) + 3 * turn))
        return max(0.001, round(machine.price * host * model, 4))

    # ---- rows

    def _offers(self, machine: Machine, age: float, end_age: float) -> Iterator[Row]:
        held = self._held.get(machine.index, {})
        free = [
            self._open(held.get(g), None) and not self._busy(machine, g, age) for g in range(machine.num_gpus)
        ]
        if not any(free):
            return
        price = self._unit_price(machine, age)
        for order, size in enumerate(machine.sizes):
            for first in range(0, machine.num_gpus - size + 1, size):
                gpus = range(first, first + size)
                if all(free[g] for g in gpus):
                    yield self._row(machine, order, list(gpus), price, age, end_age)
                    break

    def _row(
        self, machine: Machine, order: int, gpus: list[int], price: float, age: float, end_age: float
    ) -> Row:
        size = len(gpus)
        share = size / machine.num_gpus
        facts = machine.facts
        offer_id = self._offer_id(machine, order, gpus, age, end_age)
        cores = facts["cpu_cores"]
        flops = round(machine.model.tflops * size, 4)
        # the last percent of scaling is lost on every doubling
        dlperf = round(machine.model.dlperf * size * 0.985 ** math.log2(size), 4)
        disk = max(0.0, machine.disk_space - self._held_disk.get(machine.index, 0.0)) * share
        return facts | {
            "id": offer_id,
            "ask_contract_id": offer_id,
            "bundle_id": None,
            "bundled_results": None,
            "host_id": machine.host_id,
            "num_gpus": size,
            "gpu_ids": gpus,
            "gpu_frac": round(share, 4),
            "gpu_total_ram": facts["gpu_ram"] * size,
            "total_flops": flops,
            "dlperf": dlperf,
            "cpu_cores_effective": round(cores * share, 1),
            "disk_space": round(disk, 2),
            "start_date": self.began + end_age - machine.term,
            "end_date": self.began + end_age,
            "rentable": True,
            "rented": False,
            "base_price": round(price * size, 6),
            "min_bid": self._to_win(machine, gpus, age),
        }

    def _to_win(self, machine: Machine, gpus: list[int], age: float) -> float:
        """$/h that wins these GPUs from the market and from whoever has them by a bid."""
        least = self._min_bid(machine, len(gpus), age)
        held = self._held.get(machine.index, {})
        yields = [self._yields[held[g]] for g in gpus if held.get(g) in self._yields]
        return max(least, round(max(yields) * len(gpus) + 0.0002, 4)) if yields else least

    def _offer_id(self, machine: Machine, order: int, gpus: list[int], age: float, end_age: float) -> int:
        """The same while the slice stays free; another one when it is listed again."""
        parts = [self._epoch(machine, _ONLINE, age, machine.online_period), round(end_age)]
        for gpu in gpus:
            parts.append(self._released.get((machine.index, gpu), 0))
            if gpu % machine.unit == 0:
                parts.append(self._free_since(machine, gpu, age))
        digest = mix(self._salt, machine.index, _ID, gpus[0], *parts)
        return (machine.index + 250) * 40_000 + (digest % 4_000) * 10 + order

    def _free_since(self, machine: Machine, slot: int, age: float) -> int:
        """The first of the unbroken row of periods in which a slot was free, up to now."""
        epoch = self._epoch(machine, _BUSY, age, machine.slot_period, slot)
        for back in range(50):
            if uniform(self._salt, machine.index, _BUSY, slot, epoch - back - 1) < machine.busy:
                return epoch - back
        return epoch - 50
