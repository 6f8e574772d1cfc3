"""``choline status``, ``show`` and ``pull``: what the store knows of runs."""

import argparse
import textwrap
import time
from typing import TYPE_CHECKING, Any

from choline_tui.cli.context import Context
from choline_tui.cli.output import Column, Style, clean, dollars, folded, number, size, span, when
from choline_tui.cli.values import Positive, duration
from choline_tui.kernel.errors import UsageError
from choline_tui.model.event_words import plain_words

if TYPE_CHECKING:
    from choline_tui.model.run import Rental, Run
    from choline_tui.services import Choline, RunView

__all__ = [
    "configure_pull",
    "configure_show",
    "configure_status",
    "state_word",
    "still_billing",
    "view_json",
]

SORTS = ("created", "cost", "price", "name", "state")

STATES: dict[str, tuple[str, Style]] = {
    "draft": ("·", "dim"),
    "scheduled": ("◷", "cyan"),
    "waiting": ("◌", "yellow"),
    "acquiring": ("◔", "yellow"),
    "preparing": ("◑", "yellow"),
    "running": ("●", "green"),
    "pausing": ("◑", "yellow"),
    "paused": ("‖", "yellow"),
    "interrupted": ("◌", "yellow"),
    "collecting": ("◕", "cyan"),
    "succeeded": ("✔", "green"),
    "failed": ("✘", "red"),
    "error": ("‼", "red"),
    "stopped": ("■", "yellow"),
    "cancelled": ("■", "yellow"),
    "missed": ("○", "yellow"),
}
"""glyph and colour of a run's state, or of its outcome once it has ended"""
GROUPS = ("live", "billing", "ended", "archived")


def configure_status(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n"
        "  choline status --state live\n"
        "  choline status --state failed,error --since 2d --sort cost\n\n"
        + "\n".join(textwrap.wrap(f"states: {', '.join((*GROUPS, *STATES))}", 79))
    )
    add = parser.add_argument
    add("--state", default="", metavar="S[,S]", help="only runs in these states, or with these outcomes")
    add("--since", type=duration, metavar="2d", help="only runs made within this time")
    add("--name", default="", metavar="TEXT", help="part of a name, note or id")
    add("--sort", choices=SORTS, default="created", help="created, cost and price: highest first")
    add("--limit", type=Positive("a number of runs"), default=0, metavar="N", help="at most N runs")
    add("--json", action="store_true", help="one JSON document: money and runs")
    parser.set_defaults(handler=status)


def configure_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="id, beginning of an id, or name")
    parser.add_argument("--json", action="store_true", help="one JSON document with everything")
    parser.set_defaults(handler=show)


def configure_pull(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="id, beginning of an id, or name")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(handler=pull)


def state_word(run: "Run") -> str:
    """The outcome of a run that has ended, else its state."""
    return str(run.outcome or run.state)


def state_cell(run: "Run") -> tuple[str, Style]:
    word = state_word(run)
    glyph, color = STATES.get(word, ("?", ""))
    return f"{glyph} {word}", color


# --------------------------------------------------------------------------------------------- status


def status(args: argparse.Namespace, context: Context) -> int:
    states = {word.strip().lower() for word in args.state.split(",") if word.strip()}
    unknown = sorted(states - set(STATES) - set(GROUPS))
    if unknown:
        raise UsageError(
            f"there is no state '{unknown[0][:40]}'", hint=f"States: {', '.join((*GROUPS, *STATES))}."
        )
    now = context.now()
    since = now - args.since if args.since is not None else 0.0

    async def work(choline: "Choline") -> "tuple[list[RunView], Any]":
        return choline.runs(states=states or None, name=args.name, since=since), choline.money(now)

    views, money = context.use(work, start_engine=False)
    views = all_views = _sorted(views, args.sort, now)
    more = len(views) - args.limit if args.limit else 0
    views = views[: args.limit] if args.limit else views
    if args.json:
        context.out.json(
            {
                "money": {**vars(money), "at": now},
                "runs": [view_json(view, now, full=False) for view in views],
            }
        )
        return 0
    _money_line(money, context)
    if views:
        rows = [_status_row(view, now) for view in views]
        context.out.table(_STATUS, rows, [_status_styles(view) for view in views])
    else:
        context.out.note("No run matches." if states or args.name or args.since else "No runs yet.")
    if more > 0:
        context.out.note(f"{more} more; --limit shows them", "dim")
    for view in all_views:
        for text, style in still_billing(view, now):
            context.out.note(folded(text, context.out.err_width, 2), style)
    return 0


