"""A percentage to set by keys, clicks, dragging and the wheel; one row high."""

from collections.abc import Callable
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from choline_tui.widgets.columns import fit
from choline_tui.widgets.glyphs import glyph, uses_ascii

__all__ = ["PercentSlider"]

_NUMBER = 6
"""cells of "100 % " """
_SHORTEST = 8
"""cells of the track, however little room there is"""


class PercentSlider(Widget, can_focus=True):
    """Whole percents from ``minimum`` to ``maximum``; ``big`` is the step with shift.

    ``label`` says what the value means (the cap it gives); it is drawn behind the track in ``label_width``
    cells, so that the track does not move while its words change.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "slider--number",
        "slider--filled",
        "slider--handle",
        "slider--track",
        "slider--label",
    }
    DEFAULT_CSS = """
    PercentSlider {
        height: 1; min-width: 14; width: 1fr; color: $foreground;
        & > .slider--number { text-style: bold; }
        & > .slider--filled { color: $accent; }
        & > .slider--handle { color: $accent; text-style: bold; }
        & > .slider--track { color: $foreground 40%; }
        & > .slider--label { color: $foreground 80%; }
        &:focus > .slider--number {
            background: $block-cursor-background; color: $block-cursor-foreground;
            text-style: $block-cursor-text-style;
        }
        &:focus > .slider--handle { color: $foreground; text-style: bold; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "change(-1)", "Less", id="slider.less"),
        Binding("right,l", "change(1)", "More", id="slider.more"),
        Binding("shift+left,H", "big(-1)", "Much less", show=False, id="slider.much_less"),
        Binding("shift+right,L", "big(1)", "Much more", show=False, id="slider.much_more"),
        Binding("home", "least", "Least", show=False, id="slider.least"),
        Binding("end", "most", "Most", show=False, id="slider.most"),
    ]

    value: reactive[int] = reactive(0, init=False)

    class Changed(Message):
        """A held key or a drag that is faster than its handling leaves only the last of these."""

        def __init__(self, slider: "PercentSlider", value: int) -> None:
            super().__init__()
            self.slider = slider
            self.value = value

        @property
        def control(self) -> "PercentSlider":
            return self.slider

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, PercentSlider.Changed) and message.slider is self.slider

    def __init__(
        self,
        value: int = 0,
        minimum: int = 0,
        maximum: int = 100,
        step: int = 1,
        big: int = 5,
        *,
        label: Callable[[int], str] | None = None,
        label_width: int = 32,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
        disabled: bool = False,
    ) -> None:
        if not (minimum < maximum and step > 0 and big > 0):
            raise ValueError("a slider needs minimum < maximum and steps above 0")
        super().__init__(name=name, id=id, classes=classes, disabled=disabled)
        self.minimum, self.maximum, self.step, self.big = minimum, maximum, step, big
        self._label, self._label_width = label, label_width
        self._dragging = False
        self.set_reactive(PercentSlider.value, self.validate_value(value))

    def validate_value(self, value: int) -> int:
        return min(max(value, self.minimum), self.maximum)

    def watch_value(self, value: int) -> None:
        self.post_message(self.Changed(self, value))

    # ---- actions
    def action_change(self, steps: int) -> None:
        self.value += steps * self.step

    def action_big(self, steps: int) -> None:
        """To the next round value: from 7 to 10, then 15."""
        at = self.value - self.minimum
        rounded = (at // self.big + 1 if steps > 0 else (at - 1) // self.big) * self.big
        self.value = self.minimum + max(0, rounded)

    def action_least(self) -> None:
        self.value = self.minimum

    def action_most(self) -> None:
        self.value = self.maximum

    # ---- mouse
    def _track(self) -> tuple[int, int]:
        """Where the track begins and its width, in cells."""
        room = max(_SHORTEST, self.size.width - _NUMBER)
        label = min(self._label_width + 1, room - _SHORTEST) if self._label is not None else 0
        return _NUMBER, room - max(0, label)

    def _set_by(self, event: events.MouseEvent) -> None:
        offset = event.get_content_offset_capture(self)
        start, width = self._track()
        share = min(1.0, max(0.0, (offset.x - start) / (width - 1)))
        steps = round(share * (self.maximum - self.minimum) / self.step)
        # the last step may be a short one
        self.value = self.maximum if share == 1.0 else self.minimum + steps * self.step

    def _on_mouse_down(self, event: events.MouseDown) -> None:  # type: ignore[override]
        offset = event.get_content_offset(self)
        if event.button != 1 or offset is None:
            return
        start, width = self._track()
        if start <= offset.x < start + width:
            self._dragging = True
            self.capture_mouse()
            self._set_by(event)
            event.stop()

    def _on_mouse_move(self, event: events.MouseMove) -> None:
        if self._dragging:
            self._set_by(event)
            event.stop()

    def _on_mouse_up(self, event: events.MouseUp) -> None:  # type: ignore[override]
        if self._dragging:
            self._dragging = False
            self.release_mouse()
            event.stop()

    def _on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, 1)

    def _on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, -1)

    def _wheel(self, event: events.MouseEvent, steps: int) -> None:
        event.stop()
        if event.shift or event.ctrl:
            self.action_big(steps)
        else:
            self.action_change(steps)

    # ---- drawing
    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return 1

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y:
            return Strip.blank(width, self.rich_style)
        ascii = uses_ascii(self)
        _, track = self._track()
        handle = round((self.value - self.minimum) / (self.maximum - self.minimum) * (track - 1))
        number = f"{self.value:>3} %"
        segments = [
            Segment(number, self.get_component_rich_style("slider--number")),
            Segment(" " * (_NUMBER - len(number)), self.rich_style),
            Segment(glyph("filled", ascii) * handle, self.get_component_rich_style("slider--filled")),
            Segment(glyph("handle", ascii), self.get_component_rich_style("slider--handle")),
            Segment(
                glyph("track", ascii) * (track - 1 - handle), self.get_component_rich_style("slider--track")
            ),
        ]
        room = width - _NUMBER - track
        if self._label is not None and room > 1:
            text = " " + fit(self._label(self.value), room - 1, cut=glyph("cut", ascii))
            segments.append(Segment(text, self.get_component_rich_style("slider--label")))
        return Strip(segments).adjust_cell_length(width, self.rich_style)
