"""The engine as a process: one for a home, held by a lock; ended by a signal, a client, or idleness."""

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from choline_tui.config.home import load
from choline_tui.config.paths import Paths
from choline_tui.engine.api import READS, Api
from choline_tui.engine.context import Context, RunFiles, Sessions, Timing
from choline_tui.engine.contract import asking, sweep
from choline_tui.engine.core import Engine
from choline_tui.engine.hub import Hub
from choline_tui.engine.items import items_of
from choline_tui.engine.ledger import Ledger
from choline_tui.engine.names import Names
from choline_tui.engine.offers import OfferBook
from choline_tui.engine.planning import new_id
from choline_tui.engine.progress import reporter
from choline_tui.engine.server import Server
from choline_tui.kernel.clock import SystemClock
from choline_tui.kernel.errors import CholineError, ConfigError, RemoteError
from choline_tui.kernel.session import Address, HostCopier, Item, Progress, RemoteSession
from choline_tui.model.run import Rental, Run
from choline_tui.places.base import Listing
from choline_tui.places.here import HerePlace
from choline_tui.places.vast import VastPlace
from choline_tui.provision.copier import CopierSession
from choline_tui.provision.session import SshSession
from choline_tui.secrets import find_key
from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.keys import ensure_key
from choline_tui.ssh.local import LocalPool
from choline_tui.ssh.names import write_names
from choline_tui.ssh.openssh import OpenSsh, check_address
from choline_tui.store import Store
from choline_tui.vast.client import VastClient
from choline_tui.vast.pace import PACES, UNPACED

__all__ = ["ALREADY", "main", "serve"]

log = logging.getLogger("choline.engine")

ALREADY = 75
"""exit status when another engine has this home (EX_TEMPFAIL)"""
LOCK_WITHIN, LOCK_POLL = 4.0, 0.05
MAX_LOG = 10 << 20
LOOK_AROUND = 600.0
IDLE_CHECK = 1.0
ON_DEMAND = "--on-demand"
"""argument of an engine that a client starts for itself"""
NOBODY_CAME = 5.0


