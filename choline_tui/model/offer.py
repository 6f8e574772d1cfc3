"""Offers as the market lists them, and a page of them.

Units are the market's: $ per hour for the whole offer, MB of RAM, Mbit/s of network, MB/s of disk,
GB of disk, $ per GB and month of 720 h for storage, $ per GB for network bytes, epoch s.
"""

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from choline_tui.kernel.errors import MarketDown
from choline_tui.model.conditions import Query
from choline_tui.model.market_types import Count, Foreign, Id, Num, RentalType, Text, foreign_json, salvage

__all__ = ["HOURS_PER_MONTH", "Offer", "OfferPage", "decode_offers", "read_page"]

HOURS_PER_MONTH = 720.0
"""Vast's month for storage prices: 30 days of 24 h."""


class Offer(Foreign):
    """One rentable slice. Every field but ``id`` may be None: unknown."""

    id: Id
    ask_contract_id: Count = None
    bundle_id: Count = None
    machine_id: Count = None
    host_id: Count = None
    cluster_id: Count = None
    hostname: Text = None
    resource_type: Text = None
    is_bid: bool | None = None
    """the answer to a search for interruptible offers"""
    rentable: bool | None = None
    rented: bool | None = None
    external: bool | None = None

    num_gpus: Count = None
    gpu_name: Text = None
    gpu_arch: Text = None
    gpu_frac: Num = None
    gpu_lanes: Count = None
    gpu_display_active: bool | None = None
    gpu_ram: Num = None
    """MB of each GPU"""
    gpu_total_ram: Num = None
    gpu_mem_bw: Num = None
    """GB/s"""
    gpu_max_power: Num = None
    """W"""
    gpu_max_temp: Num = None
    """degrees C"""
    bw_nvlink: Num = None
    pci_gen: Num = None
    pcie_bw: Num = None
    total_flops: Num = None
    """TFLOPS of all GPUs"""
    flops_per_dphtotal: Num = None
    dlperf: Num = None
    dlperf_per_dphtotal: Num = None
    score: Num = None
    compute_cap: Count = None
    """CUDA compute capability x 100"""
    cuda_max_good: Num = None
    driver_version: Text = None
    driver_vers: Count = None

    cpu_name: Text = None
    cpu_arch: Text = None
    cpu_ghz: Num = None
    cpu_cores: Num = None
    """threads of the whole machine"""
    cpu_cores_effective: Num = None
    """threads of this slice"""
    cpu_ram: Num = None
    """MB of the whole machine"""
    has_avx: bool | None = None
    mobo_name: Text = None
    os_version: Text = None

    disk_space: Num = None
    disk_bw: Num = None
    disk_name: Text = None
    inet_up: Num = None
    inet_down: Num = None
    inet_up_cost: Num = None
    inet_down_cost: Num = None
    public_ipaddr: Text = None
    static_ip: bool | None = None
    direct_port_count: Count = None

    storage_cost: Num = None
    storage_total_cost: Num = None
    dph_base: Num = None
    dph_total: Num = None
    min_bid: Num = None
    vram_costperhour: Num = None
    discount_rate: Num = None
    credit_discount_max: Num = None

    duration: Num = None
    """s until the host's end date"""
    start_date: Num = None
    end_date: Num = None
    reliability: Num = None
    reliability2: Num = None
    expected_reliability: Num = None
    reliability_mult: Num = None
    verification: Text = None
    vericode: Count = None
    is_vm_deverified: bool | None = None
    vms_enabled: bool | None = None
    geolocation: Text = None
    geolocode: Count = None
    hosting_type: Count = None
    """0 consumer, 1 datacenter"""
    avail_vol_ask_id: Count = None
    avail_vol_dph: Num = None
    avail_vol_size: Num = None
    nw_disk_min_bw: Num = None
    nw_disk_max_bw: Num = None
    nw_disk_avg_bw: Num = None

    @property
    def gpus(self) -> str:
        """As people say it: ``2x RTX 4090``."""
        count = "?" if self.num_gpus is None else str(self.num_gpus)
        return f"{count}x {self.gpu_name or 'unknown GPU'}"

    @property
    def type(self) -> RentalType:
        return "interruptible" if self.is_bid else "on-demand"

    @property
    def gpu_per_hour(self) -> float | None:
        """$/h without disk: the base price, or the lowest bid that wins now; None: not listed."""
        if self.is_bid:
            return self.min_bid
        if self.dph_base is None and self.dph_total is not None and self.storage_total_cost is not None:
            return self.dph_total - self.storage_total_cost
        return self.dph_base

    def disk_per_hour(self, disk_gb: float) -> float | None:
        """$/h of a disk of ``disk_gb``, running or stopped."""
        return None if self.storage_cost is None else disk_gb * self.storage_cost / HOURS_PER_MONTH

    def price_at(self, disk_gb: float) -> float | None:
        """Hourly price ($/h) with a disk of ``disk_gb``, to 1e-6; None when the market does not say."""
        gpu, disk = self.gpu_per_hour, self.disk_per_hour(disk_gb)
        return None if gpu is None or disk is None else round(gpu + disk, 6)

    @property
    def cpu_share(self) -> float | None:
        """This slice's part of the machine, 0 to 1: by threads, else by GPUs."""
        if self.cpu_cores_effective is not None and self.cpu_cores:
            return min(1.0, max(0.0, self.cpu_cores_effective / self.cpu_cores))
        return self.gpu_frac

    @property
    def ram_share(self) -> float | None:
        """MB of RAM of this slice: ``cpu_ram`` is that of the whole machine."""
        share = self.cpu_share
        return None if self.cpu_ram is None or share is None else self.cpu_ram * share

    @property
    def has_direct_ports(self) -> bool:
        """SSH need not go through the market's proxy."""
        return bool(self.direct_port_count and self.direct_port_count > 0)

    @property
    def country(self) -> str | None:
        """Two-letter code out of ``geolocation`` ("Texas, US")."""
        code = (self.geolocation or "").rpartition(",")[2].strip()
        return code.upper() if len(code) == 2 and code.isascii() and code.isalpha() else None

    @property
    def trust(self) -> float | None:
        """Reliability 0 to 1, under either of its names."""
        return self.reliability if self.reliability is not None else self.reliability2


