"""Which offer to rent: pure, from a page of offers, a plan and what is known of machines."""

from collections.abc import Container, Iterable

from choline_tui.model.conditions import Query
from choline_tui.model.offer import Offer
from choline_tui.model.price import bid_for
from choline_tui.model.query import parse_query
from choline_tui.model.run import Plan

__all__ = ["choose", "gpu_matches", "plan_price", "plan_query"]


def plan_query(plan: Plan) -> Query:
    """The search a plan stands for, cheapest first."""
    return parse_query(plan.query, order=plan.order, type=plan.type, disk_gb=plan.disk_gb)


def plan_price(offer: Offer, plan: Plan) -> tuple[float, float | None] | None:
    """($/h at the plan's disk, bid $/h or None) if the offer fits under the plan's cap, else None."""
    if plan.type == "interruptible":
        bid = bid_for(offer, plan.cap, plan.disk_gb, plan.bid)
        if bid is None:
            return None
        return bid + plan.disk_gb * (offer.storage_cost or 0.0) / 720, bid
    price = offer.price_at(plan.disk_gb)
    return None if price is None or price > plan.cap * (1 + 1e-9) else (price, None)


def choose(offers: Iterable[Offer], plan: Plan, refused: Container[int], gone: Container[int]) -> list[Offer]:
    """Offers to try, in the page's order: under the cap, asked for, on machines not refused."""
    found = []
    for offer in offers:
        if offer.id in gone or (offer.machine_id is not None and offer.machine_id in refused):
            continue
        if plan.offer_id is not None and offer.id != plan.offer_id:
            continue
        if plan.machine_id is not None and offer.machine_id != plan.machine_id:
            continue
        if plan_price(offer, plan) is not None:
            found.append(offer)
    return found


def gpu_matches(offered: str, reported: str) -> bool:
    """Whether a card the driver reports can be the one offered.

    The market writes ``RTX 4070S Ti``, ``H100 SXM``; nvidia-smi writes ``NVIDIA GeForce RTX 4070 Ti
    SUPER``, ``NVIDIA H100 80GB HBM3``. Both have the model's number with the letters before it in common.
    """
    model = _model_number(offered)
    return model is None or model in reported.upper().replace(" ", "").replace("-", "")


def _model_number(name: str) -> str | None:
    for word in name.upper().replace("-", " ").split():
        start = next((i for i, c in enumerate(word) if c.isdigit()), None)
        if start is None:
            continue
        end = start
        while end < len(word) and word[end].isdigit():
            end += 1
        if end - start >= 2 or start > 0:
            return word[:end]
    return None
