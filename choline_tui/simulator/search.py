"""Offer search: filters, virtual fields, order and the totals at a disk size.

Controls and filters stand at one level of the body. Numbers may come as text. A filter on a field that
offers do not have is ignored. Filtering by ``id`` matches nothing, as on Vast; ``ask_contract_id`` does.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from operator import ge, gt, le, lt
from random import Random
from typing import Any

from choline_tui.simulator.machines import MONTH, driver_number
from choline_tui.simulator.market import Row
from choline_tui.simulator.wire import as_number, refuse

__all__ = ["CAP", "FIELDS", "Search", "Totals", "price"]

CAP = 64
"""most offers in one answer, whatever the limit"""
DEFAULT_STORAGE_GB = 8.0
MONTH_H = MONTH / 3600.0

CONTROLS = frozenset(
    """order type limit allocated_storage target_reliability extra_ids gpu_option show_incompatible
    sort_option template_id disable_bundling select_cols""".split()  # noqa: SIM905
)
ALIASES = {
    "reliability2": "reliability",
    "dphtotal": "dph_total",
    "gpu_totalram": "gpu_total_ram",
    "ubuntu_version": "os_version",
    "dph": "dph_total",
}
TYPES = {"on-demand": "on-demand", "ondemand": "on-demand", "bid": "bid", "reserved": "reserved"}
DEFAULTS: dict[str, dict[str, Any]] = {
    "verified": {"eq": True},
    "rentable": {"eq": True},
    "rented": {"eq": False},
}

PRICED = (
    "dph_base",
    "dph_total",
    "dph_total_adj",
    "storage_total_cost",
    "dlperf_per_dphtotal",
    "flops_per_dphtotal",
    "vram_costperhour",
    "score",
    "discount_rate",
    "discounted_hourly",
    "discounted_dph_total",
)
"""fields that depend on the disk size and the rental type"""
TIMED = ("duration",)
FIELDS = frozenset(
    """ask_contract_id avail_vol_ask_id avail_vol_dph avail_vol_size bundle_id bundled_results bw_nvlink
    cluster_id compute_cap country_code cpu_arch cpu_cores cpu_cores_effective cpu_ghz cpu_name cpu_ram
    credit_discount_max cuda_max_good datacenter direct_port_count disk_bw disk_name disk_space dlperf
    driver_vers driver_version end_date expected_reliability external geolocation geolocode gpu_arch
    gpu_display_active gpu_frac gpu_lanes gpu_max_power gpu_max_temp gpu_mem_bw gpu_name gpu_ram
    gpu_total_ram has_avx host_id hosting_type hostname id inet_down inet_down_cost inet_up inet_up_cost
    internet_down_cost_per_tb internet_up_cost_per_tb is_bid is_vm_deverified machine_id min_bid mobo_name
    num_gpus os_version pci_gen pcie_bw public_ipaddr reliability reliability_mult rentable rented
    resource_type start_date static_ip storage_cost total_flops vericode verification verified vms_enabled
    """.split()  # noqa: SIM905
) | set(PRICED + TIMED)

Totals = dict[str, float]
_Test = Callable[[Any], bool]
_ORDERED = {"gt": gt, "gte": ge, "lt": lt, "lte": le}


def price(row: Mapping[str, Any], storage_gb: float, rental: str) -> Totals:
    """The figures of one offer at a disk size. $/h.

    In a search for bids they are those of the minimum bid, as on Vast; a reservation is a fifth cheaper.
    """
    base = row["min_bid"] if rental == "bid" else row["base_price"]
    disk = storage_gb * row["storage_cost"] / MONTH_H
    rate = 0.2 if rental == "reserved" else 0.0
    base = base * (1 - rate)
    total = base + disk
    per_dollar = row["dlperf"] / total
    return {
        "dph_base": base,
        "dph_total": total,
        "dph_total_adj": total,
        "storage_total_cost": disk,
        "dlperf_per_dphtotal": per_dollar,
        "flops_per_dphtotal": row["total_flops"] / total,
        "vram_costperhour": base / (row["gpu_total_ram"] / 1024),
        "score": per_dollar * row["reliability"] ** 4 * (1.15 if row["hosting_type"] else 1.0),
        "discount_rate": rate,
        "discounted_hourly": 0.0,
        "discounted_dph_total": total,
    }


class Search:
    """One parsed search. Raises ``Refusal`` (400) for what the market would not understand."""

    def __init__(self, body: Mapping[str, Any], now: float) -> None:
        self.now = now
        self.rental = self._rental(body.get("type"))
        self.limit = self._limit(body.get("limit"))
        self.order = self._order(body.get("order"))
        storage = body.get("allocated_storage")
        self.storage_gb = DEFAULT_STORAGE_GB
        if storage is not None:
            number = as_number(storage)
            if number is None or number < 0:
                raise refuse(400, "invalid_request", "allocated_storage is not a valid number")
            self.storage_gb = number
        self.tests: list[tuple[str, _Test]] = []
        if storage is not None:
            self.tests.append(("disk_space", _number_test("gte", self.storage_gb)))
        if (target := as_number(body.get("target_reliability"))) is not None:
            self.tests.append(("expected_reliability", _number_test("gte", target)))
        self._filters(body)

    def run(self, rows: Iterable[Row], rng: Random) -> list[dict[str, Any]]:
        """The offers found, as the market answers them; ``rng`` shakes the order by score."""
        found = []
        plain = [(name, test) for name, test in self.tests if name not in PRICED]
        priced = [(name, test) for name, test in self.tests if name in PRICED]
        for row in rows:
            if all(test(self._value(row, name)) for name, test in plain):
                totals = price(row, self.storage_gb, self.rental)
                if all(test(totals[name]) for name, test in priced):
                    found.append((row, totals))
        for name, descending in reversed(self.order):
            self._sort(found, name, descending, rng)
        return [self._present(row, totals) for row, totals in found[: self.limit]]

    # ---- parsing

    @staticmethod
    def _rental(value: Any) -> str:
        if value is None:
            return "on-demand"
        rental = TYPES.get(value) if isinstance(value, str) else None
        if rental is None:
            raise refuse(400, "invalid_request", f"{str(value)[:50]} is not a valid search type")
        return rental

    @staticmethod
    def _limit(value: Any) -> int:
        if value is None:
            return CAP
        number = as_number(value)
        if number is None or number < 0:
            raise refuse(400, "invalid_request", f"{str(value)[:50]} is not a valid limit")
        return min(CAP, int(number))

    @staticmethod
    def _order(value: Any) -> list[tuple[str, bool]]:
        if value is None:
            value = [["score", "desc"]]
        if not isinstance(value, list):
            raise refuse(400, "invalid_request", "order is not a list")
        order = []
        for item in value[:10]:
            if not (isinstance(item, list) and len(item) == 2 and all(isinstance(x, str) for x in item)):
                raise refuse(400, "invalid_request", "order is not a list of [field, direction]")
            name = ALIASES.get(item[0], item[0])
            if name in FIELDS:
                order.append((name, item[1] == "desc"))
        return order

    def _filters(self, body: Mapping[str, Any]) -> None:
        given = {key: value for key, value in body.items() if key not in CONTROLS and value is not None}
        if _wants_own(given.get("rented")):
            # what one rents is not rentable: the default would hide all of it
            given.setdefault("rentable", {"in": [True, False]})
        for key, conditions in {**DEFAULTS, **given}.items():
            name, scale = _field(key)
            if name not in FIELDS:
                continue
            if not isinstance(conditions, Mapping):
                # lists and texts are read as objects with keys 0, 1, ...
                if isinstance(conditions, list | str) and not conditions:
                    continue
                what = "0" if isinstance(conditions, list | str) else str(conditions)[:50]
                raise refuse(400, "invalid_request", f"{what} is not a valid search op")
            for op, value in conditions.items():
                self.tests.append(self._test(name, op, value, scale))

    def _test(self, name: str, op: str, value: Any, scale: float) -> tuple[str, _Test]:
        if op not in ("eq", "neq", "gt", "gte", "lt", "lte", "in", "notin"):
            raise refuse(400, "invalid_request", f"{op[:50]} is not a valid search op")
        if op in ("in", "notin"):
            if not isinstance(value, list):
                raise refuse(400, "invalid_request", f"{op} of {name} is not a list")
            values = value
        else:
            values = [value]
        if name in ("verified", "datacenter", "external"):
            name, values = _flag(name, values)
        elif name == "geolocation":
            return _place_test(op, values)
        elif name == "driver_version":
            name, values = "driver_vers", [_driver(v) for v in values]
        if name == "id":
            # as on Vast: it is not what it seems; ask_contract_id is
            return name, lambda _: False
        if scale != 1.0:
            values = [v if as_number(v) is None else (as_number(v) or 0.0) * scale for v in values]
        return name, _any_test(op, values)

    # ---- answering

    def _value(self, row: Row, name: str) -> Any:
        if name == "duration":
            return row["end_date"] - self.now
        if name == "is_bid":
            return self.rental == "bid"
        return row.get(name)

    def _sort(self, found: list[tuple[Row, Totals]], name: str, descending: bool, rng: Random) -> None:
        shake = (lambda: rng.uniform(0.97, 1.03)) if name == "score" else None

        def key(item: tuple[Row, Totals]) -> tuple[bool, Any]:
            row, totals = item
            value = totals[name] if name in PRICED else self._value(row, name)
            if value is None:
                # last in both directions
                return (not descending, 0)
            if isinstance(value, str):
                return (descending, value)
            return (descending, value * shake() if shake else value)

        found.sort(key=key, reverse=descending)

    def _present(self, row: Row, totals: Totals) -> dict[str, Any]:
        offer = {name: value for name, value in row.items() if name != "base_price"}
        disk, base = totals["storage_total_cost"], totals["dph_base"]
        duration = max(0.0, row["end_date"] - self.now)
        return {
            **offer,
            **totals,
            "is_bid": self.rental == "bid",
            "duration": duration,
            "time_remaining": time_text(duration),
            "time_remaining_isbid": time_text(duration) if self.rental == "bid" else "",
            "credit_discount_max": 0.4,
            "platform_fee": None,
            "rn": 1,
            "search": {
                "gpuCostPerHour": base,
                "diskHour": disk,
                "totalHour": base + disk,
                "discountTotalHour": 0,
                "discountedTotalPerHour": base + disk,
            },
            "instance": {
                "gpuCostPerHour": 0,
                "diskHour": disk,
                "totalHour": disk,
                "discountTotalHour": 0,
                "discountedTotalPerHour": disk,
            },
        }


def time_text(seconds: float) -> str:
    """Time left as the market words it: "12 Mon 24 D 16 Hr"."""
    hours = int(seconds // 3600)
    months, hours = divmod(hours, 720)
    days, hours = divmod(hours, 24)
    parts = [(months, "Mon"), (days, "D"), (hours, "Hr")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


def _wants_own(conditions: Any) -> bool:
    return isinstance(conditions, Mapping) and any(
        _bool(value) is True for op, value in conditions.items() if op == "eq"
    )


def _field(key: str) -> tuple[str, float]:
    if key.endswith("_GB"):
        return ALIASES.get(key[:-3], key[:-3]), 1000.0
    return ALIASES.get(key, key), 1.0


def _bool(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    if isinstance(value, bool):
        return value
    if value in (0, 1):
        return bool(value)
    return None


def _flag(name: str, values: list[Any]) -> tuple[str, list[Any]]:
    """Virtual yes-or-no fields, as the stored ones behind them."""
    flags = [_bool(value) for value in values]
    if name == "verified":
        return "vericode", [None if f is None else int(f) for f in flags]
    if name == "datacenter":
        return "hosting_type", [None if f is None else int(f) for f in flags]
    # "external" is null on many machines and means no
    return name, [x for f in flags for x in ((False, None) if f is False else (f,))]


def _driver(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\d{1,3}(\.\d{1,3}){1,2}", value):
        return driver_number(value)
    return value


def _place_test(op: str, values: list[Any]) -> tuple[str, _Test]:
    wanted = {str(value).strip().upper() for value in values if value is not None}
    if op in ("eq", "in"):
        return "geolocation", lambda v: _places(v) & wanted != set()
    if op in ("neq", "notin"):
        return "geolocation", lambda v: not _places(v) & wanted
    raise refuse(400, "invalid_request", f"{op} is not a valid search op for geolocation")


def _places(value: Any) -> set[str]:
    text = str(value).upper()
    return {text, text[-2:]}


def _number_test(op: str, bound: float) -> _Test:
    compare = _ORDERED[op]
    return lambda v: v is not None and compare(v, bound)


def _any_test(op: str, values: list[Any]) -> _Test:
    numbers = [as_number(value) for value in values]
    wanted_numbers = {number for number in numbers if number is not None}
    flags = [_bool(value) for value in values]

    def same(v: Any) -> bool:
        if v is None:
            return None in values
        if isinstance(v, bool):
            return v in flags
        if isinstance(v, int | float):
            return v in wanted_numbers or (
                isinstance(v, int) and v in (0, 1) and any(isinstance(x, bool) and x == v for x in values)
            )
        return any(v == str(x) for x in values if x is not None)

    if op in ("eq", "in"):
        return same
    if op in ("neq", "notin"):
        return lambda v: not same(v)
    compare = _ORDERED[op]
    value, number = values[0], numbers[0]

    def ordered(v: Any) -> bool:
        if v is None or isinstance(v, bool):
            return False
        if isinstance(v, int | float):
            return number is not None and compare(v, number)
        return isinstance(value, str) and compare(v, value)

    return ordered
