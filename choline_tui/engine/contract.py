"""What is done about one rental's contract: find it again, watch it, keep evidence, destroy, verify."""

import asyncio
import re
from pathlib import Path

from choline_tui.engine.context import Context
from choline_tui.engine.ledger import Batch
from choline_tui.engine.second import ended_elsewhere
from choline_tui.kernel.errors import BadKey, CholineError, NotFound
from choline_tui.model.instance import Instance
from choline_tui.model.label import read_label
from choline_tui.model.run import Rental, RentalState, Seen
from choline_tui.places.base import Listing

__all__ = ["destroy", "evidence", "halt", "settle", "start", "sweep", "verify", "watch"]

MIN_LOOKS = 3
EVIDENCE_WITHIN = 30.0
MAX_EVIDENCE = 4 << 20
MAX_PUT_OFF = 600.0
STARTING = 600.0
"""s after a stop was seen in which the contract is looked at as often as one that boots"""
START_EVERY = 300.0
START_AT_MOST = 6 * 3600.0
"""Between two starts of a machine that came up and gave nothing: it bills its GPU each time."""


async def settle(ctx: Context, rental_id: str) -> None:
    """Look for the label in a complete listing: adopt the contract, or go on looking until it settles."""
    try:
        listing = await ctx.place.look(0.0)
    except CholineError as error:
        _put_off(ctx, rental_id, error)
        return
    rental = ctx.store.rental(rental_id)
    found = sorted((i for i in listing.instances if i.label == rental.label), key=lambda i: i.id)
    now = ctx.clock.time()
    if found:
        with ctx.ledger.batch() as batch:
            batch.rental(
                rental_id,
                f"found by its label: contract {found[0].id}",
                state=RentalState.BOOTING,
                contract=found[0].id,
                billed_from=rental.intended,
                price=rental.offer_price,
                looks=0,
                next_look=now,
                trouble="",
            )
            for extra in found[1:]:
                _second(batch, rental, extra.id)
        return
    looks = rental.looks + 1
    if looks >= MIN_LOOKS and now - rental.intended >= ctx.timing.settle:
        if not await _can_see(ctx, rental):
            return
        ctx.ledger.rental(
            rental_id,
            f"not in {looks} complete listings over {now - rental.intended:.0f} s: it was never rented",
            state=RentalState.GONE,
            release_reason="the rent call was never carried out",
            looks=looks,
            gone=now,
            price=None,
            cost=0.0,
            trouble="",
        )
    else:
        ctx.ledger.rental(rental_id, looks=looks, next_look=now + ctx.timing.settle_poll, trouble="")


def _second(batch: Batch, rental: Rental, contract: int) -> None:
    batch.add_rental(
        rental.but(
            id=f"{rental.id}x{contract}",
            label=f"{rental.label}#{contract}",
            state=RentalState.RELEASING,
            contract=contract,
            release_reason="a second contract with the same label",
            past=[],
            billed_from=rental.intended,
            price=rental.offer_price,
            gone=None,
            looks=0,
            next_look=0.0,
            failed=False,
            destroy_asked=None,
            destroy_accepted=None,
        ),
        f"a second contract {contract} with the same label: destroying it",
    )


async def _can_see(ctx: Context, rental: Rental) -> bool:
    """Whether a listing of this key would show the rental at all: before "missing" means "gone"."""
    try:
        here = await ctx.place.account()
        if not rental.account or not here or rental.account == here:
            return True
        error: CholineError = BadKey(
            f"it was rented with another account ({rental.account}) than this key's ({here})",
            hint="Start the engine with the key it was rented with; until then it may bill.",
        )
    except CholineError as asking:
        error = asking
    _put_off(ctx, rental.id, error)
    return False


def asking(ctx: Context) -> None:
    """A listing is about to be asked for."""
    ctx.live_when_asked = frozenset(rental.id for rental in ctx.store.rentals(live=True))


def sweep(ctx: Context, listing: Listing) -> None:
    """Contracts with our label whose rental was thought gone, or has another contract: nobody needs them
    and they bill, so they are destroyed. Whatever is there has not been missing, whoever asked."""
    _there(ctx, listing)
    ours = [i for i in listing.instances if (label := read_label(i.label)) and label.home == ctx.home]
    known = {r.label: r for r in ctx.store.rentals_labelled(i.label or "" for i in ours)}
    for instance in ours:
        rental = known.get(instance.label or "")
        if rental is None:
            continue
        if rental.live:
            if rental.contract is not None and rental.contract != instance.id:
                _sweep_second(ctx, rental, instance.id)
            continue
        if rental.id in ctx.live_when_asked:
            continue  # a picture from before it was gone
        ctx.ledger.rental(
            rental.id,
            f"contract {instance.id} with its label is there after all: destroying it",
            state=RentalState.RELEASING,
            contract=instance.id,
            release_reason=rental.release_reason or "found again",
            billed_from=rental.billed_from or rental.intended,
            price=rental.price or rental.offer_price,
            gone=None,
            looks=0,
            next_look=0.0,
            destroy_asked=None,
            destroy_accepted=None,
        )


