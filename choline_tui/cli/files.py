"""``choline ls`` and ``cat``: a run's files, on its machine while it has one, else as they came home."""

import argparse
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from choline_tui.cli.context import Context
from choline_tui.cli.inside import find_ssh
from choline_tui.cli.output import clean
from choline_tui.kernel.errors import SystemFault, UsageError

if TYPE_CHECKING:
    from choline_tui.services import Choline

__all__ = ["configure_cat", "configure_ls"]

CHUNK = 1 << 16
Source = "Path | list[str]"


def configure_ls(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "PATH begins at the run's directory: src, data, keep, results."
    parser.add_argument("run", metavar="RUN", help="id, beginning of an id, or name")
    parser.add_argument("path", nargs="?", default="", metavar="PATH", help="default: the run's directory")
    parser.set_defaults(handler=ls)


def configure_cat(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "PATH begins at the run's directory: results/metrics.csv. Into a file or a pipe\n"
        "go the bytes as they are; on a terminal the text is made inert."
    )
    parser.add_argument("run", metavar="RUN", help="id, beginning of an id, or name")
    parser.add_argument("path", metavar="PATH", help="a file")
    parser.set_defaults(handler=cat)


def ls(args: argparse.Namespace, context: Context) -> int:
    async def work(choline: "Choline") -> "Path | list[str]":
        return choline.at_home(args.run, args.path) or await choline.ls_command(args.run, args.path)

    source = context.use(work, doing="asking the engine")
    if isinstance(source, Path):
        for line in _listed(source):
            context.out.line(line)
        return 0
    return _inert(source, context)


def cat(args: argparse.Namespace, context: Context) -> int:
    async def work(choline: "Choline") -> "Path | list[str]":
        return choline.at_home(args.run, args.path) or await choline.cat_command(args.run, args.path)

    source = context.use(work, doing="asking the engine")
    if isinstance(source, Path):
        if not source.is_file():
            raise UsageError(f"{clean(args.path, 200)} is no file", hint="'choline ls' lists what is there.")
        try:
            with source.open("rb") as file:
                if not context.out.out_is_terminal:
                    context.out.stdout.flush()
                    shutil.copyfileobj(file, context.out.stdout.buffer, CHUNK)
                else:
                    _lines(iter(lambda: file.read(CHUNK), b""), context)
        except OSError as error:
            raise SystemFault(f"cannot read {clean(args.path, 200)}: {error.strerror}") from None
        return 0
    if context.out.out_is_terminal:
        return _inert(source, context)
    context.out.stdout.flush()
    return subprocess.call([find_ssh(context), *source[1:]], stdin=subprocess.DEVNULL)


def _listed(place: Path) -> Iterator[str]:
    entries = sorted(place.iterdir()) if place.is_dir() else [place]
    for entry in entries:
        seen = entry.lstat()
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(seen.st_mtime))
        name = entry.name + ("/" if stat.S_ISDIR(seen.st_mode) else "")
        yield f"{stat.filemode(seen.st_mode)} {seen.st_size:>14} {when} {clean(name, 500)}"


def _inert(command: list[str], context: Context) -> int:
    """What a machine says, as text that cannot draw on a terminal; the exit code of the command."""
    context.out.stdout.flush()
    with subprocess.Popen(
        [find_ssh(context), *command[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        stdout = process.stdout
        _lines(iter(lambda: stdout.read(CHUNK), b""), context)
    return process.returncode


def _lines(pieces: Iterator[bytes], context: Context) -> None:
    from choline_tui.kernel.text import PlainLines

    lines = PlainLines()
    for piece in pieces:
        for line in lines.feed(piece):
            context.out.line(line)
    for line in lines.finish():
        context.out.line(line)
