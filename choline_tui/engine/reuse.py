"""A run on a machine that was kept: which one is meant, whether it may, and how it is handed over.

Nothing is searched and nothing rented. The new run, its attempt and the rental's new owner are written in
one commit, so that a rental has one run at a time, whatever happens to the engine.
"""

from collections.abc import Mapping
from dataclasses import replace

from choline_tui.config.paths import Paths
from choline_tui.engine.ledger import Batch
from choline_tui.engine.planning import Draft, draft
from choline_tui.kernel.errors import NotFound, UsageError
from choline_tui.model.environment import Environment
from choline_tui.model.request import RunRequest
from choline_tui.model.run import Attempt, AttemptState, Rental, RentalState, Run, RunState
from choline_tui.store import Store

__all__ = ["check_free", "draft_on", "find_kept", "hand_over"]


def find_kept(store: Store, target: str) -> Rental:
    """The rental meant by its id, its contract, its label, or a run that has or had it. Raises NotFound."""
    rentals = store.rentals()
    for rental in rentals:
        if target in (rental.id, rental.label) or (rental.contract and target == str(rental.contract)):
            return rental
    try:
        run = store.find_run(target)
    except NotFound as error:
        if "more than one" in error.message:
            raise
        raise NotFound(
            f"this home has no machine and no run {target[:100]!r}",
            hint="'choline rentals' lists them; only a machine that this home rented can be used.",
        ) from None
    found = [*store.rentals_had(run.id), *store.rentals(run=run.id)]
    live = [r for r in found if r.live and r.state is not RentalState.RELEASING]
    if found:
        return (live or found)[-1]
    raise NotFound(f"run {run.id} has had no machine", hint="'choline rentals' lists those there are.")


def check_free(store: Store, rental: Rental, now: float) -> Run:
    """The run that had it last. Raises UsageError when another run cannot have it."""
    owner = store.run(rental.run)
    name, state = f"rental {rental.id}", rental.state
    if state is RentalState.GONE or state is RentalState.RELEASING:
        raise UsageError(
            f"{name} is {'gone' if state is RentalState.GONE else 'being destroyed'}: "
            f"{rental.release_reason or 'it ended'}",
            hint="'choline run --keep 30m' keeps a machine after its run.",
        )
    if owner.live:
        raise UsageError(
            f"{name} is busy: run {owner.id} is on it ({owner.state})",
            hint=f"It is free when that run has ended, if it is kept then; 'choline push {owner.id}' sends "
            "changed code to it now.",
        )
    if state is not RentalState.HELD or not owner.results_complete:
        raise UsageError(
            f"{name} cannot be used: it is {state}, and the results of run {owner.id} are not all home",
            hint=f"'choline pull {owner.id}' brings them.",
        )
    if rental.keep_until is not None and now >= rental.keep_until:
        raise UsageError(f"{name} was kept until now, and goes", hint="Give the next run a longer --keep.")
    if rental.stopped_since is not None:
        raise UsageError(
            f"{name} was stopped at the market: its GPU is not there",
            hint=f"'choline destroy {rental.id}' ends it.",
        )
    if rental.stranger or rental.seen is None or not rental.price_checked or rental.price is None:
        raise UsageError(
            f"{name} cannot be used: it is not known well enough (host key, address or price)",
            hint=f"'choline destroy {rental.id}' ends it.",
        )
    return owner


_RENTING = {"gpu": "--gpu", "query": "--query", "offer": "--offer", "machine_id": "--machine-id",
            "bid": "--bid", "premium": "--premium", "wait_s": "--wait"}  # fmt: skip


def _check_words(request: RunRequest, rental: Rental) -> None:
    said = [flag for name, flag in _RENTING.items() if getattr(request, name) not in ("", None)]
    if request.like and request.like_what == "machine":
        said.append("--like")
    if request.type and request.type != rental.type:
        said.append("--type")
    if said:
        raise UsageError(
            f"{said[0]} says what to rent, and --on {request.on} rents nothing",
            hint="Leave one of them out.",
        )


