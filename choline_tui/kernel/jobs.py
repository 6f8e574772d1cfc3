"""Small facts about jobs that home and remote must agree on."""

import signal
from typing import Iterable

from choline_tui.kernel.protocol import ENDED, JobStatus

__all__ = ["live", "shell_exit", "signal_name"]


def shell_exit(wait_status: int) -> int:
    """The exit code as a shell gives it (128+n when signal n ended the process), from ``os.waitpid``."""
    if wait_status & 0x7F:
        return 128 + (wait_status & 0x7F)
    return (wait_status >> 8) & 0xFF


def signal_name(exit_code: int) -> str:
    """``SIGTERM`` for 143; '' for a code that no signal gave."""
    try:
        return signal.Signals(exit_code - 128).name if exit_code > 128 else ""
    except ValueError:
        return ""


def live(statuses: Iterable[JobStatus]) -> int:
    """How many of them have not ended."""
    return sum(1 for status in statuses if status.state != ENDED)
