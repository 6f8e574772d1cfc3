"""``choline rentals`` and ``destroy``: everything the account has on the market, and whose it is."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from choline_tui.cli.context import Context
from choline_tui.cli.output import Column, Style, clean, dollars, folded, number, span

if TYPE_CHECKING:
    from choline_tui.services import Choline

__all__ = ["configure_destroy", "configure_rentals"]

INTERRUPTED = 130

WHOSE: dict[str, tuple[str, Style]] = {"ours": ("●", "green"), "other": ("○", ""), "orphan": ("▲", "red")}


def configure_rentals(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "ours:   of a run of this home\n"
        "other:  somebody else's, or another home's; choline never touches it\n"
        "orphan: it has this home's label, and no run is known for it:\n"
        "        'choline destroy CONTRACT --drop-results' ends it"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(handler=rentals)


def configure_destroy(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "A rental of a live run goes with 'choline stop RUN'. 'choline rentals' lists\nthem all."
    add = parser.add_argument
    add("rental", metavar="RENTAL", help="id of a rental, or number of a contract")
    add("--drop-results", action="store_true", help="although results are not home: they are lost")
    add("--no-wait", action="store_true", help="return when it has been asked for")
    add("-y", "--yes", action="store_true", help="do not ask")
    add("--json", action="store_true", help="one JSON document")
    parser.set_defaults(handler=destroy)


_COLUMNS = (
    Column("whose", "left"),
    Column("rental", "left"),
    Column("contract", keep=1),
    Column("state", "left"),
    Column("GPU", "left", keep=4, least=8),
    Column("$/h"),
    Column("cost", keep=3),
    Column("for", keep=5),
    Column("label", "left", keep=6, least=10),
    Column("what", "left", keep=2, least=12),
)


def rentals(args: argparse.Namespace, context: Context) -> int:
    rows = context.use(lambda choline: choline.rentals(), doing="asking the market what it bills")
    if args.json:
        context.out.json(rows)
        return 0
    if not rows:
        context.out.line("Nothing is rented: the account has no contract on the market.")
        return 0
    now = context.now()
    context.out.table(_COLUMNS, [_cells(row, now) for row in rows], [_styles(row) for row in rows])
    trouble = next((r["trouble"] for r in rows if r.get("trouble")), "")
    if trouble:
        context.out.note(
            folded(
                f"▲ the market's listing could not be had ({clean(trouble)}): others are not shown, these "
                "are as last known",
                context.out.err_width,
                2,
            ),
            "red",
        )
    orphans = [r for r in rows if r.get("whose") == "orphan"]
    if orphans:
        todo = "; ".join(f"choline destroy {number(r.get('contract'))} --drop-results" for r in orphans)
        text = f"▲ may bill, and belongs to no run of this home: {todo}"
        context.out.note(folded(text, context.out.err_width, 2), "red")
    return 0


def _cells(row: Mapping[str, Any], now: float) -> list[str]:
    whose = str(row.get("whose") or "?")
    since = row.get("since")
    return [
        f"{WHOSE.get(whose, ('?', ''))[0]} {clean(whose, 12)}",
        clean(row.get("rental") or "-", 40),
        "-" if row.get("contract") is None else number(row.get("contract")),
        _state(row),
        clean(row.get("gpu") or "?", 30),
        number(row.get("price"), 4),
        dollars(row.get("cost")) if row.get("cost") is not None else "-",
        span(now - since) if isinstance(since, (int, float)) else "-",
        clean(row.get("label") or "-", 60),
        _what(row, now),
    ]


def _state(row: Mapping[str, Any]) -> str:
    ours, theirs = clean(row.get("state"), 20), clean(row.get("status"), 20)
    return " / ".join(filter(None, (ours, theirs))) or "unknown"


def _what(row: Mapping[str, Any], now: float) -> str:
    pieces = []
    keep = row.get("keep_until")
    if isinstance(keep, (int, float)):
        pieces.append(f"kept for {span(keep - now)} more")
        if row.get("rental") and keep > now:
            pieces[-1] += f", for 'choline run --on {clean(row['rental'], 40)}'"
    if row.get("past"):
        pieces.append(f"had by {clean(', '.join(map(str, row['past'])), 80)} before")
    if row.get("whose") == "ours" and row.get("listed") is False:
        pieces.append("not in the market's listing")
    if row.get("reason"):
        pieces.append(clean(row["reason"], 120))
    if row.get("run") and not row.get("rental"):
        pieces.append(f"run {clean(row['run'], 40)}")
    return "; ".join(pieces)


def _styles(row: Mapping[str, Any]) -> dict[int, Style]:
    styles: dict[int, Style] = {0: WHOSE.get(str(row.get("whose")), ("", "red"))[1]}
    if row.get("state") in ("unknown", "releasing") or row.get("whose") == "orphan":
        styles[3] = "red"
    return styles


def destroy(args: argparse.Namespace, context: Context) -> int:
    # late: it loads the models, which listing rentals does without
    from choline_tui.cli.follow import Follower, follow_run

    out = context.out
    lost = " Results that are not home are LOST." if args.drop_results else ""
    out.note(f"Destroys {clean(args.rental, 60)} on the market, with its disk.{lost}")
    if not context.confirm(f"Destroy {clean(args.rental, 60)}?", yes=args.yes, why="destroying a rental"):
        out.note("Nothing was destroyed.")
        return INTERRUPTED

    async def work(choline: "Choline") -> dict[str, Any]:
        answer = await choline.destroy(args.rental, drop_results=args.drop_results)
        if answer.get("run") and not args.no_wait:
            # a market that is down is asked again and again: the follower says it once
            await follow_run(choline, str(answer["run"]), Follower(out), history=False, logs=False)
        return answer

    try:
        answer = context.use(work)
    except KeyboardInterrupt:
        out.note("\nNo longer waiting; see 'choline rentals'.")
        return INTERRUPTED
    if args.json:
        out.json(answer)
    elif args.no_wait and answer.get("run"):
        out.line(f"asked for; 'choline rentals' shows when {clean(args.rental, 60)} is gone")
    else:
        out.line(f"{clean(args.rental, 60)} is gone: verified in two complete listings, nothing of it bills")
    return 0
