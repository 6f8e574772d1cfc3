"""``choline secrets``: which there are, keeping them in the system keyring, and giving them to a run."""

import argparse
import sys

from choline_tui.cli.context import Context
from choline_tui.cli.output import Column, Style, clean
from choline_tui.cli.values import secret_name
from choline_tui.kernel.errors import UsageError

__all__ = ["configure_secrets"]

EXAMPLES = """\
A project names its secrets (secrets = ["WANDB_API_KEY"] in choline.toml, or --secret NAME);
their values are looked up when a run starts: in the environment, in the project's .env, in
~/.netrc (api.wandb.ai, huggingface.co, github.com), in a Hugging Face login, in the keyring.

  choline secrets list                    what this project needs, and where it is
  choline secrets set WANDB_API_KEY       asks for the value, and keeps it in the keyring
  pass wandb | choline secrets set WANDB_API_KEY -
  choline secrets give k3fq7p             to a run that waits for what only a shell had

No value is shown, logged, or written to a file of choline's. On the machine it lies in memory,
for the run's own commands, and goes when they end; in logs it is replaced by stars (values
of five characters and more)."""


def configure_secrets(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    inner = parser.add_subparsers(dest="verb", metavar="VERB")
    about = "names, and where each value is"
    sub = inner.add_parser("list", help=about, description=about + ".")
    sub.add_argument("names", nargs="*", metavar="NAME", help="these as well")
    sub.add_argument("--json", action="store_true", help="one JSON document")
    sub.set_defaults(handler=show, parser=sub)
    about = "keep one in the system keyring"
    sub = inner.add_parser("set", help=about, description=about + "; the value comes from standard input.")
    sub.add_argument("name", metavar="NAME")
    sub.add_argument("stdin", nargs="?", choices=["-"], metavar="-", help="from a pipe, without asking")
    sub.set_defaults(handler=keep, parser=sub)
    about = "take one out of the keyring"
    sub = inner.add_parser("rm", help=about, description=about + ".")
    sub.add_argument("name", metavar="NAME")
    sub.set_defaults(handler=forget, parser=sub)
    about = "hand values to a run that waits for them"
    sub = inner.add_parser("give", help=about, description=about + ", looked up here and now.")
    sub.add_argument("run", metavar="RUN", help="id, beginning of an id, or name")
    sub.set_defaults(handler=give, parser=sub)
    parser.set_defaults(handler=show, names=[], json=False)


def show(args: argparse.Namespace, context: Context) -> int:
    from pathlib import Path

    from choline_tui.services.secrets import listed

    rows = listed(Path.cwd(), context.environ, [secret_name(name) for name in args.names])
    out = context.out
    if args.json:
        out.json([{"name": r.name, "where": r.where or None, "named": r.named} for r in rows])
    elif not rows:
        out.note("No secrets are named here, and the keyring keeps none: 'choline secrets --help'.")
    else:
        cells = [[clean(r.name, 60), clean(r.where, 200) or "missing", clean(r.named, 60)] for r in rows]
        styles: list[dict[int, Style]] = [{1: "red"} if not r.where else {} for r in rows]
        out.table(
            (Column("name", "left"), Column("value", "left"), Column("named by", "left")), cells, styles
        )
    return 0


def keep(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.secrets.ring import Keyring

    name = secret_name(args.name)
    ring = Keyring()
    ring.need()  # before anybody types anything
    if args.stdin or not sys.stdin.isatty():
        text = sys.stdin.read(1 << 17).rstrip("\r\n")
    else:
        import getpass

        text = getpass.getpass(f"{name}: ")
    if not text or "\0" in text or len(text.encode("utf-8", "surrogateescape")) > 64 << 10:
        raise UsageError(
            f"that is no value for {name}", hint="Give text of at most 64 KiB on standard input."
        )
    ring.set(name, text)
    context.out.note(f"{name} is in the keyring.")
    return 0


def forget(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.secrets.ring import Keyring

    Keyring().remove(secret_name(args.name))
    context.out.note(f"{args.name} is in the keyring no more.")
    return 0


def give(args: argparse.Namespace, context: Context) -> int:
    names = context.use(lambda choline: choline.give_secrets(args.run), doing="handing secrets over")
    context.out.note(f"handed over: {', '.join(names)}")
    return 0
