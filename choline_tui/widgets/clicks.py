"""Words that do something when clicked, without looking like links of a web page."""

from textual import events
from textual.content import Content
from textual.style import Style
from textual.widget import Widget

__all__ = ["Clickable", "doing"]


def doing(part: Content, action: str) -> Content:
    """``part``, doing ``action`` (a Textual action of ours, never foreign text) when clicked."""
    return part.stylize(Style.from_meta({"do": action})) if action else part


class Clickable(Widget):
    """A widget whose content was made with ``doing``."""

    async def on_click(self, event: events.Click) -> None:
        action = event.style.meta.get("do")
        if isinstance(action, str):
            event.stop()
            await self.run_action(action)
