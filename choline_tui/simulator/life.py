"""What one contract goes through on the clock: made, started, stopped, lost, ended.

One task compares what is wanted with what is, and talks to the remote behind the contract; so the calls
for one remote come in order, and the API's handlers never wait for a container.
"""

import asyncio
import math
import zlib
from typing import TYPE_CHECKING

from choline_tui.kernel.clock import Clock
from choline_tui.simulator.backend import Gpu, Launch
from choline_tui.simulator.contract import Contract
from choline_tui.simulator.ledger import DAY_S

if TYPE_CHECKING:
    from choline_tui.simulator.contracts import Contracts

__all__ = ["Life", "either", "image_bytes", "image_fault"]

REBOOT_PART = 0.4
"""restarts take this part of the first boot; the image is there already"""
PUBLISH_PART = 0.2
"""address and ports appear this part of a boot after it runs"""
DELETED_AFTER_S = 2 * DAY_S
"""so long after its end date a contract is deleted"""


def image_fault(image: str) -> str:
    """What a host says to an image that cannot be had; "" when nothing is wrong with it.

    There is no registry here: names with ``does-not-exist`` are unknown, those that begin with
    ``private/`` want a log-in, and a tag ``broken`` cannot be started.
    """
    name = image.rpartition(":")
    if "does-not-exist" in image:
        return f"Error response from daemon: manifest for {image} not found: manifest unknown"
    if image.startswith("private/"):
        return f"Error response from daemon: pull access denied for {name[0] or image}, unauthorized"
    if name[2] == "broken" and name[0]:
        return "Error response from daemon: OCI runtime create failed: exec format error"
    return ""


def image_bytes(image: str) -> int:
    """What a host downloads for an image: from 2 to 8 GB by its name, always the same."""
    return int(2e9 + zlib.crc32(image.encode(errors="replace")) / 0xFFFFFFFF * 6e9)


