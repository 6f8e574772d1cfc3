"""The app: two screens over one live picture, and what every screen may ask of it.

Nothing that takes long to load (pydantic, the services, the store) is imported before the first frame.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, work
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from choline_tui import actions
from choline_tui.kernel.clock import Clock
from choline_tui.kernel.errors import CholineError, ConfigError
from choline_tui.screens.base import MainScreen, Splash
from choline_tui.screens.doors import Doors
from choline_tui.widgets.top_line import Standing, TopLine
from choline_tui.widgets.typing import KeysInTurn

if TYPE_CHECKING:
    from textual.driver import Driver

    from choline_tui.screens.wizard import Wanted, WizardScreen
    from choline_tui.services import Choline
    from choline_tui.services.feed import Snapshot, Source
    from choline_tui.services.looks import Looks
    from choline_tui.services.project import Look

__all__ = ["CholineApp", "styles_folder"]

AREAS = (("offers", "1", "Offers"), ("runs", "2", "Runs"))
"""(mode, key, label) in the top line"""
WIZARD = ("wizard", "i", "Project")
"""there as long as the wizard is open"""


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


def _wizard() -> Screen[None]:
    from choline_tui.screens.wizard import WizardScreen

    return WizardScreen()


def look_at(directory: Path, environ: Mapping[str, str], *, history: bool) -> "Look":
    """Look at a project; blocks for seconds at most."""
    from choline_tui.services.project import look

    return look(directory, environ, history=history)


def connect(environ: Mapping[str, str], clock: Clock, readonly: bool) -> "tuple[Choline, Source]":
    """The services of this home, and the feed of its live picture."""
    from choline_tui.services import Choline
    from choline_tui.services.feed import Feed

    choline = Choline(environ=dict(environ), readonly=readonly)
    return choline, Feed(choline, clock)


LookAt = Callable[..., "Look"]
Connect = Callable[[Mapping[str, str], Clock, bool], "tuple[Choline, Source]"]


class CholineApp(Doors):
    """``where``: the screen it opens with. ``connect``: makes services and feed, after the first frame.
    ``wanted``: what the wizard is to look at. Its result is what the program does next: ``demo``, ``saved``
    (the project's file was written, by a wizard that was wanted ``once``), or None."""

    TITLE = "choline"
    ENABLE_COMMAND_PALETTE = False
    CSS_PATH = [styles_folder() / "app.tcss", styles_folder() / "wizard.tcss"]  # noqa: RUF012
    SPLASH = True
    """paint the frame's furniture before anything else"""
    MODES: ClassVar[Any] = {"offers": _offers, "runs": _runs, "wizard": _wizard}
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
        wanted: "Wanted | None" = None,
    ) -> None:
        self.simulator = simulator
        self._wanted = wanted
        self.look_at: LookAt = look_at
        self._where = where
        self._connect = connect
        self._feed: Source | None = None
        self._starting = False
        """the engine is being started: that it does not run yet is no news"""
        self.came_from = ""
        """the mode that the wizard was opened from"""
        self._disks: dict[str, str] = {}
        """by run: what was last said of a disk that fills"""
        super().__init__(os.environ if environ is None else environ, looks, clock)
        self.keys_in_turn = KeysInTurn(self)

    def get_driver_class(self) -> "type[Driver]":
        from textual.drivers.linux_driver import LinuxDriver

        from choline_tui.widgets.terminal import TerminalDriver

        usual = super().get_driver_class()
        return TerminalDriver if usual is LinuxDriver else usual

    def leave(self, code: int) -> None:
        """End with this exit code as soon as no screen is on its way in: one that comes to an app that ends
        is mounted without its contents, and fails for the lack of them."""
        if self.current_mode != "_default" and all(screen.is_mounted for screen in self.screen_stack):
            self.exit(return_code=code)
        else:
            self.set_timer(0.05, partial(self.leave, code))

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded:
            self.keys_in_turn.send(event)
        await super().on_event(event)

    async def _on_key(self, event: events.Key) -> None:
        if self.keys_in_turn.belongs_elsewhere(event):
            event.prevent_default()

    def looks_changed(self) -> None:
        if self._choline is not None:
            self._choline.readonly = self.readonly
        self.tell_top_line()

    # --------------------------------------------------------------------------------- start and end

    def get_default_screen(self) -> Screen[None]:
        """What is painted first, before the screens are even loaded."""
        return Splash(self._standing(self._where)) if self.SPLASH else Screen(id="_default")

    def on_mount(self) -> None:
        if self.SPLASH:
            self.call_after_refresh(self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        if self.current_mode == "_default":
            self.switch_mode(self._where)
        self.call_after_refresh(self._wake)

    @work(exclusive=True, group="feed", description="opening this home", exit_on_error=False)
    async def _wake(self) -> None:
        """After the first frame: the services, then the live picture for as long as the app is there."""
        await self.prepare()
        # it takes a third of a second: keys are answered meanwhile
        await asyncio.to_thread(import_module, "choline_tui.services.choline")
        choline, feed = self._connect(self.environ, self.clock, self.readonly)
        self._choline, self._feed = choline, feed
        self._tell_wrong_settings()
        if self._wanted is not None and self._wanted.once:
            # a file is to be written: nothing acts for that, until the market is asked
            self._starting = True
        else:
            self.action_start_engine(quietly=True)
        try:
            await self.connected()
            async for snapshot in feed.watch():
                self._take(snapshot)
        finally:
            await feed.close()
            await choline.close()

    async def prepare(self) -> None:
        """What has to be there before the services are asked; a rehearsal starts its market here."""

    async def connected(self) -> None:
        """The services are there."""

    def _tell_wrong_settings(self) -> None:
        doing = "reading the settings"
        try:
            self.choline.settings()
        except CholineError as error:
            self.fail(error, doing)
        for line in self.wrong_looks:
            self.fail(ConfigError(line, hint="F2 opens the settings."), doing)

    def _take(self, snapshot: "Snapshot") -> None:
        self._warn_of_disks(snapshot)
        self.snapshot = snapshot
        self.tell_top_line()
        screen = self.main_screen
        if screen is not None:
            screen.deliver()

    def _warn_of_disks(self, snapshot: "Snapshot") -> None:
        """A word where one looks when a disk begins to fill: once for each run and what is said of it."""
        full = {view.run.id: view.run.disk for view in snapshot.runs if view.run.disk}
        for run, words in full.items():
            if words != self._disks.get(run):
                self.warn(f"{run}: {words}")
        self._disks = full

    @property
    def feed(self) -> "Source":
        if self._feed is None:
            raise RuntimeError("the feed is not there yet")
        return self._feed

    @property
    def main_screen(self) -> Any:
        """The main screen in front (under any modals), or None."""
        return next((s for s in reversed(self.screen_stack) if isinstance(s, MainScreen)), None)

    def tell_top_line(self) -> None:
        """Bring the top line of the main screen in front up to date."""
        screen = self.main_screen
        line = screen.query_one_optional(TopLine) if screen is not None else None
        if screen is None or line is None:
            return
        line.standing = self._standing(screen.WHERE)

    def _standing(self, where: str) -> Standing:
        known = self.snapshot
        now = Standing(
            where=where,
            areas=(*AREAS, WIZARD) if where == "wizard" or self.wizard is not None else AREAS,
            readonly=self.readonly,
            simulator=self.simulator or (known is not None and known.market.simulator),
            errors=self.unseen,
            ascii=self.ascii,
        )
        if known is None:
            return now
        money = known.money
        return replace(
            now,
            per_hour=money.per_hour,
            today=money.today,
            rentals=money.rentals,
            unknown=money.unknown,
            releasing=money.releasing,
            credit=known.credit,
            market=known.market.state,
            engine="unknown" if self._starting and known.engine.state == "down" else known.engine.state,
        )

    # ------------------------------------------------------------------------------ what may be done

    def may(self, action_id: str) -> bool:
        """Whether this choline does that: a read-only one neither spends nor destroys."""
        return not self.readonly or actions.action(action_id).harmless

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "demo" and self.simulator:
            return False
        return not (self.readonly and action in actions.forbidden())

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Where every error of a worker that nobody caught ends."""
        error = event.worker.error
        if event.state is WorkerState.ERROR and error is not None:
            self.fail(error, event.worker.description or event.worker.group)

    # ---------------------------------------------------------------------------------------- actions

    def action_go(self, where: str) -> None:
        if where == "wizard":
            self.action_wizard()
        else:
            self.switch_mode(where)

    @property
    def wanted(self) -> "Wanted":
        """What the wizard is to look at."""
        from choline_tui.screens.wizard import Wanted

        return self._wanted if self._wanted is not None else Wanted()

    @property
    def wizard(self) -> "WizardScreen | None":
        """The wizard while it is open, in front or not."""
        stack = self._screen_stacks.get("wizard", [])
        found: Any = stack[0] if stack else None
        return found if getattr(found, "draft", None) is not None else None

    def action_wizard(self) -> None:
        """To the wizard; while hardware is chosen, with the filter that is typed on the offers screen."""
        here, screen, wizard = self.current_mode, self.main_screen, self.wizard
        if here == "wizard":
            return
        taken = screen.as_hardware() if wizard is not None and wizard.choosing and here == "offers" else None
        if taken is None and wizard is not None and wizard.choosing and here == "offers":
            return
        self.came_from = here
        self.switch_mode("wizard")
        if wizard is not None and taken is not None:
            wizard.take_filter(*taken)

    def choose_hardware(self, text: str) -> None:
        """From the wizard to the offers, with this filter."""
        self.switch_mode("offers")
        self.say("i comes back to the project with the filter that is typed here")
        self.call_after_refresh(lambda: self.main_screen.set_text(text))

    def look_again(self) -> None:
        if self._feed is not None:
            self._feed.look_again()

    def action_refresh(self) -> None:
        screen = self.main_screen
        if screen is not None:
            screen.action_refresh()
        else:
            self.look_again()

    def action_leave(self) -> None:
        self._leave(None)

    async def action_quit(self) -> None:
        self._leave(None)

    @work(exclusive=True, group="demo", exit_on_error=False)
    async def action_demo(self) -> None:
        """On to the private market; asked first when the real one is in use."""
        from choline_tui.screens.dialogs import Confirm

        in_use = self.snapshot is not None and self.snapshot.market.state != "no-key"
        lines = [
            "This app closes and one on a private market opens.",
            "Runs go on; choline shows them again.",
        ]
        if not in_use or await self.confirm(Confirm("Open the simulator?", lines, "Open it")):
            self._leave("demo")

    def _leave(self, after: str | None) -> None:
        """Exit; a screen that is just being made is finished first, for Textual cannot stop in the middle."""
        screen = self.main_screen
        if self.current_mode == "_default" or (screen is not None and not screen.is_mounted):
            self.set_timer(0.05, partial(self._leave, after))
        else:
            self.exit(after)

    @work(exclusive=True, group="engine", exit_on_error=False)
    async def action_start_engine(self, quietly: bool = False) -> None:
        """Start the process that acts, if none runs. ``quietly``: nothing is said when it does."""
        self._starting = True
        try:
            await self.choline.engine_status()
        except CholineError as error:
            self._starting = False
            self.fail(error, "starting the engine")
        else:
            if not quietly:
                self.say("the engine runs")
            self.look_again()
        finally:
            self._starting = False
            self.tell_top_line()
