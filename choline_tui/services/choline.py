"""``Choline``: everything a screen or a command does, as one async object."""

import base64
import os
import shlex
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import EngineError, NotFound
from choline_tui.model.request import PlanCard, RunRequest
from choline_tui.model.run import Attempt, Event, Rental, RentalState, Run
from choline_tui.services.code import CodeServices
from choline_tui.services.connection import Connection
from choline_tui.services.launch import connect
from choline_tui.services.market import MarketServices
from choline_tui.services.secrets import SecretServices
from choline_tui.services.verbs import Verbs
from choline_tui.store import Store

if TYPE_CHECKING:
    from choline_tui.config import Shown

__all__ = ["Choline", "Followed", "Money", "Offers", "RunView", "SshAccess", "money_of"]

Until = Literal["ended", "gone"]
DEATHS = 5
"""engines in a row that may die before one tells anything"""


@dataclass(frozen=True)
class RunView:
    """A run with everything known of it."""

    run: Run
    attempts: list[Attempt]
    rentals: list[Rental]
    had: list[Rental] = field(default_factory=list)
    """those that went on to another run, and bill for that one"""

    @property
    def gone(self) -> bool:
        """Ended, and nothing of it bills."""
        return not self.run.live and not any(r.live for r in self.rentals)

    def cost(self, now: float) -> float:
        """$ so far, from price and time (bytes not counted)."""
        return sum(r.cost_of(self.run.id, now) for r in (*self.had, *self.rentals))

    def per_hour(self) -> float:
        """$/h now: what its rentals that may bill cost."""
        return sum(
            (r.disk_per_hour if r.stopped_since is not None else (r.price or r.offer_price))
            for r in self.rentals
            if r.may_bill
        )

    @property
    def rental(self) -> Rental | None:
        """The newest one."""
        return self.rentals[-1] if self.rentals else None


@dataclass(frozen=True)
class Money:
    """Billing now and spent, as far as this home knows."""

    per_hour: float
    """$/h of all that may bill, the unknown at the price of their offers"""
    spent: float
    """$ of all runs so far, from price and time (bytes not counted)"""
    rentals: int
    """how many may bill"""
    unknown: int
    """how many of them may or may not exist: a rent call without a clear answer"""
    releasing: int = 0
    """how many of them are being destroyed, not verified gone yet"""
    today: float = 0.0
    """$ since the last local midnight, as far as price and time tell"""


class Closed(NamedTuple):
    """What a rental that is gone has cost: it costs nothing more."""

    rental: Rental
    midnight: float
    spent: float
    today: float


def money_of(
    rentals: Iterable[Rental], now: float, midnight: float, closed: dict[str, Closed] | None = None
) -> Money:
    """Of all rentals of a home, at ``now``; ``midnight``: where today began (both epoch seconds).
    ``closed``: remembers from one call to the next what the gone ones cost."""
    closed = {} if closed is None else closed
    rate = spent = today = 0.0
    billing = unknown = releasing = 0
    for each in rentals:
        known = closed.get(each.id)
        if known is None or known.rental is not each or known.midnight != midnight:
            known = None
            if each.gone is not None and not each.may_bill:
                known = Closed(each, midnight, each.cost_until(now), each.cost_since(midnight, now))
                closed[each.id] = known
        if known is not None:
            spent += known.spent
            today += known.today
            continue
        spent += each.cost_until(now)
        today += each.cost_since(midnight, now)
        if each.may_bill:
            billing += 1
            rate += each.disk_per_hour if each.stopped_since is not None else each.price or each.offer_price
        unknown += each.state is RentalState.UNKNOWN
        releasing += each.state is RentalState.RELEASING
    return Money(rate, spent, billing, unknown, releasing=releasing, today=today)


@dataclass(frozen=True)
class Offers:
    """``rows``: fields of ``Offer`` as plain values, each with ``price`` ($/h at ``disk_gb``)."""

    rows: list[dict[str, Any]]
    seen_at: float
    complete: bool
    disk_gb: float
    type: str
    warnings: list[str]
    used_today: int
    ration: int
    stale: str = ""
    """why this is not fresh; '' when it is"""


