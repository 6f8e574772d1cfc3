"""A connection to an engine that answers, fails, dies, or talks nonsense."""

import json
from pathlib import Path
from typing import Any

import pytest

from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import EngineError, NotFound
from choline_tui.services.connection import Connection
from tests.services.engine_double import EOF, EngineDouble, result


def item(message: dict[str, Any], value: Any) -> bytes:
    return json.dumps({"id": message["id"], "item": value}).encode() + b"\n"


async def test_calls_and_streams_of_one_connection_do_not_mix(tmp_path: Path) -> None:
    def answer(message: dict[str, Any]) -> list[bytes]:
        if message["method"] == "count":
            return [item(message, 1), item(message, 2), *result(message, None)]
        return result(message, message["params"])

    async with EngineDouble(Paths(tmp_path), answer) as engine:
        connection = await Connection.open(engine.path)
        try:
            assert await connection.call("echo", a=1) == {"a": 1}
            assert [x async for x in connection.stream("count")] == [1, 2]
            assert await connection.call("echo") == {}
        finally:
            await connection.close()


async def test_an_error_comes_back_as_its_own_kind(tmp_path: Path) -> None:
    def answer(message: dict[str, Any]) -> list[bytes]:
        error = NotFound("no run x", hint="look").to_wire()
        return [json.dumps({"id": message["id"], "error": error}).encode() + b"\n"]

    async with EngineDouble(Paths(tmp_path), answer) as engine:
        connection = await Connection.open(engine.path)
        try:
            with pytest.raises(NotFound) as caught:
                await connection.call("run", run="x")
            assert (caught.value.message, caught.value.hint) == ("no run x", "look")
            assert not connection.closed
        finally:
            await connection.close()


BABBLE = {
    "end": EOF,
    "no JSON": b"{not json\n",
    "array": b"[1, 2]\n",
    "text": b'"text"\n',
    "bytes": b"\xff\xfe\n",
}


@pytest.mark.parametrize("kind", BABBLE)
async def test_an_engine_that_dies_or_babbles_in_a_call_is_an_engine_error(tmp_path: Path, kind: str) -> None:
    async with EngineDouble(Paths(tmp_path), lambda message: [BABBLE[kind]]) as engine:
        connection = await Connection.open(engine.path)
        try:
            with pytest.raises(EngineError, match="went away"):
                await connection.call("offers")
            assert connection.closed
            with pytest.raises(EngineError, match="went away"):
                await connection.call("offers")
        finally:
            await connection.close()


async def test_a_stream_that_is_cut_tells_what_came_and_then_raises(tmp_path: Path) -> None:
    async with EngineDouble(Paths(tmp_path), lambda m: [item(m, "first"), EOF]) as engine:
        connection = await Connection.open(engine.path)
        seen = []
        try:
            with pytest.raises(EngineError):
                async for each in connection.stream("follow"):
                    seen.append(each)
        finally:
            await connection.close()
    assert seen == ["first"]


async def test_a_call_that_could_not_be_sent_closes_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine died, and the listener has not seen it yet: a follower must not be given this one again."""
    async with EngineDouble(Paths(tmp_path), lambda message: result(message, 1)) as engine:
        connection = await Connection.open(engine.path)
        try:

            async def lost() -> None:
                raise ConnectionResetError("Connection lost")

            monkeypatch.setattr(connection._writer, "drain", lost)
            with pytest.raises(EngineError, match="went away"):
                await connection.call("echo")
            assert connection.closed
        finally:
            monkeypatch.undo()
            await connection.close()