def main() -> int:
    paths = Paths().ensure()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for noisy in ("asyncssh", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with open(paths.engine_lock, "a+") as lock:
        if not _locked(lock, paths.engine_socket):
            return ALREADY
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        _trim(paths.engine_log)
        try:
            asyncio.run(serve(paths, os.environ))
        except CholineError as error:
            log.error("%s %s", error.message, error.hint)
            return error.exit_code
        except KeyboardInterrupt:
            return 130
    return 0


def _locked(lock: IO[str], socket: Path) -> bool:
    """Whether the home is ours. An engine that is just ending (its socket is gone) is waited for; one
    that works is not, or who waits would come to life when that one is stopped."""
    for _ in range(int(LOCK_WITHIN / LOCK_POLL)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if socket.exists():
                return False
            time.sleep(LOCK_POLL)
        else:
            return True
    return False


def _trim(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.stat().st_size > MAX_LOG:
            data = path.read_bytes()[-MAX_LOG // 4 :]
            path.write_bytes(data)


async def serve(paths: Paths, environ: Mapping[str, str]) -> None:
    """Run until asked to stop or idle for ``[engine] idle_exit``."""
    settings = load(paths, environ).settings
    clock = SystemClock()
    store = Store(paths.store)
    store.set_meta("home", new_id(set(), 8))
    home = store.meta("home") or ""
    key = ensure_key(paths.ssh_dir, f"choline-{home}")
    config_key = settings.vast.key.get_secret_value() if settings.vast.key else None
    found = find_key(environ, config_key)
    fingerprint = (
        hashlib.sha256(b"choline key " + found[0].reveal().encode()).hexdigest()[:12] if found else ""
    )
    pinned = paths.ssh_dir / "known_hosts"
    pool = SshPool(key, known_hosts_dir=pinned, clock=clock)

    async def connect(rental: Rental, addresses: list[Address]) -> RemoteSession:
        return SshSession(pool, addresses, name=rental.id, host_key=rental.host_key or None)

    def copies(rental: Rental, address: Address) -> HostCopier:
        return CopierSession(
            pool,
            address.host,
            address.port,
            contract=rental.contract or 0,
            home=rental.remote_home,
            name=f"copier-{rental.id}-{secrets.token_hex(4)}",  # each closes its own
            host_key=rental.copier_key,
        )

    async def session_here() -> RemoteSession:
        local: Any = LocalPool(paths.here_dir, environ)
        return SshSession(local, (), name="here")

    def machine_of(rental: Rental) -> OpenSsh:
        if rental.seen is None or not rental.seen.address:
            raise RemoteError("the machine has no address yet")
        address = Address(*rental.seen.address[0])
        check_address(address)
        return OpenSsh(rental.id, address, rental.host_key, key.private_path, pinned)

    def ssh_config(rental: Rental) -> tuple[str, str]:
        openssh = machine_of(rental)
        if not openssh.usable:
            raise ConfigError(
                f"the path {pinned} holds characters that OpenSSH cannot read",
                hint="Set CHOLINE_HOME to a directory without quotes or backslashes in its name.",
            )
        return str(openssh.write()), openssh.target

    def name_machines(rentals: Mapping[str, Rental]) -> None:
        machines = {}
        for name, rental in rentals.items():
            with contextlib.suppress(RemoteError):  # an address that is none has no name
                machines[name] = machine_of(rental)
        write_names(paths.ssh_names, machines)

    free = settings.vast.rehearsal and not settings.vast.paced
    async with VastClient(
        found[0] if found else None,
        base_url=settings.vast.url,
        clock=clock,
        paces=UNPACED if free else PACES,
    ) as client:
        place = VastPlace(
            client,
            connect=connect,
            copies=copies,
            public_key=key.public,
            guard_url=settings.vast.url,
            clock=clock,
        )
        here = HerePlace(paths.here_dir, session_here)
        hub = Hub()
        book = OfferBook(place, store, clock, ration=settings.search.daily, reserve=settings.search.reserve)

        async def items(run: Run) -> list[Item]:
            stop = threading.Event()
            loop, report = asyncio.get_running_loop(), reporter(ctx, run.id, "reading")

            def tell(progress: Progress) -> None:
                loop.call_soon_threadsafe(report, progress)

            try:
                return await asyncio.to_thread(
                    items_of, run, paths.run_dir(run.id), paths.hashes, on_progress=tell, stop=stop
                )
            finally:
                stop.set()

        ctx = Context(
            store=store,
            ledger=Ledger(store, clock, hub),
            place=place,
            book=book,
            clock=clock,
            hub=hub,
            files=RunFiles(paths.runs_dir),
            sessions=Sessions(place, here),
            here=here,
            home=home,
            items=items,
            timing=Timing(
                boot_poll=settings.engine.boot_poll,
                watch=settings.engine.watch,
                settle=settings.engine.settle,
                copy_after=settings.engine.copy_after,
            ),
        )
        engine = Engine(ctx)

        def on_listing(listing: Listing) -> None:
            sweep(ctx, listing)
            engine.sweep()

        place.on_asking = lambda: asking(ctx)
        place.on_listing = on_listing
        names = Names(store, hub, clock, name_machines)
        ended = asyncio.Event()
        api = Api(
            engine,
            place,
            paths,
            environ,
            {"url": settings.vast.url, "key": fingerprint},
            ssh_config=ssh_config,
            stop=ended.set,
            name_machines=names.refresh,
        )
        server = Server(paths.engine_socket, api.methods(), READS)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, ended.set)
        await here.sweep(store.busy_runs())
        await engine.start()
        await server.start()
        log.info("engine of home %s works on %s (pid %d)", home, settings.vast.url, os.getpid())
        around = asyncio.create_task(_look_around(place, clock))
        naming = asyncio.create_task(names.keep())
        limit = settings.engine.idle_exit
        idle = asyncio.create_task(_idle(engine, server, clock, limit, ON_DEMAND in sys.argv, ended))
        try:
            await ended.wait()
        finally:
            around.cancel()
            idle.cancel()
            naming.cancel()
            await asyncio.gather(around, idle, naming, return_exceptions=True)
            await server.close()
            await engine.close()
            await pool.close()
            store.close()
            log.info("engine ended")


async def _look_around(place: VastPlace, clock: SystemClock) -> None:
    """Now and then the whole listing, so that a contract of ours nobody follows is found."""
    while True:
        try:
            await place.look(LOOK_AROUND / 2)
        except CholineError as error:
            log.info("listing: %s", error.message)
        except Exception:
            log.exception("listing")
        await clock.sleep(LOOK_AROUND)


async def _idle(
    engine: Engine,
    server: Server,
    clock: SystemClock,
    limit: float,
    on_demand: bool,
    ended: asyncio.Event,
) -> None:
    """End after ``limit`` s with nothing to do (0: never). One that was started for a client who never
    came, because another engine was quicker, does not stay that long."""
    since, asked = clock.monotonic(), -1
    while True:
        await clock.sleep(IDLE_CHECK)
        nobody = on_demand and server.asked == 0
        if engine.busy or server.clients or server.asked != asked:
            since, asked = clock.monotonic(), server.asked
        elif (limit > 0 or nobody) and clock.monotonic() - since >= (NOBODY_CAME if nobody else limit):
            log.info("nothing to do")
            ended.set()
            return
