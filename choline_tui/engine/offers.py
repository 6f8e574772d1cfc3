"""The offer book: searches the market within our ration, remembers what it said.

One page is at most 64 offers. Deeper pages go on from the last price (``gte``, because several offers
may cost the same); they are taken only when all offers are asked for, all at once (``everything``) or one
after the other as they come (``stream``).
"""

import contextlib
import datetime
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from choline_tui.kernel.clock import Clock
from choline_tui.kernel.errors import QuotaSpent, RateLimited, StoreError, VastError
from choline_tui.model.conditions import Order, Query
from choline_tui.model.offer import Offer, OfferPage, read_page
from choline_tui.places.base import MarketPlace
from choline_tui.store import Store

__all__ = ["OfferBook", "Seen"]

PAGE = 64
MAX_PAGES = 40
MAX_KNOWN = 30
"""queries whose offers are kept in memory; more lie in the store"""
FRESH_FOR = 20.0
"""s in which the same question gets the same answer"""
NAMED_FOR = 60.0
"""s in which a plan for one offer is made from what was seen of it; renting it asks the market again"""
DEEPER_CALLS, DEEPER_PERIOD = 5, 61.0
"""deeper pages in so many s: the market takes 10 searches a minute, and the others are for first pages and
for rents, which nobody should have to wait for"""


@dataclass(frozen=True)
class Seen:
    """One step of a stream. ``known``: everything that is known to be there after it."""

    page: OfferPage
    """what is new in this step"""
    known: OfferPage
    gone: tuple[int, ...] = ()
    """ids that were shown before, and that the market no longer lists"""
    cached: bool = False
    """from memory: the market has not been asked yet"""
    last: bool = False
    trouble: VastError | None = None
    """why it ends before it is complete"""


