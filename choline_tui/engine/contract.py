"""What is done about one rental's contract: find it again, watch it, keep evidence, destroy, verify."""

import asyncio
import re
from pathlib import Path

from choline_tui.engine.context import Context
from choline_tui.kernel.errors import BadKey, CholineError, NoCredit
from choline_tui.model.instance import Instance
from choline_tui.model.label import read_label
from choline_tui.model.run import Rental, RentalState, Seen
from choline_tui.places.base import Listing

__all__ = ["destroy", "evidence", "settle", "start", "sweep", "verify", "watch"]

MIN_LOOKS = 3
EVIDENCE_WITHIN = 30.0
MAX_EVIDENCE = 4 << 20


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
            )
            for extra in found[1:]:
                batch.add_rental(
                    rental.but(
                        id=f"{rental.id}x{extra.id}",
                        label=f"{rental.label}#{extra.id}",
                        state=RentalState.RELEASING,
                        contract=extra.id,
                        release_reason="a second contract with the same label",
                        billed_from=rental.intended,
                        price=rental.offer_price,
                    ),
                    f"a second contract {extra.id} with the same label: destroying it",
                )
        return
    looks = rental.looks + 1
    if looks >= MIN_LOOKS and now - rental.intended >= ctx.timing.settle:
        ctx.ledger.rental(
            rental_id,
            f"not in {looks} complete listings over {now - rental.intended:.0f} s: it was never rented",
            state=RentalState.GONE,
            release_reason="the rent call was never carried out",
            looks=looks,
            gone=now,
            price=None,
        )
    else:
        ctx.ledger.rental(rental_id, looks=looks, next_look=now + ctx.timing.settle_poll)


def sweep(ctx: Context, listing: Listing) -> None:
    """Contracts with our label whose rental was thought gone: they bill, so they are destroyed."""
    gone = {r.label: r for r in ctx.store.rentals() if r.state is RentalState.GONE}
    for instance in listing.instances:
        label = read_label(instance.label)
        rental = gone.get(instance.label or "")
        if label is None or label.home != ctx.home or rental is None:
            continue
        if rental.gone is not None and listing.seen_at < rental.gone:
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


async def watch(ctx: Context, rental_id: str) -> None:
    """One look at the contract: its state, price, address; whether it vanished or was stopped."""
    rental = ctx.store.rental(rental_id)
    booting = rental.state is RentalState.BOOTING
    interval = ctx.timing.boot_poll if booting else ctx.timing.watch
    try:
        # a second look at something missing must be another picture than the first
        listing = await ctx.place.look(0.0 if rental.looks else interval / 2)
    except CholineError as error:
        _put_off(ctx, rental_id, error)
        return
    rental = ctx.store.rental(rental_id)
    if rental.state not in (RentalState.BOOTING, RentalState.UP, RentalState.HELD):
        return
    now = ctx.clock.time()
    instance = listing.contract(rental.contract)
    if instance is None:
        _missing(ctx, rental, listing, now)
        return
    seen = _seen(instance, listing.seen_at)
    changes: dict[str, object] = {"seen": seen, "looks": 0, "next_look": now + interval}
    text = None
    if seen.status != (rental.seen.status if rental.seen else None):
        text = f"the market says: {seen.status or 'provisioning'}" + (
            f" ({_short(seen.message)})" if seen.message else ""
        )
    stopped = instance.is_stopped
    if stopped and rental.stopped_since is None:
        changes["stopped_since"] = now
        text = "stopped, and not by us: its disk bills, its GPU does not"
    elif not stopped and rental.stopped_since is not None:
        changes["stopped_since"] = None
        text = "running again"
    if seen.price is not None and not stopped:
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
    if rental.type == "interruptible" and instance.is_bid is False:
        changes |= {
            "state": RentalState.RELEASING,
            "release_reason": "rented on demand although a bid was sent",
            "failed": True,
            "next_look": 0.0,
        }
    ctx.ledger.rental(rental_id, text, **changes)
    ctx.ledger.run(rental.run, phase=_phase(seen)) if booting else None


def _phase(seen: Seen) -> str:
    return " ".join(filter(None, (seen.status or "provisioning", _short(seen.message))))[:120]


