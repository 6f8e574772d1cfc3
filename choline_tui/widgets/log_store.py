"""The lines of a log in bounded memory: packed blocks, and which screen rows they take.

A line has a number that never changes, from 0 on. Lines are kept in blocks; full blocks are compressed
(logs shrink to a tenth), so that a million lines take some tens of MB. The oldest block goes when there are
more than ``max_lines``. A row is a line of the screen: with wrapping a line may take several. Rows are
counted from the first line ever shown, like lines: what was read before does not move when old ones go.
"""

import re
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterator
from functools import lru_cache
from itertools import accumulate

from rich.cells import cell_len

from choline_tui.widgets.sgr import text_of

__all__ = ["LogStore"]

BLOCK = 1024
"""lines of a block, unless ``max_lines`` is small"""


class _Block:
    """``first``: the number of its first line. ``rows``: screen rows before each chosen line, and all."""

    __slots__ = ("chosen", "first", "last_row", "lines", "packed", "rows", "sources", "widest", "widths")

    def __init__(self, first: int) -> None:
        self.first = first
        self.lines: list[str] = []
        self.packed: bytes | None = None
        self.sources = bytearray()
        self.widths = array("h")
        """cells of every line; negative: with characters of two cells, which a row's end may not cut"""
        self.widest = 0
        self.chosen: array[int] | None = None
        """indexes of the lines that the source filter lets through; None: all"""
        self.rows: list[int] | None = None
        """None: every chosen line takes one row"""
        self.last_row = 0
        """rows before this block's end, of all blocks there ever were"""

    def __len__(self) -> int:
        return len(self.sources)

    def pack(self) -> None:
        self.packed = zlib.compress("\n".join(self.lines).encode(), 1)
        self.lines = []

    def text(self) -> str:
        """All its lines, with newlines between them."""
        return _unpack(self.packed) if self.packed is not None else "\n".join(self.lines)

    def all(self) -> list[str]:
        return _split(self.packed) if self.packed is not None else self.lines


def _unpack(packed: bytes) -> str:
    return zlib.decompress(packed).decode()


@lru_cache(maxsize=8)
def _split(packed: bytes) -> list[str]:
    return _unpack(packed).split("\n")


