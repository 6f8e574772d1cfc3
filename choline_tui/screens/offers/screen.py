"""The offers screen: the market as it comes in, filtered as one types, with the door to renting."""

from typing import TYPE_CHECKING

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Input, Static

from choline_tui.actions import bindings
from choline_tui.kernel.errors import CholineError, EngineError
from choline_tui.screens.offers.actions import ACTIONS
from choline_tui.screens.offers.columns import columns
from choline_tui.screens.offers.detail import DetailPane, DetailScreen, details
from choline_tui.screens.offers.filter_bar import FilterBar, FilterInput
from choline_tui.screens.offers.market import Market, Needs, Row, cap_over, number_under, place_of, prices_of
from choline_tui.screens.offers.status_line import StatusLine
from choline_tui.screens.offers.verbs import OfferVerbs
from choline_tui.screens.states import LOADING, NO_KEY, State, StatePanel, state_for
from choline_tui.widgets.glyphs import glyph
from choline_tui.widgets.slider import PercentSlider
from choline_tui.widgets.table import Table

if TYPE_CHECKING:
    from choline_tui.model.conditions import Query
    from choline_tui.model.typed import Typed
    from choline_tui.services.feed import Snapshot
    from choline_tui.services.hosts import HostMemory

__all__ = ["OffersScreen"]

ASK_AFTER = 0.7
"""s after the last key when a whole filter is asked of the market without being told to"""
TICK = 5.0
"""s between two looks at how old everything is"""
FRESH = 300.0
"""s for which a complete list answers narrower filters without the market"""
PREMIUM = 10
"""% unless told otherwise, as ``run.premium`` of the settings"""


