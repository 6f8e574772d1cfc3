"""Helpers that many tests need: waiting for a condition, programs that must be there, free ports."""

import asyncio
import contextlib
import os
import random
import re
import shutil
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

__all__ = ["eventually", "free_port", "needs", "wait_until"]


def needs(*programs: str) -> None:
    """Skip, naming the missing program; in CI a missing program is a failure, nothing may skip there."""
    for program in programs:
        if shutil.which(program) is None and not os.path.exists(f"/usr/sbin/{program}"):
            message = f"{program} is not installed here"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)


async def eventually(
    condition: Callable[[], Any | Awaitable[Any]], *, within: float = 30.0, what: str = "condition"
) -> Any:
    """Wait until ``condition()`` is true (it may be async); real parts only, others use the virtual clock."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within:g} s")
        await asyncio.sleep(0.02)


def wait_until(condition: Callable[[], Any], *, within: float = 30.0, what: str = "condition") -> Any:
    """The same for synchronous tests."""
    deadline = time.monotonic() + within
    poll = 0.02
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within:g} s")
        time.sleep(poll)


_dice = random.SystemRandom()  # a test may seed the shared generator, and then every process draws the same


def free_port() -> int:
    """A port nobody listens on, and that the system hands to nobody who asks for any port.

    One out of the system's own (ephemeral) range may belong to another test's server a moment later: a
    server that is to have this port then cannot start, and whoever connects meets a stranger. For the same
    reason each of the test processes that run side by side draws from a range of its own.
    """
    lane = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 15) % 16
    while True:
        port = 10_240 + lane * 1_350 + _dice.randrange(1_350)  # the ephemeral range starts at 32,768 on Linux
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
