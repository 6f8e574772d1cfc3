"""``choline ssh``: a shell, or one command, on a run's machine, by OpenSSH's own client."""

import argparse
import os
import shlex

from choline_tui.cli.context import Context
from choline_tui.cli.inside import Become, become, find_ssh
from choline_tui.kernel.errors import UsageError

__all__ = ["configure_ssh"]


def configure_ssh(parser: argparse.ArgumentParser) -> None:
    parser.usage = "choline ssh RUN [-- COMMAND ...]"
    parser.epilog = (
        "The shell starts in the run's source directory. The machine's host key is the\n"
        "one that was pinned at first contact. The exit code is that of the command, 255\n"
        "when SSH itself failed."
    )
    parser.add_argument("run", metavar="RUN", help="id, beginning of an id, or name")
    parser.set_defaults(handler=ssh, rest=None)


def ssh(
    args: argparse.Namespace,
    context: Context,
    take_over: Become = os.execv,
) -> int:
    program = find_ssh(context)
    if args.rest is not None and not any(args.rest):
        raise UsageError("there is no command after '--'", hint="For example: -- nvidia-smi")
    access = context.use(lambda choline: choline.ssh(args.run), doing="asking the engine")
    if args.rest:
        words = args.rest[0] if len(args.rest) == 1 else shlex.join(args.rest)
        source = shlex.quote(f"{access.directory}/src")
        command = access.command(f"cd {source} 2>/dev/null; {words}")
    else:
        command = access.shell()
    return become(program, command, take_over)
