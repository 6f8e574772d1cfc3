"""All contracts of the account: renting, their lives on the clock, and the money.

Every contract has one task that compares what is wanted with what is, and talks to the remote behind it;
so the calls for one remote come in order, and the API's handlers never wait for a container.
"""

import asyncio
import math
import secrets
from collections.abc import Iterator

from choline_tui.kernel.clock import Clock
from choline_tui.simulator.backend import Gpu, Launch, RemoteBackend
from choline_tui.simulator.contract import Contract, Order, SshKey
from choline_tui.simulator.machines import HOUR
from choline_tui.simulator.market import Market, Row, Slice

__all__ = ["Contracts"]

FIRST_ID = 24_000_000
REBOOT_PART = 0.4
"""restarts take this part of the first boot; the image is there already"""
PUBLISH_PART = 0.2
"""address and ports appear this part of a boot after it runs"""


class Contracts:
    """``boot``: seconds from renting to running. ``credit``: the account's dollars at the beginning.

    ``history`` holds every contract ever made, in order, with label, created, destroyed and paid.
    """

    def __init__(
        self,
        market: Market,
        clock: Clock,
        backend: RemoteBackend,
        *,
        boot: float = 5.0,
        credit: float = 100.0,
        base_url: str = "",
    ) -> None:
        if boot < 0:
            raise ValueError("boot must not be negative")
        self.market = market
        self.clock = clock
        self.backend = backend
        self.boot = boot
        self.base_url = base_url
        self.history: list[Contract] = []
        self.faults: list[str] = []
        """what the remotes behind the contracts could not do"""
        self._alive: dict[int, Contract] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._deposited = credit
        self._paid_gone = 0.0
        self._ledger_changed = asyncio.Event()
        self._ledger: asyncio.Task[None] | None = None
        self.closed = False

    # ---- reading

    def alive(self) -> list[Contract]:
        """Every contract not destroyed, oldest first, its books up to date."""
        now = self.clock.time()
        for contract in self._alive.values():
            contract.settle(now)
        return list(self._alive.values())

    def get(self, contract_id: int) -> Contract | None:
        """A contract that is not destroyed."""
        contract = self._alive.get(contract_id)
        if contract is not None:
            contract.settle(self.clock.time())
        return contract

    def billing_now(self) -> float:
        """$/h that the account pays at this moment."""
        return sum(contract.rate() for contract in self._alive.values())

    def spent(self) -> float:
        """$ that all contracts have cost so far."""
        return self._paid_gone + sum(contract.paid for contract in self.alive())

    def credit(self) -> float:
        """$ left; goes below zero, because disks bill on."""
        return self._deposited - self.spent()

    def deposit(self, dollars: float) -> None:
        self._deposited += dollars
        self._changed()
        for contract in self._alive.values():
            contract.wake.set()

    def rented_rows(self) -> Iterator[Row]:
        """What is rented, as rows of the search for rented offers."""
        for contract in self._alive.values():
            if contract.held:
                yield contract.slice.row | {"rented": True, "rentable": False}

    # ---- what a renter can do

    def rent(self, found: Slice, order: Order, keys: list[SshKey]) -> Contract:
        """Make a contract; the caller has checked the order. A bid too low makes a stopped one."""
        if self.closed:
            raise RuntimeError("the market is closed")
        now = self.clock.time()
        contract = Contract(
            id=FIRST_ID + len(self.history) * 7,
            order=order,
            slice=found,
            gpu_price=found.row["base_price"] if order.bid is None else order.bid,
            created=now,
            settled=now,
            end_date=found.row["end_date"],
            key=secrets.token_hex(32),
            label=order.label,
            ssh_keys=list(keys),
            intended="running" if order.running else "stopped",
        )
        self.history.append(contract)
        self._alive[contract.id] = contract
        self.market.use_disk(contract.machine, order.disk_gb)
        if not (order.running and self._may_run(contract)):
            # a bid too low stays wanted: it starts, and bills, when it wins later
            contract.current = contract.next = "stopped"
        task = asyncio.get_running_loop().create_task(self._live(contract))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._ledger is None:
            self._ledger = asyncio.get_running_loop().create_task(self._watch_credit())
        self._changed()
        return contract

    def start(self, contract: Contract) -> bool:
        """Ask for it to run; False when its GPUs are not to be had now: it starts when they are."""
        contract.intended = contract.next = "running"
        able = contract.on or self._may_run(contract)
        if able:
            contract.current = "running"
        contract.wake.set()
        return able

    def stop(self, contract: Contract) -> None:
        contract.intended = contract.next = "stopped"
        if not contract.on:
            self._let_go(contract)
        contract.wake.set()

    def reboot(self, contract: Contract) -> None:
        contract.reboot = contract.running_since is not None
        contract.wake.set()

    def bid(self, contract: Contract, price: float | None) -> float:
        """Change a bid; None: whatever wins now. Returns it in $/h."""
        contract.settle(self.clock.time())
        size = len(contract.slice.gpus)
        price = self.market.min_bid(contract.machine, size) if price is None else price
        contract.order.bid = contract.gpu_price = price
        contract.wake.set()
        self._changed()
        return price

    def destroy(self, contract: Contract) -> None:
        """Gone from the listing, and from the bill, at once; the remote behind it a moment later."""
        if not contract.alive:
            return
        now = self.clock.time()
        contract.settle(now)
        contract.destroyed = now
        contract.running_since = None
        self._paid_gone += contract.paid
        del self._alive[contract.id]
        self.market.use_disk(contract.machine, -contract.order.disk_gb)
        self._release(contract)
        contract.wake.set()
        self._changed()

    async def attach(self, contract: Contract, key: SshKey) -> None:
        contract.ssh_keys.append(key)
        async with contract.lock:
            if contract.made and contract.alive:
                await self.backend.authorize(contract.id, key.key)

    async def close(self) -> None:
        """Destroy everything and wait until the remotes are gone."""
        self.closed = True
        for contract in list(self._alive.values()):
            self.destroy(contract)
        if self._ledger is not None:
            self._ledger.cancel()
            await asyncio.gather(self._ledger, return_exceptions=True)
            self._ledger = None
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.backend.close()

    # ---- a contract's life

    async def _live(self, c: Contract) -> None:
        try:
            await self._make(c)
            while c.alive:
                c.wake.clear()
                if self._may_run(c):
                    if not c.on:
                        await self._boot(c)
                        continue
                    if c.reboot:
                        await self._restart(c)
                        continue
                elif c.on or c.held:
                    await self._halt(c)
                    continue
                await self._wait(c, self._next_look(c))
        except Exception as error:
            # a host that breaks: the contract stays as it is, bills its disk, and says why
            self._broken(c, error)
            while c.alive:
                c.wake.clear()
                await self._wait(c, math.inf)
        finally:
            if c.made:
                async with c.lock:
                    try:
                        await self.backend.destroy(c.id)
                    except Exception as error:
                        self.faults.append(f"destroy {c.id}: {type(error).__name__}: {error}")

    def _may_run(self, c: Contract) -> bool:
        """Whether it may have its GPUs now; takes them when it may."""
        if not c.alive or c.intended != "running" or self.clock.time() >= c.end_date or self.credit() <= 0:
            return False
        size = len(c.slice.gpus)
        if c.order.bid is not None and c.order.bid < self.market.min_bid(c.machine, size):
            return False
        if not c.held:
            if not self.market.free(c.machine, c.slice.gpus):
                return False
            self.market.hold(c.machine, c.slice.gpus, c.id)
            c.held = True
        return True

    def _next_look(self, c: Contract) -> float:
        """Seconds after which the market may have changed what this contract may do."""
        left = c.end_date - self.clock.time()
        if c.intended != "running" or left <= 0:
            return math.inf
        if c.on and c.order.bid is None:
            return left
        return min(left, self.market.next_change(c.machine) + 0.001)

    async def _make(self, c: Contract) -> None:
        if await self._pause(c, self.boot * 0.1):
            return
        row = c.slice.row
        gpu = Gpu(
            row["gpu_name"],
            int(row["gpu_ram"]),
            row["driver_version"],
            str(row["cuda_max_good"] or ""),
        )
        launch = Launch(
            contract=c.id,
            image=c.order.image,
            env=c.container_env(self.base_url),
            onstart=c.order.onstart,
            disk_gb=c.order.disk_gb,
            gpus=[gpu] * len(c.slice.gpus),
            authorized_keys=[key.key for key in c.ssh_keys],
            machine_id=c.machine.id,
        )
        async with c.lock:
            await self.backend.create(launch)
            c.made = True
            for key in c.ssh_keys[len(launch.authorized_keys) :]:
                await self.backend.authorize(c.id, key.key)
        c.actual = "created"

    async def _boot(self, c: Contract) -> None:
        c.on, c.current, c.next, c.reboot = True, "running", "running", False
        c.boot_began = self.clock.time()
        if not c.booted:
            if await self._pause(c, self.boot * 0.1):
                return
            c.actual = "loading"
            if await self._pause(c, self.boot * 0.8):
                return
        else:
            c.actual = "loading"
            if await self._pause(c, self.boot * REBOOT_PART):
                return
        await self._run(c)

    async def _restart(self, c: Contract) -> None:
        c.reboot = False
        self._not_running(c, "rebooting")
        async with c.lock:
            await self.backend.stop(c.id)
        if not await self._pause(c, self.boot * REBOOT_PART):
            await self._run(c)

    async def _run(self, c: Contract) -> None:
        async with c.lock:
            c.endpoint = await self.backend.start(c.id)
        if not c.alive:
            return
        now = self.clock.time()
        c.settle(now)
        c.running_since, c.actual, c.booted = now, "running", True
        c.status_msg = f"success, running {c.order.image}/{c.order.runtype.split()[0]}"
        self._changed()
        if not await self._pause(c, self.boot * PUBLISH_PART):
            c.published = True

    async def _halt(self, c: Contract) -> None:
        c.next = "stopped"
        if c.on:
            # a woken wait is no reason to be quicker: nothing can undo a stop on its way
            await self.clock.sleep(self.boot * 0.05)
            if not c.alive:
                return
            if c.booted:
                async with c.lock:
                    await self.backend.stop(c.id)
                self._not_running(c, "exited")
            c.on = False
        c.endpoint, c.published, c.current = None, False, "stopped"
        self._let_go(c)

    def _not_running(self, c: Contract, actual: str) -> None:
        c.settle(self.clock.time())
        c.running_since, c.published = None, False
        c.actual, c.status_msg = actual, None
        self._changed()

    def _let_go(self, c: Contract) -> None:
        self._release(c)
        c.current = "stopped"
        c.next = c.intended

    def _release(self, c: Contract) -> None:
        if not c.held:
            return
        self.market.release(c.machine, c.id)
        c.held = False
        for other in self._alive.values():
            # those of ours that wait for these GPUs
            if other.machine is c.machine:
                other.wake.set()

    def _broken(self, c: Contract, error: Exception) -> None:
        self.faults.append(f"contract {c.id}: {type(error).__name__}: {error}")
        if c.running_since is not None:
            self._not_running(c, "offline")
        c.status_msg = f"Error response from daemon: {type(error).__name__}"

    async def _pause(self, c: Contract, seconds: float) -> bool:
        """Wait; True at once when it may not run any more."""
        until = self.clock.monotonic() + seconds
        while True:
            if not self._may_run(c) and (c.made or not c.alive):
                return True
            left = until - self.clock.monotonic()
            if left <= 0:
                return False
            c.wake.clear()
            await self._wait(c, left)

    async def _wait(self, c: Contract, seconds: float) -> None:
        await self._either(c.wake, seconds)

    async def _either(self, event: asyncio.Event, seconds: float) -> None:
        """Until the event is set, or seconds of the clock have passed."""
        waits: set[asyncio.Future[object]] = {asyncio.ensure_future(event.wait())}
        if seconds < math.inf:
            waits.add(asyncio.ensure_future(self.clock.sleep(seconds)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    # ---- money

    def _changed(self) -> None:
        self._ledger_changed.set()

    async def _watch_credit(self) -> None:
        """Stops everything when the account is empty; disks bill on."""
        while True:
            self._ledger_changed.clear()
            rate, credit = self.billing_now(), self.credit()
            if credit <= 0:
                for contract in self._alive.values():
                    contract.wake.set()
                await self._either(self._ledger_changed, math.inf)
            else:
                # a look that is a little late finds it empty for certain
                wait = credit / rate * HOUR + 0.01 if rate > 0 else math.inf
                await self._either(self._ledger_changed, wait)
