"""The rehearsal market as one thing: machines, contracts, API and, if wanted, its HTTP server."""

from types import TracebackType

from choline_tui.kernel.clock import Clock, SystemClock
from choline_tui.simulator.access import Access
from choline_tui.simulator.api import Api
from choline_tui.simulator.backend import NoRemotes, RemoteBackend
from choline_tui.simulator.contracts import Contracts
from choline_tui.simulator.faults import FaultPlan
from choline_tui.simulator.http import HttpServer
from choline_tui.simulator.limits import Limits
from choline_tui.simulator.market import Market
from choline_tui.simulator.mishaps import Mishaps
from choline_tui.simulator.strangers import Strangers
from choline_tui.simulator.wire import Request, Response

__all__ = ["Simulator"]


class Simulator:
    """A market that speaks Vast's HTTP API.

    ``seed`` and ``offers`` make the machines; ``boot`` is the seconds from renting to running; ``key``
    the only account key accepted (None: any); ``credit`` the account's dollars. ``moving=False`` freezes
    prices and other renters. ``rate_limits`` answers 429 below the documented intervals, ``search_quota``
    after so many searches a day (UTC). ``faults``: what goes wrong on purpose. ``people``: what others do
    in an hour that gets in the way (``strangers``). ``contested``: bids give way to whoever pays more.
    ``bill_pulls``: an image's bytes are billed as received; Vast does not say whether they are.

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
        search_quota: int | None = None,
        faults: FaultPlan | None = None,
        people: float = 0.0,
        contested: bool = False,
        bill_pulls: bool = True,
        listen: bool = True,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.backend: RemoteBackend = backend or NoRemotes()
        self.market = Market(self.clock, seed=seed, offers=offers, moving=moving, contested=contested)
        self.contracts = Contracts(
            self.market, self.clock, self.backend, boot=boot, credit=credit, bill_pulls=bill_pulls
        )
        self.strangers = Strangers(self.market, self.contracts, self.clock, busy=people)
        self.faults = faults or FaultPlan([], seed=seed)
        self.contracts.on_rent = Mishaps(self.faults, self.contracts, self.strangers, self.clock).made
        self.access = Access(key, self.clock.time())
        self.api = Api(
            self.market,
            self.contracts,
            self.access,
            self.clock,
            base_url=lambda: self.url,
            limits=Limits(self.clock, rate_limits, search_quota),
            spend_limit=spend_limit,
            just_taken=self.strangers.just_taken,
        )
        self.faults.began = self.clock.time()
        self.faults.route_of = self.api.route_of
        self.faults.take = self.strangers.take
        self._http = HttpServer(self.handle, host=host, port=port)
        self._listen = listen
        self.contracts.base_url = self.url

    @property
    def url(self) -> str:
        """Where ``VAST_URL`` has to point."""
        host = f"[{self._http.host}]" if ":" in self._http.host else self._http.host
        return f"http://{host}:{self._http.port}"

    async def handle(self, request: Request) -> Response:
        """Answer one request in process, or whatever the faults make of the answer. Raises ``wire.Lost``
        where there is none."""
        return await self.faults.handle(request, self.api.handle, self.clock)

    async def instance_request(self, contract: int, action: str) -> None:
        """ "stop" or "destroy", as a modelled machine asks with its instance key: through the API, with
        whatever goes wrong there. Raises ``ConnectionError`` when it was not heard or refused."""
        found = self.contracts.get(contract)
        if found is None:
            return
        method, body = ("DELETE", b"{}") if action == "destroy" else ("PUT", b'{"state": "stopped"}')
        head = {"Authorization": f"Bearer {found.key}"}
        answer = await self.handle(Request(method, f"/api/v0/instances/{contract}/", "", head, body))
        if answer.status >= 400:
            raise ConnectionError(f"the market refused: {answer.status}")

    async def start(self) -> None:
        """Raises ``OSError`` when the address cannot be had."""
        if self._listen:
            await self._http.start()
            self.contracts.base_url = self.url
        self.strangers.start()

    async def close(self) -> None:
        """Destroy everything; afterwards nothing runs, listens or bills."""
        await self.strangers.close()
        await self.contracts.close()
        await self._http.close()

    async def __aenter__(self) -> "Simulator":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