async def either(clock: Clock, event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, or seconds of the clock have passed."""
    waits: set[asyncio.Future[object]] = {asyncio.ensure_future(event.wait())}
    if seconds < math.inf:
        waits.add(asyncio.ensure_future(clock.sleep(seconds)))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


class Life:
    TASK = "a contract's life"

    def __init__(self, contracts: "Contracts", contract: Contract) -> None:
        self._all = contracts
        self._c = contract
        self._clock = contracts.clock
        self._backend = contracts.backend
        self._boot_s = contracts.boot

    async def live(self) -> None:
        c = self._c
        try:
            await self._make()
            while c.alive:
                c.wake.clear()
                if c.offline:
                    # nothing can be done to it, and nothing be known of it
                    await self._wait(math.inf)
                elif self._all.may_run(c):
                    if c.recycle:
                        await self._recycle()
                    elif not c.on:
                        await self._boot()
                    elif c.reboot:
                        await self._restart()
                    else:
                        await self._wait(self._next_look())
                elif c.on or c.held:
                    await self._halt()
                elif self._clock.time() >= c.end_date + DELETED_AFTER_S:
                    self._all.destroy(c)
                else:
                    await self._wait(self._next_look())
        except Exception as error:
            # a host that breaks: the contract stays as it is, bills its disk, and says why
            self._broken(error)
            while c.alive:
                c.wake.clear()
                await self._wait(math.inf)
        finally:
            if c.made:
                async with c.lock:
                    try:
                        await self._backend.destroy(c.id)
                    except Exception as error:
                        self._all.faults.append(f"destroy {c.id}: {type(error).__name__}: {error}")

    def _next_look(self) -> float:
        """Seconds after which the market may have changed what this contract may do."""
        c = self._c
        left = c.end_date - self._clock.time()
        if left <= 0:
            return left + DELETED_AFTER_S
        if c.intended != "running":
            return left
        if c.on and c.order.bid is None:
            return left
        return min(left, self._all.market.next_change(c.machine) + 0.001)

    # ---- first

    async def _make(self) -> None:
        c = self._c
        if await self._pause(self._boot_s * 0.1):
            return
        await self._create()
        c.actual = "created"
        if c.current == "stopped" and c.intended == "running" and not c.is_bid:
            # its GPUs were taken by somebody else meanwhile: it waits for them
            c.actual = "loading"

    async def _create(self) -> None:
        c = self._c
        row = c.slice.row
        gpu = Gpu(
            row["gpu_name"], int(row["gpu_ram"]), row["driver_version"], str(row["cuda_max_good"] or "")
        )
        keys = [] if c.fate.key_late_s else [key.key for key in c.ssh_keys]
        launch = Launch(
            contract=c.id,
            image=c.order.image,
            env=self._all.secrets() | c.container_env(self._all.base_url),
            onstart=c.order.onstart,
            disk_gb=c.order.disk_gb,
            gpus=[gpu] * len(c.slice.gpus),
            authorized_keys=keys,
            machine_id=c.machine.id,
            volumes=[(f"V.{c.volume['id']}", c.volume["mount_path"])] if c.volume else [],
        )
        async with c.lock:
            await self._backend.create(launch)
            c.made = True
            if not c.fate.key_late_s:
                for key in c.ssh_keys[len(keys) :]:
                    await self._backend.authorize(c.id, key.key)

    async def _boot(self) -> None:
        c = self._c
        c.on, c.current, c.next, c.reboot = True, "running", "running", False
        c.boot_began = self._clock.time()
        if not c.booted:
            if await self._pause(self._boot_s * 0.1):
                return
            c.actual = "loading"
            if await self._pause(self._boot_s * 0.8):
                return
            if fault := c.fate.bad_image or image_fault(c.order.image):
                # never terminal: the daemon tries again and again
                c.status_msg = fault
                await self._pause(math.inf)
                return
            if self._all.bill_pulls:
                self._all.settle(c)
                c.pulled(image_bytes(c.order.image))
        else:
            c.actual = "loading"
            if await self._pause(self._boot_s * REBOOT_PART):
                return
        await self._run()

    async def _run(self) -> None:
        c = self._c
        if c.fate.start_fails:
            raise RuntimeError(c.fate.start_fails)
        async with c.lock:
            c.endpoint = await self._backend.start(c.id)
        if not c.alive:
            return
        now = self._clock.time()
        self._all.settle(c)
        first = not c.booted
        c.running_since, c.actual, c.booted = now, "running", True
        c.status_msg = f"success, running {c.order.image}/{c.order.runtype.split()[0]}"
        c.ran.set()
        self._all.changed()
        if first and c.fate.key_late_s:
            self._all.spawn(self._let_in())
        if not await self._pause(self._boot_s * PUBLISH_PART + c.fate.ports_late_s):
            c.published = True

    async def _let_in(self) -> None:
        c = self._c
        await self._clock.sleep(c.fate.key_late_s)
        for key in list(c.ssh_keys):
            async with c.lock:
                if c.alive:
                    await self._backend.authorize(c.id, key.key)

    # ---- later

    async def _restart(self) -> None:
        c = self._c
        c.reboot = False
        self._not_running("rebooting")
        async with c.lock:
            await self._backend.stop(c.id)
        if not await self._pause(self._boot_s * REBOOT_PART):
            await self._run()

    async def _recycle(self) -> None:
        c = self._c
        c.recycle = c.reboot = False
        if c.on:
            self._not_running("recycling")
        async with c.lock:
            c.made = False
            await self._backend.destroy(c.id)
        c.on = c.booted = False
        c.endpoint = None
        # the disk bills on while it is made anew
        await self._create()

    async def _halt(self) -> None:
        c = self._c
        c.next = "stopped"
        if c.on:
            # a woken wait is no reason to be quicker: nothing can undo a stop on its way
            await self._clock.sleep(self._boot_s * 0.05)
            if not c.alive:
                return
            if c.booted:
                async with c.lock:
                    await self._backend.stop(c.id)
                self._not_running("exited")
            c.on = False
        c.endpoint, c.published, c.current = None, False, "stopped"
        self._all.let_go(c)

    def _not_running(self, actual: str) -> None:
        c = self._c
        self._all.settle(c)
        c.running_since, c.published = None, False
        c.actual, c.status_msg = actual, None
        self._all.changed()

    def _broken(self, error: Exception) -> None:
        c = self._c
        self._all.faults.append(f"contract {c.id}: {type(error).__name__}: {error}")
        if c.running_since is not None:
            self._not_running("offline")
        words = c.fate.start_fails or type(error).__name__
        c.status_msg = f"Error response from daemon: {words}"

    # ---- waiting

    async def _pause(self, seconds: float) -> bool:
        """Wait; True at once when it may not run any more."""
        c = self._c
        until = self._clock.monotonic() + seconds
        while True:
            if c.recycle or (not self._all.may_run(c) and (c.made or not c.alive)):
                return True
            left = until - self._clock.monotonic()
            if left <= 0 and not c.offline:
                return False
            c.wake.clear()
            # while its host is lost it gets no further
            await self._wait(math.inf if c.offline else left)

    async def _wait(self, seconds: float) -> None:
        await either(self._clock, self._c.wake, seconds)
