"""What moves at the bottom of a terminal: one status line on stderr, out of the way of everything else.

A transfer is a bar there; in a pipe it is a plain line every few seconds.
"""

import asyncio
import math
import shutil
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from choline_tui.cli.output import Output, clean, cut, dollars, size, span

if TYPE_CHECKING:
    from choline_tui.services import Choline

__all__ = ["Screen", "Transfers", "Waiting", "watched"]

T = TypeVar("T")

BAR = 20
EVERY = 5.0
"""seconds between two lines of a transfer in a pipe"""
REDRAW = 0.1


class Screen:
    """Prints lines above a status line. Without a terminal on stderr there is no status line."""

    def __init__(self, out: Output) -> None:
        self.out = out
        self.live = out.err_is_terminal and out.environ.get("TERM") != "dumb"
        self._status = ""

    def line(self, text: str) -> None:
        """On stdout."""
        self._erase()
        print(text, file=self.out.stdout, flush=True)
        self._draw()

    def note(self, text: str, *styles: Any) -> None:
        """On stderr."""
        self._erase()
        self.out.note(text, *styles)
        self._draw()

    def status(self, text: str) -> None:
        """Replace the status line; '' takes it away. ``text`` is inert and without a newline."""
        if not self.live or text == self._status:
            return
        self._erase()
        self._status = text
        self._draw()

    def _erase(self) -> None:
        if self._status:
            self.out.stderr.write("\r\x1b[K")
            self.out.stderr.flush()

    def _draw(self) -> None:
        if self._status:
            # one column short: a full line would wrap, and could not be erased
            room = max(10, shutil.get_terminal_size().columns - 1)
            self.out.stderr.write(self.out.paint(cut(self._status, room), "cyan", err=True))
            self.out.stderr.flush()


class Waiting:
    """``with Waiting(out, "asking the market"):`` says what is waited for, once it takes longer than
    ``after`` seconds; it is gone afterwards. Nothing without a terminal."""

    def __init__(self, out: Output, what: str, after: float = 1.0) -> None:
        self._screen = Screen(out)
        self._what = what
        self._after = after
        self._over = threading.Event()
        # a thread, for what blocks as well as for what awaits
        self._thread = threading.Thread(target=self._tell, daemon=True) if self._screen.live else None

    def __enter__(self) -> None:
        if self._thread is not None:
            self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._screen.status("")

    def _tell(self) -> None:
        began = time.monotonic()
        while not self._over.wait(self._after):
            self._screen.status(f"{self._what} ({span(time.monotonic() - began)})")


class Transfers:
    """Draws the progress of transfers, one at a time, as the engine tells of them."""

    def __init__(self, screen: Screen, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen = screen
        self._clock = clock
        self._what = ""
        self._began = 0.0
        self._from = 0
        self._drawn = 0.0
        self._told = False
        """a line of this transfer was printed in a pipe, so its end is told as well"""
        self.active = False

    def show(self, progress: Mapping[str, Any]) -> None:
        now = self._clock()
        what = clean(progress.get("what") or "files", 20)
        done, total = _count(progress.get("bytes_done")), _count(progress.get("bytes_total"))
        if what != self._what or done < self._from or not self.active:
            self._what, self._began, self._from, self._drawn = what, now, done, 0.0
            self._told = False
        ended = total > 0 and done >= total
        self.active = not ended
        every = REDRAW if self._screen.live else EVERY
        if not ended and self._drawn and now - self._drawn < every:
            return
        if not self._screen.live and not ended and not self._drawn:
            self._drawn = now  # a transfer that is over at once needs no lines in a pipe
            return
        long, self._told = self._told, not ended
        self._drawn = now
        if self._screen.live:
            self._screen.status("" if ended else self._text(progress, done, total, now, bar=True))
        elif not ended or long:
            self._screen.note(self._text(progress, done, total, now, bar=False))

    def end(self) -> None:
        if self.active or self._screen.live:
            self._screen.status("")
        self.active = False

    def _text(self, progress: Mapping[str, Any], done: int, total: int, now: float, *, bar: bool) -> str:
        part = min(1.0, done / total) if total else 0.0
        speed = (done - self._from) / (now - self._began) if now > self._began else 0.0
        pieces = [f"{self._what:<8}"]
        if bar and total:
            full = round(part * BAR)
            pieces.append("━" * full + "╌" * (BAR - full))
        if total:
            pieces.append(f"{part * 100:3.0f}%  {size(done)} of {size(total)}")
        else:
            pieces.append(size(done))
        if progress.get("files_total"):
            pieces.append(f"{_count(progress.get('files_done'))}/{_count(progress.get('files_total'))} files")
        if speed > 0:
            pieces.append(f"{size(speed)}/s")
        left = progress.get("seconds_left")
        if isinstance(left, (int, float)):
            pieces.append(f"{span(left)} left")
        spent = progress.get("dollars")
        if isinstance(spent, (int, float)) and math.isfinite(spent):
            pieces.append(f"{dollars(spent, 2)} so far")
        return "  ".join(pieces)


async def watched(
    choline: "Choline",
    run: str,
    work: Coroutine[Any, Any, T],
    out: Output,
    *,
    what: str = "",
    first: str = "",
) -> T:
    """What ``work`` gives, with the transfers of the run drawn meanwhile. ``what``: only those of this name;
    ``first``: what is done until the first of them, for a terminal."""
    screen = Screen(out)
    transfers = Transfers(screen)
    screen.status(first)

    async def watch() -> None:
        async for item in choline.follow(run, history=False, logs=False):
            if item.progress is not None and what in ("", item.progress.get("what")):
                transfers.show(item.progress)

    watcher = asyncio.create_task(watch())
    try:
        return await work
    finally:
        watcher.cancel()
        # what the watcher met is no reason for the work to fail
        await asyncio.gather(watcher, return_exceptions=True)
        transfers.end()


def _count(value: Any) -> int:
    return max(0, int(value)) if isinstance(value, (int, float)) and math.isfinite(value) else 0
