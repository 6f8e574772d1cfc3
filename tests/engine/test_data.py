"""Data in the engine: what is said before renting, and what happens when it will not arrive."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from choline_tui.engine.estimate import Amount, amount_of
from choline_tui.engine.items import items_of, with_values
from choline_tui.kernel.errors import NotFound, ProjectError, TransferFailed, UsageError
from choline_tui.kernel.handover import Handover
from choline_tui.kernel.look import Wanted
from choline_tui.kernel.session import Item
from choline_tui.model.moving import TYPICAL_UP, moving
from choline_tui.model.offer import Offer
from choline_tui.model.run import Outcome, Plan, Run, SendItem
from choline_tui.simulator.remotes.modelled_session import ModelledSession
from tests.support.world import World, live


def plan(*send: SendItem, **more: Any) -> Plan:
    return Plan(project="/p", command="x", cap=1.0, send=list(send), **more)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TransferFailed("/set changed while it was sent.", changed=True), "changed while it was sent"),
        (TransferFailed("The data needs 90.0 GB more", need=90_000_000_000, free=1), "needs 90.0 GB"),
        (NotFound("there is no s3://bucket/gone", hopeless=True), "there is no s3://bucket/gone"),
    ],
)
def test_what_no_machine_could_mend_ends_the_run_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    asked: list[int] = []

    async def fails(self: ModelledSession, *args: Any, **more: Any) -> Any:
        asked.append(1)
        raise error

    async def story(world: World) -> None:
        monkeypatch.setattr(ModelledSession, "send", fails)
        run = world.start()
        ended = await world.ended(run, within=7200)
        assert (ended.outcome, words in ended.reason) == (Outcome.ERROR, True), world.story()
        await world.quiet()
        assert len(world.sim.contracts.history) == 1, "no other machine is rented for it"
        assert len(asked) == (3 if "changed" in words else 1)

    live(tmp_path, story)


def test_a_full_machine_is_no_reason_to_give_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ModelledSession.send
    full = TransferFailed("The data needs 5.0 GB more", need=5_000_000_000, free=1)

    async def once(self: ModelledSession, *args: Any, **more: Any) -> Any:
        if len(world_of[0].sim.contracts.history) == 1:
            raise full
        return await honest(self, *args, **more)

    world_of: list[World] = []

    async def story(world: World) -> None:
        world_of.append(world)
        monkeypatch.setattr(ModelledSession, "send", once)
        run = world.start()
        assert (await world.ended(run, within=7200)).outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()

    live(tmp_path, story)


def test_what_is_sent_and_what_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a").write_bytes(b"aa")
    run = Run(
        id="r",
        created=0,
        updated=0,
        plan=plan(
            SendItem(path=str(tmp_path / "set"), into="s"),
            SendItem(path="s3://bucket/x", credentials=["AWS_ACCESS_KEY_ID"]),
            env={"AWS_ENDPOINT_URL": "https://minio.example"},
        ),
    )
    local, fetched = items_of(run, tmp_path / "run", tmp_path / "hashes.db")
    assert (local.into, local.url, [e.path for e in local.content or ()]) == ("s", "", [b"a"])
    assert (fetched.url, fetched.endpoint) == ("s3://bucket/x", "https://minio.example")
    given = Handover({"AWS_ACCESS_KEY_ID": "id", "WANDB_API_KEY": "no business of a bucket's"})
    assert with_values(fetched, given).values.values == {"AWS_ACCESS_KEY_ID": "id"}
    assert with_values(local, given) is local
    (tmp_path / "set/a").unlink()
    (tmp_path / "set").rmdir()
    with pytest.raises(UsageError, match="there is no") as caught:
        items_of(run, tmp_path / "run")
    assert caught.value.details["hopeless"] is True


async def test_how_much_it_is_before_anything_is_rented(tmp_path: Path) -> None:
    (tmp_path / "set/deep").mkdir(parents=True)
    (tmp_path / "set/deep/a").write_bytes(b"x" * 1000)

    def ask(wanted: Wanted) -> int | None:
        if "gone" in wanted.source.url:
            raise NotFound("there is no such thing")
        if "private" in wanted.source.url:
            assert wanted.env == {"KEY": "v"}
            raise UsageError("it refuses (403)")
        return None if "quiet" in wanted.source.url else 40_000_000_000

    wanted = plan(
        SendItem(path=str(tmp_path / "set")),
        SendItem(path="https://h/big"),
        SendItem(path="https://h/quiet?sig=secret"),
        SendItem(path="s3://private/x", credentials=["KEY"]),
    )
    amount = await amount_of(wanted, {"KEY": "v", "OTHER": "w"}, ask=ask)
    assert (amount.local, amount.fetched) == (1000, 40_000_000_000)
    assert amount.unknown == ["https://h/quiet?...", "s3://private/x"]
    assert amount.warnings == ["as seen from here, it refuses (403)"]
    with pytest.raises(UsageError, match=r"disk of 20 GB is too small for 40\.0 GB") as caught:
        amount.check_disk(wanted, 0)
    assert "--disk 59" in caught.value.hint
    amount.check_disk(wanted.but(disk_gb=50), 0)
    with pytest.raises(NotFound, match="no such thing"):
        await amount_of(plan(SendItem(path="https://h/gone")), {}, ask=ask)
    with pytest.raises(ProjectError, match="there is no /nowhere"):
        await amount_of(plan(SendItem(path="/nowhere")), {})
    assert await amount_of(plan(SendItem(path="http://127.0.0.1:1/x")), {}) == Amount(
        unknown=["http://127.0.0.1:1/x"]
    )


def test_what_it_takes() -> None:
    offer = Offer.model_validate({"id": 1, "inet_down": 800.0, "inet_down_cost": 0.01})
    took = moving(offer, int(60 * TYPICAL_UP), 100_000_000_000)
    assert (took.send_s, took.fetch_s) == (60.0, 1000.0)
    assert took.traffic == pytest.approx(1.00375)
    silent = moving(Offer.model_validate({"id": 1}), 1_000_000, 1)
    assert silent.fetch_s is None and silent.traffic is None


async def test_reading_ends_when_the_run_is_stopped(tmp_path: Path) -> None:
    """As ``engine.main`` does: what is left behind must not read on for hours."""
    import threading

    (tmp_path / "big").write_bytes(b"\0" * (8 << 20))
    run = Run(id="r", created=0, updated=0, plan=plan(SendItem(path=str(tmp_path / "big"))))
    stop = threading.Event()
    stop.set()
    with pytest.raises(UsageError, match="stopped"):
        await asyncio.to_thread(items_of, run, tmp_path, None, stop=stop)
    assert isinstance(items_of(run, tmp_path)[0], Item)
