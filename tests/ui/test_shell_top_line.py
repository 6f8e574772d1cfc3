"""The top line at every width: what bills and what is wrong stays, nothing is cut in the middle."""

from dataclasses import replace
from itertools import product

import pytest

from choline_tui.widgets.top_line import Standing, fitted, pieces

AREAS = (("offers", "1", "Offers"), ("runs", "2", "Runs"))
FULL = Standing(
    where="offers", areas=AREAS, per_hour=12.345, today=67.89, rentals=3, unknown=1, releasing=1,
    credit=250.0, market="ok", engine="up", readonly=True, simulator=True, errors=12,
)  # fmt: skip


def shown(now: Standing, width: int) -> str:
    return "".join(text for _, text in fitted(pieces(now), width))


@pytest.mark.parametrize("width", range(60, 200, 7))
def test_what_bills_stays_at_every_width(width: int) -> None:
    markets = ("ok", "no-key", "offline", "error")
    for engine, market, ascii in product(("up", "down", "unknown"), markets, (0, 1)):
        now = replace(FULL, engine=engine, market=market, ascii=bool(ascii))
        line = shown(now, width)
        assert len(line) <= width, line
        assert "$12.3" in line and "?" in line and "1 rel" in line and "1 O" in line
        assert ("SIM" in line or "simulator" in line) and ("RO" in line or "read-only" in line)
        if engine == "down":
            assert "down" in line.lower()
        assert line.isascii() or not ascii


def test_all_of_it_on_a_wide_terminal() -> None:
    line = shown(FULL, 200)
    for part in (
        "choline", "1 Offers", "2 Runs", "simulator: no real money", "read-only", "! 12 errors",
        "$12.345/h now", "1 releasing", "$67.89 today", "? 1 unknown", "$250.00 credit", "● engine",
    ):  # fmt: skip
        assert part in line


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"rentals": 0, "per_hour": 0.0}, "nothing billing"),
        ({"per_hour": None}, "$ ..."),
        ({"credit": 0.0}, "no credit ($0.00)"),
        ({"credit": 10.0}, "$10.00 credit, 0.8 h left"),
        ({"market": "no-key"}, "no API key"),
        ({"market": "offline"}, "market unreachable"),
        ({"engine": "down"}, "engine down"),
        ({"engine": "unknown"}, "◌ engine"),
        ({"errors": 1}, "! 1 error "),
    ],
)
def test_each_condition_has_its_words(changes: dict[str, object], part: str) -> None:
    assert part in shown(replace(FULL, **changes), 220)  # type: ignore[arg-type]
