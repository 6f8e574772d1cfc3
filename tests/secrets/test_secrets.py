"""Where the key is looked for, and that it shows nowhere."""

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from choline_tui.kernel.errors import ConfigError
from choline_tui.secrets import Secret, find_key, redact

KEY = "0123456789abcdef" * 4


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret(KEY)
    shown = f"{secret} {secret!r} {secret:>80} {[secret]} {vars(type(secret)).get('x')}"
    assert KEY not in shown
    assert secret.reveal() == KEY
    assert secret == Secret(KEY) and secret != Secret("other") and secret != KEY
    assert len({secret, Secret(KEY)}) == 1
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)


@pytest.mark.parametrize("text", ["", "a b", "a\nb", "a\r\nX: y", "schlüssel", "\x00"])
def test_what_could_not_be_a_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        Secret(text)
    assert not text or text not in str(caught.value)


def test_the_order_of_the_places(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert find_key(env) is None
    places: list[tuple[str, str]] = []

    def expect(key: str, source: str) -> None:
        found = find_key(env, "from-config")
        assert found is not None
        assert (found[0].reveal(), found[1]) == (key, source)
        places.append((key, source))

    expect("from-config", "the config file")
    for name, key in (
        (".vast_api_key", "legacy"),
        ("xdg/vastai/vast_api_key", "main"),
        ("xdg/vastai/vast_tfa_key", "session"),
    ):
        put(tmp_path / name, f"{key}\n")
        expect(key, str(tmp_path / name))
    env["VAST_API_KEY"] = " from-env \n"
    expect("from-env", "VAST_API_KEY")


def test_without_xdg_the_files_are_under_home(tmp_path: Path) -> None:
    put(tmp_path / ".config/vastai/vast_api_key", "main")
    for xdg in ({}, {"XDG_CONFIG_HOME": ""}, {"XDG_CONFIG_HOME": "relative"}):
        found = find_key({"HOME": str(tmp_path), **xdg})
        assert found is not None and found[0].reveal() == "main"


def test_empty_places_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path / ".config/vastai/vast_tfa_key", " \n")
    put(tmp_path / ".vast_api_key", "legacy")
    found = find_key({"HOME": str(tmp_path), "VAST_API_KEY": ""}, "")
    assert found is not None and found[0].reveal() == "legacy"
    (tmp_path / "other" / ".vast_api_key").mkdir(parents=True)
    assert find_key({"HOME": str(tmp_path / "other")}, " ") is None


@pytest.mark.parametrize("text", ["two words", "x" * 5000, "line\nline", "schl\u00fcssel"])
def test_a_place_with_something_else_is_named_but_not_shown(tmp_path: Path, text: str) -> None:
    put(tmp_path / ".vast_api_key", text)
    with pytest.raises(ConfigError) as caught:
        find_key({"HOME": str(tmp_path)})
    assert ".vast_api_key" in caught.value.message
    assert text not in f"{caught.value!r} {caught.value.to_wire()} {caught.value.__cause__}"
    with pytest.raises(ConfigError, match="VAST_API_KEY"):
        find_key({"HOME": str(tmp_path / "none"), "VAST_API_KEY": "two words"})


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".vast_api_key").symlink_to(".vast_api_key")  # a link to itself: even root cannot
    with pytest.raises(ConfigError, match="cannot be read"):
        find_key({"HOME": str(tmp_path)})


def test_redacting_finds_a_secret_as_written_and_in_a_url() -> None:
    text = redact(
        f"key={KEY} url=https://h/?k=p%40ss%2Fword and p@ss/word, abc", [Secret(KEY), "p@ss/word", "a"]
    )
    assert text == "key=**** url=https://h/?k=**** and ****, abc"
    assert redact("abcdefgh abcde", ["abcde", "abcdefgh"]) == "**** ****"


@given(st.text(max_size=30), st.text("abcdé/", min_size=5, max_size=9), st.text(max_size=30))
def test_no_redacted_text_holds_the_secret(before: str, secret: str, after: str) -> None:
    assert secret not in redact(before + secret + after, [secret])
