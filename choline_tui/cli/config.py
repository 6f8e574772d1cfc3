"""``choline config`` and ``choline key``: settings of this home, and what the API key may do."""

import argparse
import sys
from typing import Any

from choline_tui.cli.context import Context
from choline_tui.cli.output import Column, Style, clean, folded
from choline_tui.kernel.errors import UsageError

__all__ = ["configure_config", "configure_key"]

BAD_KEY = 5
MAX_STDIN = 1 << 16


def configure_config(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n"
        "  choline config set run.max_price 1.50\n"
        "  choline config set vast.key -     (from standard input: it never shows in 'ps')\n"
        "  choline config unset run.image"
    )
    inner = parser.add_subparsers(dest="what", metavar="path|show|set|unset", required=True)
    sub = inner.add_parser("path", help="where the settings are", description="Where the settings are.")
    sub = inner.add_parser("show", help="every setting, its value and where it comes from")
    sub.add_argument("key", nargs="?", default="", metavar="KEY", help="this setting or this table only")
    sub.add_argument("--json", action="store_true", help="one JSON document")
    sub = inner.add_parser("set", help="write a setting into the home's file")
    sub.add_argument("key", metavar="KEY", help="such as run.max_price")
    sub.add_argument("value", metavar="VALUE", help="as people write it: 24h, 0.9, true, text; - reads it")
    sub = inner.add_parser("unset", help="take a setting out, so that its default holds")
    sub.add_argument("key", metavar="KEY")
    for name, each in inner.choices.items():
        each.set_defaults(handler=_HANDLERS[name], parser=each)


def _path(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.config.paths import Paths

    context.out.line(str(Paths(environ=context.environ).config_file))
    return 0


def _show(args: argparse.Namespace, context: Context) -> int:
    from pathlib import Path

    from choline_tui.config import Paths, find_project, load, load_project, show

    found = find_project(Path.cwd())
    project = load_project(found) if found is not None else None
    rows = show(load(Paths(environ=context.environ), context.environ, project))
    if args.key:
        rows = [r for r in rows if r.key == args.key or r.key.startswith(args.key + ".")]
        if not rows:
            raise UsageError(
                f"there is no setting '{args.key[:60]}'", hint="'choline config show' lists them."
            )
    if args.json:
        context.out.json([vars(row) for row in rows])
        return 0
    columns = (
        Column("setting", "left"),
        Column("value", "left", least=10),
        Column("from", "left"),
        Column("what it is", "left", keep=1, least=16),
    )
    styles: list[dict[int, Style]] = [{} if r.origin == "default" else {1: "bold", 2: "cyan"} for r in rows]
    cells = [[r.key, clean(r.value) or "-", r.origin, clean(r.description)] for r in rows]
    context.out.table(columns, cells, styles)
    return 0


def _set(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.config import Paths, set_value

    value = args.value
    if value == "-":
        value = sys.stdin.read(MAX_STDIN).strip()
        if not value:
            raise UsageError("standard input was empty", hint="Give the value there, or in place of '-'.")
    set_value(Paths(environ=context.environ), args.key, value)
    return 0


def _unset(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.config import Paths, unset_value

    if not unset_value(Paths(environ=context.environ), args.key):
        context.out.note(f"{clean(args.key, 60)} was not set; its default holds already.")
    return 0


_HANDLERS = {"path": _path, "show": _show, "set": _set, "unset": _unset}


# ------------------------------------------------------------------------------------------------ key


def configure_key(parser: argparse.ArgumentParser) -> None:
    inner = parser.add_subparsers(dest="what", metavar="check", required=True)
    sub = inner.add_parser(
        "check",
        help="what the key may do, and what choline needs",
        description="What the API key may do. Exit 5: it lacks something that choline needs.",
    )
    sub.add_argument("--json", action="store_true", help="one JSON document")
    sub.set_defaults(handler=key_check, parser=sub)


def key_check(args: argparse.Namespace, context: Context) -> int:
    report = context.use(lambda choline: choline.key_check(), doing="asking the market")
    scopes = report.get("scopes") or {}
    needed = list(report.get("needed") or ())
    missing = [name for name in needed if scopes.get(name) == "denied"]
    good = bool(report.get("valid", True)) and not missing
    if args.json:
        context.out.json(report)
        return 0 if good else BAD_KEY
    out = context.out
    valid = bool(report.get("valid", True))
    word = (
        "✔ the key works" if good else "✘ the key lacks what choline needs" if valid else "✘ not a valid key"
    )
    out.line(word, "green" if good else "red")
    account: dict[str, Any] = report.get("account") or {}
    credit = account.get("credit")
    if isinstance(credit, (int, float)):
        out.fields([("credit", f"${credit:.2f}"), ("account", clean(account.get("email"), 100))], indent="  ")
    rows, styles = [], []
    for name, scope in scopes.items():
        need = "needed" if name in needed else ""
        glyph = {"allowed": "✔", "denied": "✘"}.get(str(scope), "?")
        rows.append([clean(name, 60), f"{glyph} {clean(scope, 20)}", need])
        color: Style = "red" if need and scope == "denied" else ""
        styles.append({1: color})
    if rows and valid:
        out.table(
            (Column("permission", "left"), Column("this key", "left"), Column("choline", "left")),
            rows,
            styles,
        )
    for line in report.get("advice") or ():
        out.line(folded(clean(line, 400), out.width))
    return 0 if good else BAD_KEY
