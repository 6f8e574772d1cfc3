"""A run's secrets in the engine: names are in its plan, values in memory alone.

A value that was found in a file or in the keyring is looked up anew at each attempt; one that was in the
environment of whoever started the run is known to this process only. When another engine comes, and needs
such a value for another attempt, the run waits, without a machine or soon without one, and says for what.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from choline_tui.kernel.errors import CholineError, UsageError
from choline_tui.kernel.handover import Handover
from choline_tui.kernel.mask import Masker
from choline_tui.kernel.session import RemoteSession
from choline_tui.model.here import is_here
from choline_tui.model.request import RunRequest
from choline_tui.model.run import Attempt, AttemptState, Plan, RentalState, Run, RunState
from choline_tui.model.tokens import TOO_OPEN, token_kind, why_not
from choline_tui.secrets import Found, Hidden, find, missing_error
from choline_tui.secrets.find import ENVIRONMENT

if TYPE_CHECKING:
    from choline_tui.engine.context import Context

__all__ = [
    "RunSecrets",
    "Veil",
    "at_hand",
    "give",
    "hand_over",
    "hidden",
    "named",
    "settled_plan",
    "to_hand_over",
]

Look = Callable[[list[str], Path], Awaitable[Found]]

LOOK_WITHIN = 30.0
"""s a keyring may take: it may wait for a person to unlock it"""
LOOK_AGAIN, MAX_AGAIN = 30.0, 600.0
"""s until files and the keyring are looked at once more: the less often the longer nothing comes"""
GIVE_WITHIN = 600.0
"""s for which a machine that bills is kept for a value that nobody hands over"""


async def _look(names: list[str], project: Path) -> Found:
    """In files and the keyring. The environment of the engine is that of whoever started it: no source."""
    async with asyncio.timeout(LOOK_WITHIN):
        return await asyncio.to_thread(find, names, project, dict(os.environ), shell=False)


class RunSecrets:
    """Values by run. ``look``: asks files and the keyring for names, for a project's directory."""

    def __init__(self, look: Look = _look) -> None:
        self.look = look
        self._given: dict[str, dict[str, Hidden]] = {}
        self._lacking: dict[str, float] = {}
        self._complete: dict[str, float] = {}

    def give(self, run: str, values: Mapping[str, Hidden]) -> None:
        self._given.setdefault(run, {}).update(values)

    def forget(self, run: str) -> None:
        for each in (self._given, self._lacking, self._complete):
            each.pop(run, None)

    async def of(self, plan: Plan, run: str = "") -> tuple[dict[str, Hidden], list[str]]:
        """(values, names without one)."""
        if not plan.secrets:
            return {}, []
        values = dict(self._given.get(run, {}))
        lasting = [name for name, where in plan.secrets.items() if where != ENVIRONMENT]
        try:
            found = await self.look(lasting, Path(plan.project)) if lasting else Found()
        except (CholineError, TimeoutError, OSError):
            found = Found()  # what was handed over counts, then
        values.update((n, Hidden(v.secret.reveal())) for n, v in found.values.items())
        values = {name: values[name] for name in plan.secrets if name in values}
        return values, [name for name in plan.secrets if name not in values]

    def lacking_since(self, run: str, now: float) -> float:
        """When it was first seen that a value is missing."""
        return self._lacking.setdefault(run, now)

    def complete(self, run: str, now: float) -> None:
        if self._lacking.pop(run, None) is not None:
            self._complete[run] = now

    def completed(self, run: str) -> float:
        """When the last missing value came (epoch s); 0.0 for a run that never lacked one."""
        return self._complete.get(run, 0.0)

    async def login(self, run: Run) -> Hidden | None:
        """``-u USER -p PASSWORD SERVER``, as the market takes it, for a run whose image is not public. Raises
        UsageError when the password is not there any more, or is none that can be said so."""
        registry = run.plan.registry
        if registry is None:
            return None
        values, _ = await self.of(run.plan, run.id)
        value = values.get(registry.secret)
        if value is None or not re.fullmatch(r"[^\s'\"\\]+", value.reveal()):
            what = "has no value now" if value is None else "is no registry's password: it has spaces, quotes"
            raise UsageError(f"{registry.secret} {what}", hint=f"It is for {registry.server}: [registry].")
        return Hidden(f"-u {registry.user} -p {value.reveal()} {registry.server}")

    async def veil(self, run: Run) -> "Veil":
        values, _ = await self.of(run.plan, run.id)
        return Veil(value.reveal() for value in values.values())


