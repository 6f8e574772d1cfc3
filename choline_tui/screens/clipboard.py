"""Putting text on the clipboard of the terminal one looks at, over ssh and tmux as well (OSC 52)."""

import base64
from collections.abc import Mapping

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from choline_tui.kernel.text import plain
from choline_tui.screens.windows import Window

__all__ = ["CAP", "CopyScreen", "osc52"]

CAP = 74_994
"""most bytes of base64 that terminals in wide use take (hterm, and tmux before 3.3)"""
SCREEN_PIECE = 250
"""GNU screen cuts longer device control strings"""
HELPLESS = ("dumb", "linux", "")
"""terminals that have no clipboard"""


def osc52(text: str, environ: Mapping[str, str]) -> str | None:
    """What to write to the terminal; None when it cannot be done: no such terminal, or too long."""
    term = environ.get("TERM", "")
    data = base64.b64encode(text.encode("utf-8")).decode("ascii")
    if term in HELPLESS or len(data) > CAP:
        return None
    plain_one = f"\x1b]52;c;{data}\x07"
    if environ.get("TMUX"):
        # as it is for a tmux that has a clipboard of its own, wrapped for the terminal around it
        return plain_one + f"\x1bPtmux;\x1b{plain_one}\x1b\\"
    if term.startswith("screen"):
        pieces = [plain_one[n : n + SCREEN_PIECE] for n in range(0, len(plain_one), SCREEN_PIECE)]
        return "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
    return plain_one


class CopyScreen(Window[None]):
    """The text itself, to be selected with the mouse, when the terminal has no clipboard for us."""

    HEADING = "Could not copy: here is the text"

    def __init__(self, text: str, why: str) -> None:
        super().__init__()
        self.text = text
        self.why = why

    def compose_inside(self) -> ComposeResult:
        yield Static(Content.styled(self.why, "$muted"))
        with VerticalScroll():
            yield Static(Content(plain(self.text)), id="copy-text")
