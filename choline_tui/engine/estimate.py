"""How much data a plan moves, looked at before anything is rented."""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from choline_tui.kernel.errors import CholineError, NotFound, ProjectError, UsageError
from choline_tui.kernel.look import Wanted, look
from choline_tui.kernel.source import is_source, shown
from choline_tui.kernel.web import Web
from choline_tui.model.run import Plan, SendItem

__all__ = ["Amount", "amount_of"]

LOOK_WITHIN = 12.0
"""s for all sources together: a person waits for the card"""
_GB = 1e9


@dataclass
class Amount:
    """Bytes. ``unknown``: sources that this computer could not ask for their size."""

    local: int = 0
    fetched: int = 0
    unknown: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def check_disk(self, plan: Plan, code: int) -> None:
        """Raises UsageError when what is known does not fit on the plan's disk."""
        need = self.local + self.fetched + code
        if need > plan.disk_gb * _GB:
            raise UsageError(
                f"the disk of {plan.disk_gb:g} GB is too small for {need / _GB:.1f} GB of code and data",
                hint=f"Take a larger one, with room for packages and results: --disk "
                f"{math.ceil(1.2 * need / _GB) + 10}.",
            )


async def amount_of(
    plan: Plan, secrets: Mapping[str, str], *, ask: Callable[[Wanted], int | None] | None = None
) -> Amount:
    """``secrets``: values by which sources may be asked, as far as they are known here. ``ask``: bytes of a
    source, None when they cannot be told.

    Raises ProjectError for a path that is not there, NotFound for a source that is not.
    """
    amount = Amount()
    local = [send.path for send in plan.send if not is_source(send.path)]
    amount.local = await asyncio.to_thread(_size, local)
    sources = [send for send in plan.send if is_source(send.path)]

    sizes = await asyncio.gather(*(_ask(plan, send, secrets, amount, ask or _look) for send in sources))
    for send, size in zip(sources, sizes, strict=True):
        if size is None:
            amount.unknown.append(shown(send.path))
        else:
            amount.fetched += size
    return amount


async def _ask(
    plan: Plan,
    send: SendItem,
    secrets: Mapping[str, str],
    amount: Amount,
    ask: Callable[[Wanted], int | None],
) -> int | None:
    """Bytes of a source; None when this computer cannot tell, and why in ``amount`` when it is known."""
    try:
        wanted = Wanted.from_wire(
            {
                "url": send.path,
                "endpoint": send.endpoint or plan.env.get("AWS_ENDPOINT_URL", ""),
                "region": send.region,
                "env": {name: secrets[name] for name in send.credentials if name in secrets},
                "bearer": send.credentials,
            }
        )
        async with asyncio.timeout(LOOK_WITHIN):
            return await asyncio.to_thread(ask, wanted)
    except NotFound:
        raise
    except UsageError as error:
        amount.warnings.append(f"as seen from here, {error.message}"[:300])
    except (CholineError, ValueError, OSError, TimeoutError):
        return None  # not reachable from here: the machine may reach it
    return None


def _look(wanted: Wanted) -> int | None:
    if wanted.source.scheme == "http" or wanted.endpoint.startswith("http:"):
        return None  # the machine's own loopback is not ours
    web = Web(timeout=LOOK_WITHIN / 2)
    try:
        return look(wanted, web, tries=1).size
    finally:
        web.close()


def _size(paths: list[str]) -> int:
    """Bytes of all files below these paths; what cannot be read counts nothing here."""
    total = 0
    for path in map(Path, paths):
        if not path.exists():
            raise ProjectError(f"there is no {path}", hint="Correct send, or make the data first.")
        for file in path.rglob("*") if path.is_dir() else (path,):
            try:
                total += file.stat().st_size if file.is_file() else 0
            except OSError:
                continue
    return total
