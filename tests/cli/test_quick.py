"""The quick way to the engine: a real socket, and every reason to take the long way instead."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from choline_tui import __version__
from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import QueryError
from choline_tui.services.identity import fingerprint
from choline_tui.services.launch import market
from choline_tui.services.quick import engine_answers, quick_call

URL = "http://127.0.0.1:9"


class Engine:
    """Answers as told, line by line, on a home's socket."""

    def __init__(self, paths: Paths) -> None:
        self.hello: Any = {"version": __version__, "url": URL, "key": fingerprint("k")}
        self.answer: dict[str, Any] = {"result": {"rows": [1]}}
        self.cut = False
        self.asked: list[dict[str, Any]] = []
        paths.state_dir.mkdir(parents=True, exist_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(paths.engine_socket))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._socket.accept()
            except OSError:
                return
            with line, line.makefile("rwb") as file:
                for raw in file:
                    message = json.loads(raw)
                    self.asked.append(message)
                    body = {"result": self.hello} if message["method"] == "hello" else self.answer
                    text = json.dumps({"id": message["id"], **body}).encode() + b"\n"
                    file.write(text[: len(text) // 2] if self.cut and message["method"] != "hello" else text)
                    file.flush()
                    if self.cut and message["method"] != "hello":
                        break

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "HOME": str(tmp_path),
        "CHOLINE_HOME": str(tmp_path / "home"),
        "VAST_URL": URL + "/",
        "VAST_API_KEY": "k",
    }


@pytest.fixture
def engine(environ: dict[str, str]) -> Iterator[Engine]:
    made = Engine(Paths(environ=environ))
    yield made
    made.close()


def test_it_gives_the_engines_answer(engine: Engine, environ: dict[str, str]) -> None:
    assert quick_call(environ, "offers", {"gpu": "4090"}) == {"rows": [1]}
    assert engine.asked[1]["params"] == {"gpu": "4090", "project": str(Path.cwd())}
    assert engine_answers(environ)


def test_it_raises_the_engines_error(engine: Engine, environ: dict[str, str]) -> None:
    engine.answer = {"error": QueryError("no such field").to_wire()}
    with pytest.raises(QueryError):
        quick_call(environ, "offers", {})


@pytest.mark.parametrize("field", ["version", "url", "key"])
def test_another_engine_than_the_one_wanted_is_not_asked(
    engine: Engine, environ: dict[str, str], field: str
) -> None:
    engine.hello[field] = "other"
    assert quick_call(environ, "offers", {}) is None
    assert [m["method"] for m in engine.asked] == ["hello"]


def test_no_engine_and_broken_answers_mean_the_long_way(engine: Engine, environ: dict[str, str]) -> None:
    assert quick_call({**environ, "CHOLINE_HOME": environ["HOME"] + "/none"}, "offers", {}) is None
    assert not engine_answers({**environ, "CHOLINE_HOME": environ["HOME"] + "/none"})
    engine.cut = True
    assert quick_call(environ, "offers", {}) is None
    engine.hello = "what"
    assert quick_call(environ, "offers", {}) is None


@pytest.mark.parametrize(
    "text",
    ["", '[vast]\nurl = "http://127.0.0.1:9/"\nkey = "of-the-file"\n', '[vast]\nkey = "of-the-file"\n'],
)
def test_market_and_key_are_found_as_the_services_find_them(environ: dict[str, str], text: str) -> None:
    from choline_tui.services.quick import _wanted

    paths = Paths(environ=environ)
    paths.ensure()
    paths.config_file.write_text(text)
    for without in ((), ("VAST_URL",), ("VAST_API_KEY",), ("VAST_URL", "VAST_API_KEY")):
        shell = {k: v for k, v in environ.items() if k not in without}
        assert _wanted(shell) == market(paths, shell)


def test_a_settings_file_that_is_broken_means_the_long_way(engine: Engine, environ: dict[str, str]) -> None:
    Paths(environ=environ).config_file.write_text("vast = 3")
    assert quick_call(environ, "offers", {}) is None
    Paths(environ=environ).config_file.write_text("[vast")
    assert quick_call(environ, "offers", {}) is None
