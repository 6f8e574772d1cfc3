"""Colours are kept; nothing else a program wrote gets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from choline_tui.kernel.text import CUT, MAX_LINE, plain
from choline_tui.widgets.log_stream import LogStream
from choline_tui.widgets.sgr import PLAIN, Look, clean, pieces, style_of, text_of

RED = Look(front=1)


def looks(raw: str) -> list[tuple[str, Look]]:
    return pieces(clean(raw)[0])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("a\x1b[31mb\x1b[0mc", [("a", PLAIN), ("b", RED), ("c", PLAIN)]),
        (
            "\x1b[31;1;4mb\x1b[22mc",
            [
                ("b", Look(1, -1, frozenset({"bold", "underline"}))),
                ("c", Look(1, -1, frozenset({"underline"}))),
            ],
        ),
        ("\x1b[91;103mb", [("b", Look(9, 11))]),
        ("\x1b[38;5;200mb", [("b", Look(200))]),
        ("\x1b[48;2;1;2;3mb", [("b", Look(-1, 2**24 + 0x010203))]),
        ("\x1b[38:2::1:2:3mb", [("b", Look(2**24 + 0x010203))]),
        ("\x1b[38:5:7mb", [("b", Look(7))]),
        ("\x1b[31m\x1b[39mb", [("b", PLAIN)]),
        ("\x1b[31m\x1b[mb", [("b", PLAIN)]),
        ("\x1b[38;5;999mb\x1b[38mc", [("b", PLAIN), ("c", PLAIN)]),
        ("\x1b[38;2;1;2mb", [("b", PLAIN)]),
        # concealed text is shown, blinking stands still
        ("\x1b[8;5mb", [("b", PLAIN)]),
        # the colour began in a state that a carriage return took back
        ("\x1b[31m10%\r20%\x1b[0m", [("20%", RED)]),
        ("done\r\x1b[K", [("done", PLAIN)]),
        ("\x1b[2J\x1b[31ma\x1b]0;title\x07b\x1b[5A", [("ab", RED)]),
        ("\tx\x1b[1my\tz", [("        x", PLAIN), ("y      z", Look(marks=frozenset({"bold"})))]),
    ],
)
def test_what_is_kept(raw: str, expected: list[tuple[str, Look]]) -> None:
    merged: list[tuple[str, Look]] = []
    for text, look in looks(raw):
        if merged and merged[-1][1] == look:
            merged[-1] = (merged[-1][0] + text, look)
        else:
            merged.append((text, look))
    want: list[tuple[str, Look]] = []
    for text, look in expected:
        if want and want[-1][1] == look:
            want[-1] = (want[-1][0] + text, look)
        else:
            want.append((text, look))
    assert merged == want


RAW = st.text(alphabet=st.sampled_from("ab 12[/]m;:\x1b\x9b\r\b\x07\u202e\u200b日é\u0301\t]\\"), max_size=60)


@given(st.one_of(RAW, st.text(max_size=60)))
def test_the_text_is_inert(raw: str) -> None:
    line, end = clean(raw.replace("\n", ""))
    text = text_of(line)
    assert plain(text) == text and "\t" not in text and "\n" not in text
    assert "".join(piece for piece, _ in pieces(line)) == text
    # what was stored says all of it: reading it again gives the same
    assert text_of(clean(line)[0]) == text
    for _, look in [*pieces(line), ("", end)]:
        style_of(look)


@given(
    st.lists(
        st.sampled_from(["31", "1", "0", "", "38;5;9", "48;2;1;1;1", "22", "4", "39", "999", "38", ":", ";;"])
    )
)
def test_a_look_is_written_so_that_it_is_read_again(codes: list[str]) -> None:
    line, end = clean("".join(f"\x1b[{code}m" for code in codes) + "x")
    assert pieces(line) == [("x", end)]


def test_text_in_its_background_s_colour_is_seen() -> None:
    assert style_of(Look(5, 5)).color is None and style_of(Look(5, 5)).bgcolor is None
    assert style_of(Look(5, 6, frozenset({"bold"}))).bold


def test_long_lines_are_cut() -> None:
    assert clean("x" * (MAX_LINE + 1))[0] == "x" * MAX_LINE + CUT
    line = text_of(clean("\x1b[31m" + "x" * MAX_LINE + "\x1b[32m" + "y" * MAX_LINE)[0])
    assert line.startswith("x" * MAX_LINE) and len(line) <= MAX_LINE + 1


def test_colours_go_on_in_the_next_line() -> None:
    stream = LogStream()
    lines = stream.feed(b"\x1b[31mone\ntwo\x1b[0m\nthree\n")
    assert [pieces(line) for line in lines] == [[("one", RED)], [("two", RED)], [("three", PLAIN)]]


@given(st.binary(max_size=80), st.lists(st.integers(0, 80), max_size=4))
def test_where_the_bytes_are_cut_does_not_matter(data: bytes, cuts: list[int]) -> None:
    whole, parts = LogStream(), LogStream()
    expected = whole.feed(data) + whole.finish()
    ends = sorted(min(cut, len(data)) for cut in cuts)
    got: list[str] = []
    for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
        got += parts.feed(data[start:end])
    assert got + parts.finish() == expected


def test_a_line_without_end_stays_bounded() -> None:
    stream = LogStream()
    for _ in range(50):
        assert stream.feed(b"x" * 10_000) == []
    assert len(stream._raw) <= 8 * MAX_LINE and len(stream.partial) == MAX_LINE + 1
    stream = LogStream()
    for n in range(3000):
        stream.feed(b"\r%d%% " % n + b"=" * 40)
    assert len(stream._raw) <= 17 * MAX_LINE and stream.partial.startswith("2999% ")
    assert [text_of(line) for line in stream.feed(b"\r\n")] == ["2999% " + "=" * 40]
    assert stream.finish() == []


def test_without_colours_what_is_bold_stays_bold() -> None:
    [(_, look)] = pieces("\x1b[1;31;44mred on blue\x1b[0m")
    assert style_of(look).color is not None
    bare = style_of(look, False)
    assert bare.color is None
    assert bare.bgcolor is None
    assert bare.bold
