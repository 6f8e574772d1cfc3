"""``choline filters``: saved filters, which 'offers', 'run' and the offers screen take by name."""

import argparse

from choline_tui.cli.context import Context
from choline_tui.cli.output import Column, clean, folded, number
from choline_tui.cli.values import disk, money
from choline_tui.kernel.errors import UsageError

__all__ = ["configure_filters"]


def configure_filters(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n"
        "  choline filters save cheap 'gpu_name=RTX_4090 dph<0.4' --disk 40\n"
        "  choline offers --filter cheap 'geolocation in [SE,NO]'\n"
        "  choline run --filter cheap -- python train.py\n\n"
        "The offers screen (key e) makes filters of offers."
    )
    inner = parser.add_subparsers(dest="what", metavar="list|show|save|rm", required=True)
    sub = inner.add_parser("list", help="all of them")
    sub.add_argument("--json", action="store_true", help="one JSON document")
    sub = inner.add_parser("show", help="one, as it stands in a choline.toml")
    sub.add_argument("name", metavar="NAME")
    sub.add_argument("--json", action="store_true", help="one JSON document")
    sub.add_argument("--vastai", action="store_true", help="as a command of the official client")
    sub = inner.add_parser("save", help="save one; one of the same name is replaced")
    sub.add_argument("name", metavar="NAME")
    sub.add_argument("query", nargs="*", metavar="QUERY", help="conditions, as in 'choline offers'")
    sub.add_argument("-o", "--order", default="dph_total", metavar="FIELD", help="sort by a field; FIELD-")
    sub.add_argument("--type", choices=("on-demand", "interruptible"), help="kind of rental")
    sub.add_argument("--disk", type=disk, metavar="GB", help="disk that prices are for")
    sub.add_argument("--max-price", type=money, metavar="$/H", help="most $/h, disk included")
    sub = inner.add_parser("rm", help="forget one")
    sub.add_argument("name", metavar="NAME")
    for name, each in inner.choices.items():
        each.set_defaults(handler=_HANDLERS[name], parser=each)


def _list(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.config.filters import read_filters
    from choline_tui.config.paths import Paths

    found = read_filters(Paths(environ=context.environ))
    out = context.out
    if args.json:
        out.json({name: each.table() for name, each in found.items()})
        return 0
    if not found:
        out.note("No filters are saved. 'choline filters save NAME QUERY' saves one.")
        return 0
    columns = [
        Column("name", "left"),
        Column("query", "left", least=20),
        Column("type", "left", keep=3),
        Column("disk GB", keep=2),
        Column("max $/h", keep=1),
    ]
    rows = [
        [clean(name), clean(each.query, 400), each.type or "", number(each.disk), number(each.max_price, 4)]
        for name, each in found.items()
    ]
    out.table(columns, rows)
    return 0


def _show(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.config.filters import find_filter
    from choline_tui.config.paths import Paths
    from choline_tui.model.export import official_command, toml_table

    if args.json and args.vastai:
        raise UsageError("--json and --vastai exclude each other", hint="Take one of them.")
    saved = find_filter(Paths(environ=context.environ), args.name)
    if args.json:
        context.out.json(saved.table())
    elif args.vastai:
        context.out.line(official_command(saved.as_query()))
    else:
        context.out.line(toml_table(saved.as_query(), saved.max_price))
    return 0


def _save(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.config.filters import save_filter
    from choline_tui.config.paths import Paths
    from choline_tui.model.filters import Filter
    from choline_tui.model.query import parse_order, parse_query

    text = " ".join(args.query)
    query = parse_query(text, order=args.order)  # raises with the column
    made = Filter(
        query=query.text(),
        order=",".join(each.text() for each in parse_order(args.order)),
        type=args.type,
        disk=args.disk,
        max_price=args.max_price,
    )
    save_filter(Paths(environ=context.environ), args.name, made)
    context.out.note(folded(f"saved: choline offers --filter {args.name}", context.out.err_width))
    for warning in query.warnings:
        context.out.note(f"! {clean(warning)}", "yellow")
    return 0


def _rm(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.config.filters import remove_filter
    from choline_tui.config.paths import Paths

    remove_filter(Paths(environ=context.environ), args.name)
    context.out.note(f"forgotten: {clean(args.name, 60)}")
    return 0


_HANDLERS = {"list": _list, "show": _show, "save": _save, "rm": _rm}