class LogStore:
    """Stored lines (see ``sgr``), each of one of at most 255 sources."""

    def __init__(self, max_lines: int = 1_000_000) -> None:
        if max_lines < 1:
            raise ValueError("max_lines must be positive")
        self.max_lines = max_lines
        self._size = min(BLOCK, max(1, max_lines // 8))
        self._blocks: list[_Block] = []
        self._ends: list[int] = []
        """``last_row`` of every block"""
        self.total = 0
        """lines there ever were: the number of the next one"""
        self._gone_rows = 0
        self._width = 0
        self._sources: frozenset[int] | None = None

    # ---- lines
    @property
    def first(self) -> int:
        """The number of the oldest line that is kept."""
        return self._blocks[0].first if self._blocks else self.total

    @property
    def dropped(self) -> int:
        return self.first

    def __len__(self) -> int:
        return self.total - self.first

    def append(self, source: int, line: str) -> None:
        if not self._blocks or len(self._blocks[-1]) >= self._size:
            if self._blocks:
                self._blocks[-1].pack()
            block = _Block(self.total)
            block.last_row = self.last_row
            if self._sources is not None:
                block.chosen = array("H")
            self._blocks.append(block)
            self._ends.append(block.last_row)
        block = self._blocks[-1]
        if line.isascii() and "\x1b" not in line:
            width = signed = min(len(line), 32_000)
        else:
            text = text_of(line)
            width = min(cell_len(text), 32_000)
            signed = width if text.isascii() or width <= len(text) else -width
        block.lines.append(line)
        block.sources.append(source)
        block.widths.append(signed)
        block.widest = max(block.widest, width)
        self.total += 1
        rows = self._rows_of(signed)
        if self._sources is None or source in self._sources:
            if block.chosen is not None:
                block.chosen.append(len(block) - 1)
            if block.rows is not None:
                block.rows.append(block.rows[-1] + rows)
            elif rows > 1:
                before = len(block) - 1 if block.chosen is None else len(block.chosen) - 1
                block.rows = [*range(before + 1), before + rows]
            block.last_row += rows
            self._ends[-1] = block.last_row
        while len(self) > self.max_lines and len(self._blocks) > 1:
            self._gone_rows = self._ends.pop(0)
            del self._blocks[0]

    def line(self, number: int) -> tuple[int, str]:
        """Its source and its stored form. Raises IndexError when it is not kept."""
        block = self._block(number)
        at = number - block.first
        return block.sources[at], block.all()[at]

    def _block(self, number: int) -> _Block:
        if not self.first <= number < self.total:
            raise IndexError(f"line {number} is not kept")
        # all blocks but the last have the same number of lines
        return self._blocks[(number - self.first) // self._size]

    def clear(self) -> None:
        self.__init__(self.max_lines)  # type: ignore[misc]

    # ---- rows
    @property
    def first_row(self) -> int:
        return self._gone_rows

    @property
    def last_row(self) -> int:
        """The row after the last."""
        return self._ends[-1] if self._ends else self._gone_rows

    def lay_out(self, width: int, sources: Collection[int] | None) -> None:
        """Lines take the rows they need at ``width`` cells (0: one each), of these sources (None: all).

        Rows are counted anew from 0.
        """
        self._width = width
        self._sources = None if sources is None else frozenset(sources)
        self._gone_rows = row = 0
        for at, block in enumerate(self._blocks):
            if self._sources is None:
                block.chosen = None
            else:
                wanted = self._sources
                block.chosen = array("H", [n for n, source in enumerate(block.sources) if source in wanted])
            block.rows = None
            if width and block.widest > width:
                widths = block.widths if block.chosen is None else [block.widths[n] for n in block.chosen]
                block.rows = list(accumulate(map(self._rows_of, widths), initial=0))
            row += self._height(block)
            block.last_row = self._ends[at] = row

    def _rows_of(self, width: int) -> int:
        room = self._width
        if not room:
            return 1
        if width < 0:
            # at most one cell of each row stays empty
            return -(width // max(1, room - 1))
        return -(-width // room) or 1

    @staticmethod
    def _height(block: _Block) -> int:
        if block.rows is not None:
            return block.rows[-1]
        return len(block) if block.chosen is None else len(block.chosen)

    def at_row(self, row: int) -> tuple[int, int]:
        """The line that this row is of, and which of its rows it is. Raises IndexError beyond the ends."""
        if not self.first_row <= row < self.last_row:
            raise IndexError(f"row {row} is not kept")
        index = bisect_right(self._ends, row)
        block = self._blocks[index]
        inside = row - (block.last_row - self._height(block))
        part = 0
        if block.rows is not None:
            at = bisect_right(block.rows, inside) - 1
            inside, part = at, inside - block.rows[at]
        return block.first + (inside if block.chosen is None else block.chosen[inside]), part

    def row_of(self, number: int) -> int:
        """The first row of this line, or of the next one that is shown."""
        if number < self.first:
            return self.first_row
        if number >= self.total:
            return self.last_row
        block = self._block(number)
        at = number - block.first
        if block.chosen is not None:
            at = bisect_right(block.chosen, at - 1)
        return block.last_row - self._height(block) + (at if block.rows is None else block.rows[at])

    # ---- search
    def matches(self, needle: str, exact: bool, begin: int = 0) -> Iterator[list[int]]:
        """Numbers of the shown lines that hold ``needle``, block by block: the caller may pause between them.

        ``exact``: capitals count. Lines that come or go while it runs are the caller's to look at.
        """
        flags = 0 if exact else re.IGNORECASE
        pattern = re.compile(re.escape(needle), flags)
        for block in list(self._blocks):
            if block.first + len(block) <= begin:
                continue
            text = text_of(block.text())
            found: list[int] = []
            if pattern.search(text):
                chosen = None if block.chosen is None else set(block.chosen)
                for at, line in enumerate(text.split("\n")):
                    if (
                        block.first + at >= begin
                        and (chosen is None or at in chosen)
                        and pattern.search(line)
                    ):
                        found.append(block.first + at)
            yield found

    @property
    def memory(self) -> int:
        """About how many bytes the lines take."""
        size = 0
        for block in self._blocks:
            packed = block.packed
            size += len(packed) if packed is not None else sum(len(line) + 56 for line in block.lines)
            size += 3 * len(block)
        return size
