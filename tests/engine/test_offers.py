"""The offer book: the first page, all pages when asked, within the ration, de-duplicated."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from choline_tui.engine.offers import OfferBook, Seen
from choline_tui.kernel.errors import MarketDown, QuotaSpent
from choline_tui.model.conditions import Query
from choline_tui.model.query import parse_query
from tests.support.world import World, live


def book_of(world: World) -> OfferBook:
    assert world.engine is not None
    return world.engine.ctx.book


def test_all_pages_are_all_offers_each_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        query = parse_query("verified=any", disk_gb=20.0)
        first = await book_of(world).search(query)
        assert len(first.offers) == 64 and not first.complete
        whole = await book_of(world).everything(query)
        ids = [o.id for o in whole.offers]
        assert whole.complete and len(ids) == len(set(ids)) > 128
        prices = [o.price_at(20.0) or 0.0 for o in whole.offers]
        assert set(ids) >= {o.id for o in first.offers} and min(prices) == prices[0]
        # the market's own count of what is rentable, asked page by page by GPU instead of by price
        seen = set()
        for count in (1, 2, 4, 8):
            for name in {o.gpu_name for o in whole.offers}:
                page = await world.client.search(  # type: ignore[union-attr]
                    parse_query(f'verified=any num_gpus={count} gpu_name="{name}"', disk_gb=20.0)
                )
                assert page.complete
                seen |= {o.id for o in page.offers}
                await asyncio.sleep(10)
        assert seen <= set(ids)

    live(tmp_path, story, offers=400)


def test_the_same_question_costs_one_search_for_a_while(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        book, query = book_of(world), parse_query("num_gpus=1")
        page = await book.search(query)
        assert await book.search(query) is page and book.used_today() == 1
        await asyncio.sleep(30)
        assert await book.search(query) is not page and book.used_today() == 2

    live(tmp_path, story)


def test_an_offer_that_was_just_seen_is_planned_without_a_search(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        book = book_of(world)
        offer = (await book.search(parse_query("num_gpus=1"))).offers[5]
        one = parse_query(f"ask_contract_id={offer.id}", disk_gb=40.0)
        page = book.named(one, offer.id)
        assert page is not None and page.offers == (offer,) and page.complete and page.disk_gb == 40.0
        assert book.used_today() == 1
        # not for another kind of rental, a query it does not fit, another offer, nor when it is long ago
        bid = parse_query(f"ask_contract_id={offer.id}", type="interruptible")
        assert book.named(bid, offer.id) is None
        assert book.named(parse_query(f"ask_contract_id={offer.id} num_gpus=8"), offer.id) is None
        assert book.named(one, offer.id + 10**9) is None
        await asyncio.sleep(61)
        assert book.named(one, offer.id) is None

    live(tmp_path, story)


def test_the_ration_keeps_a_part_for_rents(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        assert world.engine is not None and world.store is not None
        book = OfferBook(world.engine.ctx.place, world.store, world.clock, ration=3, reserve=1)
        for count in (1, 2):
            await book.search(parse_query(f"num_gpus={count}"))
        with pytest.raises(QuotaSpent, match="ration of 3") as caught:
            await book.search(parse_query("num_gpus=4"))
        assert caught.value.details["until"] % 86400 == 0
        assert await book.search(parse_query("num_gpus=4"), for_rent=True)
        with pytest.raises(QuotaSpent):
            await book.search(parse_query("num_gpus=8"), for_rent=True)
        await asyncio.sleep(86400)
        assert await book.search(parse_query("num_gpus=8"))

    live(tmp_path, story)


def test_what_was_seen_is_there_after_a_restart_and_without_a_market(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        query = parse_query("num_gpus=1")
        page = await book_of(world).search(query)
        await world.restart()
        assert book_of(world).cached(parse_query("num_gpus=2")) is None
        old = book_of(world).cached(query)
        assert old is not None and old.offers == page.offers and old.seen_at == page.seen_at
        assert old.complete is page.complete

        async def down(request: httpx.Request) -> httpx.Response | None:
            raise httpx.ConnectError("no network")

        world.market.before.append(down)
        with pytest.raises(MarketDown):
            await book_of(world).search(query)

    live(tmp_path, story)


async def collect(book: OfferBook, query: Query, **how: Any) -> list[Seen]:
    return [seen async for seen in book.stream(query, **how)]


def test_a_stream_is_the_first_page_then_the_deeper_ones(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        query = parse_query("")
        steps = await collect(book_of(world), query)
        assert not steps[0].cached and len(steps[0].page.offers) == 64 and not steps[0].known.complete
        assert [s.last for s in steps] == [False] * (len(steps) - 1) + [True]
        whole = steps[-1].known
        ids = [o.id for o in whole.offers]
        assert whole.complete and len(ids) == len(set(ids)) > 128 and not any(s.gone for s in steps)
        again = await collect(book_of(world), query)
        assert len(again) == 1 and again[0].cached and again[0].last
        assert {o.id for o in again[0].known.offers} == set(ids), "memory has them all"
        everything = await book_of(world).everything(parse_query("", order="dlperf-"))
        assert {o.id for o in everything.offers} == set(ids)

    live(tmp_path, story, offers=400)


def test_a_stream_shows_what_was_known_first_and_takes_away_what_is_gone(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        query = parse_query("")
        before = (await collect(book_of(world), query))[-1].known
        cheapest = before.offers[0]
        await asyncio.sleep(60)
        run = world.start(query=f"ask_contract_id={cheapest.id}")
        await world.until(lambda: any(r.contract for r in world.store.rentals(run=run)))  # type: ignore[union-attr]
        await world.restart()
        steps = await collect(book_of(world), query)
        assert steps[0].cached and steps[0].known.offers == before.offers
        assert steps[0].known.seen_at == before.seen_at
        assert cheapest.id in steps[1].gone
        assert steps[1].known.seen_at == before.seen_at, "as old as the oldest that is shown"
        assert steps[-1].known.seen_at > before.seen_at
        assert cheapest.id not in {o.id for o in steps[-1].known.offers}

    live(tmp_path, story, offers=400)


def test_deeper_pages_leave_searches_for_others(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        book, query = book_of(world), parse_query("")
        began = world.clock.monotonic()
        got = 0
        async for _ in book.stream(query):
            got += 1
            if got == 7:
                break
        assert world.clock.monotonic() - began >= 60, "five deeper pages a minute at most"
        # somebody types a filter meanwhile: it need not wait for the minute to end
        began = world.clock.monotonic()
        await book.search(parse_query("num_gpus=2"))
        assert world.clock.monotonic() - began < 5

    live(tmp_path, story, offers=900)


def test_a_stream_ends_with_the_reason_when_the_ration_or_the_market_does(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        assert world.engine is not None and world.store is not None
        book = OfferBook(world.engine.ctx.place, world.store, world.clock, ration=4, reserve=1)
        steps = await collect(book, parse_query(""))
        assert len(steps) == 4 and isinstance(steps[-1].trouble, QuotaSpent) and steps[-1].last
        assert len(steps[-1].known.offers) > 128 and not steps[-1].known.complete and book.used_today() == 3

        async def down(request: httpx.Request) -> httpx.Response | None:
            raise httpx.ConnectError("no network")

        world.market.before.append(down)
        steps = await collect(book_of(world), parse_query("num_gpus=4"))
        assert len(steps) == 1 and isinstance(steps[0].trouble, MarketDown) and steps[0].last

    live(tmp_path, story, offers=400)


def test_who_stops_listening_costs_no_more_searches(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        book = book_of(world)
        stream = book.stream(parse_query(""))
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(300)
        assert book.used_today() == 1
        again = await anext(book.stream(parse_query("")))
        assert again.cached and len(again.known.offers) == 64, "what it was told is not forgotten"
        only = await collect(book, parse_query("num_gpus=1"), deeper=False)
        assert len(only) == 1 and only[0].last and book.used_today() == 2

    live(tmp_path, story, offers=400)
