"""The market's HTTP API, as a pure function from a request to an answer.

Every route has a name (for rate limits and restricted keys), the permission it needs, and its handler in
``endpoints``; paths are accepted with and without a trailing slash.
"""

from collections.abc import Callable
from typing import Any

from choline_tui.kernel.clock import Clock
from choline_tui.simulator.access import Access, Key
from choline_tui.simulator.contracts import Contracts
from choline_tui.simulator.endpoints.account import Account
from choline_tui.simulator.endpoints.base import Desk, Results, Route
from choline_tui.simulator.endpoints.copying import Copying
from choline_tui.simulator.endpoints.keys import Keys
from choline_tui.simulator.endpoints.managing import Managing
from choline_tui.simulator.endpoints.offers import Offers
from choline_tui.simulator.endpoints.reading import Reading
from choline_tui.simulator.endpoints.renting import Renting
from choline_tui.simulator.endpoints.schedule import Schedule
from choline_tui.simulator.endpoints.templates import Templates
from choline_tui.simulator.endpoints.volumes import Volumes
from choline_tui.simulator.limits import Limits
from choline_tui.simulator.market import Market, Slice
from choline_tui.simulator.wire import Lost, Refusal, Request, Response, json_response, refuse

__all__ = ["Api"]

MAX_FOUND = 1000
"""paths whose route is remembered"""


class Api:
    """``spend_limit``: $/h that a new account may not exceed; None: no limit. ``just_taken``: what was on
    offer until a moment ago.

    ``base_url`` is asked for at every log request, since a port may be chosen late.
    """

    def __init__(
        self,
        market: Market,
        contracts: Contracts,
        access: Access,
        clock: Clock,
        *,
        base_url: Callable[[], str],
        limits: Limits | None = None,
        spend_limit: float | None = None,
        just_taken: Callable[[int], Slice | None] = lambda offer: None,
    ) -> None:
        self._access = access
        self._contracts = contracts
        self._limits = limits
        self._results = Results(base_url)
        desk = Desk(market, contracts, access, clock, self._results, spend_limit, just_taken, [])
        offers, templates, volumes = Offers(desk), Templates(desk), Volumes(desk)
        account = Account(desk, volumes)
        contracts.other_costs = volumes.costs
        contracts.secrets = lambda: account.variables
        areas = [
            offers,
            Renting(desk, templates, volumes, offers.search),
            Managing(desk),
            Reading(desk),
            Copying(desk),
            Keys(desk),
            account,
            templates,
            volumes,
            Schedule(desk, self._as_owner),
        ]
        self._routes = [route for area in areas for route in area.routes()]
        self._found: dict[tuple[str, str], tuple[Route | None, bool]] = {}

    async def handle(self, request: Request) -> Response:
        """Answer a request; never raises for what a caller sent, but ``Lost`` for one that comes from an
        instance whose host is lost."""
        try:
            result = await self._dispatch(request)
        except Refusal as refusal:
            return refusal.response
        return result if isinstance(result, Response) else json_response(result)

    def route_of(self, request: Request) -> str:
        """The name of the route that a request takes; "" for none."""
        found, _ = self._find(request)
        if found is None and request.path.startswith("/results/"):
            return "results"
        return found.name if found is not None else ""

    def _find(self, request: Request) -> tuple[Route | None, bool]:
        """The route, and whether the path is one of another method's."""
        asked = (request.method, request.path)
        found = self._found.get(asked)
        if found is None:
            if len(self._found) >= MAX_FOUND:
                self._found.clear()
            found = self._found[asked] = self._search(*asked)
        return found

    def _search(self, method: str, path: str) -> tuple[Route | None, bool]:
        path, method, known = "/" + path.strip("/"), method.upper(), False
        for route in self._routes:
            if route.pattern.fullmatch(path):
                if route.method == method:
                    return route, True
                known = True
        return None, known

    async def _dispatch(self, request: Request) -> Any:
        route, known = self._find(request)
        if route is None:
            path = "/" + request.path.strip("/")
            if path.startswith("/results/") and request.method.upper() == "GET":
                return self._results.fetch(path.removeprefix("/results/"))
            if known:
                raise refuse(405, "method_not_allowed", f"{request.method[:20]} is not allowed here.")
            raise refuse(404, "not_found", "There is no such endpoint.")
        key = self._access.identify(request)
        if key is not None and key.contract is not None:
            sender = self._contracts.get(key.contract)
            if sender is not None and sender.offline:
                # a lost host cannot reach the market either
                raise Lost
        target = self._target(route, request)
        # a search may be anonymous; a key that is sent must allow it all the same
        if route.category and not (route.name == "search" and key is None):
            self._access.demand(key, route.name, route.category, target if target >= 0 else None)
        if self._limits is not None:
            self._limits.check(route.name, self._caller(request))
        return await route.handler(request, key, target)

    @staticmethod
    def _target(route: Route, request: Request) -> int:
        match = route.pattern.fullmatch("/" + request.path.strip("/"))
        return int(match.group(1)) if match is not None and route.pattern.groups else -1

    async def _as_owner(self, request: Request, key: Key | None) -> Response:
        """What a scheduled job asks for: with its owner's rights, outside the limits."""
        route, _ = self._find(request)
        try:
            if route is None:
                raise refuse(404, "not_found", "There is no such endpoint.")
            target = self._target(route, request)
            self._access.demand(key, route.name, route.category, target if target >= 0 else None)
            result = await route.handler(request, key, target)
        except Refusal as refusal:
            return refusal.response
        return result if isinstance(result, Response) else json_response(result)

    @staticmethod
    def _caller(request: Request) -> str:
        return f"{request.client} {request.header('authorization')} {request.params().get('api_key', '')}"
