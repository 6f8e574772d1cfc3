"""The commands: which module has which, and how a command line becomes a call.

Only the module of the command that was typed is loaded. Exit codes are those of ``kernel.errors``:

====  ==========================================================================
0     done; for ``run``: the task succeeded
1     the task failed (its own command ended with a status other than 0)
2     usage, settings or query
3     the market, a remote or this computer failed
4     not found; no offer
5     key or credit
6     rate limit or ration
7     the engine
70    a fault of choline itself
130   interrupted: Ctrl-C, or the run was stopped
====  ==========================================================================
"""

import argparse
import difflib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from choline_tui.kernel.errors import UsageError

if TYPE_CHECKING:
    from choline_tui.cli.context import Context

__all__ = ["COMMANDS", "build_parser", "run"]

EXIT_CODES = """\
exit codes:
  0 done, succeeded          1 the task failed      2 usage, settings, query
  3 market, remote, computer 4 not found, no offer  5 key or credit
  6 rate limit or ration     7 the engine          70 a fault of choline
  130 interrupted (Ctrl-C), or the run was stopped"""


@dataclass(frozen=True)
class Command:
    name: str
    module: str
    summary: str
    group: str = ""


COMMANDS = (
    Command("offers", "offers", "search the market", "find and run"),
    Command("filters", "filters", "saved filters: list, show, save, rm", "find and run"),
    Command("init", "init", "look at a project and write its choline.toml", "find and run"),
    Command(
        "templates", "templates", "set-ups kept for other projects: list, show, save, rm, use", "find and run"
    ),
    Command("check", "check", "is choline.toml right, and has the market such a machine?", "find and run"),
    Command("run", "launch", "rent a machine, run a command on it, bring the results home", "find and run"),
    Command("create", "launch", "run the project of this directory now", "find and run"),
    Command("again", "launch", "run a run again, with its own code", "find and run"),
    Command("status", "runs", "what runs, what it costs", "runs"),
    Command("show", "runs", "everything about one run", "runs"),
    Command("logs", "logs", "what a run printed", "runs"),
    Command("ssh", "shell", "a shell, or a command, on a run's machine", "runs"),
    Command("attach", "inside", "the terminal of a run's own program", "runs"),
    Command("exec", "inside", "a command in a run's directory, with its variables", "runs"),
    Command("forward", "inside", "a port of a run's machine, on this computer", "runs"),
    Command("open", "inside", "a run's directory in VS Code, over SSH", "runs"),
    Command("ls", "files", "a run's files, on its machine or at home", "runs"),
    Command("cat", "files", "one file of a run", "runs"),
    Command("pull", "runs", "bring a run's results home now", "runs"),
    Command("push", "code", "send what changed here to a live run's machine", "runs"),
    Command("checkout", "code", "the exact code of a run, in a directory", "runs"),
    Command("diff", "code", "what differs between the code of two runs, or of now", "runs"),
    Command("stop", "stop", "end a run, bring its results home, destroy its rental", "runs"),
    Command("rm", "remove", "take an ended run out of the lists, with its files", "runs"),
    Command("prune", "remove", "the same with all runs that ended long ago", "runs"),
    Command("rentals", "rentals", "everything the account has on the market, and whose it is", "money"),
    Command("destroy", "rentals", "destroy a rental that belongs to no live run", "money"),
    Command("engine", "engine", "the process that acts: start, stop, status, run", "this home"),
    Command("config", "config", "settings: path, show, set, unset", "this home"),
    Command("secrets", "secrets", "secrets by name: list, set, rm, give", "this home"),
    Command("key", "config", "what the API key may do", "this home"),
    Command("ssh-config", "ssh_config", "let 'ssh choline-RUN' work in every other tool", "this home"),
    Command("completion", "completion", "completion for bash, zsh or fish", "this home"),
    Command("simulate", "simulate", "a rehearsal market on this computer", "rehearse"),
    Command("demo", "demo", "the whole job on a private rehearsal market, without an account", "rehearse"),
)
HIDDEN = (Command("_runs", "completion", "ids and names of runs, for completion"),)

OLD_WORDS = {
    "launch": "run",
    "put": "run",
    "bid": "run --type interruptible",
    "kill": "stop",
    "down": "stop",
    "sync": "pull",
    "stream": "logs -f",
    "log": "logs",
    "list": "status",
}
"""Verbs of older tools that are gone, and what to say now."""


