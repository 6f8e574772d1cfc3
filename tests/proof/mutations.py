"""Is the proof any good? Mistakes put into the engine on purpose, each of which some life must notice.

A mutation replaces a piece of a function's source; it says so when the source has changed and the piece is
not there any more. Each is caught by a named trial, and by a random life (``catches``).
"""

import contextlib
import inspect
import os
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from choline_tui.engine import acquire, contract, core, machine
from choline_tui.model import decide
from choline_tui.places.vast import VastPlace
from choline_tui.vast import listing
from tests.support.world import World

__all__ = ["MUTATIONS", "Mutation", "applied", "notices"]


@dataclass(frozen=True)
class Edit:
    where: Callable[..., Any]
    old: str
    new: str


@dataclass(frozen=True)
class Mutation:
    name: str
    trial: str
    """the life that notices it"""
    edits: tuple[Edit, ...]


RENT = "        contract = await ctx.place.rent(run, run.plan, rental, offer, login)\n"

MUTATIONS = [
    Mutation(
        "the rent call is tried again",
        "answer_lost",
        (
            Edit(
                acquire._rent,
                RENT,
                "        try:\n    " + RENT + "        except UnknownOutcome:\n    " + RENT,
            ),
        ),
    ),
    Mutation(
        "one listing without the label means that nothing was rented",
        "answer_lost_listing_lags",
        (
            Edit(
                contract.settle,
                "looks >= MIN_LOOKS and now - rental.intended >= ctx.timing.settle",
                "looks >= 1",
            ),
        ),
    ),
    Mutation(
        "a listing shorter than it says is taken for whole",
        "answer_lost_listing_short",
        (Edit(listing._read_once, "if len(found) != total:", "if False:"),),
    ),
    Mutation(
        "one look makes a destroyed contract gone",
        "deaf_destroy_one_empty_listing",
        (Edit(contract.verify, "if looks < 2:", "if looks < 1:"),),
    ),
    Mutation(
        "an accepted destroy is believed",
        "deaf_destroy",
        (
            Edit(
                contract.destroy,
                "destroy_accepted=now, destroy_asked=now, looks=0",
                "state=RentalState.GONE, gone=now, looks=0",
            ),
        ),
    ),
    Mutation(
        "a destroy that did nothing is not asked for again",
        "deaf_destroy",
        (Edit(decide._releasing, "if accepted is None or again:", "if accepted is None:"),),
    ),
    Mutation(
        "the label is forgotten",
        "answer_lost",
        (Edit(VastPlace.rent, "label=rental.label,", 'label="training",'),),
    ),
    Mutation(
        "the machine gets no guard",
        "never_back",
        (
            Edit(
                VastPlace.rent,
                "onstart=onstart(",
                'onstart=(lambda *a, **k: "true")(',
            ),
        ),
    ),
    Mutation(
        "the contract's price is ignored",
        "dearer_contract",
        (Edit(decide._reasons_to_release, "if over:", "if False:"),),
    ),
    Mutation(
        "a stop destroys before the results are home",
        "stopped_running",
        (
            Edit(
                decide._reasons_to_release,
                'if run.want == "stop" and (run.drop_results or not produced):',
                'if run.want == "stop":',
            ),
        ),
    ),
    Mutation(
        "a contract that loads, or says nothing yet, counts as missing",
        "slow_boot",
        (
            Edit(
                contract.watch,
                "if instance is None:",
                'if instance is None or instance.actual_status in (None, "loading"):',
            ),
        ),
    ),
    Mutation(
        "a label is compared without the home's id",
        "twin_of_another_home",
        (
            Edit(
                contract.settle,
                "if i.label == rental.label",
                'if (i.label or "").split("-")[2:] == rental.label.split("-")[2:]',
            ),
        ),
    ),
    Mutation(
        "an intent left by a dead engine counts as never sent",
        "dead_after_rent",
        (Edit(core.Engine._intent_left, "RentalState.UNKNOWN", "RentalState.GONE"),),
    ),
    Mutation("two engines at once", "restarted_in_search", ()),
    Mutation(
        "every submit has a job id of its own",
        "dead_after_submit",
        (
            Edit(machine._job, "id=attempt.job,", 'id=attempt.job + "-" + os.urandom(3).hex(),'),
            Edit(machine._read_stream, 'job = f"{run_id}-{n}"', "job = max(session._machine.jobs)"),
        ),
    ),
    Mutation(
        "the intent is written after the call",
        "answer_lost",
        (
            Edit(
                acquire._rent,
                "    with ctx.ledger.batch() as batch:\n        batch.add_attempt",
                "    commit = ctx.store.commit\n"
                "    late = []\n"
                "    ctx.store.commit = lambda *r, **m: late.append((r, m))\n"
                "    with ctx.ledger.batch() as batch:\n        batch.add_attempt",
            ),
            Edit(
                acquire._rent,
                '    ctx.crash_point("before rent")\n',
                '    ctx.store.commit = commit\n    ctx.crash_point("before rent")\n',
            ),
            Edit(
                acquire._rent,
                RENT,
                "        try:\n    "
                + RENT
                + "        finally:\n            [commit(*r, **m) for r, m in late]\n",
            ),
        ),
    ),
    Mutation(
        "a second contract under the label is left alone",
        "second_contract",
        (Edit(contract._second, "    batch.add_rental(", "    (lambda *a: None)("),),
    ),
    Mutation(
        "a stop is not seen while a search is under way",
        "stopped_in_search",
        (
            Edit(acquire.acquire, 'if run.want != "run" or not run.live:', "if False:"),
            Edit(core.Engine._may_end, "return not any(", "return False and not any("),
        ),
    ),
    Mutation(
        "a failed machine is destroyed before its evidence was kept",
        "dearer_contract",
        (Edit(decide._releasing, "if rental.failed and rental.evidence is None:", "if False:"),),
    ),
    Mutation(
        "the lease is never renewed",
        "longer_than_the_lease",
        (
            Edit(
                machine._keep_lease,
                "await session.renew(_lease(run, ctx.machine(rental_id), ctx.clock.time()))",
                "pass",
            ),
        ),
    ),
    Mutation(
        "a kept machine is kept for ever",
        "kept_a_while",
        (
            Edit(
                decide._reasons_to_release,
                "rental.keep_until is not None and now < rental.keep_until",
                "rental.keep_until is not None",
            ),
        ),
    ),
    Mutation(
        "results that failed their check count as home",
        "results_fail_twice",
        (
            Edit(
                machine._fetch_final,
                "    moved = await bring(ctx, session, run, final=True)\n",
                "    try:\n        moved = await bring(ctx, session, run, final=True)\n"
                "    except RemoteError:\n        from choline_tui.kernel.session import Transfer\n"
                "        moved = Transfer()\n",
            ),
        ),
    ),
    Mutation(
        "the lease says from the first that results are safe",
        "away_past_the_lease",
        (
            Edit(
                machine._lease,
                "return Lease(seconds=seconds, grace_s=run.plan.grace_s, **more)",
                "return Lease(seconds=seconds, grace_s=run.plan.grace_s, **{**more, 'safe': True})",
            ),
        ),
    ),
    Mutation(
        "one listing without a working machine gives it up",
        "forgotten_once",
        (
            Edit(
                contract._missing,
                "if looks < (MIN_LOOKS if rental.up is not None else 2) or young:",
                "if False:",
            ),
        ),
    ),
]