def _check_driver(rental: Rental, environment: Environment | None) -> None:
    needs = environment.needs_cuda if environment is not None else ""
    if not needs or rental.cuda is None or rental.cuda + 1e-6 >= float(needs):
        return
    raise UsageError(
        f"rental {rental.id} has a driver for CUDA {rental.cuda:.1f}, and the packages need {needs}",
        hint="Without --on a machine with such a driver is rented.",
    )


def draft_on(
    request: RunRequest,
    paths: Paths,
    environ: Mapping[str, str],
    rental: Rental,
    owner: Run,
    like: Run | None,
) -> Draft:
    """``owner``: the run that had the machine last; ``like``: the run that is repeated, if one is.

    Raises UsageError when what the run asks for is not what the machine is: another image, a larger disk,
    a newer driver, ports that were not opened, a cap below its price. Else as ``draft``.
    """
    _check_words(request, rental)
    if like is None:
        asked, model = request.model_copy(update={"like_what": "machine"}), owner
    else:
        asked, model = request, like
    made, settings = draft(asked, paths, environ, model, rental)
    plan = made.plan
    wanted_disk = request.disk
    if wanted_disk is None:
        wanted_disk = made.project.overrides().get("disk") if like is None and made.project else plan.disk_gb
    if plan.image != owner.plan.image:
        raise UsageError(
            f"rental {rental.id} runs the image {owner.plan.image or 'of its offer'!s}, and this run wants "
            f"{plan.image}",
            hint=f"--image {owner.plan.image} runs it there all the same; without --on another is rented.",
        )
    if wanted_disk is not None and wanted_disk > rental.disk_gb:
        raise UsageError(
            f"rental {rental.id} has {rental.disk_gb:g} GB of disk, and this run wants {wanted_disk:g} GB",
            hint=f"--disk {rental.disk_gb:g} runs it there all the same; without --on another is rented.",
        )
    _check_driver(rental, plan.environment)
    closed = [port for port in request.ports if port not in owner.plan.ports]
    if closed:
        raise UsageError(
            f"port {closed[0]} is not open on rental {rental.id}: ports are opened when a machine is rented",
            hint="'choline forward' reaches any port without one.",
        )
    price = rental.price if rental.price is not None else rental.offer_price
    if request.max_price is not None:
        cap = request.max_price
    elif like is not None:
        cap = like.plan.cap
    else:
        cap = settings.run.max_price or price
    if price > cap * (1 + 1e-6):
        raise UsageError(
            f"rental {rental.id} costs ${price:.4f}/h, above the cap of ${cap:.4f}/h",
            hint=f"--max-price {price:.4f} would take it.",
        )
    plan = plan.but(
        on=rental.id,
        query=owner.plan.query,
        machine_id=owner.plan.machine_id,
        offer_id=None,
        type=rental.type,
        bid=None,
        disk_gb=rental.disk_gb,
        ports=owner.plan.ports,
        cap=cap,
    )
    return replace(made, plan=plan, query=replace(made.query, warnings=()), premium=0.0, capped=True)


def hand_over(batch: Batch, store: Store, run: Run, rental: Rental, now: float) -> None:
    """Into ``batch``: the run, its attempt on the machine, and the machine as its own from now on.
    Raises UsageError as ``check_free``: what was free may not be any more."""
    rental = store.rental(rental.id)
    owner = check_free(store, rental, now)
    price = rental.price if rental.price is not None else rental.offer_price
    batch.add_run(run, f"asked for, on rental {rental.id} at ${price:.4f}/h; nothing is rented")
    attempt = Attempt(run=run.id, n=1, rental=rental.id, created=now, state=AttemptState.PREPARING)
    batch.add_attempt(attempt, f"attempt 1 on the machine that run {owner.id} left")
    batch.hand_over(
        rental.id,
        attempt,
        f"taken over from run {owner.id}: {rental.num_gpus}x {rental.gpu_name}, contract {rental.contract}",
        state=RentalState.UP,
        keep_until=None,
        cap=run.plan.cap,
        deadline=now + run.plan.max_life_s,
        next_look=now,
    )
    batch.run(run.id, "preparing", state=RunState.PREPARING, reason="")
