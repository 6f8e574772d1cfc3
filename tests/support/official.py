"""Vast's own command line client, in an environment of its own: its pins clash with ours.

It is made once and kept in ``$XDG_CACHE_HOME/choline-tests``; ``CHOLINE_VASTAI`` names another ``vastai``
program to use instead.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["VERSION", "official_client"]

VERSION = "1.9.1"

# read when this is imported: every test runs with an environment of its own
_GIVEN = os.environ.get("CHOLINE_VASTAI", "")
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "choline-tests"


def official_client() -> Path:
    """The ``vastai`` program. Takes a minute the first time; call it from a session fixture, since it
    needs the person's own pip settings. Raises ``RuntimeError`` when it cannot be installed."""
    if _GIVEN:
        return Path(_GIVEN)
    place = _CACHE / f"vastai-{VERSION}-py{sys.version_info.major}{sys.version_info.minor}"
    program = place / "bin" / "vastai"
    whole = place / "whole"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{place.name}.lock").open("w") as lock:
        # several test processes may want it at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(place, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(place))
            _run(str(place / "bin" / "python"), "-m", "pip", "install", "-q", f"vastai=={VERSION}")
            whole.touch()
    return program


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
