"""Ranges of seeds: lived through by one or more processes, and written down in ``ranges.tsv``."""

import multiprocessing
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.proof import lives
from tests.proof.recipe import GENERATOR
from tests.proof.shrink import check_of

__all__ = ["LOG", "Lived", "live_range", "parse", "write_down"]

LOG = Path(__file__).with_name("ranges.tsv")
HEAD = "seeds\tgenerator\tcommit\tdate\ts per seed\tfailed\n"


class Lived(NamedTuple):
    seed: int
    seconds: float
    """of the processor"""
    check: str
    """'' when every rule was kept"""
    words: str


def parse(text: str) -> range:
    """ "3" or "0-99", both included. Raises ValueError."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def live(seed: int) -> Lived:
    began = time.process_time()
    check = words = ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            lives.one(Path(folder), seed)
        except Exception as error:
            check, words = check_of(error), str(error)
    return Lived(seed, time.process_time() - began, check, words)


def live_range(seeds: range, jobs: int = 1) -> Iterator[Lived]:
    """Each life as soon as it is over; one that fails does not end the others."""
    if jobs <= 1:
        yield from map(live, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, _quiet) as pool:
        yield from pool.imap(live, seeds, chunksize=5)


def _quiet() -> None:
    import logging

    logging.disable(logging.CRITICAL)


def write_down(
    seeds: range,
    failed: dict[int, str],
    per_seed: float,
    log: Path = LOG,
    commit: Callable[[], str] | None = None,
) -> None:
    """Append one line to the log of ranges."""
    fresh = not log.exists()
    said = ", ".join(f"{seed} ({check})" for seed, check in sorted(failed.items())) or "none"
    day = time.strftime("%Y-%m-%d", time.gmtime())
    with log.open("a") as file:
        if fresh:
            file.write(HEAD)
        what = (commit or _commit)()
        file.write(f"{seeds[0]}-{seeds[-1]}\t{GENERATOR}\t{what}\t{day}\t{per_seed:.2f}\t{said}\n")


def _commit() -> str:
    """The checkout's commit, with a + when the engine or the proof differ from it."""
    here = Path(__file__).parents[2]

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git(
        "status",
        "--porcelain",
        "--",
        "choline_tui",
        "tests/proof",
        "tests/support",
        ":!tests/proof/ranges.tsv",
    )
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")
