"""What random lives (``tests/proof``) found in the engine; each is held here by the shortest story of it."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from choline_tui.kernel.errors import MarketDown, QuotaSpent
from choline_tui.model.query import parse_query
from choline_tui.model.run import Outcome, RentalState, RunState
from choline_tui.simulator.remotes.job_model import JobModel
from tests.support.world import World, live

LISTING = "/api/v1/instances/"


def is_rent(request: httpx.Request) -> bool:
    return request.method == "PUT" and "/asks/" in request.url.path


def test_a_stop_while_a_rent_waits_for_its_turn_rents_nothing(tmp_path: Path) -> None:
    """Rents are 5 s apart. The intent was written before the wait, and the request sent after the stop."""

    async def story(world: World) -> None:
        async def taken(request: httpx.Request) -> httpx.Response | None:
            if is_rent(request):
                body = {"success": False, "error": "no_such_ask", "msg": "no_such_ask"}
                return httpx.Response(410, json=body)
            return None

        world.market.before.append(taken)
        run = world.start()
        await world.until(lambda: any("/asks/" in path for _, path in world.market.calls))
        await asyncio.sleep(1.0)  # the next offer's turn comes in 4 s
        world.stop(run)
        assert (await world.ended(run)).outcome is Outcome.CANCELLED
        await asyncio.sleep(60)
        assert len([1 for _, path in world.market.calls if "/asks/" in path]) == 1

    live(tmp_path, story)


def test_no_429_shuts_the_listing_for_a_day(tmp_path: Path) -> None:
    """The search quota's refusal, with its reset at midnight, came for a listing: the engine looked at
    nothing for the rest of the day, and the machine billed."""

    async def story(world: World) -> None:
        left = [1]

        async def refuse(request: httpx.Request) -> httpx.Response | None:
            if request.url.path == LISTING and left[0]:
                left[0] = 0
                body = {"success": False, "error": "search_quota_exceeded"}
                return httpx.Response(429, json=body, headers={"x-ratelimit-reset": str(1_795_392_000)})
            return None

        world.market.before.append(refuse)
        run = world.start()
        ended = await world.ended(run, within=3600)
        assert ended.outcome is Outcome.SUCCEEDED, ended.reason
        await world.quiet(within=900)

    live(tmp_path, story)


def test_a_429_to_the_rent_call_is_no_proof_that_nothing_was_rented(tmp_path: Path) -> None:
    """Seed 1826: whoever answered 429 had passed the request on. The run was stopped, its rental written
    off as never made, and the contract billed with nobody looking."""

    async def story(world: World) -> None:
        left = [1]

        async def refuse(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if is_rent(request) and left[0]:
                left[0] = 0
                return httpx.Response(429, text="API requests too frequent")
            return response

        world.market.after.append(refuse)
        run = world.start()
        await world.until(lambda: left == [0])
        world.stop(run)
        ended = await world.ended(run, within=3600)
        assert ended.outcome in (Outcome.CANCELLED, Outcome.STOPPED)
        await world.quiet(within=900)
        assert len(world.sim.contracts.history) == 1 and not world.sim.contracts.alive()

    live(tmp_path, story)


def test_a_listing_in_between_that_shows_a_contract_ends_the_row(tmp_path: Path) -> None:
    """Two empty listings made a booting machine gone; between them somebody else's look had shown it."""

    async def story(world: World) -> None:
        lies = [False]

        async def lie(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if request.url.path != LISTING or not lies[0]:
                return response
            nothing = {"success": True, "total_instances": 0, "instances": [], "instances_found": 0}
            return httpx.Response(200, json=nothing)

        world.market.after.append(lie)
        run = world.start()
        assert world.store is not None and world.engine is not None
        place = world.engine.ctx.place

        def rental() -> Any:
            assert world.store is not None
            return world.store.rentals(run=run)[-1]

        def seen() -> bool:
            assert world.store is not None
            return any(r.seen is not None for r in world.store.rentals(run=run))

        await world.until(seen)
        await asyncio.sleep(100)
        assert rental().state is RentalState.BOOTING
        for _ in range(3):
            lies[0] = True
            await world.until(lambda: rental().looks == 1, within=60)
            lies[0] = False
            await place.look(0.0)  # as the command 'rentals' does
            assert rental().looks == 0, "what is there is not missing"
        assert (await world.ended(run)).outcome is Outcome.SUCCEEDED
        assert len(world.store.rentals(run=run)) == 1

    live(tmp_path, story, boot=300.0)


def test_a_search_that_is_made_again_is_on_the_ration_again(tmp_path: Path) -> None:
    """Each search counted once, and was up to four requests when the market failed."""

    async def story(world: World) -> None:
        async def fail(request: httpx.Request) -> httpx.Response | None:
            return httpx.Response(502, text="bad gateway") if "bundles" in request.url.path else None

        world.market.before.append(fail)
        assert world.engine is not None
        book = world.engine.ctx.book
        book.ration, book.reserve = 6, 2
        query = parse_query("num_gpus=1")
        with pytest.raises(MarketDown):
            await book.search(query)
        assert book.used_today() == len(world.market.calls) == 4
        with pytest.raises(QuotaSpent):
            await book.search(query)
        assert len(world.market.calls) == 4, "the rest is kept for rents"

    live(tmp_path, story)


def test_a_command_that_may_have_begun_is_not_given_up(tmp_path: Path) -> None:
    """The engine died between the machine's answer and its record, and SSH was away for ten minutes then:
    the machine was destroyed as one that could not be prepared, with the command and its results."""

    async def story(world: World) -> None:
        world.crash_at = "after submit"
        run = world.start()
        await world.until(lambda: bool(world.backend.executions))
        contract = world.backend.executions[0].contract
        await world.backend.refuse_ssh(contract, True)
        await world.reach(world.clock.monotonic() + 700)
        await world.backend.refuse_ssh(contract, False)
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED and ended.results_complete, ended.reason
        assert len(world.backend.executions) == 1 and len(world.sim.contracts.history) == 1
        await world.quiet()

    live(tmp_path, story)


def test_a_kept_machine_is_kept_no_longer_than_was_said(tmp_path: Path) -> None:
    """It went at the next look after its time, up to half a minute late."""

    async def story(world: World) -> None:
        world.model = JobModel(duration_s=20.0)
        run = world.start(keep_s=100.0)
        await world.until(lambda: world.run(run).state is RunState.ENDED)
        await world.until(lambda: bool(world.sim.contracts.history[0].destroyed), within=300)
        kept = world.sim.contracts.history[0].destroyed - (world.run(run).ended or 0.0)  # type: ignore[operator]
        assert 100 <= kept < 102, kept

    live(tmp_path, story)


def test_a_clock_put_back_does_not_make_a_found_contract_old_news(tmp_path: Path) -> None:
    """Listings were told from those before it was thought gone by their times: for as long as the clock had
    been put back, a contract that was there after all billed, seen by every listing and by nobody."""

    async def story(world: World) -> None:
        forget = [False]

        async def empty(request: httpx.Request) -> httpx.Response | None:
            if request.url.path != LISTING or not forget[0]:
                return None
            body = {"success": True, "total_instances": 0, "instances": [], "instances_found": 0}
            return httpx.Response(200, json=body)

        world.market.before.append(empty)
        run = world.start(tries=1)
        await world.until(lambda: bool(world.sim.contracts.history))
        (contract,) = world.sim.contracts.alive()
        forget[0] = True
        await world.until(lambda: not world.store.rentals(run=run)[0].live)  # type: ignore[union-attr]
        world.clock.jump(-600.0)
        forget[0] = False
        assert world.engine is not None
        for _ in range(2):  # the next one sees it
            await world.engine.ctx.place.look(0.0)
        await world.until(lambda: not contract.alive, within=60, what="it is destroyed")
        await world.ended(run)
        await world.quiet()

    live(tmp_path, story)


def test_a_contract_that_stands_is_held_to_the_cap_as_well(tmp_path: Path) -> None:
    """Dearer than its offer, and without a GPU for now: its price was looked at when it ran, and until it
    was given up it could have begun to run at any moment."""

    async def story(world: World) -> None:
        async def stands(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if request.url.path != LISTING:
                return response
            body = response.json()
            for row in body["instances"]:
                row |= dict.fromkeys(("actual_status", "intended_status", "cur_state"), "stopped")
                row["dph_total"] = 3.0
            return httpx.Response(200, json=body)

        world.market.after.append(stands)
        run = world.start(tries=1, cap=0.6)
        ended = await world.ended(run, within=30)
        assert "$3.0000/h, above the cap of $0.6000/h" in ended.reason
        await world.quiet()

    live(tmp_path, story)
