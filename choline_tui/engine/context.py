"""What the engine's actions share: the store, the market, the clock, sessions to machines, files."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from choline_tui.engine.hub import Hub
from choline_tui.engine.ledger import Ledger
from choline_tui.engine.offers import OfferBook
from choline_tui.engine.secrets import RunSecrets
from choline_tui.kernel.clock import Clock
from choline_tui.kernel.errors import CholineError
from choline_tui.kernel.protocol import Probe
from choline_tui.kernel.session import Item, RemoteSession
from choline_tui.model.decide import COPY_AFTER
from choline_tui.model.here import is_here, machine_here, run_of
from choline_tui.model.run import Rental, Run
from choline_tui.places.base import MarketPlace
from choline_tui.places.here import HerePlace
from choline_tui.store import Store

__all__ = ["Context", "RunFiles", "Sessions", "Timing"]


@dataclass(frozen=True)
class Timing:
    """Intervals in s. The defaults are for the real market; a rehearsal boots in seconds."""

    boot_poll: float = 3.0
    """how often a booting contract is looked at"""
    watch: float = 30.0
    """how often a machine that is up is looked at"""
    settle: float = 90.0
    """how long a label may be missing from complete listings before the rent never happened"""
    settle_poll: float = 5.0
    verify_gap: float = 2.0
    """between the two listings that make a contract gone"""
    retry: float = 5.0
    no_offer: float = 30.0
    copy_after: float = COPY_AFTER
    """how long a machine stands before its results are asked of its host's copier"""


@dataclass(frozen=True)
class RunFiles:
    """A run's files at home (beside its results): ``<root>/<run>/...``."""

    root: Path

    def run(self, run: str) -> Path:
        return self.root / run

    def log(self, run: str, attempt: int, source: str) -> Path:
        return self.run(run) / f"attempt-{attempt}" / f"{source}.log"

    def evidence(self, rental: str, run: str) -> Path:
        return self.run(run) / "evidence" / rental


class Sessions:
    """One open session a rental, shared by all actions on it; dropped when it fails."""

    def __init__(self, place: MarketPlace, here: HerePlace | None = None) -> None:
        self._place = place
        self._here = here
        self._open: dict[str, RemoteSession] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, rental: Rental) -> RemoteSession:
        async with self._locks.setdefault(rental.id, asyncio.Lock()):
            session = self._open.get(rental.id)
            if session is None:
                if is_here(rental.id):
                    assert self._here is not None
                    session = await self._here.connect()
                else:
                    session = await self._place.connect(rental)
                self._open[rental.id] = session
            return session

    async def drop(self, rental: str) -> None:
        session = self._open.pop(rental, None)
        if session is not None:
            try:
                await session.close()
            except (CholineError, OSError):
                return

    async def close(self) -> None:
        for rental in list(self._open):
            await self.drop(rental)


@dataclass
class Context:
    store: Store
    ledger: Ledger
    place: MarketPlace
    book: OfferBook
    clock: Clock
    hub: Hub
    files: RunFiles
    sessions: Sessions
    home: str
    """this installation's id, part of every label"""
    items: Callable[[Run], Awaitable[list[Item]]]
    """what of a run is to be sent, from the frozen copy of its code and its data"""
    timing: Timing = field(default_factory=Timing)
    probes: dict[str, Probe] = field(default_factory=dict)
    """what the first contact with a rental's machine found, until it is prepared"""
    secrets: RunSecrets = field(default_factory=RunSecrets)
    prepared: dict[str, tuple[str, float]] = field(default_factory=dict)
    """by rental: the run whose lease it was just given, and when (steady clock)"""
    bringing: dict[str, asyncio.Lock] = field(default_factory=dict)
    """by run: who brings its results home right now"""
    disks_told: dict[tuple[str, str], float] = field(default_factory=dict)
    """by run and end: when an event last spoke of a disk"""
    live_when_asked: frozenset[str] = frozenset()
    """rentals that were not gone yet when the newest listing was asked for: it may show what it cannot know
    to be gone. Told by this, not by times: a clock that is put back made a found contract old news."""
    second_told: dict[str, tuple[float, str]] = field(default_factory=dict)
    """by run: when an event last spoke of its results' second home, and what it said"""
    renting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """search-and-rent is serialised"""
    crash_point: Callable[[str], None] = field(default=lambda name: None)
    """called by name where the engine touches the world or the disk; tests make it die there"""
    here: HerePlace | None = None

    def machine(self, rental: str) -> Rental:
        """What an attempt runs on: a rental, or this computer."""
        return machine_here(self.store.run(run_of(rental))) if is_here(rental) else self.store.rental(rental)
