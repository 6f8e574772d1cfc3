"""How long the code state of a 20,000-file repository takes, against ``git status`` of it.

The median of 7 each, interleaved: clean, with 20 files changed since the last look, and unchanged since the
last look. The first look of all, which reads and keeps every file, is told beside them without an aim.
Run: ``python -m tests.bench.bench_code_state [--quick]``.
"""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from choline_tui.codestate import capture
from tests.bench.report import Figure, main, missing

LONG_AGO = 1_500_000_000
"""epoch s that files are dated: nobody is writing them now"""


def make(top: Path, count: int) -> None:
    for number in range(count):
        folder = top / f"pkg{number // 2000}" / f"mod{number // 100}"
        if number % 100 == 0:
            folder.mkdir(parents=True)
        file = folder / f"file{number}.py"
        file.write_text(f"# file {number}\n" * 40)
        os.utime(file, (LONG_AGO, LONG_AGO))
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "all")):
        subprocess.run(["git", *words], cwd=top, check=True, stdout=subprocess.DEVNULL)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(quick: bool) -> list[Figure]:
    missing("git")
    count, times = (400, 2) if quick else (20_000, 7)
    with tempfile.TemporaryDirectory() as place:
        top = Path(place) / "repository"
        top.mkdir()
        make(top, count)
        time.sleep(0 if quick else 3)  # nothing that was just written is taken for settled

        def status() -> None:
            subprocess.run(["git", "status", "--porcelain"], cwd=top, check=True, stdout=subprocess.DEVNULL)

        def look() -> None:
            capture(top, Path(place) / "into", objects=Path(place) / "objects")

        def compare(name: str, aim: float, before: Callable[[int], None]) -> Figure:
            ours, peer = [], []
            for turn in range(times):
                before(turn)
                peer.append(timed(status))
                ours.append(timed(look))
            return Figure(name, statistics.median(ours), statistics.median(peer), aim)

        def change(turn: int) -> None:
            for number in range(20):
                file = top / "pkg0" / "mod0" / f"file{number}.py"
                file.write_text(f"turn {turn}\n" * 40)

        def commit(_turn: int) -> None:
            change(_turn + 1000)
            subprocess.run(["git", "commit", "-q", "-a", "-m", "more"], cwd=top, check=True)

        first = Figure("code state, first look / git status", timed(look), timed(status))
        return [
            first,
            compare("code state, unchanged / git status", 1.2, lambda _turn: None),
            compare("code state, 20 changed / git status", 2.5, change),
            compare("code state, clean at a new commit / git status", 2.0, commit),
        ]


if __name__ == "__main__":
    main(measure, __doc__)
