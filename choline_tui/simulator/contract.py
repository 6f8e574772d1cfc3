"""One rented instance: what was agreed, how it stands, what it has cost."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from choline_tui.simulator.backend import Endpoint
from choline_tui.simulator.ledger import Bill
from choline_tui.simulator.machines import HOUR, MONTH, Machine
from choline_tui.simulator.market import Slice

__all__ = ["Contract", "Fate", "Order", "PriceIncrease", "SshKey"]


@dataclass
class SshKey:
    id: int
    user_id: int
    key: str
    created_at: float


@dataclass
class Order:
    """What a renter asks for, checked. ``bid`` in $/h; None: on demand."""

    image: str
    disk_gb: float
    env: dict[str, str] = field(default_factory=dict, repr=False)
    """as sent, docker flags ("-p 8080:8080": "1") among it"""
    onstart: str = field(default="", repr=False)
    args: list[str] = field(default_factory=list)
    runtype: str = "ssh"
    label: str | None = None
    bid: float | None = None
    running: bool = True
    cancel_unavail: bool = False


@dataclass
class Fate:
    """What goes wrong with a contract on purpose; by itself nothing does."""

    bad_image: str = ""
    """the host's words; such a contract loads for ever"""
    start_fails: str = ""
    """the host's words; the container is made and cannot be started"""
    ports_late_s: float = 0.0
    key_late_s: float = 0.0
    """the account's keys are let in so long after SSH answers"""
    proxy_closed_s: float = 0.0
    """the proxy refuses for so long after the container runs"""
    outbid: bool = False
    """somebody bids more, whatever ours is"""


@dataclass(frozen=True)
class PriceIncrease:
    """What a host wants: so many $/h for the GPUs, and to go on until ``until`` (epoch s)."""

    id: int
    price: float
    until: float
    created: float


@dataclass(eq=False)
class Contract:
    """Times are epoch s, prices $/h.

    ``intended``: what the renter asked for. ``actual``: what the host reports (None: nothing yet).
    ``current``/``next``: the contract's state now and soon. ``held``: it has its GPUs. ``on``: its
    container is up or on its way up.
    """

    id: int
    order: Order
    slice: Slice
    gpu_price: float
    created: float
    end_date: float
    key: str = field(repr=False)
    label: str | None = None
    ssh_keys: list[SshKey] = field(default_factory=list)
    destroyed: float | None = None
    intended: str = "running"
    actual: str | None = None
    current: str = "running"
    next: str = "running"
    status_msg: str | None = None
    held: bool = False
    made: bool = False
    """its disk exists behind it"""
    on: bool = False
    booted: bool = False
    """it has run at least once"""
    reboot: bool = False
    boot_began: float = 0.0
    running_since: float | None = None
    endpoint: Endpoint | None = None
    published: bool = False
    """address and ports are in the listing"""
    bill: Bill = field(default_factory=Bill)
    """what it cost, up to ``settled``"""
    settled: float = 0.0
    traffic: tuple[int, int] = (0, 0)
    """bytes out and in that are on the bill"""
    offline: str = ""
    """the host is lost: "offline" or "unknown", what the listing says meanwhile"""
    recycle: bool = False
    fate: Fate = field(default_factory=Fate)
    increase: PriceIncrease | None = None
    prepaid: float = 0.0
    """$ that reserve it; they lower the price by ``discount`` (a part of it)"""
    discount: float = 0.0
    template: str | None = None
    """hash id of the template it was made of"""
    volume: dict[str, Any] | None = None
    ran: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """it has run at least once"""
    wake: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @property
    def machine(self) -> Machine:
        return self.slice.machine

    @property
    def alive(self) -> bool:
        return self.destroyed is None

    @property
    def is_bid(self) -> bool:
        return self.order.bid is not None

    @property
    def status(self) -> str | None:
        """``actual_status`` as the listing has it."""
        return self.offline or self.actual

    @property
    def up(self) -> bool:
        """It runs, and its host is there."""
        return self.running_since is not None and not self.offline

    @property
    def paid(self) -> float:
        """$ so far, up to ``settled``."""
        return self.bill.total

    @property
    def gpu_seconds(self) -> float:
        return sum(day.gpu_s for day in self.bill.days.values())

    @property
    def disk_price(self) -> float:
        return self.order.disk_gb * self.machine.storage_cost * HOUR / MONTH

    def rate(self) -> float:
        """$/h at this moment: the disk as long as it exists, the GPUs only while it runs; nothing while
        its host is lost."""
        if not self.alive or self.offline:
            return 0.0
        return self.disk_price + (self.gpu_price if self.running_since is not None else 0.0)

    def settle(self, now: float) -> None:
        """Book what it has cost up to ``now``; a clock that went back books nothing."""
        if now > self.settled:
            if self.alive and not self.offline:
                gpu = self.gpu_price if self.running_since is not None else 0.0
                self.bill.book(self.settled, now, gpu, self.disk_price)
            self.settled = now

    def carry(self, out: int, into: int) -> None:
        """Book bytes, told as totals since the contract began."""
        up, down = max(0, out - self.traffic[0]), max(0, into - self.traffic[1])
        self.traffic = (max(out, self.traffic[0]), max(into, self.traffic[1]))
        facts = self.slice.row
        self.bill.book_bytes(self.settled, up, down, facts["inet_up_cost"], facts["inet_down_cost"])

    def pulled(self, size: float) -> None:
        """Book the bytes of its image, once it is there."""
        self.bill.book_bytes(self.settled, 0, size, 0.0, self.slice.row["inet_down_cost"])

    def container_env(self, base_url: str) -> dict[str, str]:
        """The environment of the container's first process: Vast's own variables and the renter's."""
        own = {name: value for name, value in self.order.env.items() if not name.startswith("-")}
        ports = {f"VAST_{kind.upper()}_PORT_{n}": str(n) for n, kind in self._mapped() if n != 22}
        return {
            "DATA_DIRECTORY": "/workspace/",
            "SSH_PUBLIC_KEY": self.ssh_keys[0].key if self.ssh_keys else "",
            **own,
            **ports,
            "CONTAINER_ID": str(self.id),
            "CONTAINER_API_KEY": self.key,
            "VAST_CONTAINERLABEL": f"C.{self.id}",
            "PUBLIC_IPADDR": "127.0.0.1",
            "GPU_COUNT": str(len(self.slice.gpus)),
            "VAST_URL": base_url,
        }

    def ports(self) -> dict[str, Any] | None:
        """The port map in docker's shape; None until it is known."""
        if not self.published or self.endpoint is None:
            return None
        found = {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(self.endpoint.port)}]}  # noqa: S104
        for inside, kind in self._mapped():
            if inside != 22:
                found[f"{inside}/{kind}"] = [{"HostIp": "0.0.0.0", "HostPort": str(inside)}]  # noqa: S104
        return found

    def _mapped(self) -> Iterator[tuple[int, str]]:
        """Ports that the order opens, with "tcp" or "udp". The remote's processes stand on this computer's
        own loopback, so each maps to itself."""
        for flag in self.order.env:
            if flag.startswith("-p ") and ":" in flag:
                inside, _, kind = flag[3:].strip().rpartition(":")[2].partition("/")
                if (
                    inside.isdecimal()
                    and inside.isascii()
                    and len(inside) <= 5
                    and kind in ("", "tcp", "udp")
                ):
                    yield int(inside), kind or "tcp"
