"""The line above the table: how many offers there are, how old they are, what searching has cost today."""

from textual.content import Content

from choline_tui.kernel.text import plain
from choline_tui.screens.offers.market import Market, age
from choline_tui.widgets.clicks import Clickable, doing
from choline_tui.widgets.glyphs import glyph

__all__ = ["StatusLine", "status"]


def status(
    market: Market, now: float, shown: int, marked: int, *, width: int, ascii: bool = False
) -> Content:
    """In one line of ``width`` cells; what matters least goes first."""
    dot = f" {glyph('separator', ascii)} "
    known = len(market.rows)
    noun = "offer" if market.count == "1" else "offers"
    count = f"{market.count} {noun}" if shown == known else f"{shown} of {market.count} {noun}"
    if not known and not market.complete:
        count = "no offers yet"
    parts: list[tuple[str, str, str, int]] = [(count, "bold", "", 0)]
    if marked:
        parts.append((f"{marked} marked", "bold $text-accent", "", 1))
    if market.seen_at is not None:
        old = age(now - market.seen_at)
        where = "from memory, " if market.cached else ""
        parts.append(
            (f"{where}{old} old", "$text-warning" if now - market.seen_at > 900 else "$muted", "", 2)
        )
    if market.looking:
        sign = glyph("stale", ascii)
        word = "looking" if not market.rows or market.cached else "looking for more"
        parts.append((f"{sign} {word} (^x stops)", "$text-accent", "screen.cancel", 3))
    elif market.trouble is not None:
        sign = glyph("warn", ascii)
        parts.append((f"{sign} {plain(market.trouble.message)}", "$text-warning", "app.errors", 1))
    if market.disk_gb:
        parts.append((f"{market.disk_gb:g} GB, {plain(market.type)}", "$muted", "screen.needs", 4))
    if market.ration:
        left = market.ration - market.used_today
        style = "$text-warning" if left < market.ration / 10 else "$muted"
        parts.append((f"{market.used_today} of {market.ration} searches today", style, "", 5))
    while len(parts) > 1 and sum(len(p[0]) + 3 for p in parts) - 1 > width:
        parts.remove(max(parts, key=lambda part: part[3]))
    line = Content(" ")
    for at, (text, style, action, _) in enumerate(parts):
        if at:
            line += Content.styled(dot, "$muted")
        line += doing(Content.styled(text, style), action)
    return line.truncate(width, ellipsis=True) if hasattr(line, "truncate") else line


class StatusLine(Clickable):
    """``tell`` gives it something new to say."""

    DEFAULT_CSS = "StatusLine { height: 1; width: 1fr; }"
    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._market = Market()
        self._now, self._shown, self._marked = 0.0, 0, 0

    def tell(self, market: Market, now: float, shown: int, marked: int) -> None:
        self._market, self._now, self._shown, self._marked = market, now, shown, marked
        self.refresh()

    def render(self) -> Content:
        ascii = bool(getattr(self.app, "ascii", False))
        return status(
            self._market, self._now, self._shown, self._marked, width=self.size.width or 80, ascii=ascii
        )
