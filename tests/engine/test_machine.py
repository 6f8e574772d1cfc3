"""The first-minute check, and what follows from it."""

from pathlib import Path
from typing import Any

import pytest

from choline_tui.engine.machine import check_machine
from choline_tui.kernel.errors import MachineRefused
from choline_tui.kernel.protocol import GpuFact, Probe
from choline_tui.model.choose import gpu_matches
from choline_tui.model.run import Outcome, Plan, Rental
from choline_tui.simulator.remotes.modelled_session import ModelledSession
from tests.support.world import World, live

PLAN = Plan(project="/p", command="true", cap=1.0, disk_gb=40.0)
RENTAL = Rental(
    id="abcd-1", run="abcd", attempt=1, label="choline-home-abcd-1", offer_id=1, offer_price=0.5, disk_gb=40,
    cap=1.0, intended=0.0, gpu_name="RTX 4090", num_gpus=2,
)  # fmt: skip
CARD = GpuFact("NVIDIA GeForce RTX 4090", 24564, "550.90")
GOOD = Probe(home="/root", python="3.10.1", gpus=[CARD, CARD], disk_free_bytes=40_000_000_000, market=True)


def test_a_machine_as_offered_passes() -> None:
    check_machine(GOOD, RENTAL, PLAN)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"gpus": [CARD]}, "1 GPUs there, 2 rented"),
        ({"gpus": [CARD, GpuFact("NVIDIA GeForce RTX 3090")]}, "found NVIDIA GeForce RTX 3090"),
        ({"gpus": [], "gpu_error": "NVIDIA-SMI has failed"}, "nvidia-smi does not work"),
        ({"disk_free_bytes": 3_000_000_000}, "3.0 GB of disk free, 40 GB rented"),
        ({"market": False}, "could not end itself"),
    ],
)
def test_a_machine_not_as_offered_is_refused_in_words(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(MachineRefused, match=words):
        check_machine(Probe(**{**vars(GOOD), **wrong}), RENTAL, PLAN)


@pytest.mark.parametrize(
    ("offered", "reported"),
    [
        ("RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("RTX 4070S Ti", "NVIDIA GeForce RTX 4070 Ti SUPER"),
        ("H100 SXM", "NVIDIA H100 80GB HBM3"),
        ("H100 NVL", "NVIDIA H100 NVL"),
        ("H200", "NVIDIA H200"),
        ("A100 SXM4", "NVIDIA A100-SXM4-80GB"),
        ("A100 PCIE", "NVIDIA A100 80GB PCIe"),
        ("RTX 6000Ada", "NVIDIA RTX 6000 Ada Generation"),
        ("RTX A6000", "NVIDIA RTX A6000"),
        ("Tesla V100", "Tesla V100-SXM2-16GB"),
        ("L40S", "NVIDIA L40S"),
        ("GH200 SXM", "NVIDIA GH200 480GB"),
        ("Q RTX 8000", "Quadro RTX 8000"),
        ("GTX 1080 Ti", "NVIDIA GeForce GTX 1080 Ti"),
        ("A40", "NVIDIA A40"),
        ("RTX PRO 6000 WS", "NVIDIA RTX PRO 6000 Blackwell Workstation Edition"),
    ],
)
def test_the_markets_names_and_the_drivers_are_the_same_card(offered: str, reported: str) -> None:
    assert gpu_matches(offered, reported)


@pytest.mark.parametrize(
    ("offered", "reported"),
    [
        ("RTX 4090", "NVIDIA GeForce RTX 3090"),
        ("H100 SXM", "NVIDIA A100-SXM4-80GB"),
        ("RTX A6000", "NVIDIA RTX A4000"),
        ("H200", "NVIDIA H100 80GB HBM3"),
    ],
)
def test_another_card_is_told_apart(offered: str, reported: str) -> None:
    assert not gpu_matches(offered, reported)


def test_a_refused_machine_is_given_up_remembered_and_not_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ModelledSession.probe

    async def story(world: World) -> None:
        async def probe(self: ModelledSession) -> Probe:
            told = await honest(self)
            if len(world.sim.contracts.history) == 1:
                told.gpus = []
                told.gpu_error = "No devices were found"
            return told

        monkeypatch.setattr(ModelledSession, "probe", probe)
        run = world.start()
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        world.check(run)
        assert world.store is not None
        first, second = world.store.rentals(run=run)
        assert first.failed and "nvidia-smi does not work" in first.release_reason
        assert first.machine_id in world.store.refused_machines(0.0)
        assert second.machine_id != first.machine_id
        monkeypatch.undo()
        # another run does not take it either, though it is the cheapest
        other = world.start()
        await world.ended(other)
        assert world.store.rentals(run=other)[0].machine_id == second.machine_id

    live(tmp_path, story)


def test_a_machine_without_a_running_guard_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ModelledSession.probe

    async def story(world: World) -> None:
        async def probe(self: ModelledSession) -> Probe:
            told = await honest(self)
            told.guard = len(world.sim.contracts.history) > 1
            return told

        monkeypatch.setattr(ModelledSession, "probe", probe)
        run = world.start()
        assert (await world.ended(run)).outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        assert world.store is not None
        first, second = world.store.rentals(run=run)
        assert first.failed and "guard" in first.release_reason
        assert [e.contract for e in world.backend.executions] == [second.contract]

    live(tmp_path, story)
