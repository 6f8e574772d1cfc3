"""``choline simulate``: the rehearsal market as a program."""

import argparse
import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from choline_tui.cli.context import Context
from choline_tui.kernel.errors import UsageError

__all__ = ["configure_simulate"]


def configure_simulate(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n"
        "  choline simulate --port 8070 --seed 7 --offers 2000 --boot 5\n"
        "  VAST_URL=http://127.0.0.1:8070 VAST_API_KEY=rehearsal choline offers\n\n"
        "It speaks the market's HTTP API; rented machines are directories and SSH servers\non this computer. "
        "A machine's /root and /workspace are its directory, a volume at\n/data is ~/data there.\n\n"
        "a bad day of your own is a TOML file of [[fault]] tables:\n"
        "  what = NAME         what goes wrong (below)\n"
        '  on = PATTERN        which requests: "PUT /api/v0/asks/*"; of what happens to\n'
        "                      machines: which labels; default: all\n"
        "  nth = [1, 3]        only these of them, counted from 1\n"
        "  chance = 0.2        and of those one in five; times = 2: at most so often\n"
        "  from_s, until_s     seconds after the market began\n"
        "  acted = true        an error, but the market did what was asked\n"
        "  seconds, delay_s    for how long, and how long after the machine runs\n"
        "  factor, rows, text  of prices; of missing rows; words of a host\n"
        "requests: 429-plain 429-threshold 429-detail 429-json quota 500 502 503 504 500-json\n"
        "  401-key 401-volume 401-2fa 403-login 403-scope 404-key 404-session 404 410 no-credit\n"
        "  spend-limit no-such-ask no-such-ask-200 forbidden-host refused taken\n"
        "answers: lost reset slow empty cut malformed html text null number huge api-v2\n"
        "  rows-short rows-short-consistent rows-none rows-null rows-wrong-shape rows-without-id\n"
        "machines: wrong-price bad-image start-fails late-ports late-key proxy-closed ssh-refused\n"
        "  ssh-dropped disk-full host-lost outbid stopped price-increase"
    )
    add = parser.add_argument
    add("--port", type=int, default=8070, help="0: a free one")
    add("--seed", type=int, default=7, help="the same seed makes the same market")
    add("--offers", type=int, default=2000, help="about how many")
    add("--boot", type=float, default=5.0, metavar="S", help="seconds from renting to running")
    add("--key", default=None, help="accept this account key only; default: any")
    add(
        "--root",
        type=Path,
        default=None,
        metavar="DIR",
        help="where machines' disks are made; default: temporary",
    )
    add(
        "--sshd", choices=("asyncssh", "openssh"), default="asyncssh", help="what answers SSH on the machines"
    )
    add("--frozen", action="store_true", help="prices and other renters stand still")
    add("--credit", type=float, default=100.0, metavar="$", help="the account's dollars")
    add(
        "--faults",
        metavar="FILE|NAME",
        default=None,
        help="what goes wrong on purpose: a TOML file, or flaky-monday, price-spike, api-v2",
    )
    add("--people", type=float, default=0.0, metavar="N", help="others rent, bid and fail so often an hour")
    # for programs that start a market of their own
    add("--ready-file", type=Path, default=None, help=argparse.SUPPRESS)
    add("--report-file", type=Path, default=None, help=argparse.SUPPRESS)
    add("--until-eof", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(handler=simulate)


def simulate(args: argparse.Namespace, context: Context) -> int:
    asyncio.run(_serve(args, context))
    return 0


async def _serve(args: argparse.Namespace, context: Context) -> None:
    # late, and the one module of the simulator a command may load: this process becomes the market
    from choline_tui.simulator.serve import serve

    until = asyncio.Event()
    if args.until_eof:
        _watch_stdin(until)

    def say(text: str) -> None:
        print(text, file=context.out.stdout, flush=True)
        if args.ready_file is not None:
            url = re.search(r"http://\S+", text)
            write_whole(args.ready_file, url[0] if url else "")

    def at_end(report: dict[str, Any]) -> None:
        if args.report_file is not None:
            write_whole(args.report_file, json.dumps(report))

    await serve(
        port=args.port,
        seed=args.seed,
        offers=args.offers,
        boot=args.boot,
        key=args.key,
        root=args.root,
        sshd=args.sshd,
        moving=not args.frozen,
        credit=args.credit,
        faults=args.faults,
        people=args.people,
        say=say,
        until=until,
        at_end=at_end,
    )


def _watch_stdin(until: asyncio.Event) -> None:
    """Whoever started this holds the other end: when they are gone, however they went, so is the market."""
    fd = sys.stdin.fileno()

    def readable() -> None:
        if not os.read(fd, 4096):
            loop.remove_reader(fd)
            until.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(fd, readable)


def write_whole(path: Path, text: str) -> None:
    """All of the file or nothing of it, for whoever waits for it."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, "utf-8")
        part.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
