"""What a screen shows when there is nothing to show: what is the matter, and what to do next."""

from dataclasses import dataclass, replace

from textual.content import Content

from choline_tui.kernel.errors import (
    BadKey,
    CholineError,
    EngineError,
    MarketDown,
    MissingScope,
    NoCredit,
    QuotaSpent,
    RateLimited,
    SpendLimit,
)
from choline_tui.kernel.text import plain
from choline_tui.widgets.clicks import Clickable, doing

__all__ = [
    "EMPTY",
    "ENGINE_DOWN",
    "LOADING",
    "NO_CREDIT",
    "NO_KEY",
    "OFFLINE",
    "SPEND_LIMIT",
    "State",
    "StatePanel",
    "Step",
    "state_for",
]


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do next. ``action``: a Textual action that a click does, '' for text only."""

    key: str
    text: str
    action: str = ""


@dataclass(frozen=True, slots=True)
class State:
    glyph: str
    ascii: str
    title: str
    text: str = ""
    steps: tuple[Step, ...] = ()
    tone: str = "dim"
    """dim, accent, warn or bad: the colour of the glyph and title, never the only sign"""

    def but(self, **changes: object) -> "State":
        return replace(self, **changes)  # type: ignore[arg-type]


SIMULATOR = Step("f9", "rehearse on a private market: no account, no money", "app.demo")
RETRY = Step("f5", "try again", "app.refresh")
LOADING = State("◌", "...", "Looking", "One moment.")
EMPTY = State("○", "o", "Nothing here yet")
NO_KEY = State(
    "◇", "-", "No API key",
    "choline rents on Vast.ai with your API key, and has none yet.",
    (
        SIMULATOR,
        Step("f2", "give the key in the settings (vast.key)", "app.settings"),
        Step("", "or: export VAST_API_KEY=..., or the official client's key file"),
    ),
    "accent",
)  # fmt: skip
BAD_KEY = NO_KEY.but(
    title="The API key is not accepted",
    text="The market does not know this key, or not any more.",
    tone="bad",
)
NO_CREDIT = State(
    "$", "$", "No credit left",
    "The account has no credit: nothing can be rented, and what runs may be stopped by the market.",
    (
        Step("", "add credit at https://cloud.vast.ai/billing/"),
        RETRY,
    ),
    "bad",
)  # fmt: skip
SPEND_LIMIT = State(
    "$", "$", "The market limits what this account may spend",
    "New accounts may spend little per hour. It grows by itself as the account ages.",
    (Step("", "take a cheaper offer, or wait some hours"), RETRY),
    "warn",
)  # fmt: skip
OFFLINE = State(
    "▲", "!", "The market cannot be reached",
    "Runs under way go on: their machines need nobody here, and the engine goes on trying.",
    (RETRY, Step("!", "see what was answered", "app.errors")),
    "warn",
)  # fmt: skip
ENGINE_DOWN = State(
    "■", "x", "The engine does not run",
    "Nothing follows runs, brings results home or destroys rentals until it runs again. "
    "Machines guard themselves meanwhile.",
    (Step("f8", "start the engine", "app.start_engine"), Step("!", "see what happened", "app.errors")),
    "bad",
)  # fmt: skip
RATION = State(
    "◌", "...", "Today's searches are used up",
    "choline keeps a ration of searches a day, so that scheduled rents never lack one.",
    (
        Step("", "the ration begins again at midnight UTC"),
        Step("f2", "or raise it in the settings (search.daily)", "app.settings"),
    ),
    "warn",
)  # fmt: skip
FAULT = State("✗", "x", "That did not work", "", (RETRY, Step("!", "see all of it", "app.errors")), "bad")


def state_for(error: BaseException) -> State:
    """The designed state of an error."""
    message = error.message if isinstance(error, CholineError) else f"{type(error).__name__}: {error}"
    match error:
        case BadKey():
            return NO_KEY if "no key" in message.lower() or "no api key" in message.lower() else BAD_KEY
        case NoCredit():
            return NO_CREDIT
        case SpendLimit():
            return SPEND_LIMIT
        case QuotaSpent():
            return RATION
        case MarketDown() | RateLimited():
            return OFFLINE.but(text=f"{message}\n{OFFLINE.text}")
        case EngineError():
            return ENGINE_DOWN.but(text=f"{message}\n{ENGINE_DOWN.text}")
        case MissingScope():
            return BAD_KEY.but(title="The key may not do this", text=f"{message}\n{error.hint}")
        case CholineError():
            return FAULT.but(title=message, text=error.hint)
    return FAULT.but(text=message)


class StatePanel(Clickable):
    """One state, in the middle of the room it has. ``show(None)`` takes it away."""

    DEFAULT_CSS = """
    StatePanel { width: 1fr; height: 1fr; content-align: center middle; padding: 1 2; }
    StatePanel > .state--title { text-style: bold; }
    StatePanel > .state--key { color: $accent; text-style: bold; }
    """
    COMPONENT_CLASSES = {"state--title", "state--key"}  # noqa: RUF012
    ALLOW_SELECT = True

    def __init__(
        self, state: State | None = None, *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.state = state
        self.display = state is not None

    def show(self, state: State | None) -> None:
        if state == self.state:
            return
        self.state = state
        self.display = state is not None
        self.refresh(layout=True)

    def render(self) -> Content:
        return draw(self.state, ascii=bool(getattr(self.app, "ascii", False))) if self.state else Content("")


_TONES = {"dim": "$muted", "accent": "$accent", "warn": "$text-warning", "bad": "$text-error"}


def draw(state: State, *, ascii: bool = False) -> Content:
    """Glyph and title, what it means, what to do."""
    tone = _TONES.get(state.tone, "$muted")
    glyph = state.ascii if ascii else state.glyph
    parts = [Content.styled(f"{glyph}  {plain(state.title)}", f"bold {tone}")]
    if state.text:
        parts += [Content(""), *(Content(plain(line)) for line in state.text.split("\n"))]
    if state.steps:
        parts.append(Content(""))
    width = max((len(step.key) for step in state.steps), default=0)
    for step in state.steps:
        key = Content.styled(f" {step.key:<{width}}  ", "bold $accent")
        line = key + Content(plain(step.text))
        parts.append(doing(line, step.action))
    return Content("\n").join(parts)
