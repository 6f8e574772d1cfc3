"""Everything CI checks, in order: ``python -m tests [arguments for pytest]``.

Style, format, types, tests; stops at the first that fails, with its exit code. The tests run in three
processes, also on two cores: much of a test is waiting for real programs.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(words: list[str]) -> int:
    python = sys.executable
    steps = [
        [python, "-m", "ruff", "check", "."],
        [python, "-m", "ruff", "format", "--check", "."],
        [python, "-m", "mypy"],
        [python, "-m", "pytest", "-n", "3", *words],
    ]
    for step in steps:
        print("$", *step[2:], flush=True)
        code = subprocess.run(step, cwd=ROOT).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
