"""How long 5,000 offers take to become models, against json.loads of the same bytes (aim: within 6x).

Run: ``python -m tests.bench.bench_decode [--quick]``.
"""

import json
import random
import time

from choline_tui.model.market_types import GPU_NAMES
from choline_tui.model.offer import decode_offers
from tests.bench.report import Figure, main

AIM = 6.0


def make(count: int = 5000, seed: int = 7) -> bytes:
    """A search's answer with ``count`` offers, every one with the fields the market sends."""
    rng = random.Random(seed)
    rows = []
    for n in range(count):
        gpus = rng.choice([1, 2, 4, 8])
        base = round(rng.uniform(0.05, 3.0) * gpus, 6)
        disk = 0.2 * 20 / 720
        price = {"gpuCostPerHour": base, "diskHour": disk, "totalHour": base + disk, "discountTotalHour": 0}
        rows.append(
            {
                "id": 10_000_000 + n,
                "ask_contract_id": 10_000_000 + n,
                "bundle_id": 900_000 + n,
                "bundled_results": None,
                "bw_nvlink": 0.0,
                "compute_cap": 890,
                "cpu_arch": "amd64",
                "cpu_cores": 128,
                "cpu_cores_effective": 16.0 * gpus,
                "cpu_ghz": 3.2,
                "cpu_name": "AMD EPYC 7763 64-Core Processor",
                "cpu_ram": 515_000,
                "credit_discount_max": 0.4,
                "cuda_max_good": 12.8,
                "direct_port_count": rng.randrange(300),
                "disk_bw": rng.uniform(500, 7000),
                "disk_name": "SAMSUNG MZQL23T8HCLS",
                "disk_space": rng.uniform(20, 4000),
                "dlperf": rng.uniform(10, 900),
                "dlperf_per_dphtotal": rng.uniform(10, 400),
                "dph_base": base,
                "dph_total": base + disk,
                "driver_version": "570.86.15",
                "driver_vers": 570086015,
                "duration": rng.uniform(1e4, 1e7),
                "end_date": 1_800_000_000.0,
                "external": None,
                "flops_per_dphtotal": rng.uniform(10, 400),
                "geolocation": rng.choice(["Sweden, SE", "Texas, US", "Quebec, CA"]),
                "geolocode": 1234567,
                "gpu_arch": "nvidia",
                "gpu_display_active": False,
                "gpu_frac": gpus / 8,
                "gpu_ids": list(range(gpus)),
                "gpu_lanes": 16,
                "gpu_max_power": 450.0,
                "gpu_max_temp": 90.0,
                "gpu_mem_bw": 1008.0,
                "gpu_name": rng.choice(GPU_NAMES),
                "gpu_ram": 24564,
                "gpu_total_ram": 24564 * gpus,
                "has_avx": 1,
                "host_id": rng.randrange(1, 90_000),
                "hosting_type": rng.choice([0, 1]),
                "hostname": None,
                "inet_down": rng.uniform(50, 9000),
                "inet_down_cost": 0.003,
                "inet_up": rng.uniform(50, 9000),
                "inet_up_cost": 0.003,
                "instance": price,
                "is_bid": False,
                "is_vm_deverified": False,
                "logo": "/static/logos/vastai_small2.png",
                "machine_id": rng.randrange(1, 90_000),
                "min_bid": base * 0.6,
                "mobo_name": "ROME2D32GM-2T",
                "num_gpus": gpus,
                "os_version": "22.04",
                "pci_gen": 4.0,
                "pcie_bw": 24.3,
                "public_ipaddr": "192.0.2.17",
                "reliability": rng.uniform(0.9, 1.0),
                "reliability2": rng.uniform(0.9, 1.0),
                "reliability_mult": 1.0,
                "rentable": True,
                "rented": False,
                "rn": 1,
                "score": rng.uniform(0, 900),
                "search": price,
                "start_date": 1_700_000_000.0,
                "static_ip": True,
                "storage_cost": 0.2,
                "storage_total_cost": disk,
                "time_remaining": "",
                "time_remaining_isbid": "",
                "total_flops": 82.6 * gpus,
                "vericode": 1,
                "verification": "verified",
                "vms_enabled": False,
                "vram_costperhour": 4.9e-05,
                "webpage": None,
            }
        )
    return json.dumps({"offers": rows}).encode()


def best(call: object, times: int = 5) -> float:
    """Shortest of ``times`` runs, s."""
    assert callable(call)
    shortest = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def measure(quick: bool) -> list[Figure]:
    count = 500 if quick else 5000
    raw = make(count)
    offers, skipped = decode_offers(raw)
    assert len(offers) == count and skipped == 0
    plain = best(lambda: json.loads(raw))
    models = best(lambda: decode_offers(raw))
    return [Figure(f"{count:,} offers decoded / json.loads", models, plain, AIM)]


if __name__ == "__main__":
    main(measure, __doc__)
