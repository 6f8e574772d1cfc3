"""How the app looks and which keys it has: theme, signs, animations and keys, as the settings say."""

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from textual.app import App
from textual.color import Color

from choline_tui import actions
from choline_tui.kernel.errors import ConfigError
from choline_tui.screens.themes import THEMES

if TYPE_CHECKING:
    from choline_tui.services.looks import Looks

__all__ = ["Worn"]


class Worn(App[str]):
    """An app that wears what the settings of ``environ`` say (``looks``, when given, instead).

    ``ascii``: signs in plain ASCII. ``readonly``: what spends or destroys is off. ``wrong_looks``: a line
    for each of these settings that could not be followed.
    """

    def __init__(self, environ: Mapping[str, str], looks: "Looks | None" = None) -> None:
        from choline_tui.services.looks import read_looks

        self.environ = dict(environ)
        self.looks = looks if looks is not None else read_looks(self.environ)
        self.ascii = self.looks.ascii
        self.readonly = self.looks.readonly
        self.wrong_looks: list[str] = []
        super().__init__()
        for theme in THEMES:
            self.register_theme(theme)
        self._wear(self.looks)

    def _wear(self, looks: "Looks") -> None:
        self.looks = looks
        self.ascii, self.readonly = looks.ascii, looks.readonly
        self.animation_level = "full" if looks.animations else "none"
        self.wrong_looks = []
        theme = looks.theme
        if theme not in self.available_themes:
            self.wrong_looks.append(f"ui.theme: {self._theme_hint(theme)}")
            theme = THEMES[0].name
        elif self.no_color and self.available_themes[theme].ansi:
            # these come out as plain black when colours are taken away
            theme = THEMES[0].name
        self.theme = theme
        good, wrong = actions.overrides(looks.keys) if looks.keys else ({}, [])
        self.wrong_looks += wrong
        if good or self._keymap:
            self.set_keymap(good)

    def get_css_variables(self) -> dict[str, str]:
        """The theme's, and ``$muted``: text that stands back, in every theme."""
        found = super().get_css_variables()
        fore, back = Color.parse(found["foreground"]), Color.parse(found["background"])
        return {**found, "muted": back.blend(fore, 0.68).hex}

    def _theme_hint(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.available_themes, n=1, cutoff=0.5)
        return f"there is no theme '{name}'" + (f"; did you mean {near[0]}?" if near else "")

    def apply_looks(self) -> None:
        """Read how things look anew, after the settings changed."""
        from choline_tui.services.looks import read_looks

        self._wear(read_looks(self.environ))
        self.looks_changed()
        for screen in self.screen_stack:
            screen.refresh_bindings()
            screen.refresh(layout=True)

    def check_theme(self, name: str) -> None:
        """Raises ConfigError when there is no such theme."""
        if name not in self.available_themes:
            raise ConfigError(self._theme_hint(name), hint=f"There is: {', '.join(self.available_themes)}.")

    def check_keys(self, wanted: Mapping[str, str]) -> None:
        """Raises ConfigError for an action there is not, or a key that is none or taken."""
        mine = {**self.looks.keys, **wanted}
        wrong = [line for line in actions.overrides(mine)[1] if line.split(": ")[0][5:] in wanted]
        if wrong:
            raise ConfigError(wrong[0])

    def looks_changed(self) -> None:
        """The settings say something else now."""
