"""A job's logs and statuses, followed and written as frames."""

import os
import select
import time
from typing import Dict, Optional

from choline_tui.kernel.frames import BEAT, BEAT_SECONDS, encode
from choline_tui.kernel.protocol import ENDED, Frame
from choline_tui.remote.jobstore import JobStore
from choline_tui.remote.paths import Paths

__all__ = ["follow"]

POLL_S = 0.05
CHUNK = 48 * 1024
"""Bytes of log in one frame; base64 makes 64 KiB of them."""


class _Gone(Exception):
    """Nobody reads any more."""


class _Out:
    """Writes whole lines to a descriptor, and notices when its other end is closed."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poller = select.poll()
        self._poller.register(fd, 0)
        self.last = time.monotonic()

    def write(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except (BrokenPipeError, ConnectionError) as e:
            raise _Gone from e
        self.last = time.monotonic()

    def wait(self, seconds: float) -> None:
        if self._poller.poll(seconds * 1000):
            raise _Gone


def follow(paths: Paths, store: JobStore, job: str, offsets: Dict[str, int], fd: int = 1) -> bool:
    """Write frames until the job has ended and all of its logs are out. False: there is no such job."""
    out = _Out(fd)
    files: Dict[str, int] = {}
    sent: Optional[str] = None
    position = dict(offsets)
    try:
        while True:
            status = store.status(job)
            if status is None:
                return sent is not None
            news = (status.state, status.setup_exit, status.results_bytes, status.fresh)
            state = "%s %s" % (news, (status.disk, status.held, status.also))
            if state != sent and status.state != ENDED:
                out.write(encode(Frame(status=status)))
                sent = state
            wrote = False
            for source in ("setup", "run"):
                wrote = _carry(paths, job, source, files, position, out) or wrote
            # the status was read before the logs: an ended job's logs are whole by then
            if status.state == ENDED:
                out.write(encode(Frame(status=store.status(job) or status)))
                return True
            if time.monotonic() - out.last >= BEAT_SECONDS:
                out.write(BEAT)
            if not wrote:
                out.wait(POLL_S)
    except _Gone:
        return True
    finally:
        for opened in files.values():
            os.close(opened)


def _carry(
    paths: Paths, job: str, source: str, files: Dict[str, int], position: Dict[str, int], out: _Out
) -> bool:
    """Send all that is new of one log; whether there was anything."""
    if source not in files:
        try:
            files[source] = os.open(paths.job(job, source + ".log"), os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return False
    end = os.fstat(files[source]).st_size  # what comes later waits for the next round
    begun = position.setdefault(source, 0)
    while position[source] < end:
        data = os.pread(files[source], min(CHUNK, end - position[source]), position[source])
        if not data:
            break
        out.write(encode(Frame(source, position[source], data)))
        position[source] += len(data)
    return position[source] > begun
