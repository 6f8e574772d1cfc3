"""The runs screen with 500 runs, 50 of them running, over a real store that is written three times a second.

Aims: idle under 3 % of a core and memory flat; a key to its painted frame within 50 ms at the 95th
percentile, in the list and on a page whose log gets 5,000 lines a second. The whole app is measured, feed
and drawing; what a terminal would do with the bytes is not.
Run: ``python -m tests.bench.bench_runs [--quick]``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.bench.report import Figure, main

WORKER = Path(__file__).with_name("runs_worker.py")
RATE = 5_000
LIMIT_S = 0.050
IDLE = 0.03
FLAT_MIB = 2.0


def run(seconds: float) -> dict[str, float]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TEXTUAL", "COLUMNS", "NO_COLOR"))}
    env |= {"TEXTUAL_ANIMATIONS": "none", "TERM": "xterm-256color"}
    words = [sys.executable, str(WORKER), str(RATE), str(seconds)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(quick: bool) -> list[Figure]:
    found = run(0.6 if quick else 20)
    rate = f"{RATE:,} lines/s"
    return [
        Figure("500 runs, 50 running: idle / a core", found["idle"], 1.0, IDLE, unit="cores"),
        Figure("500 runs, 50 running: growth / 2 MiB", found["grown"], FLAT_MIB, 1.0, unit="MiB"),
        Figure("list of 500: key to frame, p95 / 50 ms", found["list95"], LIMIT_S, 1.0),
        Figure(f"page with a log of {rate}: key to frame, p95 / 50 ms", found["page95"], LIMIT_S, 1.0),
        Figure("list of 500: CPU of a key, p95 / 50 ms", found["listcpu"], LIMIT_S),
        Figure(f"page with a log of {rate}: CPU of a key, p95 / 50 ms", found["pagecpu"], LIMIT_S),
        Figure(f"page with a log of {rate}: share / a core", found["page"], 1.0, unit="cores"),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
