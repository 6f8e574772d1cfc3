"""A machine with results on it that cannot be reached any more as the one it was: said in words, its GPU
stopped in the end, nothing destroyed."""

from pathlib import Path
from typing import Any

import pytest

from choline_tui.kernel.errors import HostKeyChanged, RemoteError, SshDropped, SshTimeout, TransferFailed
from choline_tui.model.run import Outcome, RunState
from tests.support.world import World, live

HOUR = 3600.0


def starts(world: World) -> int:
    """Contracts that were asked to run, by home, so far."""
    return sum("asked the market to start it" in event.text for event in world.store.events())  # type: ignore[union-attr]


class Dropping:
    """A session that is lost when the results are asked for."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def fetch(self, *args: Any, **more: Any) -> Any:
        raise SshDropped("the connection is lost")


async def away(world: World, run: str, error: Exception) -> list[bool]:
    """From now on nobody gets to the machine; [False] lets them."""
    cut = [True]

    def wrap(contract: int, session: Any) -> Any:
        if cut[0]:
            raise error
        return session

    world.wrap_session = wrap
    await world.restart()
    return cut


def test_a_changed_host_key_is_said_and_its_gpu_does_not_bill_for_ever(tmp_path: Path) -> None:
    """The run was tried again every few minutes until its deadline, and 'running' was all one saw."""

    async def story(world: World) -> None:
        world.backend.copies = False  # see test_copied
        run = world.start(max_life_s=30 * 86400.0)
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        (contract,) = world.sim.contracts.alive()
        # what answers there keeps neither lease nor deadline
        await world.backend.refuse_ssh(contract.id, False)
        world.backend.api = nothing
        cut = await away(world, run, HostKeyChanged("1.2.3.4:22 presents another host key."))
        await world.until(lambda: world.run(run).state is RunState.INTERRUPTED)
        said = world.run(run)
        assert "host key changed" in said.reason and f"choline stop {run} --drop-results" in said.reason
        begun = world.clock.monotonic()
        await world.reach(begun + 11 * HOUR)
        assert contract.alive and world.store.rentals(run=run)[0].stopped_since is None  # type: ignore[union-attr]
        await world.reach(begun + 14 * HOUR)
        (rental,) = world.store.rentals(run=run)  # type: ignore[union-attr]
        assert contract.alive and rental.stopped_since is not None, world.story()
        await world.reach(begun + 30 * HOUR)  # to start it again by itself would only bill
        assert starts(world) == 0 and rental.live
        said = world.run(run)
        assert said.state is RunState.INTERRUPTED and "host key changed" in said.reason, said.reason
        texts = [event.text for event in world.store.events(run=run)]  # type: ignore[union-attr]
        assert len(texts) < 60 and not any("not by us" in text for text in texts), texts
        cut[0] = False
        world.sim.contracts.start(contract)  # by a person, at the market
        ended = await world.ended(run)
        assert ended.results_complete, world.story()
        await world.quiet()

    live(tmp_path, story)


def test_a_machine_with_another_key_is_not_started_for_ever(tmp_path: Path) -> None:
    """It keeps to its lease and stops itself each time; home started it every six hours, for good."""

    async def story(world: World) -> None:
        world.backend.copies = False
        run = world.start(max_life_s=30 * 86400.0)
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        (contract,) = world.sim.contracts.alive()
        await away(world, run, HostKeyChanged("1.2.3.4:22 presents another host key."))
        await world.reach(world.clock.monotonic() + 30 * HOUR)
        assert contract.alive and starts(world) == 3, world.story()
        assert world.store.rentals(run=run)[0].stopped_since is not None  # type: ignore[union-attr]
        assert f"Start contract {contract.id} at the market" in world.run(run).reason
        world.stop(run, drop_results=True)
        await world.ended(run)
        await world.quiet()

    live(tmp_path, story)


def test_a_changed_host_key_is_forgotten_when_the_machine_is_back(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start()
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        cut = await away(world, run, HostKeyChanged("1.2.3.4:22 presents another host key."))
        await world.until(lambda: world.run(run).state is RunState.INTERRUPTED)
        cut[0] = False
        await world.until(lambda: world.run(run).state is not RunState.INTERRUPTED)
        assert "host key" not in world.run(run).reason
        assert not world.store.rentals(run=run)[0].stranger  # type: ignore[union-attr]
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED and ended.results_complete
        await world.quiet()

    live(tmp_path, story)


def test_results_can_be_given_up_with_a_changed_host_key(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start()

        def wrap(contract: int, session: Any) -> Any:
            if world.run(run).state is RunState.COLLECTING:
                raise HostKeyChanged("1.2.3.4:22 presents another host key.")
            return Dropping(session)

        world.wrap_session = wrap
        await world.until(lambda: "host key changed" in world.run(run).reason)
        assert world.run(run).state is RunState.COLLECTING
        world.stop(run, drop_results=True)
        assert (await world.ended(run)).outcome is not None
        await world.quiet()

    live(tmp_path, story)


async def nothing(contract: int, action: str) -> None:
    """A guard that does not work, or has no network."""


def test_a_machine_nobody_reaches_and_that_does_not_end_itself_is_stopped(tmp_path: Path) -> None:
    """Its network is gone, say: neither home nor its own guard ends it, and it billed until someone saw."""

    async def story(world: World) -> None:
        run = world.start(max_life_s=86400.0, lease_s=2 * HOUR)
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        (contract,) = world.sim.contracts.alive()
        world.backend.api = nothing
        cut = await away(world, run, SshTimeout("1.2.3.4:22 does not answer."))
        begun = world.clock.monotonic()
        await world.reach(begun + 2 * HOUR)
        assert world.store.rentals(run=run)[0].stopped_since is None  # type: ignore[union-attr]
        await world.until(lambda: world.store.rentals(run=run)[0].stopped_since is not None, within=3 * HOUR)  # type: ignore[union-attr]
        assert contract.alive
        cut[0] = False  # and when it is started again, it answers
        ended = await world.ended(run)
        assert ended.results_complete, world.story()
        await world.quiet()

    live(tmp_path, story)


def test_a_machine_that_cannot_say_whether_it_has_the_command_is_not_given_up(tmp_path: Path) -> None:
    """Its answer was lost, and then its program answered nothing but errors for a while (a full disk
    there): six of them, and the machine was destroyed with the command running on it."""

    async def story(world: World) -> None:
        broken = [True]

        class Broken(Dropping):
            async def submit(self, *args: Any, **more: Any) -> Any:
                if world.backend.executions and broken[0]:
                    raise RemoteError("The supervisor's program ended with 1: No space left on device")
                await self._session.submit(*args, **more)
                raise SshDropped("the connection is lost")

            async def status(self, *args: Any, **more: Any) -> Any:
                raise RemoteError("The supervisor's program ended with 1: No space left on device")

        world.wrap_session = lambda contract, session: Broken(session) if broken[0] else session
        run = world.start()
        await world.until(lambda: bool(world.backend.executions))
        (contract,) = world.sim.contracts.alive()
        await world.reach(world.clock.monotonic() + 1500)
        assert world.sim.contracts.alive() == [contract], world.story()
        broken[0] = False
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED and ended.results_complete, world.story()
        assert len(world.backend.executions) == 1
        await world.quiet()

    live(tmp_path, story)


@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.COLLECTING])
def test_what_fails_for_more_than_a_moment_is_the_runs_reason(tmp_path: Path, state: RunState) -> None:
    """'bringing the results home', for hours: only the attempt's own page said that it could not."""

    async def story(world: World) -> None:
        failing = [True]

        class Failing(Dropping):
            async def fetch(self, *args: Any, **more: Any) -> Any:
                if failing[0]:
                    raise TransferFailed("3 result file(s) did not arrive whole.", hint="Make room.")
                return await self._session.fetch(*args, **more)

        def wrap(contract: int, session: Any) -> Any:
            if failing[0] and state is RunState.RUNNING and world.backend.executions:
                raise SshTimeout("1.2.3.4:22 does not answer.")
            return Failing(session) if state is RunState.COLLECTING else session

        world.wrap_session = wrap
        run = world.start()
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        if state is RunState.RUNNING:
            await world.restart()
        word = "does not answer" if state is RunState.RUNNING else "did not arrive whole. Make room."
        await world.until(lambda: word in world.run(run).reason)
        assert world.run(run).state is state
        failing[0] = False
        if state is RunState.RUNNING:
            await world.until(lambda: not world.run(run).reason)
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED and word not in ended.reason
        await world.quiet()

    live(tmp_path, story)
