"""A run's secrets over its life: handed to each attempt, kept nowhere, waited for when nobody has them."""

import re
from pathlib import Path

import pytest

from choline_tui.engine.secrets import RunSecrets, give, hidden, named, settled_plan
from choline_tui.kernel.errors import UsageError
from choline_tui.kernel.handover import Handover, Kept
from choline_tui.kernel.session import RemoteSession
from choline_tui.model.request import RunRequest
from choline_tui.model.run import Outcome, Plan, RunState
from choline_tui.secrets import Found, Hidden
from choline_tui.simulator.remotes.job_model import JobModel
from tests.proof.watched import WatchedSession
from tests.support.world import World, live

TOKEN = "hf_abcdefghijklmnopqrstuvwxyz012345"
SHELL = {"HF_TOKEN": "the environment"}


def watch(world: World) -> list[tuple[str, dict[str, str]]]:
    """What was handed to machines: (job, values)."""
    given: list[tuple[str, dict[str, str]]] = []

    class Watched(WatchedSession):
        async def secrets(self, job: str, values: Handover) -> Kept:
            given.append((job, dict(values.values)))
            kept: Kept = await self._inner.secrets(job, values)
            return kept

    async def between(name: str, done: bool, contract: int) -> None:
        return None

    def wrap(contract: int, session: RemoteSession) -> RemoteSession:
        return Watched(session, contract, between)

    world.wrap_session = wrap
    return given


def nowhere(root: Path) -> None:
    for path in root.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path


