"""The lines of a log on the screen: draws the visible rows of a ``LogStore``, follows its end, searches."""

import asyncio
import re
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from time import monotonic
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollDown, ScrollTo, ScrollUp
from textual.selection import Selection
from textual.strip import Strip
from textual.timer import Timer

from choline_tui.widgets.columns import fit
from choline_tui.widgets.glyphs import glyph, uses_ascii
from choline_tui.widgets.log_store import LogStore
from choline_tui.widgets.log_stream import LogStream
from choline_tui.widgets.sgr import pieces, style_of, text_of

__all__ = ["LogPane"]

_EVERY_S = 0.08
"""what came is drawn this often"""
_SLICE_S = 0.010
"""the most time that reading what came may take before keys are looked at again"""
_PIECE = 65_536
_MAX_WAITING = 64 * 2**20
"""bytes fed but not read yet; of more, the oldest are left out"""
_STEP = 8
"""cells sideways"""
_LABEL = 10
"""the most cells of a source's name before its lines"""


class LogPane(ScrollView, can_focus=True, inherit_bindings=False):
    """See ``log_view.LogView``, which is what screens use."""

    ALLOW_SELECT = True
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "log--found",
        "log--current",
        "log--more",
        "log--source",
        "log--sign",
        "log--empty",
    }
    DEFAULT_CSS = """
    LogPane {
        background: $surface; color: $foreground; height: 1fr;
        overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1;
        & > .log--found { background: $warning 40%; }
        & > .log--current { background: $warning; color: $background; text-style: bold; }
        & > .log--more { background: $primary; color: $text; text-style: bold; }
        & > .log--source { color: $text-accent; }
        & > .log--sign { color: $text-accent; text-style: bold; }
        & > .log--empty { color: $foreground 60%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll(-1)", "Up", show=False, id="log.up"),
        Binding("down,j", "scroll(1)", "Down", show=False, id="log.down"),
        Binding("left,h", "sideways(-1)", "Left", show=False, id="log.left"),
        Binding("right,l", "sideways(1)", "Right", show=False, id="log.right"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="log.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="log.page_down"),
        Binding("ctrl+u", "half(-1)", "Half a page up", show=False, id="log.half_up"),
        Binding("ctrl+d", "half(1)", "Half a page down", show=False, id="log.half_down"),
        Binding("home,g", "first", "First line", show=False, id="log.first"),
        Binding("end,G", "follow", "Follow the end", show=False, id="log.follow"),
        Binding("n", "find(1)", "Next match", show=False, id="log.next"),
        Binding("N", "find(-1)", "Match before", show=False, id="log.previous"),
        Binding("w", "wrap", "Wrap lines", show=False, id="log.wrap"),
        Binding("s", "source", "Next source", show=False, id="log.source"),
        Binding("y", "copy", "Copy", show=False, id="log.copy"),
        Binding("escape", "clear_search", "Clear the search", show=False, id="log.clear_search"),
    ]

    class StateChanged(Message):
        """Following, wrapping, the sources or what is searched for: something the screen may show."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, LogPane.StateChanged)

    class CopyRequested(Message):
        """The selected text, or what is on the screen; the app has the clipboard."""

        def __init__(self, text: str, what: str) -> None:
            super().__init__()
            self.text = text
            self.what = what

    def __init__(self, max_lines: int, *, empty: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self.store = LogStore(max_lines)
        self.following = True
        self.wrap = False
        self.only: str | None = None
        """the one source whose lines are shown; None: all"""
        self.empty = empty
        self.left = 0
        self.lost_bytes = 0
        """fed, but left out unread because more came than could be read"""
        self._streams: dict[str, LogStream] = {}
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._waiting: deque[tuple[str, bytes | None]] = deque()
        self._waiting_size = 0
        self._timer: Timer | None = None
        self._drawn_at = 0.0
        self._base = 0
        """the store's first row when the screen was last brought in line with it"""
        self._seen = 0
        """lines there were when following stopped"""
        self._tails: list[tuple[int, str]] = []
        self._strips: LRUCache[tuple[int, int], Strip] = LRUCache(512)
        self._styles: dict[str, Style] = {}
        self.needle = ""
        self._pattern: re.Pattern[str] | None = None
        self.found = array("Q")
        self.searching = False
        self._search = 0
        self._current = -1
        self._pending = 0

    # ---- what comes
    def feed(self, source: str, data: bytes | None) -> None:
        """``data`` None: the source has ended."""
        for at in range(0, len(data), _PIECE) if data else ():
            self._waiting.append((source, data[at : at + _PIECE] if data else None))
        if data is None:
            self._waiting.append((source, None))
        self._waiting_size += len(data or b"")
        while self._waiting_size > _MAX_WAITING:
            _, old = self._waiting.popleft()
            self._waiting_size -= len(old or b"")
            self.lost_bytes += len(old or b"")
        self._arm(_EVERY_S)

    def _arm(self, delay: float) -> None:
        if self._timer is None and self.is_mounted:
            self._timer = self.set_timer(delay, self._read)

    def _read(self) -> None:
        """Takes in what came, for a little while, and draws it every now and then."""
        self._timer = None
        until = monotonic() + _SLICE_S
        before = self.store.total
        while self._waiting and monotonic() < until:
            source, data = self._waiting.popleft()
            self._waiting_size -= len(data or b"")
            self._take(source, data)
        if self._pattern is not None and not self.searching:
            self._look_at(before)
        now = monotonic()
        if not self._waiting or now - self._drawn_at >= _EVERY_S:
            self._drawn_at = now
            self.bring_in_line()
        if self._waiting:
            self._arm(0.002)

    def _take(self, source: str, data: bytes | None) -> None:
        stream = self._streams.get(source)
        if stream is None:
            stream = self._streams[source] = LogStream()
        number = self._numbers.get(source)
        if number is None:
            # more than a byte can count share the last number
            number = self._numbers[source] = min(len(self._names), 254)
            if number == len(self._names):
                self._names.append(source)
            if len(self._names) > 1:
                # their names stand before the lines now
                self._lay_out()
            self.post_message(self.StateChanged())
        for line in stream.finish() if data is None else stream.feed(data):
            self.store.append(number, line)

    def read_all(self) -> None:
        """Everything that waits, at once."""
        while self._waiting:
            self._take(*self._waiting.popleft())
        self._waiting_size = 0
        self.bring_in_line()

    def clear(self) -> None:
        self.store.clear()
        self._streams.clear()
        self._waiting.clear()
        self._waiting_size = self._base = self._seen = 0
        self.search("")
        self._lay_out()

    def bring_in_line(self) -> None:
        """The screen shows what the store holds now."""
        store = self.store
        only = None if self.only is None else self._numbers.get(self.only, 255)
        partials = ((self._numbers[name], stream.partial) for name, stream in self._streams.items())
        self._tails = [(n, text) for n, text in partials if text and (only is None or n == only)]
        moved, self._base = store.first_row - self._base, store.first_row
        size = Size(0, store.last_row - store.first_row + len(self._tails))
        if size != self.virtual_size:
            # as an ordinary assignment this would lay the whole screen out again, ten times as dear as
            # the rows that are new; the scrollbar is always there, so nothing else depends on the height
            self.set_reactive(LogPane.virtual_size, size)
            self.vertical_scrollbar.window_virtual_size = size.height
        if self.following:
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True, immediate=True)
        elif moved:
            self.scroll_to(y=max(0, self.scroll_offset.y - moved), animate=False, force=True, immediate=True)
        self.refresh()

    # ---- following
    def follow(self) -> None:
        if not self.following:
            self.following = True
            self.post_message(self.StateChanged())
        self.bring_in_line()

    def stop_following(self) -> None:
        if self.following:
            self.following = False
            self._seen = self.store.total
            self.post_message(self.StateChanged())
            self.refresh()

    @property
    def unseen(self) -> int:
        """Lines that came since following stopped."""
        return 0 if self.following else self.store.total - self._seen

    # ---- view
    @property
    def sources(self) -> tuple[str, ...]:
        """Those that said something, in the order in which they began."""
        return tuple(self._names)

    def show_source(self, source: str | None) -> None:
        if source != self.only:
            self.only = source
            self._lay_out()
            if self.needle:
                self.search(self.needle, jump=False)
            self.post_message(self.StateChanged())

    def set_wrap(self, wrap: bool) -> None:
        if wrap != self.wrap:
            self.wrap, self.left = wrap, 0
            self._lay_out()
            self.post_message(self.StateChanged())

    @property
    def _label_width(self) -> int:
        if self.only is not None or len(self._names) < 2:
            return 0
        return min(_LABEL, max(len(name) for name in self._names)) + 1

    @property
    def _text_width(self) -> int:
        return max(1, self.scrollable_content_region.width - self._label_width)

    def _lay_out(self) -> None:
        """Rows are counted anew; the line at the top stays there."""
        top = self._top_line()
        only = None if self.only is None else {self._numbers.get(self.only, 255)}
        self.store.lay_out(self._text_width if self.wrap else 0, only)
        self._base = self.store.first_row
        self._strips.clear()
        if self.is_mounted:
            self.bring_in_line()
            if not self.following:
                self._scroll_to_row(self.store.row_of(top))

    def _top_line(self) -> int:
        try:
            return self.store.at_row(self.store.first_row + self.scroll_offset.y)[0]
        except IndexError:
            return self.store.total

    def _scroll_to_row(self, row: int) -> None:
        y = min(max(0, row - self.store.first_row), self.max_scroll_y)
        self.scroll_to(y=y, animate=False, force=True, immediate=True)
        self.refresh()

    # ---- search
    def search(self, needle: str, *, jump: bool = True) -> None:
        """Marks all lines with ``needle`` ("": none); capitals count when it has any."""
        self._search += 1
        self.needle, self._current, self._pending = needle, -1, 0
        exact = needle != needle.lower()
        self._pattern = re.compile(re.escape(needle), 0 if exact else re.IGNORECASE) if needle else None
        self.found = array("Q")
        self._strips.clear()
        self.searching = bool(needle)
        if needle:
            self._pending = 1 if jump else 0
            self.run_worker(
                self._scan(self._search, needle, exact),
                name="search the log",
                group="search",
                exclusive=True,
                exit_on_error=False,
            )
        self.refresh()
        self.post_message(self.StateChanged())

    async def _scan(self, search: int, needle: str, exact: bool) -> None:
        start = monotonic()
        for numbers in self.store.matches(needle, exact):
            if search != self._search:
                return
            self.found.extend(numbers)
            if monotonic() - start > _SLICE_S:
                if self._pending:
                    self._jump()
                self.post_message(self.StateChanged())
                await asyncio.sleep(0.001)
                start = monotonic()
        if search != self._search:
            return
        self.searching = False
        if self.store.total:
            # what came while this went on
            known = self.found[-1] + 1 if self.found else 0
            self._look_at(known)
        if self._pending:
            self._jump()
        self.post_message(self.StateChanged())

    def _look_at(self, begin: int) -> None:
        """Lines from this one on, which are new."""
        if begin < self.store.total and self.needle:
            exact = self.needle != self.needle.lower()
            for numbers in self.store.matches(self.needle, exact, begin):
                self.found.extend(numbers)
            self.post_message(self.StateChanged())

    @property
    def current(self) -> int:
        """Which match it is on, from 1; 0: none."""
        if self._current < 0:
            return 0
        return bisect_left(self.found, self._current) - bisect_left(self.found, self.store.first) + 1

    @property
    def matches(self) -> int:
        """Lines that hold what is searched for, as far as is known (see ``searching``)."""
        return len(self.found) - bisect_left(self.found, self.store.first)

    def _jump(self) -> None:
        """To the next match (or the one before), round the end once all are known."""
        begin = bisect_left(self.found, self.store.first)
        if begin == len(self.found):
            if not self.searching:
                self._pending = 0
            return
        here = self._current if self._current >= 0 else self._top_line()
        if self._pending > 0:
            at = bisect_right(self.found, here) if self._current >= 0 else bisect_left(self.found, here)
            if at == len(self.found):
                if self.searching:
                    return
                at = begin
        else:
            at = bisect_left(self.found, here) - 1
            if at < begin:
                if self.searching:
                    return
                at = len(self.found) - 1
        self._pending = 0
        self.stop_following()
        self._current = self.found[at]
        self._strips.clear()
        row, height = self.store.row_of(self._current), self.scrollable_content_region.height
        top = self.store.first_row + self.scroll_offset.y
        if not top <= row < top + height:
            self._scroll_to_row(row - height // 3)
        self.refresh()
        self.post_message(self.StateChanged())

    # ---- actions
    def _scroll_by(self, rows: int) -> None:
        if rows < 0:
            self.stop_following()
        y = min(max(0, self.scroll_offset.y + rows), self.max_scroll_y)
        if not self.following:
            self.scroll_to(y=y, animate=False, force=True, immediate=True)

    def action_scroll(self, by: int) -> None:
        self._scroll_by(by)

    def action_page(self, by: int) -> None:
        self._scroll_by(by * max(1, self.scrollable_content_region.height - 1))

    def action_half(self, by: int) -> None:
        self._scroll_by(by * max(1, self.scrollable_content_region.height // 2))

    def action_first(self) -> None:
        self.stop_following()
        self.scroll_to(y=0, animate=False, force=True, immediate=True)

    def action_follow(self) -> None:
        self.follow()

    def action_sideways(self, by: int) -> None:
        if not self.wrap:
            widest = self._widest_shown() - self._text_width + 1
            left = min(max(0, self.left + by * _STEP), max(0, widest, self.left if by > 0 else 0))
            if left != self.left:
                self.left = left
                self._strips.clear()
                self.refresh()

    def action_find(self, by: int) -> None:
        if self.needle:
            self._pending = by
            self._jump()

    def action_wrap(self) -> None:
        self.set_wrap(not self.wrap)

    def action_source(self) -> None:
        """The next source alone; after the last: all."""
        order = [None, *self._names]
        at = order.index(self.only) if self.only in order else 0
        self.show_source(order[(at + 1) % len(order)])

    def action_copy(self) -> None:
        selected = self.text_selection
        text = self.get_selection(selected) if selected is not None else None
        if text is not None and text[0]:
            self.post_message(self.CopyRequested(text[0], "the selected text"))
        elif visible := self.visible_text():
            self.post_message(self.CopyRequested(visible, "the lines on the screen"))

    def action_clear_search(self) -> None:
        self.search("")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        # with nothing searched for, escape belongs to whoever holds the log
        return bool(self.needle) if action == "clear_search" else super().check_action(action, parameters)

    # ---- mouse
    def _on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, -1)

    def _on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, 1)

    def _wheel(self, event: events.MouseEvent, by: int) -> None:
        event.stop()
        event.prevent_default()
        if event.shift or event.ctrl:
            self.action_sideways(by)
        else:
            self._scroll_by(by * 3)

    def _on_scroll_up(self, event: ScrollUp) -> None:
        self.stop_following()

    def _on_scroll_down(self, event: ScrollDown) -> None:
        if self.following:
            event.stop()
            event.prevent_default()

    def _on_scroll_to(self, message: ScrollTo) -> None:
        if message.y is not None and message.y < self.max_scroll_y:
            self.stop_following()

    def _on_click(self, event: events.Click) -> None:  # type: ignore[override]
        offset = event.get_content_offset(self)
        region = self.scrollable_content_region
        words = self._more_words()
        if offset is None or not words:
            return
        if offset.y == region.height - 1 and offset.x >= region.width - len(words):
            event.stop()
            self.follow()

    # ---- size and styles
    def _on_mount(self, event: events.Mount) -> None:
        self._arm(0)

    def _on_resize(self, event: events.Resize) -> None:
        self._lay_out()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles = {}
        self._strips.clear()

    def _style(self, name: str) -> Style:
        if not self._styles:
            self._styles = {
                part: self.get_component_rich_style(f"log--{part}", partial=part in ("found", "current"))
                for part in ("found", "current", "more", "source", "sign", "empty")
            }
            self._styles["base"] = self.rich_style
        return self._styles[name]

    # ---- drawing
    def _more_words(self) -> str:
        if not self.unseen:
            return ""
        return f" {glyph('down_by', uses_ascii(self))} +{self.unseen:,} lines, End "

    def render_line(self, y: int) -> Strip:
        region = self.scrollable_content_region
        row = self.store.first_row + self.scroll_offset.y + y
        base = self._style("base")
        if row < self.store.last_row:
            strip = self._row(row)
        elif row - self.store.last_row < len(self._tails):
            strip = self._tail(*self._tails[row - self.store.last_row])
        elif not y and not self.store.total:
            strip = Strip([Segment(fit(self.empty, region.width).rstrip(), self._style("empty"))])
        else:
            return Strip.blank(region.width, base)
        strip = strip.adjust_cell_length(region.width, base)
        words = ""
        if y == region.height - 1:
            words = self._more_words()
        elif not y and not self.scroll_offset.y and (self.store.dropped or self.lost_bytes):
            words = f" {self._gone_words()} "
        if words:
            words = words[: region.width]
            more = Strip([Segment(words, self._style("more"))])
            strip = Strip.join([strip.crop(0, region.width - more.cell_length), more])
        return strip

    def _gone_words(self) -> str:
        words = [f"{self.store.dropped:,} older lines"] if self.store.dropped else []
        if self.lost_bytes:
            words.append(f"{self.lost_bytes / 2**20:,.0f} MiB unread")
        return " and ".join(words) + " dropped"

    def _row(self, row: int) -> Strip:
        number, part = self.store.at_row(row)
        span = None
        if (selection := self.text_selection) is not None:
            span = selection.get_span(row)
        strip = self._strips.get((number, part)) if span is None else None
        if strip is None:
            source, line = self.store.line(number)
            text = self._text(line, number)
            start, taken = self._window(text.plain, part)
            if span is not None:
                begin, end = span
                end = len(text) if end < 0 else start + end
                text.stylize(self.screen.get_component_rich_style("screen--selection"), start + begin, end)
            strip = self._strip(text[start : start + taken], source, not part, start, row)
            if span is None:
                self._strips[(number, part)] = strip
        return strip

    def _tail(self, source: int, line: str) -> Strip:
        text = self._text(line, -1)
        start, taken = self._window(text.plain, 0)
        return self._strip(text[start : start + taken], source, True, start, -1)

    def _text(self, line: str, number: int) -> Text:
        text = Text(end="")
        colours = not self.app.no_color
        for piece, look in pieces(line):
            text.append(piece, style_of(look, colours))
        if self._pattern is not None:
            style = self._style("current" if number == self._current else "found")
            for match in self._pattern.finditer(text.plain):
                text.stylize(style, match.start(), match.end())
        return text

    def _window(self, text: str, part: int) -> tuple[int, int]:
        """The first character of this row of a line, and how many characters it has."""
        room = self._text_width
        if text.isascii():
            start = part * room if self.wrap else self.left
            return min(start, len(text)), room
        # characters of two cells: count cells, and never cut one in half
        starts = [0]
        used, skip = 0, self.left if not self.wrap else 0
        for at, char in enumerate(text):
            size = Segment(char).cell_length
            if skip > 0:
                skip -= size
                starts[0] = at + 1
                continue
            if used + size > room:
                starts.append(at)
                used = 0
            used += size
        starts.append(len(text))
        if part >= len(starts) - 1:
            return len(text), 0
        return starts[part], starts[part + 1] - starts[part]

    def _strip(self, text: Text, source: int, begins: bool, start: int, row: int) -> Strip:
        base = self._style("base")
        # rendering leaves a text without spans without its own style
        strip = Strip(text.render(self.app.console)).apply_style(base)
        room = self._text_width
        if row >= 0:
            strip = strip.apply_offsets(0, row)
        label = self._label_width
        if label:
            name = fit(self._names[source], label - 1, cut=glyph("cut", uses_ascii(self))) if begins else ""
            strip = Strip([Segment(name.ljust(label), self._style("source")), *strip])
        return strip if strip.cell_length >= room + label else strip.adjust_cell_length(room + label, base)

    def _widest_shown(self) -> int:
        """Cells of the longest line on the screen."""
        top = self.store.first_row + self.scroll_offset.y
        rows = range(top, min(top + self.scrollable_content_region.height, self.store.last_row))
        lines = (self.store.line(self.store.at_row(row)[0])[1] for row in rows)
        return max((Segment(text_of(line)).cell_length for line in lines), default=0)

    # ---- copy
    def _row_text(self, row: int) -> str:
        number, part = self.store.at_row(row)
        text = text_of(self.store.line(number)[1])
        start, taken = self._window(text, part)
        return text[start : start + taken]

    def visible_text(self) -> str:
        """The lines on the screen, whole."""
        top = self.store.first_row + self.scroll_offset.y
        rows = range(top, min(top + self.scrollable_content_region.height, self.store.last_row))
        numbers = dict.fromkeys(self.store.at_row(row)[0] for row in rows)
        lines = [text_of(self.store.line(number)[1]) for number in numbers]
        return "\n".join(lines)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        first, last = self.store.first_row, self.store.last_row
        start, end = selection.start, selection.end
        low = first if start is None else max(first, start.y)
        high = last - 1 if end is None else min(last - 1, end.y)
        if low > high:
            return None
        out: list[str] = []
        for row in range(low, high + 1):
            text = self._row_text(row)
            stop = end.x if end is not None and row == end.y else len(text)
            begin = start.x if start is not None and row == start.y else 0
            # rows of one wrapped line belong together
            joined = bool(out) and self.store.at_row(row)[1] > 0
            if joined:
                out[-1] += text[begin:stop]
            else:
                out.append(text[begin:stop])
        return "\n".join(out), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()
