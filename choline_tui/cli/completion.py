"""``choline completion``: a script for the shell, made by shtab; ids of runs are asked for as you type."""

import argparse

from choline_tui.cli.context import Context
from choline_tui.cli.output import clean

__all__ = ["configure_completion", "configure_runs"]

RUN_ARGUMENTS = ("run", "runs", "like")

PREAMBLE = {
    "bash": """
_choline_compgen_runs() {
  compgen -W "$(choline _runs 2>/dev/null)" -- "$1"
}
""",
    "zsh": """
_choline_zsh_runs() {
  local -a runs
  runs=(${(f)"$(choline _runs 2>/dev/null)"})
  compadd -a runs
}
""",
}
COMPLETE = {"bash": "_choline_compgen_runs", "zsh": "_choline_zsh_runs"}

FISH_RUNS = (
    "complete -c choline -n '__fish_seen_subcommand_from show logs ssh attach exec forward open ls'"
    "' cat pull stop rm again'"
    " -f -a '(choline _runs 2>/dev/null)'\n"
)


def configure_completion(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n"
        "  choline completion bash > ~/.local/share/bash-completion/completions/choline\n"
        "  choline completion zsh > ~/.zfunc/_choline       (with ~/.zfunc in fpath)\n"
        "  choline completion fish > ~/.config/fish/completions/choline.fish"
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.set_defaults(handler=completion)


def completion(args: argparse.Namespace, context: Context) -> int:
    context.out.stdout.write(script(args.shell))
    return 0


def script(shell: str) -> str:
    import shtab

    from choline_tui.cli.commands import build_parser

    parser = build_parser()
    if shell == "fish":
        return str(shtab.complete(parser, shell)) + FISH_RUNS
    _mark_runs(parser)
    return str(shtab.complete(parser, shell, preamble=PREAMBLE))  # type: ignore[arg-type]


def _mark_runs(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                _mark_runs(sub)
        elif action.dest in RUN_ARGUMENTS and action.choices is None:
            action.complete = COMPLETE  # type: ignore[attr-defined]


def configure_runs(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(handler=run_ids)


def run_ids(args: argparse.Namespace, context: Context) -> int:
    """Ids, newest first, one a line; names of runs are left out where they are no plain word."""

    async def work(choline: object) -> list[str]:
        views = choline.runs(limit=200)  # type: ignore[attr-defined]
        names = dict.fromkeys(v.run.plan.name for v in views)
        words = [n for n in names if n and n.isascii() and all(c.isalnum() or c in "-_." for c in n)]
        return [*(v.run.id for v in views), *words]

    for word in context.use(work, start_engine=False):
        context.out.line(clean(word, 100))
    return 0
