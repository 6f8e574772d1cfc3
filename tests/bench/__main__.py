"""Every benchmark and one table: ``python -m tests.bench [--quick] [--json] [NAME...]``.

Names: decode, startup, offers, first_line, warm, transfer, results, app_start, feed, table, log, runs,
code_state; each is a command of its own as well, ``python -m tests.bench.bench_NAME``. Times are of this
computer now; what counts is the ratio to the peer, which ran in the same minute on the same parts.
"""

import sys

from tests.bench import (
    bench_app_start,
    bench_code_state,
    bench_decode,
    bench_feed,
    bench_first_line,
    bench_log,
    bench_offers,
    bench_results,
    bench_runs,
    bench_startup,
    bench_table,
    bench_transfer,
    bench_warm,
)
from tests.bench.report import Figure, Measure, main

ALL: dict[str, Measure] = {
    "decode": bench_decode.measure,
    "startup": bench_startup.measure,
    "offers": bench_offers.measure,
    "first_line": bench_first_line.measure,
    "warm": bench_warm.measure,
    "transfer": bench_transfer.measure,
    "results": bench_results.measure,
    "app_start": bench_app_start.measure,
    "feed": bench_feed.measure,
    "table": bench_table.measure,
    "log": bench_log.measure,
    "runs": bench_runs.measure,
    "code_state": bench_code_state.measure,
}


def _measure(names: list[str]) -> Measure:
    def measure(quick: bool) -> list[Figure]:
        figures: list[Figure] = []
        for name in names or ALL:
            print(f"{name} ...", file=sys.stderr, flush=True)
            figures += ALL[name](quick)
        return figures

    return measure


if __name__ == "__main__":
    names = [word for word in sys.argv[1:] if word in ALL]
    main(_measure(names), __doc__, [word for word in sys.argv[1:] if word not in ALL])