class Veil:
    """Masks a job's logs as they come home: the machine does that, too, but it is a stranger."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = list(secrets)
        self._maskers: dict[str, Masker] = {}

    def feed(self, source: str, data: bytes) -> bytes:
        if not self._secrets:
            return data
        return self._maskers.setdefault(source, Masker(self._secrets)).feed(data)

    def rest(self, *, ended: bool) -> dict[str, bytes]:
        """What is still to be written, by source, when the stream has ended or was cut off."""
        rest = {s: m.flush() if ended else m.settled() for s, m in self._maskers.items()}
        return {source: data for source, data in rest.items() if data}


# ------------------------------------------------------------------------------------------- the plan


def named(
    request: RunRequest, env: Mapping[str, str], project: Iterable[str], like: Iterable[str] = ()
) -> dict[str, str]:
    """The plan's secrets: names of the project, of the run that is repeated and of the request; where they
    are is not known yet. Raises UsageError for a value that looks like a secret where it would be kept, and
    for a name that is an open variable as well."""
    for name, value in request.env.items():
        kind = token_kind(value, name)
        if kind:
            raise UsageError(
                f"--env {name}: this looks like {kind}, and variables are kept in the open",
                hint=f"Leave it out, and say --secret {name}: the value is looked up, and kept in no file.",
            )
    kind = token_kind(request.command)
    if kind:
        raise UsageError(
            f"there is {kind} in the command, which is kept with the run in the open",
            hint=TOO_OPEN.format(name="NAME") + ".",
        )
    names = list(dict.fromkeys([*project, *like, *request.secrets]))
    for name in names:
        if why := why_not(name):
            raise UsageError(why, hint="Leave it out.")
    both = [name for name in names if name in env]
    if both:
        raise UsageError(
            f"{both[0]} is a variable and a secret", hint="Leave it out of [env] and --env: it is looked up."
        )
    return dict.fromkeys(names, "")


def hidden(values: Mapping[str, str]) -> dict[str, Hidden]:
    """Values that came over the socket. Raises UsageError, without them."""
    try:
        return {name: Hidden(text) for name, text in values.items()}
    except ValueError as error:
        raise UsageError(str(error)) from None


async def settled_plan(
    secrets: RunSecrets, plan: Plan, given: Mapping[str, Hidden], places: Mapping[str, str]
) -> Plan:
    """With where each secret is. ``given``: what the client found, ``places``: where. Raises UsageError for
    one without a value: nothing may be rented for it."""
    if not plan.secrets:
        return plan
    where = {name: places.get(name, "")[:300] if name in given else "" for name in plan.secrets}
    unknown = [name for name in plan.secrets if name not in given]
    if unknown:
        try:
            found = await secrets.look(unknown, Path(plan.project))
        except TimeoutError:
            raise UsageError(
                f"the keyring gave no answer for {', '.join(unknown)} within {LOOK_WITHIN:.0f} s",
                hint="Unlock it, and try again.",
            ) from None
        if found.missing:
            raise missing_error(found)
        where |= found.places
    return plan.but(secrets={name: place or ENVIRONMENT for name, place in where.items()})


# -------------------------------------------------------------------------------------- at an attempt


def _words(run: Run, missing: list[str]) -> str:
    told = []
    for name in missing:
        where = run.plan.secrets[name]
        was = "the environment of whoever started the run" if where == ENVIRONMENT else where
        told.append(f"{name} (it was in {was})")
    return f"waits for a value of {', '.join(told)}: 'choline secrets give {run.id}' hands it over"[:500]


async def at_hand(ctx: "Context", run_id: str) -> bool:
    """Whether a machine may be rented for it; else it is said what it waits for, and looked again."""
    run = ctx.store.run(run_id)
    _, missing = await ctx.secrets.of(run.plan, run_id)
    now = ctx.clock.time()
    if not missing:
        ctx.secrets.complete(run_id, now)
        return True
    wait = min(MAX_AGAIN, max(LOOK_AGAIN, (now - ctx.secrets.lacking_since(run_id, now)) / 4))
    why = _words(run, missing)
    told = None if run.reason == why else why
    ctx.ledger.run(run_id, told, state=RunState.WAITING, not_before=now + wait, reason=why)
    return False


async def to_hand_over(
    ctx: "Context", run: Run, attempt: Attempt, knows: Callable[[], Awaitable[bool]]
) -> Handover | None:
    """What the machine is to be given for the attempt's job; None: a value is missing, and that is said.
    ``knows``: whether the machine has the job already, which needs nothing more then."""
    values, missing = await ctx.secrets.of(run.plan, run.id)
    if missing:
        if attempt.begun:
            if await knows():
                return Handover()
            ctx.ledger.attempt(run.id, attempt.n, sent=None)  # it never got there
        _lack(ctx, run, attempt, missing)
        return None
    ctx.secrets.complete(run.id, ctx.clock.time())
    return Handover({name: values[name].reveal() for name in run.plan.job_secrets})


async def hand_over(
    ctx: "Context", session: RemoteSession, run: Run, attempt: Attempt, given: Handover
) -> None:
    """Before the job is submitted, and as late as that. Raises RemoteError."""
    if not given.values:
        return
    kept = await session.secrets(attempt.job, given)
    place = "in its memory" if kept.memory else "in a file on its disk: it has no memory-backed storage"
    names = ", ".join(given.values)
    ctx.ledger.attempt(run.id, attempt.n, f"secrets handed over: {names} ({place})"[:500])


def _lack(ctx: "Context", run: Run, attempt: Attempt, missing: list[str]) -> None:
    now, why = ctx.clock.time(), _words(run, missing)
    bills = now - ctx.secrets.lacking_since(run.id, now)
    with ctx.ledger.batch() as batch:
        if is_here(attempt.rental) or bills < GIVE_WITHIN:
            meanwhile = "" if is_here(attempt.rental) else "; the machine bills meanwhile"
            told = None if attempt.reason == why else why + meanwhile
            batch.attempt(run.id, attempt.n, told, reason=why, retry_at=now + LOOK_AGAIN)
            batch.run(run.id, reason=f"{why}{meanwhile}"[:500])
        else:
            reason = "its secrets were not handed over"
            batch.rental(
                attempt.rental,
                f"releasing: {reason}",
                state=RentalState.RELEASING,
                release_reason=reason,
                next_look=0.0,
                looks=0,
            )
            batch.attempt(run.id, attempt.n, reason=reason)


def give(ctx: "Context", run: Run, values: Mapping[str, Hidden]) -> list[str]:
    """Values for a run that lives; the names that it has use for. Raises UsageError."""
    if not run.live:
        raise UsageError(f"run {run.id} has ended: it needs no secrets", hint="")
    useful = {name: value for name, value in values.items() if name in run.plan.secrets}
    if not useful:
        wants = ", ".join(run.plan.secrets) or "none"
        raise UsageError(f"run {run.id} has no use for these; it names {wants}")
    ctx.secrets.give(run.id, useful)
    ctx.ledger.run(run.id, f"secrets were given: {', '.join(useful)}", not_before=0.0)
    for attempt in ctx.store.attempts(run.id):
        if attempt.live and attempt.state in (AttemptState.ACQUIRING, AttemptState.PREPARING):
            ctx.ledger.attempt(run.id, attempt.n, retry_at=0.0)
    return list(useful)
