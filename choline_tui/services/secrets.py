"""Secrets by name, for the faces: where the values are, and handing them over. None is ever shown."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from choline_tui.config.project import find_project, load_project
from choline_tui.kernel.errors import UsageError
from choline_tui.model.request import PlanCard, RunRequest
from choline_tui.secrets import Found, find, missing_error
from choline_tui.secrets.ring import Keyring
from choline_tui.store import Store

__all__ = ["Listed", "SecretServices", "listed"]


@dataclass(frozen=True)
class Listed:
    """``where``: a place, '' for a secret that is missing; ``named``: who names it."""

    name: str
    where: str
    named: str


class SecretServices:
    """Part of ``Choline``."""

    environ: Mapping[str, str]

    @property
    def store(self) -> Store:
        raise NotImplementedError

    async def _call(self, method: str, **params: Any) -> Any:
        raise NotImplementedError

    async def find_secrets(self, request: RunRequest) -> Found:
        """What a run of this request needs, and where it is: names of the project, of the run that is
        repeated and of the request. Raises UsageError (ProjectError, ConfigError for a file that cannot be
        read), NotFound."""
        like = self.store.find_run(request.like) if request.like else None
        names = list(like.plan.secrets) if like is not None else []
        if like is not None and request.like_what == "plan":
            directory = Path(like.plan.project)
        else:
            directory = find_project(Path(request.project)) or Path(request.project)
            if (directory / "choline.toml").is_file():
                names = [*load_project(directory).secrets, *names]
        names += request.secrets
        return await asyncio.to_thread(find, names, directory, self.environ) if names else Found()

    async def with_secrets(self, request: RunRequest, card: PlanCard) -> PlanCard:
        """The card with where each secret is; a warning for one that is missing."""
        if not card.plan.secrets:
            return card
        found = await self.find_secrets(request)
        trouble = [missing_error(found).message] if found.missing else []
        return card.model_copy(
            update={"secrets": found.places, "warnings": [*card.warnings, *trouble]}, deep=False
        )

    async def handed_over(self, request: RunRequest) -> dict[str, Any]:
        """What goes to the engine with a start: values, and where they were. Raises UsageError for one that
        is missing."""
        found = await self.find_secrets(request)
        if found.missing:
            raise missing_error(found)
        return {"secrets": found.revealed(), "places": found.places} if found.values else {}

    async def give_secrets(self, run: str) -> list[str]:
        """Look up what a run that lives needs, and hand it to the engine; the names. Raises NotFound,
        UsageError for one that is missing, or when it needs none."""
        plan = self.store.find_run(run).plan
        if not plan.secrets:
            raise UsageError(f"run {run} names no secrets", hint="")
        found = await asyncio.to_thread(find, plan.secrets, Path(plan.project), self.environ)
        if found.missing:
            raise missing_error(found)
        answer = await self._call("give_secrets", run=run, secrets=found.revealed())
        return list(answer["names"])


def listed(directory: Path, environ: Mapping[str, str], more: Iterable[str] = ()) -> list[Listed]:
    """The project's secrets, ``more``, and those of the keyring, each with where its value is. Blocks."""
    project = find_project(directory)
    named = dict.fromkeys(more, "asked for")
    if project is not None:
        named = dict.fromkeys(load_project(project).secrets, "choline.toml") | named
    kept = [name for name in Keyring().names() if name not in named]
    found = find([*named, *kept], project or directory, environ)
    return [Listed(n, found.places[n], named.get(n, "the keyring")) for n in (*named, *kept)]
