"""The app: two screens over one live picture, and what every screen may ask of it.

Nothing that takes long to load (pydantic, the services, the store) is imported before the first frame.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import App
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from choline_tui import actions
from choline_tui.kernel.clock import Clock, SystemClock
from choline_tui.kernel.errors import CholineError
from choline_tui.kernel.text import plain
from choline_tui.screens.themes import THEMES
from choline_tui.widgets.top_line import TopLine

if TYPE_CHECKING:
    from choline_tui.screens.dialogs import Confirm
    from choline_tui.screens.errors import Fault
    from choline_tui.services import Choline
    from choline_tui.services.feed import Snapshot, Source
    from choline_tui.services.looks import Looks

__all__ = ["CholineApp", "styles_folder"]

SAY_FOR = 3.0
FAIL_FOR = 8.0
MAX_TOAST = 300


def styles_folder() -> Path:
    """Where the stylesheets lie: beside the package's modules when installed, above it in a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "styles", here.parent / "styles"):
        if (folder / "app.tcss").is_file():
            return folder
    raise FileNotFoundError("the stylesheets are missing")


def _offers() -> Screen[None]:
    from choline_tui.screens.offers import OffersScreen

    return OffersScreen()


def _runs() -> Screen[None]:
    from choline_tui.screens.runs import RunsScreen

    return RunsScreen()


def connect(environ: Mapping[str, str], clock: Clock, readonly: bool) -> "tuple[Choline, Source]":
    """The services of this home, and the feed of its live picture."""
    from choline_tui.services import Choline
    from choline_tui.services.feed import Feed

    choline = Choline(environ=dict(environ))
    return choline, Feed(choline, clock)


Connect = Callable[[Mapping[str, str], Clock, bool], "tuple[Choline, Source]"]


