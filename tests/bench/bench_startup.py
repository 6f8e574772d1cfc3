"""How long ``choline --version`` takes over bare Python: ``python tests/bench/bench_startup.py [N]``.

Interleaved, median of N (default 21) each, so that a busy computer slows both alike. Exits 1 when the
difference is over the aim of 100 ms.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

AIM_MS = 100.0


def timed(*words: str) -> float:
    start = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1000


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    installed = Path(sys.executable).with_name("choline")
    command = [str(installed)] if installed.exists() else [sys.executable, "-m", "choline_tui"]
    bare, ours = [], []
    for _ in range(rounds):
        bare.append(timed(sys.executable, "-c", "pass"))
        ours.append(timed(*command, "--version"))
    base, full = statistics.median(bare), statistics.median(ours)
    print(
        json.dumps(
            {
                "python -c pass, ms": round(base, 1),
                "choline --version, ms": round(full, 1),
                "difference, ms": round(full - base, 1),
                "ratio": round(full / base, 2),
                "aim, ms": AIM_MS,
            }
        )
    )
    return 0 if full - base <= AIM_MS else 1


if __name__ == "__main__":
    sys.exit(main())
