"""What a person can do in the wizard."""

from choline_tui.actions import Action

__all__ = ["ACTIONS"]

ACTIONS: tuple[Action, ...] = (
    Action(
        "wizard.next", "ctrl+n,pagedown", "Next",
        "On to the next step; enter does it from the last line of a step.", "wizard", "step(1)", footer=True,
    ),
    Action(
        "wizard.back", "ctrl+b,pageup", "Back", "Back to the step before.", "wizard", "step(-1)", footer=True
    ),
    Action(
        "wizard.review", "ctrl+r", "Review", "The file as it would be written, to be edited and saved.",
        "wizard", "review", footer=True,
    ),
    Action("wizard.save", "ctrl+s", "Save", "Write choline.toml.", "wizard", "save", footer=True),
    Action(
        "wizard.market", "ctrl+f", "Choose on the market",
        "Go to the offers with the conditions of the hardware step; i comes back with the filter that is "
        "typed there.",
        "wizard", "market",
    ),
    Action(
        "wizard.template", "ctrl+t", "Keep as template",
        "Keep environment, hardware, limits, ignore rules and command for other projects, under a name.",
        "wizard", "template",
    ),
    Action(
        "wizard.leave", "escape", "Leave", "Leave the wizard; answers that would be lost are asked about.",
        "wizard", "leave", footer=True,
    ),
)  # fmt: skip
