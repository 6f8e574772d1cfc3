"""Marked offers become a filter: what of them is asked for, how many that lists, in which form it goes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from choline_tui.kernel.errors import CholineError
from choline_tui.kernel.text import plain
from choline_tui.screens.offers.market import Row
from choline_tui.screens.offers.save_view import write_new
from choline_tui.screens.windows import Window
from choline_tui.widgets.clicks import Clickable, doing
from choline_tui.widgets.slider import PercentSlider

if TYPE_CHECKING:
    from choline_tui.model.conditions import Query
    from choline_tui.model.filters import Filter

__all__ = ["FORMS", "LIKENESSES", "ExportScreen"]

LIKENESSES = (
    ("this one", "these slices of these machines"),
    ("as good or better", "at least what the weakest of them has, in round figures"),
    ("same GPU anywhere", "these GPUs in these numbers, wherever they are"),
)
FORMS = (
    ("filter", "saved filter", ".toml"),
    ("toml", "choline.toml", ".toml"),
    ("vastai", "vastai", ".sh"),
    ("json", "API JSON", ".json"),
    ("run", "choline run", ".sh"),
)
"""id, what it is called, the ending of its file"""
FIRST = 3
"""matching offers that are named"""
ASK_AFTER = 0.4


class Choices(Clickable):
    """A row of words of which one is chosen; a click chooses."""

    DEFAULT_CSS = "Choices { height: 1; width: 1fr; }"
    ALLOW_SELECT = False

    def __init__(self, label: str, words: Sequence[str], action: str, keys: str, *, id: str) -> None:
        super().__init__(id=id)
        self.label, self.words, self.does, self.keys, self.chosen = label, words, action, keys, 0

    def choose(self, at: int) -> None:
        self.chosen = at
        self.refresh()

    def render(self) -> Content:
        line = Content.styled(f"{self.label:<9}", "$muted")
        for at, word in enumerate(self.words):
            key = self.keys[at] if at < len(self.keys) else ""
            text = f" {key} {word} " if key else f" {word} "
            style = "bold reverse $accent" if at == self.chosen else ""
            line += doing(Content.styled(text, style), f"screen.{self.does}({at})")
        return line


class ExportScreen(Window[int]):
    """Gives the premium it was left with, or None."""

    HEADING = "Export a filter"
    DEFAULT_CSS = """
    ExportScreen > #window { max-width: 120; max-height: 32; }
    ExportScreen #export-premium { height: 1; }
    ExportScreen #export-premium-word { width: 9; color: $muted; }
    ExportScreen #export-says { height: auto; max-height: 6; margin: 1 0; }
    ExportScreen VerticalScroll { background: $background; padding: 0 1; height: 1fr; }
    ExportScreen #export-text { height: auto; }
    ExportScreen #export-name { display: none; }
    ExportScreen #export-name.-there { display: block; }
    """
    BINDINGS: ClassVar[Any] = [
        Binding("1", "liken(0)", "This one", show=False, id="export.this"),
        Binding("2", "liken(1)", "As good or better", show=False, id="export.as_good"),
        Binding("3", "liken(2)", "Same GPU anywhere", show=False, id="export.same_gpu"),
        Binding("k", "keep", "Keep my filter", show=False, id="export.keep"),
        Binding("tab", "form(1)", "Form", id="export.form", priority=True),
        Binding("shift+tab", "form(-1)", "Form before", show=False, priority=True, id="export.form_before"),
        Binding("y", "copy", "Copy", id="export.copy"),
        Binding("w", "file", "File", id="export.file"),
        Binding("s", "save", "Save", id="export.save"),
    ]

    def __init__(
        self, chosen: Sequence[Row], rows: Sequence[Row], base: "Query", premium: int, complete: bool
    ) -> None:
        super().__init__()
        self.chosen, self.rows, self.base, self.complete = list(chosen), list(rows), base, complete
        self.premium = premium
        self.likeness, self.form, self.keep = 0, 0, True
        self.query_made: Query | None = None
        self.cap: float | None = None
        self.market: str = ""
        """what the market answered to this very filter"""
        self._asking: object = None
        self._naming = ""
        """what the name that is being typed is for: a filter or a file"""

    def compose_inside(self) -> ComposeResult:
        yield Choices("like", [word for word, _ in LIKENESSES], "liken", "123", id="export-like")
        yield Choices("k filter", ["kept", "dropped"], "keep_it", "", id="export-keep")
        with Horizontal(id="export-premium"):
            yield Static("premium", id="export-premium-word", markup=False)
            yield PercentSlider(self.premium, label=self._label, label_width=30, id="export-slider")
        yield Static("", id="export-says", markup=False)
        yield Choices("as", [word for _, word, _ in FORMS], "form_at", "", id="export-form")
        with VerticalScroll(can_focus=False):
            yield Static("", id="export-text", markup=False)
        yield Input(id="export-name", max_length=500)

    def on_mount(self) -> None:
        super().on_mount()
        number = len(self.chosen)
        self.set_heading("Export a filter", f"of {number} offer{'s' if number > 1 else ''}")
        self.query_one("#export-slider").focus()
        self._make()

    # ---- what it is

    def _label(self, value: int) -> str:
        return "no price is told" if self.cap is None else f"cap ${self.cap:.4f}/h"

    def _make(self) -> None:
        from choline_tui.model.export import Likeness, cap_of, like

        self.cap = cap_of(self.chosen, self.premium)
        likeness = list(Likeness)[self.likeness]
        self.query_made = like(self.chosen, likeness, self.base, self.premium, keep=self.keep)
        self.market = ""
        self.query_one("#export-slider").refresh()
        self._draw()
        if self._asking is not None:
            self._asking.stop()  # type: ignore[attr-defined]
        self._asking = self.set_timer(ASK_AFTER, self._ask_market)

    @work(exclusive=True, group="export", exit_on_error=False, description="counting what the filter matches")
    async def _ask_market(self) -> None:
        query = self.query_made
        if query is None:
            return
        try:
            found = await self.choline_app.choline.offers(
                query=query.text(), order=query.order_text(), type=query.type, disk=query.disk_gb
            )
        except CholineError as error:
            said = f"the market could not be asked: {error.message}"
        else:
            plus = "" if found.complete else "+"
            said = f"the market lists {len(found.rows)}{plus} now"
        if query is self.query_made:
            self.market = said
            self._draw()

    def _draw(self) -> None:
        from choline_tui.model.export import matching

        query = self.query_made
        if query is None:
            return
        self.query_one("#export-like", Choices).choose(self.likeness)
        self.query_one("#export-keep", Choices).choose(0 if self.keep else 1)
        self.query_one("#export-form", Choices).choose(self.form)
        found = matching(self.rows, query)
        here = f"{len(found)} of the {len(self.rows)}{'' if self.complete else '+'} offers here match"
        about = LIKENESSES[self.likeness][1]
        said = Content.styled(f"{about}\n", "$muted")
        said += Content.styled(here, "bold") + Content(f"; {plain(self.market) or 'asking the market...'}")
        for row in found[:FIRST]:
            said += Content.styled(f"\n  {plain(_named(row))}", "$muted")
        if len(found) > FIRST:
            said += Content.styled(f"\n  and {len(found) - FIRST} more", "$muted")
        self.query_one("#export-says", Static).update(said)
        text, fault = self._text()
        content = Content.styled(plain(fault), "$text-warning") if fault else Content(plain(text))
        self.query_one("#export-text", Static).update(content)

    def _text(self) -> tuple[str, str]:
        """(the text in the chosen form, why there is none)."""
        from choline_tui.model.export import api_json, official_command, run_command, toml_table

        query, form = self.query_made, FORMS[self.form][0]
        assert query is not None
        try:
            if form == "vastai":
                return official_command(query), ""
            if form == "json":
                return api_json(query), ""
            if form == "run":
                return run_command(query, self.cap), ""
            return toml_table(query, self.cap), ""
        except CholineError as error:
            return "", f"{error.message}\n{error.hint}"

    # ---- what is done

    def action_liken(self, at: int) -> None:
        self.likeness = at
        self._make()

    def action_keep(self) -> None:
        self.keep = not self.keep
        self._make()

    def action_keep_it(self, at: int) -> None:
        self.keep = at == 0
        self._make()

    def action_form(self, by: int) -> None:
        self.form = (self.form + by) % len(FORMS)
        self._draw()

    def action_form_at(self, at: int) -> None:
        self.form = at
        self._draw()

    @on(PercentSlider.Changed)
    def _premium_moved(self, event: PercentSlider.Changed) -> None:
        event.stop()
        self.premium = event.value
        self._make()

    def action_copy(self) -> None:
        text, fault = self._text()
        if fault:
            self.app.bell()
            return
        self.choline_app.copy(text, FORMS[self.form][1])

    def action_save(self) -> None:
        self._ask_name("filter", "a name for the filter, such as cheap-4090", "")

    def action_file(self) -> None:
        if not self._text()[1]:
            form, _, ending = FORMS[self.form]
            self._ask_name("file", "a file's name", f"offers-{form}{ending}")

    def _ask_name(self, what: str, placeholder: str, value: str) -> None:
        self._naming = what
        box = self.query_one("#export-name", Input)
        box.placeholder, box.value = placeholder, value
        box.add_class("-there")
        box.cursor_position = len(value)
        # not now: the key that asked for it would be typed into it
        self.call_after_refresh(box.focus)

    @on(Input.Submitted, "#export-name")
    def _named_it(self, event: Input.Submitted) -> None:
        name = event.value.strip()
        if not name:
            return
        try:
            done = self._save_as(name) if self._naming == "filter" else self._write(name)
        except CholineError as error:
            self.choline_app.fail(error, "saving the filter")
            return
        except (OSError, ValueError) as error:
            event.input.border_title = None
            self.choline_app.say(f"it cannot be written: {getattr(error, 'strerror', None) or error}")
            return
        self.choline_app.say(done)
        self._close_name()

    def _close_name(self) -> None:
        self._naming = ""
        self.query_one("#export-name", Input).remove_class("-there")
        self.query_one("#export-slider").focus()

    def _save_as(self, name: str) -> str:
        self.choline_app.choline.save_filter(name, self.as_filter())
        return f"saved: choline run --filter {name}"

    def as_filter(self) -> "Filter":
        from choline_tui.model.filters import Filter

        assert self.query_made is not None
        return Filter.of(self.query_made, self.cap)

    def _write(self, name: str) -> str:
        text, _ = self._text()
        return f"wrote {write_new(Path(name).expanduser(), text + os.linesep).absolute()}"

    def action_dismiss_modal(self) -> None:
        if self._naming:
            self._close_name()
            return
        self.dismiss(self.premium)


def _named(row: Row) -> str:
    price = row.get("price")
    said = f"${price:.4f}/h" if price is not None else "price unknown"
    place = row.get("geolocation") or "place unknown"
    return f"{said}  {row.get('num_gpus', '?')}x {row.get('gpu_name', '?')}  {place}"[:100]
