"""The bill adds up, however time is cut; and no text is a plan of faults by accident."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from choline_tui.kernel.errors import ConfigError
from choline_tui.simulator.faults import FaultPlan
from choline_tui.simulator.ledger import DAY_S, Bill

seconds = st.lists(st.floats(0, 3 * DAY_S), min_size=1, max_size=20)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(seconds, st.floats(0, 100), st.floats(0, 10), st.floats(0, 2e9))
def test_a_bill_is_the_time_and_the_price_however_it_is_cut(pieces, gpu, disk, start):
    cut, whole, at = Bill(), Bill(), start
    for piece in pieces:
        cut.book(at, at + piece, gpu, disk)
        at += piece
    whole.book(start, at, gpu, disk)
    expected = (gpu + disk) * (at - start) / 3600
    for bill in (cut, whole):
        assert bill.total == pytest.approx(expected, rel=1e-6, abs=1e-6)
        assert sum(day.total for day in bill.days.values()) == pytest.approx(bill.total, rel=1e-6, abs=1e-9)
        for number, day in bill.days.items():
            assert number * DAY_S <= day.start <= day.end <= (number + 1) * DAY_S
    assert set(cut.days) == set(whole.days)


def test_bytes_are_billed_by_their_price():
    bill = Bill()
    bill.book_bytes(1000.0, 2e9, 3e9, 0.01, 0.005)
    bill.book_bytes(1000.0, -5, 0, 0.01, 0.005)
    day = bill.days[0]
    assert (day.up, day.down) == (pytest.approx(0.02), pytest.approx(0.015))
    assert bill.total == pytest.approx(0.035)
    assert list(bill.between(0, 1)) == [day] and not list(bill.between(1, 9))


words = st.sampled_from(["", "x", "lost", '"', "ü"])
values = st.one_of(st.integers(), st.booleans(), st.floats(allow_nan=False), words, st.just([1, 2]))
keys = st.sampled_from(["what", "on", "nth", "chance", "times", "seconds", "rows", "factor", "acted", "bad"])


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value if not 0xD800 <= ord(c) < 0xE000) + '"'
    return "inf" if value == float("inf") else "-inf" if value == float("-inf") else str(value)


# generating is slow on a busy computer, which says nothing
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(st.dictionaries(keys, values), st.booleans())
def test_any_entry_is_a_fault_or_refused_in_words(entry, named):
    if named:
        entry["what"] = "lost"
    text = "[[fault]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in entry.items())
    try:
        plan = FaultPlan.from_toml(text)
    except ConfigError as error:
        assert error.message
    else:
        assert named and plan.rules[0].what == "lost"
