"""A caller of the rehearsal market without a socket."""

import json
from collections.abc import Coroutine
from typing import Any

from choline_tui.simulator import Simulator
from choline_tui.simulator.virtual import VirtualClock, VirtualLoop, run_virtual

KEY_LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGNvbW1lbnQgb25seSBhIHRlc3Qga2V5ISEh me@x"


class Caller:
    def __init__(self, sim: Simulator, key: str | None = "account") -> None:
        self.sim = sim
        self.key = key

    async def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        from choline_tui.simulator import Request

        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        params = {k: v if isinstance(v, str) else json.dumps(v) for k, v in query.items()}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        answer = await self.sim.handle(Request(method, path, params, headers, raw))
        if answer.headers["content-type"] == "application/json":
            return answer.status, answer.json()
        return answer.status, answer.body.decode()

    async def search(self, **body: Any) -> list[dict[str, Any]]:
        status, answer = await self("POST", "/api/v0/bundles/", body)
        assert status == 200, answer
        offers: list[dict[str, Any]] = answer["offers"]
        return offers

    async def rent(self, offer: int, **body: Any) -> tuple[int, Any]:
        request = {"client_id": "me", "image": "a/b:c", "disk": 10, "runtype": "ssh_direc ssh_proxy", **body}
        return await self("PUT", f"/api/v0/asks/{offer}/", request)

    async def rented(self, **body: Any) -> int:
        """Rent some offer; its contract id."""
        offers = await self.search(
            type="bid" if "price" in body else "on-demand", duration={"gt": 40 * 86400}
        )
        status, answer = await self.rent(offers[0]["id"], **body)
        assert status == 200, answer
        return int(answer["new_contract"])

    async def show(self, contract: int) -> Any:
        status, answer = await self("GET", f"/api/v0/instances/{contract}/", owner="me")
        assert status == 200
        return answer["instances"]


def make(clock: Any, **options: Any) -> Simulator:
    """A small market that holds still, on a clock."""
    settings: dict[str, Any] = {"offers": 200, "moving": False, "listen": False, "clock": clock, **options}
    return Simulator(**settings)


def on_virtual_time(story: Any, **options: Any) -> Any:
    """Run ``await story(sim, caller, clock)`` on a virtual loop."""
    loop = VirtualLoop()
    clock = VirtualClock(loop)

    async def main() -> Any:
        async with make(clock, **options) as sim:
            result: Coroutine[Any, Any, Any] = story(sim, Caller(sim), clock)
            return await result

    return run_virtual(main(), loop)
