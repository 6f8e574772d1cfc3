"""Everything the account has on the market, beside what this home knows: ours, other, orphan."""

from typing import Any

from choline_tui.model.label import read_label
from choline_tui.model.run import Rental
from choline_tui.places.base import Listing
from choline_tui.store import Store

__all__ = ["market_rows"]


def market_rows(
    store: Store, home: str, listing: Listing | None, now: float, trouble: str
) -> list[dict[str, Any]]:
    """One row a rental that is not gone and one a contract; ``trouble``: why there is no listing."""
    rentals = store.rentals(live=True)
    by_contract = {r.contract: r for r in rentals if r.contract is not None}
    runs = store.run_ids()
    rows = []
    seen: set[int] = set()
    for instance in listing.instances if listing is not None else ():
        seen.add(instance.id)
        label = read_label(instance.label)
        ours = by_contract.get(instance.id)
        if ours is not None or (label is not None and label.home == home and label.run in runs):
            whose = "ours"
        elif label is not None and label.home == home:
            whose = "orphan"
        else:
            whose = "other"
        row = _row(ours, now) if ours is not None else {}
        row |= {
            "whose": whose,
            "contract": instance.id,
            "label": instance.label,
            "status": instance.actual_status,
            "gpu": f"{instance.num_gpus or '?'}x {instance.gpu_name or 'unknown'}",
            "price": instance.disk_per_hour if instance.is_stopped else instance.total_per_hour,
            "listed": True,
        }
        if ours is None:
            row |= {"rental": None, "run": label.run if label else None, "state": None, "reason": ""}
            row |= {"since": instance.start_date, "cost": None, "keep_until": None, "past": []}
        rows.append(row)
    for rental in rentals:
        if rental.contract is None or rental.contract not in seen:
            rows.append(
                _row(rental, now)
                | {"whose": "ours", "listed": False if listing is not None else None, "trouble": trouble}
            )
    return rows


def _row(rental: Rental, now: float) -> dict[str, Any]:
    return {
        "rental": rental.id,
        "run": rental.run,
        "contract": rental.contract,
        "label": rental.label,
        "state": str(rental.state),
        "status": rental.seen.status if rental.seen else None,
        "price": rental.disk_per_hour if rental.stopped_since is not None else rental.price,
        "gpu": f"{rental.num_gpus}x {rental.gpu_name}",
        "since": rental.billed_from,
        "cost": rental.cost_until(now),
        "keep_until": rental.keep_until,
        "past": [stay.run for stay in rental.past],
        "reason": rental.trouble or rental.release_reason,
    }
