"""One home with a real engine on a rehearsal market whose machines are processes here, and have uv."""

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from choline_tui.config.edit import set_value
from choline_tui.config.paths import Paths
from choline_tui.model.run import Run
from choline_tui.services import Choline
from choline_tui.simulator.backend import Launch
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.remotes import ProcessBackend
from tests.support.uv import uv_program

__all__ = ["Rehearsed", "rehearsed", "way_out"]


def way_out() -> dict[str, str]:
    """Variables by which programs of this computer reach a package index, for a machine to have as well."""
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "NO_PROXY", "UV_DEFAULT_INDEX")
    return {name: os.environ[name] for name in names if os.environ.get(name)}


class WithUv(ProcessBackend):
    """Machines that have uv, as a person's own image may."""

    async def create(self, launch: Launch) -> None:
        await super().create(launch)
        place = self.home(launch.contract) / ".local/bin"
        place.mkdir(parents=True)
        await asyncio.to_thread(shutil.copy2, uv_program(), place / "uv")


@dataclass
class Rehearsed:
    choline: Choline
    sim: Simulator
    env: dict[str, str]

    async def start(self, project: Path, **changes: Any) -> Run:
        return await self.choline.start(self.choline.request(project=str(project), **changes))

    async def ended(self, run: str) -> tuple[Run, str, list[str]]:
        """(the run when it has ended, its log, its timeline)"""
        ended = await self.choline.wait(run, until="ended")
        log = self.choline.log_file(run, 1, "run")
        told = [event.text for event in self.choline.events(run)]
        return ended, log.read_text() if log.exists() else "", told


@contextlib.asynccontextmanager
async def rehearsed(root: Path, home: Path) -> AsyncIterator[Rehearsed]:
    """``root``: where the market's machines lie; the engine is stopped at the end."""
    paths = Paths(home).ensure()
    for key, value in (("engine.boot_poll", "0.5"), ("engine.watch", "1s")):
        set_value(paths, key, value)
    backend = WithUv(root, "openssh")
    async with Simulator(offers=200, boot=0.2, backend=backend, moving=False) as sim:
        env = {**os.environ, "VAST_URL": sim.url, "VAST_API_KEY": "rehearsal", "CHOLINE_HOME": str(home)}
        env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *sys.path])
        async with Choline(home, env) as choline:
            try:
                yield Rehearsed(choline, sim, env)
            finally:
                await choline.engine_stop()
