"""Finding the engine and starting it: one for a home, and the right one."""

import asyncio
import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import ConfigError, EngineError
from choline_tui.services import Choline, launch
from choline_tui.services.connection import Connection
from tests.services.engine_double import ENVIRON, KEY, URL, EngineDouble
from tests.support import eventually

REAL = {**os.environ, **ENVIRON, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.parametrize(
    ("greeting", "word"),
    [
        ({"version": "0.0.0"}, "is version 0.0.0"),
        ({"key": "0123456789ab"}, "has another API key"),
        ({"url": "http://elsewhere"}, "works on http://elsewhere"),
    ],
)
async def test_a_busy_engine_of_another_kind_is_refused_and_left_alone(
    tmp_path: Path, greeting: dict[str, str], word: str
) -> None:
    paths = Paths(tmp_path)
    async with EngineDouble(paths, busy=True, **greeting) as engine:
        with pytest.raises(EngineError, match=word) as caught:
            await launch.connect(paths, ENVIRON)
        assert KEY not in str(caught.value) + caught.value.hint
        assert "CHOLINE_HOME" in caught.value.hint
        assert engine.asked == ["hello"]


async def test_an_idle_engine_of_another_kind_is_ended_and_another_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, started = Paths(tmp_path), []
    monkeypatch.setattr(launch, "start_process", lambda *given: started.append(given))
    async with EngineDouble(paths, version="0.0.0") as old:
        waiting = asyncio.create_task(launch.connect(paths, ENVIRON))
        await eventually(lambda: started, what="a start")
        assert old.asked == ["hello", "engine_stop"]
        async with EngineDouble(paths) as new:
            connection = await waiting
            assert new.asked == ["hello"] and len(started) == 1
            await connection.close()


async def test_who_only_looks_takes_any_engine_and_starts_none(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    with pytest.raises(EngineError, match="no engine runs here"):
        await launch.connect(paths, ENVIRON, start=False)
    async with EngineDouble(paths, version="0.0.0") as engine:
        await (await launch.connect(paths, ENVIRON, start=False)).close()
        assert engine.asked == ["hello"]


async def test_a_home_with_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    with tempfile.TemporaryDirectory(prefix="c-", dir="/tmp") as short:
        paths = Paths(home, {"XDG_RUNTIME_DIR": short})
        assert home not in paths.engine_socket.parents
        async with EngineDouble(paths) as engine:
            connection = await launch.connect(paths, ENVIRON)
            assert engine.asked == ["hello"]
            await connection.close()


async def test_settings_an_engine_could_not_start_with_are_told_at_once(tmp_path: Path) -> None:
    paths = Paths(tmp_path).ensure()
    paths.config_file.write_text("[runn]\nx = 1\n")
    with pytest.raises(ConfigError, match="runn"):
        await launch.connect(paths, ENVIRON)
    assert not paths.engine_log.exists()  # none was started in vain


async def test_an_engine_that_gives_up_is_told_with_its_last_words(tmp_path: Path) -> None:
    paths = Paths(tmp_path).ensure()
    paths.store.write_bytes(b"this is no database, it only has its name and enough bytes" * 20)
    with pytest.raises(EngineError, match="ended at once") as caught:
        await launch.connect(paths, REAL)
    assert str(paths.engine_log) in caught.value.hint
    assert "left no word" not in caught.value.message


async def test_many_who_start_at_once_get_one_engine_over_a_stale_socket(tmp_path: Path) -> None:
    paths = Paths(tmp_path).ensure()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(paths.engine_socket))
    stale.close()  # the file stays, nobody listens: what kill -9 leaves
    found: list[Connection] = await asyncio.gather(*(launch.connect(paths, REAL) for _ in range(3)))
    try:
        pids = {(await connection.call("hello"))["pid"] for connection in found}
        assert len(pids) == 1
        assert pids == {int(paths.engine_lock.read_text())}
    finally:
        await found[0].call("engine_stop")
        for connection in found:
            await connection.close()
    # none of those that lost the race comes to life when the winner is stopped
    await eventually(lambda: not _engines(tmp_path), what="every engine of this home ends")
    assert not paths.engine_socket.exists()


def _engines(home: Path) -> list[str]:
    """Pids of the engines of a home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            engine = b"choline_tui.engine" in (process / "cmdline").read_bytes()
            ours = f"CHOLINE_HOME={home}\0".encode() in (process / "environ").read_bytes()
        except OSError:
            continue
        found += [process.name] * (engine and ours)
    return found


async def test_a_home_nobody_may_write_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Not a directory"):
        async with Choline(tmp_path / "file" / "home", ENVIRON) as choline:
            await choline.engine_status()


def test_the_market_is_named_without_the_key(tmp_path: Path) -> None:
    url, key = launch.market(Paths(tmp_path), ENVIRON)
    assert url == URL and len(key) == 12 and KEY not in key
