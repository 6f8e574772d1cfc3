"""The engine with a machine that lies to it, another that is sound beside it, on the virtual clock."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from choline_tui.engine import machine
from choline_tui.kernel.errors import HostKeyChanged, RemoteError, TransferFailed
from choline_tui.kernel.protocol import Frame, JobStatus
from choline_tui.kernel.text import plain
from choline_tui.model.run import Outcome, RunState
from tests.support.world import World, live

EVIL = "\x1b[2J\x1b]0;owned\x07\u202e[red]" + "\u0e47" * 100


class Lying:
    """A session that lies where a test says so; all else is the machine's own."""

    def __init__(self, honest: Any, **lies: Any) -> None:
        self._honest = honest
        for name, lie in lies.items():
            setattr(self, name, lie)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._honest, name)


def first_lies(world: World, make: Any) -> None:
    """The first contract's machine lies; ``make(honest)`` gives its session."""

    def wrap(contract: int, session: Any) -> Any:
        first = next(iter(world.sim.contracts.history), None)
        number = getattr(first, "id", first)
        return make(session) if contract == number or len(world.sim.contracts.history) == 1 else session

    world.wrap_session = wrap


async def both_end(world: World, one: str, other: str) -> None:
    assert (await world.ended(other)).outcome is Outcome.SUCCEEDED, world.story()
    assert (await world.ended(one)).outcome is Outcome.SUCCEEDED, world.story()
    await world.quiet()
    world.check(one)


def test_a_job_that_goes_back_and_forth_writes_no_events(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        def make(honest: Any) -> Any:
            async def stream(job: str, offsets: dict[str, int]) -> AsyncIterator[Frame]:
                for n in range(3000):
                    state = ("running", "setup", "queued", "stopping", "running")[n % 5]
                    yield Frame(status=JobStatus(job, state))
                    yield Frame(status=JobStatus("other-9", "ended", "exited", 1))
                async for frame in honest.stream(job, offsets):
                    yield frame

            return Lying(honest, stream=stream)

        first_lies(world, make)
        run = world.start()
        await world.until(lambda: world.run(run).started is not None)
        await both_end(world, run, world.start())
        assert world.store is not None
        assert len(world.store.events(run=run)) < 60, world.story()

    live(tmp_path, story)


def test_a_log_without_end_is_kept_up_to_its_limit_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "LOG_LIMIT", 1 << 20)

    async def story(world: World) -> None:
        def make(honest: Any) -> Any:
            async def stream(job: str, offsets: dict[str, int]) -> AsyncIterator[Frame]:
                at = offsets.get("run", 0)
                for _ in range(100):
                    yield Frame("run", at, b"\x1b[2J" * 12_000)
                    at += 48_000
                yield Frame(status=JobStatus(job, "ended", "exited", 0, log_dropped=12_345))

            return Lying(honest, stream=stream)

        first_lies(world, make)
        run = world.start()
        await world.until(lambda: world.run(run).started is not None)
        await both_end(world, run, world.start())
        assert world.engine is not None and world.store is not None
        log = world.engine.ctx.files.log(run, 1, "run")
        assert 0 < log.stat().st_size <= 1 << 20
        assert log.read_bytes()[:4] == b"\x1b[2J"  # what came is kept as it came
        texts = [event.text for event in world.store.events(run=run)]
        assert sum("has reached 1 MiB" in text for text in texts) == 1, texts
        assert any("12,345 bytes of its output were not kept" in text for text in texts), texts

    live(tmp_path, story)


def test_another_machine_at_the_address_gets_nothing_and_the_results_wait(tmp_path: Path) -> None:
    """A day of it: told in words, nothing destroyed, nothing lost; it goes on when the machine is back."""

    async def story(world: World) -> None:
        world.backend.copies = False  # tests/engine/test_copied.py has what its host gives
        changed = [False]

        def wrap(contract: int, session: Any) -> Any:
            if changed[0]:
                raise HostKeyChanged("root@1.2.3.4:22 presents another host key than the one pinned.")
            return session

        world.wrap_session = wrap
        run = world.start(max_life_s=5 * 86400.0)
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        assert world.engine is not None and world.store is not None
        (contract,) = world.sim.contracts.alive()
        changed[0] = True
        await world.engine.ctx.sessions.close()  # the connection is lost, and the next meets a stranger
        world.engine.poke(run)
        for task in world.engine._drivers.values():
            task.cancel()
        await world.restart()
        await world.until(lambda: "another host key" in world.store.attempts(run)[0].reason)  # type: ignore[union-attr]
        begun = world.clock.monotonic()
        await world.until(lambda: world.clock.monotonic() - begun > 3600)
        assert world.sim.contracts.alive() == [contract], world.story()
        texts = [event.text for event in world.store.events(run=run)]
        assert any("another host key" in text for text in texts)
        assert len(texts) < 200
        changed[0] = False
        ended = await world.ended(run)
        assert ended.outcome is not None and ended.results_complete, world.story()
        assert (Path(ended.plan.results_into) / "results" / "model.bin").exists()
        await world.quiet()

    live(tmp_path, story)


@pytest.mark.parametrize(
    "error",
    [
        TransferFailed("There are 10995116277760 bytes to fetch, and 5 are free in /x.", hint="Make room."),
        RemoteError("The remote's log stream makes no sense: it never stops repeating itself."),
        OSError(28, "No space left on device"),
    ],
)
def test_results_refused_for_a_while_stop_nobody_else(tmp_path: Path, error: Exception) -> None:
    async def story(world: World) -> None:
        refusing = [True]

        def make(honest: Any) -> Any:
            async def fetch(*args: Any, **more: Any) -> Any:
                if refusing[0]:
                    raise error
                return await honest.fetch(*args, **more)

            return Lying(honest, fetch=fetch)

        first_lies(world, make)
        run = world.start()
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        other = world.start()
        assert (await world.ended(other)).outcome is Outcome.SUCCEEDED, world.story()
        await world.until(lambda: world.run(run).state is RunState.COLLECTING)
        assert world.store is not None
        words = str(getattr(error, "message", error))
        await world.until(lambda: any(words[:30] in e.text for e in world.store.events(run=run)))  # type: ignore[union-attr]
        assert not world.run(run).results_complete
        refusing[0] = False
        await both_end(world, run, other)

    live(tmp_path, story)


def test_whatever_a_machine_says_no_event_can_draw(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        def make(honest: Any) -> Any:
            async def stream(job: str, offsets: dict[str, int]) -> AsyncIterator[Frame]:
                told = JobStatus.from_wire(
                    {"id": job, "state": "ended", "reason": EVIL, "exit_code": 0, "message": EVIL}
                )
                yield Frame(status=told)

            return Lying(honest, stream=stream)

        first_lies(world, make)
        run = world.start()
        ended = await world.ended(run)
        assert ended.outcome is Outcome.ERROR and "was lost" in ended.reason
        assert world.store is not None
        for event in world.store.events():
            assert plain(event.text) == event.text and "\n" not in event.text
        await world.quiet()

    live(tmp_path, story)
