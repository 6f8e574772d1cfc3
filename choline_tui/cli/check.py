"""``choline check``: is ``choline.toml`` right, is what it sends there, and has the market such a machine?"""

import argparse
from typing import TYPE_CHECKING, Any

from choline_tui.cli.context import Context
from choline_tui.cli.output import clean, dollars, folded, size
from choline_tui.kernel.errors import CholineError, NoOffer

if TYPE_CHECKING:
    from pathlib import Path

    from choline_tui.model.request import PlanCard
    from choline_tui.services import Choline
    from choline_tui.services.project_check import Checked, Problem

__all__ = ["configure_check"]

WRONG = 2


def configure_check(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Nothing is rented. Exit 0: a run could start; 2: the file or the query is wrong, or\n"
        "something to send is not there; 4: the market has no such machine now; others as\n"
        "listed by 'choline --help', when the market could not be asked."
    )
    add = parser.add_argument
    add("directory", nargs="?", default=".", metavar="DIR", help="in or below the project")
    add("--offline", action="store_true", help="without asking the market")
    add("--json", action="store_true", help="one JSON document")
    parser.set_defaults(handler=check)


def check(args: argparse.Namespace, context: Context) -> int:
    from pathlib import Path

    from choline_tui.config.project import find_project
    from choline_tui.services.project_check import check_file

    start = Path(args.directory).expanduser().absolute()
    directory = find_project(start) or start
    with context.waiting("looking at the project"):
        checked = check_file(directory, context.environ)
    card: PlanCard | None = None
    trouble: CholineError | None = None
    if checked.good and not args.offline:
        try:
            card = context.use(lambda choline: _plan(choline, directory), doing="searching the market")
        except CholineError as error:
            trouble = error
    code = WRONG if not checked.good else trouble.exit_code if trouble is not None else 0
    if args.json:
        context.out.json(_document(checked, card, trouble, code))
    else:
        _print(checked, card, trouble, context, offline=args.offline)
    return code


async def _plan(choline: "Choline", directory: "Path") -> "PlanCard":
    # what 'choline create' would do, to the last condition
    return await choline.plan(choline.request(project=str(directory)))


def _place(problem: "Problem", file: str) -> str:
    where = f"{file}:{problem.line}:{problem.column}" if problem.line else file
    return f"{where}: {problem.key}" if problem.key else where


def _print(
    checked: "Checked",
    card: "PlanCard | None",
    trouble: CholineError | None,
    context: Context,
    *,
    offline: bool,
) -> None:
    out = context.out
    for problem in checked.problems:
        glyph = "✘" if problem.fatal else "!"
        message = problem.message
        if problem.key and message.startswith(f"{problem.key}:"):
            message = message[len(problem.key) + 1 :].strip()
        text = f"{glyph} {clean(_place(problem, checked.file), 1000)}: {clean(message, 600)}"
        out.line(folded(text, out.width, 2), "red" if problem.fatal else "yellow")
        if problem.hint:
            out.line(folded(f"  {clean(problem.hint, 600)}", out.width, 2))
    if checked.project is not None:
        files = card.files if card else checked.code_files
        code = card.bytes if card else checked.code_bytes
        rows = [("command", clean(checked.project.command, 400))]
        if checked.environment is not None:
            rows.append(("packages", clean(checked.environment.in_words(), 600)))
        rows.append(
            ("code", f"{'' if card else 'about '}{files} file{'' if files == 1 else 's'}, {size(code)}")
        )
        for path, amount, whole in checked.data:
            rows.append(("data", f"{clean(path, 400)}, {'' if whole else 'at least '}{size(amount)}"))
        for name, where in checked.secrets.items():
            rows.append(("secret", f"{clean(name, 60)}, {clean(where, 200) or 'missing'}"))
        if card is not None:
            count = f"{'' if card.complete else 'at least '}{card.offers}"
            noun = "offer" if card.offers == 1 else "offers"
            price = f"from {dollars(card.price)}/h with {card.plan.disk_gb:g} GB disk"
            rows.append(
                ("market", f"{count} {noun} now, {price}; the cap would be {dollars(card.plan.cap)}/h")
            )
        elif offline:
            rows.append(("market", "not asked (--offline)"))
        out.fields(rows)
    for warning in card.warnings if card is not None else ():
        out.line(folded(f"! {clean(warning, 400)}", out.width, 2), "yellow")
    if trouble is not None:
        what = "no such machine now" if isinstance(trouble, NoOffer) else "the market could not be asked"
        out.line(folded(f"✘ {what}: {clean(trouble.message, 600)}", out.width, 2), "red")
        if trouble.hint:
            out.line(folded(f"  {clean(trouble.hint, 600)}", out.width, 2))
    if checked.good and trouble is None:
        out.line("✔ right" if offline else "✔ right, and the market has it", "green")


def _document(
    checked: "Checked", card: "PlanCard | None", trouble: CholineError | None, code: int
) -> dict[str, Any]:
    market: dict[str, Any] | None = None
    if card is not None:
        market = {
            "offers": card.offers,
            "complete": card.complete,
            "price": card.price,
            "cap": card.plan.cap,
            "disk_gb": card.plan.disk_gb,
            "warnings": card.warnings,
        }
    elif trouble is not None:
        market = {"error": trouble.code, "message": trouble.message, "hint": trouble.hint}
    return {
        "file": checked.file,
        "exit_code": code,
        "good": code == 0,
        "problems": [vars(problem) for problem in checked.problems],
        "command": checked.project.command if checked.project else None,
        "code": {
            "files": card.files if card else checked.code_files,
            "bytes": card.bytes if card else checked.code_bytes,
        },
        "environment": checked.environment.model_dump(mode="json") if checked.environment else None,
        "data": [{"path": path, "bytes": amount, "complete": whole} for path, amount, whole in checked.data],
        "secrets": {name: where or None for name, where in checked.secrets.items()},
        "market": market,
    }
