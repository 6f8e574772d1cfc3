"""Records in order: stable, None last, ties by key; kept over filters and more of them."""

import math
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from choline_tui.widgets.rows import Rows


@dataclass(frozen=True)
class R:
    id: int
    value: Any


VALUES = st.one_of(st.none(), st.floats(), st.integers(-3, 3))
RECORDS = st.lists(st.builds(R, st.integers(0, 30), VALUES), max_size=40)


def made(records: list[R]) -> Rows[R]:
    rows: Rows[R] = Rows(lambda r: r.id)
    rows.replace(records)
    return rows


def shown(rows: Rows[R]) -> list[R]:
    return [rows.records[at] for at in rows.view]


@given(RECORDS, st.booleans())
def test_none_and_nan_are_last_and_ties_go_by_key(records: list[R], reverse: bool) -> None:
    rows = made(records)
    rows.sort("value", lambda r: r.value, reverse)
    unique = {r.id: r for r in records}
    last = [r for r in unique.values() if r.value is None or math.isnan(r.value)]
    known = [r for r in unique.values() if r not in last]
    expected = sorted(known, key=lambda r: (-r.value if reverse else r.value, r.id))
    expected += sorted(last, key=lambda r: r.id)
    assert [r.id for r in shown(rows)] == [r.id for r in expected]


@given(RECORDS, RECORDS, st.booleans(), st.sampled_from([None, 0, 2]))
def test_more_records_give_what_all_at_once_give(
    first: list[R], more: list[R], sort: bool, least: int | None
) -> None:
    def prepared(records: list[R]) -> Rows[R]:
        rows = made(records)
        if least is not None:
            rows.filter(lambda r: r.value is not None and r.value >= least)
        if sort:
            rows.sort("value", lambda r: r.value, True)
        return rows

    grown = prepared(first)
    grown.extend(more)
    whole = prepared(first + more)
    assert shown(grown) == shown(whole)
    grown.sort("value", lambda r: r.value, False)
    whole.sort("value", lambda r: r.value, False)
    assert shown(grown) == shown(whole)


def test_values_that_do_not_compare_have_an_order_all_the_same() -> None:
    rows = made([R(1, "b"), R(2, 3), R(3, None), R(4, "a")])
    rows.sort("value", lambda r: r.value, False)
    assert [r.id for r in shown(rows)] == [2, 4, 1, 3]


def test_sort_values_are_asked_for_once_until_the_records_change() -> None:
    asked = 0

    def value(record: R) -> Any:
        nonlocal asked
        asked += 1
        return record.value

    rows = made([R(n, n % 3) for n in range(50)])
    for reverse in (False, True, False):
        rows.sort("value", value, reverse)
        rows.filter(lambda r: r.id > 5)
    assert asked == 50
    rows.extend([R(100, 1)])
    assert asked == 51
    rows.forget("value")
    assert asked == 102


def test_where_a_record_is() -> None:
    rows = made([R(1, 5), R(2, 4), R(3, 3)])
    rows.sort("value", lambda r: r.value, False)
    assert [rows.place(key) for key in (1, 2, 3, 9)] == [2, 1, 0, None]
    rows.filter(lambda r: r.id != 2)
    assert rows.place(2) is None and rows.known(2)
    assert rows.find(2) == R(2, 4) and rows.find(9) is None
    rows.unsort()
    assert [r.id for r in shown(rows)] == [1, 3]
