"""What a fresh pair of eyes found: moments at which money or results could have been lost, each held here."""

import asyncio
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from choline_tui.engine import acquire as acquiring
from choline_tui.engine import machine
from choline_tui.engine.context import Timing
from choline_tui.engine.listing import market_rows
from choline_tui.kernel.errors import ProjectError, StoreError, TransferFailed
from choline_tui.model.run import Outcome, RentalState, RunState
from choline_tui.simulator.remotes.job_model import JobModel
from choline_tui.simulator.remotes.modelled_session import ModelledSession
from tests.support.world import World, live

LISTING = "/api/v1/instances/"
SOMEBODY = 1
"""who else rents, as the market keeps it"""


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def is_rent(request: httpx.Request) -> bool:
    return request.method == "PUT" and "/asks/" in request.url.path


def is_search(request: httpx.Request) -> bool:
    return request.url.path.startswith("/api/v0/bundles")


def only_rental(world: World, run: str) -> Any:
    assert world.store is not None
    return world.store.rentals(run=run)[-1]


async def running(world: World, run: str) -> Any:
    """Until the run's command runs; the contract behind it."""
    await world.until(lambda: world.run(run).state is RunState.RUNNING)
    return world.sim.contracts.get(only_rental(world, run).contract)


async def taken(world: World, contract: Any) -> None:
    """It is stopped, and somebody else has its GPUs."""
    world.sim.contracts.stop(contract)
    await world.until(lambda: not contract.held, within=20)
    world.sim.market.hold(contract.machine, contract.slice.gpus, SOMEBODY)


async def booting(world: World, run: str) -> None:
    def there() -> bool:
        assert world.store is not None
        return [r.state for r in world.store.rentals(run=run)] == [RentalState.BOOTING]

    await world.until(there)


def rarely(world: World) -> None:
    """Long lives: looked at every ten minutes."""
    assert world.engine is not None
    world.engine.ctx.timing = Timing(watch=600.0)


async def after(world: World, seconds: float) -> None:
    end = world.clock.monotonic() + seconds
    await world.reach(end)


def gpu_hours(world: World) -> float:
    world.sim.contracts.alive()
    return sum(c.gpu_seconds for c in world.sim.contracts.history) / 3600


