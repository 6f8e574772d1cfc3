"""What a place is: where runs execute, behind one protocol.

The engine knows places only by this. A place declares what it can do; the decision function and the
plan card read those declarations instead of asking which place it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from choline_tui.kernel.session import HostCopier, RemoteSession
from choline_tui.model.conditions import Query
from choline_tui.model.instance import Instance
from choline_tui.model.offer import Offer, OfferPage
from choline_tui.model.run import Plan, Rental, Run

__all__ = ["Abilities", "Listing", "MarketPlace"]


@dataclass(frozen=True)
class Abilities:
    bills: bool
    can_hold: bool
    can_signal: bool
    has_queue: bool
    ends_itself: bool


@dataclass(frozen=True)
class Listing:
    """Everything the account has, complete, at one time. A listing that is not complete is an error."""

    instances: Sequence[Instance]
    seen_at: float

    def contract(self, contract: int | None) -> Instance | None:
        return next((i for i in self.instances if i.id == contract), None)


class MarketPlace(Protocol):
    """A place that rents. Errors are those of ``kernel/errors.py``."""

    abilities: Abilities

    async def ready(self) -> None:
        """What must be true before renting (our SSH key is registered)."""
        ...

    async def account(self) -> str:
        """Which market and account this is, the same for as long as we can see the same contracts; '' when
        the key may not ask."""
        ...

    async def search(self, query: Query, count: Callable[[], object]) -> OfferPage:
        """``count`` is called before every request that it takes; when it raises, none is made."""
        ...

    async def may_rent(self) -> None:
        """Wait until the market takes a rent call at once; before anything is decided about it. Raises
        RateLimited."""
        ...

    async def rent(self, run: Run, plan: Plan, rental: Rental, offer: Offer, login: str | None = None) -> int:
        """One request, never repeated; the contract id. ``login``: to the image's registry, as the market
        takes it. UnknownOutcome when it cannot be told."""
        ...

    async def look(self, max_age: float) -> Listing:
        """The whole listing, not older than ``max_age`` s; calls at one time share one request."""
        ...

    async def start(self, contract: int) -> None: ...

    async def stop(self, contract: int) -> None:
        """GPU off, disk kept. May be repeated."""
        ...

    async def destroy(self, contract: int) -> None: ...

    async def authorize(self, contract: int) -> None:
        """Attach our SSH key to a contract that does not accept it."""
        ...

    async def connect(self, rental: Rental) -> RemoteSession:
        """Reach the machine at the address last seen; its host key must be the rental's, if pinned."""
        ...

    async def copier(self, rental: Rental) -> HostCopier:
        """The way to its disk that its host gives, whether it runs or stands; the key of that host must be
        the rental's ``copier_key``, if pinned. Nothing is open yet but the question to the market."""
        ...

    async def logs(self, contract: int, *, daemon: bool = False) -> str: ...
