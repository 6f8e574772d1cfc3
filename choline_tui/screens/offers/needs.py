"""What the person's run is like: what prices and costs are for."""

import math
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from choline_tui.screens.offers.market import Needs
from choline_tui.screens.windows import Window

__all__ = ["NeedsScreen", "read_needs"]

FIELDS = (
    ("hours", "hours", "how long the command runs"),
    ("disk_gb", "disk GB", "all of it: code, data, image, results"),
    ("gb_down", "GB in", "data and models that go to the machine"),
    ("gb_up", "GB home", "results that come back"),
    ("type", "kind", "on-demand, or interruptible"),
)
LIMITS = {"hours": (0.0, 100_000.0), "disk_gb": (1.0, 100_000.0), "gb_down": (0.0, 1e6), "gb_up": (0.0, 1e6)}
KINDS = ("on-demand", "interruptible")


def read_needs(texts: dict[str, str]) -> tuple[Needs | None, str, str]:
    """(needs, field that is wrong, why); needs is None then."""
    found: dict[str, Any] = {}
    for name, label, _ in FIELDS:
        text = texts[name].strip().lower()
        if name == "type":
            kind = next((k for k in KINDS if text and k.startswith(text)), None)
            if kind is None and text not in ("bid", "spot"):
                return None, name, "the kind is on-demand or interruptible"
            found[name] = kind or "interruptible"
            continue
        low, high = LIMITS[name]
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            return None, name, f"{label} is a number from {low:g} to {high:g}"
        found[name] = value
    return Needs(**found), "", ""


class NeedsScreen(Window[Needs]):
    HEADING = "Your run"
    DEFAULT_CSS = """
    NeedsScreen > #window { height: auto; max-width: 66; }
    NeedsScreen Horizontal { height: 1; margin-bottom: 1; }
    NeedsScreen .label { width: 10; }
    NeedsScreen .about { width: 1fr; color: $text-muted; padding-left: 2; }
    NeedsScreen Input { width: 16; }
    NeedsScreen #wrong { color: $text-error; height: 1; }
    """
    BINDINGS: ClassVar[Any] = [
        Binding("enter", "accept", "Use", id="needs.accept", priority=True),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]

    def __init__(self, needs: Needs, disk_gb: float, type: str) -> None:
        super().__init__()
        self.start = {
            "hours": f"{needs.hours:g}", "disk_gb": f"{disk_gb:g}", "gb_down": f"{needs.gb_down:g}",
            "gb_up": f"{needs.gb_up:g}", "type": type,
        }  # fmt: skip

    def compose_inside(self) -> ComposeResult:
        for name, label, about in FIELDS:
            with Horizontal():
                yield Static(Content(label), classes="label")
                yield Input(self.start[name], id=f"needs-{name}", max_length=20)
                yield Static(Content(about), classes="about")
        yield Static("", id="wrong", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#needs-hours", Input).focus()

    def action_accept(self) -> None:
        texts = {name: self.query_one(f"#needs-{name}", Input).value for name, _, _ in FIELDS}
        needs, wrong, why = read_needs(texts)
        if needs is None:
            self.query_one("#wrong", Static).update(Content(why))
            self.query_one(f"#needs-{wrong}", Input).focus()
            return
        self.dismiss(needs)