class CholineApp(App[str]):
    """``where``: the screen it opens with. ``connect``: makes services and feed, after the first frame.
    Its result is what the program does next: ``demo``, or None."""

    TITLE = "choline"
    ENABLE_COMMAND_PALETTE = False
    CSS_PATH = [  # noqa: RUF012
        styles_folder() / "app.tcss"
    ]
    MODES: ClassVar[Any] = {"offers": _offers, "runs": _runs}
    BINDINGS: ClassVar[Any] = actions.bindings("app")

    def __init__(
        self,
        where: str = "offers",
        *,
        looks: "Looks | None" = None,
        environ: Mapping[str, str] | None = None,
        connect: Connect = connect,
        clock: Clock | None = None,
        simulator: bool = False,
    ) -> None:
        from choline_tui.services.looks import read_looks

        self.environ = dict(os.environ if environ is None else environ)
        self.looks = looks if looks is not None else read_looks(self.environ)
        self.ascii = self.looks.ascii
        self.readonly = self.looks.readonly
        self.simulator = simulator
        self.clock = clock if clock is not None else SystemClock()
        self.snapshot: Snapshot | None = None
        self.faults: list[Fault] = []
        self.unseen = 0
        self._where = where
        self._connect = connect
        self._choline: Choline | None = None
        self._feed: Source | None = None
        super().__init__()
        self.animation_level = "full" if self.looks.animations else "none"
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.looks.theme if self.looks.theme in self.available_themes else THEMES[0].name
        good, self._wrong_keys = actions.overrides(self.looks.keys) if self.looks.keys else ({}, [])
        if good:
            self.set_keymap(good)

    # --------------------------------------------------------------------------------- start and end

    def on_mount(self) -> None:
        self.switch_mode(self._where)
        self.call_after_refresh(self._wake)

    @work(exclusive=True, group="feed", exit_on_error=False)
    async def _wake(self) -> None:
        """After the first frame: the services, then the live picture for as long as the app is there."""
        choline, feed = self._connect(self.environ, self.clock, self.readonly)
        self._choline, self._feed = choline, feed
        try:
            async for snapshot in feed.watch():
                self._take(snapshot)
        finally:
            await feed.close()
            await choline.close()

    def _take(self, snapshot: "Snapshot") -> None:
        self.snapshot = snapshot
        self.tell_top_line()
        screen = self.main_screen
        if screen is not None:
            screen.on_snapshot(snapshot)

    @property
    def choline(self) -> "Choline":
        """The services. Raises RuntimeError before the first frame."""
        if self._choline is None:
            raise RuntimeError("the services are not there yet")
        return self._choline

    @property
    def feed(self) -> "Source":
        if self._feed is None:
            raise RuntimeError("the feed is not there yet")
        return self._feed

    @property
    def main_screen(self) -> "Any":
        """The main screen in front (under any modals), or None."""
        from choline_tui.screens.base import MainScreen

        return next((s for s in reversed(self.screen_stack) if isinstance(s, MainScreen)), None)

    def tell_top_line(self) -> None:
        """Bring the top line of the main screen in front up to date."""
        screen = self.main_screen
        line = screen.query_one_optional(TopLine) if screen is not None else None
        if screen is None or line is None:
            return
        known = self.snapshot
        changes: dict[str, Any] = {
            "where": screen.WHERE,
            "areas": (("offers", "1", "Offers"), ("runs", "2", "Runs")),
            "readonly": self.readonly,
            "simulator": self.simulator or (known is not None and known.market.simulator),
            "errors": self.unseen,
            "ascii": self.ascii,
        }
        if known is not None:
            money = known.money
            changes |= {
                "per_hour": money.per_hour,
                "today": money.today,
                "rentals": money.rentals,
                "unknown": money.unknown,
                "releasing": money.releasing,
                "credit": known.credit,
                "market": known.market.state,
                "engine": known.engine.state,
            }
        line.tell(**changes)

    # --------------------------------------------------------------------------------- telling people

    def say(self, text: str) -> None:
        """Something went well."""
        self.notify(plain(text)[:MAX_TOAST], timeout=SAY_FOR, markup=False)

    def fail(self, error: BaseException, doing: str) -> None:
        """Something went wrong while ``doing`` (such as "searching the market"): it stays in the error log,
        and a toast says what to do next. The same again right after is counted, not told again."""
        from choline_tui.screens.errors import Fault

        fault = Fault.of(error, doing, self.clock.time())
        last = self.faults[-1] if self.faults else None
        if last is not None and last.same(fault):
            self.faults[-1] = last.again(fault.at)
        else:
            self.faults.append(fault)
            self.unseen += 1
            text = f"{fault.message}\n{fault.hint}" if fault.hint else fault.message
            self.notify(
                text[:MAX_TOAST], title=f"{doing} failed", severity="error", timeout=FAIL_FOR, markup=False
            )
        self.tell_top_line()

    async def confirm(self, question: "Confirm") -> bool:
        """Ask; from a worker only. The default is Cancel."""
        from choline_tui.screens.dialogs import ConfirmScreen

        agreed: bool | None = await self.push_screen_wait(ConfirmScreen(question))
        return agreed is True

    def copy(self, text: str, what: str) -> None:
        """Put ``text`` on the clipboard of the terminal."""
        self.copy_to_clipboard(text)
        self.say(f"copied {what}")

    def may(self, action_id: str) -> bool:
        """Whether this choline does that: a read-only one neither spends nor destroys."""
        return not self.readonly or actions.action(action_id).harmless

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (self.readonly and action in actions.forbidden())

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Where every error of a worker that nobody caught ends."""
        error = event.worker.error
        if event.state is WorkerState.ERROR and error is not None:
            self.fail(error, event.worker.description or event.worker.group)

    # ---------------------------------------------------------------------------------------- actions

    def action_go(self, where: str) -> None:
        self.switch_mode(where)

    def look_again(self) -> None:
        if self._feed is not None:
            self._feed.look_again()

    def action_refresh(self) -> None:
        self.look_again()

    def action_leave(self) -> None:
        self.exit()

    def action_demo(self) -> None:
        self.exit("demo")

    @work(group="engine", exit_on_error=False)
    async def action_start_engine(self) -> None:
        try:
            await self.choline.engine_status()
        except CholineError as error:
            self.fail(error, "starting the engine")
        else:
            self.say("the engine runs")
            self.look_again()
