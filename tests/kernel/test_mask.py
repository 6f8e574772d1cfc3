"""Secrets in a stream: masked in every form, over every border, and nothing else is touched."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choline_tui.kernel.mask import Masker

SECRET = 'hf_Ab/c+9 "ü" xyz'
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nshort\n-----END KEY-----"


def masked(secrets: list[str], pieces: list[bytes]) -> bytes:
    masker = Masker(secrets)
    return b"".join(masker.feed(piece) for piece in pieces) + masker.flush()


@pytest.mark.parametrize(
    "text",
    [
        SECRET.encode(),
        quote(SECRET, safe="").encode(),
        json.dumps(SECRET).strip('"').encode(),
        json.dumps(SECRET, ensure_ascii=False).strip('"').encode(),
    ],
)
def test_a_form_is_replaced_by_as_many_stars(text: bytes) -> None:
    out = masked([SECRET], [b"token=" + text + b"; next\n"])
    assert out == b"token=" + b"*" * len(text) + b"; next\n"


@pytest.mark.parametrize("before", ["", "a", "ab", "user:"])
@pytest.mark.parametrize("after", ["", "z", "zz"])
def test_base64_of_a_longer_text_does_not_give_it_away(before: str, after: str) -> None:
    secret = "ghp_0123456789abcdefghijABCDEFGHIJ012345"
    whole = base64.b64encode(f"{before}{secret}{after}".encode())
    out = masked([secret], [b"Basic " + whole + b"\n"])
    assert len(out) == len(whole) + 7
    # what is left of it at its ends says nothing of what is between
    assert len(out.removeprefix(b"Basic ").strip().replace(b"*", b"")) <= len(before) * 2 + len(after) * 2 + 8
    for form in (secret[4:12], secret[-12:]):
        assert form not in base64.b64decode(out[6:-1].replace(b"*", b"A")).decode("latin-1")


def test_a_secret_of_several_lines_keeps_the_lines() -> None:
    out = masked([KEY], [b"key:\n" + KEY.encode() + b"\nalone MIIEvQIBADANBgkqhkiG9w0B end"])
    assert out.count(b"\n") == 1 + 3 + 1 and b"MII" not in out and b"BEGIN" not in out
    assert out.endswith(b"alone " + b"*" * 24 + b" end")


def test_what_cannot_begin_a_secret_is_given_at_once() -> None:
    masker = Masker(["secret-1", "second"])
    assert masker.feed(b"Password? ") == b"Password? "
    assert masker.feed(b"se") == b""
    assert masker.feed(b"ven") == b"seven"
    assert masker.feed(b"line\ns") == b"line\n"
    assert masker.feed(b"econd") == b"******"
    assert masker.flush() == b""


def test_a_stream_that_breaks_off_and_is_read_on() -> None:
    # the end of one secret is the beginning of another: it must not be seen when it is read once more
    masker = Masker(["aaaabbbb", "bbbbcccc"])
    first = masker.feed(b"x aaaabbbb")
    assert first == b"x ****"
    first += masker.settled()
    assert first == b"x ********"
    again = Masker(["aaaabbbb", "bbbbcccc"])
    assert again.feed(b"bbbbcc") == b"" and again.settled() == b""


def test_too_short_ones_and_none() -> None:
    assert masked(["1234", ""], [b"1234 5"]) == b"1234 5"
    assert not Masker(["1234"]) and Masker(["12345"])


pieces = st.lists(st.sampled_from([b"aab", b"ab", b"a", b"abab", b"\n", b"bba", b"c"]), max_size=12)


@settings(max_examples=150, deadline=None)
@given(pieces, st.lists(st.sampled_from(["aabab", "ababa", "babba", "bbaab", "aaaaa"]), max_size=3))
def test_where_a_stream_is_cut_changes_nothing(parts: list[bytes], secrets: list[str]) -> None:
    whole = b"".join(parts)
    out = masked(secrets, parts)
    assert out == masked(secrets, [whole]) == masked(secrets, [whole[i : i + 1] for i in range(len(whole))])
    assert len(out) == len(whole)
    for secret in secrets:
        assert secret.encode() not in out
    spans = {
        i + k
        for s in secrets
        for i in range(len(whole))
        if whole.startswith(s.encode(), i)
        for k in range(len(s))
    }
    assert all(out[i] == (42 if i in spans else whole[i]) for i in range(len(whole)))
