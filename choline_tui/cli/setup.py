"""Before a run: is there a project, and does its file still fit what is there? On a terminal, the wizard."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from choline_tui.cli.context import Context
from choline_tui.cli.output import clean, folded

if TYPE_CHECKING:
    from choline_tui.config.templates import Template

__all__ = ["open_wizard", "ready"]

INTERRUPTED = 130


def open_wizard(
    directory: Path,
    context: Context,
    flags: Mapping[str, Any] | None = None,
    template: "Template | None" = None,
    history: bool = False,
    schema: bool = True,
) -> int:
    """The wizard on this terminal; 0 when it wrote the file."""
    from choline_tui.cli import screens
    from choline_tui.kernel.errors import ProjectError
    from choline_tui.screens.wizard import Wanted

    if not directory.is_dir():
        raise ProjectError(f"there is no directory {directory}", hint="Give one that is there.")
    taken = (template.name, template.flat()) if template is not None else None
    wanted = Wanted(directory, dict(flags or {}), history, schema, taken, once=True)
    if not screens.open_wizard(wanted):
        context.out.note("Nothing was written.")
        return INTERRUPTED
    context.out.line(f"{clean(str(directory / 'choline.toml'), 1000)} written")
    context.out.note("'choline check' looks at it and at the market; 'choline create' runs it.", "dim")
    return 0


def ready(args: argparse.Namespace, context: Context) -> bool:
    """Whether the run may be planned. Without a project that it needs, the wizard makes one; about a project
    that no longer fits what is there a person is asked, and with ``-y`` only told. Without a person nothing
    is asked: what is wrong is an error of the plan."""
    from choline_tui.cli.screens import on_terminal
    from choline_tui.config.project import find_project

    start = Path(args.project).expanduser().absolute() if args.project else Path.cwd()
    if args.commit or args.branch or (args.like and args.same_code):
        return True  # the code is another one
    screens = context.interactive and on_terminal(context.environ)
    quiet = args.yes or args.json or args.dry_run
    found = find_project(start)
    if found is None:
        needs = args.needs_project or (args.rest is None and not args.like)
        if not needs or quiet or not screens or not start.is_dir():
            return True
        context.out.note(f"There is no choline.toml in {clean(str(start), 300)} yet: the wizard makes one.")
        return open_wizard(start, context) == 0
    if args.rest is not None and not args.needs_project:
        return True  # the command is given: the file is not what this run is about
    from choline_tui.services.fit import misfits

    differs = misfits(found)
    if not differs:
        return True
    line = f"choline.toml may be out of date: {'; '.join(clean(each, 200) for each in differs)}"
    context.out.note(folded(f"! {line}", context.out.err_width, 2), "yellow")
    if quiet or not context.interactive:
        return True
    return _asked(found, context, screens=screens)


def _asked(directory: Path, context: Context, *, screens: bool) -> bool:
    out = context.out
    out.stdout.flush()
    out.stderr.write(f"Go on all the same? [y/N{'/w for the wizard' if screens else ''}] ")
    out.stderr.flush()
    try:
        said = context.ask("").strip().lower()
    except EOFError:
        said = ""
    if screens and said in ("w", "wizard"):
        return open_wizard(directory, context) == 0
    if said in ("y", "yes"):
        return True
    out.note("Nothing was rented. 'choline init' brings it up to date.")
    return False
