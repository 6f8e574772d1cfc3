"""What a step is made of: facts to read, lines to type in, lists to tick. Each says what changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from choline_tui.kernel.text import plain
from choline_tui.model.words import clean

__all__ = ["FactLines", "Facts", "Line", "LineField", "Tick", "TickField", "TickList", "Ticks"]

TONES = {"": "", "dim": "$muted", "warn": "$text-warning", "bad": "$text-error", "good": "$text-success"}
MOST_OTHERS = 4


@dataclass(frozen=True, slots=True)
class Facts:
    """``lines``: (title, text, tone); all of it may be foreign. ``id``: to tell them anew."""

    lines: tuple[tuple[str, str, str], ...]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A line to type in. ``where``: what its value comes from; ``others``: what else was found;
    ``empty``: what holds when nothing is typed."""

    key: str
    label: str
    help: str = ""
    value: str = ""
    where: str = ""
    others: tuple[str, ...] = ()
    empty: str = ""
    wrong: str = ""
    short: bool = False
    """all of it on one row"""


@dataclass(frozen=True, slots=True)
class Tick:
    """``value`` is what the list is made of; ``label`` and ``note`` may be foreign."""

    value: Any
    label: str
    note: str = ""
    on: bool = False


@dataclass(frozen=True, slots=True)
class Ticks:
    """A list to tick. ``add``: what may be typed below it, '' for nothing; ``single``: at most one."""

    key: str
    label: str
    help: str = ""
    items: tuple[Tick, ...] = ()
    add: str = ""
    single: bool = False
    none: str = ""
    """said when there is nothing to tick"""
    wrong: str = ""


class Forward(Message):
    """Enter: the next line is wanted, or the next step."""


class Changed(Message):
    """``value``: text of a line, or the list of what is ticked."""

    def __init__(self, key: str, value: Any, field: "LineField | TickField") -> None:
        super().__init__()
        self.key, self.value, self.field = key, value, field