class OffersScreen(OfferVerbs):
    WHERE = "offers"
    BINDINGS = bindings("offers", ACTIONS)
    AUTO_FOCUS = "#offers"
    DEFAULT_CSS = """
    OffersScreen #offers-body { height: 1fr; width: 1fr; }
    OffersScreen #offers-left { height: 1fr; width: 1fr; }
    OffersScreen Table { height: 1fr; }
    OffersScreen #premium-line { height: 1; width: 1fr; padding: 0 1; background: $panel; }
    OffersScreen #premium-word { width: 8; color: $muted; }
    OffersScreen DetailPane { display: none; }
    OffersScreen.-wide DetailPane { display: block; }
    OffersScreen StatePanel { height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.market = Market()
        self.needs = Needs()
        self.order = "dph_total"
        self.capping = False
        """a cap is in use: offers above it are dimmed"""
        self.typed: Typed | None = None
        self.memory: dict[int, HostMemory] = {}
        self._prices: list[float] = []
        self._names: tuple[str, ...] | None = None
        """GPUs that are known, of what is here as well; None: to be gathered anew"""
        self._places: tuple[str, ...] = ()
        self._asked = ""
        self._generation = 0
        self._began = False
        self._timer: Timer | None = None
        self._no_key = False

    # ------------------------------------------------------------------------------------ composing

    def compose_body(self) -> ComposeResult:
        yield FilterBar(id="filter-bar")
        yield StatusLine(id="offers-status")
        with Horizontal(id="offers-body"):
            with Vertical(id="offers-left"):
                yield Table[Row](
                    columns(self.remembered), key=lambda row: row["id"], row_style=self._row_style,
                    empty=self._empty, id="offers",
                )  # fmt: skip
                yield StatePanel(LOADING, id="offers-state")
                with Horizontal(id="premium-line"):
                    yield Static("premium", id="premium-word", markup=False)
                    yield PercentSlider(PREMIUM, label=self._premium_label, label_width=42, id="premium")
            yield DetailPane(id="details-pane")

    def on_mount(self) -> None:
        super().on_mount()
        self.table.sort("price", False)
        self._say_state()
        self.set_interval(TICK, self._tick)

    def on_snapshot(self, snapshot: "Snapshot") -> None:
        self._no_key = snapshot.market.state == "no-key"
        if not self._began:
            self._began = True
            self._remember()
            self._take_premium()
            self.ask()
        self._say_state()

    def _tick(self) -> None:
        self._say_status()

    def _remember(self) -> None:
        try:
            self.memory = self.choline.hosts(self.choline_app.clock.time())
        except CholineError as error:
            self.choline_app.fail(error, "reading what is remembered of machines")

    def _take_premium(self) -> None:
        """Where the slider begins: ``run.premium`` of the settings."""
        try:
            said = {each.key: each.value for each in self.choline.settings()}
            premium = round(float(said["run.premium"]))
        except (CholineError, KeyError, ValueError):
            return  # wrong settings are told by the app
        slider = self.query_one("#premium", PercentSlider)
        with slider.prevent(PercentSlider.Changed):
            slider.value = premium

    def remembered(self, row: Row) -> "HostMemory | None":
        return self.memory.get(row.get("machine_id") or 0)

    # ------------------------------------------------------------------------- asking the market

    def ask(self, *, again: bool = False) -> None:
        """Look on the market for what is typed; ``again``: even if it was asked just now."""
        typed = self.typed
        text = typed.query.text() if typed is not None and self.bar.text.strip() else ""
        self._generation += 1
        self._asked = text
        self.market.begin(text)
        self._say_state()
        self._look(self._generation, text, again)

    @work(exclusive=True, group="offers", exit_on_error=False, description="looking at the market")
    async def _look(self, generation: int, text: str, again: bool) -> None:
        first = True
        try:
            steps = self.choline.offers_stream(
                text, type=self.needs.type, disk=self.needs.disk_gb, again=again
            )
            async for step in steps:
                if generation != self._generation:
                    return
                self.market.take(step, first=first)
                # what the market itself says stands in for memory's answer by then
                first = first and not step.rows and step.trouble is not None
                self._rows_changed()
                if step.trouble is not None:
                    self.choline_app.fail(step.trouble, "looking at the market")
            if generation == self._generation:
                self.market.stop()
                self._say_state()
        except CholineError as error:
            if generation == self._generation:
                self.market.stop(error)
                self._say_state()
                self.choline_app.fail(error, "looking at the market")

    def _rows_changed(self) -> None:
        self._names = None
        self._read()
        self.table.set_records(list(self.market.rows.values()))
        self._filter()

    def action_refresh(self) -> None:
        super().action_refresh()
        self._remember()
        if self._began:
            self.ask(again=True)

    def action_cancel(self) -> None:
        if not self.market.looking:
            return
        self._generation += 1
        self.workers.cancel_group(self, "offers")
        self.market.stop()
        self._say_state()

    # --------------------------------------------------------------------------------- the filter

    def base(self) -> "Query":
        """Nothing typed: order, kind and disk."""
        from choline_tui.model.query import parse_query

        return parse_query(
            "",
            order=self.order,
            type=self.market.type,
            disk_gb=self.market.disk_gb or self.needs.disk_gb or 20.0,
        )

    def _read(self) -> None:
        """What the typed text means for what is here."""
        from choline_tui.model.market_types import GPU_NAMES
        from choline_tui.model.typed import read_typed

        if self._names is None:
            rows = self.market.rows.values()
            gpus = sorted({str(row["gpu_name"]) for row in rows if row.get("gpu_name")})
            self._names = tuple(dict.fromkeys((*GPU_NAMES, *gpus)))
            self._places = tuple(sorted({place_of(row) for row in rows} - {""}))
        self.typed = read_typed(self.bar.text, self.base(), names=self._names, places=self._places)

    def refilter(self) -> None:
        self._read()
        self._filter()

    def _filter(self) -> None:
        typed, table = self.typed, self.table
        if typed is not None and self.bar.text.strip():
            table.set_filter(typed.matches)
        else:
            table.set_filter(None)
        self._prices = prices_of(table.shown_records)
        if typed is not None:
            plus = "" if self._covered(typed) else "+"
            self.bar.tell(typed, f"{table.shown}{plus} match")
        self._say_state()
        self.say_premium()

    def _covered(self, typed: "Typed") -> bool:
        """Whether all that the text lists is here: the market need not be asked."""
        if not self.market.complete or self.market.looking:
            return False
        if typed.query.text() == self.market.query:
            return True
        seen = self.market.seen_at
        from choline_tui.model.typed import read_typed

        asked = read_typed(self.market.query, self.base()).query
        narrower = set(asked.conditions) <= set(typed.query.conditions)
        return narrower and seen is not None and self.choline_app.clock.time() - seen <= FRESH

    @on(Input.Changed, "#filter-input")
    def _typing(self) -> None:
        if not self._began:
            return
        self.refilter()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(ASK_AFTER, self.ask_if_new)

    def ask_if_new(self) -> None:
        typed = self.typed
        if typed is None or not (typed.good or not self.bar.text.strip()):
            return
        text = typed.query.text() if self.bar.text.strip() else ""
        if text != self._asked and not self._covered(typed):
            self.ask()

    @on(Input.Submitted, "#filter-input")
    def _submitted(self) -> None:
        """Enter: nobody is typing any more."""
        from choline_tui.model.typed import read_typed

        typed = self.typed
        if typed is not None and typed.pending:
            over = read_typed(self.bar.text, self.base(), finished=True)
            self.bar.tell(over, "")
            self.set_focus(self.bar.input)
            return
        if typed is not None and typed.error:
            self.set_focus(self.bar.input)
            return
        if self._timer is not None:
            self._timer.stop()
        self.ask_if_new()

    @on(FilterInput.Done)
    def _filter_done(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self.refilter()
        self.ask_if_new()

    def action_filter(self) -> None:
        self.set_focus(self.bar.input)

    def set_text(self, text: str) -> None:
        """As if it had been typed, and entered."""
        self.bar.input.value = text
        self.refilter()
        self.ask_if_new()

    # ------------------------------------------------------------------------- premium and details

    @property
    def cap(self) -> float | None:
        return cap_over(self.chosen(), self.premium)

    def _row_style(self, row: Row) -> str:
        known = self.remembered(row)
        if known is not None and known.refused:
            return "dim"
        if self.capping:
            cap = self._cap_now
            if cap is not None and (row.get("price") is None or row["price"] > cap):
                return "dim"
        return ""

    _cap_now: float | None = None

    def _premium_label(self, value: int) -> str:
        cap = cap_over(self.chosen(), value) if self.is_mounted else None
        if cap is None:
            return "over the offer's price"
        under = number_under(self._prices, cap)
        plus = "" if self.market.complete else "+"
        dot = glyph("separator", self.choline_app.ascii)
        return f"cap ${cap:.4f}/h {dot} {under}{plus} of {self.table.shown} under it"

    def say_premium(self) -> None:
        cap = self.cap
        if cap != self._cap_now:
            self._cap_now = cap
            if self.capping:
                self.table.repaint()
        self.query_one("#premium", PercentSlider).refresh()
        self._say_details()

    @on(PercentSlider.Changed)
    def _premium_moved(self, event: PercentSlider.Changed) -> None:
        self.capping = True
        self._cap_now = None
        self.say_premium()
        self.table.repaint()

    def action_premium(self) -> None:
        slider = self.query_one("#premium", PercentSlider)
        (self.table if slider.has_focus else slider).focus()

    def action_uncap(self) -> None:
        self.capping = False
        self.table.action_clear_marks()
        self.table.repaint()
        self.say_premium()

    @on(Table.Highlighted)
    def _moved(self) -> None:
        self.say_premium()

    @on(Table.MarksChanged)
    def _marked(self, event: Table.MarksChanged) -> None:
        self.capping = self.capping or event.count > 0
        self._cap_now = None
        self.say_premium()
        self.table.repaint()
        self._say_status()

    def detail_lines(self) -> "list[tuple[str, str, str]] | None":
        row = self.table.cursor_record
        if row is None:
            return None
        cap = self._cap_now if self.capping else None
        now = self.choline_app.clock.time()
        return details(row, self.needs, self.market.disk_gb, self.remembered(row), now, cap)

    def _say_details(self) -> None:
        pane = self.query_one(DetailPane)
        if pane.display and self._began:
            pane.show(self.detail_lines())

    def on_resize(self) -> None:
        self.call_after_refresh(self._say_details)
        self.call_after_refresh(self._say_status)

    @on(Table.Opened)
    def action_details(self) -> None:
        lines = self.detail_lines()
        if lines is not None:
            self.app.push_screen(DetailScreen(lines))

    # --------------------------------------------------------------------------------- the states

    def _say_status(self) -> None:
        now = self.choline_app.clock.time()
        line = self.query_one(StatusLine)
        line.tell(self.market, now, self.table.shown, len(self.table.marked))

    def _say_state(self) -> None:
        """The table, or what is the matter while there is nothing to show in it."""
        state = self._state()
        table = self.table
        if state is not None and table.has_focus:
            # the keys of the screen must go on working while the table is away
            self.set_focus(None)
        self.query_one("#offers-state", StatePanel).show(state)
        table.display = state is None
        if state is None and self.focused is None:
            table.focus()
        self._say_status()

    def _state(self) -> State | None:
        market = self.market
        if market.rows:
            return None
        if self._no_key and not isinstance(market.trouble, EngineError):
            # whatever else is the matter, and however long it is tried: this comes first
            return NO_KEY
        if market.trouble is not None:
            return state_for(market.trouble)
        if not self._began:
            return LOADING.but(title="Looking at the market")
        if market.looking:
            return LOADING.but(
                title="Looking at the market", text="The first offers come in a second or two."
            )
        return None

    def _empty(self) -> str:
        if self.bar.text.strip():
            if self.market.looking:
                return "Nothing here matches yet.\nThe market is being asked."
            return "No offer matches this filter.\nLoosen it (/), or take another disk or kind of rental (d)."
        return "The market lists nothing.\nAnother disk or kind of rental (d) may help."

    # ------------------------------------------------------------------------------------- the table

    @on(Table.HeaderClicked)
    def _header(self, event: Table.HeaderClicked) -> None:
        self._sort(event.key, None)

    def _sort(self, key: str, reverse: bool | None) -> None:
        table = self.table
        if reverse is None and key != table.sort_key:
            # good first: cheap, but fast and reliable
            reverse = key in (
                "reliability",
                "dlperf",
                "dlperf_usd",
                "down",
                "up",
                "vram",
                "ours",
                "days",
                "cuda",
            )
        table.sort(key, reverse)
        table.show(key)

    def action_sort(self) -> None:
        from choline_tui.screens.offers.choose import SortScreen

        def chosen(key: str | None) -> None:
            if key is not None:
                self._sort(key, None)

        self.app.push_screen(SortScreen(self.table.columns, self.table.sort_key, self.table.reverse), chosen)

    def action_reverse(self) -> None:
        if self.table.sort_key is not None:
            self.table.sort(self.table.sort_key)

    def action_shift(self, by: int) -> None:
        if self.table.sort_key is not None:
            self.table.move_column(self.table.sort_key, by)
