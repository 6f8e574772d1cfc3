"""A market of prepared answers, on virtual time."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from choline_tui.kernel.secret import Secret
from choline_tui.simulator.virtual import VirtualClock, VirtualLoop, run_virtual
from choline_tui.vast.client import VastClient

KEY = "0123456789abcdef" * 4
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGNvbW1lbnQgb25seSBhIHRlc3Qga2V5ISEh me@x"

Answer = httpx.Response | Exception | dict[str, Any] | list[Any] | Callable[[httpx.Request], Any]


class Market:
    """Gives ``answers`` in order, the last one again and again; remembers what was asked, and when."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.times: list[float] = []
        self.clock: VirtualClock

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        self.times.append(self.clock.monotonic())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer) and not isinstance(answer, httpx.Response):
            answer = answer(request)
            if isinstance(answer, Awaitable):
                answer = await answer
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(200, json=answer)

    def body(self, n: int = -1) -> Any:
        return json.loads(self.asked[n].content)

    def live(
        self, story: Callable[[VastClient], Awaitable[Any]], key: str | None = KEY, **options: Any
    ) -> Any:
        """Run ``story`` with a client of this market; its result."""
        loop = VirtualLoop()
        self.clock = VirtualClock(loop)

        async def main() -> Any:
            async with VastClient(
                Secret(key) if key else None, transport=httpx.MockTransport(self), clock=self.clock, **options
            ) as client:
                return await story(client)

        return run_virtual(main(), loop)
