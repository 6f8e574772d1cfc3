"""What all endpoints share: the routes' shape, the market behind them, and results that come late."""

import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from choline_tui.kernel.clock import Clock
from choline_tui.simulator.access import Access, Key
from choline_tui.simulator.contract import Contract, SshKey
from choline_tui.simulator.contracts import Contracts
from choline_tui.simulator.instances import instance_row
from choline_tui.simulator.market import Market, Slice
from choline_tui.simulator.orders import invalid
from choline_tui.simulator.wire import Request, Response, as_number, refuse

__all__ = ["USER_ID", "Desk", "Endpoints", "Handler", "Results", "Route", "route"]

USER_ID = 100_001
MAX_RESULTS = 1000
"""results kept for fetching"""

Handler = Callable[[Request, Key | None, int], Awaitable[Any]]
"""Takes the request, the caller's key and the number in the path (-1: none); returns JSON or a Response."""


@dataclass(frozen=True)
class Route:
    """``name`` is for rate limits and restricted keys, ``category`` the permission needed ("": none)."""

    method: str
    pattern: re.Pattern[str]
    name: str
    category: str
    handler: Handler


def route(method: str, path: str, name: str, category: str, handler: Handler) -> Route:
    """``#`` in the path stands for a number."""
    return Route(method, re.compile("/api/" + path.replace("#", "([0-9]{1,15})")), name, category, handler)


class Results:
    """Texts that a host uploads for whoever asked: they are refused at first, then there for anybody who
    knows the address."""

    def __init__(self, base_url: Callable[[], str]) -> None:
        self._base_url = base_url
        self._results: dict[str, tuple[str, int]] = {}

    def keep(self, text: str) -> str:
        """The address at which the text will be."""
        token = secrets.token_urlsafe(24)
        while len(self._results) >= MAX_RESULTS:
            del self._results[next(iter(self._results))]
        self._results[token] = (text, 0)
        return f"{self._base_url()}/results/{token}"

    def fetch(self, token: str) -> Response:
        if token not in self._results:
            raise refuse(404, "not_found", "There is no such result.")
        text, polls = self._results[token]
        self._results[token] = (text, polls + 1)
        if polls == 0:
            # it takes a while until the host has uploaded it
            body = b"<Error><Code>AccessDenied</Code></Error>"
            return Response(403, {"content-type": "application/xml"}, body)
        return Response(200, {"content-type": "text/plain; charset=utf-8"}, text.encode(errors="replace"))


@dataclass
class Desk:
    """``spend_limit``: $/h that a new account may not exceed; None: no limit. ``just_taken``: what was on
    offer a moment ago. ``ssh_keys``: the account's."""

    market: Market
    contracts: Contracts
    access: Access
    clock: Clock
    results: Results
    spend_limit: float | None
    just_taken: Callable[[int], Slice | None]
    ssh_keys: list[SshKey]

    def row(self, contract: Contract) -> dict[str, Any]:
        least = self.market.min_bid(contract.machine, len(contract.slice.gpus))
        return instance_row(contract, self.clock.time(), least)

    def contract(self, target: int) -> Contract:
        """Raises ``Refusal`` (404)."""
        contract = self.contracts.get(target)
        if contract is None:
            raise refuse(404, "no_such_instance", f"Instance {target} not found.")
        return contract

    def list_of(self, ids: Any) -> list[Contract]:
        """Raises ``Refusal`` (400, 404)."""
        numbers = [as_number(i) for i in ids] if isinstance(ids, list) else []
        if not numbers or None in numbers:
            raise invalid("ids")
        return [self.contract(int(number)) for number in numbers if number is not None]


class Endpoints:
    """Endpoints of one area; ``routes`` lists them."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def routes(self) -> list[Route]:
        raise NotImplementedError
