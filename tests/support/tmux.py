"""A person at a whole terminal: a program in tmux, what its screen shows, what is pressed and clicked."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import wait_until

__all__ = ["Tmux"]

_LEFT, _MOVED, _UP, _DOWN = 0, 32, 64, 65
"""buttons of an SGR mouse report (xterm's ctlseqs, "Extended coordinates"); a drag is button + 32"""


class Tmux:
    """``program`` is a shell command; ``close`` ends it. Everything is waited for by what is shown."""

    def __init__(
        self,
        socket: Path,
        program: str,
        *,
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str] | None = None,
        terminal: str = "tmux-256color",
    ) -> None:
        self._env = {**(os.environ if env is None else env)}
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        self._run(
            "new-session", "-d", "-x", str(columns), "-y", str(rows), "sleep 600",
            ";", "set", "-g", "default-terminal", terminal, ";", "set", "-s", "escape-time", "0",
            ";", "set", "-g", "status", "off", ";", "respawn-pane", "-k", program,
        )  # fmt: skip

    def _run(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            [*self._tmux, *words], capture_output=True, text=True, timeout=30, check=False, env=self._env
        )
        if check and done.returncode:
            raise AssertionError(f"tmux {words[:3]}: {done.stderr.strip()}")
        return done.stdout

    # ---- looking

    def shown(self) -> str:
        return self._run("capture-pane", "-p", check=False)

    def sees(self, *texts: str) -> bool:
        screen = self.shown()
        return all(text in screen for text in texts)

    def waits(self, *texts: str, within: float = 60.0, without: Sequence[str] = ()) -> str:
        """Until all of ``texts`` are on the screen at once, and none of ``without``; the screen then."""
        last = ""

        def there() -> bool:
            nonlocal last
            last = self.shown()
            return all(text in last for text in texts) and not any(text in last for text in without)

        try:
            wait_until(there, within=within, what=f"{texts} without {without}")
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen:\n{last}") from None
        return last

    def finds(self, pattern: str, within: float = 60.0) -> "re.Match[str]":
        """The first match of a pattern, once it is on the screen."""
        found: list[re.Match[str]] = []

        def there() -> bool:
            match = re.search(pattern, self.shown())
            if match:
                found.append(match)
            return bool(match)

        try:
            wait_until(there, within=within, what=pattern)
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen:\n{self.shown()}") from None
        return found[0]

    # ---- typing

    def presses(self, *keys: str) -> None:
        """Keys by tmux's names (``Enter``, ``C-p``)."""
        self._run("send-keys", *keys)

    def types(self, text: str) -> None:
        self._run("send-keys", "-l", text)

    def resizes(self, columns: int, rows: int) -> None:
        self._run("resize-window", "-x", str(columns), "-y", str(rows))

    # ---- the mouse

    def _reports(self, *reports: tuple[int, int, int, str]) -> None:
        text = "".join(f"\x1b[<{button};{x + 1};{y + 1}{end}" for button, x, y, end in reports)
        self._run("send-keys", "-H", *(f"{byte:02x}" for byte in text.encode()))

    def place(self, text: str, *, at: int = 0, within: float = 60.0) -> tuple[int, int]:
        """Column and line (from 0) of the first ``text`` that is shown, ``at`` columns on.
        Lines are told apart by cells; what stands before must be one cell a character."""
        screen = self.waits(text, within=within)
        for y, line in enumerate(screen.split("\n")):
            if text in line:
                return line.index(text) + at, y
        raise AssertionError(text)

    def clicks(self, text: str, *, at: int = 0, within: float = 60.0) -> None:
        """In the middle of a text, once it is there."""
        x, y = self.place(text, at=at + len(text) // 2, within=within)
        self.clicks_at(x, y)

    def clicks_at(self, x: int, y: int) -> None:
        self._reports((_LEFT, x, y, "M"), (_LEFT, x, y, "m"))

    def drags(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        (x, y), (to_x, to_y) = start, end
        half = ((x + to_x) // 2, (y + to_y) // 2)
        self._reports(
            (_LEFT, x, y, "M"),
            (_LEFT + _MOVED, *half, "M"),
            (_LEFT + _MOVED, to_x, to_y, "M"),
            (_LEFT, to_x, to_y, "m"),
        )

    def wheels(self, x: int, y: int, steps: int) -> None:
        """Down, or up when negative."""
        self._reports(*[(_DOWN if steps > 0 else _UP, x, y, "M")] * abs(steps))

    # ---- the end

    def close(self) -> None:
        self._run("kill-server", check=False)

    def __enter__(self) -> "Tmux":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
