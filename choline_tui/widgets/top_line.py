"""The line at the top: where one is, the money, the credit, the engine. Always there, one row.

What does not fit is left out by importance; what bills and what is wrong stay longest.
"""

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive

from choline_tui.kernel.text import plain
from choline_tui.widgets.clicks import Clickable, doing

__all__ = ["Piece", "Standing", "TopLine", "pieces"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the line tells. Money in $ and $/h; None: not known yet."""

    where: str = ""
    """id of the area that is shown"""
    areas: tuple[tuple[str, str, str], ...] = ()
    """(area, key, label)"""
    per_hour: float | None = None
    today: float | None = None
    rentals: int = 0
    unknown: int = 0
    releasing: int = 0
    credit: float | None = None
    market: str = "unknown"
    """ok, no-key, offline, error, unknown"""
    engine: str = "unknown"
    """up, down, unknown"""
    readonly: bool = False
    simulator: bool = False
    errors: int = 0
    """errors nobody has looked at"""
    ascii: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """``texts``: from the longest way to say it to the shortest. ``priority``: the higher, the earlier it
    is shortened, then left out, before anything lower is touched. ``keep``: never left out."""

    texts: tuple[str, ...]
    style: str = ""
    priority: int = 0
    action: str = ""
    left: bool = False
    keep: bool = True


def pieces(now: Standing) -> list[Piece]:
    """All there is to say, in order of place."""

    def g(glyph: str, word: str) -> str:
        return word if now.ascii else glyph

    found = [Piece((" choline",), "bold $accent", 9, left=True, keep=False)]
    for area, key, label in now.areas:
        here = area == now.where
        texts = (f" {key} {label} ",) if here else (f" {key} {label} ", f" {key} ")
        style = "bold reverse $accent" if here else "$muted"
        found.append(Piece(texts, style, 0, f"app.go('{area}')", left=True))
    if now.simulator:
        found.append(Piece((" simulator: no real money ", " simulator ", " SIM"), "bold $warning", 1))
    if now.readonly:
        found.append(Piece((" read-only ", " RO"), "bold $text-accent", 2))
    if now.errors:
        noun = "error" if now.errors == 1 else "errors"
        text = f" ! {now.errors} {noun} "
        found.append(Piece((text, f" !{now.errors}"), "bold $text-error", 3, "app.errors"))
    found.append(_billing(now))
    if now.today is not None:
        found.append(Piece((f" ${now.today:.2f} today ",), "", 6, keep=False))
    if now.unknown:
        word = f" ? {now.unknown} unknown "
        found.append(Piece((word, f" ?{now.unknown}"), "bold $text-warning", 0, "app.go('runs')"))
    if now.releasing:
        texts = (f" {now.releasing} releasing ", f" {now.releasing} rel")
        found.append(Piece(texts, "bold $text-error", 0, "app.go('runs')"))
    found.append(_credit(now))
    found.append(
        {
            "up": Piece((g(" ● engine ", " engine up "), g(" ●", " up")), "$text-success", 8),
            "down": Piece(
                (g(" ■ engine down ", " ENGINE DOWN "), g(" ■ down ", " DOWN ")),
                "bold $text-error", 0, "app.start_engine",
            ),
        }.get(now.engine, Piece((g(" ◌ engine ", " engine ... "), g(" ◌", " ...")), "$muted", 8))
    )  # fmt: skip
    return [piece for piece in found if piece.texts[0]]


def _billing(now: Standing) -> Piece:
    if now.per_hour is None:
        return Piece((" $ ... ",), "$muted", 5, keep=False)
    if not now.rentals:
        return Piece((" nothing billing ", " $0/h "), "$muted", 3, "app.go('runs')")
    texts = (f" ${now.per_hour:.3f}/h now ", f" ${now.per_hour:.2f}/h ")
    return Piece(texts, "bold $text-warning", 0, "app.go('runs')")


def _credit(now: Standing) -> Piece:
    if now.market == "no-key":
        return Piece((" no API key ", " no key "), "bold $text-warning", 2, "app.settings")
    if now.market == "offline":
        return Piece((" market unreachable ", " offline "), "bold $text-warning", 2, "app.errors")
    if now.market == "error":
        return Piece((" market: error ", " market! "), "bold $text-error", 2, "app.errors")
    if now.credit is None:
        return Piece(("",))
    if now.credit <= 0:
        return Piece((f" no credit (${now.credit:.2f}) ", " no credit "), "bold $text-error", 1)
    low = now.per_hour is not None and now.per_hour > 0 and now.credit / now.per_hour < 2
    style = "bold $text-warning" if low else ""
    lasts = f", {now.credit / now.per_hour:.1f} h left" if low and now.per_hour else ""
    texts = (f" ${now.credit:.2f} credit{lasts} ", f" ${now.credit:.2f} credit ")
    return Piece(texts, style, 3 if low else 7, keep=low)


def fitted(found: list[Piece], width: int) -> list[tuple[Piece, str]]:
    """Which text of each piece is shown in ``width`` columns."""
    chosen = [0] * len(found)

    def used() -> int:
        return sum(cell_len(p.texts[n]) for p, n in zip(found, chosen, strict=True) if n < len(p.texts))

    for at in sorted(range(len(found)), key=lambda i: (-found[i].priority, -i)):
        while used() > width and chosen[at] < len(found[at].texts) - found[at].keep:
            chosen[at] += 1
    return [(p, p.texts[n]) for p, n in zip(found, chosen, strict=True) if n < len(p.texts) and p.texts[n]]


class TopLine(Clickable):
    """Set ``standing``."""

    DEFAULT_CSS = """
    TopLine { height: 1; width: 1fr; background: $panel; color: $foreground; dock: top; }
    """
    ALLOW_SELECT = False
    can_focus = False
    standing: reactive[Standing] = reactive(Standing(), always_update=False)

    BLANK: ClassVar[bool] = False

    def render(self) -> Content:
        width = self.size.width or 80
        shown = fitted(pieces(self.standing), width)
        left = sum(cell_len(text) for piece, text in shown if piece.left)
        right = sum(cell_len(text) for piece, text in shown if not piece.left)
        line = Content("")
        filled = False
        for piece, text in shown:
            if not piece.left and not filled:
                line += Content(" " * max(0, width - left - right))
                filled = True
            part = Content.styled(plain(text), piece.style)
            line += doing(part, piece.action)
        return line
