"""What a person can do on the offers screen."""

from choline_tui.actions import Action

__all__ = ["ACTIONS"]

ACTIONS: tuple[Action, ...] = (
    Action(
        "offers.filter", "slash", "Filter",
        "Type conditions such as num_gpus>=2 dph<0.5, or just 4090 sweden; enter asks the market, tab puts a "
        "mistake right, esc clears.",
        "offers", "filter", footer=True,
    ),
    Action(
        "offers.plan", "R", "Run",
        "The plan card of the marked offers, or of the one under the cursor: what would be rented, at most "
        "for how much, what is sent. Nothing is rented before you agree.",
        "offers", "plan", spends=True, footer=True,
    ),
    Action(
        "offers.premium", "p", "Premium",
        "How many percent above the shown price you would still pay: arrows, with shift by 5; offers above "
        "the cap it gives are dimmed.",
        "offers", "premium", footer=True,
    ),
    Action(
        "offers.export", "e", "Export",
        "Make a filter of the marked offers (or the one under the cursor): this one, as good or better, or "
        "the same GPU anywhere; for choline, the official client or the API.",
        "offers", "export", footer=True,
    ),
    Action(
        "offers.needs", "d", "My run",
        "Hours, GB up and down, disk and kind of rental: prices and costs are for these.",
        "offers", "needs", footer=True,
    ),
    Action(
        "offers.saved", "f", "Saved filters", "Use, save or forget a filter.", "offers", "saved", footer=True
    ),
    Action(
        "offers.type", "t", "Kind of rental",
        "On-demand, or interruptible: cheaper, and gone as soon as somebody bids more.",
        "offers", "toggle_type",
    ),
    Action(
        "offers.details", "v", "Details", "Everything about the offer under the cursor.", "offers", "details"
    ),
    Action("offers.sort", "s", "Sort", "Choose the column to sort by.", "offers", "sort"),
    Action("offers.reverse", "S", "Reverse", "Sort the other way round.", "offers", "reverse"),
    Action(
        "offers.left", "less_than_sign", "Column left", "Move the sorted column left.", "offers", "shift(-1)"
    ),
    Action(
        "offers.right", "greater_than_sign", "Column right", "Move the sorted column right.",
        "offers", "shift(1)",
    ),
    Action(
        "offers.uncap", "c", "No cap", "Take marks and the cap away: no offer is dimmed any more.",
        "offers", "uncap",
    ),
    Action("offers.cancel", "ctrl+x", "Stop looking", "Ask for no more pages of offers.", "offers", "cancel"),
    Action("offers.copy_id", "y", "Copy id", "Copy the offer's id.", "offers", "copy_id"),
    Action(
        "offers.copy_command", "Y", "Copy command", "Copy the 'choline run' command of this offer.",
        "offers", "copy_command",
    ),
    Action(
        "offers.save_view", "ctrl+e", "Save the list",
        "Write what is listed, filtered and sorted as it is, to a CSV or JSON file, with exact numbers.",
        "offers", "save_view",
    ),
)  # fmt: skip