def _there(ctx: Context, listing: Listing) -> None:
    """Listings without a contract count in a row only: one that shows it ends the row, for all lanes."""
    numbers, labels = {i.id for i in listing.instances}, {i.label for i in listing.instances}
    for rental in ctx.store.rentals(live=True):
        if rental.looks and (rental.contract in numbers or rental.label in labels):
            ctx.ledger.rental(rental.id, looks=0)


def _sweep_second(ctx: Context, rental: Rental, contract: int) -> None:
    for known in ctx.store.rentals_labelled([f"{rental.label}#{contract}"]):
        if known.live or known.id in ctx.live_when_asked:
            return
    with ctx.ledger.batch() as batch:
        _second(batch, rental, contract)


async def watch(ctx: Context, rental_id: str) -> None:
    """One look at the contract: its state, price, address; whether it vanished or was stopped."""
    rental = ctx.store.rental(rental_id)
    booting = rental.state is RentalState.BOOTING
    stands = rental.stopped_since is not None and ctx.clock.time() - rental.stopped_since < STARTING
    interval = ctx.timing.boot_poll if booting or stands else ctx.timing.watch
    try:
        # a second look at something missing must be another picture than the first
        listing = await ctx.place.look(0.0 if rental.looks else interval / 2)
    except CholineError as error:
        _put_off(ctx, rental_id, error)
        return
    asked_for, rental = rental.run, ctx.store.rental(rental_id)
    if rental.state not in (RentalState.BOOTING, RentalState.UP, RentalState.HELD):
        return
    if rental.run != asked_for:
        return  # it went on to another run meanwhile, whose engine lane looks for itself: a look counts once
    now = ctx.clock.time()
    instance = listing.contract(rental.contract)
    if instance is None:
        await _missing(ctx, rental, now)
        return
    seen = _seen(instance, listing.seen_at)
    changes: dict[str, object] = {"seen": seen, "looks": 0, "next_look": now + interval}
    text = None
    if seen.status != (rental.seen.status if rental.seen else None):
        text = f"the market says: {seen.status or 'provisioning'}" + (
            f" ({_short(seen.message)})" if seen.message else ""
        )
    stopped = instance.is_stopped
    if rental.running_since is not None:
        # one that ended by itself, or waits for its GPUs after a start, does nothing for us either
        stopped = stopped or instance.is_exited or (instance.is_queued and not instance.is_running)
    if not stopped:
        changes["trouble"] = ""  # why it cannot be started stays until it runs
    if stopped and rental.stopped_since is None:
        changes["stopped_since"] = now
        by = "and not by us" if rental.halted is None else "as home asked"
        text = f"stopped, {by}: its disk bills, its GPU does not"
    elif not stopped and rental.stopped_since is not None:
        changes |= {"stopped_since": None, "halted": None, "copy_at": 0.0, "copies": 0, "copy_trouble": ""}
        text = "running again"
        _reach_again(ctx, rental)
    if seen.price is not None and (not stopped or seen.price > rental.cap):
        # what stands may run at any moment, at this price
        if seen.price != rental.price:
            changes["price"] = seen.price
        if not rental.price_checked:
            changes["price_checked"] = True
            text = f"the contract costs ${seen.price:.4f}/h; the cap is ${rental.cap:.4f}/h"
    if seen.status == "running" and rental.running_since is None:
        changes["running_since"] = now
    if instance.fatal_message:
        changes["fatal_since"] = rental.fatal_since or now
    elif rental.fatal_since is not None:
        changes["fatal_since"] = None
    wrong = _wrong_type(rental, instance) if booting else ""
    if wrong:
        changes |= {
            "state": RentalState.RELEASING,
            "release_reason": wrong,
            "failed": True,
            "next_look": 0.0,
        }
    ctx.ledger.rental(rental_id, text, **changes)
    ctx.ledger.run(rental.run, phase=_phase(seen)) if booting else None


def _reach_again(ctx: Context, rental: Rental) -> None:
    """A machine that came back is tried at once, and its time out of reach begins anew."""
    for attempt in ctx.store.attempts(rental.run):
        if attempt.live and attempt.rental == rental.id and attempt.unreachable_since is not None:
            ctx.ledger.attempt(rental.run, attempt.n, retry_at=0.0, unreachable_since=None)


