"""The rehearsal market as one thing: machines, contracts, API and, if wanted, its HTTP server."""

from types import TracebackType

from choline_tui.kernel.clock import Clock, SystemClock
from choline_tui.simulator.access import Access
from choline_tui.simulator.api import Api
from choline_tui.simulator.backend import NoRemotes, RemoteBackend
from choline_tui.simulator.contracts import Contracts
from choline_tui.simulator.http import HttpServer
from choline_tui.simulator.limits import Limits
from choline_tui.simulator.market import Market
from choline_tui.simulator.wire import Request, Response

__all__ = ["Simulator"]


class Simulator:
    """A market that speaks Vast's HTTP API.

    ``seed`` and ``offers`` make the machines; ``boot`` is the seconds from renting to running; ``key``
    the only account key accepted (None: any); ``credit`` the account's dollars. ``moving=False`` freezes
    prices and other renters. ``rate_limits`` answers 429 below the documented intervals.

    ``async with`` opens the socket (``listen=False``: none, for a virtual loop) and at the end destroys
    every contract and the remotes behind them. ``handle`` answers without a socket.
    """

    def __init__(
        self,
        *,
        seed: int = 7,
        offers: int = 2000,
        boot: float = 5.0,
        key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        backend: RemoteBackend | None = None,
        credit: float = 100.0,
        moving: bool = True,
        rate_limits: bool = False,
        spend_limit: float | None = None,
        listen: bool = True,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.backend: RemoteBackend = backend or NoRemotes()
        self.market = Market(self.clock, seed=seed, offers=offers, moving=moving)
        self.contracts = Contracts(self.market, self.clock, self.backend, boot=boot, credit=credit)
        self.access = Access(key, self.clock.time())
        self.api = Api(
            self.market,
            self.contracts,
            self.access,
            self.clock,
            base_url=lambda: self.url,
            limits=Limits(self.clock) if rate_limits else None,
            spend_limit=spend_limit,
        )
        self._http = HttpServer(self.api.handle, host=host, port=port)
        self._listen = listen
        self.contracts.base_url = self.url

    @property
    def url(self) -> str:
        """Where ``VAST_URL`` has to point."""
        host = f"[{self._http.host}]" if ":" in self._http.host else self._http.host
        return f"http://{host}:{self._http.port}"

    async def handle(self, request: Request) -> Response:
        """Answer one request in process."""
        return await self.api.handle(request)

    async def start(self) -> None:
        """Raises ``OSError`` when the address cannot be had."""
        if self._listen:
            await self._http.start()
            self.contracts.base_url = self.url

    async def close(self) -> None:
        """Destroy everything; afterwards nothing runs, listens or bills."""
        await self.contracts.close()
        await self._http.close()

    async def __aenter__(self) -> "Simulator":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
