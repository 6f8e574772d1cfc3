"""``choline simulate``: the rehearsal market as a program, until it is told to stop."""

import asyncio
import contextlib
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from choline_tui.kernel.errors import UsageError
from choline_tui.simulator.faults import FaultPlan
from choline_tui.simulator.rehearsal import Simulator

__all__ = ["banner", "books", "serve"]


async def serve(
    *,
    port: int = 8070,
    seed: int = 7,
    offers: int = 2000,
    boot: float = 5.0,
    key: str | None = None,
    sshd: Literal["asyncssh", "openssh"] = "asyncssh",
    root: Path | None = None,
    host: str = "127.0.0.1",
    credit: float = 100.0,
    moving: bool = True,
    rate_limits: bool = False,
    faults: str | None = None,
    people: float = 0.0,
    say: Callable[[str], None] = print,
    ready: asyncio.Event | None = None,
    until: asyncio.Event | None = None,
    at_end: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Run until SIGINT or SIGTERM, or ``until`` is set; then destroy every remote.

    ``root``: where the remotes' disks are made; None: a new temporary folder, removed at the end.
    ``say`` gets the banner; ``ready`` is set when requests are answered; ``at_end`` gets the books as
    they are when it is told to stop, before the remotes are destroyed (see ``books``).
    Raises ``UsageError`` for figures that make no sense and a port that cannot be had.
    """
    # late: a market without remotes needs no SSH
    from choline_tui.simulator.remotes import ProcessBackend

    if not 0 <= port <= 65535:
        raise UsageError(f"there is no port {port}", hint="Give --port a number from 0 to 65535.")
    if not 0 <= offers <= 200_000:
        raise UsageError(f"cannot make {offers} offers", hint="Give --offers a number from 0 to 200000.")
    if not 0 <= boot <= 86_400:
        raise UsageError(f"cannot boot in {boot:g} s", hint="Give --boot seconds, from 0 to 86400.")
    if key is not None and (not key.strip() or not key.isascii()):
        raise UsageError("the key must not be empty", hint="Give --key some ASCII letters, or leave it out.")
    if not 0 <= people <= 100_000:
        raise UsageError(f"people cannot act {people:g} times an hour", hint="Give --people 0 to 100000.")
    plan = FaultPlan.load(faults, seed=seed) if faults else None
    done = until or asyncio.Event()
    # before anything is made, so that nothing can be left behind
    with _signals(done), contextlib.ExitStack() as cleanup:
        if root is None:
            root = Path(tempfile.mkdtemp(prefix="choline-market-"))
            cleanup.callback(shutil.rmtree, root, ignore_errors=True)
        backend = ProcessBackend(root, sshd)
        sim = Simulator(
            seed=seed,
            offers=offers,
            boot=boot,
            key=key,
            host=host,
            port=port,
            backend=backend,
            credit=credit,
            moving=moving,
            rate_limits=rate_limits,
            faults=plan,
            people=people,
            contested=people > 0,
        )
        try:
            await _listen(sim, host, port)
            say(banner(sim, backend.banner()))
            if ready is not None:
                ready.set()
            await done.wait()
            if at_end is not None:
                at_end(books(sim))
        finally:
            await sim.close()


async def _listen(sim: Simulator, host: str, port: int) -> None:
    try:
        await sim.start()
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            hint="Another program has the port; choose another with --port, or --port 0 for a free one.",
        ) from None


def books(sim: Simulator) -> dict[str, Any]:
    """Every contract ever made, and what bills now ($/h)."""
    alive = sim.contracts.alive()
    return {
        "made": len(sim.contracts.history),
        "labels": [contract.label for contract in sim.contracts.history],
        "alive": len(alive),
        "billing_now": sim.contracts.billing_now(),
        "credit": sim.contracts.credit(),
        "faults": len(sim.faults.fired),
    }


def banner(sim: Simulator, isolation: str) -> str:
    """What a person needs to know to use a market that runs."""
    key = "the key given" if sim.access.named else "any key"
    lines = [
        f"Rehearsal market at {sim.url}",
        f"  {sum(1 for _ in sim.market.rows())} offers on {len(sim.market.machines)} machines, "
        f"seed {sim.market.seed}; instances boot in {sim.contracts.boot:g} s; "
        f"${sim.contracts.credit():.2f} credit",
        f"  Point choline or the official client at it ({key} will do, no money is spent):",
        f"    export VAST_URL={sim.url} VAST_API_KEY={'...' if sim.access.named else 'rehearsal'}",
    ]
    if sim.faults.rules:
        name = f" ({sim.faults.name})" if sim.faults.name else ""
        lines.append(f"  Things go wrong here on purpose{name}: {len(sim.faults.rules)} kinds of faults")
    if isolation:
        lines.append(f"  {isolation}")
    lines.append("  Stop with ctrl+c; its instances are destroyed then.")
    return "\n".join(lines)


@contextlib.contextmanager
def _signals(done: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    caught = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # not the main thread (tests): the caller has ``until``
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            loop.add_signal_handler(number, done.set)
            caught.append(number)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
