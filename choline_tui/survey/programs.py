"""Asking a program on this computer, with a time limit; and what git says of a directory."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence

__all__ = ["Ask", "asker"]

Ask = Callable[[Sequence[str]], bytes | None]
"""a program's output, or None: not there, failed, too slow, or too much"""

SECONDS = 10.0
MAX_OUTPUT = 64 << 20
_UNSET = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_NAMESPACE", "GIT_COMMON_DIR")
"""set inside a git hook; they would turn questions to another repository"""


def asker(directory: str, environ: Mapping[str, str], seconds: float = SECONDS) -> Ask:
    """Programs run in ``directory``, without input."""
    env = {name: value for name, value in environ.items() if name not in _UNSET}
    env |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    env.setdefault("PATH", os.defpath)

    def ask(words: Sequence[str]) -> bytes | None:
        try:
            done = subprocess.run(
                words, cwd=directory, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds
            )
        except (OSError, subprocess.TimeoutExpired, ValueError):
            return None
        return done.stdout if done.returncode == 0 and len(done.stdout) <= MAX_OUTPUT else None

    return ask