@dataclass(frozen=True)
class SshAccess:
    """How to reach a run's machine with OpenSSH."""

    config: str
    """an OpenSSH configuration file of its own, with our key and the pinned host key"""
    target: str
    """the machine's name in it"""
    host: str
    port: int
    user: str
    directory: str
    """the run's directory on it, relative to the user's home"""
    home: str = ""
    """the user's home directory, '' for a machine that was not asked"""
    here: bool = False
    """it is this computer, in a home directory of its own: nothing goes over SSH"""

    @property
    def absolute(self) -> str:
        """The run's directory, absolute."""
        usual = "/root" if self.user in ("root", "") else f"/home/{self.user}"
        return f"{self.home or usual}/{self.directory}"

    def command(self, *words: str, tty: bool = False) -> list[str]:
        if self.here:
            return ["env", f"HOME={self.home}", "sh", "-c", "cd && " + " ".join(words)]
        return ["ssh", "-F", self.config, *(["-t"] if tty else []), self.target, *words]

    def shell(self) -> list[str]:
        """An interactive shell in the run's source directory."""
        src = shlex.quote(f"{self.directory}/src")
        return self.command(f'cd {src} 2>/dev/null; exec "${{SHELL:-/bin/sh}}" -l', tty=True)


@dataclass(frozen=True)
class Followed:
    """One thing that happened. Exactly one of the fields is set."""

    event: Event | None = None
    log: bytes = b""
    source: str = ""
    attempt: int = 0
    progress: dict[str, Any] | None = None
    run: Run | None = None


