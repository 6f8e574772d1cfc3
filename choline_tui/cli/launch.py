"""``choline run``, ``create`` and ``again``: plan, ask, start, follow."""

import argparse
import shlex
from typing import TYPE_CHECKING, Any

from choline_tui.cli.context import Context
from choline_tui.cli.output import dollars, folded
from choline_tui.cli.values import (
    Positive,
    disk,
    duration,
    environment,
    money,
    percent,
    port,
    secret_name,
)
from choline_tui.kernel.errors import UsageError

if TYPE_CHECKING:
    from choline_tui.model.request import PlanCard, RunRequest
    from choline_tui.model.run import Run
    from choline_tui.services import Choline, RunView

__all__ = ["configure_again", "configure_create", "configure_run"]

INTERRUPTED = 130
STARTING = "freezing plan and code"

EXAMPLES = """\
examples:
  choline run --gpu 2x4090 -- python train.py --lr 3e-4
  choline run --query 'gpu_ram>=40' --max-price 1.20 -y -- python train.py
  choline run --gpu 1x3090 --env LR=3e-4 -p 6006 --name sweep-3 -m 'warmup 500'
  choline run --like k3fq7p --max-price 0.40
  choline run --on k3fq7p -- ./train.sh        (after a run with --keep 30m)
  choline run --branch main --secret GITHUB_TOKEN -- ./train.sh
  choline run --gpu h100 --dry-run --json -- ./train.sh

One word after '--' is text for the shell ('make && ./train'); several are a
command with its words. Nothing is rented before you agree; without a terminal,
-y agrees. Ctrl-C only stops watching: the run goes on.

Values given with --env are kept with the run in this home's store, readable by
you alone but not encrypted. --secret NAME is for secrets: the value is looked
up (environment, .env, .netrc, keyring; see 'choline secrets --help'), handed
over SSH into the machine's memory, masked in logs, and kept in no file here."""


