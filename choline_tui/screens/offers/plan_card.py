"""The plan card: all that is decided, before anything is spent. The only door to renting."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Static

from choline_tui.kernel.errors import CholineError
from choline_tui.kernel.text import plain
from choline_tui.screens.offers.market import Needs
from choline_tui.screens.windows import Window

if TYPE_CHECKING:
    from choline_tui.model.request import PlanCard

__all__ = ["PlanScreen", "card_rows", "interruptible_hint"]

WIDE = 11
SHORT_RUN = 2.0
"""h below which starting over costs more than an interruptible rental saves"""

Row = tuple[str, str, str]
"""name, inert text, style"""


def interruptible_hint(hours: float, results: bool) -> str:
    """Why an interruptible rental may be a bad idea."""
    if hours < SHORT_RUN:
        return (
            f"interruptible: whoever bids more takes the machine at any moment. For {hours:g} h there is "
            "little to save and all to lose: on-demand is the better choice."
        )
    more = "" if results else " This project names no results directory: nothing would be kept."
    return (
        "interruptible: whoever bids more takes the machine at any moment, and the run begins again. Good "
        f"for runs that write checkpoints into their results; not for one with a deadline.{more}"
    )


def card_rows(card: "PlanCard", needs: Needs, billing: float) -> list[Row]:
    """Everything on the card. ``billing``: $/h of what runs already."""
    from choline_tui.cli.plan import card_lines
    from choline_tui.model.market_types import salvage
    from choline_tui.model.offer import Offer
    from choline_tui.model.price import cost

    rows: list[Row] = []
    warnings: list[Row] = []
    for name, text in card_lines(card):
        if name == "!":
            warnings.append(("!", text, "warn"))
        elif name == "cap":
            rows.append((name, text, "strong"))
        elif name == "credit":
            continue
        else:
            rows.append((name, text, "strong" if name == "price" else ""))
    offer = salvage(Offer, card.offer) if card.offer is not None else None
    plan = card.plan
    at = next((n for n, row in enumerate(rows) if row[0] == "at most"), len(rows))
    if plan.place != "here":
        rows.insert(at, _credit(card, needs, billing))
    if offer is not None:
        found = cost(offer, needs.hours, needs.gb_up, needs.gb_down, plan.disk_gb, bid=card.bid)
        # what is not told apart is in the price all the same
        least = max(found.known, (card.price or 0.0) * needs.hours)
        total = f"${found.total:.2f}" if found.total is not None else f"at least ${least:.2f}"
        text = f"{total} for {needs.hours:g} h, {needs.gb_down:g} GB in, {needs.gb_up:g} GB home"
        rows.insert(at, ("cost", text, "strong"))
    if plan.type == "interruptible":
        warnings.append(("!", interruptible_hint(needs.hours, bool(plan.results)), "warn"))
    return [*warnings, *rows]


def _credit(card: "PlanCard", needs: Needs, billing: float) -> Row:
    """What is left on the account, and how long it lasts at what would then be billed."""
    if card.credit is None:
        return ("credit", "not known", "warn")
    rate = billing + (card.price or card.plan.cap)
    lasts = f", enough for {card.credit / rate:.0f} h of this" if rate > 0 else ""
    others = f" and all that runs (${billing:.2f}/h)" if billing > 0 and rate > 0 else ""
    short = rate > 0 and card.credit < rate * needs.hours
    return ("credit", f"${card.credit:.2f}{lasts}{others}", "warn" if short else "")


_STYLES = {"": "", "strong": "bold", "warn": "$text-warning"}


class PlanScreen(Window[str]):
    """Gives the id of the run that was started, or None. ``fields``: of the request."""

    HEADING = "Plan"
    DEFAULT_CSS = """
    PlanScreen > #window { max-width: 116; max-height: 36; border: round $warning; }
    PlanScreen #plan-what { height: 1; }
    PlanScreen .plan-label { width: 12; color: $text-muted; }
    PlanScreen #plan-command { width: 1fr; }
    PlanScreen VerticalScroll { height: 1fr; margin: 1 0; }
    PlanScreen .plan-row { height: auto; }
    PlanScreen .plan-name { width: 12; color: $text-muted; }
    PlanScreen .plan-text { width: 1fr; height: auto; }
    PlanScreen #plan-buttons { height: 3; align-horizontal: right; }
    PlanScreen Button { margin-left: 2; min-width: 14; }
    """
    BINDINGS: ClassVar[Any] = [
        Binding("c", "command", "Command", id="plan.command"),
        Binding("left,right", "other", "Other button", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
    ]

    def __init__(self, fields: dict[str, Any], needs: Needs) -> None:
        super().__init__()
        self.fields, self.needs = fields, needs
        self.card: PlanCard | None = None
        self.starting = False

    def compose_inside(self) -> ComposeResult:
        with Horizontal(id="plan-what"):
            yield Static("instead", classes="plan-label")
            yield Input(
                placeholder="c: another command than the project's", id="plan-command", max_length=10_000,
                select_on_focus=False,
            )  # fmt: skip
        with VerticalScroll(id="plan-rows", can_focus=False):
            yield Static("making the plan: nothing is spent by that...", id="plan-note", markup=False)
        with Horizontal(id="plan-buttons"):
            yield Button(Content("Cancel"), id="plan-cancel")
            yield Button(Content("Rent and run"), id="plan-go", variant="warning", disabled=True)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#plan-cancel", Button).focus()
        self._plan()

    @work(exclusive=True, group="plan", exit_on_error=False, description="making the plan")
    async def _plan(self) -> None:
        choline = self.choline_app.choline
        self.card = None
        self.query_one("#plan-go", Button).disabled = True
        try:
            self.card = await choline.plan(choline.request(**self._request()))
        except (CholineError, ValueError) as error:
            await self._show([("!", *_told(error))])
            if "no command" in str(error):
                self.query_one("#plan-command", Input).focus()
            return
        card = self.card
        here = card.plan.place == "here"
        under = "on this computer, for nothing" if here else f"at most ${card.plan.cap:.4f}/h, when you agree"
        self.query_one("#plan-go", Button).label = "Run here" if here else "Rent and run"
        self.set_heading(f"Plan: {plain(card.plan.name or 'run')[:80]}", under)
        snapshot = self.choline_app.snapshot
        billing = snapshot.money.per_hour if snapshot is not None else 0.0
        await self._show(card_rows(card, self.needs, billing))
        self.query_one("#plan-go", Button).disabled = False

    def _request(self) -> dict[str, Any]:
        fields = {"project": str(Path.cwd()), **self.fields}
        command = self.query_one("#plan-command", Input).value.strip()
        return {**fields, "command": command} if command else fields

    async def _show(self, rows: list[Row]) -> None:
        place = self.query_one("#plan-rows", VerticalScroll)
        await place.remove_children()
        shown = [
            Horizontal(
                Static(
                    Content.styled(plain(name), _STYLES[style] if name == "!" else "$muted"),
                    classes="plan-name",
                ),
                Static(Content.styled(plain(text), _STYLES[style]), classes="plan-text"),
                classes="plan-row",
            )
            for name, text, style in rows
        ]
        await place.mount_all(shown)
        place.scroll_home(animate=False)

    @on(Input.Submitted, "#plan-command")
    def _command_given(self) -> None:
        self.query_one("#plan-cancel", Button).focus()
        self._plan()

    @on(Input.Changed, "#plan-command")
    def _command_changed(self) -> None:
        # what is shown must be what would run
        self.query_one("#plan-go", Button).disabled = True
        self.card = None

    def action_command(self) -> None:
        # not now: the key that asked for it would be typed into it
        self.call_after_refresh(self.query_one("#plan-command", Input).focus)

    def action_other(self) -> None:
        self.focus_next("Button")

    def action_scroll(self, by: int) -> None:
        self.query_one("#plan-rows").scroll_relative(y=by * 2, animate=False)

    @on(Button.Pressed, "#plan-cancel")
    def _cancelled(self) -> None:
        self.action_dismiss_modal()

    @on(Button.Pressed, "#plan-go")
    def _agreed(self) -> None:
        if self.card is not None and not self.starting and self.choline_app.may("offers.plan"):
            self.starting = True
            self._start(self.card)

    def action_dismiss_modal(self) -> None:
        if self.starting:
            self.choline_app.say("it is being started: stop it on its page")
            return
        self.dismiss(None)

    @work(exclusive=True, group="start", exit_on_error=False, description="starting the run")
    async def _start(self, card: "PlanCard") -> None:
        choline = self.choline_app.choline
        go = self.query_one("#plan-go", Button)
        go.disabled = True
        self.set_heading("Starting", "freezing plan and code...")
        try:
            # what was shown is what is paid: the cap of the card goes along, however the market has moved
            fields = self._request()
            if card.plan.place != "here":
                fields["max_price"] = card.plan.cap
            run = await choline.start(choline.request(**fields))
        except (CholineError, ValueError, asyncio.CancelledError) as error:
            self.starting = False
            if isinstance(error, asyncio.CancelledError):
                raise
            await self._show([("!", *_told(error))])
            self.choline_app.fail(error, "starting the run")
            return
        self.dismiss(run.id)


def _told(error: Exception) -> tuple[str, str]:
    message = error.message if isinstance(error, CholineError) else str(error)
    hint = error.hint if isinstance(error, CholineError) else ""
    return f"{message}\n{hint}".strip(), "warn"
