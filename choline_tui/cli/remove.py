"""``choline rm`` and ``prune``: ended runs out of the lists, and their files off this disk."""

import argparse
from typing import TYPE_CHECKING, Any

from choline_tui.cli.context import Context
from choline_tui.cli.output import Column, clean, dollars, folded, size, span
from choline_tui.cli.values import duration
from choline_tui.kernel.errors import UsageError

if TYPE_CHECKING:
    from choline_tui.services import Choline, RunView

__all__ = ["configure_prune", "configure_rm"]

INTERRUPTED = 130
A_MONTH = 30 * 86400.0


def configure_rm(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Out of the lists, and its logs, evidence and frozen code deleted. What it cost\n"
        "stays counted, and its timeline stays: 'choline show RUN' and 'choline status\n"
        "--state archived'. What came home into your project stays, unless --results is\n"
        "given. A run that is live, or of which something may bill, is refused."
    )
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="id, beginning of an id, or name")
    add("--drop-results", action="store_true", help="although its results never came home whole")
    _flags(parser)
    parser.set_defaults(handler=rm)


def configure_prune(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "As 'choline rm' with all of them. Runs whose results never came home whole, and\n"
        "those of which something may bill, are left alone."
    )
    parser.add_argument(
        "--older-than", type=duration, default=A_MONTH, metavar="30d", help="ended longer ago; default 30d"
    )
    parser.add_argument("--dry-run", action="store_true", help="show which; remove nothing")
    _flags(parser)
    parser.set_defaults(handler=prune)


def _flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--keep-files", action="store_true", help="only out of the lists: delete nothing")
    add("--results", action="store_true", help="delete what came home too")
    add("-y", "--yes", action="store_true", help="do not ask")
    add("--json", action="store_true", help="one JSON document")


def rm(args: argparse.Namespace, context: Context) -> int:
    _sensible(args)

    async def look(choline: "Choline") -> "list[RunView]":
        views = {view.run.id: view for view in map(choline.show, args.runs)}
        for view in views.values():
            # now, so that nobody agrees to the impossible
            choline.check_removable(view, drop_results=args.drop_results)
        return list(views.values())

    views = context.use(look)
    return _remove(views, args, context, drop_results=args.drop_results)


def prune(args: argparse.Namespace, context: Context) -> int:
    _sensible(args)

    async def look(choline: "Choline") -> "list[RunView]":
        return choline.prunable(args.older_than, context.now())

    views = context.use(look, start_engine=False)
    if args.dry_run or not views:
        if args.json:
            context.out.json(
                [{"run": v.run.id, "name": v.run.plan.name, "ended": v.run.ended} for v in views]
            )
        elif not views:
            context.out.line(f"No run ended more than {span(args.older_than)} ago that could go.")
        else:
            _list(views, context)
        return 0
    return _remove(views, args, context, drop_results=False)


def _sensible(args: argparse.Namespace) -> None:
    if args.keep_files and args.results:
        raise UsageError("--keep-files and --results exclude each other", hint="Leave one of them out.")


def _list(views: "list[RunView]", context: Context, *, err: bool = False) -> None:
    now = context.now()
    columns = (
        Column("run", "left"),
        Column("name", "left"),
        Column("how", "left"),
        Column("ended"),
        Column("cost"),
    )
    rows = [
        [
            view.run.id,
            clean(view.run.plan.name, 40),
            str(view.run.outcome or view.run.state),
            span(now - view.run.ended) + " ago" if view.run.ended is not None else "-",
            dollars(view.cost(now)),
        ]
        for view in views
    ]
    if err:
        for row in rows:
            context.out.note("  " + "  ".join(row))
    else:
        context.out.table(columns, rows)


def _remove(views: "list[RunView]", args: argparse.Namespace, context: Context, *, drop_results: bool) -> int:
    out = context.out
    count = f"{len(views)} run{'' if len(views) == 1 else 's'}"
    goes = "" if args.keep_files else ", with logs, evidence and frozen code"
    _list(views, context, err=True)
    results = ", and DELETES their results on this computer" if args.results else ""
    out.note(folded(f"Takes {count} out of the lists{goes}{results}.", out.err_width))
    if not context.confirm(f"Remove {count}?", yes=args.yes, why="removing runs"):
        out.note("Nothing was removed.")
        return INTERRUPTED

    async def work(choline: "Choline") -> list[dict[str, Any]]:
        return await choline.rm(
            *(view.run.id for view in views),
            drop_results=drop_results,
            files=not args.keep_files,
            results=args.results,
        )

    told = context.use(work, doing="deleting files")
    if args.json:
        out.json(told)
        return 0
    freed = sum(row["bytes"] for row in told if isinstance(row.get("bytes"), int))
    out.line(f"{count} removed" + ("" if args.keep_files else f", {size(freed)} freed"))
    return 0
