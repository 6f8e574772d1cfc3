"""Homes of real engines: whatever a test does or however it fails, no engine outlives it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from choline_tui.config.paths import Paths


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A directory for CHOLINE_HOME; an engine that is left in it at the end is killed."""
    directory = tmp_path / "home"
    yield directory
    try:
        pid = int(Paths(directory).engine_lock.read_text())
        if b"choline_tui.engine" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        pass
