"""Vast.ai as a place: the client, our SSH key, and sessions to the machines rented there."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from choline_tui.kernel.clock import Clock
from choline_tui.kernel.errors import MissingScope, NotFound, SshRefused
from choline_tui.kernel.guard import onstart
from choline_tui.kernel.session import Address, HostCopier, RemoteSession
from choline_tui.model.conditions import Query
from choline_tui.model.offer import Offer, OfferPage
from choline_tui.model.run import Plan, Rental, Run
from choline_tui.places.base import Abilities, Listing
from choline_tui.vast.client import VastClient
from choline_tui.vast.types import RentRequest

__all__ = ["Connect", "Copies", "VastPlace"]

Connect = Callable[[Rental, list[Address]], Awaitable[RemoteSession]]
"""Opens a session to a rental at one of its addresses, direct first."""


Copies = Callable[[Rental, Address], HostCopier]
"""The copier of a rental's host, at the address that the market gave."""


class VastPlace:
    """``guard_url``: where a machine's guard reaches the market (the client's own address)."""

    abilities = Abilities(bills=True, can_hold=True, can_signal=True, has_queue=False, ends_itself=True)

    def __init__(
        self,
        client: VastClient,
        *,
        connect: Connect,
        copies: Copies,
        public_key: str,
        guard_url: str,
        clock: Clock,
    ) -> None:
        self.client = client
        self._connect = connect
        self._copies = copies
        self._public_key = public_key
        self._guard_url = guard_url
        self._clock = clock
        self._ready = False
        self._account: str | None = None
        self._last: Listing | None = None
        self._looking: asyncio.Task[Listing] | None = None
        self.on_asking: Callable[[], None] = lambda: None
        """called before a listing is asked for"""
        self.on_listing: Callable[[Listing], None] = lambda listing: None

    async def ready(self) -> None:
        if not self._ready:
            await self.client.add_ssh_key(self._public_key)
            self._ready = True

    async def account(self) -> str:
        host = urlsplit(self._guard_url).hostname or ""
        if host in ("localhost", "127.0.0.1", "::1"):
            return "rehearsal"  # one that was started again has forgotten its contracts: they are gone
        if self._account is None:
            try:
                found = (await self.client.account()).id
            except MissingScope:
                found = None
            self._account = "" if found is None else f"{host}/{found}"
        return self._account

    async def search(self, query: Query, count: Callable[[], object]) -> OfferPage:
        return await self.client.search(query, count)

    async def may_rent(self) -> None:
        await self.client.may_rent()

    async def rent(self, run: Run, plan: Plan, rental: Rental, offer: Offer, login: str | None = None) -> int:
        request = RentRequest(
            image=plan.image,
            disk_gb=plan.disk_gb,
            label=rental.label,
            onstart=onstart(
                int(plan.max_life_s), self._guard_url, deadline=int(self._clock.time() + plan.max_life_s)
            ),
            ports=tuple(plan.ports),
            price=rental.bid if rental.type == "interruptible" else None,
            image_login=login,
        )
        return (await self.client.rent(offer.id, request)).contract_id

    async def look(self, max_age: float) -> Listing:
        """One request at a time; those who ask meanwhile get a picture begun after they asked, or one
        young enough."""
        asked = self._clock.time()
        if self._last is not None and 0 <= asked - self._last.seen_at <= max_age:
            return self._last
        if self._looking is not None and not self._looking.done() and max_age <= 0:
            # under way since before we asked: it may be older than what we must know
            await asyncio.wait([self._looking])
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="listing")
            self._looking.add_done_callback(_consume)
        return await asyncio.shield(self._looking)

    async def _look(self) -> Listing:
        begun = self._clock.time()
        self.on_asking()
        found = await self.client.listing()
        listing = Listing(tuple(found.instances), begun)
        self._last = listing
        self.on_listing(listing)
        return listing

    async def start(self, contract: int) -> None:
        await self.client.start(contract)

    async def stop(self, contract: int) -> None:
        await self.client.stop(contract)

    async def destroy(self, contract: int) -> None:
        await self.client.destroy(contract)

    async def authorize(self, contract: int) -> None:
        await self.client.attach_ssh_key(contract, self._public_key)

    async def connect(self, rental: Rental) -> RemoteSession:
        addresses = [Address(*a) for a in rental.seen.address] if rental.seen else []
        if not addresses:
            raise SshRefused("the market gives no address for the machine yet")
        return await self._connect(rental, addresses)

    async def copier(self, rental: Rental) -> HostCopier:
        if rental.contract is None:
            raise NotFound("no contract is known of it", hint="choline looks for its label.")
        found = await self.client.copier(rental.contract)
        return self._copies(rental, Address(found.host, found.port))

    async def logs(self, contract: int, *, daemon: bool = False) -> str:
        return await self.client.logs(contract, daemon=daemon)


def _consume(task: "asyncio.Task[Listing]") -> None:
    if not task.cancelled():
        task.exception()  # each who waits is told; a picture nobody waits for any more is nobody's error
