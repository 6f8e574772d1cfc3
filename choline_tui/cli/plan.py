"""The plan card: everything that is decided, before anything is spent."""

import shutil
import textwrap
from typing import TYPE_CHECKING

from choline_tui.cli.output import Output, clean, dollars, number, pad, size, span
from choline_tui.model.duration import format_duration

if TYPE_CHECKING:
    from choline_tui.model.request import PlanCard

__all__ = ["card_lines", "print_card"]

WIDE = 11
WORTH_SAYING_S = 60.0
"""a transfer that is over sooner needs no line of its own"""


def card_lines(card: "PlanCard") -> list[tuple[str, str]]:
    """(name, inert text) in order; names of warnings are ``!``."""
    plan, disk = card.plan, f"{card.plan.disk_gb:g} GB disk"
    rows: list[tuple[str, str]] = []
    offer = card.offer
    if offer is not None:
        where = ", ".join(
            filter(
                None,
                (
                    f"{number(offer.get('num_gpus'))}x {clean(offer.get('gpu_name') or 'unknown GPU', 40)}",
                    clean(offer.get("geolocation"), 40),
                    f"offer {number(offer.get('id'))}",
                    f"machine {number(offer.get('machine_id'))}",
                ),
            )
        )
        rows.append(("offer", where))
        rows.append(("price", f"{dollars(card.price)}/h with {disk}, {plan.type}"))
    here = plan.place == "here"
    if here:
        rows.append(("on", "this computer, in a directory and with variables of its own; it costs nothing"))
    elif card.rental is not None:
        rows += _kept_rows(card, disk)
    elif plan.type == "interruptible":
        rows.append(("bid", f"{dollars(card.bid)}/h; somebody who bids more ends it"))
    fit = f"{'' if card.complete else 'at least '}{card.offers} offer{'' if card.offers == 1 else 's'}"
    if card.rental is None and not here:
        rows.append(
            ("cap", f"{dollars(plan.cap)}/h with {disk}; nothing dearer is rented ({fit} under it now)")
        )
    life = format_duration(plan.max_life_s)
    most = dollars(plan.cap * plan.max_life_s / 3600, 2)
    if not here:
        rows.append(
            ("at most", f"{most}: the cap for a rental's longest life, {life} (--max-life); traffic extra")
        )
        rows.append(("image", clean(plan.image)))
    rows.append(("command", clean(plan.command, 400)))
    if plan.environment is not None:
        rows.append(("packages", clean(plan.environment.in_words(), 600)))
    if plan.setup:
        rows.append(("setup", clean(plan.setup, 400)))
    if plan.env:
        rows.append(("variables", ", ".join(clean(name, 60) for name in sorted(plan.env))))
    if plan.secrets:
        places = [(clean(n, 60), clean(card.secrets.get(n) or "missing", 60)) for n in plan.secrets]
        rows.append(("secrets", ", ".join(f"{name} ({place})" for name, place in places)))
    if plan.ports:
        rows.append(("ports", ", ".join(clean(p, 40) for p in plan.ports)))
    if plan.tty:
        rows.append(("terminal", "its own: 'choline attach RUN' joins it"))
    code = "no commit"
    if card.commit:
        lines = f", {card.changed_lines} lines" if card.changed_lines else ""
        dirty = f", {card.dirty} changed{lines}" if card.dirty else ", clean"
        code = f"{clean(card.commit, 12)[:8]} {clean(card.branch, 60)}".rstrip() + dirty
    data = f"; {size(card.data_bytes)} of data" if card.data_bytes else ""
    files = f"{card.files} file{'' if card.files == 1 else 's'}"
    rows.append(("sends", f"{files}, {size(card.bytes)} ({code}){data}"))
    if card.clone:
        rows.append(("clones", f"the machine, from {clean(card.clone, 300)}: only what differs is sent"))
    rows += _moving(card)
    rows.append(("results", clean(plan.results_into, 1000)))
    if plan.keep_s:
        rows.append(("keeps", f"the machine for {span(plan.keep_s)} after the run: it bills"))
    day = f" (the disk alone: {dollars(card.disk_per_day, 2)} a day)" if card.disk_per_day is not None else ""
    if card.when_unreachable and not here:
        rows.append(("if offline", f"{clean(card.when_unreachable, 600)}{day}"))
    if card.credit is not None and not here:
        rows.append(("credit", dollars(card.credit, 2)))
    rows += [("!", clean(warning, 400)) for warning in card.warnings]
    return rows


def _kept_rows(card: "PlanCard", disk: str) -> list[tuple[str, str]]:
    """The machine that was kept."""
    rental = card.rental or {}
    before = [str(stay.get("run")) for stay in rental.get("past") or []] + [str(rental.get("run"))]
    machine = ", ".join(
        filter(
            None,
            (
                f"{number(rental.get('num_gpus'))}x {clean(rental.get('gpu_name') or 'unknown GPU', 40)}",
                clean(rental.get("place_name"), 40),
                f"rental {clean(rental.get('id'), 40)}",
                f"contract {number(rental.get('contract'))}",
            ),
        )
    )
    kind = f", {card.plan.type}; somebody who bids more ends it" if card.plan.type == "interruptible" else ""
    return [
        ("on", f"{machine}; it was kept after run {clean(', '.join(before), 200)}, and nothing is rented"),
        ("price", f"{dollars(card.price)}/h with {disk}{kind}, as it bills now"),
    ]


def _moving(card: "PlanCard") -> list[tuple[str, str]]:
    """What the machine fetches itself, and what all of it takes."""
    from choline_tui.model.moving import TYPICAL_UP

    rows, unknown = [], [f"{clean(name, 200)} (size unknown)" for name in card.fetch_unknown]
    if card.fetch_bytes or unknown:
        known = [size(card.fetch_bytes)] if card.fetch_bytes else []
        rows.append(("fetches", "; ".join([*known, *unknown])))
    took = card.send_s + (card.fetch_s or 0.0)
    if took >= WORTH_SAYING_S:
        text = f"about {span(took)} if the machine has none of it: {size(TYPICAL_UP)}/s from here"
        if card.fetch_bytes and card.fetch_s is not None:
            text += f", {size(card.fetch_bytes / max(1e-9, card.fetch_s))}/s there"
        if card.price is not None:
            text += f"; it costs {dollars(card.price * took / 3600, 2)} meanwhile"
        if card.traffic is not None:
            text += f", and {dollars(card.traffic, 2)} of traffic"
        rows.append(("to bring it", text))
    return rows


def print_card(card: "PlanCard", out: Output, *, err: bool) -> None:
    """On stderr when stdout is for the log."""
    show = out.note if err else out.line
    wide = max(60, min(110, shutil.get_terminal_size((100, 24)).columns))
    name = clean(card.plan.name or "run", 100)
    note = f"  {clean(card.plan.note)}" if card.plan.note else ""
    show(out.paint(f"Plan: {name}", "bold", err=err) + note)
    for title, text in card_lines(card):
        if title == "!":
            show(f"  ! {text}", "yellow")
        else:
            first, *rest = textwrap.wrap(text, wide - WIDE - 3, break_on_hyphens=False) or [""]
            show(f"  {out.paint(pad(title, WIDE), 'dim', err=err)} {first}")
            for line in rest:
                show(f"  {'':{WIDE}} {line}")
