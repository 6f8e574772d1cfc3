"""Results of a machine that stands and cannot be started, or that nobody reaches: by its host's copier."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from choline_tui.engine.api import Api
from choline_tui.engine.context import Timing
from choline_tui.engine.copied import AGAIN
from choline_tui.kernel.errors import HostKeyChanged, RemoteError, SshTimeout, TransferFailed, VastError
from choline_tui.model.decide import COPY_AFTER
from choline_tui.model.run import Outcome, RunState
from choline_tui.simulator.remotes.job_model import JobModel
from tests.engine.test_cut_off import HOUR, away, nothing, starts
from tests.engine.test_hard_moments import SOMEBODY, taken
from tests.support.world import World, live

LONG = JobModel(
    duration_s=HOUR,
    result_files={"model.bin": b"weights" * 100, "keep/step.txt": b"20"},
    result_every_s=100.0,
)


def api(world: World) -> Api:
    assert world.engine is not None
    nobody: Any = None
    return Api(world.engine, world.engine.ctx.place, nobody, {}, {}, lambda r: ("", ""), lambda: None)  # type: ignore[arg-type]


def said(world: World, words: str) -> list[float]:
    """When events had those words."""
    assert world.store is not None
    return [event.at for event in world.store.events() if words in event.text]


def asked(world: World) -> int:
    return sum("copy_direct" in path for _, path in world.market.calls)


async def standing(world: World, **plan: Any) -> tuple[str, Any]:
    """A run whose machine has been stopped, and whose GPUs somebody else has now."""
    world.model = LONG
    run = world.start(**plan)
    await world.until(lambda: world.run(run).state is RunState.RUNNING)
    (contract,) = world.sim.contracts.alive()
    await world.reach(world.clock.monotonic() + 1000)  # its files are there
    await taken(world, contract)
    await world.until(lambda: world.run(run).state is RunState.INTERRUPTED)
    return run, contract


class Refusing:
    """A copier that does not let anybody in while ``on``."""

    def __init__(self, inner: Any, world: World) -> None:
        self._inner = inner
        self.on = True
        self.host_key = ""
        self.tried: list[float] = []
        self._world = world

    async def job(self, job: str) -> Any:
        self.tried.append(self._world.clock.time())
        if self.on:
            raise TransferFailed("it says no")
        found = await self._inner.job(job)
        self.host_key = self._inner.host_key
        return found

    async def fetch(self, *args: Any, **more: Any) -> Any:
        return await self._inner.fetch(*args, **more)

    async def close(self) -> None:
        await self._inner.close()


def test_an_outbid_machine_gives_its_checkpoint_and_the_run_goes_on_elsewhere(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run, contract = await standing(world)
        (stopped,) = said(world, "stopped, and not by us")
        into = Path(world.run(run).plan.results_into)
        (into / "keep" / "step.txt").unlink()  # what is at home by then does not count
        await world.until(lambda: not contract.alive, within=HOUR)
        assert said(world, "cannot be started yet"), "starting it was tried first"
        (begun,) = said(world, "fetched from its disk by its host's copier")
        assert COPY_AFTER <= begun - stopped < COPY_AFTER + 60
        assert (into / "keep" / "step.txt").read_bytes() == b"20"
        (home,) = said(world, "results are home by the host's copier: 2 files, 702 bytes, compared by rsync")
        assert home <= said(world, "destroying contract")[0]
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED and ended.results_complete, world.story()
        first, second = world.store.attempts(run)  # type: ignore[union-attr]
        assert (first.outcome, first.reason) == (Outcome.ERROR, "the machine was stopped under the command")
        assert (first.job_reason, second.outcome) == ("lost", Outcome.SUCCEEDED)
        assert asked(world) == 1
        await world.quiet()
        world.check(run)

    live(tmp_path, story)


def test_what_the_disk_says_of_a_command_that_had_ended_is_the_runs_outcome(tmp_path: Path) -> None:
    """It ended, its lease ran out while home was away, it stopped itself, and its GPUs went to others."""

    async def story(world: World) -> None:
        world.model = JobModel(duration_s=600.0, exit_code=3, result_files={"model.bin": b"weights"})
        run = world.start(lease_s=1200.0, grace_s=600.0)
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        (contract,) = world.sim.contracts.alive()
        await world.crash()
        await world.reach(world.clock.monotonic() + 2 * HOUR)
        assert contract.intended == "stopped" and not contract.held
        world.sim.market.hold(contract.machine, contract.slice.gpus, SOMEBODY)
        await world.boot()
        ended = await world.ended(run, within=HOUR)
        assert (ended.outcome, ended.exit_code) == (Outcome.FAILED, 3), world.story()
        assert ended.results_complete and starts(world) == 0
        assert (Path(ended.plan.results_into) / "results" / "model.bin").read_bytes() == b"weights"
        await world.quiet()
        world.check(run)

    live(tmp_path, story)


def test_a_machine_nobody_reached_is_not_started_for_what_its_disk_gives(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.model = JobModel(duration_s=HOUR / 2, result_files={"a": b"1"})
        run = world.start(lease_s=2 * HOUR)
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        world.backend.api = nothing  # and it does not end itself
        await away(world, run, SshTimeout("1.2.3.4:22 does not answer."))
        ended = await world.ended(run, within=4 * HOUR)
        assert ended.outcome is Outcome.SUCCEEDED and ended.results_complete, world.story()
        assert starts(world) == 0 and said(world, "asked the market to stop it, because nobody reaches it")
        await world.quiet()
        world.check(run)

    live(tmp_path, story)


def test_a_machine_with_another_host_key_gives_its_results_by_the_host(tmp_path: Path) -> None:
    """Nobody had to start it at the market by hand."""

    async def story(world: World) -> None:
        run = world.start(lease_s=2 * HOUR)
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        await away(world, run, HostKeyChanged("1.2.3.4:22 presents another host key."))
        ended = await world.ended(run, within=4 * HOUR)
        assert ended.outcome is Outcome.SUCCEEDED and ended.results_complete, world.story()
        assert starts(world) == 0
        await world.quiet()
        world.check(run)

    live(tmp_path, story)


def test_a_copier_that_does_not_work_is_asked_less_and_less_and_the_machine_started_between(
    tmp_path: Path,
) -> None:
    async def story(world: World) -> None:
        copiers: list[Refusing] = []

        def wrap(contract: int, copier: Any) -> Any:
            copiers.append(Refusing(copier, world))
            return copiers[-1]

        world.wrap_copier = wrap
        run, contract = await standing(world)
        world.engine.ctx.timing = Timing(watch=120.0)  # type: ignore[union-attr]
        await world.reach(world.clock.monotonic() + 8 * HOUR)
        assert contract.alive
        times = [at for copier in copiers for at in copier.tried]
        gaps = [after - before for before, after in pairwise(times)]
        assert gaps[0] < AGAIN + 60 and all(b > 1.4 * a for a, b in pairwise(gaps[:6])), gaps
        assert len(times) < 12
        assert "copier does not give them either: it says no" in world.run(run).reason
        assert len(said(world, "no results by the host's copier: it says no")) == 1, "said once"
        assert len(world.store.events()) < 60  # type: ignore[union-attr]
        world.sim.market.release(contract.machine, SOMEBODY)
        contract.wake.set()
        await world.until(lambda: bool(said(world, "running again")), within=HOUR)
        rental = world.store.rentals(run=run)[0]  # type: ignore[union-attr]
        assert (rental.copies, rental.copy_at, rental.copy_trouble) == (0, 0.0, "")
        ended = await world.ended(run)
        assert ended.results_complete, world.story()
        await world.quiet()
        world.check(run)

    live(tmp_path, story)


def test_a_market_without_copiers_is_no_worse_than_before(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.backend.copies = False
        run, contract = await standing(world)
        await world.reach(world.clock.monotonic() + HOUR)
        assert contract.alive and "This rehearsal has no rsync" in world.run(run).reason
        with pytest.raises(VastError, match="it stands; and its host's copier gives no results"):
            await api(world).pull(run)
        world.stop(run, drop_results=True)
        await world.quiet(within=60)

    live(tmp_path, story)


def test_another_disk_does_not_pass_for_results_that_are_home(tmp_path: Path) -> None:
    """A container that was made anew has an empty disk: nothing to fetch is not everything fetched."""

    async def story(world: World) -> None:
        run, contract = await standing(world)
        machine = world.backend.machine(contract.id)
        jobs, machine.jobs = machine.jobs, {}
        world.engine.ctx.timing = Timing(watch=120.0)  # type: ignore[union-attr]
        await world.reach(world.clock.monotonic() + HOUR)
        assert contract.alive and not world.run(run).results_complete, world.story()
        assert "knows nothing of the job" in world.run(run).reason
        machine.jobs = jobs
        await world.until(lambda: not contract.alive, within=8 * HOUR)
        assert said(world, "results are home by the host's copier")
        await world.ended(run)
        await world.quiet()
        world.check(run)

    live(tmp_path, story)


@pytest.mark.parametrize("call", ["job", "fetch"])
def test_an_engine_that_dies_while_it_copies_goes_on(tmp_path: Path, call: str) -> None:
    async def story(world: World) -> None:
        died: list[str] = []

        class Deadly(Refusing):
            async def fetch(self, *args: Any, **more: Any) -> Any:
                if call == "fetch" and not died:
                    await super().fetch(*args, **more)
                    died.append(call)
                    world.die(call)
                return await super().fetch(*args, **more)

            async def job(self, job: str) -> Any:
                self.on = False
                if call == "job" and not died:
                    died.append(call)
                    world.die(call)
                return await super().job(job)

        world.wrap_copier = lambda contract, copier: Deadly(copier, world)
        run, contract = await standing(world)
        await world.until(lambda: not contract.alive, within=HOUR)
        assert died and len(said(world, "results are home by the host's copier")) == 1
        assert (await world.ended(run)).outcome is Outcome.SUCCEEDED
        await world.quiet()
        world.check(run)

    live(tmp_path, story)


def test_a_machine_that_comes_back_while_it_is_copied_gives_its_results_itself(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        copying: list[float] = []

        class Slow(Refusing):
            async def fetch(self, *args: Any, **more: Any) -> Any:
                copying.append(world.clock.time())
                await world.clock.sleep(HOUR)
                return await super().fetch(*args, **more)

            async def job(self, job: str) -> Any:
                self.on = False
                return await super().job(job)

        world.wrap_copier = lambda contract, copier: Slow(copier, world)
        run, contract = await standing(world)
        await world.until(lambda: bool(copying), within=HOUR)
        world.sim.market.release(contract.machine, SOMEBODY)
        world.sim.contracts.start(contract)  # the start that was queued happens after all
        ended = await world.ended(run)
        assert ended.results_complete and not said(world, "home by the host's copier"), world.story()
        assert starts(world) == 0, "it was not started beside the copy"
        await world.quiet()
        world.check(run)

    live(tmp_path, story)


def test_stop_brings_the_results_of_a_standing_machine_and_ends_the_run(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run, _ = await standing(world)
        world.stop(run)
        ended = await world.ended(run, within=HOUR)
        assert (ended.outcome, ended.reason) == (Outcome.STOPPED, "stopped by you"), world.story()
        assert ended.results_complete
        await world.quiet()
        world.check(run)

    live(tmp_path, story)


def test_pull_brings_them_at_once_by_the_copier_and_says_so(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run, contract = await standing(world)
        into = Path(world.run(run).plan.results_into)
        (into / "results" / "model.bin").unlink()
        answer = await api(world).pull(run)
        assert (answer["files"], answer["copied"]) == (2, "it stands")
        assert (into / "results" / "model.bin").read_bytes() == b"weights" * 100
        assert contract.alive and not world.run(run).results_complete, "what becomes of it is the engine's"
        await world.until(lambda: not contract.alive, within=HOUR)
        await world.ended(run)
        await world.quiet()

    live(tmp_path, story)


def test_pull_from_a_machine_whose_ssh_is_closed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.model = LONG
        run = world.start()
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        (contract,) = world.sim.contracts.alive()
        await world.reach(world.clock.monotonic() + 1000)
        await world.backend.refuse_ssh(contract.id, True)
        answer = await api(world).pull(run)
        assert answer["files"] == 2 and "its SSH cannot be used" in answer["copied"]
        world.wrap_copier = lambda contract, copier: Closed(copier, world)
        with pytest.raises(RemoteError, match="SSH cannot be used") as told:
            await api(world).pull(run)
        assert "and its host's copier gives no results: it does not answer" in told.value.message
        await world.backend.refuse_ssh(contract.id, False)
        assert (await world.ended(run)).outcome is Outcome.SUCCEEDED
        await world.quiet()

    live(tmp_path, story)


class Closed(Refusing):
    async def fetch(self, *args: Any, **more: Any) -> Any:
        raise SshTimeout("it does not answer")


def test_what_was_handed_over_right_before_the_engine_died_counts_as_begun(tmp_path: Path) -> None:
    """Life 11478: the hand-over was not written down, and the machine stood when the engine was back. Its
    disk tells that the command ran, and the run succeeded that had never begun."""

    async def story(world: World) -> None:
        world.model = JobModel(duration_s=20.0)
        world.crash_at = "after submit"
        run = world.start()
        await world.until(lambda: bool(world.backend.executions))
        (contract,) = world.sim.contracts.alive()
        await world.backend.refuse_ssh(contract.id, True)
        await world.reach(world.clock.monotonic() + 100)
        await taken(world, contract)
        await world.until(lambda: not contract.alive, within=2 * HOUR)
        ended = await world.ended(run)
        assert world.store is not None
        (attempt,) = world.store.attempts(run)
        assert ended.outcome is Outcome.SUCCEEDED and ended.results_complete
        assert attempt.submitted is not None and attempt.started is not None
        await world.quiet()
        world.check(run)

    live(tmp_path, story)
