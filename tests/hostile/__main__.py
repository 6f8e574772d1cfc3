"""By hand: the parsers fuzzed for longer, and what is too large for every change.

::

    python -m tests.hostile --examples 100000 [NAME ...]   so many inputs for each parser (of those named)
    python -m tests.hostile --coverage SECONDS             with atheris, where it is installed
    python -m tests.hostile million                        lists of a million files, measured
    python -m tests.hostile flood                          a line of 1 GB, a minute of yes: by a real engine
"""

import argparse
import sys
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any

from choline_tui.kernel import manifest
from choline_tui.ssh import listing
from tests.hostile.parsers import PARSERS, Parser
from tests.hostile.test_fuzz import fuzz


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("names", nargs="*", help="parsers (default: all), 'million' or 'flood'")
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--coverage", type=int, default=0, metavar="SECONDS")
    args = parser.parse_args(argv)
    if args.names == ["million"]:
        return million()
    if args.names == ["flood"]:
        from tests.hostile.floods import flood

        return flood()
    unknown = set(args.names) - {each.name for each in PARSERS}
    if unknown:
        parser.error(f"no parser is called {', '.join(sorted(unknown))}")
    chosen = [each for each in PARSERS if not args.names or each.name in args.names]
    if args.coverage:
        return guided(chosen, args.coverage)
    total = failed = 0
    for each in chosen:
        begun = time.monotonic()
        try:
            count = fuzz(each, args.examples)
        except Exception as error:
            failed += 1
            print(f"{each.name}: FAILED {error!r}", flush=True)
            for note in getattr(error, "__notes__", []):
                print("   ", note[:2000])
            continue
        total += count
        print(f"{each.name}: {count:,} inputs in {time.monotonic() - begun:.0f} s", flush=True)
    print(f"{total:,} inputs, {failed} parsers failed")
    return 1 if failed else 0


def guided(chosen: Sequence[Parser], seconds: int) -> int:
    """Coverage-guided, through hypothesis's own reading of bytes as inputs."""
    try:
        import atheris  # type: ignore
    except ImportError:
        print("atheris is not installed", file=sys.stderr)
        return 2
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def one(data: st.DataObject) -> None:
        each = data.draw(st.sampled_from(chosen))
        try:
            each.read(data.draw(each.inputs))
        except each.may:
            return

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}"], one.hypothesis.fuzz_one_input)  # type: ignore[attr-defined]
    atheris.Fuzz()
    return 0


def million() -> int:
    """What the two lists cost at their bounds: seconds, and MiB at the peak."""

    def measured(what: str, work: Any) -> None:
        tracemalloc.start()
        begun = time.monotonic()
        try:
            said = work()
        except ValueError as error:
            said = f"refused: {error}"
        print(
            f"{what}: {said}; {time.monotonic() - begun:.1f} s,",
            f"{tracemalloc.get_traced_memory()[1] >> 20} MiB",
        )
        tracemalloc.stop()

    def listed(count: int) -> str:
        taken = listing.Listing()
        for start in range(0, count, 500):
            taken.feed(
                b"".join(
                    b"f 644 1000 1760000000.5 checkpoints/step-%09d/model.safetensors\0" % n
                    for n in range(start, min(count, start + 500))
                )
            )
        taken.feed(b"choline-end\0")
        taken.finish()
        return f"{len(taken.entries):,} names"

    def hashed(count: int) -> str:
        reader = manifest.Reader()
        for n in range(count):
            name = b"results/checkpoints/step-%09d/model.safetensors" % n
            reader.take(manifest.encode(manifest.Entry(name, 1000, 1760000000, "a" * 64)))
        reader.take(manifest.encode_end(count))
        return f"{len(reader.entries):,} entries"

    for count in (1_000_000, 1_000_001, 10_000_000):
        measured(f"a listing of {count:,}", lambda count=count: listed(count))
        measured(f"a manifest of {count:,}", lambda count=count: hashed(count))
    return 0


if __name__ == "__main__":
    sys.exit(main())