class OfferBook:
    """``ration``: our own limit of search requests a UTC day; ``reserve`` of them are kept for rents."""

    def __init__(
        self,
        place: MarketPlace,
        store: Store,
        clock: Clock,
        *,
        ration: int = 500,
        reserve: int = 100,
    ) -> None:
        self._place = place
        self._store = store
        self._clock = clock
        self.ration = ration
        self.reserve = reserve
        self._pages: dict[str, OfferPage] = {}
        self._deeper: deque[float] = deque(maxlen=DEEPER_CALLS)

    def _today(self) -> str:
        return datetime.datetime.fromtimestamp(self._clock.time(), datetime.UTC).strftime("%Y-%m-%d")

    def used_today(self) -> int:
        return self._store.searches(self._today())

    def _spend(self, *, for_rent: bool) -> None:
        limit = self.ration if for_rent else self.ration - self.reserve
        if self.used_today() >= limit:
            midnight = (int(self._clock.time()) // 86400 + 1) * 86400.0
            raise QuotaSpent(
                f"today's ration of {self.ration} searches is spent ({self.reserve} are kept for rents)",
                hint="It starts again at 00:00 UTC; [search] ration in the config changes it.",
                until=midnight,
            )
        self._store.count_search(self._today())

    async def _ask(self, query: Query, *, for_rent: bool = False) -> OfferPage:
        """The market itself. Every request is on the ration, one that is made again after a failure too."""
        return await self._place.search(query, lambda: self._spend(for_rent=for_rent))

    async def search(self, query: Query, *, fresh: float = FRESH_FOR, for_rent: bool = False) -> OfferPage:
        """The first page (``complete`` says whether it is all), from memory when not older than
        ``fresh`` s. Raises the VastError of the search; QuotaSpent when our ration is spent."""
        key = self.key(query)
        known = self._pages.get(key)
        now = self._clock.time()
        if known is not None and 0 <= now - known.seen_at <= fresh:
            return known
        page = await self._ask(query, for_rent=for_rent)
        self._keep(key, page)
        return page

    def named(self, query: Query, offer: int, *, fresh: float = NAMED_FOR) -> OfferPage | None:
        """That one offer as any page not older than ``fresh`` s showed it, if the query finds it: what
        somebody looks at need not be searched for again. None: it must be."""
        now = self._clock.time()
        pages = [p for p in self._pages.values() if p.type == query.type and 0 <= now - p.seen_at <= fresh]
        for page in sorted(pages, key=lambda p: p.seen_at, reverse=True):
            for each in page.offers:
                if each.id == offer and query.matches(each):
                    return OfferPage(
                        (each,), page.seen_at, disk_gb=query.disk_gb, type=query.type, complete=True
                    )
        return None

    def key(self, query: Query) -> str:
        return json.dumps(query.to_filters(), sort_keys=True)

    def _keep(self, key: str, page: OfferPage) -> None:
        self._pages.pop(key, None)
        self._pages[key] = page
        while len(self._pages) > MAX_KNOWN:
            del self._pages[next(iter(self._pages))]
        body = (
            page.raw
            or json.dumps(
                {"offers": [o.model_dump(mode="json", exclude_none=True) for o in page.offers]}
            ).encode()
        )
        # a cache that cannot be written (a full disk) is no reason to have no offers
        with contextlib.suppress(StoreError):
            self._store.keep_offers(key, page.seen_at, page.complete, body)

    def cached(self, query: Query) -> OfferPage | None:
        """What was last seen for this query, however old; from disk after a restart."""
        key = self.key(query)
        if key in self._pages:
            return self._pages[key]
        row = self._store.offers(key)
        if row is None:
            return None
        seen, complete, body = row
        return replace(read_page(body, query, seen), complete=complete)

    async def everything(self, query: Query) -> OfferPage:
        """All pages, one after the other, de-duplicated; what was found when ration or pace end it."""
        key = self.key(query)
        page = await self.search(replace(query, order=(Order("dph_total"),), limit=None))
        offers: dict[int, Offer] = {o.id: o for o in page.offers}
        complete = page.complete
        for _ in range(MAX_PAGES):
            if complete or not page.offers:
                break
            last = max((o.dph_total or 0.0) for o in page.offers)
            try:
                page = await self._ask(query.from_price(last))
            except (RateLimited, VastError):
                break
            fresh = [o for o in page.offers if o.id not in offers]
            offers.update((o.id, o) for o in fresh)
            complete = page.complete or not fresh
        whole = OfferPage(
            offers=tuple(offers.values()),
            seen_at=page.seen_at,
            disk_gb=query.disk_gb,
            type=query.type,
            complete=complete,
        )
        self._keep(key, whole)
        return whole

    async def stream(
        self, query: Query, *, fresh: float = FRESH_FOR, deeper: bool = True
    ) -> AsyncIterator[Seen]:
        """What was last seen, at once; then the market's first page; then (``deeper``) the others, cheapest
        first, at a pace that leaves room for other searches. The last step says so, and why when it ends
        early: a failing market or a spent ration never raises here. Stopping early costs nothing more.
        """
        query = replace(query, order=(Order("dph_total"),), limit=None)
        key, now = self.key(query), self._clock.time()
        old = self.cached(query)
        known: dict[int, Offer] = {} if old is None else {o.id: o for o in old.offers}
        if old is not None:
            recent = 0 <= now - old.seen_at <= fresh and (old.complete or not deeper)
            yield Seen(old, old, cached=True, last=recent)
            if recent:
                return
        whole = OfferPage((), now, query.disk_gb, query.type, complete=False)
        if old is not None:
            whole = replace(whole, offers=old.offers, seen_at=old.seen_at)
        floor = 0.0
        seen: set[int] = set()
        for number in range(MAX_PAGES if deeper else 1):
            try:
                if number == 0:
                    # the market itself: what memory has was shown already
                    page = await self._ask(query)
                else:
                    await self._deeper_turn()
                    page = await self._ask(query.from_price(floor))
            except VastError as error:
                yield Seen(replace(whole, offers=()), whole, last=True, trouble=error)
                return
            prices = [o.dph_total for o in page.offers if o.dph_total is not None]
            top = max(prices, default=floor)
            stuck = number > 0 and top <= floor  # a page of one price only: there is no going on from it
            complete = page.complete or not prices or stuck
            there = {o.id for o in page.offers}
            gone = tuple(
                i
                for i, o in known.items()
                if i not in there and (o.dph_total is None or _between(o.dph_total, floor, top, complete))
            )
            for each in gone:
                del known[each]
            known.update((o.id, o) for o in page.offers)
            seen |= there
            whole = OfferPage(
                offers=tuple(sorted(known.values(), key=lambda o: (o.dph_total is None, o.dph_total or 0.0))),
                # as old as the oldest of them
                seen_at=page.seen_at if old is None or seen.issuperset(known) else old.seen_at,
                disk_gb=query.disk_gb,
                type=query.type,
                complete=complete,
            )
            last = complete or not deeper or number == MAX_PAGES - 1
            if last or number == 0:
                self._keep(key, whole)
            else:
                # who stops in between finds it again; the disk hears of it when it is whole
                self._pages[key] = whole
            yield Seen(page, whole, gone, last=last)
            if last:
                return
            floor = top

    async def _deeper_turn(self) -> None:
        while len(self._deeper) == DEEPER_CALLS:
            wait = self._deeper[0] + DEEPER_PERIOD - self._clock.monotonic()
            if wait <= 1e-6:
                break
            await self._clock.sleep(wait)
        self._deeper.append(self._clock.monotonic())


def _between(price: float, floor: float, top: float, complete: bool) -> bool:
    """Whether a page from ``floor`` to ``top`` would have held an offer of this price."""
    return price > floor - 1e-9 and (complete or price < top)
