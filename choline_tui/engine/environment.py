"""A run's environment: planned (which wheels, drivers, disk?), and heard of once it was set up."""

from dataclasses import replace
from pathlib import Path

from choline_tui.config.environment import EnvironmentTable, readable_source
from choline_tui.engine.context import Context
from choline_tui.kernel.errors import ProjectError, UsageError
from choline_tui.model.conditions import Query
from choline_tui.model.environment import Environment
from choline_tui.model.image import cuda_of
from choline_tui.model.query import parse_query
from choline_tui.model.wheels import cuda_version, torch_size, wheels_for
from choline_tui.provision.environment import SAID, told, why_failed
from choline_tui.survey.packages import Packages, read_packages

__all__ = ["driver_bounds", "fitting_driver", "heard", "plan_environment", "why_setup_failed"]

LOG_TAIL = 64 << 10
"""bytes of a set-up's log that are looked at"""
UNPACKED = 2.2
"""bytes on the disk for each that is downloaded, an estimate: torch 2.13.0's wheel for the CPU unpacks to 3.6
times its size, NVIDIA's libraries to less than twice; uv's cache and the environment share their files"""


def driver_bounds(query: Query) -> tuple[str, str]:
    """(least, most) CUDA that the drivers of a query's offers support, as far as it says."""
    least, most = (0, 0), (99, 0)
    for condition in query.conditions:
        if condition.field != "cuda_max_good" or isinstance(condition.value, bool | tuple):
            continue
        try:
            value = cuda_version(f"{float(condition.value or 0):.1f}")
        except ValueError:
            continue
        if condition.op in ("eq", "gt", "gte"):
            least = max(least, value)
        if condition.op in ("eq", "lt", "lte"):
            most = min(most, value)
    return f"{least[0]}.{least[1]}", f"{most[0]}.{most[1]}"


def plan_environment(
    table: EnvironmentTable | None, directory: Path, env_from: str, query: Query, image: str, disk_gb: float
) -> Environment | None:
    """What is built for a project on a machine of ``query`` with ``image``; None: the set-up is the person's
    own affair (there is no ``[environment]``, and no ``--env-from``).

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
    environment = found.environment.model_copy(update={"apt": list(table.apt)})
    if not environment.built:
        return environment
    if found.missing and not any(c.field == "cpu_arch" for c in query.conditions):
        which = ", ".join(found.missing[:5])
        raise ProjectError(
            f"{environment.source} has no wheel of {which} for Linux on x86-64"
            + (f" and Python {environment.python}" if environment.python else ""),
            hint="Lock the project for Linux too, or choose another Python in [environment].",
        )
    environment = _with_wheels(environment, found, table, query, image)
    return _sized(environment, found, disk_gb)


def _with_wheels(
    environment: Environment, found: Packages, table: EnvironmentTable, query: Query, image: str
) -> Environment:
    least, most = driver_bounds(query)
    of_image = cuda_of(image)
    if of_image is not None and cuda_version(of_image) > cuda_version(least) <= cuda_version(most):
        # its host would refuse to start it: such machines are left out anyway
        least = min(of_image, most, key=cuda_version)
    asks = replace(found.asks, settled=found.asks.settled or bool(table.index or environment.index))
    wheels = wheels_for(
        asks, table.cuda if table.cuda != "auto" else found.cuda or "auto", at_least=least, at_most=most
    )
    if wheels.refusal:
        raise UsageError(wheels.refusal, hint=wheels.hint)
    return environment.model_copy(
        update={
            "backend": wheels.backend or environment.backend,
            "needs_cuda": wheels.needs,
            "why": wheels.why,
            "index": table.index or environment.index,
            "extra_index": [*table.extra_index, *environment.extra_index],
            "extras": list(table.extras),
            "groups": list(table.groups),
        }
    )


def _sized(environment: Environment, found: Packages, disk_gb: float) -> Environment:
    size = environment.download_bytes or (
        torch_size(found.asks, environment.backend) if found.asks.torch else 0
    )
    if size * UNPACKED > disk_gb * 1e9:
        raise UsageError(
            f"the disk of {disk_gb:g} GB is too small: the packages of {environment.source} alone take "
            f"about {size * UNPACKED / 1e9:.1f} GB unpacked",
            hint="Make it larger: disk = ..., or --disk.",
        )
    return environment.model_copy(update={"download_bytes": size})


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