def test_a_machine_gets_them_and_nothing_else_does(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        # a machine that does not mask what the command prints
        world.model = JobModel(
            duration_s=60, log_lines=[f"token {TOKEN}", f"twice {TOKEN[:9]}", TOKEN[9:], "end"]
        )
        world.secrets = {"HF_TOKEN": TOKEN}
        given = watch(world)
        run = world.start(secrets={"HF_TOKEN": ".env"})
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED, world.story()
        assert given == [(f"{run}-1", {"HF_TOKEN": TOKEN})]
        await world.quiet()
        world.check(run)
        log = (tmp_path / "runs" / run / "attempt-1" / "run.log").read_text()
        assert log.splitlines()[0] == "token " + "*" * len(TOKEN) and log.splitlines()[-1] == "end"
        assert "secrets handed over: HF_TOKEN (in its memory)" in world.story()
        assert TOKEN not in world.story()

    live(tmp_path, story)
    nowhere(tmp_path)


def test_another_engine_waits_for_what_was_in_a_shell_and_rents_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        given = watch(world)
        run = world.start(secrets=SHELL)
        await world.until(lambda: "HF_TOKEN" in world.run(run).reason, within=600)
        assert world.run(run).state is RunState.WAITING
        assert f"choline secrets give {run}" in world.run(run).reason
        await world.reach(world.clock.monotonic() + 86400)  # longer than it would look for an offer
        assert not world.sim.contracts.history and world.run(run).state is RunState.WAITING
        assert world.story().count("waits for a value") == 1, world.story()
        assert world.engine is not None
        assert give(world.engine.ctx, world.run(run), hidden({"HF_TOKEN": TOKEN, "OTHER": "x"})) == [
            "HF_TOKEN"
        ]
        world.engine.poke(run)
        ended = await world.ended(run, within=3600)
        assert ended.outcome is Outcome.SUCCEEDED, world.story()
        assert given == [(f"{run}-1", {"HF_TOKEN": TOKEN})]
        with pytest.raises(UsageError, match="has ended"):
            give(world.engine.ctx, world.run(run), hidden({"HF_TOKEN": TOKEN}))
        await world.quiet()
        world.check(run)

    live(tmp_path, story)
    nowhere(tmp_path)


@pytest.mark.parametrize("point", ["after rent", "before submit", "after submit"])
def test_a_new_engine_does_not_let_a_machine_bill_for_a_missing_value(tmp_path: Path, point: str) -> None:
    async def story(world: World) -> None:
        world.model = JobModel(duration_s=4000)
        watch(world)
        run = world.start(secrets=SHELL)
        assert world.engine is not None
        give(world.engine.ctx, world.run(run), hidden({"HF_TOKEN": TOKEN}))
        world.crash_at = point
        await world.until(lambda: world.crash_at is None, within=3600)
        if point == "after submit":
            # the machine has what its job needs: the run is adopted as any other
            ended = await world.ended(run)
            assert ended.outcome is Outcome.SUCCEEDED and "waits for a value" not in world.story()
        else:
            await world.until(lambda: "the machine bills" in world.run(run).reason, within=1200)
            billed = world.clock.time()
            await world.until(lambda: not world.sim.contracts.alive(), within=1800)
            assert world.clock.time() - billed < 900
            await world.until(lambda: world.run(run).state is RunState.WAITING, within=600)
            await world.reach(world.clock.monotonic() + 3600)
            assert len(world.sim.contracts.history) == 1
            assert world.store is not None and world.engine is not None
            assert not any(r.failed for r in world.store.rentals(run=run))  # the machine did nothing wrong
            give(world.engine.ctx, world.run(run), hidden({"HF_TOKEN": TOKEN}))
            world.engine.poke(run)
            ended = await world.ended(run)
            assert ended.outcome is Outcome.SUCCEEDED, world.story()
        await world.quiet()
        world.check(run)

    live(tmp_path, story)
    nowhere(tmp_path)


def test_given_in_time_the_machine_is_used(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        watch(world)
        run = world.start(secrets=SHELL)
        assert world.engine is not None
        give(world.engine.ctx, world.run(run), hidden({"HF_TOKEN": TOKEN}))
        world.crash_at = "after rent"
        await world.until(lambda: "the machine bills" in world.run(run).reason, within=1200)
        give(world.engine.ctx, world.run(run), hidden({"HF_TOKEN": TOKEN}))
        world.engine.poke(run)
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED and len(world.sim.contracts.history) == 1, world.story()
        await world.quiet()

    live(tmp_path, story)


def test_a_second_attempt_gets_what_the_file_holds_by_then(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.model = JobModel(duration_s=3000)
        world.secrets = {"HF_TOKEN": TOKEN}
        given = watch(world)
        run = world.start(secrets={"HF_TOKEN": ".env"})
        await world.until(lambda: world.run(run).state is RunState.RUNNING)
        world.secrets = {"HF_TOKEN": "a newer value"}
        contract = next(iter(world.sim.contracts.alive()))
        await world.backend.stop(contract.id)
        await world.backend.start(contract.id)
        await world.until(lambda: len(given) > 1, within=3600)
        ended = await world.ended(run)
        assert ended.outcome is Outcome.SUCCEEDED, world.story()
        assert [values["HF_TOKEN"] for _, values in given] == [TOKEN, "a newer value"]
        await world.quiet()

    live(tmp_path, story)


def request(**fields: object) -> RunRequest:
    return RunRequest(project="/p", **fields)


def test_names_of_a_plan() -> None:
    asked = request(secrets=["C", "A"])
    assert list(named(asked, {"SEED": "1"}, ["A", "B"], ["D", "B"])) == ["A", "B", "D", "C"]
    with pytest.raises(UsageError, match="a variable and a secret"):
        named(asked, {"A": "1"}, [])
    for name, why in (("CHOLINE_RUN", "set by choline"), ("VAST_API_KEY", "never goes to a machine")):
        with pytest.raises(UsageError, match=why):
            named(request(secrets=[name]), {}, [])
    for wrong in (request(env={"X": TOKEN}), request(command=f"HF_TOKEN={TOKEN} python train.py")):
        with pytest.raises(UsageError) as caught:
            named(wrong, wrong.env, [])
        assert TOKEN not in caught.value.message + caught.value.hint


async def test_a_start_settles_where_each_is_or_is_refused() -> None:
    async def look(names: list[str], project: Path) -> Found:
        return Found(missing=names, looked={name: [".env"] for name in names})

    plan = Plan(project="/p", command="x", cap=1.0, secrets={"A": "", "B": ""})
    given = hidden({"A": "1", "B": "2", "C": "3"})
    settled = await settled_plan(RunSecrets(look), plan, given, {"A": ".env", "C": ".env"})
    assert settled.secrets == {"A": ".env", "B": "the environment"}
    with pytest.raises(UsageError, match=re.escape("B (looked in .env)")):
        await settled_plan(RunSecrets(look), plan, {"A": Hidden("1")}, {"A": ".env"})
    with pytest.raises(UsageError):
        hidden({"A": ""})
