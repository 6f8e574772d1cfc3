"""Search and rent, one run at a time: the intent is on disk before the request, which is made once."""

import asyncio
import contextlib
import os
import shutil
from pathlib import Path

from choline_tui.engine.context import Context
from choline_tui.kernel.errors import (
    BadKey,
    BadRequest,
    CholineError,
    MarketDown,
    MissingScope,
    NoCredit,
    OfferGone,
    ProjectError,
    RateLimited,
    SpendLimit,
    StoreError,
    UnknownOutcome,
    UsageError,
)
from choline_tui.model.choose import choose, plan_price, plan_query
from choline_tui.model.label import make_label
from choline_tui.model.offer import Offer
from choline_tui.model.run import Attempt, AttemptState, Outcome, Rental, RentalState, Run, RunState

__all__ = ["acquire", "rehearse"]

OFFERS_AT_ONCE = 6
REMEMBER_MACHINES = 7 * 86400.0
LEAST_FREE = 64 << 20
"""bytes that must be free where the results go"""
HOPELESS = (NoCredit, SpendLimit, BadKey, MissingScope, BadRequest, UsageError)
"""clear refusals that the next offer would meet as well"""


async def acquire(ctx: Context, run_id: str) -> None:
    if (waiting := ctx.store.run(run_id)).plan.send:
        with contextlib.suppress(CholineError, OSError):
            # data is read once, and that may take long: nobody else's renting waits for it. What is wrong
            # with it is said below, when it is looked at again
            await ctx.items(waiting)
    async with ctx.renting:
        run = ctx.store.run(run_id)
        if run.want != "run" or any(a.live for a in ctx.store.attempts(run_id)):
            return
        try:
            # before any money is spent: can what is to be sent be had, and can results come home?
            await rehearse(ctx, run)
            login = await ctx.secrets.login(run)
            await ctx.place.ready()
            account = await ctx.place.account()
            page = await ctx.book.search(plan_query(run.plan), fresh=0, for_rent=True)
        except (*HOPELESS, StoreError) as error:
            _give_up(ctx, run, error)
            return
        except RateLimited as error:
            _later(ctx, run, float(error.details.get("until", ctx.clock.time() + 60)), error.message)
            return
        except CholineError as error:
            _later(ctx, run, ctx.clock.time() + 2 * ctx.timing.retry, error.message)
            return
        failed = {r.machine_id for r in ctx.store.rentals(run=run_id) if r.failed and r.machine_id}
        refused = failed | set(ctx.store.refused_machines(ctx.clock.time() - REMEMBER_MACHINES))
        gone: set[int] = set()
        for offer in choose(page.offers, run.plan, refused, gone)[:OFFERS_AT_ONCE]:
            try:
                # not between the intent and the request: the user may stop the run while this waits
                await ctx.place.may_rent()
            except RateLimited as error:
                _later(ctx, run, float(error.details.get("until", ctx.clock.time() + 15)), error.message)
                return
            run = ctx.store.run(run_id)
            if run.want != "run" or not run.live:
                return
            if not await _rent(ctx, run, offer, account, login.reveal() if login else None):
                return
            gone.add(offer.id)
        _nothing(ctx, ctx.store.run(run_id), len(page.offers))


def _nothing(ctx: Context, run: Run, seen: int) -> None:
    now = ctx.clock.time()
    ends = [a.ended or 0.0 for a in ctx.store.attempts(run.id) if a.outcome is not Outcome.MISSED]
    since = max([run.created, ctx.secrets.completed(run.id), *ends])
    what = (
        f"{seen} offers match, none under ${run.plan.cap:.4f}/h that may be taken"
        if seen
        else "no offer matches"
    )
    if not 0 <= now - since < run.plan.wait_s:
        text = f"{what}; looked for {run.plan.wait_s / 60:.0f} minutes"
        ctx.ledger.run(run.id, state=RunState.ENDED, outcome=Outcome.ERROR, reason=text, ended=now)
    else:
        _later(ctx, run, now + ctx.timing.no_offer, what)


async def rehearse(ctx: Context, run: Run) -> None:
    """Raises UsageError or StoreError, with what to do, for what would fail on every machine."""
    into = Path(run.plan.results_into)
    try:
        for item in await ctx.items(run):
            for path in (Path(item.base), *(Path(item.base, os.fsdecode(f)) for f in item.files or ())):
                if not os.path.lexists(path):
                    raise ProjectError(
                        f"what is to be sent is not there any more: {path}",
                        hint="Put it back, or change 'send' in choline.toml, and start the run again.",
                    )
        into.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(into).free
    except OSError as error:
        raise ProjectError(f"on this computer: {error}", hint="Nothing was rented; mend it first.") from error
    if free < LEAST_FREE:
        raise ProjectError(
            f"only {free >> 20} MiB are free in {into}, where the results go",
            hint="Nothing was rented; make room first.",
        )


def _later(ctx: Context, run: Run, when: float, why: str) -> None:
    ctx.ledger.run(
        run.id, None if run.reason == why else why, state=RunState.WAITING, not_before=when, reason=why
    )


