"""What a person can do with runs: in the list and on a run's page."""

from choline_tui.actions import Action

__all__ = ["ACTIONS", "LIST", "PAGE", "VERBS"]

VERBS: tuple[Action, ...] = (
    Action(
        "runs.stop",
        "x",
        "Stop",
        "End the run, bring its results home, destroy its machine. Asked again while it stops: give up "
        "what is not home.",
        "runs",
        "stop_runs",
        destroys=True,
        footer=True,
    ),
    Action(
        "runs.again",
        "R",
        "Again",
        "The plan card of the same run once more: same plan, same code. Nothing is rented before you agree.",
        "runs",
        "again",
        spends=True,
        footer=True,
    ),
    Action(
        "runs.like",
        "L",
        "Like",
        "The plan card of this directory's project on a machine like the run's: filter, cap, disk, image.",
        "runs",
        "like",
        spends=True,
    ),
    Action(
        "runs.pull",
        "f",
        "Fetch",
        "Bring home now what the run has written so far.",
        "runs",
        "pull",
        footer=True,
    ),
    Action(
        "runs.shell",
        "t",
        "Shell",
        "A shell on its machine, in the run's directory; choline waits meanwhile.",
        "runs",
        "shell",
        footer=True,
    ),
    Action(
        "runs.attach",
        "a",
        "Attach",
        "The terminal of the program that runs; ctrl+\\ leaves it running.",
        "runs",
        "attach",
    ),
    Action(
        "runs.code",
        "o",
        "VS Code",
        "Open the run's directory on its machine in VS Code.",
        "runs",
        "open_code",
    ),
    Action(
        "runs.forward",
        "F",
        "Forward a port",
        "A port of this computer that leads to one of its machine.",
        "runs",
        "forward",
    ),
    Action(
        "runs.destroy",
        "D",
        "Destroy machine",
        "Destroy the machine that is held for a run that has ended.",
        "runs",
        "destroy_held",
        destroys=True,
    ),
    Action(
        "runs.rm",
        "delete",
        "Remove",
        "Take ended runs out of the list; results at home stay.",
        "runs",
        "remove_runs",
        destroys=True,
    ),
    Action("runs.copy_id", "y", "Copy id", "Copy the run's id.", "runs", "copy_id"),
    Action(
        "runs.copy_ssh",
        "Y",
        "Copy ssh command",
        "Copy the command that opens a shell on its machine.",
        "runs",
        "copy_ssh",
    ),
)
"""in the list they are on the marked runs, or the one under the cursor; on a page on its run"""

LIST: tuple[Action, ...] = (
    Action(
        "runs.filter",
        "slash",
        "Filter",
        "Words that must all be found: name, state, GPU, place, commit, note; -word for what must not; live, "
        "ended, billing. esc clears.",
        "runs",
        "filter",
        footer=True,
    ),
    Action("runs.sort", "s", "Sort", "Choose the column to sort by.", "runs", "sort"),
    Action("runs.reverse", "S", "Reverse", "Sort the other way round.", "runs", "reverse"),
    Action("runs.left", "less_than_sign", "Column left", "Move the sorted column left.", "runs", "shift(-1)"),
    Action(
        "runs.right", "greater_than_sign", "Column right", "Move the sorted column right.", "runs", "shift(1)"
    ),
    Action(
        "runs.save_view",
        "ctrl+e",
        "Save the list",
        "Write what is listed, filtered and sorted as it is, to a CSV or JSON file, with exact numbers.",
        "runs",
        "save_view",
    ),
)

PAGE: tuple[Action, ...] = (
    Action("run.back", "escape", "Back", "Back to the list of runs.", "run", "back", footer=True),
    Action("run.next", "tab", "Part", "Go to the next part of the page.", "run", "part(1)", footer=True),
    Action("run.previous", "shift+tab", "Part before", "Go to the part before.", "run", "part(-1)"),
    Action(
        "run.log", "", "Log", "What its setup and its command print, as it comes.", "run", "show_part('log')"
    ),
    Action(
        "run.timeline",
        "",
        "Timeline",
        "Everything that happened to it, in words.",
        "run",
        "show_part('timeline')",
    ),
    Action(
        "run.machines",
        "",
        "Machines",
        "Its attempts and rentals, what they cost, and their evidence.",
        "run",
        "show_part('machines')",
    ),
    Action("run.results", "", "Results", "The files that came home.", "run", "show_part('results')"),
    Action("run.about", "", "About", "Its command, note, code state and plan.", "run", "show_part('about')"),
    Action(
        "run.evidence",
        "v",
        "Evidence",
        "What was kept of machines that failed: logs, dmesg, nvidia-smi.",
        "run",
        "evidence",
    ),
)

ACTIONS: tuple[Action, ...] = (*VERBS, *LIST, *PAGE)