def test_a_rent_whose_outcome_cannot_be_written_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk in the second between the rent and its record: the contract bills, so it is found."""

    async def story(world: World) -> None:
        assert world.store is not None
        store, honest, full = world.store, world.store.commit, [False]

        def commit(*records: Any, **more: Any) -> None:
            if full[0]:
                raise StoreError("the store could not be written: database or disk is full")
            honest(*records, **more)

        monkeypatch.setattr(store, "commit", commit)

        def filling(name: str) -> None:
            if name == "after rent":
                full[0] = True

        assert world.engine is not None
        world.engine.ctx.crash_point = filling
        run = world.start()
        await world.until(lambda: bool(world.sim.contracts.alive()))
        await after(world, 60)
        full[0] = False
        assert (await world.ended(run)).outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        assert len(world.sim.contracts.history) == 1
        world.check(run)

    live(tmp_path, story)


def test_a_stop_during_a_search_rents_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async def slow(request: httpx.Request) -> httpx.Response | None:
            if is_search(request):
                await asyncio.sleep(20)
            return None

        world.market.before.append(slow)
        run = world.start()
        await after(world, 5)
        world.stop(run)
        ended = await world.ended(run, within=5)
        assert ended.outcome is Outcome.CANCELLED
        await after(world, 120)
        assert not world.sim.contracts.history and world.run(run).state is RunState.ENDED, world.story()

    live(tmp_path, story)


def test_a_run_that_waits_for_anothers_slow_rent_can_be_stopped(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async def slow(request: httpx.Request) -> httpx.Response | None:
            if is_rent(request):
                await asyncio.sleep(25)
            return None

        world.market.before.append(slow)
        first = world.start()
        await after(world, 3)
        second = world.start()
        await after(world, 3)
        world.stop(second)
        assert (await world.ended(second, within=3)).outcome is Outcome.CANCELLED
        await world.ended(first)
        await world.quiet()
        assert len(world.sim.contracts.history) == 1

    live(tmp_path, story)


def test_evidence_that_cannot_be_written_never_delays_the_destroy(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async def stuck(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if request.url.path == LISTING and len(world.sim.contracts.history) == 1:
                data = response.json()
                for row in data["instances"]:
                    row |= {"actual_status": "loading", "ports": None}
                return httpx.Response(200, json=data)
            return response

        world.market.after.append(stuck)
        run = world.start()
        (tmp_path / "runs" / run).mkdir(parents=True)
        (tmp_path / "runs" / run / "evidence").write_text("a file is in the way")
        await world.ended(run)
        await world.quiet(within=300)
        assert world.store is not None
        first = world.store.rentals(run=run)[0]
        assert first.gone - first.intended < 1500, world.story()
        assert len(world.store.events()) < 100

    live(tmp_path, story)


def test_results_that_will_not_come_home_stop_the_gpu_and_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at home for a day: the machine stands, with its disk, instead of billing its GPU."""

    async def story(world: World) -> None:
        rarely(world)
        full = [True]

        def usage(path: Any) -> Usage:
            return Usage(10**12, 0, 0 if full[0] and "results" in str(path) else 10**11)

        run = world.start()
        await running(world, run)
        monkeypatch.setattr(shutil, "disk_usage", usage)
        await after(world, 86400)
        assert gpu_hours(world) < 5, "the GPU was off most of the day"
        assert world.run(run).state is not RunState.ENDED
        assert "free" in world.store.attempts(run)[0].reason  # type: ignore[union-attr]
        assert len(world.store.events()) < 200  # type: ignore[union-attr]
        full[0] = False
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED and ended.results_complete, world.story()
        await world.quiet()
        world.check(run)

    live(tmp_path, story)


def test_results_that_never_verify_do_not_bill_a_gpu_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(self: ModelledSession, run: str, into: str, *, final: bool, **more: Any) -> Any:
        raise TransferFailed("1 result file(s) did not arrive whole")

    async def story(world: World) -> None:
        rarely(world)
        monkeypatch.setattr(ModelledSession, "fetch", fetch)
        run = world.start()
        await running(world, run)
        await after(world, 2 * 86400)
        assert gpu_hours(world) < 8, f"{gpu_hours(world)} GPU hours"
        assert len(world.store.events()) < 400  # type: ignore[union-attr]
        world.stop(run, drop_results=True)
        await world.ended(run, within=60)
        await world.quiet(within=60)

    live(tmp_path, story)


def test_dropping_results_of_a_standing_machine_destroys_it_at_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.backend.copies = False  # see test_copied
        world.model = JobModel(duration_s=1e6, result_files={"a": b"1"})
        run = world.start()
        contract = await running(world, run)
        await taken(world, contract)
        await after(world, 1000)
        assert world.run(run).state is RunState.INTERRUPTED, world.story()
        assert "--drop-results" in world.run(run).reason
        world.stop(run, drop_results=True)
        await world.quiet(within=15)

    live(tmp_path, story)


def test_a_machine_whose_gpus_are_taken_is_not_called_running(tmp_path: Path) -> None:
    """A start that is only queued: the disk bills, and the start is asked for again."""

    async def story(world: World) -> None:
        world.backend.copies = False
        run = world.start()
        contract = await running(world, run)
        await taken(world, contract)
        await after(world, 3600)
        rental = only_rental(world, run)
        assert rental.stopped_since is not None, world.story()
        events = world.store.events()  # type: ignore[union-attr]
        assert len([e for e in events if "cannot be started" in e.text]) == 1, "said once"
        world.sim.market.release(contract.machine, SOMEBODY)
        contract.wake.set()
        assert (await world.ended(run, within=3600)).outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        world.check(run)

    live(tmp_path, story)


