"""``choline engine``: the one process that acts, started, stopped, looked at, or run in the foreground."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from choline_tui.cli.context import Context
from choline_tui.cli.output import clean, number, when
from choline_tui.kernel.errors import EngineError

__all__ = ["configure_engine"]

INTERRUPTED = 130


def configure_engine(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "The engine starts by itself when it is needed, and ends when it has had nothing\n"
        "to do for a while. Runs outlive it: their machines are guarded by a lease and a\n"
        "deadline of their own."
    )
    inner = parser.add_subparsers(dest="what", metavar="start|stop|status|run", required=True)
    for name, text in (
        ("start", "start it, if none runs"),
        ("stop", "end it; runs on machines go on"),
        ("status", "whether it runs, and on what (exit 7: it does not)"),
        ("run", "be the engine, in the foreground"),
    ):
        sub = inner.add_parser(name, help=text, description=text + ".")
        if name != "run":
            sub.add_argument("--json", action="store_true", help="one JSON document")
        if name == "stop":
            sub.add_argument("-y", "--yes", action="store_true", help="do not ask although runs go on")
        sub.set_defaults(handler=engine, parser=sub)


def engine(args: argparse.Namespace, context: Context) -> int:
    match args.what:
        case "start":
            return _show(context, args.json, start=True)
        case "status":
            return _show(context, args.json, start=False)
        case "stop":
            return _stop(args, context)
    return run_engine()


def run_engine(become: Callable[[str, list[str]], object] = os.execv) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    become(sys.executable, [sys.executable, "-m", "choline_tui.engine"])
    return 0


def _show(context: Context, as_json: bool, *, start: bool) -> int:
    hello = context.use(
        lambda choline: choline.engine_status(), start_engine=start, doing="waiting for the engine"
    )
    if as_json:
        context.out.json(hello)
        return 0
    busy = "has runs to look after" if hello.get("busy") else "has nothing to do"
    context.out.line(f"● running: {busy}", "green")
    started = hello.get("started")
    context.out.fields(
        [
            ("process", number(hello.get("pid"))),
            ("since", when(started, context.now()) if isinstance(started, (int, float)) else "?"),
            ("version", clean(hello.get("version"), 40)),
            ("market", clean(hello.get("url"))),
            ("key", clean(hello.get("key"), 20) or "none"),
            ("home", clean(hello.get("home"), 60)),
            ("live runs", number(hello.get("live_runs"))),
            ("searches", f"{number(hello.get('searches_today'))} of {number(hello.get('ration'))} today"),
        ],
        indent="  ",
    )
    return 0


def _stop(args: argparse.Namespace, context: Context) -> int:
    async def look(choline: Any) -> dict[str, Any]:
        found: dict[str, Any] = await choline.engine_status()
        return found

    try:
        hello = context.use(look, start_engine=False)
    except EngineError:
        if args.json:
            context.out.json({"stopped": False, "running": False})
        else:
            context.out.line("No engine runs here.")
        return 0
    if hello.get("busy"):
        context.out.note(
            "It has runs to look after: they go on, but nothing follows them, brings results home or "
            "destroys rentals until an engine runs again.",
            "yellow",
        )
        if not context.confirm("End the engine?", yes=args.yes, why="ending a busy engine"):
            return INTERRUPTED
    context.use(lambda choline: choline.engine_stop(), start_engine=False)
    if args.json:
        context.out.json({"stopped": True, "running": False})
    else:
        context.out.line("The engine ends.")
    return 0
