"""How long ``choline --version`` takes over bare Python (aim: within 100 ms).

Interleaved, the median of 21 each, so that a busy computer slows both alike.
Run: ``python -m tests.bench.bench_startup [--quick]``.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.report import Figure, main

AIM_S = 0.1


def timed(*words: str) -> float:
    start = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(quick: bool) -> list[Figure]:
    installed = Path(sys.executable).with_name("choline")
    command = [str(installed)] if installed.exists() else [sys.executable, "-m", "choline_tui"]
    bare, ours = [], []
    for _ in range(3 if quick else 21):
        bare.append(timed(sys.executable, "-c", "pass"))
        ours.append(timed(*command, "--version"))
    both = (statistics.median(ours), statistics.median(bare))
    return [Figure("choline --version / python -c pass", *both, AIM_S, extra=True)]


if __name__ == "__main__":
    main(measure, __doc__)
