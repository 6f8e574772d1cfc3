"""The offer book: the first page, all pages when asked, within the ration, de-duplicated."""

import asyncio
from pathlib import Path

import httpx
import pytest

from choline_tui.engine.offers import OfferBook
from choline_tui.kernel.errors import MarketDown, QuotaSpent
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