def _wrong_type(rental: Rental, instance: Instance) -> str:
    if rental.type == "interruptible" and instance.is_bid is False:
        return "rented on demand although a bid was sent"
    if rental.type == "on-demand" and instance.is_bid is True:
        return "rented as interruptible although no bid was sent"
    return ""


def _phase(seen: Seen) -> str:
    return " ".join(filter(None, (seen.status or "provisioning", _short(seen.message))))[:120]


async def _missing(ctx: Context, rental: Rental, now: float) -> None:
    if rental.seen is None and now - (rental.billed_from or rental.intended) < ctx.timing.settle:
        # just made: the listing may lag behind the rent call
        ctx.ledger.rental(rental.id, next_look=now + ctx.timing.boot_poll)
        return
    looks = rental.looks + 1
    # a machine that has work of ours on it is given up slowly: waiting costs nothing, a mistake does
    young = rental.up is not None and rental.seen is not None and now - rental.seen.at < ctx.timing.settle
    if looks < (MIN_LOOKS if rental.up is not None else 2) or young:
        gap = ctx.timing.settle_poll if rental.up is not None else ctx.timing.verify_gap
        ctx.ledger.rental(rental.id, looks=looks, next_look=now + gap)
        return
    if not await _can_see(ctx, rental):
        return
    if not await ended_elsewhere(ctx, rental):
        ctx.ledger.rental(rental.id, looks=looks, next_look=now + ctx.timing.watch)
        return
    known = ctx.store.rental(rental.id)
    if (known.looks, known.state, known.run) != (rental.looks, rental.state, rental.run):
        return  # while account and bucket were asked, another listing has shown it: it is not gone
    ctx.ledger.rental(
        rental.id,
        f"not in {looks} complete listings in a row: the contract is gone, and nobody of ours destroyed it",
        state=RentalState.GONE,
        release_reason="the contract vanished from the market (host, credit, or destroyed elsewhere)",
        looks=looks,
        gone=now,
    )


def _seen(instance: Instance, at: float) -> Seen:
    return Seen(
        at=at,
        status=instance.actual_status,
        message=(instance.status_msg or "")[:500],
        intended=instance.intended_status,
        address=[(a.host, a.port, a.user, a.kind) for a in instance.ssh_addresses()],
        price=instance.total_per_hour,
    )


def _short(text: str) -> str:
    return " ".join(re.sub(r"[^\x20-\x7e\n]", "?", text).split())[:80]


def _put_off(ctx: Context, rental_id: str, error: CholineError) -> None:
    """The market could not be asked: unknown, never none. Look again later."""
    now = ctx.clock.time()
    until = float(error.details.get("until", 0.0))
    wait = 60.0 if isinstance(error, BadKey) else 2 * ctx.timing.retry
    when = min(max(until, now + wait), now + MAX_PUT_OFF)
    words = " ".join(filter(None, (error.message, error.hint)))
    known = ctx.store.rental(rental_id).trouble == words
    ctx.ledger.rental(rental_id, None if known else words, next_look=when, trouble=words)


async def start(ctx: Context, rental_id: str) -> None:
    """Start a contract that was stopped, to reach what is on its disk."""
    rental = ctx.store.rental(rental_id)
    now = ctx.clock.time()
    stood = now - (rental.stopped_since or now)
    await ctx.sessions.drop(rental_id)
    try:
        if rental.contract is not None:
            await ctx.place.start(rental.contract)
    except CholineError as error:
        words = " ".join(filter(None, (f"cannot be started yet: {error.message}", error.hint)))
        ctx.ledger.rental(
            rental_id,
            None if rental.trouble == words else words,
            trouble=words,
            next_look=now + ctx.timing.boot_poll,
            start_at=now + min(START_EVERY, 15.0 + stood / 4),
        )
        return
    ctx.ledger.rental(
        rental_id,
        "asked the market to start it",
        trouble="",
        next_look=now + ctx.timing.boot_poll,
        starts=rental.starts + 1,
        start_at=now + min(START_AT_MOST, START_EVERY * 4.0 ** min(rental.starts, 6)),
    )