@dataclass
class Choline(MarketServices, CodeServices, SecretServices, Verbs):
    """Use as ``async with Choline() as choline``.

    ``home``: as CHOLINE_HOME. ``environ``: where VAST_API_KEY and the like are looked for.
    ``start_engine``: start the engine when none runs; else EngineError is raised then.
    Methods raise the errors of ``choline_tui.kernel.errors``; money is $ or $/h, times are epoch seconds
    (UTC), durations seconds, disk GB.
    """

    home: Path | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    start_engine: bool = True
    readonly: bool = False
    """ask the engine to refuse whatever spends or destroys"""
    _connection: Connection | None = None
    _store: Store | None = None

    def __post_init__(self) -> None:
        self.paths = Paths(self.home, self.environ)

    async def __aenter__(self) -> "Choline":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
        if self._store is not None:
            self._store.close()
            self._store = None

    async def _engine(self) -> Connection:
        if self._connection is None or self._connection.closed:
            if self._connection is not None:
                await self._connection.close()
            self._connection = await connect(self.paths, self.environ, start=self.start_engine)
        self._connection.readonly = self.readonly
        return self._connection

    async def _call(self, method: str, **params: Any) -> Any:
        return await (await self._engine()).call(method, **params)

    # -------------------------------------------------------------------------- queries: the store

    @property
    def store(self) -> Store:
        """Read only. Raises NotFound when this home has no store yet."""
        if self._store is None:
            if not self.paths.store.exists():
                raise NotFound("this home has no runs yet", hint="'choline demo' shows what a run is.")
            self._store = Store(self.paths.store, readonly=True)
        return self._store

    def runs(
        self, *, states: set[str] | None = None, name: str = "", since: float = 0.0, limit: int = -1
    ) -> list[RunView]:
        """Newest first. ``states``: of the run, its outcome, or ``live``, ``billing``; with ``archived``
        those that were taken out of the lists, without it none of them but what bills all the same;
        ``name``: a part of name, note or id; ``since``: epoch seconds; ``limit``: at most so many, -1:
        all."""
        if not self.paths.store.exists():
            return []
        found: list[RunView] = []
        billing = {rental.run for rental in self.store.rentals(live=True)}
        for run in self.store.runs():
            away = run.archived is not None
            if away != ("archived" in (states or ())) and not (away and run.id in billing):
                continue
            if run.created < since or (
                name and name.lower() not in f"{run.id} {run.plan.name} {run.plan.note}".lower()
            ):
                continue
            view = self._view(run)
            if states and not self._in_states(view, states):
                continue
            found.append(view)
            if 0 <= limit <= len(found):
                break
        return found

    @staticmethod
    def _in_states(view: RunView, states: set[str]) -> bool:
        mine = {str(view.run.state), str(view.run.outcome or "")}
        states = states - {"archived"} or mine
        if view.run.live:
            mine.add("live")
        if any(r.may_bill for r in view.rentals):
            mine.add("billing")
        return bool(mine & states)

    def _view(self, run: Run) -> RunView:
        store = self.store
        return RunView(run, store.attempts(run.id), store.rentals(run=run.id), store.rentals_had(run.id))

    def show(self, run: str) -> RunView:
        """A run by id, beginning of an id, or name. Raises NotFound, UsageError when several begin so."""
        return self._view(self.store.find_run(run))

    def events(self, run: str, *, after: int = 0) -> list[Event]:
        """What happened to a run, oldest first, after the event with that ``seq``. Raises as ``show``."""
        return self.store.events(run=self.store.find_run(run).id, after=after)

    def log_file(self, run: str, attempt: int, source: str) -> Path:
        """The log as it came home (raw bytes: make it inert with ``kernel.text`` before drawing it)."""
        return self.paths.run_dir(run) / f"attempt-{attempt}" / f"{source}.log"

    def money(self, now: float) -> Money:
        """What bills and what was spent until ``now`` (epoch seconds), as the store has it."""
        if not self.paths.store.exists():
            return Money(0.0, 0.0, 0, 0)
        from choline_tui.services.feed import day_start

        return money_of(self.store.rentals(), now, day_start(now))

    # ------------------------------------------------------------------------ commands: the engine

    async def offers(
        self,
        query: str = "",
        *,
        gpu: str = "",
        order: str = "",
        type: str = "",
        disk: float | None = None,
        limit: int = 0,
        everything: bool = False,
        no_default: bool = False,
    ) -> Offers:
        """Search the market. ``disk``: GB that prices are for; ``everything``: all pages (spends several
        searches of the ration).

        Raises QueryError for a query that cannot be read, QuotaSpent when the ration is spent, and other
        kinds of VastError as the market answers or does not.
        """
        answer = await self._call(
            "offers", query=query, gpu=gpu, order=order, type=type, disk=disk, limit=limit,
            everything=everything, no_default=no_default, project=str(Path.cwd()),
        )  # fmt: skip
        return Offers(**answer)

    def request(self, **fields: Any) -> RunRequest:
        """A request for ``plan`` and ``start``; ``project`` is the current directory unless given.

        Money in $/h, disk in GB, durations in seconds. Raises ``pydantic.ValidationError`` for a field
        there is not or a value that cannot be.
        """
        return RunRequest(**{"project": str(Path.cwd()), **fields})

    async def plan(self, request: RunRequest) -> PlanCard:
        """What ``start`` would do; spends nothing. Raises as ``start`` does."""
        card = PlanCard.model_validate(await self._call("plan", request=request.model_dump()))
        return await self.with_secrets(request, card)

    async def start(self, request: RunRequest) -> Run:
        """Freeze plan and code, and start the run. It goes on when this program ends.

        Raises UsageError (ProjectError, QueryError, ConfigError) for a request or project that cannot be,
        NoOffer when no offer fits, BadKey for the key, MarketDown when the market cannot be reached.
        """
        secrets = await self.handed_over(request)
        return Run.model_validate(await self._call("start", request=request.model_dump(), **secrets))

    async def stop(self, run: str, *, drop_results: bool = False, reason: str = "stopped by you") -> Run:
        """End the run, bring its results home, destroy its rental. Returns at once; ``wait`` waits.
        ``drop_results``: give up what is not home. Raises NotFound."""
        return Run.model_validate(await self._call("stop", run=run, drop_results=drop_results, reason=reason))

    async def follow(
        self,
        run: str,
        *,
        history: bool = True,
        logs: bool = True,
        until: Until = "gone",
        after: int | None = None,
        offsets: Mapping[str, int] | None = None,
    ) -> AsyncGenerator[Followed, None]:
        """Events, log bytes, progress and states of a run as they come; goes on over engine restarts.

        ``until``: the run has ended, or (gone) nothing of it bills either. ``after``: events after the one
        with that ``seq``, whatever ``history`` says. ``offsets``: bytes of logs (``1/run``: attempt and
        source) that are known already. Raises NotFound for a run there is not, EngineError for an engine
        that cannot be had or that ends again and again.
        """
        if after is None:
            after = 0 if history else max((e.seq or 0 for e in self.events(run)), default=0)
        offsets = dict(offsets or {})
        deaths = 0
        while True:
            engine = await self._engine()
            try:
                stream = engine.stream(
                    "follow", run=run, after=after, logs=logs, offsets=offsets, until=until
                )
                async for item in stream:
                    deaths = 0
                    if "event" in item:
                        event = Event.model_validate(item["event"])
                        after = max(after, event.seq or 0)
                        yield Followed(event=event)
                    elif "log" in item:
                        data = base64.b64decode(item["log"])
                        offsets[f"{item['attempt']}/{item['source']}"] = item["offset"] + len(data)
                        yield Followed(log=data, source=item["source"], attempt=item["attempt"])
                    elif "progress" in item:
                        yield Followed(progress=item["progress"])
                    elif "run" in item:
                        yield Followed(run=Run.model_validate(item["run"]))
                return
            except EngineError:
                # an engine that is there and answers with an error will do so again
                deaths += 1
                if not self.start_engine or not engine.closed or deaths > DEATHS:
                    raise
                # it died: it is started again, and the run goes on where it was

    async def wait(self, run: str, *, until: Until = "gone") -> Run:
        """Wait until the run has ended (and, with ``gone``, nothing of it bills), without a limit of time.

        Raises NotFound for a run there is not; EngineError as ``follow``.
        """
        async for _ in self.follow(run, history=False, logs=False, until=until):
            pass
        return Run.model_validate(await self._call("run", run=run))

    async def pull(self, run: str) -> dict[str, Any]:
        """Bring results home now: {"into", "files", "bytes", "complete"}, and "unfinished": how many files
        were still being written. From a machine that stands, or whose SSH is closed, by its host's copier:
        "copied" then says why. Raises NotFound; RemoteError or VastError when neither gives them."""
        answer: dict[str, Any] = await self._call("pull", run=run)
        return answer

    async def container_log(self, run: str, *, daemon: bool = False) -> str:
        """What the market has of the container's own log (``daemon``: of its making): foreign text."""
        return str(await self._call("container_log", run=run, daemon=daemon))

    async def ssh(self, run: str) -> SshAccess:
        """How OpenSSH reaches the run's machine. Raises NotFound when it has none that answers."""
        return SshAccess(**await self._call("ssh", run=run))

    async def rentals(self) -> list[dict[str, Any]]:
        """Everything the account has on the market, and ours that are not gone: whose it is, what it costs.

        Each: {rental, run, contract, label, whose: ours|other|orphan, state, status, price, gpu, since,
        cost, keep_until, reason}. Prices in $/h, cost in $, times in epoch seconds. A row has ``trouble``
        when the market's listing could not be had. Raises the market's error rather than say that there is
        nothing.
        """
        rows: list[dict[str, Any]] = await self._call("rentals")
        if not rows:
            # an empty answer counts only when the market answers: unknown is not none
            await self.account()
        return rows

    async def destroy(self, target: str, *, drop_results: bool = False) -> dict[str, Any]:
        """Destroy a rental that belongs to no live run: a held one, or an orphan by contract id.

        Raises NotFound; UsageError when a live run is on it, when its results are not home (and not
        ``drop_results``), or when it is not of this home.
        """
        answer: dict[str, Any] = await self._call("destroy", target=target, drop_results=drop_results)
        return answer

    async def account(self) -> dict[str, Any]:
        """The market's account, credit in $. Raises VastError."""
        answer: dict[str, Any] = await self._call("account")
        return answer

    async def key_check(self) -> dict[str, Any]:
        """What the key may do: {valid, scopes, needed, missing, unneeded, advice, account}."""
        answer: dict[str, Any] = await self._call("key_check")
        return answer

    def settings(self) -> "list[Shown]":
        """Every setting of this home, what it is and where it comes from; a key is masked. Raises
        ConfigError for a file that is wrong."""
        from choline_tui.config import load, show

        return show(load(self.paths, self.environ))

    def change_setting(self, key: str, text: str | None) -> None:
        """Write a setting as a person types it; None: take it out, so that its default holds. Raises
        ConfigError when it is not one; nothing is written then."""
        from choline_tui.config import set_value, unset_value

        if text is None:
            unset_value(self.paths, key)
        else:
            set_value(self.paths, key, text)

    async def engine_status(self) -> dict[str, Any]:
        """Raises EngineError when none runs (with ``start_engine=False``)."""
        answer: dict[str, Any] = await self._call("hello")
        return answer

    async def engine_stop(self) -> None:
        """The engine ends; runs on machines go on, guarded by lease and deadline."""
        await self._call("engine_stop")
