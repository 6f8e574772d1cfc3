"""By hand: three small public projects, from their source distributions to runs that import them, unattended.

``python -m tests.e2e.public_projects [SDIST.tar.gz ...]``; without arguments pip fetches six, itsdangerous
and tinydb. For each: unpacked, ``choline init --yes``, ``choline check --offline``, a run on a rehearsal
market whose machine builds the project's environment with uv from the package index.
Needs PyPI; takes a minute.
"""

import asyncio
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from choline_tui.model.run import Outcome
from tests.e2e.rehearsed import Rehearsed, rehearsed, way_out

PROJECTS = ("six", "itsdangerous", "tinydb")


def fetched(into: Path) -> list[Path]:
    """Their source distributions, by pip."""
    for name in PROJECTS:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", name],
            cwd=into, check=True,
        )  # fmt: skip
    return sorted(into.glob("*.tar.gz"))


async def one(all_of_it: Rehearsed, sdist: Path, into: Path) -> bool:
    with tarfile.open(sdist) as archive:
        archive.extractall(into, filter="data")
    top = into / sdist.name.removesuffix(".tar.gz")
    name = sdist.name.rpartition("-")[0]
    command = f'python -c \'import {name} as m, sys; print("imported", m.__name__, "by", sys.prefix)\''
    for words in (["init", "--yes", "--command", command], ["check", "--offline"]):
        done = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "choline_tui", *words, cwd=top, env=all_of_it.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        _, err = await done.communicate()
        if done.returncode:
            print(f"{name}: choline {words[0]}: {err.decode(errors='replace')[-2000:]}")
            return False
    started = await all_of_it.start(top, env=way_out())
    ended, log, told = await all_of_it.ended(started.id)
    environment = next((text for text in told if text.startswith("environment:")), "no environment")
    good = ended.outcome is Outcome.SUCCEEDED and f"imported {name} by" in log and ".system/envs/" in log
    print(f"{name}: {'good' if good else 'FAILED'}; {environment}; {ended.reason}; {log.strip()[:200]}")
    return good


async def main(sdists: list[Path]) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        (top / "sdists").mkdir()
        (top / "projects").mkdir()
        found = sdists or fetched(top / "sdists")
        async with rehearsed(top / "market", top / "home") as all_of_it:
            return all([await one(all_of_it, sdist, top / "projects") for sdist in found])


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main([Path(word).absolute() for word in sys.argv[1:]])) else 1)
