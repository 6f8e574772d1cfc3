"""Remotes without sockets or processes, for thousands of lives on a virtual clock.

``ModelledBackend`` is a ``simulator.backend.RemoteBackend``; ``session`` gives what SSH would: an object
with the methods of ``kernel.session.RemoteSession``, in process.
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from choline_tui.kernel.clock import Clock
from choline_tui.kernel.errors import NotFound, RemoteError, SshRefused
from choline_tui.kernel.protocol import JobSpec
from choline_tui.simulator.backend import Endpoint, Launch
from choline_tui.simulator.remotes.job_model import JobModel
from choline_tui.simulator.remotes.machine_model import Api, Machine
from choline_tui.simulator.remotes.modelled_copier import ModelledCopier
from choline_tui.simulator.remotes.modelled_session import ModelledSession

__all__ = ["Execution", "ModelledBackend"]

FIRST_PORT = 20_000


@dataclass(frozen=True)
class Execution:
    """A job that was really begun somewhere; a job id must never be here twice."""

    contract: int
    job: str
    at: float
    """epoch s"""


async def _nobody(contract: int, action: str) -> None:
    raise RemoteError("this rehearsal has no market that a machine could ask")


class ModelledBackend:
    """``model_for``: what the job of a spec does (default: a minute, exit code 0). ``api``: how a machine
    asks the market to "stop" or "destroy" it, as with its instance key; it may be set later, as the
    attribute. ``speed``: bytes/s of transfers. ``latency``: s of every request over a connection.
    """

    isolation = "modelled"
    copies = True
    """whether the hosts have a copier"""

    def __init__(
        self,
        clock: Clock,
        model_for: Callable[[JobSpec], JobModel] | None = None,
        *,
        api: Api | None = None,
        speed: float = 50e6,
        latency: float = 0.05,
    ) -> None:
        self.api: Api = api or _nobody
        self.executions: list[Execution] = []
        self._clock = clock
        self._model_for = model_for or (lambda spec: JobModel())
        self._speed = speed
        self._latency = latency
        self._machines: dict[int, Machine] = {}

    def banner(self) -> str:
        return "remotes are modelled: nothing runs on this computer"

    # -- RemoteBackend

    async def create(self, launch: Launch) -> None:
        if launch.contract in self._machines:
            raise RemoteError(f"contract {launch.contract} has a container already")

        def begin(spec: JobSpec) -> JobModel:
            self.executions.append(Execution(launch.contract, spec.id, self._clock.time()))
            return self._model_for(spec)

        async def ask(contract: int, action: str) -> None:
            await self.api(contract, action)

        used = {machine.port for machine in self._machines.values()}
        port = next(p for p in range(FIRST_PORT, FIRST_PORT + len(used) + 1) if p not in used)
        self._machines[launch.contract] = Machine(launch, self._clock, begin, ask, port)

    async def start(self, contract: int) -> Endpoint:
        machine = self.machine(contract)
        machine.start()
        return Endpoint("127.0.0.1", machine.port)

    async def stop(self, contract: int) -> None:
        self.machine(contract).stop()

    async def destroy(self, contract: int) -> None:
        machine = self._machines.pop(contract, None)
        if machine is not None:
            machine.stop()

    async def authorize(self, contract: int, public_key: str) -> None:
        keys = self.machine(contract).launch.authorized_keys
        if public_key not in keys:
            keys.append(public_key)

    def log(self, contract: int) -> str:
        return "onstart ran\n" * self.machine(contract).starts

    async def close(self) -> None:
        machines, self._machines = list(self._machines.values()), {}
        for machine in machines:
            await machine.close()

    # -- connections

    def session(self, contract: int) -> ModelledSession:
        """Connect. Raises ``SshRefused`` when the container does not run (or is told to refuse)."""
        machine = self._machines.get(contract)
        if machine is None or not machine.running or machine.refuse:
            raise SshRefused(f"nothing listens for SSH at contract {contract}")
        return ModelledSession(machine, self.host_key(contract), self._clock, self._speed, self._latency)

    async def copier(self, contract: int) -> Endpoint:
        """Where the host's copier answers for a machine's disk, whether the machine runs or not."""
        return Endpoint("127.0.0.1", self.machine(contract).port)

    def copier_session(self, contract: int) -> ModelledCopier:
        """Connect to it. Nothing is there to be refused before it is asked for something."""
        return ModelledCopier(lambda: self._machines.get(contract), contract, self._clock, self._speed)

    def session_at(self, port: int) -> ModelledSession:
        """Connect to an ``Endpoint``'s port."""
        for contract, machine in self._machines.items():
            if machine.port == port:
                return self.session(contract)
        raise SshRefused(f"nothing listens at port {port}")

    def host_key(self, contract: int) -> str:
        """The SSH host key, constant for a contract, as an OpenSSH public key line."""
        secret = hashlib.sha256(b"rehearsal host key %d" % contract).digest()
        blob = b"\0\0\0\x0bssh-ed25519" + b"\0\0\0\x20" + secret
        return "ssh-ed25519 " + base64.b64encode(blob).decode()

    # -- hooks for tests and for faults

    def machine(self, contract: int) -> Machine:
        try:
            return self._machines[contract]
        except KeyError:
            raise NotFound(f"there is no container for contract {contract}") from None

    async def refuse_ssh(self, contract: int, refuse: bool) -> None:
        """From now on nothing listens at the SSH port (connections are cut), or it does again."""
        machine = self.machine(contract)
        machine.refuse = refuse
        if refuse:
            machine.cut()

    async def fill_disk(self, contract: int, full: bool) -> None:
        """From now on nothing more can be written there, or it can again."""
        self.machine(contract).full = full

    def files(self, contract: int) -> dict[str, bytes]:
        """Results on its disk, by their path below the container's home."""
        return {f"choline/{path}": data for path, data in self.machine(contract).files().items()}

    def remove_files(self, contract: int, paths: list[str]) -> None:
        self.machine(contract).removed.update(path.removeprefix("choline/") for path in paths)

    def traffic(self, contract: int) -> tuple[int, int]:
        """Bytes that the machine has sent and received so far."""
        machine = self._machines.get(contract)
        return (machine.bytes_out, machine.bytes_in) if machine is not None else (0, 0)

    async def drop_ssh(self, contract: int) -> None:
        """Cut the SSH connections that are there; new ones are answered."""
        self.machine(contract).cut()
