"""What of a run is sent: the frozen copy of its code, and the data its project names."""

import threading
from pathlib import Path

from choline_tui.codestate import materialise
from choline_tui.kernel.errors import UsageError
from choline_tui.kernel.session import Item, OnProgress
from choline_tui.model.run import Run
from choline_tui.provision.contents import Hashes, contents_of

__all__ = ["items_of"]


def items_of(
    run: Run,
    run_dir: Path,
    hashes: Path | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> list[Item]:
    """``hashes``: where hashes of data are remembered. Blocking: for a thread; ``stop`` ends it. Raises
    ``UsageError`` for data that cannot be read."""
    found: list[Item] = []
    if run.code is not None and run.code.file_count:
        tree = run_dir / "src"
        materialise(run.code, tree)
        found.append(Item(str(tree), "src"))
    with Hashes(hashes) as memory:
        for send in run.plan.send:
            if stop is not None and stop.is_set():
                raise UsageError("stopped")
            made = contents_of(Path(send.path), memory, on_progress=on_progress, stop=stop)
            found.append(
                Item(
                    str(made.base),
                    "data",
                    None,
                    send.into,
                    content=tuple(made.entries),
                    links=made.links,
                    left_out=tuple(made.skipped[:1000]),
                )
            )
    return found