class Parser(argparse.ArgumentParser):
    """Argparse whose mistakes are errors of ours: one line, with what to do next."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        hint = f"'{self.prog} --help' shows how it is used."
        if message.startswith("unrecognized arguments:"):
            word = message.partition(":")[2].split()[0]
            known = [o for a in self._actions for o in a.option_strings if o.startswith("--")]
            near = difflib.get_close_matches(word.partition("=")[0], known, n=1)
            message = f"there is no flag {word}" if word.startswith("-") else f"{word!r} is one word too many"
            if near:
                hint = f"Did you mean {near[0]}?"
        raise UsageError(message[:300], hint=hint)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        # a subparser's leftovers come up to the parser above, whose help would be of no use
        found, left = self.parse_known_args(args, namespace)
        if left:
            getattr(found, "parser", self).error(f"unrecognized arguments: {' '.join(left)}")
        return found


def run(argv: Sequence[str], context: "Context | None" = None) -> int:
    """Carry out one command line. Raises the errors of ``kernel.errors``; returns the exit code."""
    words = list(argv)
    if words and words[0] == "runs":
        words = ["status", *words[1:]]
    if not words or words[0] in ("-h", "--help", "help"):
        if len(words) > 1 and words[0] == "help":
            words = [*words[1:], "--help"]
        else:
            print(overview())
            return 0
    if words[0] in ("-V", "--version"):
        from choline_tui import __version__

        print(f"choline {__version__}")
        return 0
    if words[:2] == ["search", "offers"]:
        words = ["offers", *words[2:]]
    command = _find(words[0])
    before, dashes, after = _split(words[1:])
    parser = build_parser((command,))
    try:
        args = parser.parse_args([command.name, *before])
    except SystemExit as done:  # argparse has printed a help text
        return int(done.code or 0)
    if after is not None and not hasattr(args, "rest"):
        args.parser.error(f"'{command.name}' takes nothing after '--'")
    if hasattr(args, "rest"):
        args.rest = after if dashes else None
    if context is None:
        from choline_tui.cli.context import Context

        context = Context.standard()
    return int(args.handler(args, context))


def _split(words: list[str]) -> tuple[list[str], bool, list[str] | None]:
    """What stands before and after the first ``--``."""
    if "--" not in words:
        return words, False, None
    at = words.index("--")
    return words[:at], True, words[at + 1 :]


def _find(word: str) -> Command:
    for command in (*COMMANDS, *HIDDEN):
        if command.name == word:
            return command
    if word in OLD_WORDS:
        raise UsageError(f"'{word}' is now 'choline {OLD_WORDS[word]}'", hint="")
    if word == "search":
        raise UsageError("search what?", hint="'choline search offers' is 'choline offers'.")
    if word.startswith("-"):
        raise UsageError(f"there is no flag {word[:60]} before a command", hint="See 'choline --help'.")
    # an old word that was nearly hit answers with the new one as well
    near = difflib.get_close_matches(word, [*(c.name for c in COMMANDS), *OLD_WORDS], n=1)
    hint = (
        f"Did you mean '{OLD_WORDS.get(near[0], near[0])}'?"
        if near
        else "'choline --help' lists the commands."
    )
    raise UsageError(f"there is no command '{word[:60]}'", hint=hint)


def build_parser(commands: Sequence[Command] = COMMANDS) -> Parser:
    """A parser with these commands; all of them for completion scripts."""
    parser = Parser(prog="choline", description="training runs on rented GPUs", epilog=EXIT_CODES)
    parser.add_argument("-V", "--version", action="store_true", help="print the version")
    inner = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for command in commands:
        module = importlib.import_module(f"choline_tui.cli.{command.module}")
        sub = inner.add_parser(command.name, help=command.summary, description=command.summary + ".")
        sub.set_defaults(parser=sub)
        getattr(module, f"configure_{command.name.lstrip('_').replace('-', '_')}")(sub)
    return parser


def overview() -> str:
    """``choline --help``."""
    lines = [
        "usage: choline COMMAND [flags]        choline COMMAND --help",
        "       choline [offers|runs]          on a terminal: the app, at that screen",
        "",
        "Find an offer, rent it once, run on it, bring the results home, leave nothing",
        "billing.",
    ]
    group = ""
    for command in COMMANDS:
        if command.group != group:
            group = command.group
            lines += ["", f"{group}:"]
        lines.append(f"  {command.name:<11} {command.summary}")
    lines += [
        "",
        "examples:",
        "  choline demo                                   rehearse, without an account",
        "  choline offers --gpu 2x4090 'inet_down>500'",
        "  choline run --gpu 1x4090 -- python train.py",
        "  choline status          choline logs -f RUN          choline stop RUN",
        "",
        EXIT_CODES,
    ]
    return "\n".join(lines)