_STATUS = (
    Column("state", "left"),
    Column("id", "left"),
    Column("name", "left", keep=1, least=8),
    Column("where", "left", keep=5, least=13),
    Column("age", keep=2),
    Column("$/h", keep=3),
    Column("cost"),
    Column("commit", "left", keep=6),
    Column("why", "left", keep=4, least=10),
)


def _status_row(view: "RunView", now: float) -> list[str]:
    run, rental = view.run, view.rental
    where = "here" if run.plan.place == "here" else ""
    if rental is not None:
        where = f"{rental.num_gpus}x {clean(rental.gpu_name, 24)} {clean(rental.place_name, 24)}".strip()
    rate = view.per_hour()
    return [
        state_cell(run)[0],
        run.id,
        clean(run.plan.name, 30),
        where,
        span(now - run.created),
        number(rate, 4) if rate else "-",
        dollars(view.cost(now)),
        _commit(run),
        _why(view),
    ]


def _why(view: "RunView") -> str:
    run = view.run
    releasing = [r for r in view.rentals if not run.live and r.may_bill]
    if releasing:
        # it has ended and something of it may bill: that comes first, whatever else there is to say
        last = releasing[-1]
        if str(last.state) == "held" and last.keep_until is not None:
            return f"kept until {_clock(last.keep_until)}: it bills"
        why = clean(last.trouble or last.release_reason, 80)
        return f"▲ {last.state}, may bill" + (f": {why}" if why else "")
    trouble = next((r.trouble for r in view.rentals if r.may_bill and r.trouble), "")
    if not trouble and str(run.outcome) == "succeeded":
        return "" if run.results_complete else "not all results came home"  # its state says the rest
    return clean(trouble or run.disk or run.phase or run.reason, 120)


def _clock(at: float) -> str:
    return time.strftime("%H:%M %Z", time.localtime(at))


def still_billing(view: "RunView", now: float) -> list[tuple[str, Style]]:
    """What may bill although its run has ended, and what to do about it: a line for each."""
    if view.run.live:
        return []
    return [_what_to_do(r, now) for r in view.rentals if r.may_bill]


def _what_to_do(rental: "Rental", now: float) -> tuple[str, Style]:
    name, price = clean(rental.id, 60), rental.price if rental.price is not None else rental.offer_price
    state = str(rental.state)
    if state == "held" and rental.keep_until is not None:
        until = f"until {_clock(rental.keep_until)} ({span(rental.keep_until - now)})"
        return (
            f"▲ {name} is kept {until} and bills {dollars(price)}/h; 'choline destroy {name}' ends it",
            "yellow",
        )
    if state in ("intended", "unknown"):
        return (
            f"▲ it is not known whether {name} exists, so it may bill {dollars(price)}/h; choline looks for "
            "it, and destroys what it finds: 'choline rentals' shows what the market says"
        ), "red"
    why = f" ({clean(rental.trouble, 160)})" if rental.trouble else ""
    if state == "releasing":
        return (
            f"▲ {name} is being destroyed{why}; it may bill {dollars(price)}/h until two listings are "
            "without it: 'choline rentals' shows what the market says"
        ), "red"
    return f"▲ {name} is {state}{why} and bills {dollars(price)}/h; 'choline destroy {name}' ends it", "red"


def _status_styles(view: "RunView") -> dict[int, Style]:
    styles: dict[int, Style] = {0: state_cell(view.run)[1], 1: "bold"}
    if not view.run.live and any(r.may_bill for r in view.rentals):
        kept = all(str(r.state) == "held" for r in view.rentals if r.may_bill)
        styles[5] = styles[8] = "yellow" if kept else "red"
    return styles


def _commit(run: "Run") -> str:
    if run.code is None or not run.code.commit:
        return ""
    dirty = f"+{run.code.dirty_count}" if run.code.dirty else ""
    lines = f" ±{run.code.changed_lines}" if run.code.changed_lines else ""
    return clean(run.code.commit, 20)[:7] + dirty + lines


def _sorted(views: "list[RunView]", by: str, now: float) -> "list[RunView]":
    order = list(STATES)
    keys: dict[str, Any] = {
        "created": lambda v: -v.run.created,
        "cost": lambda v: -v.cost(now),
        "price": lambda v: -v.per_hour(),
        "name": lambda v: v.run.plan.name.casefold(),
        "state": lambda v: order.index(state_word(v.run)) if state_word(v.run) in order else len(order),
    }
    return sorted(views, key=keys[by])


