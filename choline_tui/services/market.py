"""The market as screens see it: offers as they come, saved filters, and what is remembered of machines."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from choline_tui.config.filters import find_filter, read_filters, remove_filter, save_filter
from choline_tui.kernel.errors import CholineError, error_from_wire
from choline_tui.model.filters import Filter
from choline_tui.services.hosts import HostMemory, remember

if TYPE_CHECKING:
    from choline_tui.config.paths import Paths
    from choline_tui.services.connection import Connection
    from choline_tui.store import Store

__all__ = ["MarketServices", "OfferStep"]


@dataclass(frozen=True)
class OfferStep:
    """One step of ``offers_stream``. ``rows``: what is new, fields of ``Offer`` as plain values, each with
    ``price`` ($/h at ``disk_gb``)."""

    rows: list[dict[str, Any]]
    gone: list[int]
    """ids told before that the market lists no longer"""
    known: int
    """how many there are, this step included"""
    seen_at: float
    """epoch s"""
    complete: bool
    cached: bool
    """from memory: the market is being asked"""
    last: bool
    disk_gb: float
    type: str
    used_today: int
    ration: int
    trouble: CholineError | None = None
    """why it ends before it is complete"""


class MarketServices:
    """A part of ``Choline``."""

    paths: "Paths"

    async def _engine(self) -> "Connection":
        raise NotImplementedError

    @property
    def store(self) -> "Store":
        raise NotImplementedError

    async def offers_stream(
        self, query: str = "", *, type: str = "", disk: float | None = None, deeper: bool = True,
        again: bool = False,
    ) -> AsyncIterator[OfferStep]:  # fmt: skip
        """Offers as they come, cheapest first: at once what was last seen (however old), then the market's
        first page, then (``deeper``) page after page within the ration. Leaving the loop cancels the rest.
        ``disk``: GB that prices are for; ``again``: ask the market even when it was asked just now.

        Raises QueryError for a query that cannot be read, ConfigError, EngineError. A failing market or a
        spent ration raises nothing: the last step says so.
        """
        engine = await self._engine()
        stream = engine.stream(
            "offers_stream", query=query, type=type, disk=disk, deeper=deeper, project=str(Path.cwd()),
            **({"fresh": 0.0} if again else {}),
        )  # fmt: skip
        async for item in stream:
            trouble = item.pop("trouble")
            yield OfferStep(**item, trouble=error_from_wire(trouble) if trouble else None)

    def hosts(self, now: float) -> dict[int, HostMemory]:
        """What this home remembers of machines, by their id on the market. ``now``: epoch s."""
        return remember(self.store, now) if self.paths.store.exists() else {}

    def filters(self) -> dict[str, Filter]:
        """Saved filters by name. Raises ConfigError for a file that cannot be read."""
        return read_filters(self.paths)

    def filter(self, name: str) -> Filter:
        """Raises NotFound."""
        return find_filter(self.paths, name)

    def save_filter(self, name: str, filter: Filter) -> None:
        """A filter of the same name is replaced. Raises QueryError for a name that cannot be, ConfigError."""
        save_filter(self.paths, name, filter)

    def remove_filter(self, name: str) -> None:
        """Raises NotFound."""
        remove_filter(self.paths, name)
