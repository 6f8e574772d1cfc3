"""What was kept of machines that failed: every file a source of one log."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult

from choline_tui.screens.windows import Window
from choline_tui.services.at_home import read_start
from choline_tui.widgets.log_view import LogView

if TYPE_CHECKING:
    from choline_tui.services.at_home import Folder

__all__ = ["EvidenceScreen"]

MOST = 4 << 20
"""bytes of a file that are shown"""
MOST_FILES = 40


class EvidenceScreen(Window[None]):
    """``kept``: (rental, its folder)."""

    HEADING = "Evidence"
    HELP = "s shows one file after the other, / searches, w wraps."

    def __init__(self, kept: "list[tuple[str, Folder]]") -> None:
        super().__init__()
        self.kept = kept

    def compose_inside(self) -> ComposeResult:
        yield LogView(200_000, empty="Nothing was written.", id="evidence")

    def on_mount(self) -> None:
        super().on_mount()
        self.set_heading(f"Evidence of {', '.join(rental for rental, _ in self.kept)}", "s: file after file")
        self.query_one(LogView).focus()
        self.run_worker(self._read(), exit_on_error=False)

    async def _read(self) -> None:
        view = self.query_one(LogView)
        many = len(self.kept) > 1
        for rental, folder in self.kept:
            for file in folder.files[:MOST_FILES]:
                name = f"{rental}/{file.path}" if many else file.path
                data = await asyncio.to_thread(read_start, Path(folder.path) / file.path, MOST)
                view.feed(name, data or b"(empty)")
                if file.size > MOST:
                    view.feed(name, f"\n... {file.size - MOST} bytes more in the file".encode())
                view.finish(name)
        view.pane.action_first()

    def on_log_view_copy_requested(self, event: LogView.CopyRequested) -> None:
        self.choline_app.copy(event.text, event.what)
