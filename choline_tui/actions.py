"""The one registry of what a person can do: it feeds key bindings, the line of keys, help, palette and the
``[keys]`` of the settings.

Each area declares its tuple ``ACTIONS`` in ``screens/<area>/actions.py``; what is shared stands here.
``id`` is what a person writes in ``[keys]``, so it stays. An action that spends or destroys says so: a
read-only choline drops it here, and the engine refuses it again.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from textual.binding import Binding, BindingType

__all__ = ["APP", "AREAS", "Action", "action", "bindings", "forbidden", "keys_of", "overrides", "registry"]

AREAS = ("offers", "runs", "wizard")
"""folders of ``screens/`` that have actions of their own"""


@dataclass(frozen=True, slots=True)
class Action:
    """``keys``: comma-separated as Textual names them, '' for palette only. ``does``: a Textual action.
    ``where``: ``app``, ``modal``, an area, or a widget's name; what ``bindings`` is asked for."""

    id: str
    keys: str
    label: str
    help: str
    where: str
    does: str
    spends: bool = False
    destroys: bool = False
    footer: bool = False
    """stands in the line of keys at the bottom"""

    @property
    def harmless(self) -> bool:
        return not (self.spends or self.destroys)


APP: tuple[Action, ...] = (
    Action("app.offers", "1", "Offers", "Go to the offers on the market.", "app", "go('offers')"),
    Action("app.runs", "2", "Runs", "Go to your runs.", "app", "go('runs')"),
    Action(
        "app.wizard", "i", "Project",
        "Look at the project of this directory and write its choline.toml, step by step.", "app", "wizard",
    ),
    Action("app.help", "question_mark,f1", "Help", "What every key does here.", "app", "help", footer=True),
    Action(
        "app.palette", "ctrl+p,colon", "Commands",
        "Find a command by a part of its name, and do it.", "app", "palette", footer=True,
    ),
    Action("app.errors", "exclamation_mark", "Errors", "Everything that went wrong.", "app", "errors"),
    Action("app.settings", "f2", "Settings", "Look at the settings and change them.", "app", "settings"),
    Action("app.jump", "ctrl+o", "Jump", "Go to a part of the screen by its letter.", "app", "jump"),
    Action("app.refresh", "f5", "Refresh", "Look again now.", "app", "refresh"),
    Action("app.theme", "", "Next theme", "Change the colours; the choice is kept.", "app", "next_theme"),
    Action(
        "app.engine", "f8", "Start the engine",
        "Start the process that acts: it follows runs, brings results home, destroys rentals.",
        "app", "start_engine",
    ),
    Action(
        "app.demo", "f9", "Open the simulator",
        "A private market on this computer with runs in every state: no account, no money.",
        "app", "demo",
    ),
    Action("app.quit", "q", "Quit", "Leave choline. Runs go on without it.", "app", "leave"),
    Action("app.quit_now", "ctrl+q", "Quit", "Leave choline from anywhere.", "app", "quit"),
    Action(
        "app.suspend", "ctrl+z", "To the shell",
        "Put choline into the background of your shell; 'fg' brings it back.", "app", "suspend_process",
    ),
    Action("modal.close", "escape", "Close", "Close this, change nothing.", "modal", "dismiss_modal",
           footer=True),
    Action("modal.help", "f1", "Help", "What every key does here.", "modal", "app.help"),
    Action("modal.quit_now", "ctrl+q", "Quit", "Leave choline from anywhere.", "modal", "app.quit"),
)  # fmt: skip


@cache
def registry() -> Mapping[str, Action]:
    """Every action there is, by id. Raises ValueError for an id that stands twice."""
    found: dict[str, Action] = {}
    for each in (APP, *(import_module(f"choline_tui.screens.{area}.actions").ACTIONS for area in AREAS)):
        for one in each:
            if one.id in found:
                raise ValueError(f"two actions are called {one.id}")
            found[one.id] = one
    return found


def action(action_id: str) -> Action:
    """Raises KeyError for an id there is not."""
    return registry()[action_id]


def bindings(where: str, actions: Iterable[Action] | None = None) -> list[BindingType]:
    """What stands in the ``BINDINGS`` of a screen or widget. ``actions``: an area's own, while the registry
    is not complete yet (an area's module imports its own tuple)."""
    known = APP if actions is None else actions
    return [
        Binding(one.keys, one.does, one.label, show=one.footer, tooltip=one.help, id=one.id)
        for one in known
        if one.where == where and one.keys
    ]


@cache
def forbidden() -> frozenset[str]:
    """Names of Textual actions that a read-only choline does not do (without namespace and arguments)."""
    return frozenset(_bare(one.does) for one in registry().values() if not one.harmless)


def _bare(does: str) -> str:
    return does.partition("(")[0].rpartition(".")[2]


def keys_of(action_id: str, keymap: Mapping[str, str] | None = None) -> str:
    """Comma-separated keys of an action as they are in force."""
    return (keymap or {}).get(action_id) or registry()[action_id].keys


def overrides(wanted: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """``[keys]`` of the settings as a Textual keymap, and a line for each that is wrong."""
    good: dict[str, str] = {}
    wrong: list[str] = []
    known = registry()
    taken: dict[tuple[str, str], str] = {}
    for name, keys in wanted.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(sorted(known))}"
            wrong.append(f"keys.{name}: there is no such action; {hint}")
            continue
        parts = [part.strip() for part in keys.split(",")]
        bad = next((part for part in parts if not _is_key(part)), None)
        if bad is not None:
            wrong.append(f"keys.{name}: {bad!r} is no key; write such as 'e', 'ctrl+e' or 'f6'")
            continue
        where = known[name].where
        clash = next((taken[where, part] for part in parts if (where, part) in taken), None)
        if clash is None:
            moved = set(wanted)
            clash = next(
                (
                    other.id
                    for other in known.values()
                    if other.id not in moved
                    and other.where in (where, "app")
                    and set(parts) & set(other.keys.split(","))
                ),
                None,
            )
        if clash is not None:
            wrong.append(f"keys.{name}: {keys} is the key of {clash} already")
            continue
        taken.update({(where, part): name for part in parts})
        good[name] = ",".join(parts)
    return good, wrong


_NAMED = frozenset(
    (
        "up", "down", "left", "right", "home", "end", "pageup", "pagedown", "insert", "delete", "enter",
        "escape", "tab", "space", "backspace", "question_mark", "exclamation_mark", "colon", "semicolon",
        "comma", "full_stop", "slash", "backslash", "minus", "plus", "asterisk", "less_than_sign",
        "greater_than_sign", "equals_sign", "underscore", "at", "number_sign", "dollar_sign",
        "percent_sign", "ampersand", "apostrophe", "quotation_mark", "left_parenthesis",
        "right_parenthesis", "left_square_bracket", "right_square_bracket", "left_curly_bracket",
        "right_curly_bracket", "vertical_line", "tilde", "grave_accent", "circumflex_accent",
    )
)  # fmt: skip


def _is_key(text: str) -> bool:
    *held, last = text.split("+")
    if any(each not in ("ctrl", "shift", "alt") for each in held) or len(set(held)) != len(held):
        return False
    if len(last) == 1:
        return last.isalnum()
    return last in _NAMED or (last[:1] == "f" and last[1:].isdigit() and 1 <= int(last[1:]) <= 20)
