"""Prices, caps, bids and costs. Pure; $ as floats, rounded to 1e-6 (a ten-thousandth of a cent).

Source of the arithmetic: the hourly price is that of the GPUs plus disk GB x $/GB/month / 720 h. Network
bytes are billed on top, in any state of a rental, and are never part of an hourly price.
"""

from dataclasses import dataclass
from math import ceil, floor, isfinite

from choline_tui.kernel.errors import UsageError
from choline_tui.model.offer import HOURS_PER_MONTH, Offer

__all__ = [
    "BID_OVER",
    "MAX_BID",
    "MIN_BID",
    "Cost",
    "bid_for",
    "cap_for",
    "cost",
    "disk_price",
    "hourly_price",
]

BID_OVER = 0.05
"""Part of the minimum bid put on top of it, unless told otherwise: the minimum itself loses first."""
MIN_BID = 0.001
MAX_BID = 128.0
"""$/h: bids that the market takes."""

_MICRO = 1_000_000
_SLACK = 1e-9
"""Binary fractions of a micro-dollar: 0.3 * 1e6 must not count as 299999.99999999994."""


def _down(dollars: float) -> float:
    return floor(dollars * _MICRO + _SLACK * _MICRO) / _MICRO


def _up(dollars: float) -> float:
    return ceil(dollars * _MICRO - _SLACK * _MICRO) / _MICRO


def _check(**numbers: float) -> None:
    for name, number in numbers.items():
        if not isfinite(number) or number < 0:
            raise UsageError(f"{name.replace('_', ' ')} must be a number of 0 or more, not {number}")


def disk_price(storage_cost: float, disk_gb: float) -> float:
    """$/h of a disk of ``disk_gb`` at ``storage_cost`` $/GB/month."""
    return round(disk_gb * storage_cost / HOURS_PER_MONTH, 6)


def hourly_price(gpu_per_hour: float, storage_cost: float, disk_gb: float) -> float:
    """$/h of GPUs and disk together."""
    return round(gpu_per_hour + disk_gb * storage_cost / HOURS_PER_MONTH, 6)


def cap_for(offer: Offer, premium_pct: float, disk_gb: float) -> float | None:
    """The cap ($/h): the offer's hourly price with this disk, plus ``premium_pct`` % of it, rounded up.
    None when the market does not say the price. Raises UsageError for a negative premium or disk."""
    _check(premium=premium_pct, disk=disk_gb)
    price = offer.price_at(disk_gb)
    return None if price is None else _up(price * (1 + premium_pct / 100))


def bid_for(offer: Offer, cap: float, disk_gb: float, override: float | None = None) -> float | None:
    """The bid ($/h, without disk) for an interruptible rental: the minimum plus 5 %, or ``override``;
    never above the cap less disk. None when not even the minimum fits under the cap, when ``override``
    is below the minimum (the market would create the rental stopped), or when the market does not say."""
    _check(cap=cap, disk=disk_gb)
    if override is not None:
        _check(bid=override)
    disk = offer.disk_per_hour(disk_gb)
    if disk is None or offer.min_bid is None or offer.min_bid < 0:
        return None
    least = max(offer.min_bid, MIN_BID)
    most = min(_down(cap - disk), MAX_BID)
    wanted = _up(least * (1 + BID_OVER)) if override is None else override
    bid = min(wanted, most)
    return bid if bid + _SLACK >= least else None


@dataclass(frozen=True)
class Cost:
    """All-in $ by part; None: the market does not say what this part costs."""

    gpu: float | None
    disk: float | None
    up: float | None
    """bytes out of the machine (results coming home)"""
    down: float | None
    """bytes into the machine (code, data, image, models)"""

    @property
    def total(self) -> float | None:
        """$; None when a part is unknown."""
        parts = (self.gpu, self.disk, self.up, self.down)
        known = [part for part in parts if part is not None]
        return round(sum(known), 6) if len(known) == len(parts) else None

    @property
    def known(self) -> float:
        """$ of the parts that are known: the total is at least this."""
        return round(sum(part or 0.0 for part in (self.gpu, self.disk, self.up, self.down)), 6)


def cost(
    offer: Offer,
    hours: float,
    gb_up: float = 0.0,
    gb_down: float = 0.0,
    disk_gb: float = 0.0,
    *,
    bid: float | None = None,
) -> Cost:
    """What ``hours`` of running would cost. Directions are the machine's: ``gb_up`` leaves it (to home),
    ``gb_down`` enters it. ``bid`` ($/h) replaces the GPU price. Raises UsageError for negative amounts."""
    _check(hours=hours, gb_up=gb_up, gb_down=gb_down, disk=disk_gb)
    gpu = offer.gpu_per_hour if bid is None else bid
    return Cost(
        gpu=_part(gpu, hours),
        disk=_part(offer.disk_per_hour(disk_gb), hours),
        up=_part(offer.inet_up_cost, gb_up),
        down=_part(offer.inet_down_cost, gb_down),
    )


def _part(price: float | None, amount: float) -> float | None:
    if amount == 0:
        return 0.0
    return None if price is None else round(price * amount, 6)
