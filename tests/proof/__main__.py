"""The proof, by hand: more of it than CI lives through.

    python -m tests.proof enumerate [--story NAME] [--part K/N]   every fault at every call, once each
    python -m tests.proof lives --seeds A-B                       random lives A to B, both included
    python -m tests.proof lives --replay SEED                     one of them again, with its story
    python -m tests.proof mutations [--seeds N]                   what catches each mutation, and the first
                                                                  of N random lives that does

Each prints what failed, with the life's events, and ends with status 1 when anything did. A life is the
same whenever and wherever it is lived again: its seed, or its combination, decides everything.
"""

import argparse
import logging
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.proof import enumeration, lives


def tried(what: str, life: Callable[[Path], Any]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            life(Path(folder))
        except Exception:
            print(f"FAILED {what}")
            traceback.print_exc(file=sys.stdout)
            return False
    return True


def enumerate_all(only: str | None, part: str) -> int:
    k, n = (int(x) for x in part.split("/"))
    bad: list[str] = []
    count = 0
    began = time.monotonic()
    for name in enumeration.STORIES if only is None else [only]:
        with tempfile.TemporaryDirectory() as folder:
            calls = enumeration.record(Path(folder), name)
        chosen = [c for c in enumeration.combinations(name, calls) if c.hash % n == k - 1]
        for c in chosen:
            count += 1

            def life(root: Path, c: enumeration.Combination = c) -> Any:
                return enumeration.live_one(root, c.story, c)

            if not tried(str(c), life):
                bad.append(str(c))
        lengths = ", ".join(f"{len(v)} {kind}" for kind, v in calls.items())
        print(f"{name}: {len(chosen)} combinations of {lengths} calls", flush=True)
    print(f"{count} combinations in {time.monotonic() - began:.0f} s, {len(bad)} failed")
    print("".join(f"  {line}\n" for line in bad), end="")
    return 1 if bad else 0


def live_range(seeds: str, replay: int | None) -> int:
    if replay is not None:
        with tempfile.TemporaryDirectory() as folder:
            world = lives.one(Path(folder), replay)
        print(f"seed {replay} passes; {len(world.sim.contracts.history)} contracts were made")
        return 0
    first, _, last = seeds.partition("-")
    bad = []
    began = time.monotonic()
    numbers = range(int(first), int(last or first) + 1)
    for seed in numbers:
        if not tried(f"seed {seed}", lambda root, seed=seed: lives.one(root, seed)):  # type: ignore[misc]
            bad.append(seed)
    print(f"{len(numbers)} seeds in {time.monotonic() - began:.0f} s, failed: {bad or 'none'}")
    return 1 if bad else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parts = parser.add_subparsers(dest="what", required=True)
    every = parts.add_parser("enumerate")
    every.add_argument("--story", choices=list(enumeration.STORIES))
    every.add_argument("--part", default="1/1")
    some = parts.add_parser("lives")
    some.add_argument("--seeds", default="0-35")
    some.add_argument("--replay", type=int)
    wrong = parts.add_parser("mutations")
    wrong.add_argument("--seeds", type=int, default=0)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if given.what == "enumerate":
        return enumerate_all(given.story, given.part)
    if given.what == "lives":
        return live_range(given.seeds, given.replay)
    from tests.proof.mutations import report

    return report(given.seeds)


if __name__ == "__main__":
    sys.exit(main())
