"""From starting the program to its first painted frame, in a terminal of 120x40.

Peers: the smallest possible Textual app on the same Textual (aim: within 1.3 times), and posting and
harlequin, each in an environment of its own (aim: at least 2 times ahead). Interleaved, the best of 9.
Run: ``python -m tests.bench.bench_app_start [--quick]``; quick: against the smallest one only.
"""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.report import Figure, main
from tests.support.peers import environment

ROWS, COLUMNS = 40, 120
WITHIN = 60.0
SMALLEST = """
from textual.app import App
from textual.widgets import Static
class Smallest(App):
    def compose(self):
        yield Static("painted")
Smallest().run()
"""
SEQUENCE = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|[\]P_^].*?(\x07|\x1b\\)|[ -/]*[0-~])", re.S)


@dataclass(frozen=True)
class Program:
    words: tuple[str, ...]
    marker: bytes
    """in what it paints first"""
    environ: Mapping[str, str]


def first_frame(program: Program) -> float:
    """Seconds until ``marker`` is painted. Raises RuntimeError with what was painted instead."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    start = time.perf_counter()
    process = subprocess.Popen(
        program.words, stdin=theirs, stdout=theirs, stderr=theirs, env=dict(program.environ),
        start_new_session=True, cwd=program.environ["HOME"],
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while time.perf_counter() - start < WITHIN:
            ready, _, _ = select.select([ours], [], [], 1.0)
            if not ready:
                continue
            try:
                piece = os.read(ours, 1 << 16)
            except OSError:
                break
            seen += piece
            if program.marker in SEQUENCE.sub(b"", seen):
                return time.perf_counter() - start
        raise RuntimeError(f"{program.words[0]} painted no {program.marker!r}: {seen[-2000:]!r}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours)


def measure(quick: bool) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="choline-bench-") as folder:
        return _measure(Path(folder), quick)


def _measure(home: Path, quick: bool) -> list[Figure]:
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL")}
    environ = {**kept, "HOME": str(home), "TERM": "xterm-256color", "COLORTERM": "truecolor",
               "CHOLINE_HOME": str(home / "choline")}  # fmt: skip
    (home / "choline").mkdir()
    # what it starts after the first frame shall not disturb the others for long
    (home / "choline" / "config.toml").write_text('[engine]\nidle_exit = "1s"\n', "utf-8")
    script = home / "smallest.py"
    script.write_text(SMALLEST, "utf-8")
    installed = Path(sys.executable).with_name("choline")
    words = (str(installed),) if installed.exists() else (sys.executable, "-m", "choline_tui")
    programs = {
        "choline": Program(words, b"Offers", environ),
        "smallest": Program((sys.executable, str(script)), b"painted", environ),
    }
    if not quick:
        posting = environment("posting", "posting==2.11.1", "tree-sitter<0.26")
        programs["posting"] = Program((str(posting / "posting"),), b"Send", environ)
        harlequin = environment("harlequin", "harlequin==2.17.0")
        programs["harlequin"] = Program((str(harlequin / "harlequin"),), b"Catalog", environ)
    times: dict[str, list[float]] = {name: [] for name in programs}
    try:
        for _ in range(2 if quick else 9):
            for name, program in programs.items():
                times[name].append(first_frame(program))
    finally:
        subprocess.run([*words, "engine", "stop", "-y"], env=environ, check=False, capture_output=True)
    best = {name: min(found) for name, found in times.items()}
    aims = {"smallest": 1.3, "posting": 0.5, "harlequin": 0.5}
    return [
        Figure(f"first frame: choline / {peer}", best["choline"], best[peer], aim)
        for peer, aim in aims.items()
        if peer in best
    ]


if __name__ == "__main__":
    main(measure, __doc__)
