"""Following and waiting: over engines that die, and not for ever over what cannot be."""

import json
from pathlib import Path
from typing import Any

import pytest

from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import EngineError, MarketDown, NotFound
from choline_tui.model.run import Event, Plan, Run
from choline_tui.services import Choline, launch
from choline_tui.store import Store
from tests.services.engine_double import ENVIRON, EOF, EngineDouble, result

RUN = Run(id="abc123", plan=Plan(project="/p", command="true", cap=1.0), created=1.0, updated=1.0)


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    paths = Paths(tmp_path).ensure()
    store = Store(paths.store)
    store.commit(RUN)
    store.close()
    # no process: the double stays and is found again
    monkeypatch.setattr(launch, "start_process", lambda *given: None)
    return paths


def items(message: dict[str, Any], *values: dict[str, Any]) -> list[bytes]:
    return [json.dumps({"id": message["id"], "item": value}).encode() + b"\n" for value in values]


def event(seq: int) -> dict[str, Any]:
    return {
        "event": Event(at=float(seq), kind="run", text=f"event {seq}", run="abc123", seq=seq).model_dump()
    }


LOG = {"log": "aGVsbG8=", "source": "run", "attempt": 1, "offset": 0}


async def test_following_goes_on_where_it_was_when_the_engine_dies(paths: Paths) -> None:
    asked: list[dict[str, Any]] = []

    def answer(message: dict[str, Any]) -> list[bytes]:
        asked.append(message["params"])
        if len(asked) == 1:
            return [*items(message, event(1), LOG, event(2)), EOF]
        return [*items(message, event(3)), *result(message, None)]

    async with EngineDouble(paths, answer), Choline(paths.home, ENVIRON) as choline:
        seen = [item async for item in choline.follow("abc123")]
    assert [item.event.text for item in seen if item.event] == ["event 1", "event 2", "event 3"]
    assert b"".join(item.log for item in seen) == b"hello"
    assert (asked[1]["after"], asked[1]["offsets"]) == (2, {"1/run": 5})


async def test_an_engine_that_dies_again_and_again_is_not_asked_for_ever(paths: Paths) -> None:
    async with EngineDouble(paths, lambda message: [EOF]) as engine:
        async with Choline(paths.home, ENVIRON) as choline:
            with pytest.raises(EngineError, match="went away"):
                await choline.wait("abc123")
        assert 3 <= engine.asked.count("follow") <= 10


async def test_an_engine_that_answers_with_a_fault_is_not_asked_again(paths: Paths) -> None:
    def answer(message: dict[str, Any]) -> list[bytes]:
        error = EngineError("the engine failed: KeyError(1)").to_wire()
        return [json.dumps({"id": message["id"], "error": error}).encode() + b"\n"]

    async with EngineDouble(paths, answer) as engine:
        async with Choline(paths.home, ENVIRON) as choline:
            with pytest.raises(EngineError, match="KeyError"):
                await choline.wait("abc123")
        assert engine.asked.count("follow") == 1


async def test_following_ends_when_the_engine_becomes_that_of_another_market(paths: Paths) -> None:
    engine = EngineDouble(paths, lambda message: [EOF])
    async with engine, Choline(paths.home, ENVIRON) as choline:
        await choline.engine_status()
        engine.greeting.update(url="http://elsewhere", busy=True)
        with pytest.raises(EngineError, match="works on http://elsewhere"):
            await choline.wait("abc123")


async def test_a_run_that_is_not_there_is_not_waited_for(paths: Paths) -> None:
    async with EngineDouble(paths) as engine:
        async with Choline(paths.home, ENVIRON) as choline:
            with pytest.raises(NotFound):
                await choline.wait("zzz999")
        assert "follow" not in engine.asked


async def test_a_home_without_a_store_says_so(tmp_path: Path) -> None:
    async with Choline(tmp_path / "new", ENVIRON) as choline:
        assert choline.runs() == [] and choline.money(0.0).rentals == 0
        with pytest.raises(NotFound, match="no runs yet"):
            await choline.wait("abc123")
        with pytest.raises(NotFound, match="no runs yet"):
            choline.show("abc123")


async def test_nothing_rented_is_believed_only_when_the_market_answers(paths: Paths) -> None:
    def answer(message: dict[str, Any]) -> list[bytes]:
        if message["method"] == "rentals":
            return result(message, [])
        error = MarketDown("the market cannot be reached").to_wire()
        return [json.dumps({"id": message["id"], "error": error}).encode() + b"\n"]

    async with EngineDouble(paths, answer), Choline(paths.home, ENVIRON) as choline:
        with pytest.raises(MarketDown):
            await choline.rentals()
