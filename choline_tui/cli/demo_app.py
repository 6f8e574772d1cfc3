"""``choline demo`` on a terminal: the app on a private market that moves, with a project ready to run and
runs in every state. Everything of it is ended and removed when the app is closed.
"""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from textual import work

from choline_tui.app import CholineApp
from choline_tui.cli.demo_parts import KEY, EnginePart, MarketPart, make_home, make_project, undisturbed
from choline_tui.kernel.errors import CholineError
from choline_tui.services.looks import read_looks

__all__ = ["DemoApp", "demo_app"]

PEOPLE = 30.0
"""times an hour that others rent, bid and fail, so that the market moves"""
WORTH = """\
This was a rehearsal: nothing was spent, and nothing of it is left.
With an API key of Vast.ai the same screens show the real market:
  export VAST_API_KEY=...   or   choline config set vast.key -
  choline key check         what the key may do
  choline                   the app"""

FILTERS = {
    "one-4090": "gpu_name=RTX_4090 num_gpus=1",
    "big-memory": "gpu_ram>=40 num_gpus=1 reliability>0.98",
}
"""saved filters that are there from the start"""

Live = tuple[str, dict[str, object]]
LIVE: tuple[Live, ...] = (
    ("long", {"command": "python3 train.py 1800", "note": "half an hour; look at its log"}),
    (
        "kept",
        {"command": "python3 train.py 4", "keep_s": 1800.0, "note": "its machine is kept for 30 minutes"},
    ),
    (
        "setup",
        {"command": "sleep 120; python3 train.py 120", "gpu": "1x3090", "note": "prepares for two minutes"},
    ),
    ("2 cards", {"command": "python3 train.py 900", "gpu": "2x4090"}),
)
"""what runs while one looks around"""


class DemoApp(CholineApp):
    """``root``: a directory of its own for home, market and project."""

    def __init__(self, root: Path, environ: Mapping[str, str], *, boot: float) -> None:
        own = {k: v for k, v in environ.items() if not k.startswith(("VAST_", "CHOLINE_"))}
        self.root = root
        self.market = MarketPart(root, boot=boot, environ=own, people=PEOPLE)
        self.project = root / "project"
        looks = read_looks(environ)  # as the person is used to
        super().__init__(
            looks=looks,
            environ={**own, "CHOLINE_HOME": str(root / "home"), "VAST_API_KEY": KEY},
            simulator=True,
        )

    async def prepare(self) -> None:
        """The market, and a history, before anything is asked."""
        starting = asyncio.create_task(self.market.start())
        try:
            await asyncio.to_thread(self._history)
        finally:
            self.environ["VAST_URL"] = await starting

    def _history(self) -> None:
        from choline_tui.config.filters import save_filter
        from choline_tui.config.paths import Paths
        from choline_tui.model.filters import Filter
        from choline_tui.services.sample import sample_history

        home = Paths(self.root / "home", self.environ)
        for name, query in FILTERS.items():
            save_filter(home, name, Filter(query=query))
        sample_history(self.environ, self.project, self.clock.time())

    async def connected(self) -> None:
        self._start_runs()

    @work(group="demo", exit_on_error=False)
    async def _start_runs(self) -> None:
        for name, fields in LIVE:
            try:
                request = self.choline.request(project=str(self.project), name=name, **fields)
                await self.choline.start(request)
            except CholineError as error:
                self.fail(error, f"starting the sample run '{name}'")


def demo_app(environ: Mapping[str, str], *, boot: float, keep: bool) -> int:
    """Until it is closed; then its engine and market are ended, and its files removed unless ``keep``."""
    root = Path(tempfile.mkdtemp(prefix="choline-demo-")).resolve()
    before = Path.cwd()
    try:
        app = DemoApp(root, environ, boot=boot)
        make_home(root / "home", app.environ)
        make_project(app.project, app.environ)
        os.chdir(app.project)  # where a person would be who runs their project
        try:
            app.run()
            return app.return_code or 0
        finally:
            with undisturbed():
                _end(app, before, keep=keep)
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)


def _end(app: DemoApp, before: Path, *, keep: bool) -> None:
    with contextlib.suppress(OSError):
        os.chdir(before)
    with contextlib.suppress(OSError):  # the terminal may be gone
        print("Ending the rehearsal ...", file=sys.stderr, flush=True)
    asyncio.run(_take_down(app))
    with contextlib.suppress(OSError):
        print(WORTH, flush=True)
        if keep:
            print(f"Its files are in {app.root}", flush=True)


async def _take_down(app: DemoApp) -> None:
    await EnginePart(app.root / "home", app.environ).end()
    await app.market.end()
