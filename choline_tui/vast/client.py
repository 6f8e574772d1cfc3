"""The market's HTTP API, one method for each thing choline asks of it.

Reads are tried again for a while, and so are the writes that may be done twice (destroy, stop, label).
Renting never is: one request, and whatever its answer does not say clearly is UnknownOutcome. Every
method may raise BadKey, MissingScope, RateLimited, MarketDown and BadRequest; further ones are named.
"""

import random
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx

from choline_tui import __version__
from choline_tui.kernel.clock import Clock, SystemClock
from choline_tui.kernel.errors import (
    BadKey,
    BadRequest,
    CholineError,
    MarketDown,
    NotFound,
    UnknownOutcome,
)
from choline_tui.kernel.secret import Secret
from choline_tui.model.conditions import Query
from choline_tui.model.instance import VITAL, Instance
from choline_tui.model.market_types import MAX_ID, salvage
from choline_tui.model.offer import OfferPage, read_page
from choline_tui.vast.answers import MALFORMED, contract_in, parse
from choline_tui.vast.calls import Calls
from choline_tui.vast.keys import check_key
from choline_tui.vast.listing import read_all
from choline_tui.vast.pace import PACES, Pace, Pacer
from choline_tui.vast.ssh_keys import parse_keys, public_key, same_key
from choline_tui.vast.types import Account, Copier, KeyReport, Listing, Rented, RentRequest, SshKey
from choline_tui.vast.wire import Lost, Reply, Wire

__all__ = ["BASE_URL", "VastClient"]

BASE_URL = "https://console.vast.ai"
LOG_WAIT_S = 30.0
LOG_POLL_S = 1.0
MAX_LOG = 8 * 1024 * 1024
"""bytes of a container's log that are kept"""


