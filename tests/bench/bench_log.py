"""An open log at 5,000 lines a second, and a million lines, against Textual's Log and RichLog.

Keys that scroll are timed until their frame is painted while the lines come (aim: p95 under 50 ms); then
1,000,000 lines are read in (RichLog, which would take many minutes, gets a hundredth and is scaled up) and
memory grows by so much. Log keeps no colours; RichLog does.
Each in a process of its own, one after the other.
Run: ``python -m tests.bench.bench_log [--quick]``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.bench.report import Figure, main

WORKER = Path(__file__).with_name("log_worker.py")
RATE = 5_000
LIMIT_S = 0.050


def run(kind: str, lines: int, seconds: float) -> dict[str, float]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TEXTUAL", "COLUMNS", "NO_COLOR"))}
    env |= {"TEXTUAL_ANIMATIONS": "none", "TEXTUAL_SPEEDUPS": "0", "TERM": "xterm-256color"}
    words = [sys.executable, str(WORKER), kind, str(lines), str(RATE), str(seconds)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise RuntimeError(f"{kind} with {lines} lines: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(quick: bool) -> list[Figure]:
    lines, part, seconds = (1_000, 100, 0.4) if quick else (1_000_000, 10_000, 10)
    ours, log, rich = run("ours", lines, seconds), run("log", lines, seconds), run("richlog", part, seconds)
    scale = lines / part
    rate = f"{RATE:,} lines/s"
    return [
        Figure(f"{rate}: key to frame, p95 / 50 ms", ours["key95"], LIMIT_S, 1.0),
        Figure(f"{rate}: key to frame, p95 / Log", ours["key95"], log["key95"]),
        Figure(f"{rate}: key to frame, p95 / RichLog", ours["key95"], rich["key95"]),
        Figure(f"{rate}: share of a core / Log", ours["share"], log["share"], unit="cores"),
        Figure(f"{lines:,} lines read / Log", ours["whole"], log["whole"]),
        Figure(f"{lines:,} lines read / RichLog", ours["whole"], rich["whole"] * scale),
        Figure(f"{lines:,} lines: memory / Log", ours["grown"], log["grown"], 1 / 2, unit="MiB"),
        Figure(f"{lines:,} lines: memory / RichLog", ours["grown"], rich["grown"] * scale, unit="MiB"),
        Figure(f"{lines:,} lines searched / read", ours["search"], ours["whole"]),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
