"""Lines in packed blocks: the same as in a list, in bounded memory."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choline_tui.widgets.log_store import LogStore
from choline_tui.widgets.sgr import clean, text_of

TEXTS = [
    "",
    "short",
    "a line of some length",
    "日本語日本語日本",
    "x" * 50,
    "\x1b[31mred\x1b[0m and not",
    "[/foo]",
]
LINES = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(TEXTS)), max_size=120)


@settings(deadline=None)
@given(LINES, LINES, st.integers(1, 60), st.integers(0, 12), st.sampled_from([None, {0}, {1, 2}, set()]))
def test_it_is_a_list_that_forgets(
    before: list[tuple[int, str]],
    after: list[tuple[int, str]],
    most: int,
    width: int,
    sources: set[int] | None,
) -> None:
    store = LogStore(most)
    kept = [(source, clean(text)[0]) for source, text in before + after]
    for source, line in kept[: len(before)]:
        store.append(source, line)
    store.lay_out(width, sources)
    for source, line in kept[len(before) :]:
        store.append(source, line)
    assert store.total == len(kept) and len(store) <= most
    assert len(store) >= min(len(kept), most - most // 8 - 1)
    assert [store.line(n) for n in range(store.first, store.total)] == kept[store.first :]
    shown = [n for n in range(store.first, store.total) if sources is None or kept[n][0] in sources]
    rows = [store.at_row(row) for row in range(store.first_row, store.last_row)]
    assert list(dict.fromkeys(number for number, _ in rows)) == shown
    for number, group in itertools.groupby(rows, lambda row: row[0]):
        parts = [part for _, part in group]
        assert parts == list(range(len(parts)))
        size = len(text_of(kept[number][1]))
        if kept[number][1].isascii():
            assert len(parts) == (max(1, -(-size // width)) if width else 1)
    for number in shown:
        assert store.at_row(store.row_of(number)) == (number, 0)
    found = [number for block in store.matches("OR", False) for number in block]
    assert found == [n for n in shown if "or" in text_of(kept[n][1])]
    assert [n for block in store.matches("OR", True) for n in block] == []


def test_rows_keep_their_numbers_while_old_ones_go() -> None:
    store = LogStore(80)
    for n in range(40):
        store.append(0, f"line {n}")
    row = store.row_of(30)
    for n in range(40, 100):
        store.append(0, f"line {n}")
    assert store.at_row(row) == (30, 0) and store.dropped == store.first_row > 0
    assert store.row_of(0) == store.first_row and store.row_of(1000) == store.last_row
    for bad in (store.first - 1, store.total):
        with pytest.raises(IndexError):
            store.line(bad)
        with pytest.raises(IndexError):
            store.at_row(bad)
    store.clear()
    assert len(store) == store.total == store.last_row == 0
    with pytest.raises(ValueError, match="positive"):
        LogStore(0)


def test_many_lines_are_packed() -> None:
    store = LogStore(30_000)
    for n in range(50_000):
        store.append(0, f"epoch {n // 1000} step {n}: loss 0.{n % 997:03} lr 3e-4")
    assert 28_000 <= len(store) <= 30_000
    assert store.memory < 30 * len(store)
    assert text_of(store.line(49_999)[1]).startswith("epoch 49 step 49999")
    assert [n for block in store.matches("step 40000:", True, 35_000) for n in block] == [40_000]