class FactLines(Widget):
    """Titles in a column, what they say beside them, folded there."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(id=facts.id or None)
        self._lines: list[tuple[str, str, str]] = []
        self.tell(facts.lines)

    def tell(self, lines: Sequence[tuple[str, str, str]]) -> None:
        self._lines = [(clean(title, 16), clean(text, 400), tone) for title, text, tone in lines]
        self.display = bool(lines)
        self.refresh(layout=True)

    def _drawn(self, width: int) -> list[Content]:
        titled = max((cell_len(title) for title, _, _ in self._lines), default=0)
        start = titled + 2 if titled else 0
        found = []
        for title, text, tone in self._lines:
            if not title and tone == "dim":  # a heading of its own
                found += [Content.styled(piece, TONES[tone]) for piece in _folded(text, max(20, width))]
                continue
            head = Content.styled(title + " " * (start - cell_len(title)), "$muted")
            for piece in _folded(text, max(20, width - start)):
                found.append(head + Content.styled(piece, TONES[tone]))
                head = Content(" " * start)
        return found

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._drawn(width))

    def render(self) -> Content:
        return Content("\n").join(self._drawn(self.content_size.width or 60))


def _folded(text: str, width: int) -> list[str]:
    """In lines of at most ``width`` cells, cut between words where that can be."""
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if cell_len(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        while cell_len(word) > width:
            head = set_cell_size(word, width).rstrip(" ")
            lines.append(head)
            word = word[len(head) :]
        line = word
    return [*lines, line]


class LineInput(Input):
    BINDINGS: ClassVar[Any] = [
        Binding("enter", "forward", "Next line", show=False),
        Binding("up", "app.focus_previous", "Line above", show=False),
        Binding("down", "app.focus_next", "Line below", show=False),
    ]
    HELP_TITLE = "Text"

    def action_forward(self) -> None:
        self.post_message(Forward())


class Paged(OptionList):
    """Page keys go through the steps here as everywhere: these lists are short."""

    def action_page_down(self) -> None:
        self.app.call_later(self.screen.run_action, "step(1)")

    def action_page_up(self) -> None:
        self.app.call_later(self.screen.run_action, "step(-1)")


class Others(Paged):
    """What else was found: enter, or a click, takes it."""

    HELP_TITLE = "Also found"

    def action_cursor_up(self) -> None:
        if not self.highlighted:
            self.app.action_focus_previous()
        else:
            super().action_cursor_up()

    def action_cursor_down(self) -> None:
        if self.highlighted is not None and self.highlighted >= self.option_count - 1:
            self.app.action_focus_next()
        else:
            super().action_cursor_down()

    def on_mount(self) -> None:
        self.highlighted = None

    def on_focus(self) -> None:
        if self.highlighted is None and self.option_count:
            self.highlighted = 0

    def on_blur(self) -> None:
        self.highlighted = None


class TickList(Others):
    """Space, or a click, ticks; enter goes on."""

    HELP_TITLE = "List to tick"
    BINDINGS: ClassVar[Any] = [
        Binding("space", "select", "Tick", tooltip="Tick it, or take the tick away."),
        Binding("enter", "forward", "Next line", show=False),
        Binding("asterisk", "all", "Tick all", show=False, tooltip="Tick all, or none."),
    ]

    def action_forward(self) -> None:
        self.post_message(Forward())

    def action_all(self) -> None:
        field = self.parent
        if isinstance(field, TickField):
            field.tick_all()


def _label(text: str, where: str = "") -> Content:
    head = Content.styled(text, "bold")
    return head + Content.styled(f"  {clean(where, 300)}", "$muted") if where else head


class LineField(Vertical):
    """Label and where its value comes from, the line, what else was found, what is wrong."""

    def __init__(self, spec: Line) -> None:
        super().__init__(classes="field")
        self.spec = spec

    def compose(self) -> ComposeResult:
        spec = self.spec
        line = LineInput(
            plain(spec.value), placeholder=spec.empty, id=_id(spec.key), compact=True, select_on_focus=False
        )
        if spec.short:
            about = spec.where or spec.help
            with Horizontal(classes="short"):
                yield Static(_label(spec.label), classes="label")
                yield line
                yield Static(Content.styled(clean(about, 300), "$muted"), classes="about")
            yield Static("", classes="wrong", markup=False)
            return
        yield Static(_label(spec.label, spec.where), classes="label")
        yield line
        yield Static("", classes="wrong", markup=False)
        others = [other for other in spec.others if other != spec.value][:MOST_OTHERS]
        if others:
            self._others = others
            yield Others(*(Option(_other(each)) for each in others), compact=True, classes="others")
        if spec.help:
            yield Static(Content.styled(spec.help, "$muted"), classes="help")

    def on_mount(self) -> None:
        self.tell(self.spec.wrong)

    def tell(self, wrong: str) -> None:
        line = self.query_one(".wrong", Static)
        line.display = bool(wrong)
        line.update(Content(clean(wrong, 300)))
        self.set_class(bool(wrong), "-wrong")

    def say_where(self, where: str) -> None:
        """What the value comes from, '' for what was typed."""
        if self.spec.short:
            about = Content.styled(clean(where or self.spec.help, 300), "$muted")
            self.query_one(".about", Static).update(about, layout=False)
        else:
            self.query_one(".label", Static).update(_label(self.spec.label, where), layout=False)

    @property
    def input(self) -> LineInput:
        return self.query_one(LineInput)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(Changed(self.spec.key, event.value, self))

    @on(OptionList.OptionSelected)
    def _taken(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.input.value = self._others[event.option_index]
        self.input.focus()


def _other(text: str) -> Content:
    return Content.styled("or: ", "$muted") + Content(clean(text, 300))


class TickField(Vertical):
    """Label, the list, and a line to add to it."""

    def __init__(self, spec: Ticks) -> None:
        super().__init__(classes="field")
        self.spec = spec
        self.items = list(spec.items)
        self.ticked = [item.on for item in spec.items]

    def compose(self) -> ComposeResult:
        spec = self.spec
        yield Static(_label(spec.label), classes="label")
        if spec.help:
            yield Static(Content.styled(spec.help, "$muted"), classes="help")
        if spec.none:
            none = Static(Content.styled(spec.none, "$muted"), classes="none")
            none.display = not self.items
            yield none
        ticks = TickList(*self._options(), compact=True, classes="ticks", id=_id(spec.key))
        ticks.display = bool(self.items)
        yield ticks
        if spec.add:
            yield LineInput(placeholder=spec.add, id=f"{_id(spec.key)}-add", compact=True, classes="add")
        yield Static("", classes="wrong", markup=False)

    def on_mount(self) -> None:
        self.tell(self.spec.wrong)

    def tell(self, wrong: str) -> None:
        line = self.query_one(".wrong", Static)
        line.display = bool(wrong)
        line.update(Content(clean(wrong, 300)))

    def _options(self) -> list[Option]:
        width = min(30, max((len(clean(item.label, 60)) for item in self.items), default=0))
        return [Option(self._drawn(n, width)) for n in range(len(self.items))]

    def _drawn(self, at: int, width: int) -> Content:
        item, on = self.items[at], self.ticked[at]
        marks = ("(o)", "( )") if self.spec.single else ("[x]", "[ ]")
        mark = Content.styled(marks[0] if on else marks[1], "bold $text-success" if on else "$muted")
        label = Content(f" {clean(item.label, 60):<{width}}")
        note = Content.styled(f"  {clean(item.note, 200)}", "$muted") if item.note else Content("")
        return mark + label + note

    def _redraw(self) -> None:
        box = self.query_one(TickList)
        at = box.highlighted
        box.clear_options()
        box.add_options(self._options())
        box.display = bool(self.items)
        box.highlighted = at
        for none in self.query(".none"):
            none.display = not self.items

    def chosen(self) -> list[Any]:
        return [item.value for item, on in zip(self.items, self.ticked, strict=True) if on]

    @on(OptionList.OptionSelected)
    def _toggled(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        at = event.option_index
        on = not self.ticked[at]
        if self.spec.single:
            self.ticked = [False] * len(self.items)
        self.ticked[at] = on
        self._changed()

    def tick_all(self) -> None:
        if not self.spec.single:
            self.ticked = [not all(self.ticked)] * len(self.items)
            self._changed()

    def _changed(self) -> None:
        self._redraw()
        self.post_message(Changed(self.spec.key, self.chosen(), self))

    @on(Forward)
    def _added(self, event: Forward) -> None:
        """Enter in the line below: what was typed gets into the list; with nothing typed one goes on."""
        added = self.query(LineInput)
        focused = self.app.focused
        if not added or focused is not added.first() or not added.first().value.strip():
            return
        event.stop()
        line = added.first()
        for piece in line.value.split(",") if self.spec.key != "env" else [line.value]:
            text = piece.strip()
            if text and text not in [item.value for item in self.items]:
                self.items.append(Tick(text, text, "", True))
                self.ticked.append(True)
        line.value = ""
        self._changed()


def _id(key: str) -> str:
    return "field-" + key.replace(".", "-").replace("_", "-")
