"""All contracts of the account: renting, what a renter may change about them, and the money.

What a contract goes through on the clock is in ``life``.
"""

import asyncio
import math
import secrets
from collections.abc import Callable, Coroutine, Iterator

from choline_tui.kernel.clock import Clock
from choline_tui.simulator.backend import RemoteBackend
from choline_tui.simulator.contract import Contract, Order, PriceIncrease, SshKey
from choline_tui.simulator.ledger import DAY_S, Deposit
from choline_tui.simulator.life import Life, either
from choline_tui.simulator.machines import HOUR, Machine
from choline_tui.simulator.market import Market, Row, Slice

__all__ = ["Contracts"]

FIRST_ID = 24_000_000
NO_CREDIT_GRACE_S = 7 * DAY_S
"""an account empty for so long loses its instances; Vast does not say how long"""


class Contracts:
    """``boot``: seconds from renting to running. ``credit``: the account's dollars at the beginning.
    ``bill_pulls``: an image's download is on the bill; Vast does not say whether it is.

    ``history`` holds every contract ever made, in order, with label, created, destroyed and paid.
    ``on_rent`` is called with every new contract before anything happens to it.
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
        no_credit_grace: float = NO_CREDIT_GRACE_S,
        bill_pulls: bool = True,
    ) -> None:
        if boot < 0:
            raise ValueError("boot must not be negative")
        self.market = market
        self.clock = clock
        self.backend = backend
        self.boot = boot
        self.base_url = base_url
        self.no_credit_grace = no_credit_grace
        self.bill_pulls = bill_pulls
        self.history: list[Contract] = []
        self.faults: list[str] = []
        """what the remotes behind the contracts could not do"""
        self.deposits = [Deposit(clock.time(), credit)]
        self.other_costs: Callable[[], float] = lambda: 0.0
        """$ so far for what is no contract (volumes)"""
        self.secrets: Callable[[], dict[str, str]] = dict
        """the account's variables, for every new container"""
        self.on_rent: Callable[[Contract], None] = lambda contract: None
        self._alive: dict[int, Contract] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._paid_gone = 0.0
        self._ledger_changed = asyncio.Event()
        self._ledger: asyncio.Task[None] | None = None
        self._next_increase = 1
        self.closed = False

    # ---- reading

    def alive(self) -> list[Contract]:
        """Every contract not destroyed, oldest first, its books up to date."""
        for contract in self._alive.values():
            self.settle(contract)
        return list(self._alive.values())

    def get(self, contract_id: int) -> Contract | None:
        """A contract that is not destroyed."""
        contract = self._alive.get(contract_id)
        if contract is not None:
            self.settle(contract)
        return contract

    def settle(self, contract: Contract) -> None:
        """Book time and bytes up to now."""
        contract.settle(self.clock.time())
        traffic = getattr(self.backend, "traffic", None)
        if traffic is not None and contract.made and contract.alive:
            contract.carry(*traffic(contract.id))

    def billing_now(self) -> float:
        """$/h that the account pays at this moment."""
        return sum(contract.rate() for contract in self._alive.values())

    def spent(self) -> float:
        """$ that everything has cost so far."""
        contracts = sum(contract.paid for contract in self.alive())
        return self._paid_gone + contracts + self.other_costs()

    def deposited(self) -> float:
        return sum(deposit.amount for deposit in self.deposits)

    def credit(self) -> float:
        """$ left; goes below zero, because disks bill on."""
        return self.deposited() - self.spent()

    def deposit(self, dollars: float, description: str = "credit") -> None:
        self.deposits.append(Deposit(self.clock.time(), dollars, description))
        self.changed()
        for contract in self._alive.values():
            contract.wake.set()

    def rented_rows(self) -> Iterator[Row]:
        """What is rented, as rows of the search for rented offers."""
        for contract in self._alive.values():
            if contract.held:
                yield contract.slice.row | {"rented": True, "rentable": False}

    # ---- what a renter can do

    def rent(self, found: Slice, order: Order, keys: list[SshKey]) -> Contract:
        """Make a contract; the caller has checked the order. A bid too low makes a stopped one, and GPUs
        that are taken one that waits for them."""
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
        self.on_rent(contract)
        self.market.use_disk(contract.machine, order.disk_gb)
        if not (order.running and self.may_run(contract)):
            # a bid too low stays wanted: it starts, and bills, when it wins later
            contract.current = contract.next = "stopped"
        self.spawn(Life(self, contract).live()).set_name(Life.TASK)
        if self._ledger is None:
            self._ledger = asyncio.get_running_loop().create_task(self._watch_credit())
        self.changed()
        return contract

    def start(self, contract: Contract) -> bool:
        """Ask for it to run; False when its GPUs are not to be had now: it starts when they are."""
        contract.intended = contract.next = "running"
        able = contract.on or self.may_run(contract)
        if able:
            contract.current = "running"
        contract.wake.set()
        return able

    def stop(self, contract: Contract) -> None:
        contract.intended = contract.next = "stopped"
        if not contract.on:
            self.let_go(contract)
        contract.wake.set()

    def reboot(self, contract: Contract) -> None:
        contract.reboot = contract.running_since is not None
        contract.wake.set()

    def recycle(self, contract: Contract) -> None:
        """Made anew in its place: its disk is lost, its GPUs are kept."""
        contract.recycle = contract.made
        contract.wake.set()

    def bid(self, contract: Contract, price: float | None) -> float:
        """Change a bid; None: whatever wins now. Returns it in $/h."""
        self.settle(contract)
        size = len(contract.slice.gpus)
        price = self.market.min_bid(contract.machine, size) if price is None else price
        contract.order.bid = contract.gpu_price = price
        self.market.raise_bid(contract.machine, contract.slice.gpus, contract.id, price)
        contract.wake.set()
        self.changed()
        return price

    def reprice(self, contract: Contract, price: float) -> None:
        """The GPUs cost so many $/h from now on."""
        self.settle(contract)
        contract.gpu_price = price
        self.changed()

    def want_more(self, contract: Contract, price: float) -> PriceIncrease:
        """The host would go on for another term, at another price ($/h for the GPUs)."""
        end = contract.end_date + contract.machine.term
        contract.increase = PriceIncrease(self._next_increase, price, end, self.clock.time())
        self._next_increase += 1
        return contract.increase

    def answer_increase(self, contract: Contract, accept: bool) -> None:
        """Accepted, both price and end date are the new ones; rejected, it ends as agreed."""
        increase, contract.increase = contract.increase, None
        if increase is not None and accept:
            contract.end_date = increase.until
            self.reprice(contract, increase.price)
            contract.wake.set()

    def destroy(self, contract: Contract) -> None:
        """Gone from the listing, and from the bill, at once; the remote behind it a moment later."""
        if not contract.alive:
            return
        self.settle(contract)
        contract.destroyed = self.clock.time()
        contract.running_since = None
        self._paid_gone += contract.paid
        del self._alive[contract.id]
        self.market.use_disk(contract.machine, -contract.order.disk_gb)
        self.release(contract)
        contract.wake.set()
        self.changed()

    async def attach(self, contract: Contract, key: SshKey) -> None:
        contract.ssh_keys.append(key)
        async with contract.lock:
            if contract.made and contract.alive:
                await self.backend.authorize(contract.id, key.key)

    async def detach(self, contract: Contract, key_id: int) -> None:
        """From now on no login with that key, unless another of the same text is there."""
        gone = [key.key for key in contract.ssh_keys if key.id == key_id]
        contract.ssh_keys = [key for key in contract.ssh_keys if key.id != key_id]
        revoke = getattr(self.backend, "revoke", None)
        async with contract.lock:
            for text in gone:
                still = any(key.key == text for key in contract.ssh_keys)
                if revoke is not None and not still and contract.made and contract.alive:
                    await revoke(contract.id, text)

    async def close(self) -> None:
        """Destroy everything and wait until the remotes are gone."""
        self.closed = True
        for contract in list(self._alive.values()):
            self.destroy(contract)
        if self._ledger is not None:
            self._ledger.cancel()
            await asyncio.gather(self._ledger, return_exceptions=True)
            self._ledger = None
        for task in self._tasks:
            # the lives end by themselves, with the remotes behind them; whoever only waits does not
            if task.get_name() != Life.TASK:
                task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.backend.close()

    # ---- the hosts

    def on_machine(self, machine: Machine) -> list[Contract]:
        return [c for c in self._alive.values() if c.machine is machine]

    def lose_host(self, machine: Machine, word: str = "offline") -> None:
        """The host of some contracts is gone: nothing answers there and nothing bills."""
        self.market.lose(machine, True)
        for contract in self.on_machine(machine):
            self.settle(contract)
            contract.offline = word
            self._reachable(contract, False)
            contract.wake.set()
        self.changed()

    def find_host(self, machine: Machine) -> None:
        """It is back; what ran there has run on."""
        self.market.lose(machine, False)
        for contract in self.on_machine(machine):
            self.settle(contract)
            contract.offline = ""
            self._reachable(contract, True)
            contract.wake.set()
        self.changed()

    def _reachable(self, contract: Contract, reachable: bool) -> None:
        refuse = getattr(self.backend, "refuse_ssh", None)
        if refuse is not None and contract.made:
            self.spawn(self._hook(contract, refuse(contract.id, not reachable)))

    async def _hook(self, contract: Contract, call: "asyncio.Future[None]") -> None:
        async with contract.lock:
            try:
                await call
            except Exception as error:
                if contract.alive:
                    self.faults.append(f"contract {contract.id}: {type(error).__name__}: {error}")

    # ---- what lives are made of

    def spawn(self, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        """A task that ends with the market at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def may_run(self, c: Contract) -> bool:
        """Whether it may have its GPUs now; takes them when it may."""
        if not c.alive or c.intended != "running" or self.clock.time() >= c.end_date or self.credit() <= 0:
            return False
        size = len(c.slice.gpus)
        bid = c.order.bid
        if bid is not None and (c.fate.outbid or bid < self.market.min_bid(c.machine, size)):
            return False
        if not c.held:
            if not self.market.free(c.machine, c.slice.gpus, bid):
                return False
            for loser in self.market.hold(c.machine, c.slice.gpus, c.id, bid):
                other = self._alive.get(loser)
                if other is not None:
                    other.held = False
                    other.wake.set()
            c.held = True
        return True

    def let_go(self, c: Contract) -> None:
        self.release(c)
        c.current = "stopped"
        c.next = c.intended

    def release(self, c: Contract) -> None:
        if not c.held:
            return
        self.market.release(c.machine, c.id)
        c.held = False
        self.disturb(c.machine)

    def disturb(self, machine: Machine) -> None:
        """Something changed on a machine: its contracts look whether they may run."""
        for contract in self.on_machine(machine):
            contract.wake.set()

    # ---- money

    def changed(self) -> None:
        self._ledger_changed.set()

    async def _watch_credit(self) -> None:
        """Stops everything when the account is empty; disks bill on, and are deleted in the end."""
        empty_since = None
        while True:
            self._ledger_changed.clear()
            rate, credit = self.billing_now(), self.credit()
            if credit > 0:
                empty_since = None
                # a look that is a little late finds it empty for certain
                wait = credit / rate * HOUR + 0.01 if rate > 0 else math.inf
            else:
                now = self.clock.time()
                empty_since = now if empty_since is None else empty_since
                for contract in self._alive.values():
                    contract.wake.set()
                wait = empty_since + self.no_credit_grace - now
                if wait <= 0:
                    for contract in list(self._alive.values()):
                        self.destroy(contract)
                    wait = math.inf
            await either(self.clock, self._ledger_changed, wait)
