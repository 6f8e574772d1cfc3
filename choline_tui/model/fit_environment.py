"""An environment fitted to the machines of a query: which wheels, which drivers, how much disk. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from choline_tui.kernel.errors import UsageError
from choline_tui.model.conditions import Query
from choline_tui.model.environment import Environment
from choline_tui.model.image import cuda_of
from choline_tui.model.wheels import Asks, cuda_version, torch_size, wheels_for

__all__ = ["UNPACKED", "driver_bounds", "fit_environment", "unpacked_bytes"]

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


def fit_environment(
    environment: Environment,
    asks: Asks,
    query: Query,
    image: str,
    *,
    cuda: str = "auto",
    index: str = "",
    extra_index: Sequence[str] = (),
) -> Environment:
    """``environment`` with the index that torch comes from, the least driver, and what there is to download.
    Raises UsageError, in words, for what none of the query's machines could run."""
    least, most = driver_bounds(query)
    of_image = cuda_of(image)
    if of_image is not None and cuda_version(of_image) > cuda_version(least):
        # its host would refuse to start it: such machines are left out anyway
        least = min(of_image, most, key=cuda_version)
    asks = replace(asks, settled=asks.settled or bool(index or environment.index))
    wheels = wheels_for(asks, cuda, at_least=least, at_most=most)
    if wheels.refusal:
        raise UsageError(wheels.refusal, hint=wheels.hint)
    backend = wheels.backend or environment.backend
    return environment.model_copy(
        update={
            "backend": backend,
            "needs_cuda": wheels.needs,
            "why": wheels.why,
            "index": index or environment.index,
            "extra_index": [*extra_index, *environment.extra_index],
            "download_bytes": environment.download_bytes or torch_size(asks, backend),
        }
    )


def unpacked_bytes(environment: Environment) -> int:
    """What its packages take on the disk, about; 0 when it is not known."""
    return int(environment.download_bytes * UNPACKED)
