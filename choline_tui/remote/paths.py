"""Absolute paths of one remote's layout (``kernel/layout.py``), below one home."""

import os

from choline_tui.kernel import layout

__all__ = ["Paths"]


class Paths:
    def __init__(self, home: str) -> None:
        self.home = os.path.abspath(home)
        self.system = self._at(layout.SYSTEM)
        self.program = self._at(layout.SUPERVISOR)
        self.spool = self._at(layout.SPOOL)
        self.stops = self._at(layout.STOP)
        self.jobs = self._at(layout.JOBS)
        self.data = self._at(layout.DATA)
        self.lease = self._at(layout.LEASE)
        self.guard = self._at(layout.GUARD)
        self.lock = os.path.join(self.system, "supervisor.lock")
        self.beat = os.path.join(self.system, "supervisor.json")
        self.log = os.path.join(self.system, "supervisor.log")
        self.deadline = os.path.join(self.guard, "deadline")
        self.safe = os.path.join(self.guard, "safe")
        self.expired = os.path.join(self.guard, "expired")

    def _at(self, relative: str) -> str:
        return os.path.join(self.home, *relative.split("/"))

    def job(self, job: str, *names: str) -> str:
        return os.path.join(self.jobs, job, *names)

    def run(self, run: str, *names: str) -> str:
        return os.path.join(self._at(layout.run_dir(run)), *names)

    def stop(self, job: str) -> str:
        return os.path.join(self.stops, job + ".json")

    def make_system(self) -> None:
        """The supervisor's own folders, for nobody else. Raises ``OSError``."""
        os.makedirs(self.system, mode=0o700, exist_ok=True)
        os.chmod(self.system, 0o700)
        for path in (self.spool, self.stops, self.jobs):
            os.makedirs(path, mode=0o700, exist_ok=True)

    def make_run(self, run: str) -> None:
        for part in layout.PARTS:
            os.makedirs(self.run(run, part), exist_ok=True)