class _Answer(Foreign):
    success: Any = None
    offers: list[Offer]


@dataclass(frozen=True)
class OfferPage:
    """What one search said. ``raw`` is the server's JSON, for a cache that loses nothing."""

    offers: tuple[Offer, ...]
    seen_at: float
    """epoch s"""
    disk_gb: float
    type: RentalType
    complete: bool
    """nothing that matches was left out"""
    raw: bytes = field(default=b"", repr=False, compare=False)
    listed: int = 0
    """rows in the server's answer, before the filter was applied again here"""
    skipped: int = 0
    """rows that could not be read"""


def read_page(raw: bytes, query: Query, seen_at: float) -> OfferPage:
    """The page that the answer ``raw`` to ``query`` holds, from the network or from a cache: each id
    once, filtered again, in the query's order. Raises MarketDown when it is not such an answer."""
    rows, skipped = decode_offers(raw)
    bid = query.type == "interruptible"
    unique = {each.id: each for each in rows}
    # the search's type decides which price holds, whatever a row says of itself
    offers = (
        each if each.is_bid is bid else each.model_copy(update={"is_bid": bid}) for each in unique.values()
    )
    return OfferPage(
        offers=tuple(each for each in offers if query.matches(each)),
        seen_at=seen_at,
        disk_gb=query.disk_gb,
        type=query.type,
        complete=skipped == 0 and len(rows) < query.page_size,
        raw=raw,
        listed=len(rows) + skipped,
        skipped=skipped,
    )


def decode_offers(raw: bytes) -> tuple[list[Offer], int]:
    """The rows of a search's answer ``{"offers": [...]}`` and how many of them were unreadable. Raises
    MarketDown when it is not such an answer, or one that reports a failure."""
    try:
        answer = _Answer.model_validate_json(raw)
    except (ValidationError, RecursionError):
        return _decode_slowly(raw)
    if answer.success is False:
        raise MarketDown("the market's answer to a search reports a failure")
    return answer.offers, 0


def _decode_slowly(raw: bytes) -> tuple[list[Offer], int]:
    try:
        answer: Any = foreign_json(raw)
    except ValueError:
        raise MarketDown("the market's list of offers is cut or malformed") from None
    rows = answer.get("offers") if isinstance(answer, dict) and answer.get("success") is not False else None
    if not isinstance(rows, list):
        raise MarketDown("the market's answer to a search has no list of offers")
    offers = [offer for offer in (salvage(Offer, row) for row in rows) if offer is not None]
    return offers, len(rows) - len(offers)