class VastClient:
    """``async with VastClient(key) as vast: ...``. ``key`` None: only searches and GPU names work.

    ``transport`` replaces the network, ``clock`` times pacing and backoff, ``paces`` the pace of each
    endpoint (``pace.UNPACED`` for a rehearsal market), ``jitter`` (0 to 1) spreads its retries. Raises
    ConfigError for a ``base_url`` that is none.
    """

    def __init__(
        self,
        key: Secret | None,
        *,
        base_url: str = BASE_URL,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        user_agent: str = f"choline/{__version__}",
        paces: dict[str, Pace] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._key = key
        self._clock = clock or SystemClock()
        self._wire = Wire(base_url, key, transport, user_agent)
        self._calls = Calls(
            self._wire, Pacer(self._clock, PACES if paces is None else paces), self._clock, key, jitter
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._wire.close()

    # offers

    async def search(self, query: Query, count: Callable[[], object] = lambda: None) -> OfferPage:
        """One page of offers, filtered again here. ``count`` is called before every request to the market
        (a lost one is made again), which is not made when it raises. Raises QuotaSpent when the day's
        searches are spent."""

        def read(reply: Reply) -> OfferPage:
            return read_page(reply.body, query, self._clock.time())

        page: OfferPage = await self._calls.repeat(
            "search", "POST", "/api/v0/bundles/", body=query.to_filters(), read=read, count=count
        )
        return page

    async def gpu_names(self) -> tuple[str, ...]:
        """Every GPU name the market knows now. Needs no key."""
        body = await self._calls.repeat("gpu names", "GET", "/api/v0/gpu_names/unique/", auth=False)
        names = body.get("gpu_names") if isinstance(body, dict) else None
        if not isinstance(names, list):
            raise MarketDown("the market's list of GPU names is malformed")
        return tuple(dict.fromkeys(n for n in names if isinstance(n, str) and 0 < len(n) <= 100))

    # renting

    async def may_rent(self) -> None:
        """Return when ``rent`` would send its request at once: what is decided before its turn has come may
        be out of date by then. Raises RateLimited."""
        await self._calls.turn("rent")

    async def rent(self, offer_id: int, request: RentRequest) -> Rented:
        """Rent an offer: exactly one request, never repeated here.

        Raises OfferGone, NoCredit, SpendLimit and the others for a clear refusal. A refusal that made a
        contract all the same (a bid too low creates one, stopped) has it in ``details['contract']``: it
        bills and must be destroyed. Raises MarketDown with ``details['sent']`` False when nothing reached
        the market, RateLimited when it did not take the request, and UnknownOutcome for everything else:
        look for the label in the listing before acting again.
        """
        _check_id(offer_id)
        self._need_key()
        body = request.body()
        try:
            reply = await self._calls.raw("rent", "PUT", f"/api/v0/asks/{offer_id}/", body=body)
        except Lost as lost:
            if not lost.sent:
                raise MarketDown(f"the market cannot be reached: {lost.what}", sent=False) from None
            raise _unknown_rent(offer_id, lost.what) from None
        return self._rented(offer_id, request, reply)

    def _rented(self, offer_id: int, request: RentRequest, reply: Reply) -> Rented:
        answer = parse(reply)
        contract = contract_in(answer)
        facts: dict[str, Any] = {} if contract is None else {"contract": contract}
        clear = reply.status == 429 or (isinstance(answer, dict) and reply.status not in (408, 425))
        if not clear or reply.status >= 500 or 300 <= reply.status < 400:
            words = "is cut or malformed" if answer is MALFORMED else "says neither yes nor no"
            raise _unknown_rent(offer_id, f"status {reply.status}, the answer {words}", **facts)
        try:
            self._calls.answer("rent", reply, hide=request.secrets())
        except MarketDown as error:
            raise _unknown_rent(offer_id, error.message, **facts) from None
        except CholineError as error:
            error.details.update(offer=offer_id, **facts)
            if isinstance(error, NotFound):
                raise BadRequest(error.message, hint=error.hint, **error.details) from None
            raise
        if contract is None:
            raise _unknown_rent(offer_id, "the market accepted but named no contract")
        return Rented(contract, _secret(answer.get("instance_api_key")))

    # contracts

    async def listing(self) -> Listing:
        """Every contract of the account. ``seen_at`` is when the first page was asked for: what happened
        later may be missing. Raises MarketDown when the pages do not make one whole listing."""
        self._need_key()
        seen_at = self._clock.time()
        return Listing(await read_all(self._calls), seen_at)

    async def instance(self, contract_id: int) -> Instance | None:
        """One contract; None when the market says that it does not exist."""
        _check_id(contract_id)
        self._need_key()
        path = f"/api/v0/instances/{contract_id}/"
        try:
            body = await self._calls.repeat("instance", "GET", path, params={"owner": "me"})
        except NotFound:
            return None
        if not isinstance(body, dict) or "instances" not in body:
            raise MarketDown("the market's answer about a contract has none")
        row = body["instances"]
        if row is None:
            return None
        found = salvage(Instance, row, vital=VITAL)
        if found is None or found.id != contract_id:
            raise MarketDown("the market's answer about a contract cannot be read")
        return found

    async def start(self, contract_id: int) -> None:
        """Raises OfferGone (``details['queued']``) when its GPUs are taken: the start is queued, and may
        happen and bill later, until ``stop`` takes it back. Raises NotFound, NoCredit, UnknownOutcome."""
        path = self._path(contract_id)
        what = f"starting contract {contract_id}"
        await self._calls.once("state", "PUT", path, body={"state": "running"}, what=what)

    async def stop(self, contract_id: int) -> None:
        """GPUs off, disk kept and billed. May be repeated. Raises NotFound."""
        await self._calls.repeat("state", "PUT", self._path(contract_id), body={"state": "stopped"})

    async def label(self, contract_id: int, label: str) -> None:
        """May be repeated. Raises NotFound."""
        if len(label) > 1024:
            raise BadRequest("a label has at most 1024 characters")
        await self._calls.repeat("state", "PUT", self._path(contract_id), body={"label": label})

    async def change_bid(self, contract_id: int, price: float) -> None:
        """``price``: $/h without disk. Raises NotFound, UnknownOutcome."""
        path = self._path(contract_id, "bid_price/")
        body = {"client_id": "me", "price": price}
        await self._calls.once(
            "bid", "PUT", path, body=body, what=f"changing the bid of contract {contract_id}"
        )

    async def reboot(self, contract_id: int) -> None:
        """Stop and start the container without giving up its GPUs. Raises NotFound, UnknownOutcome."""
        path = self._path(contract_id, "reboot/")
        await self._calls.once("reboot", "PUT", path, body={}, what=f"rebooting contract {contract_id}")

    async def destroy(self, contract_id: int) -> bool:
        """End a contract and its disk. True: accepted, or gone already; that it is gone must be seen in
        the listing. May be repeated."""
        try:
            await self._calls.repeat("destroy", "DELETE", self._path(contract_id), body={})
        except NotFound:
            return True
        return True

    async def logs(self, contract_id: int, tail: int = 1000, daemon: bool = False) -> str:
        """The last ``tail`` lines of the container's output, or with ``daemon`` of the host's log about
        it: a snapshot, at most 8 MiB. Foreign text. Raises NotFound, or MarketDown when it does not come."""
        body = {"tail": str(max(1, tail)), **({"daemon_logs": "true"} if daemon else {})}
        answer = await self._calls.repeat("logs", "PUT", self._path(contract_id, "request_logs/"), body=body)
        url = answer.get("result_url") if isinstance(answer, dict) else None
        if not isinstance(url, str):
            raise MarketDown("the market did not say where the log is")
        deadline = self._clock.monotonic() + LOG_WAIT_S
        why = "it is not there yet"
        while self._clock.monotonic() < deadline:
            # the upload takes a while: until then the address answers 403 or 404
            await self._clock.sleep(LOG_POLL_S)
            try:
                reply = await self._wire.fetch(url, MAX_LOG)
            except Lost as lost:
                why = lost.what
                if not lost.sent and "cannot be used" in lost.what:
                    break
                continue
            if reply.status == 200:
                return reply.body.decode("utf-8", "replace")
            why = f"status {reply.status}"
        raise MarketDown(f"the log of contract {contract_id} did not come: {why}")

    async def copier(self, contract_id: int) -> Copier:
        """Where the host's copier answers, which reaches the disk of a contract, stopped or not: the question
        the official client's ``copy`` begins with. The market copies nothing by itself when one end is here,
        so it may be repeated. Raises NotFound."""
        body = {
            "client_id": "me",
            "src_id": f"C.{contract_id}",
            "dst_id": "local",
            "src_path": "/workspace/",
            "dst_path": "/results",  # where it goes here is nobody's business
        }
        self._path(contract_id)
        answer = await self._calls.repeat("copy", "PUT", "/api/v0/commands/copy_direct/", body=body)
        found = answer if isinstance(answer, dict) else {}
        host, port = found.get("src_addr"), _port(found.get("src_port"))
        if not isinstance(host, str) or not 0 < len(host) <= 255 or port is None:
            raise MarketDown("the market did not say where the host's copier answers")
        return Copier(host, port)

    # the account

    async def account(self) -> Account:
        """Who the key belongs to, and what there is to spend. The answer's copy of the key is dropped."""
        self._need_key()
        found = salvage(Account, await self._calls.repeat("account", "GET", "/api/v0/users/current"))
        if found is None:
            raise MarketDown("the market's answer about the account cannot be read")
        return found

    async def ssh_keys(self) -> tuple[SshKey, ...]:
        """The account's public keys: every new contract accepts them."""
        self._need_key()
        try:
            return parse_keys(await self._calls.repeat("ssh", "GET", "/api/v0/ssh/"))
        except NotFound:
            return ()

    async def add_ssh_key(self, public: str) -> bool:
        """Register an OpenSSH public key line with the account; looks first. True: it was added now.
        Raises UnknownOutcome; calling again is harmless."""
        line = public_key(public)
        if any(same_key(line, each.key) for each in await self.ssh_keys()):
            return False
        await self._calls.once(
            "ssh", "POST", "/api/v0/ssh/", body={"ssh_key": line}, what="registering an SSH key"
        )
        return True

    async def attach_ssh_key(self, contract_id: int, public: str) -> None:
        """Let a running contract accept a key; one it has already is no error. Raises NotFound,
        UnknownOutcome; calling again is harmless."""
        body = {"ssh_key": public_key(public)}
        path = f"{self._path(contract_id)}ssh/"
        try:
            what = f"attaching a key to contract {contract_id}"
            await self._calls.once("attach", "POST", path, body=body, what=what)
        except BadRequest as error:
            if not any(word in error.message.lower() for word in ("already", "duplicate", "exists")):
                raise

    async def key_check(self) -> KeyReport:
        """What the key may do, found out by reading only. Raises MarketDown when the market does not
        answer at all; a bad key is a report, not an error."""
        return await check_key(self._calls, self._clock, self._key is not None)

    def _need_key(self) -> None:
        if self._key is None:
            raise BadKey("no key for the market", hint="Set VAST_API_KEY, or rehearse: 'choline demo'.")

    def _path(self, contract_id: int, verb: str = "") -> str:
        _check_id(contract_id)
        self._need_key()
        return f"/api/v0/instances/{verb}{contract_id}/"


def _check_id(number: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_ID:
        raise BadRequest(f"{number!r} is not an id of the market")


def _port(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 5:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 1 <= value <= 65535 else None


def _secret(text: object) -> Secret | None:
    try:
        return Secret(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _unknown_rent(offer_id: int, why: str, **facts: Any) -> UnknownOutcome:
    return UnknownOutcome(
        f"it is not known whether offer {offer_id} was rented: {why}",
        hint="choline looks for the rental's label in the listing before it acts again.",
        offer=offer_id,
        **facts,
    )
