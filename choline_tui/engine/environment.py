"""A run's environment: planned (which wheels, drivers, disk?), and heard of once it was set up."""

import math
from pathlib import Path

from choline_tui.config.environment import EnvironmentTable, readable_source
from choline_tui.engine.context import Context
from choline_tui.kernel.errors import ProjectError, UsageError
from choline_tui.model.conditions import Query
from choline_tui.model.environment import Environment
from choline_tui.model.fit_environment import driver_bounds, fit_environment, unpacked_bytes
from choline_tui.model.here import HERE
from choline_tui.model.query import parse_query
from choline_tui.model.run import Plan
from choline_tui.model.wheels import cuda_version
from choline_tui.provision.environment import SAID, setup_script, told, why_failed
from choline_tui.survey.packages import read_packages

__all__ = ["check_setup", "fitting_driver", "heard", "plan_environment", "tight_disk", "why_setup_failed"]

MAX_SETUP = 1 << 20
"""characters of a set-up that a supervisor takes (``kernel.protocol.JobSpec``)"""
LOG_TAIL = 64 << 10
"""bytes of a set-up's log that are looked at"""


def plan_environment(
    table: EnvironmentTable | None,
    directory: Path,
    env_from: str,
    query: Query,
    image: str,
    disk_gb: float,
    *,
    here: bool = False,
) -> Environment | None:
    """What is built for a project on a machine of ``query`` with ``image``; None: the set-up is the person's
    own affair (there is no ``[environment]``, and no ``--env-from``). ``here``: on this computer, of which
    nothing is known but what it is.

    Raises ProjectError and UsageError, in words, for what could not be built or would not run. Blocks.
    """
    if table is None and not env_from:
        return None
    table = table or EnvironmentTable.model_validate({})
    if env_from:
        try:
            table = table.model_copy(update={"from_": readable_source(env_from)})
        except ValueError as error:
            raise UsageError(f"--env-from {env_from[:100]}: {error}") from None
    found = read_packages(str(directory), table.from_, python=table.python or "", extras=tuple(table.extras))
    more = {"apt": list(table.apt), "extras": list(table.extras), "groups": list(table.groups)}
    environment = found.environment.model_copy(update=more)
    if not environment.built:
        return environment
    if here:
        image, disk_gb = "", math.inf
    elif found.missing and not any(c.field == "cpu_arch" for c in query.conditions):
        raise found.no_wheels()
    environment = fit_environment(
        environment,
        found.asks,
        query,
        image,
        cuda=table.cuda if table.cuda != "auto" else found.cuda or "auto",
        index=table.index or "",
        extra_index=table.extra_index,
    )
    size = unpacked_bytes(environment)
    if size > disk_gb * 1e9:
        raise UsageError(
            f"the disk of {disk_gb:g} GB is too small: the packages of {environment.source} alone take "
            f"about {size / 1e9:.1f} GB unpacked",
            hint="Make it larger: disk = ..., or --disk.",
        )
    return environment


def check_setup(plan: Plan) -> None:
    """Raises ProjectError for a set-up that would be cut off on its way."""
    if len(setup_script(plan.environment, plan.setup)) > MAX_SETUP:
        raise ProjectError(
            "the set-up is longer than a machine takes (1 MiB)", hint="Put it into a script of the project."
        )


def tight_disk(plan: Plan, sent: int) -> list[str]:
    """A warning where ``sent`` bytes of code and data and the packages do not fit on the disk together."""
    packages = unpacked_bytes(plan.environment) if plan.environment is not None else 0
    if plan.place == HERE or not packages or sent + packages <= plan.disk_gb * 1e9:
        return []
    return [
        f"{sent / 1e9:.1f} GB of code and data and about {packages / 1e9:.1f} GB of packages do not fit on "
        f"{plan.disk_gb:g} GB of disk"
    ]


def fitting_driver(query: Query, environment: Environment | None, *, named: bool) -> Query:
    """The query, with the least driver that the packages need. ``named``: for one offer that a person chose,
    which is theirs to judge: the plan card says what is needed."""
    if environment is None or not environment.needs_cuda or named:
        return query
    least, _ = driver_bounds(query)
    if cuda_version(least) >= cuda_version(environment.needs_cuda):
        return query
    asked = parse_query(f"cuda_max_good>={environment.needs_cuda}", defaults=False)
    return query.with_conditions(*asked.conditions)


def heard(ctx: Context, run_id: str, n: int, data: bytes) -> None:
    """Some of a set-up's log has come home: what it says of the environment is told once, on the timeline."""
    if SAID not in data or ctx.store.attempt(run_id, n).environment:
        return
    said = told(_tail(ctx, run_id, n))
    if said:
        words = f"environment: {said[0]} in {said[1]:.1f} s"
        ctx.ledger.attempt(run_id, n, words, environment=words)


def why_setup_failed(ctx: Context, run_id: str, n: int, reason: str) -> str:
    """The package and the last words of a set-up that ended as ``reason`` says; '' when it is not known."""
    if reason != "setup_failed" or ctx.store.run(run_id).plan.environment is None:
        return ""
    return why_failed(_tail(ctx, run_id, n))


def _tail(ctx: Context, run_id: str, n: int) -> str:
    try:
        with ctx.files.log(run_id, n, "setup").open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - LOG_TAIL))
            return file.read(LOG_TAIL).decode("utf-8", "replace")
    except OSError:
        return ""
