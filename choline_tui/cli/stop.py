"""``choline stop``: end a run, bring its results home, destroy its rental, and see that it is gone."""

import argparse
from typing import TYPE_CHECKING

from choline_tui.cli.context import Context
from choline_tui.cli.launch import report
from choline_tui.cli.output import clean, dollars, folded
from choline_tui.kernel.errors import UsageError

if TYPE_CHECKING:
    from choline_tui.services import Choline, RunView

__all__ = ["configure_stop"]

INTERRUPTED = 130


def configure_stop(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "On a terminal it says what it will do and asks. In a script it needs no -y:\n"
        "stopping brings the results home first; only --drop-results, which loses them,\ndoes."
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="id, beginning of an id, or name")
    add(
        "--drop-results", action="store_true", help="do not wait for results that are not home: they are lost"
    )
    add("--no-wait", action="store_true", help="return when it has been asked for")
    add("-y", "--yes", action="store_true", help="do not ask")
    add("--json", action="store_true", help="one JSON document")
    parser.set_defaults(handler=stop)


def stop(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.cli.follow import Follower, follow_run
    from choline_tui.cli.runs import still_billing, view_json

    out = context.out

    async def look(choline: "Choline") -> "RunView":
        return choline.show(args.run)

    view = context.use(look, start_engine=False)
    if not view.run.live:
        todo = still_billing(view, context.now())
        raise UsageError(
            f"run {view.run.id} has ended already ({view.run.outcome})",
            hint="; ".join(text.removeprefix("▲ ") for text, _ in todo) or "Nothing of it bills.",
        )
    out.note(folded(what_stop_does(view, drop=args.drop_results), out.err_width))
    ask = context.interactive or args.drop_results
    if ask and not context.confirm(f"Stop {view.run.id}?", yes=args.yes, why="losing results"):
        out.note("Nothing was stopped.")
        return INTERRUPTED

    async def work(choline: "Choline") -> "RunView":
        await choline.stop(view.run.id, drop_results=args.drop_results)
        if not args.no_wait:
            # what happened before is known; the log is not asked for
            await follow_run(choline, view.run.id, Follower(out), history=False, logs=False)
        return choline.show(view.run.id)

    try:
        now_view = context.use(work)
    except KeyboardInterrupt:
        out.note("\nNo longer waiting; it is being stopped all the same: 'choline status'.")
        return INTERRUPTED
    if args.no_wait:
        out.note(f"asked to stop; 'choline status' shows when {view.run.id} and its rental are gone")
        if args.json:
            out.json(view_json(now_view, context.now()))
        return 0
    report(now_view, context, as_json=args.json)
    return 0


def what_stop_does(view: "RunView", *, drop: bool) -> str:
    """A sentence on what will happen to the run, its results and its rental."""
    run = view.run
    rental = next((r for r in reversed(view.rentals) if r.live), None)
    if rental is None:
        return f"Stops {run.id} ({clean(run.plan.name)}): nothing is rented for it."
    where = f"{rental.num_gpus}x {clean(rental.gpu_name)} ({rental.id}, {dollars(view.per_hour())}/h)"
    name = f"{run.id} ({clean(run.plan.name)})"
    if drop:
        return f"Ends {name} and destroys {where}; results that are not home are LOST."
    home = clean(run.plan.results_into, 1000)
    return f"Ends {name}, brings its results to {home}, then destroys {where}."