EXTRA: dict[str, Any] = {"os": os}
"""names that mutated functions use and their modules may lack"""


@contextlib.contextmanager
def applied(mutation: Mutation) -> Iterator[None]:
    """The engine with this mistake in it, until the block ends."""
    with contextlib.ExitStack() as undo:
        if not mutation.edits:
            undo.enter_context(_old_engines_live_on())
        texts: dict[Callable[..., Any], str] = {}
        for edit in mutation.edits:
            text = texts.get(edit.where) or textwrap.dedent(inspect.getsource(edit.where))
            old, new = edit.old, edit.new
            assert text.count(old) == 1, (
                f"{edit.where.__qualname__} has changed: {old!r} is there {text.count(old)} times; "
                f"mutation {mutation.name!r} must be written anew"
            )
            texts[edit.where] = text.replace(old, new)
        for where, text in texts.items():
            names = dict(where.__globals__) | EXTRA
            exec(compile(text, f"<{mutation.name}>", "exec"), names)
            honest = where.__code__
            for name in EXTRA.keys() - where.__globals__.keys():
                where.__globals__[name] = EXTRA[name]
                undo.callback(where.__globals__.pop, name)
            where.__code__ = names[where.__name__].__code__
            undo.callback(setattr, where, "__code__", honest)
        yield


@contextlib.contextmanager
def _old_engines_live_on() -> Iterator[None]:
    """A restart begins a second engine beside the first, on the same home."""
    honest, close = World.crash, World.close
    left: list[tuple[Any, Any, Any]] = []

    async def crash(self: World) -> None:
        left.append((self.engine, self.store, self.client))
        self.engine = None

    async def end(self: World) -> None:
        for engine, store, client in left:
            await engine.close()
            store.close()
            await client.__aexit__(None, None, None)
        World.crash = honest  # type: ignore[method-assign]
        await close(self)

    World.crash, World.close = crash, end  # type: ignore[method-assign]
    try:
        yield
    finally:
        World.crash, World.close = honest, close  # type: ignore[method-assign]


def notices(life: Callable[[Path], Any]) -> str:
    """How the life ended: '' when nothing was noticed."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            life(Path(folder))
        except Exception as error:
            return f"{type(error).__name__}: {error}".splitlines()[0][:100]
    return ""
