"""Keys typed faster than the focus moves: each goes to the widget that had the focus when its turn came.

Textual gives a key to whoever has the focus when the key arrives. Keys that arrive together (a fast typist
on a slow line, a paste by a terminal multiplexer) all went to the first one's widget: of ``/4090`` the number
was lost, and after enter in a filter the next command was typed into it.
"""

from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from textual import events
from textual.app import ScreenStackError
from textual.binding import Binding
from textual.message import Message
from textual.widgets import Input

if TYPE_CHECKING:
    from textual.app import App
    from textual.widget import Widget

__all__ = ["FilterLine", "KeysInTurn"]


class KeysInTurn:
    """Where a key was sent to, and where it belongs by now. One for an app."""

    def __init__(self, app: "App[Any]") -> None:
        self._app = app
        self._sent: WeakKeyDictionary[events.Key, Widget | None] = WeakKeyDictionary()

    def _focused(self) -> "Widget | None":
        try:
            return self._app.focused
        except ScreenStackError:  # the app is being left
            return None

    def send(self, event: events.Key) -> None:
        """A key has arrived."""
        self._sent[event] = self._focused()

    def belongs_elsewhere(self, event: events.Key) -> bool:
        """A key came back that nobody took: whether another widget has the focus by now, and so got it."""
        now = self._focused()
        if event not in self._sent or now is None or now is self._sent.pop(event):
            return False
        self.pass_on(event)
        return True

    def pass_on(self, event: events.Key) -> None:
        """Give it to the widget that has the focus now."""
        now = self._focused()
        if now is not None:
            copy = event.copy()
            self._sent[copy] = now
            now._forward_event(copy)


class FilterLine(Input):
    """A filter over a list (``LIST``: its selector). Its own keys act at once, before the next key is looked
    at: what is typed after enter is for the list."""

    LIST: ClassVar[str]

    class Done(Message):
        """The list has the focus again."""

    def action_clear_filter(self) -> None:
        self.value = ""
        self.action_to_list()

    def action_to_list(self) -> None:
        self.screen.set_focus(self.screen.query_one(self.LIST))
        self.post_message(self.Done())

    async def action_submit(self) -> None:
        # whoever hears of it may call the focus back
        self.screen.set_focus(self.screen.query_one(self.LIST))
        await super().action_submit()

    async def _on_key(self, event: events.Key) -> None:
        turns = getattr(self.app, "keys_in_turn", None)
        if isinstance(turns, KeysInTurn) and self.screen.focused is not self:
            event.stop()
            event.prevent_default()
            turns.pass_on(event)
            return
        for binding in self._own(event.key):
            if await self.app.run_action(binding.action, self):
                event.stop()
                event.prevent_default()
                return

    def _own(self, key: str) -> list[Binding]:
        """The line's own bindings (not every input's) to this key, as the settings have them."""
        own = {each.id for each in type(self).BINDINGS if isinstance(each, Binding) and each.id}
        for node, bindings in self.screen._binding_chain:
            if node is self:
                found = bindings.key_to_bindings.get(key, [])
                return [each for each in found if each.id in own or each.action == "submit"]
        return []
