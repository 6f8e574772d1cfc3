"""Keeps the file by which other tools reach our machines (``ssh choline-RUN``) as the store has them."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping

from choline_tui.engine.hub import Hub
from choline_tui.kernel.clock import Clock
from choline_tui.model.run import Rental, RentalState
from choline_tui.store import Store

__all__ = ["Names", "ssh_name"]

log = logging.getLogger("choline.engine")
AT_MOST_EVERY = 0.5
"""s between two writes, however much changes"""


def ssh_name(run: str) -> str:
    return f"choline-{run}"


class Names:
    """``write`` is given the newest reachable rental of each run, by name."""

    def __init__(
        self, store: Store, hub: Hub, clock: Clock, write: Callable[[Mapping[str, Rental]], object]
    ) -> None:
        self._store = store
        self._hub = hub
        self._clock = clock
        self._write = write

    def refresh(self) -> None:
        """Write what is so now. A disk that takes or gives nothing costs a name, not a run."""
        try:
            self._write(self._found())
        except Exception as error:
            # whatever it is, the next change may go well: without us there would be no names any more
            log.warning("the names for ssh cannot be written: %s", error)

    def _found(self) -> dict[str, Rental]:
        return {
            ssh_name(r.run): r
            for r in self._store.rentals(live=True)
            if r.state in (RentalState.UP, RentalState.HELD)
            and r.stopped_since is None
            and r.host_key
            and r.seen is not None
            and r.seen.address
        }

    async def keep(self) -> None:
        """Until cancelled."""
        async with self._hub.listen(topics=("change", "missed")) as news:
            while True:
                self.refresh()
                await news.get()
                await self._clock.sleep(AT_MOST_EVERY)
                with contextlib.suppress(asyncio.QueueEmpty):
                    while True:
                        news.get_nowait()
