import pytest
from hypothesis import given
from hypothesis import strategies as st

from choline_tui.model.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("24h", 86400),
        ("1d12h", 129600),
        ("1h 30m", 5400),
        ("1.5H", 5400),
        ("2w", 1209600),
        ("0", 0),
        ("45", 45),
        (45, 45),
        (0.5, 0.5),
    ],
)
def test_reads(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "24x", "h", "1h30", "-1h", "1e3", "nan", "inf", "١h", "5 h x", "9" * 50, "99999w", True]
)
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, None, [], {}])
def test_refuses_what_is_no_text(value: float) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.5, "0.5s"), (90, "1m30s"), (86400, "24h"), (302400, "3d12h"), (3600, "1h")],
)
def test_writes(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=10 * 365 * 86400))
def test_what_is_written_reads_back(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
