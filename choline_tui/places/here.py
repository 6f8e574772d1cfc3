"""This computer as a place: the cheap rehearsal. Nothing is rented, nothing bills, nothing ends by itself."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from choline_tui.kernel import layout
from choline_tui.kernel.session import RemoteSession
from choline_tui.places.base import Abilities

__all__ = ["HerePlace"]


class HerePlace:
    """``home``: a private directory that is the home of all runs here, as a remote has one; the supervisor
    and what runs share (environments, data) stay in it. ``connect`` opens a session there."""

    abilities = Abilities(bills=False, can_hold=False, can_signal=True, has_queue=False, ends_itself=False)

    def __init__(self, home: Path, connect: Callable[[], Awaitable[RemoteSession]]) -> None:
        self.home = home
        self._connect = connect

    async def connect(self) -> RemoteSession:
        return await self._connect()

    async def tidy(self, run: str) -> None:
        """Take away the directories of a run that has ended: what it was to give is with its results."""
        await asyncio.to_thread(self._remove, run)

    async def sweep(self, live: Collection[str]) -> None:
        """``tidy`` for all but these runs."""
        top = self.home / layout.ROOT
        names = [path.name for path in top.glob("*")] if top.is_dir() else []
        for name in names:
            if not name.startswith(".") and name not in live and (top / name / "src").is_dir():
                await self.tidy(name)

    def _remove(self, run: str) -> None:
        if not run or run.startswith("."):
            return
        shutil.rmtree(self.home / layout.run_dir(run), ignore_errors=True)
        jobs = self.home / layout.JOBS
        for job in jobs.glob("*") if jobs.is_dir() else ():
            if job.name.rpartition("-")[0] == run:
                shutil.rmtree(job, ignore_errors=True)
