"""A disk that fills, there or here: said where one looks, and nothing lost."""

import dataclasses
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from choline_tui.engine import disks
from choline_tui.kernel.protocol import Frame
from choline_tui.simulator.remotes.job_model import JobModel
from choline_tui.simulator.remotes.modelled_session import ModelledSession
from tests.support.world import World, live


class Filling:
    """A machine whose disk is nearly full after its first result, and full after its second."""

    def __init__(self, session: ModelledSession) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def stream(self, job: str, offsets: dict[str, int]) -> AsyncIterator[Frame]:
        async for frame in self._session.stream(job, offsets):
            if frame.status is None:
                yield frame
                continue
            disk, held = {1: ("low", False), 2: ("full", True)}.get(frame.status.fresh, ("", False))
            told = dataclasses.replace(frame.status, disk=disk, held=held, disk_free_bytes=412_000_000)
            yield Frame(status=told)


class Flapping(Filling):
    async def stream(self, job: str, offsets: dict[str, int]) -> AsyncIterator[Frame]:
        async for frame in self._session.stream(job, offsets):
            if frame.status is not None and frame.status.state == "running":
                for n in range(200):
                    yield Frame(status=dataclasses.replace(frame.status, disk=("low", "")[n % 2]))
            yield frame


def said(world: World, run: str, word: str = "disk") -> list[str]:
    assert world.store is not None
    return [e.text for e in world.store.events(run=run) if word in e.text]


def test_a_full_disk_there_is_said_while_it_lasts(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        files = {f"{n}.pt": b"1" for n in range(4)}
        world.model = JobModel(duration_s=600.0, result_files=files, result_every_s=100.0)
        world.wrap_session = lambda contract, session: Filling(session)  # type: ignore
        run = world.start()
        await world.until(lambda: "nearly full (0.4 GB free)" in world.run(run).disk)
        await world.until(lambda: world.run(run).disk.startswith("paused: the machine's disk is full"))
        assert f"choline exec {run} -- rm FILE" in world.run(run).disk
        await world.until(lambda: world.run(run).disk == "")
        await world.ended(run)
        assert [text.partition(" (")[0] for text in said(world, run, "machine's disk")] == [
            "the machine's disk is nearly full",
            "paused: the machine's disk is full",
            "the machine's disk has room again",
        ]
        await world.quiet()

    live(tmp_path, story)


def test_a_machine_that_changes_its_mind_all_the_time_gets_few_events(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.model = JobModel(duration_s=100.0)
        world.wrap_session = lambda contract, session: Flapping(session)  # type: ignore
        run = world.start()
        await world.ended(run)
        assert 1 <= len(said(world, run)) <= 4
        await world.quiet()

    live(tmp_path, story)


def test_without_room_here_results_wait_on_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Disk:
        free = 100 << 30

        @classmethod
        def disk_usage(cls, path: Any) -> Any:
            return shutil._ntuple_diskusage(200 << 30, 0, cls.free)  # type: ignore

    monkeypatch.setattr(disks, "shutil", Disk)

    async def story(world: World) -> None:
        assert world.store is not None
        files = {"a.pt": b"1", "b.pt": b"2", "c.pt": b"3", "d.pt": b"4"}
        world.model = JobModel(duration_s=2000.0, result_files=files, result_every_s=500.0)
        run = world.start()
        await world.until(lambda: world.run(run).results_synced is not None)
        assert world.run(run).disk == ""
        Disk.free = 3 << 30
        await world.until(lambda: "only 3.2 GB are left for results" in world.run(run).disk)
        Disk.free = 500 << 20
        await world.until(lambda: "results wait on the machine" in world.run(run).disk)
        Disk.free = 10 << 20  # not even the last ones have room
        await world.until(lambda: world.run(run).state == "collecting", within=3000)
        await world.reach(world.clock.monotonic() + 600)
        assert world.run(run).live and "results wait on the machine" in world.run(run).disk
        rentals = world.store.rentals(run=run)
        assert [c.id for c in world.sim.contracts.alive()] == [r.contract for r in rentals]
        Disk.free = 100 << 30
        assert (await world.ended(run)).results_complete
        assert len(said(world, run, "results wait")) < 5
        await world.quiet()
        world.check(run)

    live(tmp_path, story)
