"""What of a run is sent: the frozen copy of its code, and the data its project names."""

import os
from pathlib import Path

from choline_tui.codestate import materialise
from choline_tui.kernel.session import Item
from choline_tui.model.run import Run

__all__ = ["items_of"]


def items_of(run: Run, run_dir: Path) -> list[Item]:
    found: list[Item] = []
    if run.code is not None and run.code.file_count:
        tree = run_dir / "src"
        materialise(run.code, tree)
        found.append(Item(str(tree), "src"))
    for send in run.plan.send:
        path = Path(send.path)
        if path.is_dir():
            found.append(Item(str(path), "data", None, send.into))
        else:
            found.append(Item(str(path.parent), "data", (os.fsencode(path.name),), send.into))
    return found
