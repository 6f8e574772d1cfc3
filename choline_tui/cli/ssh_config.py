"""``choline ssh-config``: whether other tools know our machines as choline-RUN; one line, on request."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from choline_tui.cli.context import Context
from choline_tui.cli.output import clean

if TYPE_CHECKING:
    from choline_tui.config.user_ssh import UserSsh
    from choline_tui.services import Choline

__all__ = ["configure_ssh_config", "offer_line"]


def configure_ssh_config(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "With it, 'ssh choline-RUN', scp, rsync, sftp and editors reach a run's machine\n"
        "with its pinned host key. The names lie in a file of choline's own; your file\n"
        "gets one Include line at its top, nothing else in it is touched, and the file\n"
        "as it was is kept beside it."
    )
    parser.add_argument("what", choices=("install", "remove", "show"), help="the line in ~/.ssh/config")
    parser.add_argument("--file", type=Path, metavar="FILE", help="another configuration than ~/.ssh/config")
    parser.set_defaults(handler=ssh_config)


def ssh_config(args: argparse.Namespace, context: Context) -> int:
    async def work(choline: "Choline") -> "UserSsh":
        return choline.ssh_include(args.file.expanduser().absolute() if args.file is not None else None)

    include = context.use(work, start_engine=False)
    out, name = context.out, clean(str(include.config), 1000)
    if args.what == "install":
        if not include.install():
            out.line(f"{name} has the line already")
            return 0
        out.line(f"added to {name}: {clean(include.line, 1000)}")
        if include.backup.exists():
            out.note(f"as it was, it is in {clean(str(include.backup), 1000)}", "dim")
        out.note("'ssh choline-RUN' now reaches the machine of a run", "dim")
        return 0
    if args.what == "remove":
        out.line(f"taken out of {name}" if include.remove() else f"{name} does not have the line")
        return 0
    out.line(clean(include.line, 1000))
    out.note(f"is {'' if include.installed else 'not '}in {name}", "dim")
    if include.names.exists():
        for line in include.names.read_text("utf-8", "replace").splitlines():
            if line.startswith("Host "):
                out.line(clean(line[5:], 200))
    return 0


def offer_line(context: Context, *, yes: bool) -> None:
    """Ask to add the line when it is missing; when nobody can be asked it stays as it is."""

    async def work(choline: "Choline") -> "UserSsh":
        return choline.ssh_include()

    if not yes and not context.interactive:
        return
    include = context.use(work, start_engine=False)
    if include.installed:
        return
    context.out.note(f"Adds to {clean(str(include.config), 1000)}: {clean(include.line, 1000)}")
    if context.confirm("Add that line?", yes=yes, why="changing your SSH configuration"):
        include.install()
