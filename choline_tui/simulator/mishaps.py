"""Faults of contracts, carried out: what a plan (``faults``) says happens to a contract, and when.

From the moment it is made: ``wrong-price`` (it costs ``factor`` times what the offer said), ``bad-image``
(never runs and never says so; ``text``: the host's words), ``start-fails``, ``late-ports`` (``seconds``
after running), ``late-key`` (keys are let in ``seconds`` after SSH answers), ``proxy-closed`` (for
``seconds``). After it has run for ``delay_s``, for ``seconds``: ``ssh-refused``, ``disk-full``,
``host-lost`` (``text``: "offline" or "unknown"), ``outbid`` (bids only); once: ``ssh-dropped`` (in the
middle of whatever goes on), ``stopped`` (by the market), ``price-increase`` (the host wants ``factor``
times as much). ``seconds`` is 60 when the plan does not say.
"""

import asyncio
from typing import Any

from choline_tui.kernel.clock import Clock
from choline_tui.simulator.contract import Contract
from choline_tui.simulator.contracts import Contracts
from choline_tui.simulator.faults import FaultPlan, Rule
from choline_tui.simulator.strangers import Strangers

__all__ = ["Mishaps"]

SECONDS = 60.0
BAD_IMAGE = "Error response from daemon: manifest for {} not found: manifest unknown"
START_FAILS = "OCI runtime create failed: unable to start container process"


class Mishaps:
    def __init__(self, plan: FaultPlan, contracts: Contracts, strangers: Strangers, clock: Clock) -> None:
        self._plan = plan
        self._contracts = contracts
        self._strangers = strangers
        self._clock = clock

    def made(self, contract: Contract) -> None:
        """A contract was made: what will happen to it."""
        age = self._clock.time() - self._plan.began
        for rule in self._plan.hits_of_contract(contract.label or "", age):
            if not self._at_once(contract, rule):
                self._contracts.spawn(self._later(contract, rule))

    def _at_once(self, contract: Contract, rule: Rule) -> bool:
        seconds = SECONDS if rule.seconds is None else rule.seconds
        fate = contract.fate
        if rule.what == "wrong-price":
            contract.gpu_price *= rule.factor
        elif rule.what == "bad-image":
            fate.bad_image = rule.text or BAD_IMAGE.format(contract.order.image)
        elif rule.what == "start-fails":
            fate.start_fails = rule.text or START_FAILS
        elif rule.what == "late-ports":
            fate.ports_late_s = seconds
        elif rule.what == "late-key":
            fate.key_late_s = seconds
        elif rule.what == "proxy-closed":
            fate.proxy_closed_s = seconds
        else:
            return False
        return True

    async def _later(self, contract: Contract, rule: Rule) -> None:
        await contract.ran.wait()
        await self._clock.sleep(rule.delay_s)
        if not contract.alive:
            return
        seconds = SECONDS if rule.seconds is None else rule.seconds
        if rule.what == "ssh-refused":
            await self._for(contract, "refuse_ssh", seconds)
        elif rule.what == "disk-full":
            await self._for(contract, "fill_disk", seconds)
        elif rule.what == "ssh-dropped":
            await self._ask(contract, "drop_ssh")
        elif rule.what == "host-lost":
            await self._strangers.lose_host(contract.machine, seconds, rule.text or "offline")
        elif rule.what == "stopped":
            self._contracts.stop(contract)
        elif rule.what == "price-increase":
            self._contracts.want_more(contract, contract.gpu_price * rule.factor)
        elif rule.what == "outbid" and contract.is_bid:
            contract.fate.outbid = True
            contract.wake.set()
            await self._clock.sleep(seconds)
            contract.fate.outbid = False
            contract.wake.set()

    async def _for(self, contract: Contract, hook: str, seconds: float) -> None:
        await self._ask(contract, hook, True)
        await self._clock.sleep(seconds)
        await self._ask(contract, hook, False)

    async def _ask(self, contract: Contract, hook: str, *values: Any) -> None:
        """Of the remote behind it, which may have ended meanwhile, or be of a kind that cannot."""
        call = getattr(self._contracts.backend, hook, None)
        if call is None:
            self._contracts.faults.append(f"contract {contract.id}: these remotes know no {hook}")
            return
        async with contract.lock:
            if not (contract.alive and contract.made):
                return
            try:
                await call(contract.id, *values)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._contracts.faults.append(f"contract {contract.id}: {hook}: {error}")
