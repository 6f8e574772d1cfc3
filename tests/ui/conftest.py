"""Screens in tests: fixed time and zone, nothing that blinks, and pictures as text in ``snapshots/ui``.

After a wanted change: ``UPDATE_SNAPSHOTS=1 python -m pytest tests/ui``, then look at
``git diff snapshots``. Where CI is set nothing is written.
"""

import difflib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from choline_tui.kernel.text import plain

FOLDER = Path(__file__).resolve().parents[2] / "snapshots" / "ui"
UPDATE = "UPDATE_SNAPSHOTS"

Shot = Callable[..., None]


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clocks show UTC; no cursor blinks; nothing is animated (see the top conftest)."""
    from textual.widgets import Input, TextArea

    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setattr(Input, "_toggle_cursor", lambda self: None)
    monkeypatch.setattr(TextArea, "_toggle_cursor_blink_visible", lambda self: None)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def screen_text(app: App[Any]) -> str:
    """What the terminal shows, as plain lines without the blanks at their ends."""
    width, height = app.size
    lines = ["".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()]
    assert len(lines) == height, (width, height, len(lines))
    return "\n".join(line.rstrip() for line in lines) + "\n"


@pytest.fixture
def shot() -> Shot:
    """``shot(app_or_pilot, name, svg=False)``: compare what is shown with ``snapshots/ui/<name>.txt`` (and
    ``.svg``). Toasts are no part of a picture: they are taken away first."""

    def compare(of: App[Any] | Pilot[Any], name: str, *, svg: bool = False) -> None:
        app = of.app if isinstance(of, Pilot) else of
        app.clear_notifications()
        text = screen_text(app)
        assert plain(text) == text, "something on the screen is not inert"
        _same(FOLDER / f"{name}.txt", text)
        if svg:
            drawn = app.export_screenshot(simplify=True)
            drawn = re.sub(r"terminal-\d+", "terminal", drawn)
            _same(FOLDER / f"{name}.svg", "\n".join(line.rstrip() for line in drawn.split("\n")) + "\n")

    return compare


def _same(path: Path, text: str) -> None:
    if os.environ.get(UPDATE) and not os.environ.get("CI"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return
    before = path.read_text("utf-8") if path.exists() else ""
    if before != text:
        diff = "\n".join(
            difflib.unified_diff(before.splitlines(), text.splitlines(), str(path), "now", lineterm="")
        )
        pytest.fail(f"{path.name} is not as it was ({UPDATE}=1 rewrites it):\n{diff[:6000]}")
