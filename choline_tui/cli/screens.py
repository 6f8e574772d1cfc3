"""``choline``, ``choline offers`` and ``choline runs`` on a terminal: the app, at that screen."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from choline_tui.screens.wizard import Wanted

__all__ = ["on_terminal", "open_app", "open_wizard", "wanted"]

PLACES = {(): "offers", ("offers",): "offers", ("runs",): "runs"}
"""a command line that is nothing but this opens the app, there"""


def on_terminal(environ: Mapping[str, str] | None = None) -> bool:
    """Whether a person sits at a terminal that can show screens: both ends, and not a dumb one."""
    term = (os.environ if environ is None else environ).get("TERM", "")
    ends = (sys.stdin, sys.stdout)
    return term not in ("", "dumb") and all(
        end is not None and not end.closed and end.isatty() for end in ends
    )


def wanted(words: Sequence[str]) -> str:
    """The screen a command line asks for; '' for a command."""
    return PLACES.get(tuple(words), "") if on_terminal() else ""


def open_wizard(wanted: "Wanted") -> bool:
    """The app at the wizard, until that is done; whether a file was written."""
    from choline_tui.app import CholineApp

    with _signals_restored():
        return CholineApp("wizard", wanted=wanted).run() == "saved"


@contextlib.contextmanager
def _signals_restored() -> Iterator[None]:
    """The app takes SIGHUP and SIGTERM for its own end: what goes on after it ends by them as before."""
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGHUP, signal.SIGTERM)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            if handler is not None:
                signal.signal(sign, handler)


def open_app(where: str) -> int:
    """The app until it is closed; its exit code. From its 'no key' state one may go on to the simulator."""
    from choline_tui.app import CholineApp

    app = CholineApp(where)
    with _signals_restored():
        after = app.run()
    if app.return_code:
        return app.return_code
    if after == "demo":
        from choline_tui.cli.demo_app import demo_app

        return demo_app(os.environ, boot=5.0, keep=False)
    return 0