def test_a_machine_stopped_while_it_is_prepared_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ModelledSession.send

    async def story(world: World) -> None:
        async def slow(self: ModelledSession, *args: Any, **more: Any) -> Any:
            if len(world.sim.contracts.history) == 1:
                await asyncio.sleep(1e6)
            return await honest(self, *args, **more)

        monkeypatch.setattr(ModelledSession, "send", slow)
        run = world.start()
        await world.until(lambda: world.run(run).state is RunState.PREPARING)
        world.sim.contracts.stop(world.sim.contracts.alive()[0])
        assert (await world.ended(run, within=7200)).outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        assert "stopped before it ran" in world.store.rentals(run=run)[0].release_reason  # type: ignore[union-attr]

    live(tmp_path, story)


def test_a_machine_that_restarts_again_and_again_is_not_tried_for_ever(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.model = JobModel(duration_s=1e5, result_files={"a": b"1"})
        run = world.start(tries=3)
        for _ in range(8):
            await world.until(lambda: world.run(run).state in (RunState.RUNNING, RunState.ENDED))
            if not world.run(run).live:
                break
            world.sim.contracts.reboot(world.sim.contracts.alive()[0])
            await after(world, 200)
        ended = await world.ended(run, within=3600)
        assert ended.outcome is Outcome.ERROR and "3 tries failed" in ended.reason, world.story()
        await world.quiet(within=300)
        world.check(run)

    live(tmp_path, story)


def test_a_listing_that_errs_about_the_type_later_destroys_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start(type="interruptible")
        await running(world, run)

        async def lie(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if request.url.path != LISTING:
                return response
            data = response.json()
            for row in data["instances"]:
                row["is_bid"] = False
            return httpx.Response(200, json=data)

        world.market.after.append(lie)
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED and ended.results_complete, world.story()
        await world.quiet()
        assert len(world.sim.contracts.history) == 1

    live(tmp_path, story)


def test_a_listing_that_forgets_a_machine_for_half_a_minute_costs_no_run(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start()
        await running(world, run)

        async def forget(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if request.url.path != LISTING:
                return response
            return httpx.Response(200, json={"success": True, "total_instances": 0, "instances": [],
                                             "instances_found": 0, "next_token": None})  # fmt: skip

        world.market.after.append(forget)
        await after(world, 35)
        world.market.after.clear()
        assert (await world.ended(run)).outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        assert len(world.sim.contracts.history) == 1

    live(tmp_path, story)


def test_a_machine_lost_for_good_is_noticed_and_the_run_goes_elsewhere(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start()
        world.sim.contracts.destroy(await running(world, run))
        assert (await world.ended(run, within=3600)).outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        first = world.store.rentals(run=run)[0]  # type: ignore[union-attr]
        assert first.gone - first.up < 200

    live(tmp_path, story)


def test_another_accounts_key_makes_nothing_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another key the listing is whole and holds nothing of ours: unknown, never none."""

    async def story(world: World) -> None:
        async def mine(self: Any) -> str:
            return "cloud.vast.ai/1"

        async def theirs(self: Any) -> str:
            return "cloud.vast.ai/2"

        async def empty(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if request.url.path != LISTING:
                return response
            return httpx.Response(200, json={"success": True, "total_instances": 0, "instances": [],
                                             "instances_found": 0, "next_token": None})  # fmt: skip

        monkeypatch.setattr("choline_tui.places.vast.VastPlace.account", mine, raising=False)
        world.model = JobModel(duration_s=5000, result_files={"a": b"1"})
        run = world.start()
        await running(world, run)
        monkeypatch.setattr("choline_tui.places.vast.VastPlace.account", theirs, raising=False)
        world.market.after.append(empty)
        await world.restart()
        await after(world, 1200)
        rental = only_rental(world, run)
        assert rental.state is RentalState.UP and "another account" in rental.trouble, world.story()
        monkeypatch.setattr("choline_tui.places.vast.VastPlace.account", mine, raising=False)
        world.market.after.clear()
        await world.restart()
        assert (await world.ended(run)).outcome is Outcome.SUCCEEDED
        await world.quiet()
        assert len(world.sim.contracts.history) == 1

    live(tmp_path, story)


def test_a_clock_set_back_an_hour_delays_no_destroy(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start()
        await world.ended(run)
        world.clock.jump(-3600)
        await world.quiet(within=120)
        run = world.start()
        await booting(world, run)
        world.clock.jump(-3600)
        assert (await world.ended(run, within=1200)).outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet(within=120)

    live(tmp_path, story)


def test_a_clock_set_back_while_the_market_asks_for_patience_delays_no_destroy(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        refused: list[float] = []

        async def later(request: httpx.Request) -> httpx.Response | None:
            if request.method == "DELETE" and len(refused) < 3:
                refused.append(world.clock.time())
                if len(refused) == 1:
                    world.clock.jump(-3600)
                return httpx.Response(429, headers={"Retry-After": "40"}, json={"success": False})
            return None

        world.market.before.append(later)
        run = world.start()
        await world.ended(run)
        await world.until(lambda: bool(refused))
        world.clock.jump(-3600)
        await world.quiet(within=400)

    live(tmp_path, story)


def test_a_laptop_asleep_while_a_machine_booted_does_not_give_it_up(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start()
        await booting(world, run)
        await world.crash()
        await world.clock.sleep(3600)
        await world.boot()
        assert (await world.ended(run)).outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        assert len(world.sim.contracts.history) == 1

    live(tmp_path, story)


def test_what_is_missing_here_is_said_before_anything_is_rented(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        assert world.engine is not None

        async def items(run: Any) -> list[Any]:
            raise ProjectError("what is to be sent is not there any more: /data", hint="Put it back.")

        world.engine.ctx.items = items
        run = world.start()
        ended = await world.ended(run, within=60)
        assert ended.outcome is Outcome.ERROR and "Put it back" in ended.reason
        assert not world.sim.contracts.history

    live(tmp_path, story)


def test_no_room_for_results_is_said_before_anything_is_rented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        monkeypatch.setattr(acquiring.shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 1 << 20))  # type: ignore[attr-defined]
        run = world.start()
        ended = await world.ended(run, within=60)
        assert ended.outcome is Outcome.ERROR and "make room" in ended.reason
        assert not world.sim.contracts.history

    live(tmp_path, story)


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_may_not_rent_ends_the_run_in_words_at_once(tmp_path: Path, status: int) -> None:
    async def story(world: World) -> None:
        async def no(request: httpx.Request) -> httpx.Response | None:
            if is_rent(request):
                return httpx.Response(status, json={"success": False, "error": "not_authorized", "msg": "no"})
            return None

        world.market.before.append(no)
        run = world.start()
        ended = await world.ended(run, within=60)
        assert ended.outcome is Outcome.ERROR and "choline key check" in ended.reason
        assert len(world.store.rentals(run=run)) == 1  # type: ignore[union-attr]

    live(tmp_path, story)


def test_looking_for_an_offer_begins_anew_after_a_machine_was_lost(tmp_path: Path) -> None:
    """An hour of work is no hour of looking: a market that is empty for a minute does not end the run."""

    async def story(world: World) -> None:
        world.model = JobModel(duration_s=5000, result_files={"a": b"1"})
        run = world.start(wait_s=600.0)
        contract = await running(world, run)
        await after(world, 3600)

        async def none(request: httpx.Request) -> httpx.Response | None:
            return httpx.Response(200, json={"success": True, "offers": []}) if is_search(request) else None

        world.market.before.append(none)
        world.sim.contracts.destroy(contract)
        await world.until(lambda: "no offer" in world.run(run).reason)
        await after(world, 120)
        world.market.before.clear()
        assert (await world.ended(run)).outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()

    live(tmp_path, story)


def test_a_second_contract_under_one_label_is_destroyed_while_the_run_goes_on(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.model = JobModel(duration_s=20_000, result_files={"a": b"1"})
        sent: list[httpx.Request] = []

        async def see(request: httpx.Request) -> httpx.Response | None:
            if is_rent(request):
                sent.append(request)
            return None

        world.market.before.append(see)
        run = world.start()
        first = await running(world, run)
        world.market.before.clear()
        page = await world.client.search(acquiring.plan_query(world.run(run).plan))  # type: ignore[union-attr]
        url = f"http://127.0.0.1:8070/api/v0/asks/{page.offers[3].id}/"
        again = httpx.Request("PUT", url, headers=sent[0].headers, content=sent[0].content)
        await world.market.handle_async_request(again)
        assert len(world.sim.contracts.alive()) == 2
        await world.until(lambda: len(world.sim.contracts.alive()) == 1, within=120)
        assert world.sim.contracts.alive() == [first] and world.run(run).state is RunState.RUNNING
        await world.ended(run)
        await world.quiet()
        assert len(world.store.rentals(run=run)) == 2  # type: ignore[union-attr]

    live(tmp_path, story)


def test_a_rent_that_never_happened_cost_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async def lose(request: httpx.Request) -> httpx.Response | None:
            if is_rent(request):
                world.market.before.clear()
                raise httpx.ReadTimeout("no answer")
            return None

        world.market.before.append(lose)
        run = world.start()
        await world.until(lambda: [r.state for r in world.store.rentals(run=run)][:1] == [RentalState.GONE])  # type: ignore[union-attr]
        assert world.store.rentals(run=run)[0].cost_until(world.clock.time() + 3600) == 0.0  # type: ignore[union-attr]

    live(tmp_path, story)


def test_a_standing_machine_is_listed_at_the_price_of_its_disk(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start(keep_s=7200.0)
        await world.ended(run)
        contract = world.sim.contracts.alive()[0]
        world.sim.contracts.stop(contract)
        await after(world, 120)
        assert world.engine is not None and world.store is not None
        listing = await world.engine.ctx.place.look(0.0)
        row = market_rows(world.store, "testhome", listing, world.clock.time(), "")[0]
        assert row["price"] == pytest.approx(contract.disk_price, rel=0.01)
        assert row["whose"] == "ours"

    live(tmp_path, story)


def test_an_hour_of_a_refusing_market_is_told_and_fills_no_log(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start()
        await running(world, run)

        async def no(request: httpx.Request) -> httpx.Response | None:
            return httpx.Response(
                401, json={"success": False, "error": "auth_error", "msg": "Invalid user key"}
            )

        world.market.before.append(no)
        before = len(world.store.events())  # type: ignore[union-attr]
        await after(world, 3600)
        rental = only_rental(world, run)
        assert rental.live and "choline key check" in rental.trouble
        assert len(world.store.events()) - before < 30, world.story()  # type: ignore[union-attr]
        assert world.run(run).outcome is Outcome.SUCCEEDED, "the run itself needs no market"
        world.market.before.clear()
        await world.quiet(within=700)
        assert only_rental(world, run).trouble == ""

    live(tmp_path, story)


def test_a_machine_that_answers_nothing_for_hours_is_asked_less_and_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []

    async def story(world: World) -> None:
        world.model = JobModel(duration_s=1e5, result_files={"a": b"1"})
        run = world.start()
        contract = await running(world, run)
        honest = world.backend.session

        def session(number: int) -> Any:
            tried.append(world.clock.monotonic())
            return honest(number)

        monkeypatch.setattr(world.backend, "session", session)
        await world.backend.refuse_ssh(contract.id, True)
        await after(world, 3600)
        assert 5 < len(tried) < 120
        await world.backend.refuse_ssh(contract.id, False)
        await world.until(lambda: world.store.attempts(run)[0].failing_since is None, within=120)  # type: ignore[union-attr]
        world.stop(run)
        await world.ended(run, within=300)
        await world.quiet()

    live(tmp_path, story)


def test_a_run_that_was_interrupted_by_a_lying_listing_is_shown_running_again(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.model = JobModel(duration_s=5000, result_files={"a": b"1"})
        run = world.start()
        await running(world, run)

        async def lie(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if request.url.path != LISTING:
                return response
            data = response.json()
            for row in data["instances"]:
                row |= {"actual_status": "exited", "intended_status": "stopped", "cur_state": "stopped"}
            return httpx.Response(200, json=data)

        world.market.after.append(lie)
        await world.until(lambda: world.run(run).state is RunState.INTERRUPTED, within=120)
        world.market.after.clear()
        await world.until(lambda: world.run(run).state is RunState.RUNNING, within=300)
        await world.ended(run)
        await world.quiet()
        assert len(world.backend.executions) == 1

    live(tmp_path, story)


def test_a_home_dead_between_the_results_and_the_end_starts_no_machine_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        run = world.start()
        contract = await running(world, run)
        world.engine.ctx.crash_point = lambda name: None  # type: ignore[union-attr]
        honest = machine._fetch_final

        async def fetch_final(*args: Any) -> None:
            await honest(*args)
            world.sim.contracts.stop(contract)
            world.crash_at = "x"
            world._crash_point("x")

        monkeypatch.setattr(machine, "_fetch_final", fetch_final)
        await world.until(lambda: world.store.attempts(run)[0].collected is not None)  # type: ignore[union-attr]
        monkeypatch.undo()
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED and ended.results_complete
        await world.quiet(within=300)
        assert not [e for e in world.store.events() if "start it" in e.text]  # type: ignore[union-attr]

    live(tmp_path, story)


def test_names_that_are_no_utf8_stop_no_run(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start()
        await running(world, run)
        assert world.engine is not None
        world.engine.ctx.ledger.run(run, "refused: \udcff", reason="\udcff is odd")
        assert world.run(run).reason == "? is odd"
        assert (await world.ended(run)).outcome is Outcome.SUCCEEDED
        await world.quiet()

    live(tmp_path, story)


def test_a_lost_job_on_a_lost_machine_is_tried_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.model = JobModel(duration_s=5000, result_files={"a": b"1"})
        run = world.start()
        contract = await running(world, run)
        world.sim.contracts.reboot(contract)

        def lost() -> bool:
            assert world.store is not None
            return world.store.attempts(run)[0].job_reason == "lost"

        async def broken(*args: Any, **more: Any) -> Any:
            raise TransferFailed("no")

        monkeypatch.setattr(ModelledSession, "fetch", broken)
        await world.until(lost, within=600)
        monkeypatch.undo()
        world.sim.contracts.destroy(contract)
        assert (await world.ended(run)).outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()

    live(tmp_path, story)


def test_a_contract_that_is_seen_while_its_bucket_is_asked_is_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was marked as gone all the same, and the next listing had it destroyed with its results on it."""

    async def story(world: World) -> None:
        forget, asked = [False], [0]

        async def empty(request: httpx.Request) -> httpx.Response | None:
            if request.url.path != "/api/v1/instances/" or not forget[0]:
                return None
            body = {"success": True, "total_instances": 0, "instances": [], "instances_found": 0}
            return httpx.Response(200, json=body)

        async def slow_bucket(ctx: Any, rental: Any) -> bool:
            asked[0] += 1
            forget[0] = False
            await asyncio.sleep(5)
            await ctx.place.look(0.0)  # another lane's, say
            return True

        monkeypatch.setattr("choline_tui.engine.contract.ended_elsewhere", slow_bucket)
        world.model = JobModel(duration_s=600.0, result_files={"model.bin": b"weights"})
        world.market.before.append(empty)
        run = world.start()
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        await asyncio.sleep(60)
        forget[0] = True
        ended = await world.ended(run)
        assert asked[0] == 1 and ended.outcome is Outcome.SUCCEEDED and ended.results_complete
        assert len(world.sim.contracts.history) == 1, world.story()
        await world.quiet()

    live(tmp_path, story)