def _give_up(ctx: Context, run: Run, error: CholineError) -> None:
    ctx.ledger.run(
        run.id,
        state=RunState.ENDED,
        outcome=Outcome.ERROR,
        reason=" ".join(filter(None, (error.message, error.hint))),
        ended=ctx.clock.time(),
    )


async def _rent(ctx: Context, run: Run, offer: Offer, account: str, login: str | None) -> bool:
    """Rent one offer. True: this offer is gone, try the next; False: done here, whatever came of it."""
    priced = plan_price(offer, run.plan)
    if priced is None:
        return True
    price, bid = priced
    now = ctx.clock.time()
    attempts = ctx.store.attempts(run.id)
    n = attempts[-1].n + 1 if attempts else 1
    rental = Rental(
        id=f"{run.id}-{n}",
        run=run.id,
        attempt=n,
        label=make_label(ctx.home, run.id, n),
        type=run.plan.type,
        offer_id=offer.id,
        machine_id=offer.machine_id,
        gpu_name=offer.gpu_name or "",
        num_gpus=int(offer.num_gpus or 0),
        cuda=offer.cuda_max_good,
        place_name=(offer.geolocation or "")[:60],
        offer_price=price,
        disk_gb=run.plan.disk_gb,
        disk_per_hour=run.plan.disk_gb * (offer.storage_cost or 0.0) / 720,
        cap=run.plan.cap,
        bid=bid,
        account=account,
        intended=now,
        deadline=now + run.plan.max_life_s,
    )
    words = f"{rental.num_gpus}x {rental.gpu_name} at ${price:.4f}/h ({rental.disk_gb:g} GB disk)"
    with ctx.ledger.batch() as batch:
        batch.add_attempt(Attempt(run=run.id, n=n, rental=rental.id, created=now), f"attempt {n}")
        batch.add_rental(rental, f"about to rent offer {offer.id}: {words}")
        batch.run(run.id, state=RunState.ACQUIRING, reason=f"renting {words}", phase="")
    ctx.crash_point("before rent")
    try:
        contract = await ctx.place.rent(run, run.plan, rental, offer, login)
    except OfferGone as error:
        return not _refused(ctx, run, rental, error, Outcome.MISSED)
    except HOPELESS as error:
        _refused(ctx, run, rental, error, Outcome.ERROR)
        _give_up(ctx, ctx.store.run(run.id), error)
        return False
    except RateLimited as error:
        # whoever answers so stands before the market, and may have passed the request on
        _unclear(ctx, rental, error.message)
        _later(ctx, run, float(error.details.get("until", ctx.clock.time() + 15)), error.message)
        return False
    except MarketDown as error:
        if error.details.get("sent") is False:
            _refused(ctx, run, rental, error, Outcome.MISSED)
            _later(ctx, run, ctx.clock.time() + 2 * ctx.timing.retry, error.message)
        else:
            _unclear(ctx, rental, error.message)
        return False
    except UnknownOutcome as error:
        _unclear(ctx, rental, error.message)
        return False
    except asyncio.CancelledError:
        _unclear(ctx, rental, "the engine stopped during the rent call")
        raise
    except Exception as error:
        _unclear(ctx, rental, f"unexpected: {error!r}"[:300])
        raise
    ctx.crash_point("after rent")
    ctx.ledger.rental(
        rental.id,
        f"rented: contract {contract}",
        state=RentalState.BOOTING,
        contract=contract,
        billed_from=ctx.clock.time(),
        price=price,
        next_look=ctx.clock.time() + min(1.0, ctx.timing.boot_poll),
    )
    return False


def _unclear(ctx: Context, rental: Rental, why: str) -> None:
    now = ctx.clock.time()
    ctx.ledger.rental(
        rental.id,
        f"the answer to the rent call is not clear ({why}); looking for its label",
        state=RentalState.UNKNOWN,
        next_look=now + 1.0,
        billed_from=now,
        price=rental.offer_price,
    )


def _refused(ctx: Context, run: Run, rental: Rental, error: CholineError, outcome: Outcome) -> bool:
    """A definite no. True when a contract was left behind all the same (it is destroyed first)."""
    now = ctx.clock.time()
    contract = error.details.get("contract")
    left = isinstance(contract, int)
    with ctx.ledger.batch() as batch:
        batch.attempt(
            run.id,
            rental.attempt,
            state=AttemptState.ENDED,
            # what left a contract behind counts as a try: it must not happen for ever
            outcome=Outcome.ERROR if left else outcome,
            reason=error.message,
            ended=now,
        )
        if left:
            batch.rental(
                rental.id,
                f"refused, but contract {contract} was made: destroying it",
                state=RentalState.RELEASING,
                contract=contract,
                billed_from=now,
                release_reason=error.message,
                failed=True,
            )
        else:
            batch.rental(rental.id, state=RentalState.GONE, release_reason=error.message, gone=now)
        batch.run(run.id, state=RunState.WAITING, reason=error.message)
    return left