def _money_line(money: Any, context: Context) -> None:
    out = context.out
    count = f"{money.rentals} rental{'' if money.rentals == 1 else 's'}"
    billing = f"billing now {dollars(money.per_hour)}/h ({count})" if money.rentals else "nothing bills now"
    spent = f", spent {dollars(money.spent)} in all"
    open_ends = {"releasing": money.releasing, "unknown": money.unknown}
    alarm = ", ".join(f"▲ {name}: {count}" for name, count in open_ends.items() if count)
    fits = out.width is None or len(f"{billing}{spent}, {alarm}") <= out.width
    text = out.paint(billing, "bold", "yellow" if money.rentals else "green") + spent
    if alarm:
        text += (", " if fits else "\n") + out.paint(alarm, "red")
    out.line(text)
    if money.rentals and not _engine_runs(context):
        out.note("! no engine looks after them: 'choline engine start'", "red")


def _engine_runs(context: Context) -> bool:
    from choline_tui.services.quick import engine_answers

    return not context.quick or engine_answers(context.environ)


# ----------------------------------------------------------------------------------------------- show


def view_json(view: "RunView", now: float, *, full: bool = True) -> dict[str, Any]:
    """A run for scripts; values of variables are left out, they may be secrets."""
    run = view.run.model_dump(mode="json")
    run["plan"]["env"] = dict.fromkeys(run["plan"].get("env") or {}, "***")
    document: dict[str, Any] = {
        **run,
        "gone": view.gone,
        "cost": round(view.cost(now), 6),
        "per_hour": round(view.per_hour(), 6),
        "rentals": [r.model_dump(mode="json") for r in view.rentals],
        "had": [r.model_dump(mode="json") for r in view.had],
    }
    if full:
        document["attempts"] = [a.model_dump(mode="json") for a in view.attempts]
    return document


def show(args: argparse.Namespace, context: Context) -> int:
    async def work(choline: "Choline") -> "tuple[RunView, list[Any], dict[str, str]]":
        view = choline.show(args.run)
        folder = choline.paths.run_dir(view.run.id) / "evidence"
        kept = {r.id: str(folder / r.id) for r in view.rentals if r.evidence is not None}
        return view, choline.events(view.run.id), kept

    view, events, evidence = context.use(work, start_engine=False)
    now = context.now()
    if args.json:
        document = view_json(view, now)
        document["events"] = [e.model_dump(mode="json") for e in events]
        document["evidence"] = evidence
        context.out.json(document)
        return 0
    _show_run(view, context, now)
    _show_rentals(view, evidence, context, now)
    context.out.line()
    context.out.line("Timeline", "bold")
    for event in events:
        offset = f"{event.at - view.run.created:8.1f}s" if event.at - view.run.created < 36000 else (
            f"{span(event.at - view.run.created):>9}"
        )  # fmt: skip
        text = folded(plain_words(event, 1000), context.out.width, len(offset) + 13)
        context.out.line(f"  {context.out.paint(offset, 'dim')}  {event.kind:<8} {text}")
    return 0


