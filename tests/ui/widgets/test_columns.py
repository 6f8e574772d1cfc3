"""Which columns fit, and that a text takes its cells and no others."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from choline_tui.widgets.columns import GUTTER, Column, arrange, fit, inert
from choline_tui.widgets.glyphs import ASCII, UNICODE, bar, glyph, spark


def column(key: str, width: int, priority: int = 0, grow: int = 0) -> Column[str]:
    return Column(key, key, width, str, str, priority=priority, grow=grow)


COLUMNS = [column("a", 10), column("b", 5, 3), column("c", 5, 1), column("d", 5, 3), column("e", 5)]


@pytest.mark.parametrize(
    ("room", "keys", "gap"),
    [
        (80, "abcde", 2),
        (GUTTER + 38, "abcde", 2),
        (GUTTER + 37, "abcde", 1),
        (GUTTER + 34, "abcde", 1),
        (GUTTER + 33, "abce", 1),
        (GUTTER + 27, "ace", 1),
        (GUTTER + 21, "ae", 1),
        (1, "ae", 1),
    ],
)
def test_columns_go_by_priority_the_last_first(room: int, keys: str, gap: int) -> None:
    layout = arrange(COLUMNS, room)
    assert "".join(p.column.key for p in layout.columns) == keys
    assert layout.gap == gap
    assert layout.frozen == GUTTER + 10 + gap


def test_pinned_ones_stay() -> None:
    layout = arrange(COLUMNS, 20, frozenset("d"))
    assert [p.column.key for p in layout.columns] == ["a", "d", "e"]
    assert layout.width == GUTTER + 10 + 1 + 5 + 1 + 5


def test_what_is_left_over_is_shared_out() -> None:
    layout = arrange([column("a", 5), column("b", 5, grow=2), column("c", 5, grow=1)], GUTTER + 19 + 10)
    assert [p.width for p in layout.columns] == [5, 11, 9]
    assert layout.width == GUTTER + 29


def test_the_column_under_a_cell() -> None:
    layout = arrange(COLUMNS, 80)
    second = layout.columns[1]
    assert [getattr(layout.at(x), "key", None) for x in (0, GUTTER, second.x - 1, second.x, 79)] == list(
        "aaabe"
    )
    assert arrange([], 80).at(4) is None


HOSTILE = st.one_of(
    st.text(max_size=30),
    st.text(alphabet="a日é́\u200b\u202e[]/\x1b\x9b\n\t\r👩🇩🇪️\ufe0f", max_size=30),
    st.sampled_from(["[/foo]", "[bold]x[/]", "\x1b[2J\x1b[31mred", "e" + "\u0301" * 40, "日本語" * 9]),
)


@given(HOSTILE, st.integers(0, 20), st.booleans())
def test_a_cell_takes_exactly_its_cells_and_holds_nothing_that_acts(
    text: str, width: int, right: bool
) -> None:
    drawn = fit(text, width, right)
    assert cell_len(drawn) == width
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in drawn)
    assert "\u202e" not in drawn and "\u200b" not in drawn


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert inert(text) == text
    assert fit(text, 20).rstrip() == text.rstrip()
    assert fit(text, 20, right=True).lstrip() == text.lstrip()


def test_what_is_cut_says_so() -> None:
    assert fit("abcdef", 4) == "abc…"
    assert fit("abcdef", 4, cut="~") == "abc~"
    assert fit("日本語", 4) == "日 …"
    assert fit("日本語", 5) == "日本…"


def test_every_sign_takes_one_cell_and_has_an_ascii_one() -> None:
    assert UNICODE.keys() == ASCII.keys()
    assert all(cell_len(sign) == 1 for sign in UNICODE.values())
    assert all(len(sign) == 1 and sign.isascii() for sign in ASCII.values())
    assert all(unicodedata.east_asian_width(sign) not in "WF" for sign in UNICODE.values())
    assert glyph("running") == "●" and glyph("running", True) == "*"
    assert glyph("a state of a later version") == "?"


@given(st.floats(), st.integers(1, 30), st.booleans())
def test_a_bar_takes_its_width(share: float, width: int, ascii: bool) -> None:
    assert cell_len(bar(share, width, ascii)) == width


def test_bars_and_sparks() -> None:
    assert bar(0.5, 4) == "██  "
    assert bar(0.125, 4, ascii=True) == "...." and bar(1, 4, ascii=True) == "####"
    assert spark([0, 1, 2, 4]) == "▁▂▄█"
    assert spark([]) == "" and spark([0.0, 0.0], ascii=True) == "__"
