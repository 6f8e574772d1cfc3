import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from choline_tui.config import Paths
from choline_tui.config.paths import MAX_SOCKET_BYTES
from choline_tui.kernel.errors import ConfigError


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A runtime directory with a name short enough for a socket (pytest's own are too long)."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


def everything(paths: Paths) -> list[Path]:
    return [
        paths.config_file,
        paths.store,
        paths.ssh_dir,
        paths.runs_dir,
        paths.run_dir("r1"),
        paths.code_dir("r1"),
        paths.objects_dir,
        paths.engine_lock,
        paths.engine_log,
        paths.crash_dir,
        paths.cache_dir,
    ]


def test_choline_home_overrides_everything(tmp_path: Path) -> None:
    paths = Paths(environ={"CHOLINE_HOME": str(tmp_path / "h")})
    assert all(path.is_relative_to(tmp_path / "h") for path in everything(paths))
    assert paths.config_file == tmp_path / "h" / "config.toml"
    assert paths.store == tmp_path / "h" / "choline.db"


def test_without_it_the_platform_says_where(isolated_home: Path) -> None:
    paths = Paths(environ={})
    assert paths.config_file == isolated_home / ".config/choline/config.toml"
    assert paths.store == isolated_home / ".local/share/choline/choline.db"
    assert paths.engine_log == isolated_home / ".local/state/choline/engine.log"
    assert paths.cache_dir == isolated_home / ".cache/choline"


def test_an_explicit_home_wins_and_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolated_home: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Paths("here", environ={"CHOLINE_HOME": "/elsewhere"}).home == tmp_path / "here"
    assert Paths("~/x").home == isolated_home / "x"


def test_nothing_is_made_until_asked_and_then_for_us_only(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    paths.ensure()
    for directory in (paths.config_dir, paths.runs_dir, paths.ssh_dir, paths.objects_dir, paths.cache_dir):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    paths.ssh_dir.chmod(0o755)
    paths.ensure()
    assert stat.S_IMODE(paths.ssh_dir.stat().st_mode) == 0o700


def test_a_home_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot make the directory") as caught:
        Paths(tmp_path / "file" / "home").ensure()
    assert "CHOLINE_HOME" in caught.value.hint


@pytest.mark.parametrize("run", ["", ".", "..", "../x", "a/b", ".hidden", "a b"])
def test_a_run_id_is_a_plain_name(tmp_path: Path, run: str) -> None:
    with pytest.raises(ValueError, match="run id"):
        Paths(tmp_path).run_dir(run)


def test_a_home_whose_name_cannot_be_shown_is_refused() -> None:
    with pytest.raises(ConfigError):
        Paths("/tmp/\udcff")


def test_a_short_home_has_its_socket_beside_the_lock(tmp_path: Path) -> None:
    paths = Paths("/h")
    assert paths.engine_socket == Path("/h/engine.sock")


def test_a_long_home_gets_a_short_private_socket_always_the_same(tmp_path: Path, runtime: Path) -> None:
    long = tmp_path / ("ü" * 60)
    environ = {"XDG_RUNTIME_DIR": str(runtime)}
    path = Paths(long, environ).engine_socket
    assert path == Paths(long, environ).engine_socket
    assert path != Paths(str(long) + "x", environ).engine_socket
    assert len(os.fsencode(path)) < MAX_SOCKET_BYTES
    assert path.is_relative_to(runtime)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def test_without_a_runtime_directory_it_lies_in_tmp(tmp_path: Path) -> None:
    path = Paths(tmp_path / ("x" * 120), {}).engine_socket
    assert path.parents[1] == Path(f"/tmp/choline-{os.getuid()}")
    path.parent.rmdir()


def test_a_directory_of_someone_else_is_never_used(tmp_path: Path, runtime: Path) -> None:
    (runtime / "choline").mkdir(mode=0o700)
    (runtime / "choline").chmod(0o777)
    with pytest.raises(ConfigError, match="not a private directory"):
        Paths(tmp_path / ("x" * 120), {"XDG_RUNTIME_DIR": str(runtime)}).engine_socket  # noqa: B018
    (runtime / "choline").rmdir()
    (tmp_path / "theirs").mkdir(mode=0o700)
    (runtime / "choline").symlink_to(tmp_path / "theirs")
    with pytest.raises(ConfigError, match="not a private directory"):
        Paths(tmp_path / ("x" * 120), {"XDG_RUNTIME_DIR": str(runtime)}).engine_socket  # noqa: B018
