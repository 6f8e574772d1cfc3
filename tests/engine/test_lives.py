"""Lives of runs in virtual time: the real engine, store and client on the rehearsal market."""

import asyncio
from pathlib import Path

import httpx
import pytest

from choline_tui.model.run import Outcome, RentalState, RunState
from choline_tui.simulator.remotes.job_model import JobModel
from tests.support.world import POINTS, World, live


def results(world: World, run: str) -> dict[str, bytes]:
    top = world.root / "results" / run
    return {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}


def test_a_run_is_rented_once_run_brought_home_and_destroyed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start()
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED and ended.exit_code == 0, world.story()
        await world.quiet()
        world.check(run)
        assert len(world.sim.contracts.history) == 1
        assert results(world, run) == {"results/model.bin": b"weights" * 100, "keep/step.txt": b"20"}
        log = (tmp_path / "runs" / run / "attempt-1" / "run.log").read_text()
        assert log.splitlines() == [f"step {n}" for n in range(20)]
        rental = world.store.rentals(run=run)[0]
        assert rental.state is RentalState.GONE and 0 < rental.cost < 1

    live(tmp_path, story)


def test_a_failing_command_is_the_tasks_failure(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.model = JobModel(duration_s=5, exit_code=3, result_files={"a": b"1"})
        run = world.start()
        ended = await world.ended(run)
        assert ended.outcome is Outcome.FAILED and ended.exit_code == 3
        await world.quiet()
        world.check(run)
        assert results(world, run) == {"results/a": b"1"}

    live(tmp_path, story)


def test_stop_ends_the_command_brings_results_home_and_destroys(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.model = JobModel(duration_s=1e6, result_files={"a": b"1", "b": b"2"}, result_every_s=60)
        run = world.start()
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        await world.reach(400)
        world.stop(run)
        ended = await world.ended(run, within=600)
        assert ended.outcome is Outcome.STOPPED and ended.results_complete
        await world.quiet()
        assert results(world, run)
        world.check(run)

    live(tmp_path, story)


@pytest.mark.parametrize("at", [0.5, 5, 61, 63, 66, 90])
def test_stop_at_any_time_leaves_nothing_billing(tmp_path: Path, at: float) -> None:
    async def story(world: World) -> None:
        run = world.start()
        await world.reach(at)
        world.stop(run)
        ended = await world.ended(run, within=900)
        assert ended.outcome in (Outcome.STOPPED, Outcome.CANCELLED)
        await world.quiet(within=900)
        world.check(run)

    live(tmp_path, story)


def is_rent(request: httpx.Request) -> bool:
    return request.method == "PUT" and "/asks/" in request.url.path


def test_a_rent_whose_answer_is_lost_is_adopted_not_repeated(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if is_rent(request):
                world.market.after.clear()
                raise httpx.ReadError("the connection was lost")
            return response

        world.market.after.append(lose)
        run = world.start()
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        assert len(world.sim.contracts.history) == 1
        world.check(run)

    live(tmp_path, story)


def test_a_rent_that_never_arrived_is_settled_before_the_next(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        lost_at: list[float] = []

        async def lose(request: httpx.Request) -> httpx.Response | None:
            if is_rent(request) and not lost_at:
                lost_at.append(world.clock.time())
                raise httpx.ReadTimeout("no answer")
            return None

        world.market.before.append(lose)
        run = world.start()
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        second = world.store.rentals(run=run)[1]
        assert second.intended - lost_at[0] >= world.timing.settle
        assert len(world.sim.contracts.history) == 1

    live(tmp_path, story)


def test_a_late_contract_of_a_settled_rent_is_destroyed(tmp_path: Path) -> None:
    """The request was carried out long after it was given up."""

    async def story(world: World) -> None:
        late: list[httpx.Request] = []

        async def lose(request: httpx.Request) -> httpx.Response | None:
            if is_rent(request) and not late:
                late.append(request)
                raise httpx.ReadTimeout("no answer")
            return None

        world.market.before.append(lose)
        run = world.start()
        await world.until(lambda: [r.state for r in world.store.rentals(run=run)] == [RentalState.GONE])
        again = httpx.Request(late[0].method, late[0].url, headers=late[0].headers, content=late[0].content)
        await world.market.handle_async_request(again)
        assert len(world.sim.contracts.alive()) == 1
        assert (await world.ended(run)).outcome is Outcome.SUCCEEDED
        await world.quiet()
        world.check(run)
        assert len(world.sim.contracts.history) == 2

    live(tmp_path, story)


@pytest.mark.parametrize("spoil", ["500", "html", "cut", "empty", "short"])
def test_a_listing_that_is_not_whole_is_unknown_never_none(tmp_path: Path, spoil: str) -> None:
    """While the listing lies, nothing is thought gone, nothing is rented again."""

    async def story(world: World) -> None:
        run = world.start()
        await world.until(lambda: world.run(run).state is RunState.RUNNING)

        async def lie(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if request.url.path != "/api/v1/instances/":
                return response
            content = response.content
            if spoil == "500":
                return httpx.Response(500, text="oops")
            if spoil == "html":
                return httpx.Response(200, text="<html>maintenance</html>")
            if spoil == "cut":
                return httpx.Response(200, content=content[: len(content) // 2])
            if spoil == "empty":
                return httpx.Response(200, content=b"")
            return httpx.Response(200, json={"success": True, "total_instances": 1, "instances": [],
                                             "instances_found": 0, "next_token": None})  # fmt: skip

        world.market.after.append(lie)
        start = world.clock.monotonic()
        await world.reach(start + 300)
        assert [r.state for r in world.store.rentals(run=run)] == [RentalState.UP], world.story()
        world.market.after.clear()
        assert (await world.ended(run)).outcome is Outcome.SUCCEEDED
        await world.quiet()
        assert len(world.sim.contracts.history) == 1

    live(tmp_path, story)


def test_a_contract_dearer_than_shown_is_destroyed_and_the_next_taken(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async def dearer(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if request.url.path == "/api/v1/instances/" and len(world.sim.contracts.history) == 1:
                data = response.json()
                for row in data["instances"]:
                    row["dph_total"] = 9.99
                    if isinstance(row.get("search"), dict):
                        row["search"]["totalHour"] = 9.99
                return httpx.Response(200, json=data)
            return response

        world.market.after.append(dearer)
        run = world.start()
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        first, second = world.store.rentals(run=run)
        assert first.failed and "cap" in first.release_reason and first.evidence is not None
        assert first.machine_id != second.machine_id
        assert [e.contract for e in world.backend.executions] == [second.contract]
        assert (tmp_path / "runs" / run / "evidence" / first.id / "rental.json").exists()

    live(tmp_path, story)


def test_a_machine_that_never_boots_is_given_up_for_the_next(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async def stuck(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if request.url.path == "/api/v1/instances/" and len(world.sim.contracts.history) == 1:
                data = response.json()
                for row in data["instances"]:
                    row |= {"actual_status": "loading", "ports": None}
                return httpx.Response(200, json=data)
            return response

        world.market.after.append(stuck)
        run = world.start()
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED, world.story()
        first = world.store.rentals(run=run)[0]
        assert first.failed and "not up within 20 minutes" in first.release_reason
        await world.quiet()
        world.check(run)

    live(tmp_path, story)


def test_kept_machines_are_held_and_then_go(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start(keep_s=1800.0)
        await world.ended(run)
        assert world.store.rentals(run=run)[0].state is RentalState.HELD
        start = world.clock.monotonic()
        await world.quiet()
        assert 1700 < world.clock.monotonic() - start < 2000
        world.check(run)

    live(tmp_path, story)


def test_a_stop_keeps_no_machine_even_if_the_plan_would(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.model = JobModel(duration_s=1e6, result_files={"a": b"1"}, result_every_s=60)
        run = world.start(keep_s=7200.0)
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        world.stop(run)
        ended = await world.ended(run, within=600)
        assert ended.outcome is Outcome.STOPPED and ended.results_complete
        await world.quiet(within=300)
        world.check(run)

    live(tmp_path, story)


def test_home_away_for_days_the_machine_stops_itself_and_the_results_come_home_later(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start()
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        await world.crash()
        contract = world.sim.contracts.alive()[0]
        start = world.clock.monotonic()
        await world.clock.sleep(3 * 86400)
        assert contract.alive and contract.actual in ("exited", "stopped"), "GPU off, disk kept"
        await world.boot()
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED and ended.results_complete, world.story()
        await world.quiet()
        assert results(world, run)["results/model.bin"] == b"weights" * 100
        assert world.clock.monotonic() - start < 3 * 86400 + 7200
        world.check(run)

    live(tmp_path, story)


def test_a_run_longer_than_its_life_is_ended_with_its_results(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.model = JobModel(duration_s=1e6, result_files={"a": b"1"}, result_every_s=60)
        run = world.start(max_life_s=7200.0)
        ended = await world.ended(run)
        assert ended.outcome is Outcome.STOPPED and "max life" in ended.reason, world.story()
        assert ended.results_complete
        await world.quiet()
        assert world.clock.monotonic() < 7300
        world.check(run)

    live(tmp_path, story)


def test_no_offer_under_the_cap_ends_with_words(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start(cap=0.000001)
        ended = await world.ended(run)
        assert ended.outcome is Outcome.ERROR and "none under" in ended.reason
        assert not world.sim.contracts.history

    live(tmp_path, story)


def test_no_credit_ends_with_what_to_do(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async def poor(request: httpx.Request) -> httpx.Response | None:
            if is_rent(request):
                body = {"success": False, "error": "insufficient_credit", "msg": "Your account lacks credit."}
                return httpx.Response(400, json=body)
            return None

        world.market.before.append(poor)
        run = world.start()
        ended = await world.ended(run)
        assert ended.outcome is Outcome.ERROR and "credit" in ended.reason
        await world.quiet()

    live(tmp_path, story)


def test_runs_beside_each_other_share_nothing_but_the_market(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        runs = [world.start() for _ in range(4)]
        for run in runs:
            assert (await world.ended(run)).outcome is Outcome.SUCCEEDED
        await world.quiet()
        assert len(world.sim.contracts.history) == 4
        for run in runs:
            world.check(run)

    live(tmp_path, story)


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_anywhere_loses_nothing_and_does_nothing_twice(tmp_path: Path, point: str) -> None:
    async def story(world: World) -> None:
        world.crash_at = point
        run = world.start()
        ended = await world.ended(run)
        assert world.crash_at is None, "the point was never reached"
        assert ended.outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        world.check(run)
        assert len(world.backend.executions) == 1
        assert len(world.sim.contracts.history) == 1, world.story()
        assert results(world, run)["results/model.bin"] == b"weights" * 100

    live(tmp_path, story)


@pytest.mark.parametrize("seed", range(12))
def test_a_crash_at_any_moment_loses_nothing_and_does_nothing_twice(tmp_path: Path, seed: int) -> None:
    """kill -9 at seeded moments, five a life."""

    async def story(world: World) -> None:
        run = world.start()
        for _ in range(5):
            await world.clock.sleep(world.rng.choice([0.03, 0.2, 1.0, 7.0, 40.0, 200.0]) * world.rng.random())
            await world.restart()
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        world.check(run)
        assert len(world.backend.executions) == 1, world.story()

    live(tmp_path, story, seed=seed)


def test_a_wait_sees_what_happens_between_two_timers(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        done: list[float] = []

        async def later() -> None:
            await asyncio.sleep(400.5)
            done.append(world.clock.monotonic())

        task = asyncio.create_task(later())
        begun = world.clock.monotonic()
        await world.until(lambda: bool(done), within=500)
        assert world.clock.monotonic() - begun == 401
        await world.reach(begun + 1000)
        assert world.clock.monotonic() - begun == 1000
        with pytest.raises(AssertionError, match="not within 50"):
            await world.until(lambda: False, within=50)
        await task

    live(tmp_path, story)
