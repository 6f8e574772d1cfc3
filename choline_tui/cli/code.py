"""``choline checkout``, ``diff`` and ``push``: the code of runs, rebuilt, compared, sent."""

import argparse
import contextlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from choline_tui.cli.context import Context
from choline_tui.cli.output import Column, Output, clean, number, size

if TYPE_CHECKING:
    from choline_tui.services import Choline

__all__ = ["configure_checkout", "configure_diff", "configure_push"]

_NAMED = 20
"""files that are named one by one"""
_PAGER = "less"


def configure_checkout(parser: argparse.ArgumentParser) -> None:
    parser.usage = "choline checkout RUN [DIR] [--json]"
    parser.epilog = (
        "Every file as it was sent, what was not committed included, from what choline\n"
        "keeps: it works also when the commit is gone from your repository. The files\n"
        "are yours to change. Links that led out of the project were not sent, and are\n"
        "not there.\n\n"
        "examples:\n"
        "  choline checkout k3fq7p               into k3fq7p-code\n"
        "  choline checkout k3fq7p ~/as-it-was"
    )
    parser.add_argument("run", metavar="RUN", help="id, beginning of an id, or name")
    parser.add_argument(
        "directory", nargs="?", default="", metavar="DIR", help="empty or not there yet; default RUN-code"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(handler=checkout)


def checkout(args: argparse.Namespace, context: Context) -> int:
    async def work(choline: "Choline") -> dict[str, Any]:
        run = choline.show(args.run).run.id
        into = Path(args.directory).expanduser() if args.directory else Path(f"{run}-code")
        return await choline.checkout(run, into)

    made = context.use(work, doing="rebuilding the code")
    out = context.out
    if args.json:
        out.json(made)
        return 0
    count = _files(made["files"])
    out.line(f"{count}, {size(made['bytes'])} in {clean(made['into'], 1000)}")
    out.fields(_origin(made), indent="  ")
    for warning in made["warnings"]:
        out.note(f"! {clean(warning, 400)}", "yellow")
    return 0


def _origin(code: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the code of a run comes from, for ``Output.fields``."""
    if not code["commit"]:
        return [("commit", "none: the project was not in git, or had no commit")]
    return [
        ("commit", f"{clean(code['commit'], 64)} {clean(code['message'], 200)}".strip()),
        ("branch", clean(code["branch"], 200)),
        ("remote", clean(code["remote"], 500)),
        ("beyond it", _dirty(code)),
    ]


def _dirty(code: dict[str, Any]) -> str:
    if not code["dirty_count"]:
        return "nothing: the tree was clean"
    lines = f", {code['changed_lines']:,} lines" if code["changed_lines"] else ""
    return f"{_files(code['dirty_count'])} changed{lines}"


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


# ----------------------------------------------------------------------------------------------- diff


def configure_diff(parser: argparse.ArgumentParser) -> None:
    parser.usage = "choline diff RUN [RUN] [--stat | --json]"
    parser.epilog = (
        "From the first to the second run's code; with one run, to its project as it is\n"
        "now. On a terminal it goes through $PAGER (less); into a pipe or a file goes\n"
        "what 'git apply' takes, binary files included.\n\n"
        "examples:\n"
        "  choline diff k3fq7p m9x2aa --stat\n"
        "  choline diff k3fq7p                   what you changed since\n"
        "  choline diff k3fq7p > since.patch"
    )
    parser.add_argument("run", metavar="RUN", help="id, beginning of an id, or name")
    parser.add_argument(
        "other", nargs="?", default="", metavar="RUN", help="default: the files as they are now"
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--stat", action="store_true", help="only which files, and how many lines")
    group.add_argument("--json", action="store_true", help="the same as one JSON document")
    parser.set_defaults(handler=diff)


def diff(args: argparse.Namespace, context: Context) -> int:
    out = context.out
    text = not args.stat and not args.json
    whole = text and not out.out_is_terminal

    async def work(choline: "Choline") -> "tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]":
        found = await choline.diff(args.run, args.other, text=text, binary=whole)
        if text:
            with _sink(out, raw=whole) as write:
                async for piece in found.text:
                    write(piece)
        return found.old, found.new, found.files

    old, new, files = context.use(work, doing="" if text else "comparing")
    added, removed = (sum(each[side] or 0 for each in files) for side in ("added", "removed"))
    if args.json:
        out.json({"old": old, "new": new, "files": files, "added": added, "removed": removed})
    elif args.stat:
        _stat(files, out)
        out.line(f"{_files(len(files))} differ, {added:,} lines added, {removed:,} removed")
    elif not files:
        out.note(f"The code of {clean(old['run'], 20)} and {_name(new)} is the same.")
    return 0


def _name(side: dict[str, Any]) -> str:
    return clean(side["run"], 20) if side["run"] else f"the files in {clean(side['project'], 500)}"


def _stat(files: list[dict[str, Any]], out: Output) -> None:
    if not files:
        return
    rows = [
        [
            clean(each["kind"], 20),
            "binary" if each["added"] is None else f"+{number(each['added'])}",
            "" if each["removed"] is None else f"-{number(each['removed'])}",
            (f"{clean(each['before'], 300)} -> " if each["before"] else "") + clean(each["path"], 500),
        ]
        for each in files
    ]
    out.table(
        (Column("what", "left"), Column("added"), Column("removed"), Column("file", "left", 0, 20)), rows
    )


@contextlib.contextmanager
def _sink(out: Output, *, raw: bool) -> Iterator[Callable[[bytes], None]]:
    """Where the bytes of a difference go: as they are, or as inert, painted text through a pager."""
    if raw:
        out.stdout.flush()
        yield lambda piece: _raw(out, piece)
        return
    from choline_tui.kernel.text import PlainLines

    lines = PlainLines()
    with _paged(out) as show:

        def write(piece: bytes) -> None:
            for line in lines.feed(piece):
                show(_painted(line, out))

        yield write
        for line in lines.finish():
            show(_painted(line, out))


def _raw(out: Output, piece: bytes) -> None:
    out.stdout.buffer.write(piece)


def _painted(line: str, out: Output) -> str:
    if line.startswith(("diff --git ", "+++ ", "--- ")):
        return out.paint(line, "bold")
    if line.startswith("@@"):
        return out.paint(line, "cyan")
    if line.startswith("+"):
        return out.paint(line, "green")
    return out.paint(line, "red") if line.startswith("-") else line


@contextlib.contextmanager
def _paged(out: Output) -> Iterator[Callable[[str], None]]:
    """Shows lines through the pager, when there is a terminal and a pager; it starts with the first line."""
    words = shlex.split(out.environ.get("PAGER", _PAGER))
    program = shutil.which(words[0], path=out.environ.get("PATH")) if words else None
    if program is None or not out.out_is_terminal:
        yield out.line
        return
    started: list[subprocess.Popen[bytes]] = []
    left = False

    def show(line: str) -> None:
        nonlocal left
        if left:
            return
        if not started:
            # quit when it fits on the screen, colours as they are, leave the text standing
            environ = {"LESS": "FRX", **os.environ, **out.environ}
            started.append(subprocess.Popen([program, *words[1:]], stdin=subprocess.PIPE, env=environ))
        stdin = started[0].stdin
        assert stdin is not None
        try:
            stdin.write(line.encode("utf-8", "replace") + b"\n")
        except BrokenPipeError:  # they have seen enough
            left = True

    out.stdout.flush()
    try:
        yield show
    finally:
        for process in started:
            with contextlib.suppress(BrokenPipeError):
                assert process.stdin is not None
                process.stdin.close()
            process.wait()


# ----------------------------------------------------------------------------------------------- push


def configure_push(parser: argparse.ArgumentParser) -> None:
    parser.usage = "choline push RUN [--json]"
    parser.epilog = (
        "Sends the files of the run's project that are not what its machine was sent\n"
        "last, by the same ignore rules, into src there. The run goes on: whether it\n"
        "reads them again is up to your program. Files deleted here stay there. What was\n"
        "pushed is not part of the run's code: 'choline again RUN', 'choline diff RUN' and\n"
        "an attempt on another machine go from what the run was started with."
    )
    parser.add_argument("run", metavar="RUN", help="id, beginning of an id, or name")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(handler=push)


def push(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.cli.progress import watched

    out = context.out

    async def work(choline: "Choline") -> dict[str, Any]:
        run = choline.show(args.run).run.id
        sending = choline.push(run)
        return await watched(choline, run, sending, out, what="sending", first="looking for what changed")

    told = context.use(work)
    if args.json:
        out.json(told)
        return 0
    names = told["files"]
    if names:
        out.line(f"{_files(len(names))}, {size(told['bytes'])} sent to run {clean(told['run'], 20)}")
    else:
        out.line(f"nothing changed since it was sent to run {clean(told['run'], 20)}")
    for name in names[:_NAMED]:
        out.line(f"  {clean(name, 500)}")
    if len(names) > _NAMED:
        out.line(f"  and {len(names) - _NAMED:,} more")
    if told["deleted"]:
        some = ", ".join(clean(name, 200) for name in told["deleted"][:3])
        out.note(f"! deleted here, still there: {_files(len(told['deleted']))} ({some})", "yellow")
    for text in (*told["skipped"], *told["warnings"]):
        out.note(f"! {clean(text, 400)}", "yellow")
    return 0
