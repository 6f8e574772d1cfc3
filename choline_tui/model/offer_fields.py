"""The fields a query may name: their kinds, the units people write, aliases, and where an offer holds them.

Source: the official client's query language and the market's virtual search fields.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from math import isfinite
from typing import Any

__all__ = ["ALIASES", "FIELDS", "Field", "Kind", "canonical", "driver_number", "similar", "value_of"]


class Kind(StrEnum):
    NUMBER = "number"
    WHOLE = "whole number"
    BOOL = "true or false"
    TEXT = "text"
    COUNTRY = "country"
    """two-letter code"""
    DRIVER = "driver version"
    """dotted, sent as one integer"""
    VERSION = "version"
    """dotted, compared part by part, sent as text"""

    @property
    def ordered(self) -> bool:
        """< and > mean something."""
        return self not in (Kind.BOOL, Kind.TEXT, Kind.COUNTRY)


@dataclass(frozen=True)
class Field:
    name: str
    kind: Kind
    unit: str = ""
    times: float = 1.0
    """what is sent = what is written x this"""


def _fields() -> dict[str, Field]:
    numbers = {
        "bw_nvlink": "GB/s", "cpu_cores_effective": "threads", "cpu_ghz": "GHz", "credit_discount_max": "",
        "cuda_max_good": "", "disk_bw": "MB/s", "disk_space": "GB", "dlperf": "", "dlperf_per_dphtotal": "",
        "dph_base": "$/h", "dph_total": "$/h", "end_date": "epoch s", "start_date": "epoch s",
        "flops_per_dphtotal": "TFLOPS per $/h", "gpu_frac": "", "gpu_max_power": "W", "gpu_max_temp": "°C",
        "gpu_mem_bw": "GB/s", "inet_down": "Mbit/s", "inet_down_cost": "$/GB", "inet_up": "Mbit/s",
        "inet_up_cost": "$/GB", "min_bid": "$/h", "pci_gen": "", "pcie_bw": "GB/s", "platform_fee": "",
        "reliability": "0-1", "reliability_mult": "", "expected_reliability": "0-1",
        "score": "", "storage_cost": "$/GB/month", "storage_total_cost": "$/h",
        "total_flops": "TFLOPS", "vram_costperhour": "$/h", "allocated_storage": "GB",
        "avail_vol_dph": "$/h", "avail_vol_size": "GB", "discount_rate": "",
        "nw_disk_min_bw": "MB/s", "nw_disk_max_bw": "MB/s", "nw_disk_avg_bw": "MB/s",
    }  # fmt: skip
    whole = (
        *("ask_contract_id", "bundle_id", "bundled_results", "cluster_id", "compute_cap", "cpu_cores"),
        *("direct_port_count", "driver_vers", "geolocode", "gpu_lanes", "host_id", "hosting_type"),
        *("machine_id", "num_gpus", "vericode", "avail_vol_ask_id"),
    )
    flags = (
        *("datacenter", "external", "gpu_display_active", "has_avx", "is_bid", "is_vm_deverified"),
        *("rentable", "rented", "static_ip", "verified", "vms_enabled"),
    )
    texts = (
        *("cpu_arch", "cpu_name", "disk_name", "gpu_arch", "gpu_name", "hostname", "mobo_name"),
        *("public_ipaddr", "resource_type", "verification"),
    )
    made = [Field(name, Kind.NUMBER, unit) for name, unit in numbers.items()]
    made += [Field(name, Kind.WHOLE) for name in whole]
    made += [Field(name, Kind.BOOL) for name in flags]
    made += [Field(name, Kind.TEXT) for name in texts]
    made += [Field(name, Kind.NUMBER, "GB", 1000.0) for name in ("cpu_ram", "gpu_ram", "gpu_total_ram")]
    made += [
        Field("duration", Kind.NUMBER, "days", 86400.0),
        Field("geolocation", Kind.COUNTRY),
        Field("driver_version", Kind.DRIVER),
        Field("os_version", Kind.VERSION),
    ]
    return {each.name: each for each in made}


FIELDS: dict[str, Field] = _fields()

ALIASES: dict[str, str] = {
    # filtering by id matches nothing on the market
    "id": "ask_contract_id",
    "cuda_vers": "cuda_max_good",
    "display_active": "gpu_display_active",
    "dlperf_usd": "dlperf_per_dphtotal",
    "dph": "dph_total",
    "dphtotal": "dph_total",
    "flops_usd": "flops_per_dphtotal",
    "reliability2": "reliability",
    # a search takes it as a control beside the conditions; as a condition it is this field
    "target_reliability": "expected_reliability",
    "gpu_totalram": "gpu_total_ram",
    "gpu_totalram_GB": "gpu_total_ram",
    "gpu_ram_GB": "gpu_ram",
    "cpu_ram_GB": "cpu_ram",
    "ubuntu_version": "os_version",
}


def canonical(name: str) -> Field | None:
    """The field a name or alias means; None if there is none."""
    return FIELDS.get(ALIASES.get(name, name))


def similar(name: str, *, also: tuple[str, ...] = ()) -> list[str]:
    """Up to three known names that look like ``name``."""
    return get_close_matches(name, [*FIELDS, *ALIASES, *also], n=3, cutoff=0.6)


def driver_number(text: str) -> int | None:
    """``535.86.05`` as the market counts it, 535086005: each part padded to three digits. A number that
    is one already is kept; one or two parts are filled with zeros."""
    parts = text.strip().split(".")
    if not 1 <= len(parts) <= 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    if len(parts) == 1 and 7 <= len(parts[0]) <= 12:
        return int(parts[0])
    if any(len(part) > 4 for part in parts):
        return None
    return int("".join(part.zfill(3) for part in [*parts, "0", "0"][:3]))


Reader = Callable[[Callable[[str], Any]], Any]


def _flag(value: Any) -> bool | None:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return bool(value) if value in (0, 1) else None
    return {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())


def _verified(get: Callable[[str], Any]) -> bool | None:
    word = get("verification")
    if word is not None:
        return bool(word == "verified")
    return None if get("vericode") is None else get("vericode") == 1


def _country(get: Callable[[str], Any]) -> str | None:
    place = get("geolocation")
    code = place.rpartition(",")[2].strip().upper() if isinstance(place, str) else ""
    return code if len(code) == 2 else None


def _driver(get: Callable[[str], Any]) -> int | None:
    number = get("driver_vers")
    return number if number is not None else driver_number(str(get("driver_version") or ""))


def _first(*names: str) -> Reader:
    def read(get: Callable[[str], Any]) -> Any:
        return next((value for value in map(get, names) if value is not None), None)

    return read


def _datacenter(get: Callable[[str], Any]) -> bool | None:
    kind = get("hosting_type")
    return None if kind is None else kind == 1


_READ: dict[str, Reader] = {
    "verified": _verified,
    "datacenter": _datacenter,
    "geolocation": _country,
    "driver_version": _driver,
    "reliability": _first("reliability", "reliability2"),
    "expected_reliability": _first("expected_reliability", "reliability", "reliability2"),
    "allocated_storage": _first("disk_space"),
    "gpu_total_ram": _first("gpu_total_ram", "gpu_totalram"),
    "ask_contract_id": _first("ask_contract_id", "id"),
}


def value_of(field: Field, offer: Any) -> Any:
    """What an offer (a model or the server's dict) says of a field, in the units that are sent;
    None: it does not say, or not in a form that can be read."""
    if isinstance(offer, Mapping):
        get: Callable[[str], Any] = offer.get
    else:

        def get(name: str) -> Any:
            return getattr(offer, name, None)

    value = _READ[field.name](get) if field.name in _READ else get(field.name)
    if value is None:
        return None
    if field.kind is Kind.BOOL:
        return _flag(value)
    if field.kind in (Kind.NUMBER, Kind.WHOLE, Kind.DRIVER):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return None
        return number if isfinite(number) else None
    return str(value)
