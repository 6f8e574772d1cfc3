"""A run on this computer: no rental, and nothing that bills. What stands where a rental's record would."""

from choline_tui.model.run import Plan, Rental, RentalState, Run

__all__ = ["FOR_EVER", "HERE", "is_here", "machine_here", "plan_here", "run_of"]

HERE = "here"
_MARK = f"{HERE}:"
FOR_EVER = 10 * 365 * 86400.0
"""s: the lease of a run here. Nothing bills, so nothing ends it for home's silence: a laptop that slept for a
night wakes with its runs alive."""


def is_here(rental: str) -> bool:
    """Whether an attempt's machine is this computer."""
    return rental.startswith(_MARK)


def run_of(rental: str) -> str:
    return rental.removeprefix(_MARK)


def machine_here(run: Run) -> Rental:
    """This computer, as the machine of that run: up, for nothing, without a deadline; never stored."""
    return Rental(
        id=_MARK + run.id,
        run=run.id,
        attempt=1,
        label="",
        state=RentalState.UP,
        offer_id=0,
        offer_price=0.0,
        price=0.0,
        price_checked=True,
        disk_gb=run.plan.disk_gb,
        cap=0.0,
        intended=run.created,
    )


def plan_here(plan: Plan) -> Plan:
    """The plan as it is carried out here: nothing can be rented by it, and no lease ends it."""
    return plan.but(
        place=HERE, on="", cap=0.0, bid=None, offer_id=None, ports=[], keep_s=0.0, lease_s=FOR_EVER
    )
