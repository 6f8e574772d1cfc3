"""Offers as they come over the engine's socket, and what is remembered of machines."""

from pathlib import Path
from typing import Any

from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import QuotaSpent
from choline_tui.model.run import Outcome, RentalState
from choline_tui.services import Choline
from choline_tui.services.hosts import HostMemory, remember
from choline_tui.store import Store
from tests.cli.fakes import NOW, attempt, rental, run
from tests.services.engine_double import ENVIRON, EngineDouble, result


def item(message: dict[str, Any], **value: Any) -> bytes:
    import json

    base = {"rows": [], "gone": [], "known": 0, "seen_at": 1.0, "complete": False, "cached": False,
            "last": False, "disk_gb": 20.0, "type": "on-demand", "used_today": 1, "ration": 9,
            "trouble": None}  # fmt: skip
    return json.dumps({"id": message["id"], "item": {**base, **value}}).encode() + b"\n"


async def test_steps_come_with_their_trouble_as_an_error_of_ours(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def answer(message: dict[str, Any]) -> list[bytes]:
        asked.append(message["params"])
        spent = QuotaSpent("spent", until=5.0).to_wire()
        return [
            item(message, cached=True, rows=[{"id": 7}], known=1),
            item(message, last=True, trouble=spent),
            *result(message, None),
        ]

    async with (
        EngineDouble(Paths(tmp_path, ENVIRON), answer),
        Choline(tmp_path, ENVIRON, start_engine=False) as choline,
    ):
        steps = [step async for step in choline.offers_stream("num_gpus=2", disk=40, again=True)]
    assert steps[0].cached and steps[0].rows == [{"id": 7}] and steps[0].trouble is None
    assert isinstance(steps[1].trouble, QuotaSpent) and steps[1].trouble.details["until"] == 5.0
    assert asked[0]["query"] == "num_gpus=2" and asked[0]["disk"] == 40 and asked[0]["fresh"] == 0.0


def test_what_is_remembered_of_machines(tmp_path: Path) -> None:
    store = Store(tmp_path / "choline.db")
    outcomes = (Outcome.SUCCEEDED, Outcome.ERROR, Outcome.FAILED, None)
    for n, outcome in enumerate(outcomes):
        name = f"runab{n}"
        store.commit(
            run(name),
            attempt(name, outcome=outcome),
            rental(name, machine_id=5 if n < 3 else 6, intended=NOW - n, state=RentalState.GONE),
        )
    never = rental("runab3", 2, machine_id=9, contract=None)
    store.commit(never)
    store.refuse_machine(5, "GPU 1 does not answer", NOW - 60)
    store.refuse_machine(7, "long ago", NOW - 30 * 86400)
    found = remember(store, NOW)
    store.close()
    assert found == {
        5: HostMemory("GPU 1 does not answer", 3, 1, 1, 1, NOW),
        6: HostMemory("", 1, last=NOW - 3),
    }
    assert found[5].words == "refused 1 bad 1 ok 1 run" and found[6].words == "1 run"
