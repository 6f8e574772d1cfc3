"""What the market asks of the remotes behind its instances.

``remotes/`` implements ``RemoteBackend`` with real processes and in process; ``NoRemotes`` is for the
market alone. The market never asks twice at once for one contract: calls for a contract come in order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Endpoint", "Gpu", "Launch", "NoRemotes", "RemoteBackend"]


@dataclass(frozen=True)
class Endpoint:
    """Where an instance's SSH answers, on loopback."""

    host: str
    port: int


@dataclass(frozen=True)
class Gpu:
    """One card of an instance as its driver would report it."""

    name: str
    memory_mib: int
    driver: str
    """driver version, "550.90.07" """
    cuda: str
    """highest CUDA the driver supports, "12.4" """


@dataclass
class Launch:
    """Everything a container is made of."""

    contract: int
    image: str
    env: dict[str, str]
    """the container's environment: CONTAINER_ID, CONTAINER_API_KEY, VAST_CONTAINERLABEL, PUBLIC_IPADDR,
    GPU_COUNT, VAST_URL (the simulator's own address) and the others of Vast, and the renter's own"""
    onstart: str
    """run by the shell at every start"""
    disk_gb: float
    gpus: list[Gpu] = field(default_factory=list)
    authorized_keys: list[str] = field(default_factory=list)
    """OpenSSH public key lines of the account when it was created"""
    machine_id: int = 0
    volumes: list[tuple[str, str]] = field(default_factory=list)
    """name and path in the container of each volume mounted there"""

    def __repr__(self) -> str:
        # the environment holds the instance key and the renter's secrets
        return f"Launch(contract={self.contract}, image={self.image!r}, disk_gb={self.disk_gb})"


class RemoteBackend(Protocol):
    async def create(self, launch: Launch) -> None:
        """Make the container and its disk; nothing runs yet."""
        ...

    async def start(self, contract: int) -> Endpoint:
        """(Re)start the container: onstart runs, and SSH answers at the endpoint returned."""
        ...

    async def stop(self, contract: int) -> None:
        """End all its processes; the disk stays."""
        ...

    async def destroy(self, contract: int) -> None:
        """End all its processes and remove the disk."""
        ...

    async def authorize(self, contract: int, public_key: str) -> None:
        """Accept one more key, from now on."""
        ...

    def log(self, contract: int) -> str:
        """The container's standard output and error (onstart's)."""
        ...

    async def close(self) -> None:
        """End every remote and remove every disk."""
        ...


class NoRemotes:
    """Instances without anything behind them, for tests of the market: nothing listens at their address."""

    def __init__(self, note: str = "instances have nothing behind them") -> None:
        self.note = note
        self.launches: dict[int, Launch] = {}
        self.running: set[int] = set()
        self._logs: dict[int, list[str]] = {}

    async def create(self, launch: Launch) -> None:
        self.launches[launch.contract] = launch
        self._logs[launch.contract] = [f"image {launch.image}"]

    async def start(self, contract: int) -> Endpoint:
        self.running.add(contract)
        self._logs[contract].append("started")
        return Endpoint("127.0.0.1", 40_000 + contract % 20_000)

    async def stop(self, contract: int) -> None:
        self.running.discard(contract)
        self._logs[contract].append("stopped")

    async def destroy(self, contract: int) -> None:
        self.running.discard(contract)
        self.launches.pop(contract, None)
        self._logs.pop(contract, None)

    async def authorize(self, contract: int, public_key: str) -> None:
        self.launches[contract].authorized_keys.append(public_key)

    def log(self, contract: int) -> str:
        return "".join(line + "\n" for line in self._logs.get(contract, []))

    def environment(self, contract: int) -> Mapping[str, str]:
        """The environment a contract's container was made with."""
        return self.launches[contract].env

    async def close(self) -> None:
        self.launches.clear()
        self.running.clear()