def _show_run(view: "RunView", context: Context, now: float) -> None:
    run, plan, out = view.run, view.run.plan, context.out
    word, color = state_cell(run)
    rate = view.per_hour()
    out.line(f"{out.paint(word, 'bold', color)}  {out.paint(run.id, 'bold')}  {clean(plan.name)}")
    code = ""
    if run.code is not None:
        code = f"{clean(run.code.title)}; {run.code.file_count} files, {size(run.code.total_bytes)}"
        if run.code.dirty:
            lines = f", {run.code.changed_lines} lines" if run.code.changed_lines else ""
            code += f"; {run.code.dirty_count} changed{lines}"
    wanted = ", ".join(
        filter(None, (clean(plan.query, 400), f"offer {plan.offer_id}" if plan.offer_id else "",
                      f"machine {plan.machine_id}" if plan.machine_id else ""))
    )  # fmt: skip
    came = ""
    if run.results_synced is not None:
        whole = "complete" if run.results_complete else "not complete"
        came = f"{clean(plan.results_into, 1000)} ({whole}, {span(now - run.results_synced)} ago)"
    out.fields(
        [
            ("note", clean(plan.note)),
            ("why", clean(run.reason, 400)),
            ("phase", clean(run.phase)),
            ("disk", clean(run.disk, 600)),
            ("second home", clean(run.also, 600)),
            ("made", when(run.created, now)),
            ("ended", when(run.ended, now) if run.ended is not None else ""),
            ("exit code", "" if run.exit_code is None else str(run.exit_code)),
            ("cost", f"about {dollars(view.cost(now))}" + (f", now {dollars(rate)}/h" if rate else "")),
            ("again of", run.like or ""),
            ("command", clean(plan.command, 1000)),
            ("packages", clean(plan.environment.in_words(), 1000) if plan.environment else ""),
            ("setup", clean(plan.setup, 1000)),
            ("directory", clean(plan.project, 1000)),
            ("code", code),
            ("image", clean(plan.image)),
            ("wanted", f"{wanted}; {plan.type}, {plan.disk_gb:g} GB disk, at most {dollars(plan.cap)}/h"),
            ("variables", ", ".join(clean(n, 60) for n in sorted(plan.env))),
            ("secrets", ", ".join(f"{clean(n, 60)} ({clean(w, 60)})" for n, w in plan.secrets.items())),
            ("ports", ", ".join(clean(p, 40) for p in plan.ports)),
            ("terminal", f"its own: 'choline attach {run.id}'" if plan.tty else ""),
            ("archived", when(run.archived, now) if run.archived is not None else ""),
            ("results", came or "none came home yet"),
        ],
        indent="  ",
    )


def _show_rentals(view: "RunView", evidence: dict[str, str], context: Context, now: float) -> None:
    out = context.out
    for attempt in view.attempts:
        rental = next((r for r in (*view.rentals, *view.had) if r.id == attempt.rental), None)
        out.line()
        word = str(attempt.outcome or attempt.state)
        out.line(
            f"Attempt {attempt.n}: {word}" + (f" ({clean(attempt.reason, 300)})" if attempt.reason else ""),
            "bold",
        )
        if rental is None:
            continue
        mine = rental.run == view.run.id
        kept = rental.keep_until if mine else None
        red: tuple[Style, ...] = ("red",) if mine and rental.may_bill and not view.run.live else ()
        price = rental.price if rental.price is not None else rental.offer_price
        out.fields(
            [
                ("rental", out.paint(f"{rental.id}, {rental.state}", *red)
                           + ("" if mine else f"; it went on to run {rental.run}")),
                ("contract", "" if rental.contract is None else str(rental.contract)),
                ("machine", f"{rental.num_gpus}x {clean(rental.gpu_name)}, {clean(rental.place_name)}, "
                            f"machine {number(rental.machine_id)}, offer {rental.offer_id}"),
                ("price", f"{dollars(price)}/h with {rental.disk_gb:g} GB disk (cap {dollars(rental.cap)})"),
                ("cost", f"about {dollars(rental.cost_of(view.run.id, now))}"),
                ("label", clean(rental.label)),
                ("kept until", when(kept, now) if kept is not None else ""),
                ("had by", ", ".join(stay.run for stay in rental.past) if mine else ""),
                ("released", clean(rental.release_reason, 300)),
                ("gone", when(rental.gone, now) if rental.gone is not None else ""),
                ("evidence", clean(evidence.get(rental.id), 1000)),
            ],
            indent="  ",
        )  # fmt: skip


# ----------------------------------------------------------------------------------------------- pull


def pull(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.cli.progress import watched

    async def work(choline: "Choline") -> dict[str, Any]:
        run = choline.show(args.run).run.id
        return await watched(choline, run, choline.pull(run), context.out)

    answer = context.use(work)
    if args.json:
        context.out.json(answer)
    else:
        whole = "complete" if answer.get("complete") else "the run may still write more"
        if answer.get("unfinished"):
            files = "1 file is" if answer["unfinished"] == 1 else f"{number(answer['unfinished'])} files are"
            whole = f"{files} still being written; small ones are shown in unfinished/"
            whole = f"{files} still being written" if answer.get("copied") else whole
        if answer.get("copied"):
            context.out.line(f"by its host's copier, because {clean(answer['copied'], 300)}")
        if not answer.get("files"):
            what = "the results are at home" if answer.get("complete") else "nothing new; results come home"
            context.out.line(f"{what} in {clean(answer.get('into'), 1000)} ({whole})")
            return 0
        context.out.line(
            f"{number(answer.get('files'))} files, {size(answer.get('bytes'))} brought to "
            f"{clean(answer.get('into'), 1000)} ({whole})"
        )
    return 0
