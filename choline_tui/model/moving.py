"""What bringing data to a machine takes, before it is rented. Pure; bytes, s, $."""

from dataclasses import dataclass

from choline_tui.model.offer import Offer

__all__ = ["TYPICAL_UP", "Moving", "moving"]

TYPICAL_UP = 50e6 / 8
"""bytes/s out of a home or an office, when nothing better is known: 50 Mbit/s"""
_MBIT = 1e6 / 8
_GB = 1e9


@dataclass(frozen=True)
class Moving:
    """None: the offer does not say."""

    send_s: float
    """sending from here, at ``TYPICAL_UP`` or what the machine takes, whichever is less"""
    fetch_s: float | None
    """the machine's own fetching, at the speed it is offered with"""
    traffic: float | None
    """$ for all of these bytes"""


def moving(offer: Offer, sent: int, fetched: int) -> Moving:
    down = offer.inet_down * _MBIT if offer.inet_down else None
    rate = TYPICAL_UP if down is None else min(TYPICAL_UP, down)
    fetch_s = 0.0 if not fetched else None if down is None else fetched / down
    price = offer.inet_down_cost
    return Moving(sent / rate, fetch_s, None if price is None else (sent + fetched) / _GB * price)
