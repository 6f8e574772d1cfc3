"""A table over many records that formats only what is on the screen.

``Rows`` knows which records are shown in which order, ``arrange`` which columns fit; this draws them
and moves a cursor. Cells come as texts from functions: when what they say changes (a slider was moved),
``repaint`` draws the visible rows anew and nothing else is touched.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from choline_tui.widgets.columns import GUTTER, Column, Layout, arrange, inert
from choline_tui.widgets.glyphs import uses_ascii
from choline_tui.widgets.rows import Rows
from choline_tui.widgets.table_paint import Painter

__all__ = ["Column", "Table"]

T = TypeVar("T")

_WHOLE = ("header", "sorted", "odd", "cursor", "hover", "empty")
_COLOURS = ("good", "warn", "bad", "dim", "accent", "mark")


class Table(ScrollView, Generic[T], can_focus=True, inherit_bindings=False):
    """``key`` gives each record its identity: cursor and marks stay on it through refresh, filter and sort.

    ``row_style`` names a colour ("dim", "warn", ...) for a whole row. ``empty`` is drawn while no record is
    shown: its first line plain, the others dim.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"table--{name}" for name in (*_WHOLE, *_COLOURS)}
    DEFAULT_CSS = """
    Table {
        background: $surface; color: $foreground; scrollbar-gutter: stable;
        scrollbar-size-vertical: 1; scrollbar-size-horizontal: 1;
        & > .table--header { background: $panel; color: $foreground; text-style: bold; }
        & > .table--sorted { background: $panel; color: $text-accent; text-style: bold; }
        & > .table--odd { background: $foreground 3%; }
        & > .table--hover { background: $foreground 8%; }
        & > .table--cursor {
            background: $block-cursor-blurred-background; color: $block-cursor-blurred-foreground;
            text-style: $block-cursor-blurred-text-style;
        }
        &:focus > .table--cursor {
            background: $block-cursor-background; color: $block-cursor-foreground;
            text-style: $block-cursor-text-style;
        }
        & > .table--empty { color: $foreground; }
        & > .table--good { color: $text-success; }
        & > .table--warn { color: $text-warning; }
        & > .table--bad { color: $text-error; }
        & > .table--dim { color: $foreground 55%; }
        & > .table--accent { color: $text-accent; }
        & > .table--mark { color: $text-accent; text-style: bold; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="table.up"),
        Binding("down,j", "move(1)", "Down", show=False, id="table.down"),
        Binding("left,h", "sideways(-1)", "Left", show=False, id="table.left"),
        Binding("right,l", "sideways(1)", "Right", show=False, id="table.right"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="table.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="table.page_down"),
        Binding("ctrl+u", "half(-1)", "Half a page up", show=False, id="table.half_up"),
        Binding("ctrl+d", "half(1)", "Half a page down", show=False, id="table.half_down"),
        Binding("home,g", "first", "First row", show=False, id="table.first"),
        Binding("end,G", "last", "Last row", show=False, id="table.last"),
        Binding("enter", "open", "Open", show=False, id="table.open"),
        Binding("space", "mark", "Mark", show=False, id="table.mark"),
        Binding("asterisk", "mark_all", "Mark all", show=False, id="table.mark_all"),
        Binding("shift+up", "range(-1)", "Mark upwards", show=False, id="table.range_up"),
        Binding("shift+down", "range(1)", "Mark downwards", show=False, id="table.range_down"),
        Binding("escape", "clear_marks", "Clear marks", show=False, id="table.clear_marks"),
    ]

    class _Said(Message):
        def __init__(self, table: "Table[Any]") -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> "Table[Any]":
            return self.table

    class Highlighted(_Said):
        """The cursor is on this record now (None: no record is shown), or the record under it is new."""

        def __init__(self, table: "Table[Any]", record: Any) -> None:
            super().__init__(table)
            self.record = record

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Table.Highlighted) and message.table is self.table

    class Opened(_Said):
        """Enter, or a double click."""

        def __init__(self, table: "Table[Any]", record: Any) -> None:
            super().__init__(table)
            self.record = record

    class HeaderClicked(_Said):
        """Nothing is sorted yet: call ``sort`` (the same column again reverses)."""

        def __init__(self, table: "Table[Any]", key: str) -> None:
            super().__init__(table)
            self.key = key

    class MarksChanged(_Said):
        """How many records are marked now."""

        def __init__(self, table: "Table[Any]", count: int) -> None:
            super().__init__(table)
            self.count = count

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Table.MarksChanged) and message.table is self.table

    def __init__(
        self,
        columns: Sequence[Column[T]],
        *,
        key: Callable[[T], Hashable],
        row_style: Callable[[T], str] | None = None,
        empty: str | Callable[[], str] = "Nothing here.",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
        disabled: bool = False,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes, disabled=disabled)
        self._columns = {column.key: column for column in columns}
        self._hidden: set[str] = set()
        self._pinned: set[str] = set()
        self._rows = Rows(key)
        self._key = key
        self._row_style = row_style
        self._empty = empty
        self._cursor = 0
        self._wanted: Hashable | None = None
        """the record the person put the cursor on, to which it returns when a filter shows it again; None:
        nobody has moved it, and it stays on the first row whatever comes"""
        self._told: T | None = None
        self._marks: dict[Hashable, None] = {}
        self._range: tuple[Hashable, dict[Hashable, None]] | None = None
        """where a range of marks began, and the marks from before it"""
        self._hovered = -1
        self._sort_key: str | None = None
        self._reverse = False
        self._layout: Layout[T] = arrange(list(columns), 80)
        self._generation = 0
        self._strips: LRUCache[tuple[Any, ...], Strip] = LRUCache(1024)
        self._styles: dict[str, Style] = {}
        self._painter: Painter[T]

    # ---- records
    @property
    def records(self) -> Sequence[T]:
        """All of them, shown or not, as they came."""
        return self._rows.records

    @property
    def shown(self) -> int:
        """How many pass the filter."""
        return len(self._rows.view)

    @property
    def shown_records(self) -> list[T]:
        """Those that pass the filter, in the order on the screen."""
        records = self._rows.records
        return [records[at] for at in self._rows.view]

    @property
    def cursor(self) -> int:
        """The row under the cursor, counted from 0."""
        return self._cursor

    @property
    def cursor_record(self) -> T | None:
        view = self._rows.view
        return self._rows.records[view[self._cursor]] if self._cursor < len(view) else None

    @property
    def marked(self) -> list[T]:
        """Marked records, in the order of marking; those a filter hides stay marked."""
        found = (self._rows.find(key) for key in self._marks)
        return [record for record in found if record is not None]

    @property
    def marked_hidden(self) -> int:
        """How many of the marked are hidden by the filter."""
        return sum(self._rows.place(key) is None for key in self._marks)

    @property
    def chosen(self) -> list[T]:
        """What an action is on: the marked, else the record under the cursor."""
        record = self.cursor_record
        return self.marked or ([] if record is None else [record])

    def set_records(self, records: Sequence[T], *, keep: bool = True) -> None:
        """These and no others. ``keep``: cursor and marks stay on the records with the same keys."""
        wanted, line = (self._wanted, self._line()) if keep else (None, 0)
        self._rows.replace(records)
        before = len(self._marks)
        self._marks = {key: None for key in self._marks if keep and self._rows.known(key)}
        self._range = None
        if len(self._marks) != before:
            self.post_message(self.MarksChanged(self, len(self._marks)))
        self._shown_changed(wanted, line)

    def extend(self, records: Iterable[T]) -> None:
        """More of them, in place; one with a known key replaces the old one."""
        wanted, line = self._wanted, self._line()
        self._rows.extend(records)
        self._shown_changed(wanted, line)

    def set_filter(self, predicate: Callable[[T], bool] | None) -> None:
        """Only those for which ``predicate`` is true; None: all."""
        wanted, line = self._wanted, self._line()
        self._rows.filter(predicate)
        self._shown_changed(wanted, line)

    def set_empty(self, empty: str | Callable[[], str]) -> None:
        self._empty = empty
        if not self._rows.view:
            self.refresh()

    # ---- order
    @property
    def sort_key(self) -> str | None:
        return self._sort_key

    @property
    def reverse(self) -> bool:
        return self._reverse

    def sort(self, key: str, reverse: bool | None = None) -> None:
        """By this column, None last, ties by the records' keys; ``reverse`` None: the same column again
        reverses, another begins upwards. Raises KeyError for a column that is not there."""
        column = self._columns[key]
        if reverse is None:
            reverse = not self._reverse if key == self._sort_key else False
        self._sort_key, self._reverse = key, reverse
        wanted, line = self._wanted, self._line()
        self._rows.sort(key, column.value, reverse)
        self._shown_changed(wanted, line)

    def unsort(self) -> None:
        """The order in which the records came."""
        self._sort_key, self._reverse = None, False
        wanted, line = self._wanted, self._line()
        self._rows.unsort()
        self._shown_changed(wanted, line)

    def forget_values(self, key: str) -> None:
        """This column's sort values have changed though the records have not."""
        wanted, line = self._wanted, self._line()
        self._rows.forget(key)
        self._shown_changed(wanted, line)

    def repaint(self) -> None:
        """The texts or styles have changed: the visible rows are drawn anew."""
        self._generation += 1
        self.refresh()

    # ---- columns
    @property
    def columns(self) -> tuple[Column[T], ...]:
        """All, in order, hidden ones included."""
        return tuple(self._columns.values())

    @property
    def visible_columns(self) -> tuple[Column[T], ...]:
        """Those that fit and are not hidden, from the left."""
        return tuple(placed.column for placed in self._layout.columns)

    def hide(self, key: str) -> None:
        """The first column cannot be hidden: it names the record."""
        if key in self._columns and key != next(iter(self._columns)):
            self._hidden.add(key)
            self._pinned.discard(key)
            self._arrange()

    def show(self, key: str) -> None:
        """Shown from now on, also when the terminal is too narrow: the table scrolls sideways then."""
        if key in self._columns:
            self._hidden.discard(key)
            self._pinned.add(key)
            self._arrange()

    def move_column(self, key: str, by: int) -> None:
        """Right by so many places among the visible ones, negative: left; the first column stays first."""
        order = list(self._columns)
        visible = [column.key for column in self.visible_columns]
        if key not in visible[1:]:
            return
        at = visible.index(key)
        target = visible[min(max(1, at + by), len(visible) - 1)]
        if target == key:
            return
        order.remove(key)
        order.insert(order.index(target) + (1 if by > 0 else 0), key)
        self._columns = {name: self._columns[name] for name in order}
        self._arrange()

    def resize_column(self, key: str, by: int) -> None:
        """Wider or narrower by so many cells, 3 at least."""
        column = self._columns[key]
        self._columns[key] = replace(column, width=max(3, column.width + by))
        self._arrange()

    def row_text(self, record: T) -> str:
        """The visible cells as one line with tabs between them, for the clipboard."""
        return "\t".join(inert(column.text(record)) for column in self.visible_columns)

    # ---- cursor
    def move_to(self, row: int) -> None:
        """Puts the cursor on this row (0 the first); beyond the ends: the end."""
        self._range = None
        self._go(row)

    def move_to_key(self, key: Hashable) -> bool:
        """Puts the cursor on the record with this key; False when it is not shown."""
        row = self._rows.place(key)
        if row is None:
            return False
        self.move_to(row)
        return True

    def _go(self, row: int) -> None:
        view = self._rows.view
        row = min(max(0, row), max(0, len(view) - 1))
        old, self._cursor = self._cursor, row
        if not view:
            return
        self._wanted = self._rows.keys[view[row]]
        if not self._scroll_to_cursor() and old != row:
            self._refresh_row(old)
            self._refresh_row(row)
        self._tell()

    def _scroll_to_cursor(self) -> bool:
        top, height = self.scroll_offset.y, self._body_height
        if self._cursor < top:
            top = self._cursor
        elif self._cursor >= top + height:
            top = self._cursor - height + 1
        else:
            return False
        self.scroll_to(y=top, animate=False, force=True, immediate=True)
        return True

    def _tell(self) -> None:
        record = self.cursor_record
        if record is not self._told:
            self._told = record
            self.post_message(self.Highlighted(self, record))

    @property
    def _body_height(self) -> int:
        return max(1, self.scrollable_content_region.height - 1)

    def _line(self) -> int:
        """The cursor's line on the screen."""
        return self._cursor - self.scroll_offset.y

    def _shown_changed(self, wanted: Hashable | None, line: int) -> None:
        """Other rows, or another order: the cursor stays on its record and, where it can, on its line."""
        view = self._rows.view
        place = self._rows.place(wanted) if wanted is not None else 0
        self._cursor = min(self._cursor, max(0, len(view) - 1)) if place is None else place
        if wanted is None or not self._rows.known(wanted):
            self._wanted = self._key_at(self._cursor) if wanted is not None and view else None
        self._generation += 1
        self._hovered = -1
        self._strips.clear()
        if self.is_mounted:
            self._fit_height()
            top = min(max(0, self._cursor - line), self.max_scroll_y)
            if top != self.scroll_offset.y:
                self.scroll_to(y=top, animate=False, force=True, immediate=True)
            self._scroll_to_cursor()
        self.refresh()
        self._tell()

    # ---- marks
    def clear_marks(self) -> None:
        if self._marks:
            self._set_marks({})

    def _set_marks(self, marks: dict[Hashable, None]) -> None:
        self._marks = marks
        self.refresh()
        self.post_message(self.MarksChanged(self, len(marks)))

    def _key_at(self, row: int) -> Hashable:
        return self._rows.keys[self._rows.view[row]]

    # ---- actions
    def action_move(self, by: int) -> None:
        self.move_to(self._cursor + by)

    def action_page(self, by: int) -> None:
        self.move_to(self._cursor + by * self._body_height)

    def action_half(self, by: int) -> None:
        self.move_to(self._cursor + by * max(1, self._body_height // 2))

    def action_first(self) -> None:
        self.move_to(0)

    def action_last(self) -> None:
        self.move_to(len(self._rows.view) - 1)

    def action_sideways(self, by: int) -> None:
        """By one column; the first one stays."""
        starts = [placed.x - self._layout.frozen for placed in self._layout.columns[1:]]
        here = self.scroll_offset.x
        if by > 0:
            target = next((x for x in starts if x > here), here)
        else:
            target = next((x for x in reversed(starts) if x < here), 0)
        self.scroll_to(x=min(target, self.max_scroll_x), animate=False, force=True, immediate=True)

    def action_open(self) -> None:
        record = self.cursor_record
        if record is not None:
            self.post_message(self.Opened(self, record))

    def action_mark(self) -> None:
        """Marks the row, or takes its mark, and goes down."""
        if self._rows.view:
            self._toggle(self._cursor)
            self.move_to(self._cursor + 1)

    def _toggle(self, row: int) -> None:
        key = self._key_at(row)
        marks = dict(self._marks)
        if key in marks:
            del marks[key]
        else:
            marks[key] = None
        self._range = None
        self._set_marks(marks)

    def action_mark_all(self) -> None:
        """Marks all that are shown; takes their marks when all of them have one."""
        keys = dict.fromkeys(self._rows.keys[at] for at in self._rows.view)
        if not keys:
            return
        if keys.keys() <= self._marks.keys():
            self._set_marks({key: None for key in self._marks if key not in keys})
        else:
            self._set_marks(self._marks | keys)

    def action_range(self, by: int) -> None:
        self._range_to(self._cursor + by)

    def _range_to(self, row: int) -> None:
        """All between where the range began and this row are marked; going back takes marks again."""
        if not self._rows.view:
            return
        if self._range is None:
            self._range = (self._key_at(self._cursor), dict(self._marks))
        begun, marks = self._range
        self._go(row)
        start = self._rows.place(begun)
        if start is None:
            start = self._cursor
        low, high = sorted((start, self._cursor))
        self._set_marks(marks | dict.fromkeys(self._key_at(row) for row in range(low, high + 1)))

    def action_clear_marks(self) -> None:
        self._range = None
        self.clear_marks()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        # without marks, escape belongs to whoever holds the table
        return bool(self._marks) if action == "clear_marks" else super().check_action(action, parameters)

    # ---- mouse
    def _row_at(self, y: int) -> int | None:
        row = y - 1 + self.scroll_offset.y
        return row if y > 0 and row < len(self._rows.view) else None

    def _cell_x(self, x: int) -> int:
        return x if x < self._layout.frozen else x + self.scroll_offset.x

    def _on_click(self, event: events.Click) -> None:  # type: ignore[override]
        offset = event.get_content_offset(self)
        if offset is None:
            return
        event.stop()
        if offset.y == 0:
            column = self._layout.at(self._cell_x(offset.x))
            if column is not None:
                self.post_message(self.HeaderClicked(self, column.key))
            return
        row = self._row_at(offset.y)
        if row is None:
            return
        if event.shift:
            self._range_to(row)
        elif event.ctrl or offset.x < GUTTER:
            self._toggle(row)
            self.move_to(row)
        else:
            self.move_to(row)
            if event.chain == 2:
                self.action_open()

    def _on_mouse_move(self, event: events.MouseMove) -> None:
        offset = event.get_content_offset(self)
        row = None if offset is None else self._row_at(offset.y)
        self._hover(-1 if row is None else row)
        column = self._layout.at(self._cell_x(offset.x)) if offset is not None and offset.y == 0 else None
        tip = column.help if column is not None else ""
        if tip != (self.tooltip.plain if isinstance(self.tooltip, Text) else ""):
            self.tooltip = Text(tip) if tip else None

    def _on_leave(self, event: events.Leave) -> None:
        self._hover(-1)

    def _hover(self, row: int) -> None:
        if row != self._hovered:
            old, self._hovered = self._hovered, row
            for changed in (old, row):
                if changed >= 0:
                    self._refresh_row(changed)

    # ---- size and styles
    def _on_mount(self, event: events.Mount) -> None:
        self._painter = Painter(self._style, self.app.console, uses_ascii(self))
        self._arrange()

    def _on_resize(self, event: events.Resize) -> None:
        line = self._line()
        self._arrange()
        top = min(max(0, self._cursor - min(line, self._body_height - 1)), self.max_scroll_y)
        if line >= 0 and top != self.scroll_offset.y:
            self.scroll_to(y=top, animate=False, force=True, immediate=True)

    def _on_focus(self, event: events.Focus) -> None:
        self._styles = {}

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles = {}
        self._generation += 1

    def _arrange(self) -> None:
        if not self.size:
            return
        shown = [column for key, column in self._columns.items() if key not in self._hidden]
        self._layout = arrange(shown, self.scrollable_content_region.width, frozenset(self._pinned))
        self._generation += 1
        self._fit_height()
        self.refresh()

    def _fit_height(self) -> None:
        wide = self._layout.width if self._layout.width > self.scrollable_content_region.width else 0
        size = Size(wide, len(self._rows.view) + 1)
        # assigning a size lays the screen out again, equal or not
        if size != self.virtual_size:
            self.virtual_size = size

    def _refresh_row(self, row: int) -> None:
        y = row - self.scroll_offset.y + 1
        if 1 <= y <= self._body_height:
            self.refresh(Region(0, y, self.size.width, 1))

    # ---- drawing
    def _style(self, name: str) -> Style:
        if not self._styles:
            styles = {"base": self.rich_style}
            for part in _WHOLE:
                styles[part] = self.get_component_rich_style(f"table--{part}")
            for colour in _COLOURS:
                whole = self.get_component_rich_style(f"table--{colour}")
                # its colour and weight only: the row keeps its background
                styles[colour] = Style(color=whole.color, bold=whole.bold, italic=whole.italic, dim=whole.dim)
            self._styles = styles
        return self._styles[name]

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if y == 0:
            header = self._painter.header(self._layout, width, self._sort_key, self._reverse)
            return self._window(header, width, self._style("header"))
        row = self.scroll_offset.y + y - 1
        if row >= len(self._rows.view):
            blank = self._style("base")
            if self._rows.view:
                return Strip.blank(width, blank)
            words = self._empty if isinstance(self._empty, str) else self._empty()
            return self._painter.empty(words, y - 1, width, self._body_height)
        at = self._rows.view[row]
        ground = self._ground(row)
        marked = self._rows.keys[at] in self._marks if self._marks else False
        cached = (at, ground, marked, self._generation, self.has_focus, self.scroll_offset.x, width)
        strip = self._strips.get(cached)
        if strip is None:
            record = self._rows.records[at]
            whole = self._row_style(record) if self._row_style is not None else ""
            strip = self._painter.row(self._layout, record, ground, marked, whole)
            strip = self._strips[cached] = self._window(strip, width, self._style(ground))
        return strip

    def _window(self, strip: Strip, width: int, ground: Style) -> Strip:
        left = self.scroll_offset.x
        if not left:
            return strip.crop_extend(0, width, ground)
        frozen = min(self._layout.frozen, width)
        rest = strip.crop_extend(frozen + left, width + left, ground)
        return Strip.join([strip.crop(0, frozen), rest])

    def _ground(self, row: int) -> str:
        if row == self._cursor:
            return "cursor"
        if row == self._hovered:
            return "hover"
        return "odd" if row & 1 else "base"