def _missing(ctx: Context, rental: Rental, listing: Listing, now: float) -> None:
    if rental.seen is None and now - (rental.billed_from or rental.intended) < ctx.timing.settle:
        # just made: the listing may lag behind the rent call
        ctx.ledger.rental(rental.id, next_look=now + ctx.timing.boot_poll)
        return
    looks = rental.looks + 1
    if looks < 2:
        ctx.ledger.rental(rental.id, looks=looks, next_look=now + ctx.timing.verify_gap)
        return
    ctx.ledger.rental(
        rental.id,
        "not in two complete listings in a row: the contract is gone, and nobody of ours destroyed it",
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
    ctx.ledger.rental(rental_id, next_look=max(until, now + wait))
    ctx.hub.publish("trouble", ctx.store.rental(rental_id).run, text=error.message)


async def start(ctx: Context, rental_id: str) -> None:
    """Start a contract that was stopped, to reach what is on its disk."""
    rental = ctx.store.rental(rental_id)
    now = ctx.clock.time()
    stood = now - (rental.stopped_since or now)
    try:
        if rental.contract is not None:
            await ctx.place.start(rental.contract)
        text = "asked the market to start it"
    except NoCredit as error:
        text = error.message
    except CholineError as error:
        text = f"cannot be started yet: {error.message}"
    ctx.ledger.rental(rental_id, text, next_look=now + min(300.0, 15.0 + stood / 4))
    await ctx.sessions.drop(rental_id)
    await _look_after_start(ctx, rental_id)


async def _look_after_start(ctx: Context, rental_id: str) -> None:
    """Watch until the next start is due; a machine that came back is seen at once."""
    while True:
        rental = ctx.store.rental(rental_id)
        due = rental.next_look
        await watch(ctx, rental_id)
        rental = ctx.store.rental(rental_id)
        if rental.stopped_since is None or ctx.clock.time() >= due or not rental.live:
            return
        ctx.ledger.rental(rental_id, next_look=due)
        await ctx.clock.sleep(ctx.timing.boot_poll)


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
                        found[name] = (await ctx.place.logs(rental.contract, daemon=daemon)).encode()
                    except CholineError as error:
                        found[name + ".error"] = error.message.encode()
            if rental.running_since is not None:
                session = await ctx.sessions.get(rental)
                found |= await session.evidence()
    except (CholineError, TimeoutError, OSError) as error:
        found["incomplete.txt"] = f"not all evidence could be had: {error}".encode()
    _write_evidence(into, found)
    ctx.ledger.rental(rental_id, f"evidence kept: {', '.join(sorted(found))}", evidence=ctx.clock.time())


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
        ctx.ledger.rental(rental_id, "there was no contract", state=RentalState.GONE, gone=now)
        return
    ctx.ledger.rental(rental_id, f"destroying contract {rental.contract}", destroy_asked=now)
    ctx.crash_point("before destroy")
    try:
        await ctx.place.destroy(rental.contract)
    except CholineError as error:
        # it may have worked; the listing will tell, and it is asked again
        _put_off(ctx, rental_id, error)
        return
    ctx.crash_point("after destroy")
    now = ctx.clock.time()
    ctx.ledger.rental(rental_id, destroy_accepted=now, destroy_asked=now, looks=0, next_look=now)


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
        changes: dict[str, object] = {"looks": 0, "next_look": now + ctx.timing.retry}
        if other is not None and all(i.id != rental.contract for i in there):
            changes |= {"contract": other, "destroy_asked": None, "destroy_accepted": None}
        ctx.ledger.rental(rental_id, "still listed after the destroy" if rental.looks else None, **changes)
        return
    looks = rental.looks + 1
    if looks < 2:
        ctx.ledger.rental(rental_id, looks=looks, next_look=now + ctx.timing.verify_gap)
        return
    rental = ctx.ledger.rental(
        rental_id,
        "verified: missing from two complete listings, nothing bills",
        state=RentalState.GONE,
        looks=looks,
        gone=now,
    )
    ctx.ledger.note("money", f"cost about ${rental.cost:.4f}", run=rental.run, rental=rental_id)
