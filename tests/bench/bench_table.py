"""The table against Textual's DataTable, textual-fastdatatable and the least that draws rows on demand.

5,000 and 60,000 rows of 12 columns, each kind in a process of its own (textual-fastdatatable in an
environment of its own), one after the other, twice; the better of the two counts. Times run until the
changed screen is painted; "key" goes the whole way from the key event. Memory is the process's peak.
Run: ``python -m tests.bench.bench_table [--quick]``; quick leaves textual-fastdatatable out.
Aims at 60,000 rows against DataTable: cursor 4 times, sort 10, filter 100, slider 100 times as fast, half
the memory; and no slower than the bare one.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.bench.report import Figure, main
from tests.support.peers import environment

WORKER = Path(__file__).with_name("table_worker.py")
AIMS = {"move": 1 / 4, "sort": 1 / 10, "filter": 1 / 100, "slide": 1 / 100, "memory": 1 / 2}
WORDS = {
    "fill": "fill",
    "sort": "sort by price",
    "filter": "filter keystroke",
    "slide": "slider step",
    "move": "cursor move",
    "key": "key to frame, median",
    "key95": "key to frame, p95",
    "memory": "memory",
}


def run(kind: str, rows: int, repeats: int, python: str) -> dict[str, float]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TEXTUAL", "COLUMNS", "NO_COLOR"))}
    env |= {"TEXTUAL_ANIMATIONS": "none", "TEXTUAL_SPEEDUPS": "0", "TERM": "xterm-256color"}
    words = [python, str(WORKER), kind, str(rows), str(repeats)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise RuntimeError(f"{kind} with {rows} rows: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(quick: bool) -> list[Figure]:
    pythons = dict.fromkeys(("ours", "datatable", "bare"), sys.executable)
    if not quick and (fast := environment("fast", "textual-fastdatatable==0.19.5", "textual==8.2.8")):
        pythons["fast"] = str(fast / "python")
    figures: list[Figure] = []
    for rows in (60,) if quick else (5_000, 60_000):
        best: dict[str, dict[str, float]] = {}
        for _ in range(1 if quick else 2):
            for kind, python in pythons.items():
                found = run(kind, rows, 1 if quick else 3, python)
                known = best.setdefault(kind, found)
                best[kind] = {name: min(known[name], value) for name, value in found.items()}
        ours = best.pop("ours")
        for kind, peer in sorted(best.items(), key=lambda item: item[0] != "datatable"):
            for name, words in WORDS.items():
                aim = AIMS.get(name) if kind == "datatable" and rows == 60_000 else None
                unit = "MiB" if name == "memory" else "s"
                title = f"{rows:,} rows: {words} / {kind}"
                figures.append(Figure(title, ours[name], peer[name], aim, unit=unit))
    return figures


if __name__ == "__main__":
    main(measure, __doc__)