async def halt(ctx: Context, rental_id: str) -> None:
    """Have a contract stopped that nobody reaches and that did not stop itself; then look at it."""
    rental = ctx.store.rental(rental_id)
    await ctx.sessions.drop(rental_id)
    try:
        if rental.contract is not None:
            await ctx.place.stop(rental.contract)
    except NotFound:
        pass  # the listing tells whether it is gone
    except CholineError as error:
        _put_off(ctx, rental_id, error)
        return
    why = "its host key changed" if rental.stranger else "nobody reaches it"
    text = f"asked the market to stop it, because {why} and it does not end itself; its disk is kept"
    now = ctx.clock.time()
    ctx.ledger.rental(
        rental_id,
        text if rental.halted is None else None,
        halted=rental.halted or now,
        start_at=max(rental.start_at, now + START_EVERY),
        next_look=now + ctx.timing.boot_poll,
    )
    await watch(ctx, rental_id)


async def evidence(ctx: Context, rental_id: str) -> None:
    """Before a failed rental is destroyed: logs, status history, dmesg, nvidia-smi, as far as they go."""
    rental = ctx.store.rental(rental_id)
    into = ctx.files.evidence(rental.id, rental.run)
    found: dict[str, bytes] = {"rental.json": rental.model_dump_json(indent=1).encode()}
    try:
        async with asyncio.timeout(EVIDENCE_WITHIN):
            if rental.contract is not None:
                for name, daemon in (("container.log", False), ("daemon.log", True)):
                    try:
                        found[name] = (await ctx.place.logs(rental.contract, daemon=daemon)).encode(
                            errors="replace"
                        )
                    except CholineError as error:
                        found[name + ".error"] = error.message.encode()
            if rental.running_since is not None:
                session = await ctx.sessions.get(rental)
                found |= await session.evidence()
    except Exception as error:
        # whatever it is: it bills, and goes with less evidence
        found["incomplete.txt"] = f"not all evidence could be had: {error}".encode(errors="replace")
    try:
        _write_evidence(into, found)
        text = f"evidence kept: {', '.join(sorted(found))}"
    except OSError as error:
        text = f"the evidence could not be written: {error}"
    ctx.ledger.rental(rental_id, text, evidence=ctx.clock.time())


def _write_evidence(into: Path, found: dict[str, bytes]) -> None:
    into.mkdir(parents=True, exist_ok=True)
    for name, data in found.items():
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "unnamed"
        (into / safe).write_bytes(data[:MAX_EVIDENCE])


async def destroy(ctx: Context, rental_id: str) -> None:
    rental = ctx.store.rental(rental_id)
    await ctx.sessions.drop(rental_id)
    now = ctx.clock.time()
    if rental.contract is None:
        if rental.billed_from is not None:  # nobody knows yet whether there is one
            ctx.ledger.rental(rental_id, "looking for its label", state=RentalState.UNKNOWN, next_look=now)
            return
        ctx.ledger.rental(rental_id, "there was no contract", state=RentalState.GONE, gone=now)
        return
    text = f"destroying contract {rental.contract}" if rental.destroy_asked is None else None
    ctx.ledger.rental(rental_id, text, destroy_asked=now)
    ctx.crash_point("before destroy")
    try:
        await ctx.place.destroy(rental.contract)
    except CholineError as error:
        # it may have worked; the listing will tell, and it is asked again
        _put_off(ctx, rental_id, error)
        return
    ctx.crash_point("after destroy")
    now = ctx.clock.time()
    ctx.ledger.rental(rental_id, destroy_accepted=now, destroy_asked=now, looks=0, next_look=now, trouble="")


async def verify(ctx: Context, rental_id: str) -> None:
    """Gone means: missing from two complete listings in a row."""
    try:
        listing = await ctx.place.look(0.0)
    except CholineError as error:
        _put_off(ctx, rental_id, error)
        return
    rental = ctx.store.rental(rental_id)
    now = ctx.clock.time()
    there = [i for i in listing.instances if i.id == rental.contract or i.label == rental.label]
    if there:
        other = next((i.id for i in there if i.id != rental.contract), None)
        changes: dict[str, object] = {"looks": 0, "next_look": now + ctx.timing.retry, "trouble": ""}
        if other is not None and all(i.id != rental.contract for i in there):
            changes |= {"contract": other, "destroy_asked": None, "destroy_accepted": None}
        ctx.ledger.rental(rental_id, "still listed after the destroy" if rental.looks else None, **changes)
        return
    looks = rental.looks + 1
    if looks < 2:
        ctx.ledger.rental(rental_id, looks=looks, next_look=now + ctx.timing.verify_gap)
        return
    if not await _can_see(ctx, rental):
        return
    rental = ctx.ledger.rental(
        rental_id,
        "verified: missing from two complete listings, nothing bills",
        state=RentalState.GONE,
        looks=looks,
        gone=now,
        trouble="",
    )
    cost = rental.cost_of(rental.run, now)
    ctx.ledger.note("money", f"cost about ${cost:.4f}", run=rental.run, rental=rental_id)
