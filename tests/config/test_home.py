import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from choline_tui.config import Paths, load, load_project, set_value, show, unset_value
from choline_tui.config.settings import Settings
from choline_tui.config.toml import leaves
from choline_tui.kernel.errors import ConfigError, UsageError


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "home").ensure()


def fails(paths: Paths, text: str, environ: dict[str, str] | None = None) -> ConfigError:
    paths.config_file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(paths, environ or {})
    assert "\n" not in caught.value.message
    assert "pydantic" not in caught.value.message.lower()
    return caught.value


def test_without_a_file_everything_is_default(paths: Paths) -> None:
    loaded = load(paths, {})
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.settings.run.max_life == 86400
    assert loaded.settings.vast.key is None


def test_each_layer_wins_over_the_one_before(paths: Paths, tmp_path: Path) -> None:
    paths.config_file.write_text(
        '[run]\nmax_life = "36h"\ndisk = 30\npremium = 5\n[vast]\nkey = "fromfile"\nurl = "https://one.example/"\n'
    )
    (tmp_path / "choline.toml").write_text('disk = 40\n[run]\npremium = 7.5\nlease = "2h"\n')
    project = load_project(tmp_path)
    loaded = load(paths, {"VAST_URL": "http://127.0.0.1:8070", "VAST_API_KEY": "fromenv"}, project)
    run = loaded.settings.run
    assert (run.max_life, run.disk, run.premium, run.lease) == (36 * 3600, 40, 7.5, 7200)
    assert loaded.settings.vast.url == "http://127.0.0.1:8070"
    assert loaded.settings.vast.key is not None
    assert loaded.settings.vast.key.get_secret_value() == "fromenv"
    assert loaded.origins["run.max_life"] == "home"
    assert loaded.origins["run.disk"] == "project"
    assert loaded.origins["run.lease"] == "project"
    assert loaded.origins["run.tries"] == "default"
    assert loaded.origins["vast.url"] == loaded.origins["vast.key"] == "env"


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ('[run]\nmax_lief = "24h"', "run.max_lief", "run.max_life"),
        ('max_life = "24h"', "max_life", "run.max_life"),
        ("[rnu]\ndisk = 1", "rnu", "run"),
        ('[vast]\nurrl = "x"', "vast.urrl", "vast.url"),
        ("[engine]\ndisk = 1", "engine.disk", "run.disk"),
    ],
)
def test_an_unknown_key_is_refused_with_what_may_be_meant(
    paths: Paths, text: str, key: str, meant: str
) -> None:
    error = fails(paths, text)
    assert error.message == f"{paths.config_file}: there is no setting '{key}'"
    assert error.hint == f"Did you mean '{meant}'?"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('[run]\nmax_life = "24x"', "run.max_life: '24x' is not a duration"),
        ("[run]\nmax_life = 0", "run.max_life: must be longer than 0 s"),
        ('[run]\ndisk = "20"', "run.disk: needs a number, not '20'"),
        ("[run]\ndisk = true", "run.disk: needs a number"),
        ("[run]\ndisk = nan", "run.disk: must be"),
        ("[run]\ndisk = 0.5", "run.disk: must be greater than or equal to 1"),
        ("[run]\ntries = 2.5", "run.tries: needs a whole number"),
        ('[run]\ntype = "spot"', "run.type: must be 'on-demand' or 'interruptible', not 'spot'"),
        ("[run]\npremium = -1", "run.premium: must be"),
        ("[run]\nmax_price = 0", "run.max_price: must be greater than 0"),
        ("run = 3", "run: needs a table"),
        ("[vast]\nkey = 5", "vast.key: needs text in quotes"),
        ('[vast]\nurl = "ftp://x"', "vast.url: is not a web address"),
        ('[vast]\nurl = "http://example.com"', "vast.url: must begin with https"),
        ('[vast]\nurl = "https://a:b@example.com"', "vast.url: must be a plain address"),
        ('[vast]\nurl = "http://[::1"', "vast.url: is not a web address"),
        ("[run]\ndisk = ", "is not TOML"),
    ],
)
def test_a_wrong_value_is_one_line_with_file_and_key(paths: Paths, text: str, wanted: str) -> None:
    error = fails(paths, text)
    assert error.message.startswith(str(paths.config_file))
    assert wanted in error.message


def test_no_error_shows_a_key(paths: Paths) -> None:
    for text in (
        '[vast]\nkey = "se cret"',
        '[vast]\nkey = "secret',
        "[vast]\nkey = 'secret'x",
        '[vast]\nkey = ["secret"]',
    ):
        error = fails(paths, text)
        assert "secret" not in error.message + error.hint
        assert "se cret" not in error.message + error.hint
    paths.config_file.write_text('[vast]\nkey = "secret"')
    assert "secret" not in repr(load(paths, {}))


