"""Tables, widths, colours and numbers."""

import io
import json

import pytest

from choline_tui.cli.output import (
    Column,
    Output,
    cell_width,
    clean,
    color_wanted,
    cut,
    dollars,
    number,
    pad,
    size,
    span,
)
from tests.cli.fakes import HOSTILE, Terminal, forged


def output(width: int | None = None, color: bool = False) -> tuple[Output, io.StringIO]:
    out = io.StringIO()
    return Output(out, io.StringIO(), {}, width, color), out


def test_foreign_text_becomes_one_inert_line() -> None:
    shown = clean(HOSTILE)
    assert forged(shown) == [] and "\n" not in shown
    assert "日本" in shown
    assert clean("x" * 500, 20) == "x" * 19 + "…"
    assert clean(None) == ""


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("日本", 4), ("é", 1), ("e\u0301", 1), ("", 0)])
def test_width_counts_terminal_columns(text: str, width: int) -> None:
    assert cell_width(text) == width


@pytest.mark.parametrize("room", range(1, 9))
def test_cut_never_takes_more_than_its_room(room: int) -> None:
    for text in ("日本日本", "abcdefghij", "a日b本c"):
        assert cell_width(cut(text, room)) <= room
    assert cut("abc", 3) == "abc"


def test_pad_lines_up_wide_and_narrow_text() -> None:
    assert {cell_width(pad(text, 6, side)) for text in ("日本", "abc") for side in ("left", "right")} == {6}
    assert pad("7", 3, "right") == "  7"


@pytest.mark.parametrize(
    ("value", "shown"), [(1.23456, "1.235"), (None, "?"), ("x", "?"), (True, "?"), (float("nan"), "?")]
)
def test_what_is_no_number_is_unknown(value: object, shown: str) -> None:
    assert number(value, 3) == shown


def test_sizes_spans_and_dollars() -> None:
    assert [size(n) for n in (0, 999, 1000, 999_960, 1_500_000, 3e12, 5e15)] == [
        "0 B", "999 B", "1.0 kB", "1.0 MB", "1.5 MB", "3.0 TB", "5000.0 TB",
    ]  # fmt: skip
    assert [span(s) for s in (0, 59.4, 60, 3599, 3600, 90000, -5, None)] == [
        "0s", "59s", "1m00s", "59m59s", "1h00m", "1d01h", "0s", "?",
    ]  # fmt: skip
    assert dollars(0.5) == "$0.5000" and dollars(None) == "?"


COLUMNS = (
    Column("id", keep=0),
    Column("name", "left", least=6),
    Column("less", keep=1),
    Column("least", keep=2),
)
ROWS = [["1", "日本語の名前と長い", "aaaaaaaaaa", "bbbbbbbbbb"], ["22", "short", "c", "d"]]


def test_a_pipe_gets_every_column_in_full() -> None:
    out, text = output()
    out.table(COLUMNS, ROWS)
    lines = text.getvalue().splitlines()
    assert "日本語の名前と長い" in lines[1] and "bbbbbbbbbb" in lines[1]
    assert lines[0].split() == ["id", "name", "less", "least"]


@pytest.mark.parametrize("width", range(12, 60))
def test_a_table_fits_the_terminal(width: int) -> None:
    out, text = output(width)
    out.table(COLUMNS, ROWS)
    assert max(cell_width(line) for line in text.getvalue().splitlines()) <= width


def test_the_least_wanted_column_goes_first() -> None:
    out, text = output(26)
    out.table(COLUMNS, ROWS)
    assert text.getvalue().splitlines()[0].split() == ["id", "name", "less"]


def test_columns_line_up_under_their_titles() -> None:
    out, text = output()
    out.table((Column("n"), Column("gpu", "left"), Column("$")), [["1", "日本", "2"], ["10", "abcd", "30"]])
    lines = text.getvalue().splitlines()
    assert len({cell_width(line) for line in lines}) == 1


def test_colours_are_put_around_words_only_when_wanted() -> None:
    plain, text = output(color=False)
    plain.line("x", "red")
    assert text.getvalue() == "x\n"
    painted, text = output(color=True)
    painted.line("x", "bold", "red")
    assert text.getvalue() == "\x1b[1;31mx\x1b[0m\n"


@pytest.mark.parametrize(
    ("stream", "environ", "setting", "wanted"),
    [
        (Terminal(), {}, "auto", True),
        (io.StringIO(), {}, "auto", False),
        (Terminal(), {"NO_COLOR": "1"}, "auto", False),
        (Terminal(), {"NO_COLOR": ""}, "auto", True),
        (Terminal(), {"TERM": "dumb"}, "auto", False),
        (io.StringIO(), {"NO_COLOR": "1"}, "always", True),
        (Terminal(), {}, "never", False),
    ],
)
def test_when_colours_are_wanted(
    stream: io.StringIO, environ: dict[str, str], setting: str, wanted: bool
) -> None:
    assert color_wanted(stream, environ, setting) is wanted


def test_json_is_one_inert_document() -> None:
    out, text = output()
    out.json({"name": HOSTILE})
    assert json.loads(text.getvalue()) == {"name": HOSTILE}
    assert forged(text.getvalue()) == []
