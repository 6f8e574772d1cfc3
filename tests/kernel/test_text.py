import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from choline_tui.kernel.text import CUT, PlainLines, plain

NASTY = st.text(
    alphabet=st.one_of(
        st.characters(),
        st.sampled_from("\x1b[]PX^_;?0m\x07\x9b\x9d\x9c\x90\r\n\t\b\x00\x7f\u202e\u200b\u2066\u0301\\H"),
    ),
    max_size=80,
)
BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
VISIBLE_FORMAT = {0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2}


def inert(text: str) -> bool:
    for char in text:
        category = unicodedata.category(char)
        if char in BIDI or (category == "Cf" and ord(char) not in VISIBLE_FORMAT):
            return False
        if category in ("Cc", "Cs", "Zl", "Zp") and char not in "\n\t":
            return False
    return True


@given(NASTY)
def test_nothing_that_acts_on_a_terminal_comes_out(text: str) -> None:
    assert inert(plain(text))
    assert inert(plain(text.encode("utf-8", "surrogatepass")))


@given(NASTY)
def test_it_is_done_once_and_for_all(text: str) -> None:
    once = plain(text)
    assert plain(once) == once


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    assert inert(plain(data))


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain text, \ttabs\nand lines", "plain text, \ttabs\nand lines"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;no end\nnext line", "\nnext line"),
        ("\x1bP1;2q#0\x1b\\x", "x"),
        ("\x9b2Jx\x9d0;t\x07y", "xy"),
        ("\x1b\x1b[2Jx", "x"),
        ("\x1b7\x1b(Bx\x1bc", "x"),
        ("admin\u202egnp.exe", "admingnp.exe"),
        ("a\u200bb\ufeffc\u00add", "abcd"),
        ("10%\r50%\r100%\n", "100%\n"),
        ("done\r\n", "done\n"),
        ("abc\b\b\bxyz", "xyz"),
        ("\x00\x07\x7f", "\u2400\u2407\u2421"),
        ("one\u2028two", "one two"),
        ("e" + "\u0301" * 50, "e" + "\u0301" * 4),
        ("größe 漢字 🚀", "größe 漢字 🚀"),
    ],
)
def test_examples(raw: str, shown: str) -> None:
    assert plain(raw) == shown


def test_bytes_that_are_no_utf8() -> None:
    assert plain(b"a\xffb") == "a\ufffdb"


@given(st.lists(st.binary(max_size=30), max_size=12))
def test_a_stream_cut_anywhere_gives_the_same_lines(pieces: list[bytes]) -> None:
    whole, cut = PlainLines(), PlainLines()
    data = b"".join(pieces)
    one = whole.feed(data) + whole.finish()
    many = [line for piece in pieces for line in cut.feed(piece)] + cut.finish()
    assert one == many
    assert "\n".join(one).rstrip("\n") == plain(data).rstrip("\n")


def test_characters_cut_between_bytes() -> None:
    lines = PlainLines()
    assert [lines.feed(bytes([b])) for b in "é\n".encode()] == [[], [], ["é"]]


def test_a_progress_bar_shows_its_last_state() -> None:
    lines = PlainLines()
    for percent in range(20_000):
        assert lines.feed(b"\rstep %d" % percent) == []
    assert lines.partial == "step 19999"
    assert lines.feed(b"\n") == ["step 19999"]


def test_a_line_without_end_is_bounded() -> None:
    lines = PlainLines(100)
    for _ in range(1000):
        lines.feed(b"x" * 1000)
    assert len(lines._raw) <= 1600
    assert lines.feed(b"\nnext\n") == ["x" * 100 + CUT, "next"]


def test_a_bar_after_a_line_without_end() -> None:
    lines = PlainLines(10)
    lines.feed(b"y" * 500)
    lines.feed(b"\r12%")
    assert lines.feed(b"\n") == ["12%"]


def test_sequences_do_not_use_up_a_line() -> None:
    lines = PlainLines(10)
    assert lines.feed(b"\x1b[31;1mab\x1b[0m\n") == ["ab"]
