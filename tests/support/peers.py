"""Programs to measure against, each in an environment of its own: their pins clash with ours.

An environment is made once and kept in ``$XDG_CACHE_HOME/choline-tests``.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["environment"]

# read when this is imported: every test runs with an environment of its own
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "choline-tests"


def environment(name: str, *requirements: str, make: bool = True) -> Path | None:
    """The ``bin`` of a virtual environment with these packages; made when it is not there.

    ``make`` False: None when it is not there. Making it takes a minute. Raises RuntimeError when something
    cannot be installed.
    """
    mark = hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:8]
    place = _CACHE / f"{name}-{mark}-py{sys.version_info.major}{sys.version_info.minor}"
    whole = place / "whole"
    if not make:
        return place / "bin" if whole.exists() else None
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{place.name}.lock").open("w") as lock:
        # several processes may want it at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(place, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(place))
            _run(str(place / "bin" / "python"), "-m", "pip", "install", "-q", *requirements)
            whole.touch()
    return place / "bin"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
