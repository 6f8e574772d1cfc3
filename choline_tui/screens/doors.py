"""Telling people what happened, asking them, and opening the windows that every screen has."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.widget import Widget

from choline_tui.kernel.clock import Clock, SystemClock
from choline_tui.kernel.errors import CholineError
from choline_tui.kernel.text import plain
from choline_tui.screens.themes import THEMES
from choline_tui.screens.wardrobe import Worn

if TYPE_CHECKING:
    from textual.theme import Theme

    from choline_tui.screens.dialogs import Confirm
    from choline_tui.screens.errors import Fault
    from choline_tui.services import Choline
    from choline_tui.services.feed import Snapshot
    from choline_tui.services.looks import Looks

__all__ = ["Doors"]

SAY_FOR = 3.0
FAIL_FOR = 8.0
MAX_TOAST = 300


def _ours_first(named: "tuple[str, Theme]") -> tuple[bool, str]:
    return (named[1] not in THEMES, named[0])


class Doors(Worn):
    """``faults``: what went wrong since the start, oldest first; ``unseen``: how many nobody looked at."""

    def __init__(
        self, environ: Mapping[str, str], looks: "Looks | None" = None, clock: Clock | None = None
    ) -> None:
        self.clock = clock if clock is not None else SystemClock()
        self.snapshot: Snapshot | None = None
        self.faults: list[Fault] = []
        self.unseen = 0
        self._choline: Choline | None = None
        super().__init__(environ, looks)

    def tell_top_line(self) -> None:
        """Bring the top line up to date."""

    @property
    def main_screen(self) -> Any:
        """The main screen in front (under any modals), or None."""

    @property
    def choline(self) -> "Choline":
        """The services. Raises RuntimeError before the first frame."""
        if self._choline is None:
            raise RuntimeError("the services are not there yet")
        return self._choline

    def say(self, text: str) -> None:
        """Something went well."""
        self.notify(plain(text)[:MAX_TOAST], timeout=SAY_FOR, markup=False)

    def warn(self, text: str) -> None:
        """Something goes on and needs a look."""
        self.notify(plain(text)[:MAX_TOAST], severity="warning", timeout=FAIL_FOR, markup=False)

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
        """Put ``text`` on the clipboard of the terminal; a window with the text when that cannot be done."""
        from choline_tui.screens.clipboard import CopyScreen, osc52

        self._clipboard = text
        written = osc52(text, self.environ)
        driver = self._driver
        if written is None or driver is None:
            long = "it is too long for the terminal's clipboard"
            why = long if self.environ.get("TERM", "") not in ("", "dumb", "linux") else "no clipboard here"
            self.push_screen(CopyScreen(text, f"{what}: {why}"))
            return
        driver.write(written)
        self.say(f"copied {what}")

    def open_run(self, run: str) -> None:
        """Go to a run's page."""
        self.switch_mode("runs")
        opener = getattr(self.main_screen, "open_run", None)
        if callable(opener):
            opener(run)

    def action_help(self) -> None:
        from choline_tui.screens.help import HelpScreen, help_of

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(help_of(self.screen)))

    def action_palette(self) -> None:
        from choline_tui.screens.palette import Command, PaletteScreen, commands_of

        before = self.theme
        commands = commands_of(self.screen)
        for name, theme in sorted(self.available_themes.items(), key=_ours_first):
            about = f"{'dark' if theme.dark else 'light'}{', ours' if name.startswith('choline') else ''}"
            commands.append(
                Command(
                    f"Theme: {name}",
                    about,
                    partial(self.keep_theme, name),
                    "",
                    partial(self._try_theme, name),
                )
            )
        if self.snapshot is not None:
            for view in self.snapshot.runs[:100]:
                run = view.run
                state = str(run.outcome or run.state)
                commands.append(
                    Command(f"Run: {run.id} {run.plan.name}", state, partial(self.open_run, run.id))
                )

        async def chosen(command: "Command | None") -> None:
            if command is None or not command.name.startswith("Theme: "):
                self.theme = before
            if command is not None:
                answer = command.run()
                if inspect.isawaitable(answer):
                    await answer

        self.push_screen(PaletteScreen(commands), chosen)

    def _try_theme(self, name: str) -> None:
        self.theme = name

    def keep_theme(self, name: str) -> None:
        """Wear a theme, and write it into the settings."""
        self.theme = name
        try:
            self.choline.change_setting("ui.theme", name)
        except CholineError as error:
            self.fail(error, "keeping the theme")
        else:
            self.say(f"theme {name}")

    def action_next_theme(self) -> None:
        names = [theme.name for theme in THEMES]
        at = names.index(self.theme) if self.theme in names else -1
        self.keep_theme(names[(at + 1) % len(names)])

    def action_errors(self) -> None:
        from choline_tui.screens.errors import ErrorsScreen

        self.unseen = 0
        self.tell_top_line()
        self.push_screen(ErrorsScreen(self.faults))

    def action_settings(self) -> None:
        if self._choline is None:
            return
        from choline_tui.screens.settings import SettingsScreen

        self.push_screen(SettingsScreen())

    def action_jump(self) -> None:
        from choline_tui.screens.jump import JumpScreen, targets_of

        targets = targets_of(self.screen)

        def there(widget: "Widget | None") -> None:
            if widget is not None and widget.is_attached:
                widget.focus()

        if targets:
            self.push_screen(JumpScreen(targets), there)

    def action_help_quit(self) -> None:
        """ctrl+c with nothing selected: people try it to get out."""
        self.say("q quits; ctrl+q quits from anywhere. Runs go on without choline.")
