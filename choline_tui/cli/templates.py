"""``choline templates``: set-ups kept for other projects, for 'choline init --template' and the wizard."""

import argparse
from typing import TYPE_CHECKING

from choline_tui.cli.context import Context
from choline_tui.cli.output import Column, clean, folded

if TYPE_CHECKING:
    from choline_tui.cli.commands import Command
    from choline_tui.config.templates import Template

__all__ = ["agreed_to", "configure_templates"]


def configure_templates(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n"
        "  choline templates save llm-4090            of the project of this directory\n"
        "  choline templates use llm-4090 ../other    choline init ../other --template llm-4090\n"
        "  choline init --template https://example.org/choline.toml\n\n"
        "A template holds environment, hardware, limits, ignore rules and command; not the project's\n"
        "name, its data, or variables. Of secrets it holds names only."
    )
    inner = parser.add_subparsers(dest="what", metavar="list|show|save|rm|use", required=True)
    sub = inner.add_parser("list", help="all of them")
    sub.add_argument("--json", action="store_true", help="one JSON document")
    sub = inner.add_parser("show", help="one, as it would stand in a choline.toml")
    sub.add_argument("name", metavar="NAME|FILE|URL")
    sub.add_argument("--json", action="store_true", help="one JSON document")
    sub = inner.add_parser("save", help="keep one; one of the same name is replaced")
    sub.add_argument("name", metavar="NAME")
    sub.add_argument(
        "source", nargs="?", default=".", metavar="DIR|FILE|URL", help="of what; default: this directory"
    )
    sub = inner.add_parser("rm", help="forget one")
    sub.add_argument("name", metavar="NAME")
    sub = inner.add_parser("use", help="set up a project with one, as 'choline init --template'")
    sub.add_argument("name", metavar="NAME|FILE|URL")
    sub.add_argument("directory", nargs="?", default=".", metavar="DIR", help="the project")
    sub.add_argument("-y", "--yes", action="store_true", help="ask nothing")
    for name, each in inner.choices.items():
        each.set_defaults(handler=_HANDLERS[name], parser=each)


def _list(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.services.templates import named_templates

    found = named_templates(context.environ)
    out = context.out
    if args.json:
        out.json({each.name: {"wrong": each.wrong} if each.wrong else dict(each.values) for each in found})
        return 0
    if not found:
        out.note("No templates are kept. 'choline templates save NAME' keeps this project's set-up.")
        return 0
    columns = [
        Column("name", "left"),
        Column("gpu", "left", keep=2),
        Column("image", "left", keep=1, least=12),
        Column("command", "left", least=20),
    ]
    rows = []
    for each in found:
        values = each.values
        command = f"! {each.wrong}" if each.wrong else values.get("command", "")
        gpu = values.get("gpu") or values.get("query", "")
        rows.append([clean(v, 300) for v in (each.name, gpu, values.get("image", ""), command)])
    out.table(columns, rows)
    return 0


def _show(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.services.templates import resolve, template_text

    with context.waiting("reading the template"):
        template, _ = resolve(args.name, context.environ)
    if args.json:
        context.out.json(dict(template.values))
        return 0
    for line in template_text(template).rstrip("\n").split("\n"):
        context.out.line(clean(line, 2000))
    return 0


def _save(args: argparse.Namespace, context: Context) -> int:
    from pathlib import Path

    from choline_tui.config.project import find_project
    from choline_tui.services.templates import keep, resolve

    start = Path(args.source).expanduser().absolute()
    if "://" not in args.source and start.is_dir():
        made = keep(args.name, find_project(start) or start, context.environ)
    else:
        with context.waiting("reading the template"):
            template, _ = resolve(args.source, context.environ)
        made = keep(args.name, template.values, context.environ)
    context.out.note(folded(f"kept: choline init --template {made.name}", context.out.err_width))
    if made.left:
        context.out.note(f"not kept: {', '.join(made.left)}", "dim")
    return 0


def _rm(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.config.paths import Paths
    from choline_tui.services.templates import remove_template

    remove_template(Paths(environ=context.environ), args.name)
    context.out.note(f"forgotten: {clean(args.name, 60)}")
    return 0


def _use(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.cli.commands import build_parser
    from choline_tui.cli.init import init

    words = ["init", *(["--yes"] if args.yes else []), "--template", args.name, "--", args.directory]
    return init(build_parser(_init()).parse_args(words), context)


def _init() -> "tuple[Command, ...]":
    from choline_tui.cli.commands import COMMANDS

    return tuple(command for command in COMMANDS if command.name == "init")


_HANDLERS = {"list": _list, "show": _show, "save": _save, "rm": _rm, "use": _use}


def agreed_to(template: "Template", context: Context, *, yes: bool) -> bool:
    """A template from elsewhere is shown before it is used; nothing of it is carried out by that."""
    from choline_tui.services.templates import template_text

    out = context.out
    for line in template_text(template).rstrip("\n").split("\n"):
        out.note(f"  {clean(line, 2000)}")
    if template.left:
        out.note(f"not taken from it: {', '.join(template.left)}", "dim")
    return context.confirm("Use this template?", yes=yes, why="using a template from elsewhere")
