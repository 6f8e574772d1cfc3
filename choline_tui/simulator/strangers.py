"""Other people on the market: they rent, bid and leave, and their hosts fail. Seeded, on the clock.

``Market`` itself has thousands of renters who come and go (``moving``); these here are the ones who get
in the way: of the offers just looked at, of bids of ours, of the machines we are on.
"""

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

from choline_tui.kernel.clock import Clock
from choline_tui.simulator.contracts import Contracts
from choline_tui.simulator.machines import Machine
from choline_tui.simulator.market import Market, Slice

__all__ = ["Strangers"]

JUST_S = 60.0
"""for so long after they took an offer, a rent of it is a race lost and no offer that is gone"""
CHEAPEST = 200
"""offers among which they choose"""


class Strangers:
    """``busy``: what they do in an hour, on average; 0: only what they are told to."""

    def __init__(self, market: Market, contracts: Contracts, clock: Clock, *, busy: float = 0.0) -> None:
        if busy < 0:
            raise ValueError("busy must not be negative")
        self._market = market
        self._contracts = contracts
        self._clock = clock
        self._busy = busy
        self._rng = Random(f"strangers/{market.seed}")
        self._next = -1
        self._tasks: set[asyncio.Task[None]] = set()
        self._taken: dict[int, tuple[float, Slice]] = {}
        self.rents = 0

    def start(self) -> None:
        if self._busy > 0:
            self._spawn(self._live())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- what they do

    def take(self, offer: int, seconds: float) -> bool:
        """Rent an offer for so long; False when it is not there. Bids of ours on it give way."""
        found = self._market.find(offer)
        if found is None:
            return False
        who, self._next = self._next, self._next - 1
        losers = self._market.hold(found.machine, found.gpus, who)
        for contract in self._contracts.on_machine(found.machine):
            if contract.id in losers:
                contract.held = False
                contract.wake.set()
        self.rents += 1
        now = self._clock.time()
        self._taken = {o: t for o, t in self._taken.items() if now - t[0] < JUST_S}
        self._taken[offer] = (now, found)
        self._spawn(self._leave(found.machine, who, seconds))
        return True

    def just_taken(self, offer: int) -> Slice | None:
        """What was on offer a moment ago, before one of them took it."""
        at, found = self._taken.get(offer, (0.0, None))
        return found if self._clock.time() - at < JUST_S else None

    async def _leave(self, machine: Machine, who: int, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._market.release(machine, who)
        self._contracts.disturb(machine)

    async def outbid(self, machine: Machine, factor: float, seconds: float) -> None:
        """Bid more than usual on a machine for so long."""
        self._market.press(machine, factor)
        self._contracts.disturb(machine)
        await self._clock.sleep(seconds)
        self._market.press(machine, 1.0)
        self._contracts.disturb(machine)

    async def lose_host(self, machine: Machine, seconds: float, word: str = "offline") -> None:
        """A host drops out, with everything on it, and comes back."""
        self._contracts.lose_host(machine, word)
        await self._clock.sleep(seconds)
        self._contracts.find_host(machine)

    # ---- when

    async def _live(self) -> None:
        rng = self._rng
        while True:
            await self._clock.sleep(rng.expovariate(self._busy / 3600.0))
            what = rng.random()
            if what < 0.6:
                # the cheapest go first
                rows = sorted(self._market.rows(), key=lambda r: (r["base_price"] / r["dlperf"], r["id"]))
                if rows:
                    choice = rows[int(min(len(rows), CHEAPEST) * rng.random() ** 2)]
                    self.take(choice["id"], rng.lognormvariate(8.0, 1.0))
            elif what < 0.9:
                machine = self._machine()
                self._spawn(self.outbid(machine, rng.uniform(1.2, 3.0), rng.lognormvariate(7.5, 1.0)))
            else:
                machine = self._machine()
                word = rng.choice(["offline", "offline", "unknown"])
                self._spawn(self.lose_host(machine, rng.lognormvariate(6.5, 1.5), word))

    def _machine(self) -> Machine:
        """Ours, if there is one, more often than chance would have it: rehearsals are short."""
        rng = self._rng
        ours = self._contracts.alive()
        if ours and rng.random() < 0.1:
            return rng.choice(ours).machine
        return rng.choice(self._market.machines)