def test_the_environment_is_checked_by_its_own_name(paths: Paths) -> None:
    error = fails(paths, "", {"VAST_URL": "nonsense"})
    assert error.message.startswith("VAST_URL: ")


def test_a_file_that_is_no_text_or_cannot_be_read_is_said_so(paths: Paths) -> None:
    paths.config_file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(paths, {})
    paths.config_file.unlink()
    paths.config_file.mkdir()
    with pytest.raises(ConfigError, match="cannot read"):
        load(paths, {})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    raw=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace")))
)
def test_no_content_whatever_raises_anything_but_our_errors(paths: Paths, raw: bytes) -> None:
    paths.config_file.write_bytes(raw)
    try:
        load(paths, {})
    except ConfigError as error:
        assert "\n" not in error.message


def test_set_writes_what_load_reads(paths: Paths) -> None:
    for key, text in (
        ("run.max_life", "36h"),
        ("run.lease", "7200"),
        ("run.tries", "7"),
        ("run.image", "123"),
        ("run.max_price", "0.9"),
        ("vast.key", "12345678901234567890123456789"),
        ("run.type", "interruptible"),
    ):
        set_value(paths, key, text)
    run = load(paths, {}).settings.run
    assert (run.max_life, run.lease, run.tries, run.image) == (129600, 7200, 7, "123")
    assert (run.max_price, run.type) == (0.9, "interruptible")
    assert stat.S_IMODE(paths.config_file.stat().st_mode) == 0o600
    assert [p.name for p in paths.config_dir.glob(".config-*")] == []


@pytest.mark.parametrize(
    ("key", "text", "wanted"),
    [
        ("run.dsk", "1", "there is no setting 'run.dsk'"),
        ("run", "1", "there is no setting 'run'"),
        ("run.tries", "many", "needs a whole number"),
        ("run.max_life", "24x", "is not a duration"),
        ("run.disk", "1\ntries = 3", "needs a number"),
    ],
)
def test_set_refuses_and_leaves_the_file_alone(paths: Paths, key: str, text: str, wanted: str) -> None:
    set_value(paths, "run.disk", "33")
    before = paths.config_file.read_bytes()
    with pytest.raises(ConfigError) as caught:
        set_value(paths, key, text)
    assert wanted in caught.value.message
    assert paths.config_file.read_bytes() == before


def test_set_mends_the_very_value_that_is_wrong(paths: Paths) -> None:
    paths.config_file.write_text('[run]\ndisk = "big"\n')
    with pytest.raises(ConfigError, match=r"run\.disk"):
        set_value(paths, "run.tries", "3")
    set_value(paths, "run.disk", "50")
    assert load(paths, {}).settings.run.disk == 50


def test_set_keeps_a_link_to_a_file_kept_elsewhere(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "dotfiles.toml").write_text("")
    paths.config_file.symlink_to(tmp_path / "dotfiles.toml")
    set_value(paths, "run.disk", "50")
    assert paths.config_file.is_symlink()
    assert "disk = 50" in (tmp_path / "dotfiles.toml").read_text()


def test_unset_brings_the_default_back(paths: Paths) -> None:
    set_value(paths, "run.disk", "50")
    assert unset_value(paths, "run.disk") is True
    assert unset_value(paths, "run.disk") is False
    assert load(paths, {}).settings.run.disk == 20


def test_show_names_every_setting_with_its_origin_and_masks_the_key(paths: Paths) -> None:
    secret = "abcdefghijklmnopqrstuvwxyz0123456789"
    set_value(paths, "vast.key", secret)
    set_value(paths, "run.max_life", "36h")
    shown = {item.key: item for item in show(load(paths, {"VAST_URL": "http://127.0.0.1:1"}))}
    assert set(shown) == set(leaves(Settings))
    assert shown["vast.key"].value == "****6789"
    assert (shown["run.max_life"].value, shown["run.max_life"].origin) == ("36h", "home")
    assert (shown["vast.url"].origin, shown["vast.url"].variable) == ("env", "VAST_URL")
    assert shown["run.max_price"].value == ""
    assert all(item.description for item in shown.values())
    assert secret not in repr(shown)


def test_every_default_a_description_names_is_the_true_one() -> None:
    from choline_tui.model.duration import parse_duration

    for name, field in type(Settings().run).model_fields.items():
        said = (field.description or "").rpartition("default")[2].strip(" :")
        value = getattr(Settings().run, name)
        if value is None:
            assert said == "no limit"
        elif isinstance(value, bool):
            assert said == str(value).lower()
        elif isinstance(value, str):
            assert said == value
        else:
            assert parse_duration(said) == value


def test_config_errors_are_usage_errors_for_the_exit_code() -> None:
    assert issubclass(ConfigError, UsageError)
    assert ConfigError.exit_code == 2
