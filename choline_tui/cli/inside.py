"""``choline exec``, ``attach``, ``open`` and ``forward``: into a run's machine, by OpenSSH's own client."""

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable

from choline_tui.cli.context import Context
from choline_tui.cli.output import clean
from choline_tui.kernel.errors import SystemFault, UsageError

__all__ = [
    "Become",
    "become",
    "configure_attach",
    "configure_exec",
    "configure_forward",
    "configure_open",
    "find_ssh",
]

Become = Callable[[str, list[str]], object]
"""takes this process over by a program (os.execv)"""
LEAVE = "ctrl+\\"
"""as in ``services.verbs``, which takes long to load"""


def find_ssh(context: Context) -> str:
    """OpenSSH's client. Raises SystemFault where there is none."""
    program = shutil.which("ssh", path=context.environ.get("PATH"))
    if program is None:
        raise SystemFault(
            "OpenSSH's client 'ssh' is not installed here",
            hint="Install it (Debian: apt install openssh-client), or use 'choline logs' and 'choline pull'.",
        )
    return program


def become(program: str, command: list[str], take_over: Become) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    take_over(program, command)
    return 0


def on_terminal() -> bool:
    """Whether what runs now may have the terminal for itself."""
    return all(s is not None and not s.closed and s.isatty() for s in (sys.stdin, sys.stdout))


# ----------------------------------------------------------------------------------------------- exec


def configure_exec(parser: argparse.ArgumentParser) -> None:
    parser.usage = "choline exec RUN [-t | -T] [-- COMMAND ...]"
    parser.epilog = (
        "COMMAND gets the variables of the run's own (CHOLINE_*, and what env gives) and\n"
        "starts in its source directory; without one, a shell does. One word after '--'\n"
        "is text for the shell ('ls | wc -l'); several are a command with its words. The\n"
        "exit code is that of the command, 255 when the machine was not reached.\n\n"
        "examples:\n"
        "  choline exec RUN -- nvidia-smi\n"
        "  choline exec RUN -- 'tail -n 3 \"$CHOLINE_RESULTS\"/*.csv'"
    )
    parser.add_argument("run", metavar="RUN", help="id, beginning of an id, or name")
    group = parser.add_mutually_exclusive_group()
    add = group.add_argument
    add("-t", "--tty", action="store_true", default=None, dest="tty", help="on a terminal of its own there "
        "(default: when it is typed on one)")  # fmt: skip
    add("-T", "--no-tty", action="store_false", dest="tty", help="not on a terminal")
    parser.set_defaults(handler=execute, rest=None)


def execute(args: argparse.Namespace, context: Context, take_over: Become = os.execv) -> int:
    program = find_ssh(context)
    words = args.rest or []
    if args.rest is not None and not any(word.strip() for word in words):
        raise UsageError("there is no command after '--'", hint="For example: -- nvidia-smi")
    tty = on_terminal() if args.tty is None else args.tty
    command = context.use(
        lambda choline: choline.exec_command(args.run, *words, tty=tty), doing="asking the engine"
    )
    return become(program, command, take_over)


# --------------------------------------------------------------------------------------------- attach


def configure_attach(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "For runs whose command runs on a terminal of its own: 'choline run --tty', or\n"
        "'tty = true' in choline.toml. What it shows is logged as ever; it goes on when\n"
        "you leave, and when the connection breaks. Several may be attached; the\n"
        "smallest window sets its size. As with ssh, the machine draws on your screen:\n"
        "'choline logs -f' follows a machine you would rather not let."
    )
    parser.add_argument("run", metavar="RUN", help="id, beginning of an id, or name")
    parser.add_argument(
        "--key", default=LEAVE, metavar="KEY", help="the key that leaves (default: ctrl+\\, also ctrl+4)"
    )
    parser.set_defaults(handler=attach)


def attach(args: argparse.Namespace, context: Context, take_over: Become = os.execv) -> int:
    program = find_ssh(context)
    command = context.use(
        lambda choline: choline.attach_command(args.run, key=args.key), doing="asking the engine"
    )
    if not on_terminal():
        raise UsageError("attach needs a terminal", hint=f"'choline logs -f {args.run}' follows without one.")
    context.out.note(f"Attaching to {clean(args.run, 60)}; {args.key} leaves, and it goes on.", "dim")
    return become(program, command, take_over)


# ----------------------------------------------------------------------------------------------- open


def configure_open(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "The editor reaches the machine as choline-RUN, which it finds by one line in\n"
        "your own SSH configuration: 'choline ssh-config install' adds it. What you\n"
        "change there does not come home with the run."
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="id, beginning of an id, or name")
    add("--editor", default="code", metavar="NAME", help="program of VS Code's family; default code")
    add("-y", "--yes", action="store_true", help="add that line to ~/.ssh/config without asking")
    parser.set_defaults(handler=open_)


def open_(
    args: argparse.Namespace,
    context: Context,
    start: Callable[[list[str]], int] = subprocess.call,
) -> int:
    from choline_tui.cli.ssh_config import offer_line

    if shutil.which(args.editor, path=context.environ.get("PATH")) is not None:
        offer_line(context, yes=args.yes)
    command = context.use(
        lambda choline: choline.open_command(args.run, args.editor), doing="asking the engine"
    )
    return start(command)


# -------------------------------------------------------------------------------------------- forward


def configure_forward(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n"
        "  choline forward RUN 6006            TensorBoard there, http://127.0.0.1:6006 here\n"
        "  choline forward RUN 8888:8080       port 8080 there, 8888 here\n\n"
        "Only this computer reaches them. It goes on until ctrl-c."
    )
    parser.add_argument("run", metavar="RUN", help="id, beginning of an id, or name")
    parser.add_argument(
        "ports", nargs="+", metavar="PORT[:REMOTE]", help="port here, and there if it differs"
    )
    parser.set_defaults(handler=forward)


def forward(args: argparse.Namespace, context: Context, take_over: Become = os.execv) -> int:
    from choline_tui.services.verbs import port_pair

    program = find_ssh(context)
    pairs = [port_pair(port) for port in args.ports]
    for here, _there in pairs:
        _must_be_free(here)
    command = context.use(
        lambda choline: choline.forward_command(args.run, *args.ports), doing="asking the engine"
    )
    for here, there in pairs:
        context.out.note(f"http://127.0.0.1:{here} leads to port {there} of {clean(args.run, 60)}")
    context.out.note("ctrl-c ends it", "dim")
    return become(program, command, take_over)


def _must_be_free(port: int) -> None:
    with contextlib.closing(socket.socket()) as probe:
        # as ssh does it: a port in TIME_WAIT is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be had here: {error.strerror}",
                hint=f"Take another one: {port + 1 if port < 65535 else 8080}:{port}.",
            ) from None
