"""A job's results on their way to their second home: beside the command, and whole at its end.

The job counts as running until they are there, or until somebody wants its end more than the copy; so the
lease and the guard hold meanwhile as for any other job.
"""

import json
import os
import threading
import time
from typing import Callable, Mapping, Optional

from choline_tui.kernel.errors import UsageError
from choline_tui.kernel.protocol import BEHIND, ENDED, ENDING, FAILED, WHOLE, JobSpec, JobStatus
from choline_tui.kernel.text import plain
from choline_tui.kernel.web import WebTrouble
from choline_tui.remote.paths import Paths
from choline_tui.remote.second import GivenUp, SecondHome

__all__ = ["Sending"]

AGAIN_S = 60.0
"""s until a bucket that did not answer is asked once more while the command runs"""
ROUNDS = 5
"""at the end, while the bucket's own list differs"""


class Sending:
    """Writes its state into ``status``, which its job's keeper saves. ``wake``: something came to rest."""

    def __init__(
        self,
        paths: Paths,
        spec: JobSpec,
        secrets: Mapping[str, str],
        status: JobStatus,
        wall: Callable[[], float],
    ) -> None:
        assert spec.also is not None
        self._paths = paths
        self._spec = spec
        self._status = status
        self._wall = wall
        self._over = False
        self._ended_at = 0.0
        self._wake = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._home: Optional[SecondHome] = None
        status.also = BEHIND
        try:
            self._home = SecondHome(
                spec.also,
                spec.run,
                spec.id,
                paths.run(spec.run),
                secrets,
                exclude=spec.results_exclude,
                wanted=self._wanted,
                sleep=self._nap,
            )
        except ValueError as e:
            self._failed(str(e))
            return
        self._thread = threading.Thread(target=self._along, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def finish(self, reason: str, tell: Callable[[], object]) -> None:
        """The command is over (``reason``): send the rest, and compare with the bucket's list; then its logs,
        and a record of its end. ``tell`` is called when the state has changed. Ends when it is whole, or
        cannot be, or the job's end is wanted."""
        if self._home is None:
            return
        self._over, self._ended_at = True, self._wall()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._status.also = ENDING
        tell()
        try:
            for _ in range(ROUNDS):
                self._home.bring(0.0, self._wall())
                if not self._home.differing():
                    self._count()
                    self._conclude(reason)
                    self._status.also, self._status.also_words = WHOLE, ""
                    return
            self._failed("files there differ from those here, again and again")
        except GivenUp:
            self._failed("the end came before all was there")
        except (WebTrouble, UsageError, OSError, ValueError) as e:
            self._failed(str(e))
        except Exception as e:  # a copy must not make the job's end fail
            self._failed("%s: %s" % (type(e).__name__, e))
        finally:
            self._count()
            self._home.close()
            tell()

    def _along(self) -> None:
        """Send what has come to rest, until the command is over."""
        home = self._home
        assert home is not None
        while not self._over:
            self._wake.wait(AGAIN_S)
            self._wake.clear()
            if self._over:
                return
            try:
                home.bring(self._spec.settle_s, self._wall())
                self._status.also, self._status.also_words = BEHIND, ""
            except GivenUp:
                return
            except Exception as e:  # the bucket, the disk, the network: it is tried again
                self._failed(str(e) or type(e).__name__)
            self._count()

    def _conclude(self, reason: str) -> None:
        assert self._home is not None
        record = dict(self._status.to_wire(), state=ENDED, reason=reason, ended=self._wall(), also=WHOLE)
        logs = {name: self._paths.job(self._spec.id, name) for name in ("setup.log", "run.log")}
        self._home.conclude(json.dumps(record).encode("ascii"), logs)

    def _count(self) -> None:
        if self._home is not None:
            self._status.also_files, self._status.also_bytes = self._home.sent, self._home.size

    def _failed(self, words: str) -> None:
        self._status.also_words = plain(" ".join(words.split()))[:400]
        self._status.also = FAILED

    def _nap(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._wanted() and time.monotonic() < until:
            time.sleep(0.2)

    def _wanted(self) -> bool:
        """Whether to go on: until a stop that came after the command's end, or the guard's."""
        if not self._ended_at:
            return True
        if os.path.exists(self._paths.expired):
            return False
        try:
            asked = os.stat(self._paths.stop(self._spec.id)).st_mtime
        except OSError:
            return True
        return asked < self._ended_at
