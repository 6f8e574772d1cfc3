"""``choline logs``: what a run printed, from the files that came home; with ``-f`` as it comes."""

import argparse
import itertools
import shutil
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from choline_tui.cli.context import Context
from choline_tui.cli.values import Positive
from choline_tui.kernel.errors import NotFound, UsageError

if TYPE_CHECKING:
    from choline_tui.services import Choline, RunView

__all__ = ["configure_logs"]

CHUNK = 1 << 16
INTERRUPTED = 130


def configure_logs(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Without --source: setup and run, one after the other. The text is made inert:\n"
        "no escape sequence of a rented machine reaches the terminal. --raw gives the\n"
        "bytes, into a file or a pipe only."
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="id, beginning of an id, or name")
    add("-f", "--follow", action="store_true", help="go on as it comes, until the run has ended")
    add("--source", choices=("setup", "run", "container"), default="", help="which log")
    add(
        "--attempt",
        type=Positive("the number of an attempt"),
        default=0,
        metavar="N",
        help="default: the newest",
    )
    add("--tail", type=Positive("a number of lines"), default=0, metavar="N", help="the last N lines only")
    add("--raw", action="store_true", help="the bytes as they are")
    parser.set_defaults(handler=logs)


def logs(args: argparse.Namespace, context: Context) -> int:
    if args.raw and context.out.out_is_terminal:
        raise UsageError(
            "--raw into a terminal would let the rented machine draw on it",
            hint="Send it to a file or a pipe: choline logs --raw RUN > log",
        )
    if args.follow and (args.tail or args.source == "container"):
        what = "--tail" if args.tail else "--source container"
        raise UsageError(f"-f and {what} exclude each other", hint="Leave one of them out.")
    if args.source == "container":
        return _container(args, context)
    if args.follow:
        return _follow(args, context)

    async def work(choline: "Choline") -> list[Path]:
        return _files(choline, choline.show(args.run), args)

    files = context.use(work, start_engine=False)
    if args.raw and not args.tail:
        _raw(files, context)
        return 0
    lines: Iterator[str] = itertools.chain.from_iterable(_lines(file) for file in files)
    if args.tail:
        lines = iter(deque(lines, maxlen=args.tail))
    for line in lines:
        context.out.line(line)
    return 0


def _files(choline: "Choline", view: "RunView", args: argparse.Namespace) -> list[Path]:
    """The log files that are there. NotFound when there is none."""
    numbers = [a.n for a in view.attempts]
    if args.attempt and args.attempt not in numbers:
        raise NotFound(
            f"run {view.run.id} has no attempt {args.attempt}",
            hint=f"It has {len(numbers)}: 'choline show {view.run.id}'.",
        )
    sources = [args.source] if args.source else ["setup", "run"]
    for n in [args.attempt] if args.attempt else reversed(numbers):
        files = [choline.log_file(view.run.id, n, source) for source in sources]
        there = [file for file in files if file.is_file()]
        if there:
            return there
    name = view.run.id
    raise NotFound(
        f"run {name} has printed nothing yet ({view.run.state})",
        hint=f"'choline logs -f {name}' waits for it; 'choline show {name}' tells what it does.",
    )


def _lines(file: Path) -> Iterator[str]:
    from choline_tui.kernel.text import PlainLines

    lines = PlainLines()
    with file.open("rb") as log:
        while data := log.read(CHUNK):
            yield from lines.feed(data)
    yield from lines.finish()


def _raw(files: list[Path], context: Context) -> None:
    context.out.stdout.flush()
    for file in files:
        with file.open("rb") as log:
            shutil.copyfileobj(log, context.out.stdout.buffer, CHUNK)


def _container(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.kernel.text import plain

    text = context.use(lambda choline: choline.container_log(args.run), doing="asking the market for it")
    lines = (text if args.raw else plain(text)).splitlines()
    for line in lines[-args.tail :] if args.tail else lines:
        context.out.line(line)
    return 0


def _follow(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.cli.follow import Follower, exit_code, follow_run
    from choline_tui.cli.launch import report

    follower = Follower(
        context.out,
        events=not args.raw,
        source=args.source,
        attempt=args.attempt,
        raw=args.raw,
        now=context.now,
    )

    async def work(choline: "Choline") -> "RunView":
        run = choline.show(args.run).run.id
        await follow_run(choline, run, follower, until="ended")
        return choline.show(run)

    try:
        view = context.use(work)
    except KeyboardInterrupt:
        context.out.note("\nNo longer following; the run goes on.")
        return INTERRUPTED
    report(view, context, as_json=False)
    return exit_code(view)
