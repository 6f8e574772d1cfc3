"""What every command gets: where to print, whom to ask, and how to reach the services.

``engine_call`` is the quick way to the engine (no pydantic, no asyncio); ``choline`` the whole of it.
"""

import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from choline_tui.cli.output import Output
from choline_tui.kernel.errors import UsageError

if TYPE_CHECKING:
    from choline_tui.services import Choline

__all__ = ["Context"]

T = TypeVar("T")


def _choline(start_engine: bool) -> "Choline":
    from choline_tui.services import Choline

    return Choline(start_engine=start_engine)


@dataclass
class Context:
    """``interactive``: a person sits there to be asked (stdin and stderr are terminals)."""

    out: Output
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    make: "Callable[[bool], Choline]" = _choline
    now: Callable[[], float] = time.time
    ask: Callable[[str], str] = input
    interactive: bool = False
    quick: bool = False
    """the engine may be asked without loading the services"""

    @classmethod
    def standard(cls) -> "Context":
        out = Output.standard(os.environ)
        stdin = sys.stdin
        there = stdin is not None and not stdin.closed and stdin.isatty() and out.err_is_terminal
        return cls(out, interactive=there, quick=True)

    def waiting(self, what: str) -> AbstractContextManager[None]:
        """Says what is waited for, if a person sits there and it takes a while."""
        if not what or not self.out.err_is_terminal:
            return nullcontext()
        from choline_tui.cli.progress import Waiting

        return Waiting(self.out, what)

    def use(
        self, work: "Callable[[Choline], Awaitable[T]]", *, start_engine: bool = True, doing: str = ""
    ) -> T:
        """Run ``work`` with the services, in an event loop of its own. ``doing``: what to say while it takes
        a while; '' for work that prints by itself."""

        # late: a command that needs no event loop should not wait for one to load
        import asyncio

        async def inside() -> T:
            async with self.make(start_engine) as choline:
                return await work(choline)

        with self.waiting(doing):
            return asyncio.run(inside())

    def confirm(self, question: str, *, yes: bool, why: str) -> bool:
        """True when the person agrees; the default is No. ``why``: what cannot be done without asking.

        Raises UsageError when nobody can be asked and ``-y`` was not given.
        """
        if yes:
            return True
        if not self.interactive:
            raise UsageError(f"{why} needs a yes, and nobody can be asked here", hint="Give -y to agree.")
        self.out.stdout.flush()
        self.out.stderr.write(f"{question} [y/N] ")
        self.out.stderr.flush()
        try:
            answer = self.ask("")
        except EOFError:
            self.out.note("")
            return False
        return answer.strip().lower() in ("y", "yes")

    def engine_call(self, method: str, doing: str = "", **params: Any) -> Any:
        """The engine's answer, or None when it has to be asked the long way."""
        if not self.quick:
            return None
        from choline_tui.services.quick import quick_call

        with self.waiting(doing):
            return quick_call(self.environ, method, params)
