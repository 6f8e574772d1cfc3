"""The machines of the rehearsal market: what does not change about them, made from the seed."""

from dataclasses import dataclass
from random import Random
from typing import Any

from choline_tui.simulator.catalog import (
    ARM_CPU,
    BLACKWELL_CUDA,
    BOARDS,
    CPUS,
    DISKS,
    DRIVERS,
    LAST_BEFORE_TURING,
    MODELS,
    PLACES,
    TURING_CAP,
    Driver,
    Model,
    Place,
)

__all__ = ["HOUR", "MONTH", "Machine", "driver_number", "make_machine"]

HOUR = 3600.0
DAY = 24 * HOUR
MONTH = 30 * DAY
"""storage is priced per GB and month of 30 x 24 h"""


@dataclass(frozen=True)
class Machine:
    """One host machine. Prices in $/h for one GPU; times in s, ages since the market's beginning."""

    index: int
    id: int
    host_id: int
    model: Model
    place: Place
    driver: Driver
    num_gpus: int
    unit: int
    """the smallest slice in GPUs"""
    price: float
    bid_share: float
    """the lowest winning bid as a part of the price, on average"""
    storage_cost: float
    """$/GB/month"""
    disk_space: float
    """GB, the whole machine"""
    reliability: float
    term: float
    """for how long its host offers it at a time; contracts end with the term they began in"""
    price_period: float
    bid_period: float
    slot_period: float
    online_period: float
    busy: float
    """how often each of its slices is rented by others, 0-1"""
    verified: bool
    facts: dict[str, Any]
    """fields of its offers that are the same for every slice"""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Slices in powers of two from the smallest, and the whole machine."""
        found = []
        size = self.unit
        while size <= self.num_gpus:
            found.append(size)
            size *= 2
        if self.num_gpus not in found:
            found.append(self.num_gpus)
        return tuple(found)


def driver_number(version: str) -> int:
    """``driver_vers``: every dotted part padded to three digits and joined, 535.86.05 -> 535086005."""
    parts = [int(part) for part in version.split(".")]
    return int("".join(f"{part:03d}" for part in [*parts, 0, 0][:3]))


def make_machine(seed: int, index: int) -> Machine:
    """The machine number ``index`` of a market; the same for the same arguments, always."""
    rng = Random(f"machine/{seed}/{index}")
    # every model appears once before chance decides, so that a small market has the rare ones too
    model = MODELS[index] if index < len(MODELS) else rng.choices(MODELS, [m.weight for m in MODELS])[0]
    place = rng.choices(PLACES, [p.weight for p in PLACES])[0]
    num_gpus = rng.choice(model.sizes)
    unit = rng.choice([1, 1, 1, 2, num_gpus]) if num_gpus > 1 else 1
    unit = min(unit, num_gpus)
    datacenter = model.datacenter and rng.random() < 0.8
    verified = rng.random() < (0.97 if datacenter else 0.82)
    oldest = BLACKWELL_CUDA if model.compute_cap >= 1000 else 0.0
    newest = 99.0 if model.compute_cap >= TURING_CAP else LAST_BEFORE_TURING
    drivers = [d for d in DRIVERS if oldest <= d.cuda <= newest]
    driver = rng.choices(drivers, [d.weight for d in drivers])[0]
    reliability = min(0.9999, 1 - rng.expovariate(70 if verified else 14))
    reliability = round(max(0.60, reliability), 7)
    price = model.price * rng.lognormvariate(0.0, 0.16) * (0.93 if not verified else 1.0)
    gigabit = place.megabit * rng.lognormvariate(0.0, 0.5) * (2.0 if datacenter else 0.7)
    inet_down = round(min(gigabit, 20_000.0), 1)
    inet_up = round(inet_down * rng.uniform(0.3, 1.0), 1)
    storage_cost = round(rng.choice([0.05, 0.08, 0.1, 0.1, 0.15, 0.15, 0.2, 0.2, 0.25, 0.3]), 4)
    machine_id = 3_000 + index * 17 + rng.randrange(17)
    static_ip = rng.random() < 0.6
    return Machine(
        index=index,
        id=machine_id,
        host_id=40_000 + rng.randrange(60_000),
        model=model,
        place=place,
        driver=driver,
        num_gpus=num_gpus,
        unit=unit,
        price=round(price, 4),
        bid_share=rng.uniform(0.35, 0.7),
        storage_cost=storage_cost,
        disk_space=round(num_gpus * rng.uniform(90, 900) * (2.0 if datacenter else 1.0), 1),
        reliability=reliability,
        term=rng.choice([0.3, 2, 5, 10, 20, 40, 80, 150, 300]) * DAY * rng.uniform(0.7, 1.3),
        price_period=rng.uniform(2, 12) * HOUR,
        bid_period=rng.uniform(0.3, 1.5) * HOUR,
        slot_period=rng.uniform(1, 12) * HOUR,
        online_period=rng.uniform(8, 60) * HOUR,
        busy=rng.choice([0.1, 0.2, 0.3, 0.45, 0.6]),
        verified=verified,
        facts=_facts(rng, model, place, driver, num_gpus, datacenter, inet_up, inet_down, static_ip)
        | {
            "machine_id": machine_id,
            "verification": "verified" if verified else "unverified",
            "vericode": 1 if verified else 0,
            "reliability": reliability,
            "reliability2": reliability,
            "reliability_mult": round(min(1.0, reliability * 1.01), 6),
            "expected_reliability": round(max(0.0, reliability - 0.0005), 7),
            "storage_cost": storage_cost,
            "direct_port_count": rng.choice([0, 2, 20, 50, 100, 250, 250]),
        },
    )


def _facts(
    rng: Random,
    model: Model,
    place: Place,
    driver: Driver,
    num_gpus: int,
    datacenter: bool,
    inet_up: float,
    inet_down: float,
    static_ip: bool,
) -> dict[str, Any]:
    servers = datacenter or num_gpus > 2
    cpu = ARM_CPU if model.name.startswith("GH200") else rng.choice([c for c in CPUS if c.server == servers])
    sockets = 2 if servers and num_gpus >= 8 and cpu.arch == "amd64" else 1
    disk_name, disk_bw = rng.choice(DISKS)
    per_byte = rng.choice([0.0, 0.0013, 0.003, 0.005, 0.01, 0.02])
    lanes = 16 if servers or num_gpus == 1 else 8
    pcie = model.pci if servers else min(model.pci, 4.0)
    memory = max(16, num_gpus * rng.choice([16, 32, 48, 64, 128] if not datacenter else [64, 128, 192, 256]))
    return {
        "resource_type": "gpu",
        "hostname": None,
        "cluster_id": None,
        "gpu_name": model.name,
        "gpu_arch": model.arch,
        "gpu_lanes": lanes,
        "gpu_display_active": not servers and rng.random() < 0.15,
        "gpu_ram": model.memory_mib,
        "gpu_mem_bw": round(model.bandwidth * rng.uniform(0.86, 0.98), 1),
        "gpu_max_power": float(model.power),
        "gpu_max_temp": rng.choice([83.0, 88.0, 90.0, 93.0]),
        "bw_nvlink": model.nvlink if num_gpus > 1 else 0.0,
        "pci_gen": pcie,
        "pcie_bw": round(pcie * lanes / 16 * rng.uniform(5.4, 6.4), 1),
        "compute_cap": model.compute_cap,
        "cuda_max_good": driver.cuda if model.arch == "nvidia" else None,
        "driver_version": driver.version,
        "driver_vers": driver_number(driver.version),
        "cpu_name": cpu.name,
        "cpu_arch": cpu.arch,
        "cpu_ghz": cpu.ghz,
        "cpu_cores": cpu.threads * sockets,
        "cpu_ram": memory * 1024 - rng.randrange(600),
        "has_avx": 1 if cpu.arch == "amd64" else 0,
        "disk_bw": round(disk_bw * rng.uniform(0.4, 1.0), 1),
        "disk_name": disk_name,
        "nw_disk_min_bw": None,
        "nw_disk_max_bw": None,
        "nw_disk_avg_bw": None,
        "inet_up": inet_up,
        "inet_down": inet_down,
        "inet_up_cost": per_byte,
        "inet_down_cost": round(per_byte * rng.choice([0.5, 1.0, 1.0]), 5),
        "internet_up_cost_per_tb": round(per_byte * 1024, 4),
        "internet_down_cost_per_tb": round(per_byte * 1024, 4),
        "is_vm_deverified": False,
        "geolocation": place.text,
        "geolocode": place.code,
        "country_code": place.country,
        "hosting_type": 1 if datacenter else 0,
        "external": rng.choice([False, False, None]),
        "public_ipaddr": f"{place.prefix}.{rng.randrange(256)}.{rng.randrange(1, 255)}",
        "static_ip": static_ip,
        "os_version": rng.choice(["20.04", "22.04", "22.04", "24.04"]),
        "mobo_name": rng.choice(BOARDS),
        "vms_enabled": rng.random() < 0.1,
        "avail_vol_ask_id": None,
        "avail_vol_dph": None,
        "avail_vol_size": None,
        "logo": "/static/logos/vastai_small2.png",
        "webpage": None,
    }
