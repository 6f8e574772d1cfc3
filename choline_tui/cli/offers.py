"""``choline offers``: the market as a table."""

import argparse
import time
from typing import Any

from choline_tui.cli.context import Context
from choline_tui.cli.output import Column, Style, clean, folded, number, span
from choline_tui.cli.values import Positive, disk
from choline_tui.kernel.errors import UsageError

__all__ = ["configure_offers", "offer_cells"]

EXAMPLES = """\
examples:
  choline offers --gpu 2x4090
  choline offers 'gpu_ram>=40 geolocation in [DE,NL]' -o dlperf_per_dphtotal-
  choline offers --gpu h100 --type interruptible --disk 200 --json

The query is the official client's language. Prices are $/h with the disk of
--disk. On a terminal as many offers as fit are shown, the first ones."""


def configure_offers(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("query", nargs="*", metavar="QUERY", help="conditions, such as 'num_gpus>=2 dph<0.5'")
    add("--gpu", default="", metavar="2x4090", help="number and kind of GPUs")
    add("--filter", default="", metavar="NAME", help="a saved filter; QUERY and flags add to it")
    add("-o", "--order", default="", metavar="FIELD", help="sort by a field; FIELD- for descending")
    add("--type", choices=("on-demand", "interruptible"), default="", help="kind of rental")
    add("--disk", type=disk, metavar="GB", help="disk that prices are for")
    add(
        "--limit",
        type=Positive("a number of offers"),
        default=0,
        metavar="N",
        help="at most N offers (64 a page)",
    )
    add("--all", action="store_true", dest="everything", help="all pages, not only the first 64 offers")
    add("-n", "--no-default", action="store_true", help="without the default conditions (verified, rentable)")
    add("--json", action="store_true", help="one JSON document with rows, time, completeness, warnings")
    add("--raw", action="store_true", help="a JSON array of the offers only, as the official client prints")
    parser.set_defaults(handler=offers)


def offers(args: argparse.Namespace, context: Context) -> int:
    if args.json and args.raw:
        raise UsageError("--json and --raw exclude each other", hint="Take one of them.")
    wanted = {
        "query": " ".join(args.query),
        "gpu": args.gpu,
        "order": args.order,
        "type": args.type,
        "disk": args.disk,
        "limit": args.limit,
        "everything": args.everything,
        "no_default": args.no_default,
    }
    if args.filter:
        from choline_tui.config.filters import find_filter
        from choline_tui.config.paths import Paths

        saved = find_filter(Paths(environ=context.environ), args.filter)
        wanted["query"] = f"{saved.query} {wanted['query']}".strip()
        wanted["order"] = args.order or saved.order
        wanted["type"] = args.type or saved.type or ""
        wanted["disk"] = args.disk if args.disk is not None else saved.disk
    doing = "searching the market"
    answer = context.engine_call("offers", doing=doing, **wanted)
    if answer is None:
        answer = vars(context.use(lambda choline: choline.offers(**wanted), doing=doing))
    if args.raw:
        context.out.json(answer["rows"])
    elif args.json:
        context.out.json(answer)
    else:
        _table(answer, context, whole=bool(args.limit or args.everything))
    return 0


AROUND = 6
"""lines of a screen that are not rows: titles, the line below, the shell's prompt, a warning or two"""


def _table(answer: dict[str, Any], context: Context, *, whole: bool) -> None:
    """``whole``: this many were asked for; else what a screen holds: the first stay in sight."""
    rows, out = answer["rows"], context.out
    columns = offer_columns(float(answer["disk_gb"]))
    room = len(rows) if whole or out.height is None else max(10, out.height - AROUND)
    fitting = rows[:room]
    if fitting:
        out.table(columns, [offer_cells(row) for row in fitting], [_styles(row) for row in fitting])
    count = f"{len(rows)}" if answer["complete"] else f"at least {len(rows)}"
    age = context.now() - float(answer["seen_at"])
    shown = time.strftime("%H:%M:%S %Z", time.localtime(float(answer["seen_at"])))
    noun = "offer" if count == "1" else "offers"
    part = f"the first {len(fitting)} of " if len(fitting) < len(rows) else ""
    text = (
        f"{part}{count} {noun}, {clean(answer['type'], 20)}, seen {span(age)} ago ({shown}); "
        f"{answer['used_today']} of {answer['ration']} searches today"
    )
    out.note(folded(text, out.err_width), "dim")
    if part:
        out.note("--limit N shows more, --all every one", "dim")
    if not rows:
        out.note("Nothing matches: loosen the query, or take the default conditions away with -n.")
    if answer.get("stale"):
        out.note(f"! not fresh: {clean(answer['stale'])}", "yellow")
    for warning in answer.get("warnings", ()):
        out.note(f"! {clean(warning)}", "yellow")


def offer_columns(disk_gb: float) -> list[Column]:
    return [
        Column("id"),
        Column(f"$/h ({disk_gb:g} GB)"),
        # not cut before others go: an RTX 3060 and an RTX 3060 Ti are two things
        Column("GPU", "left", least=16),
        Column("n"),
        Column("VRAM GB", keep=2),
        Column("CPU", keep=7),
        Column("RAM GB", keep=6),
        Column("disk GB", keep=8),
        Column("$/GB-mo", keep=12),
        Column("down Mb/s", keep=4),
        Column("up Mb/s", keep=5),
        Column("$/TB down", keep=13),
        Column("$/TB up", keep=14),
        Column("rel %", keep=1),
        Column("CUDA", keep=9),
        Column("place", "left", keep=3, least=9),
        Column("days", keep=10),
        Column("ports", keep=11),
    ]


def offer_cells(row: dict[str, Any]) -> list[str]:
    """One offer as inert texts, in the order of ``offer_columns``."""
    reliability = row.get("reliability2", row.get("reliability"))
    return [
        number(row.get("id")),
        number(row.get("price"), 4),
        clean(row.get("gpu_name") or "?", 24),
        number(row.get("num_gpus")),
        number(row.get("gpu_ram"), 0, 1 / 1024),
        number(row.get("cpu_cores_effective"), 0),
        number(_ram_share(row), 0, 1 / 1024),
        number(row.get("disk_space"), 0),
        number(row.get("storage_cost"), 3),
        number(row.get("inet_down"), 0),
        number(row.get("inet_up"), 0),
        number(row.get("inet_down_cost"), 2, 1000),
        number(row.get("inet_up_cost"), 2, 1000),
        number(reliability, 1, 100),
        number(row.get("cuda_max_good"), 1),
        clean(row.get("geolocation") or "?", 28),
        number(row.get("duration"), 1, 1 / 86400),
        number(row.get("direct_port_count"), 0),
    ]


def _ram_share(row: dict[str, Any]) -> float | None:
    """MB of RAM of the slice: ``cpu_ram`` is the whole machine's (as in ``model.offer``, which takes
    longer to load than this command may take)."""
    whole, mine, all_cores = row.get("cpu_ram"), row.get("cpu_cores_effective"), row.get("cpu_cores")
    if not isinstance(whole, (int, float)):
        return None
    if isinstance(mine, (int, float)) and isinstance(all_cores, (int, float)) and all_cores > 0:
        return whole * min(1.0, max(0.0, mine / all_cores))
    part = row.get("gpu_frac")
    return whole * part if isinstance(part, (int, float)) else None


def _styles(row: dict[str, Any]) -> dict[int, Style]:
    reliability = row.get("reliability2", row.get("reliability"))
    styles: dict[int, Style] = {1: "bold"}
    if isinstance(reliability, (int, float)) and reliability < 0.95:
        styles[13] = "yellow"
    return styles
