"""A gigabyte in one line, and a minute of ``yes``, through the whole of it: a real engine, a real sshd.

What is measured is what suffers first: the memory of the engine and of the program on the machine (peak, of
all their processes), what lies on either disk, and that a second run beside it still ends well.
"""

import asyncio
import os
import tempfile
import time
from pathlib import Path

from choline_tui.config.edit import set_value
from choline_tui.config.paths import Paths
from choline_tui.model.run import Outcome, Run, RunState
from choline_tui.services import Choline
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.remotes import ProcessBackend
from tests.support import eventually

FLOODS = {
    "a line of 1 GB": "head -c 1000000000 /dev/zero | tr '\\0' x",
    "a minute of yes": "timeout 60 yes; true",
}
BOUND_MIB = 200
"""most that a process of ours may ever take"""


def _peaks(word: bytes, root: Path) -> list[int]:
    """MiB at their peak of the processes below ``root`` that have this in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                ours = os.fsencode(root) in (entry / "environ").read_bytes()
                if ours and word in (entry / "cmdline").read_bytes():
                    text = (entry / "status").read_text()
                    found.append(int(text.split("VmHWM:")[1].split()[0]) >> 10)
            except (OSError, IndexError):
                continue
    return found


async def _flood(choline: Choline, name: str, command: str, root: Path) -> str:
    begun = time.monotonic()
    of = str(root / "project")
    run = (await choline.start(choline.request(project=of, command=command, gpu="1x4090"))).id
    beside = (await choline.start(choline.request(project=of, command="echo well", gpu="1x3090"))).id
    peaks: dict[str, int] = {"engine": 0, "machine": 0}

    def look(run_id: str) -> Run:
        for what, word in (("engine", b"choline_tui.engine"), ("machine", b"supervisor.pyz")):
            peaks[what] = max([peaks[what], *_peaks(word, root)])
        return choline.store.run(run_id)

    await eventually(lambda: look(beside).state is RunState.ENDED, within=300, what="the run beside it")
    await eventually(lambda: look(run).state is RunState.ENDED, within=600, what="the flood's end")
    ended = choline.store.run(run)
    assert ended.outcome is Outcome.SUCCEEDED, ended.reason
    assert choline.store.run(beside).outcome is Outcome.SUCCEEDED
    assert max(peaks.values()) < BOUND_MIB, peaks
    size = sum(f.stat().st_size for f in (root / "home").rglob("*") if f.is_file())
    return (
        f"{name}: {time.monotonic() - begun:.0f} s; engine at most {peaks['engine']} MiB,"
        f" on the machine {peaks['machine']} MiB; {size >> 20} MiB on home's disk"
    )


async def _all() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        project = root / "project"
        project.mkdir()
        home = Paths(root / "home").ensure()
        for key, value in (("engine.boot_poll", "0.5"), ("engine.watch", "1s")):
            set_value(home, key, value)
        backend = ProcessBackend(root / "market", "openssh")
        async with Simulator(offers=800, boot=1.0, backend=backend, moving=False) as sim:
            env = {**os.environ, "VAST_URL": sim.url, "VAST_API_KEY": "rehearsal"}
            async with Choline(root / "home", env | {"CHOLINE_HOME": str(root / "home")}) as choline:
                try:
                    for name, command in FLOODS.items():
                        print(await _flood(choline, name, command, root), flush=True)
                finally:
                    await choline.engine_stop()


def flood() -> int:
    """Both, one after the other. Raises AssertionError when something was not bounded."""
    asyncio.run(_all())
    return 0
