"""A few words on the screen that are told again and again, and drawn only when they changed."""

from textual.content import Content
from textual.widgets import Static

__all__ = ["Words"]


class Words(Static):
    """``tell`` it. ``fixed``: its room never changes, so nothing around it is laid out again."""

    def __init__(self, *, fixed: bool = False, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self._fixed = fixed
        self._told = Content("")

    @property
    def told(self) -> str:
        return self._told.plain

    def tell(self, content: Content) -> None:
        if content.is_same(self._told):
            return
        before, self._told = self._told, content
        same_room = before.plain.count("\n") == content.plain.count("\n") and (
            self._wraps_the_same(before, content)
        )
        self.update(content, layout=not (self._fixed or same_room))

    def _wraps_the_same(self, before: Content, after: Content) -> bool:
        width = self.size.width
        if not width or self.styles.width is None or self.styles.width.is_auto:
            return before.cell_length == after.cell_length
        if self.styles.text_wrap == "nowrap":
            return True
        lines = zip(before.split("\n"), after.split("\n"), strict=True)
        return all(-(-a.cell_length // width) == -(-b.cell_length // width) <= 1 for a, b in lines)