def configure_run(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.usage = "choline run [flags] [-- COMMAND ...]"
    _what(parser)
    parser.add_argument(
        "--like", default="", metavar="RUN", help="on what that run was rented by: query, disk, cap, image"
    )
    _flags(parser)
    parser.set_defaults(handler=run, rest=None, same_code=False, like_what="machine", needs_project=False)


def configure_create(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "The project is the nearest choline.toml, here or above; flags stand over it."
    parser.usage = "choline create [flags]"
    _what(parser)
    _flags(parser)
    parser.set_defaults(
        handler=run, rest=None, same_code=False, needs_project=True, like="", like_what="plan"
    )


def configure_again(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "The frozen code of the run is sent again, byte for byte, unless --new-code,\n"
        "--commit or --branch is given."
    )
    parser.usage = "choline again RUN [flags] [-- COMMAND ...]"
    parser.add_argument("like", metavar="RUN", help="id, beginning of an id, or name")
    parser.add_argument(
        "--new-code", action="store_false", dest="same_code", help="send the files as they are now"
    )
    _what(parser)
    _flags(parser)
    parser.set_defaults(handler=run, rest=None, like_what="plan", needs_project=False)


def _what(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to rent")
    group.add_argument(
        "--place", choices=("vast", "here"), default="",
        help="here: on this computer, for nothing: the rehearsal before paying",
    )  # fmt: skip
    group.add_argument("--gpu", default="", metavar="2x4090", help="number and kind of GPUs")
    group.add_argument("--query", default="", metavar="QUERY", help="conditions, as in 'choline offers'")
    group.add_argument(
        "--filter", default="", metavar="NAME", help="a saved filter; --query and flags add to it"
    )
    group.add_argument(
        "--offer", type=Positive("an offer's id"), metavar="ID", help="this offer and no other"
    )
    group.add_argument(
        "--machine-id", type=Positive("a machine's id"), metavar="ID", help="on this machine only"
    )
    group.add_argument("--type", choices=("on-demand", "interruptible"), default="", help="kind of rental")
    group.add_argument("--disk", type=disk, metavar="GB", help="disk of the machine")
    group.add_argument("--image", default="", metavar="NAME", help="container image")
    group.add_argument("--env-from", default="", metavar="FILE",
                       help="packages that uv installs there: uv.lock, requirements.txt, ...; auto: what is "
                            "found; image: none")  # fmt: skip
    group.add_argument(
        "--on", default="", metavar="RENTAL",
        help="on a machine that was kept (--keep): its rental, contract or a run that had it; rents nothing",
    )  # fmt: skip
    group = parser.add_argument_group("what it may cost")
    group.add_argument("--max-price", type=money, metavar="$/H", help="most $/h, disk included (the cap)")
    group.add_argument(
        "--premium", type=percent, metavar="%", help="the cap is this much above the best offer's price"
    )
    group.add_argument("--bid", type=money, metavar="$/H", help="bid instead of the minimum and 5 %%")
    group.add_argument(
        "--max-life", type=duration, metavar="24h", help="the rental ends then, whatever happens"
    )
    group.add_argument(
        "--keep", type=duration, metavar="30m", help="keep the machine after the run: it bills"
    )
    group.add_argument("--wait", type=duration, metavar="10m", help="how long to look for an offer")
    group.add_argument(
        "--tries", type=Positive("a number of tries"), metavar="N", help="machines tried at most"
    )


def _flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the run")
    group.add_argument("--name", default="", help="what it is called")
    group.add_argument("-m", "--note", default="", metavar="NOTE", help="a word on why")
    group.add_argument("--env", action="append", default=[], metavar="NAME[=VALUE]",
                       help="a variable of the run; without a value, the one it has here; it is kept "
                            "in this home's store: not for secrets")  # fmt: skip
    group.add_argument("--secret", action="append", default=[], metavar="NAME",
                       help="a variable whose value is secret: looked up now, kept in no file"
                       )  # fmt: skip
    group.add_argument("-p", "--port", action="append", type=port, default=[], metavar="PORT",
                       help="open a port: 6006, 8080:80, 53/udp")  # fmt: skip
    group.add_argument("--tty", action=argparse.BooleanOptionalAction, default=None,
                       help="a terminal of its own for the command: 'choline attach'")  # fmt: skip
    group.add_argument("--project", default="", metavar="DIR", help="start in this directory")
    code = group.add_mutually_exclusive_group()
    code.add_argument("--commit", default="", metavar="REV",
                      help="send the code of this commit; the working tree is not touched, and its "
                           "choline.toml says how to run")  # fmt: skip
    code.add_argument("--branch", default="", metavar="NAME",
                      help="the code of this branch as its remote has it; the machine clones it by https "
                           "(--secret GITHUB_TOKEN opens a private one), or else it is sent from here",
                      )  # fmt: skip
    group = parser.add_argument_group("how")
    group.add_argument("--dry-run", action="store_true", help="show the plan; rent nothing")
    group.add_argument("-y", "--yes", action="store_true", help="agree to the plan")
    group.add_argument("-d", "--detach", action="store_true", help="start it and print its id")
    group.add_argument(
        "--json", action="store_true", help="one JSON document on stdout; the log goes to stderr"
    )


def make_request(args: argparse.Namespace, context: Context) -> dict[str, Any]:
    """Fields of ``RunRequest``. Raises UsageError for what cannot be."""
    from pathlib import Path

    project = Path(args.project).expanduser().absolute() if args.project else Path.cwd()
    if not project.is_dir():
        raise UsageError(f"there is no directory {project}", hint="Correct --project.")
    if args.needs_project:
        from choline_tui.config.project import find_project

        if find_project(project) is None:
            raise UsageError(
                f"there is no choline.toml in {project} or above",
                hint="'choline init' writes one; or: choline run --gpu 4090 -- python train.py",
            )
    if args.on and args.filter:
        raise UsageError("--filter says what to rent, and --on rents nothing", hint="Leave one of them out.")
    if args.bid is not None and args.type == "on-demand":
        raise UsageError("--bid is for --type interruptible", hint="Leave one of them out.")
    fields = {
        "project": str(project),
        "command": command_text(args.rest),
        "like": args.like,
        "same_code": args.same_code and not args.commit and not args.branch,
        "commit": args.commit,
        "branch": args.branch,
        "on": args.on,
        "place": args.place,
        "like_what": args.like_what if args.like else "plan",
        "gpu": args.gpu,
        "query": args.query,
        "offer": args.offer,
        "machine_id": args.machine_id,
        "name": args.name,
        "note": args.note,
        "image": args.image,
        "env_from": args.env_from,
        "disk": args.disk,
        "type": args.type,
        "premium": args.premium,
        "max_price": args.max_price,
        "bid": args.bid,
        "env": environment(args.env, context.environ),
        "secrets": [secret_name(word) for word in args.secret],
        "ports": args.port,
        "keep_s": args.keep,
        "max_life_s": args.max_life,
        "wait_s": args.wait,
        "tries": args.tries,
        "tty": args.tty,
    }
    return _filtered(fields, args, context) if args.filter else fields


def _filtered(fields: dict[str, Any], args: argparse.Namespace, context: Context) -> dict[str, Any]:
    """What the saved filter says, where the flags say nothing."""
    from choline_tui.config.filters import find_filter
    from choline_tui.config.paths import Paths

    saved = find_filter(Paths(environ=context.environ), args.filter)
    priced = args.premium is not None or args.max_price is not None
    return {
        **fields,
        "query": f"{saved.query} {args.query}".strip(),
        "type": args.type or saved.type or "",
        "disk": args.disk if args.disk is not None else saved.disk,
        "max_price": args.max_price if priced else saved.max_price,
    }


def command_text(rest: list[str] | None) -> str:
    """One word is text for the shell; several are quoted so that the shell gives them on unchanged."""
    if rest is None:
        return ""
    if not rest or not any(word.strip() for word in rest):
        raise UsageError("there is no command after '--'", hint="For example: -- python train.py")
    return rest[0] if len(rest) == 1 else shlex.join(rest)


def run(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.cli.setup import ready

    if not ready(args, context):
        return INTERRUPTED
    out = context.out
    request = context.use(
        lambda choline: _plan(choline, make_request(args, context), args.dry_run),
        doing="searching the market for a plan",
    )
    asked, card = request
    if args.dry_run:
        if args.json:
            out.json(public_card(card.model_dump(mode="json")))
        else:
            from choline_tui.cli.plan import print_card

            print_card(card, out, err=False)
        return 0
    from choline_tui.cli.plan import print_card

    print_card(card, out, err=True)
    if card.plan.place == "here":
        question, why = "Run it on this computer?", "running a command here"
    elif card.rental is not None:
        question, why = f"Run on it at {dollars(card.price)}/h?", "running on a machine that bills"
    else:
        question, why = f"Rent at up to {dollars(card.plan.cap)}/h and run?", "renting a machine"
    if not context.confirm(question, yes=args.yes, why=why):
        out.note("Nothing was rented." if card.rental is None else "Nothing was started.")
        return INTERRUPTED
    # what was shown is what is paid: the cap of the card goes along, however the market has moved
    if card.plan.place != "here":
        asked = asked.model_copy(update={"max_price": card.plan.cap, "premium": None})
    if asked.branch:
        asked = asked.model_copy(update={"commit": card.commit})  # and what was shown is what is run
    if args.detach:
        started = context.use(lambda choline: choline.start(asked), doing=STARTING)
        if args.json:
            out.json({"id": started.id, "state": str(started.state), "results": started.plan.results_into})
        else:
            out.line(started.id)
            out.note(f"It goes on by itself: choline logs -f {started.id}; choline stop {started.id}", "dim")
        return 0
    return _start_and_follow(args, context, asked)


async def _plan(choline: "Choline", fields: dict[str, Any], dry_run: bool) -> "tuple[RunRequest, PlanCard]":
    request = choline.request(**fields)
    if not dry_run:
        await choline.handed_over(request)  # one that is missing is told before anything is searched
    return request, await choline.plan(request)


def _start_and_follow(args: argparse.Namespace, context: Context, asked: "RunRequest") -> int:
    from choline_tui.cli.follow import Follower, exit_code, follow_run

    out = context.out
    started: list[Run] = []
    follower = Follower(out, log_on_stderr=args.json, now=context.now)

    async def work(choline: "Choline") -> "RunView":
        with context.waiting(STARTING):
            started.append(await choline.start(asked))
        run = started[0]
        out.note(out.paint(f"run {run.id}", "bold", err=True) + "  (ctrl-c stops watching, not the run)")
        # a machine that is kept bills on: the run is over when it is over, and that is said
        until = "ended" if run.plan.keep_s else "gone"
        await follow_run(choline, run.id, follower, until=until)  # type: ignore[arg-type]
        return choline.show(run.id)

    try:
        view = context.use(work)
    except KeyboardInterrupt:
        if started:
            out.note(detached(follower.run or started[0]))
        else:
            out.note("\nInterrupted while it was being started: 'choline status' says whether it was.")
        return INTERRUPTED
    report(view, context, as_json=args.json)
    return exit_code(view)


def detached(run: "Run") -> str:
    """What goes on without anybody watching, and what to say to it."""
    if not run.live:
        return (
            f"\nNo longer watching. Run {run.id} has ended; its rental bills until it is verified gone:\n"
            "  choline status              tells when"
        )
    return (
        f"\nDetached: run {run.id} goes on and bills.\n"
        f"  choline logs -f {run.id}      watches it again\n"
        f"  choline stop {run.id}         ends it, results first"
    )


def report(view: "RunView", context: Context, *, as_json: bool) -> None:
    """How it ended; and, in red, what still bills."""
    from choline_tui.cli.follow import ended
    from choline_tui.cli.runs import still_billing, view_json

    now = context.now()
    out = context.out
    out.note(folded(ended(view, out, now), out.err_width, 2))
    for text, style in still_billing(view, now):
        out.note(folded(text, out.err_width, 2), style)
    if as_json:
        context.out.json(view_json(view, now))


def public_card(card: dict[str, Any]) -> dict[str, Any]:
    """Without the values of variables: they may be secrets."""
    plan = dict(card["plan"])
    plan["env"] = dict.fromkeys(plan.get("env") or {}, "***")
    return {**card, "plan": plan}
