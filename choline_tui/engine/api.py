"""What clients may ask of the engine: the methods behind the socket."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from choline_tui import __version__
from choline_tui.config.home import load
from choline_tui.config.paths import Paths
from choline_tui.config.project import find_project, load_project
from choline_tui.engine.acquire import rehearse
from choline_tui.engine.checked import checked, read_request
from choline_tui.engine.code import CodeMethods, freeze
from choline_tui.engine.copied import pulled
from choline_tui.engine.core import Engine
from choline_tui.engine.environment import tight_disk
from choline_tui.engine.estimate import Amount, amount_of
from choline_tui.engine.follow import follow
from choline_tui.engine.gate import Gate
from choline_tui.engine.listing import market_rows
from choline_tui.engine.offers import FRESH_FOR
from choline_tui.engine.planning import Draft, cap_from, draft, new_id, when_unreachable
from choline_tui.engine.removal import check_code_is_there, remove, sweep_objects
from choline_tui.engine.reuse import check_free, draft_on, find_kept, hand_over
from choline_tui.engine.secrets import give, hidden, settled_plan
from choline_tui.engine.server import Method
from choline_tui.kernel.errors import NotFound, RemoteError, StoreError, UsageError, VastError
from choline_tui.kernel.layout import run_dir
from choline_tui.kernel.source import is_source
from choline_tui.model.choose import plan_price
from choline_tui.model.code import CodeState
from choline_tui.model.here import HERE, is_here, machine_here
from choline_tui.model.label import read_label
from choline_tui.model.moving import moving
from choline_tui.model.offer import Offer, OfferPage
from choline_tui.model.query import gpu_spec, parse_query
from choline_tui.model.request import PlanCard, RunRequest
from choline_tui.model.run import Plan, Rental, RentalState, Run, RunState
from choline_tui.places.vast import VastPlace

__all__ = ["ACTS", "READS", "Api"]

READS = frozenset(
    (
        "hello", "offers", "offers_stream", "plan", "run", "follow", "container_log", "ssh", "rentals",
        "account", "key_check", "checkout", "code_diff",
    )
)  # fmt: skip
"""methods that change nothing on the market, on a machine or in a run: a read-only client may ask them"""
ACTS = frozenset(("start", "stop", "pull", "push", "destroy", "rm", "give_secrets", "engine_stop"))
"""all others; every method stands in one of the two"""

REFUSED_FOR = 7 * 86400.0
Disk = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]


@dataclass(frozen=True)
class _Chosen:
    """Where a run would execute: under an offer, or on a rental that was kept."""

    made: Draft
    plan: Plan
    page: OfferPage | None = None
    offers: Sequence[Offer] = ()
    rental: Rental | None = None

    def facts(self) -> tuple[dict[str, Any], list[str]]:
        """What the card says of it, and what it warns of."""
        plan, rental = self.plan, self.rental
        if plan.place == HERE:
            return {"price": 0.0}, []
        if rental is not None:
            return {
                "rental": rental.model_dump(mode="json", exclude={"seen"}),
                "price": rental.price,
                "disk_per_day": rental.disk_per_hour * 24,
            }, []
        assert self.page is not None
        best, warnings = self.offers[0], []
        disk_hour, priced = best.disk_per_hour(plan.disk_gb), plan_price(best, plan)
        if best.duration is not None and best.duration < plan.max_life_s:
            warnings.append(f"the host offers it for {best.duration / 86400:.1f} more days only")
        return {
            "offer": best.model_dump(mode="json", exclude_none=True),
            "price": priced[0] if priced else None,
            "bid": priced[1] if priced else None,
            "offers": len(self.offers),
            "offers_seen": len(self.page.offers),
            "complete": self.page.complete,
            "disk_per_day": disk_hour * 24 if disk_hour is not None else None,
        }, warnings

    def moving(self, amount: Amount, code: int) -> dict[str, Any]:
        """What of the card is about its data."""
        told = {
            "data_bytes": amount.local,
            "fetch_bytes": amount.fetched,
            "fetch_unknown": amount.unknown,
        }
        if not self.offers:
            return told
        took = moving(self.offers[0], amount.local + code, amount.fetched)
        return {**told, "send_s": took.send_s, "fetch_s": took.fetch_s, "traffic": took.traffic}


Secrets = Annotated[dict[str, str], Field(max_length=100)]


class Api:
    """``identity``: what tells clients which market and key this engine has (url, key fingerprint).
    ``ssh_config``: (configuration file, name in it) by which OpenSSH reaches a rental."""

    def __init__(
        self,
        engine: Engine,
        place: VastPlace,
        paths: Paths,
        environ: Mapping[str, str],
        identity: Mapping[str, str],
        ssh_config: Callable[[Rental], tuple[str, str]],
        stop: Callable[[], None],
        name_machines: Callable[[], None] = lambda: None,
    ) -> None:
        self.engine = engine
        self.ctx = engine.ctx
        self.place = place
        self.paths = paths
        self.environ = environ
        self.identity = dict(identity)
        self._ssh_config = ssh_config
        self._stop = stop
        self._name_machines = name_machines
        self._freezing = Gate()
        self._code_methods = CodeMethods(self.ctx, paths, self._freezing, self._reachable)
        self._started = self.ctx.clock.time()

    def methods(self) -> dict[str, Method]:
        names = (
            "hello", "offers", "offers_stream", "plan", "start", "stop", "run", "follow", "pull",
            "container_log", "ssh", "rentals", "destroy", "rm", "account", "key_check", "give_secrets",
            "engine_stop",
        )  # fmt: skip
        own = {name: getattr(self, name) for name in names}
        return {name: checked(name, method) for name, method in (own | self._code_methods.methods()).items()}

    # --------------------------------------------------------------------------------------- engine

    async def hello(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "pid": os.getpid(),
            "home": self.ctx.home,
            "started": self._started,
            "busy": self.engine.busy,
            "live_runs": len(self.ctx.store.runs(live=True)),
            "searches_today": self.ctx.book.used_today(),
            "ration": self.ctx.book.ration,
            **self.identity,
        }

    async def engine_stop(self) -> None:
        asyncio.get_running_loop().call_later(0.05, self._stop)

    async def account(self) -> dict[str, Any]:
        return (await self.place.client.account()).model_dump(mode="json")

    async def key_check(self) -> dict[str, Any]:
        report = await self.place.client.key_check()
        return {
            "valid": report.valid,
            "scopes": dict(report.scopes),
            "needed": list(report.needed),
            "missing": list(report.missing),
            "unneeded": list(report.unneeded),
            "advice": list(report.advice),
            "account": report.account.model_dump(mode="json") if report.account else None,
        }

    # --------------------------------------------------------------------------------------- offers

    async def offers(
        self,
        query: str = "",
        gpu: str = "",
        order: str = "",
        type: str = "",
        disk: Disk | None = None,
        limit: Annotated[int, Field(ge=0)] = 0,
        everything: bool = False,
        no_default: bool = False,
        project: str = "",
    ) -> dict[str, Any]:
        found = find_project(Path(project)) if project else None
        settings = load(self.paths, self.environ, load_project(found) if found else None).settings
        asked = parse_query(
            query,
            order=order or "dph_total",
            type=type or settings.run.type,
            disk_gb=disk if disk is not None else settings.run.disk,
            defaults=not no_default,
        )
        if gpu:
            asked = asked.with_conditions(*gpu_spec(gpu))
        stale = ""
        book = self.ctx.book
        try:
            page = await (book.everything(asked) if everything else book.search(asked))
        except VastError as error:
            old = book.cached(asked)
            if old is None:
                raise
            page, stale = old, error.message
        rows = [self._row(o, page.disk_gb) for o in (page.offers[:limit] if limit else page.offers)]
        return {
            "rows": rows,
            "seen_at": page.seen_at,
            "complete": page.complete and not (limit and len(page.offers) > limit),
            "disk_gb": page.disk_gb,
            "type": page.type,
            "warnings": list(asked.warnings),
            "used_today": book.used_today(),
            "ration": book.ration,
            "stale": stale,
        }

    async def offers_stream(
        self,
        query: str = "",
        gpu: str = "",
        type: str = "",
        disk: Disk | None = None,
        deeper: bool = True,
        fresh: Annotated[float, Field(ge=0, le=86400)] = FRESH_FOR,
        project: str = "",
    ) -> AsyncIterator[dict[str, Any]]:
        """Offers as they come: from memory, then fresh, then page after page (``OfferBook.stream``)."""
        found = find_project(Path(project)) if project else None
        settings = load(self.paths, self.environ, load_project(found) if found else None).settings
        asked = parse_query(
            query,
            type=type or settings.run.type,
            disk_gb=disk if disk is not None else settings.run.disk,
        )
        if gpu:
            asked = asked.with_conditions(*gpu_spec(gpu))
        book = self.ctx.book
        async for seen in book.stream(asked, fresh=fresh, deeper=deeper):
            yield {
                "rows": [self._row(o, asked.disk_gb) for o in seen.page.offers],
                "gone": list(seen.gone),
                "known": len(seen.known.offers),
                "seen_at": seen.known.seen_at,
                "complete": seen.known.complete,
                "cached": seen.cached,
                "last": seen.last,
                "disk_gb": asked.disk_gb,
                "type": asked.type,
                "used_today": book.used_today(),
                "ration": book.ration,
                "trouble": seen.trouble.to_wire() if seen.trouble is not None else None,
            }

    @staticmethod
    def _row(offer: Any, disk_gb: float) -> dict[str, Any]:
        row: dict[str, Any] = offer.model_dump(mode="json", exclude_none=True)
        row["price"] = offer.price_at(disk_gb)
        return row

    # ----------------------------------------------------------------------------------------- runs

    def _like(self, request: RunRequest) -> Run | None:
        return self.ctx.store.find_run(request.like) if request.like else None

    def _repeated(self, request: RunRequest) -> tuple[Run | None, Rental | None]:
        """The run that is repeated, and what it had last."""
        like = self._like(request)
        if like is None:
            return None, None
        store = self.ctx.store
        rentals = [*store.rentals_had(like.id), *store.rentals(run=like.id)]
        return like, rentals[-1] if rentals else None

    async def _choose(self, request: RunRequest) -> "_Chosen":
        if request.on and request.place == HERE:
            raise UsageError("--on is another machine than this computer", hint="Leave one of them out.")
        if request.on:
            rental = find_kept(self.ctx.store, request.on)
            owner = check_free(self.ctx.store, rental, self.ctx.clock.time())
            made = await asyncio.to_thread(
                draft_on, request, self.paths, self.environ, rental, owner, self._like(request)
            )
            return _Chosen(made, made.plan, rental=rental)
        made, _settings = await asyncio.to_thread(
            draft, request, self.paths, self.environ, *self._repeated(request)
        )
        if made.plan.place == HERE:
            return _Chosen(made, made.plan)
        await self.place.ready()
        page = None
        if request.offer is not None:
            page = self.ctx.book.named(made.query, request.offer)
        page = page or await self.ctx.book.search(made.query)
        plan, offers = cap_from(made, page, self._refused())
        return _Chosen(made, plan, page, offers)

    def _refused(self) -> set[int]:
        return set(self.ctx.store.refused_machines(self.ctx.clock.time() - REFUSED_FOR))

    async def _code(self, request: RunRequest, made: Draft, into: Path) -> CodeState | None:
        like = self._like(request)
        if (request.commit or request.branch) and request.same_code:
            raise UsageError("the code of a run and that of a commit exclude each other")
        if like is not None and request.same_code:
            check_code_is_there(like)
            return like.code
        return await asyncio.to_thread(
            freeze, request, made.project, made.plan, made.directory, into, self.paths.objects_dir
        )

    async def plan(self, request: dict[str, Any]) -> dict[str, Any]:
        asked = read_request(request)
        chosen = await self._choose(asked)
        made, plan = chosen.made, chosen.plan
        async with self._freezing.shared():
            code = await self._code(asked, made, self.paths.cache_dir / "plan")
        credit: float | None = None
        with contextlib.suppress(VastError):  # the card shows that it is not known
            credit = (await self.place.client.account()).credit
        facts, own_warnings = chosen.facts()
        values, _ = await self.ctx.secrets.of(plan)
        amount = await amount_of(plan, {name: value.reveal() for name, value in values.items()})
        amount.check_disk(plan, code.total_bytes if code else 0)
        warnings = [*made.query.warnings, *(code.warnings if code else ()), *own_warnings, *amount.warnings]
        warnings += tight_disk(plan, (code.total_bytes if code else 0) + amount.local)
        card = PlanCard(
            plan=plan.but(results_into=str(Path(plan.results_into) / "RUN")),
            **facts,
            commit=code.commit if code else "",
            branch=code.branch if code else "",
            clone=code.clone.url if code and code.clone else "",
            dirty=code.dirty_count if code else 0,
            changed_lines=code.changed_lines if code else 0,
            files=code.file_count if code else 0,
            bytes=code.total_bytes if code else 0,
            **chosen.moving(amount, code.total_bytes if code else 0),
            warnings=warnings,
            when_unreachable=when_unreachable(plan),
            credit=credit,
        )
        return card.model_dump(mode="json")

    async def start(
        self,
        request: dict[str, Any],
        secrets: Secrets | None = None,
        places: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """``secrets``: values that the client found, ``places``: where; others are looked up here."""
        asked = read_request(request)
        chosen = await self._choose(asked)
        given = hidden(secrets or {})
        plan = await settled_plan(self.ctx.secrets, chosen.plan, given, places or {})
        local = plan.but(send=[send for send in plan.send if not is_source(send.path)])
        (await amount_of(local, {})).check_disk(plan, 0)
        run_id = new_id(self.ctx.store.run_ids())
        async with self._freezing.shared():
            # until the run is in the store, nothing says that its code is needed
            code = await self._code(asked, chosen.made, self.paths.code_dir(run_id))
            run = self._new(asked, plan, run_id, code)
            self.ctx.secrets.give(run_id, given)
            if chosen.rental is not None:
                await rehearse(self.ctx, run)
                with self.ctx.ledger.batch() as batch:
                    hand_over(batch, self.ctx.store, run, chosen.rental, self.ctx.clock.time())
                self.engine.poke(chosen.rental.run)
            else:
                cap = f"asked for, with a cap of ${run.plan.cap:.4f}/h ({run.plan.disk_gb:g} GB disk)"
                if run.plan.place == HERE:
                    cap = "asked for, on this computer, for nothing"
                with self.ctx.ledger.batch() as batch:
                    batch.add_run(run, cap)
        self.engine.poke(run_id)
        return self.ctx.store.run(run_id).model_dump(mode="json")

    def _new(self, asked: RunRequest, plan: Plan, run_id: str, code: CodeState | None) -> Run:
        plan = plan.but(results_into=str(Path(plan.results_into) / run_id))
        now = self.ctx.clock.time()
        return Run(
            id=run_id,
            plan=plan,
            code=code,
            state=RunState.WAITING,
            created=now,
            updated=now,
            like=self.ctx.store.find_run(asked.like).id if asked.like else None,
        )

    async def rm(
        self,
        runs: Annotated[list[str], Field(min_length=1, max_length=10_000)],
        drop_results: bool = False,
        files: bool = True,
        results: bool = False,
    ) -> list[dict[str, Any]]:
        """Take ended runs out of the lists, with their files and, if asked, their results."""
        async with self._freezing.alone():
            told = await remove(
                self.ctx, self.paths, runs, drop_results=drop_results, files=files, results=results
            )
            if files:
                told[-1]["bytes"] += await sweep_objects(self.ctx, self.paths)
        return told

    async def run(self, run: str) -> dict[str, Any]:
        return self.ctx.store.find_run(run).model_dump(mode="json")

    async def stop(
        self, run: str, drop_results: bool = False, reason: str = "stopped by you"
    ) -> dict[str, Any]:
        found = self.ctx.store.find_run(run)
        if not found.live:
            raise UsageError(
                f"run {found.id} has ended already ({found.outcome})",
                hint="A rental that was kept goes with 'choline destroy'; see 'choline rentals'.",
            )
        text = "asked to stop" + (", results dropped" if drop_results else "")
        found = self.ctx.ledger.run(
            found.id, text, want="stop", stop_reason=reason, drop_results=drop_results or found.drop_results
        )
        self.engine.poke(found.id)
        return found.model_dump(mode="json")

    async def give_secrets(self, run: str, secrets: Secrets) -> dict[str, Any]:
        """Values for a run that waits for them: of an environment, another engine knows nothing."""
        found = self.ctx.store.find_run(run)
        names = give(self.ctx, found, hidden(secrets))
        self.engine.poke(found.id)
        return {"run": found.id, "names": names}

    def follow(
        self,
        run: str,
        after: Annotated[int, Field(ge=0)] = 0,
        logs: bool = True,
        offsets: dict[str, Annotated[int, Field(ge=0, lt=1 << 60)]] | None = None,
        until: Literal["ended", "gone"] = "gone",
    ) -> AsyncIterator[dict[str, Any]]:
        found = self.ctx.store.find_run(run)
        return follow(self.ctx, found.id, after, logs, dict(offsets or {}), until)

    async def pull(self, run: str) -> dict[str, Any]:
        found = self.ctx.store.find_run(run)
        rental = self._reachable(found) or self._standing(found)
        answer = {"into": found.plan.results_into, "complete": found.results_complete}
        if rental is None:
            if not found.live:
                return {**answer, "files": 0, "bytes": 0}
            raise RemoteError(f"run {found.id} has no machine yet ({found.state}: {found.reason})")
        try:
            moved, why = await pulled(self.ctx, rental, found)
        except OSError as error:
            raise StoreError(
                f"the results cannot be written here: {error}", hint="Make room first."
            ) from error
        self.ctx.ledger.run(found.id, results_synced=self.ctx.clock.time())
        answer |= {"files": moved.files, "bytes": moved.bytes, "unfinished": moved.unfinished}
        return {**answer, "copied": why} if why else answer

    def _standing(self, run: Run) -> Rental | None:
        """A machine of a run that stands with what may not be home."""
        if run.results_complete:
            return None
        rentals = reversed(self.ctx.store.rentals(run=run.id, live=True))
        return next((r for r in rentals if r.stopped_since is not None and r.contract is not None), None)

    def _reachable(self, run: Run) -> Rental | None:
        if run.plan.place == HERE:
            return machine_here(run) if run.live else None
        for rental in reversed(self.ctx.store.rentals(run=run.id, live=True)):
            if rental.state in (RentalState.UP, RentalState.HELD) and rental.stopped_since is None:
                return rental
        return None

    async def container_log(self, run: str, daemon: bool = False) -> str:
        found = self.ctx.store.find_run(run)
        for rental in reversed(self.ctx.store.rentals(run=found.id)):
            if rental.live and rental.contract is not None:
                return await self.place.client.logs(rental.contract, daemon=daemon)
            kept = self.ctx.files.evidence(rental.id, found.id) / (
                "daemon.log" if daemon else "container.log"
            )
            if kept.exists():
                return kept.read_text(errors="replace")
        raise NotFound(
            f"there is no container log of run {found.id}",
            hint="The market keeps none after a rental is destroyed; evidence is kept of failed ones.",
        )

    async def ssh(self, run: str) -> dict[str, Any]:
        found = self.ctx.store.find_run(run)
        rental = self._reachable(found)
        if rental is not None and is_here(rental.id) and self.ctx.here is not None:
            home = str(self.ctx.here.home)
            return {
                "config": "", "target": "", "host": "", "port": 0, "user": "",
                "directory": run_dir(found.id), "home": home, "here": True,
            }  # fmt: skip
        if rental is None or rental.seen is None or not rental.seen.address:
            raise RemoteError(f"run {found.id} has no machine that answers ({found.state}: {found.reason})")
        config, target = self._ssh_config(rental)
        self._name_machines()
        host, port, user, _kind = rental.seen.address[0]
        return {
            "config": config,
            "target": target,
            "host": host,
            "port": port,
            "user": user,
            "directory": run_dir(found.id),
            "home": rental.remote_home,
        }

    # -------------------------------------------------------------------------------------- rentals

    async def rentals(self) -> list[dict[str, Any]]:
        try:
            listing = await self.place.look(0.0)
        except VastError as error:
            rows = market_rows(self.ctx.store, self.ctx.home, None, self.ctx.clock.time(), error.message)
            if not rows:
                raise  # no answer is not "nothing is rented"
            return rows
        self.engine.sweep()
        return market_rows(self.ctx.store, self.ctx.home, listing, self.ctx.clock.time(), "")

    async def destroy(self, target: str, drop_results: bool = False) -> dict[str, Any]:
        rental = self._find_rental(target)
        if rental is None:
            return await self._destroy_orphan(target, drop_results)
        run = self.ctx.store.run(rental.run)
        if rental.state is RentalState.GONE:
            raise NotFound(f"rental {rental.id} is gone already", hint="'choline rentals' lists what is not.")
        if rental.contract is None:
            raise UsageError(
                f"it is not known yet whether rental {rental.id} exists; choline is looking for its label",
                hint="It is destroyed by itself if no run needs it: see 'choline rentals'.",
            )
        if run.live and any(a.live and a.rental == rental.id for a in self.ctx.store.attempts(run.id)):
            raise UsageError(
                f"run {run.id} is on it", hint=f"'choline stop {run.id}' brings its results home."
            )
        if not run.results_complete and not drop_results and rental.state is not RentalState.RELEASING:
            raise UsageError(
                f"the results of run {run.id} are not all home",
                hint=f"'choline pull {run.id}' brings them; --drop-results gives them up.",
            )
        if rental.state is not RentalState.RELEASING:
            self.ctx.ledger.rental(
                rental.id,
                "releasing: asked to destroy it",
                state=RentalState.RELEASING,
                release_reason="destroyed by you",
                next_look=0.0,
                looks=0,
            )
        self.engine.poke(run.id)
        return {"rental": rental.id, "run": run.id, "contract": rental.contract}

    def _find_rental(self, target: str) -> Rental | None:
        rentals = self.ctx.store.rentals()
        for rental in rentals:
            if target in (rental.id, str(rental.contract)):
                return rental
        of_run = [r for r in rentals if r.run == target and r.live]
        return of_run[-1] if of_run else None

    async def _destroy_orphan(self, target: str, drop_results: bool) -> dict[str, Any]:
        """A contract with our home's label that no run of ours knows; other people's are refused."""
        if not target.isdigit():
            raise NotFound(f"there is no rental {target!r}", hint="'choline rentals' lists them.")
        contract = int(target)
        found = (await self.place.look(0.0)).contract(contract)
        if found is None:
            raise NotFound(f"the account has no contract {contract}", hint="'choline rentals' lists them.")
        label = read_label(found.label)
        if label is None or label.home != self.ctx.home:
            raise UsageError(
                f"contract {contract} was not rented by this home (label {found.label or 'none'!r})",
                hint="choline touches nothing of other people's; use the market's own page.",
            )
        if not drop_results:
            raise UsageError(
                f"no run is known for contract {contract}, so nothing can say whether its results are home",
                hint="--drop-results destroys it all the same.",
            )
        await self.place.destroy(contract)
        looks = 0
        for _ in range(30):
            await self.ctx.clock.sleep(self.ctx.timing.verify_gap)
            gone = (await self.place.look(0.0)).contract(contract) is None
            looks = looks + 1 if gone else 0
            if looks >= 2:
                self.ctx.ledger.note("rental", f"orphan contract {contract} destroyed and verified gone")
                return {"rental": None, "run": None, "contract": contract}
        raise RemoteError(
            f"contract {contract} is still listed after its destroy: it may bill",
            hint="Try it again; if it stays, end it on the market's own page.",
        )
