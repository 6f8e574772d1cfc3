"""The runs screen over fake services: logs, events and results a test writes, verbs that are recorded."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from choline_tui.kernel.errors import NotFound
from choline_tui.model.removable import why_not_removed
from choline_tui.model.request import RunRequest
from choline_tui.model.run import Event
from choline_tui.services.choline import Followed, RunView
from tests.ui.conftest import screen_text
from tests.ui.fake import NOW, FakeApp, FakeCholine

__all__ = ["NOW", "Include", "RunsFake", "event", "make_app", "picture", "until"]

WITHIN = 20.0
"""s of real time that a condition may take on a busy computer"""


def event(at: float, kind: str, text: str, seq: int, **more: Any) -> Event:
    return Event(at=NOW + at, kind=kind, text=text, seq=seq, **more)


@dataclass
class Include:
    """The line in the user's SSH configuration."""

    installed: bool = True
    line: str = "Include ~/.choline/ssh_names"

    def install(self) -> None:
        self.installed = True


@dataclass
class RunsFake(FakeCholine):
    """``told``: what following gives, in order; None ends it. ``argv``: what every command line is."""

    told: "asyncio.Queue[Followed | None]" = field(default_factory=asyncio.Queue)
    argv: list[str] = field(default_factory=lambda: ["true"])
    include: Include = field(default_factory=Include)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.answers.setdefault("pull", {"files": 3, "bytes": 12_000, "into": "/r", "complete": True})
        self.answers.setdefault("destroy", {"run": ""})

    def log_file(self, run_id: str, n: int, source: str) -> Path:
        return Path(self.paths.run_dir(run_id)) / f"attempt-{n}" / f"{source}.log"

    def write_log(self, run_id: str, text: str | bytes, n: int = 1, source: str = "run") -> None:
        file = self.log_file(run_id, n, source)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as log:
            log.write(text.encode() if isinstance(text, str) else text)

    def events(self, name: str, *, after: int = 0) -> list[Event]:
        return [e for e in self.history if (e.seq or 0) > after]

    def show(self, name: str) -> RunView:
        for view in self.views:
            if view.run.id == name:
                return view
        raise NotFound(f"there is no run {name!r}", hint="'choline status' lists the runs.")

    async def follow(self, name: str, **how: Any) -> AsyncGenerator[Followed, None]:
        self._ask("follow", (name, how))
        while (item := await self.told.get()) is not None:
            yield item

    def again(self, run: str, **changes: Any) -> RunRequest:
        self._ask("again", (run, changes))
        return RunRequest(project="/p", like=run, same_code=True)

    def like(self, run: str, **changes: Any) -> RunRequest:
        self._ask("like", (run, changes))
        return RunRequest(project="/p", like=run, like_what="machine")

    def why_not_removed(self, view: RunView, *, drop_results: bool = False) -> str:
        reason = why_not_removed(view.run, view.attempts, view.rentals, drop_results=drop_results)
        return reason.message if reason is not None else ""

    async def rm(self, *runs: str, **how: Any) -> list[dict[str, Any]]:
        self._ask("rm", (runs, how))
        self.views = [v for v in self.views if v.run.id not in runs]
        return [{"run": run, "bytes": 2_000_000} for run in runs]

    async def ssh_command(self, run: str) -> list[str]:
        self._ask("ssh_command", run)
        return self.argv

    async def attach_command(self, run: str, key: str = "") -> list[str]:
        self._ask("attach_command", run)
        return self.argv

    async def open_command(self, run: str, editor: str = "code") -> list[str]:
        self._ask("open_command", run)
        return self.argv

    async def forward_command(self, run: str, *ports: str) -> list[str]:
        self._ask("forward_command", (run, ports))
        return self.argv

    def ssh_include(self) -> Include:
        return self.include

    @staticmethod
    def ssh_name(run: str) -> str:
        return f"choline-{run}"

    def of(self, method: str) -> list[Any]:
        """With what a method was asked, in order."""
        return [params for name, params in self.asked if name == method]


def make_app(fake: RunsFake | None = None, **how: Any) -> "FakeApp":
    return FakeApp("runs", fake=fake or RunsFake(), **how)


async def until(pilot: Pilot[Any], condition: Callable[[], object]) -> None:
    """Wait until it is so. Fails after ``WITHIN``."""
    end = time.monotonic() + WITHIN
    while True:
        await pilot.pause()
        if condition():
            return
        assert time.monotonic() < end, "it never came to that"
        await asyncio.sleep(0.01)


async def picture(shot: Callable[..., None], pilot: Pilot[Any], name: str, *, svg: bool = False) -> None:
    """Compare what is on the screen once it moves no more: layouts follow one another."""
    end = time.monotonic() + WITHIN
    last, same = "", 0
    while same < 3:
        await pilot.pause()
        await asyncio.sleep(0.01)
        now = screen_text(pilot.app)
        same, last = (same + 1 if now == last else 0), now
        assert time.monotonic() < end, "it never came to rest"
    shot(pilot, name, svg=svg)
