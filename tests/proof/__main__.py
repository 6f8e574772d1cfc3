"""The proof, by hand: more of it than CI lives through.

    python -m tests.proof enumerate [--story NAME] [--part K/N]   every fault at every call, once each
    python -m tests.proof lives --seeds A-B [--jobs N] [--log]    random lives A to B, both included; --log
                                                                  writes the range down in ranges.tsv
    python -m tests.proof lives --replay SEED [--only s0,s3,f1]   one of them, or some of its decisions
    python -m tests.proof lives --shrink SEED                     the shortest life in it that fails the same
    python -m tests.proof mutations [--seeds N] [--record]        what catches each mutation: its trial, and
                                                                  the first of N random lives; --record
                                                                  writes those down in catches.tsv

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

from tests.proof import enumeration, ranges
from tests.proof.recipe import Recipe, draw
from tests.proof.shrink import check_of, failure, shrunk


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


def live_range(seeds: str, jobs: int, log: bool) -> int:
    numbers = ranges.parse(seeds)
    failed: dict[int, str] = {}
    spent = 0.0
    for lived in ranges.live_range(numbers, jobs):
        spent += lived.seconds
        if lived.check:
            failed[lived.seed] = lived.check
            print(f"FAILED seed {lived.seed}: {lived.words[:400]}", flush=True)
    each = spent / len(numbers)
    print(f"{len(numbers)} seeds, {each:.2f} s of processor each, failed: {failed or 'none'}")
    if log:
        ranges.write_down(numbers, failed, each)
    for seed in list(failed)[:3]:
        shrink(seed, failed[seed])
    return 1 if failed else 0


def told(recipe: Recipe, error: Exception | None) -> int:
    """Print a life and how it ended."""
    print("\n".join(recipe.story()))
    if error is None:
        print("every rule is kept")
        return 0
    traceback.print_exception(error, limit=-3, file=sys.stdout)
    return 1


def shrink(seed: int, check: str) -> int:
    print(f"\nseed {seed} breaks {check}; the shortest life in it that does:")
    recipe = shrunk(seed, check)
    result = told(recipe, failure(recipe))
    print(f"again: python -m tests.proof lives --replay {seed} --only {','.join(recipe.names())}")
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parts = parser.add_subparsers(dest="what", required=True)
    every = parts.add_parser("enumerate")
    every.add_argument("--story", choices=list(enumeration.STORIES))
    every.add_argument("--part", default="1/1")
    some = parts.add_parser("lives")
    some.add_argument("--seeds", default="0-299")
    some.add_argument("--jobs", type=int, default=1)
    some.add_argument("--log", action="store_true")
    some.add_argument("--replay", type=int)
    some.add_argument("--only", default="")
    some.add_argument("--shrink", type=int)
    wrong = parts.add_parser("mutations")
    wrong.add_argument("--seeds", type=int, default=0)
    wrong.add_argument("--record", action="store_true")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if given.what == "enumerate":
        return enumerate_all(given.story, given.part)
    if given.what == "mutations":
        from tests.proof.catches import report

        return report(given.seeds, given.record)
    if given.replay is not None:
        recipe = draw(given.replay)
        if given.only:
            recipe = recipe.only(given.only.split(","))
        return told(recipe, failure(recipe))
    if given.shrink is not None:
        error = failure(draw(given.shrink))
        if error is None:
            print(f"seed {given.shrink} keeps every rule")
            return 0
        return shrink(given.shrink, check_of(error))
    return live_range(given.seeds, given.jobs, given.log)


if __name__ == "__main__":
    sys.exit(main())
