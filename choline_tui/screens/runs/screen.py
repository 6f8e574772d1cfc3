"""The list of runs: what each does now, what it costs, and whatever may bill although it should not."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from choline_tui.actions import bindings
from choline_tui.kernel.errors import SystemFault
from choline_tui.model.words import clean
from choline_tui.screens.chooser import Choice, Chooser
from choline_tui.screens.runs.actions import LIST, VERBS
from choline_tui.screens.runs.cells import (
    alarms,
    billing,
    columns,
    commit_of,
    gpu_of,
    happening,
    place_of,
    row_colour,
    state_word,
    what_happens,
    worth_first,
)
from choline_tui.screens.runs.matching import matcher
from choline_tui.screens.runs.saving import saved_view
from choline_tui.screens.runs.verbs import RunVerbs
from choline_tui.screens.states import EMPTY, ENGINE_DOWN, LOADING, State, StatePanel, Step, state_for
from choline_tui.services.at_home import LastLines
from choline_tui.widgets.clicks import Clickable, doing
from choline_tui.widgets.columns import fit
from choline_tui.widgets.glyphs import glyph
from choline_tui.widgets.table import Table
from choline_tui.widgets.typing import FilterLine
from choline_tui.widgets.words import Words

if TYPE_CHECKING:
    from choline_tui.services.choline import RunView
    from choline_tui.services.feed import Snapshot

__all__ = ["EngineBanner", "RunsScreen"]

TICK = 2.0
"""s between two looks at what moves by itself: times, cost, last log lines"""

NO_RUNS = EMPTY.but(
    title="No runs yet",
    text="A run is one command of a project on a rented machine, with its results brought home.",
    steps=(
        Step("1", "look at the offers; R there plans a run of this directory's project", "app.go('offers')"),
        Step("", "or in a shell: choline run --gpu 4090 -- python train.py"),
        Step("", "or see it all on a private market, without money: choline demo", "app.demo"),
    ),
)


class RunFilter(FilterLine):
    """esc clears and goes back to the list, enter and down go there as it is."""

    BINDINGS: ClassVar[Any] = [
        Binding("escape", "clear_filter", "Clear", id="runs.filter.clear"),
        Binding("down,tab", "to_list", "To the list", show=False, id="runs.filter.list"),
    ]

    LIST = "#runs"


class EngineBanner(Clickable):
    """Says that no engine runs, while there is something to look at. Hidden otherwise."""

    DEFAULT_CSS = """
    EngineBanner { height: 1; width: 1fr; background: $error 20%; color: $text-error; display: none;
                   text-wrap: nowrap; text-overflow: ellipsis; }
    EngineBanner.-there { display: block; }
    """
    ALLOW_SELECT = False

    def tell(self, snapshot: "Snapshot") -> None:
        self.set_class(snapshot.engine.state == "down", "-there")

    def render(self) -> Content:
        sign = ENGINE_DOWN.ascii if bool(getattr(self.app, "ascii", False)) else ENGINE_DOWN.glyph
        text = f" {sign} The engine does not run: nothing is followed or destroyed. E starts it "
        return doing(Content.styled(text, "bold"), "app.start_engine")


class RunsScreen(RunVerbs):
    WHERE = "runs"
    BINDINGS = [  # noqa: RUF012
        *bindings("runs", (*VERBS, *LIST)),
        Binding("E", "app.start_engine", "Start the engine", show=False, id="runs.engine"),
    ]
    DEFAULT_CSS = """
    RunsScreen #filter-line { height: 1; width: 1fr; }
    RunsScreen #filter-sign { width: 3; height: 1; color: $accent; text-style: bold; }
    RunsScreen RunFilter, RunsScreen RunFilter:focus {
        border: none; height: 1; padding: 0; width: 1fr; background: $background;
    }
    RunsScreen RunFilter:focus { background: $panel; }
    RunsScreen #counts { width: auto; height: 1; padding: 0 1; color: $muted; }
    RunsScreen #runs { height: 1fr; }
    RunsScreen #peek { height: 3; background: $panel; padding: 0 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._views: tuple[RunView, ...] = ()
        """as they are drawn"""
        self._known: dict[str, tuple[RunView, object]] = {}
        """as they are, and what is to be seen of each at once"""
        self._stale = False
        self._lines: LastLines | None = None

    # ------------------------------------------------------------------------------------ composition

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="filter-line"):
            yield Static(" / ", id="filter-sign", markup=False)
            yield RunFilter(
                placeholder="live 4090 -name",
                id="filter",
                max_length=500,
                select_on_focus=False,
                compact=True,
            )
            yield Words(id="counts")
        yield EngineBanner(id="banner")
        yield Table(
            columns(lambda: self.now, self._last_line, self.choline_app.ascii),
            key=lambda view: view.run.id,
            row_style=row_colour,
            empty="No run matches.\nesc in the filter clears it.",
            id="runs",
        )
        yield Words(fixed=True, id="peek")
        yield StatePanel(LOADING, id="state")

    @property
    def table(self) -> "Table[RunView]":
        return self.query_one("#runs", Table)

    @property
    def filter_box(self) -> RunFilter:
        return self.query_one("#filter", RunFilter)

    def on_mount(self) -> None:
        super().on_mount()
        self._show_state(LOADING)
        self.table.focus()
        self.set_interval(TICK, self._tick)

    async def on_unmount(self) -> None:
        # this screen is there as long as the app is: its pages lie on top of it
        await self.forwards.close()

    def _last_line(self, view: "RunView") -> str:
        if self._lines is None:
            app = self.choline_app
            self._lines = LastLines(app.choline.log_file, app.clock.monotonic)
        return self._lines.of(view)

    # ------------------------------------------------------------------------------------------- live

    def on_snapshot(self, snapshot: "Snapshot") -> None:
        self.query_one(EngineBanner).tell(snapshot)
        if snapshot.trouble is not None and not snapshot.runs:
            self._show_state(state_for(snapshot.trouble))
            return
        if not snapshot.runs:
            self._show_state(ENGINE_DOWN if snapshot.engine.state == "down" else NO_RUNS)
        elif self._changed(snapshot.runs):
            self._refill()

    def _changed(self, runs: "tuple[RunView, ...]") -> bool:
        """Whether something happened that is to be seen at once. What costs creep and looks are repeated
        for waits for the next tick: fifty machines are looked at all the time."""
        known = self._known
        now: dict[str, tuple[RunView, object]] = {}
        changed = len(runs) != len(known)
        for view in runs:
            name = view.run.id
            old = known.get(name)
            if old is not None and old[0] is view:
                now[name] = old
                continue
            now[name] = (view, sign := happening(view))
            changed = changed or old is None or old[1] != sign
            self._stale = True
        self._known = now
        return changed

    def _refill(self) -> None:
        self._stale = False
        self._views = tuple(sorted((view for view, _ in self._known.values()), key=worth_first))
        if self._lines is not None:
            self._lines.forget(set(self._known))
        self._show_state(None)
        self.table.set_records(self._views)
        self._tell_counts()
        self._tell_peek()

    def _show_state(self, state: State | None) -> None:
        self.query_one("#state", StatePanel).show(state)
        for name in ("#runs", "#peek", "#filter-line"):
            self.query_one(name).display = state is None

    def _tick(self) -> None:
        if self.app.screen is not self or not self._known:
            return
        if self._stale:
            self._refill()
        else:
            self.table.repaint()
            self._tell_peek()

    def _tell_counts(self) -> None:
        views = self._views
        table = self.table
        shown = f"{table.shown} of {len(views)}" if table.shown != len(views) else f"{len(views)}"
        parts = [f"{shown} run{'' if shown == '1' else 's'}"]
        live = sum(view.run.live for view in views)
        bills = sum(bool(billing(view)) for view in views)
        parts += [f"{live} live"] if live else []
        parts += [f"{bills} billing"] if bills else []
        marked = len(table.marked)
        text = Content.styled(f"{marked} marked  ", "bold $text-accent") if marked else Content("")
        separator = f" {glyph('separator', self.choline_app.ascii)} "
        self.query_one("#counts", Words).tell(text + Content(separator.join(parts)))

    def _tell_peek(self) -> None:
        """What the row has no room for."""
        view = self.table.cursor_record
        if view is not None:
            self.query_one("#peek", Words).tell(self._peek(view))

    def _peek(self, view: "RunView") -> Content:
        run, now = view.run, self.now
        separator = f" {glyph('separator', self.choline_app.ascii)} "
        message = clean(run.code.message, 60) if run.code is not None else ""
        code = f"{commit_of(run)} {message}".strip()
        parts = [
            run.id,
            clean(run.plan.name, 60),
            gpu_of(view),
            place_of(view),
            code,
            clean(run.plan.note, 120),
        ]
        room = max(20, self.size.width - 2)
        lines = [_one_line(separator.join(part for part in parts if part), room, "$muted")]
        said = what_happens(view, now, self._last_line(view))
        tones = {"bad": "bold $text-error", "warn": "bold $text-warning"}
        warnings = alarms(view, now)
        for name, text, tone in warnings[:2]:
            sign = glyph("warn", self.choline_app.ascii)
            lines.append(Content.styled(f"{sign} {name}: {text}", tones.get(tone, "")))
        if not warnings:
            lines.append(_one_line(said or clean(run.reason, 300) or state_word(run), room, ""))
        return Content("\n").join(lines)

    # ------------------------------------------------------------------------------------------- list

    def chosen_views(self) -> "list[RunView]":
        return self.table.chosen

    def on_table_highlighted(self, event: "Table.Highlighted") -> None:
        self._tell_peek()

    def on_table_marks_changed(self) -> None:
        self._tell_counts()

    def on_table_opened(self, event: "Table.Opened") -> None:
        self.open_run(event.record.run.id)

    def open_run(self, run: str) -> None:
        """Open a run's page."""
        from choline_tui.screens.runs.page import RunScreen

        self.app.push_screen(RunScreen(run))

    def action_filter(self) -> None:
        self.set_focus(self.filter_box)

    def on_input_changed(self, event: Input.Changed) -> None:
        self.table.set_filter(matcher(event.value))
        self._tell_counts()

    def on_input_submitted(self) -> None:
        self.table.focus()

    # ------------------------------------------------------------------------------------------- sort

    def on_table_header_clicked(self, event: "Table.HeaderClicked") -> None:
        self.table.sort(event.key)

    def action_sort(self) -> None:
        table = self.table

        def chosen(key: str | None) -> None:
            if key == "":
                table.unsort()
            elif key is not None:
                table.sort(key)

        choices = [Choice(c.key, c.label, c.help) for c in table.columns]
        choices.insert(0, Choice("", "As it comes", "what lives or bills first, then the newest"))
        self.app.push_screen(Chooser("Sort by", choices, table.sort_key or ""), chosen)

    def action_reverse(self) -> None:
        key = self.table.sort_key
        if key is not None:
            self.table.sort(key)

    def action_shift(self, by: int) -> None:
        key = self.table.sort_key
        if key is not None:
            self.table.move_column(key, by)

    # ------------------------------------------------------------------------------------------- save

    def action_save_view(self) -> None:
        async def save() -> None:
            choices = [
                Choice("csv", "CSV", "one row a run"),
                Choice("json", "JSON", "all that is known of them"),
            ]
            kind = await self.app.push_screen_wait(Chooser("Save the list as", choices))
            if kind is None:
                return
            text = saved_view(self.table.shown_records, kind, self.now)
            try:
                path = await asyncio.to_thread(_write_new, f"choline-runs.{kind}", text)
            except OSError as error:
                raise SystemFault(f"the list could not be written: {error.strerror or error}") from error
            self.choline_app.say(f"{self.table.shown} runs in {path}")

        self.act("saving the list", save())


def _write_new(name: str, text: str) -> Path:
    """Into a file of the working directory that was not there. Raises OSError."""
    stem, _, kind = name.rpartition(".")
    for number in range(1, 1000):
        path = Path.cwd() / (name if number == 1 else f"{stem}-{number}.{kind}")
        try:
            with path.open("x", encoding="utf-8", newline="") as file:
                file.write(text)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(17, f"{stem}-*.{kind}: too many files of this name")


def _one_line(text: str, room: int, style: str) -> Content:
    return Content.styled(fit(text, room).rstrip(), style)
