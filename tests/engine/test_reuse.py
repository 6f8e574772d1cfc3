"""``run --on``: which machine is meant, what is refused before anything is written, what the card says."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from choline_tui.cli.plan import card_lines
from choline_tui.kernel.errors import NotFound, ProjectError, UsageError
from choline_tui.model.request import PlanCard
from choline_tui.model.run import RentalState
from choline_tui.services.choline import RunView
from choline_tui.simulator.remotes.job_model import JobModel
from tests.engine.test_code import Home
from tests.engine.test_environment import lock
from tests.support.world import World, live


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(work: Any, /, *args: Any, **more: Any) -> Any:
        return work(*args, **more)

    monkeypatch.setattr("choline_tui.engine.api.asyncio.to_thread", at_once)


def kept(tmp_path: Path, story: Callable[[World, Home, str], Awaitable[None]]) -> None:
    """A story that begins with a run whose machine is kept."""

    async def whole(world: World) -> None:
        world.model = JobModel(duration_s=20.0)
        home = Home(world, tmp_path)
        run = (await home.start(keep_s=1800.0, max_price=1.0, image="pytorch/pytorch:latest"))["id"]
        await world.ended(run)
        await story(world, home, run)

    live(tmp_path, whole, boot=20.0, offers=30)


def on(home: Home, target: str, **fields: Any) -> dict[str, Any]:
    return home.asked(on=target, query="", **fields)


def view(world: World, run: str) -> RunView:
    assert world.store is not None
    store = world.store
    return RunView(store.run(run), store.attempts(run), store.rentals(run=run), store.rentals_had(run))


def test_a_run_goes_on_a_kept_machine_by_any_of_its_names(tmp_path: Path) -> None:
    async def story(world: World, home: Home, first: str) -> None:
        rental = view(world, first).rentals[0]
        searches = world.engine.ctx.book.used_today()  # type: ignore[union-attr]
        for name in (rental.id, str(rental.contract), rental.label, first, first[:4]):
            card = PlanCard.model_validate(await home("plan", request=on(home, name)))
            assert card.rental is not None and card.rental["id"] == rental.id and card.offer is None
        rows = dict(card_lines(card))
        assert f"rental {rental.id}" in rows["on"] and first in rows["on"] and "cap" not in rows
        assert rows["price"].startswith(f"${rental.price:.4f}/h"), rows
        second = (await home("start", request=on(home, first, keep_s=600.0)))["id"]
        assert world.run(second).plan.cap == rental.price and world.run(second).plan.image == (
            "pytorch/pytorch:latest"
        )
        await world.ended(second)
        assert world.engine.ctx.book.used_today() == searches, "nothing is searched"  # type: ignore[union-attr]
        old, new, now = view(world, first), view(world, second), world.clock.time()
        assert old.gone and not new.gone and old.had[0].id == new.rentals[0].id == rental.id
        assert new.rentals[0].state is RentalState.HELD and old.per_hour() == 0 < new.per_hour()
        assert abs(old.cost(now) + new.cost(now) - new.rentals[0].cost_until(now)) < 1e-9 < old.cost(now)
        # ... and its first run is over: out of the lists, if one likes, while the machine bills for the next
        await home("rm", runs=[first])
        assert (await home("destroy", target=rental.id))["run"] == second
        await world.quiet()

    kept(tmp_path, story)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"image": "other/image"}, "runs the image pytorch/pytorch:latest"),
    ({"disk": 500.0}, "GB of disk"),
    ({"ports": ["6006"]}, "port 6006 is not open"),
    ({"max_price": 0.0001}, "above the cap"),
    ({"gpu": "1x4090"}, "--gpu says what to rent"),
    ({"premium": 10.0}, "--premium says what to rent"),
    ({"type": "interruptible"}, "--type says what to rent"),
]


def test_what_the_machine_is_not_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    async def story(world: World, home: Home, first: str) -> None:
        assert world.store is not None
        for fields, words in REFUSED:
            with pytest.raises(UsageError, match=words) as told:
                await home("start", request=on(home, first, **fields))
            assert told.value.hint
        for nobody in ("99", "nosuch"):
            with pytest.raises(NotFound):
                await home("start", request=on(home, nobody))
        (home.project / "choline.toml").write_text('disk = 300\n[[send]]\npath = "gone"\n')
        with pytest.raises(ProjectError, match="there is no"):
            await home("start", request=on(home, first))
        (home.project / "gone").mkdir()
        with pytest.raises(UsageError, match="this run wants 300 GB"):
            await home("start", request=on(home, first))
        rental = view(world, first).rentals[0]
        assert rental.cuda is not None
        (home.project / "choline.toml").write_text("[environment]\n")
        (home.project / "pyproject.toml").write_text('[project]\nname = "net"\nversion = "0"\n')
        (home.project / "uv.lock").write_text(lock(f"{rental.cuda + 1:.0f}.0.96"))
        with pytest.raises(UsageError, match=rf"CUDA {rental.cuda:.1f}, and the packages need"):
            await home("start", request=on(home, first))
        (home.project / "uv.lock").write_text(lock("12.1.96"))
        await home("plan", request=on(home, first))
        (home.project / "choline.toml").write_text("")
        assert world.store.run_ids() == {first}
        assert rental.state is RentalState.HELD and not rental.past
        again = home.asked(on=first, like=first, same_code=True, command="", query="")
        second = (await home("start", request=again))["id"]
        assert world.run(second).plan.command == "true" and world.run(second).like == first
        with pytest.raises(UsageError, match=f"busy: run {second} is on it"):
            await home("start", request=on(home, first))
        await home.over(second)
        with pytest.raises(UsageError, match="gone"):
            await home("start", request=on(home, first))
        # what ran on a kept machine is repeated on a rented one, as any other
        third = (await home.start(like=second, same_code=True, command="", query=""))["id"]
        assert world.run(third).plan.on == ""
        await home.over(third)
        assert len(world.sim.contracts.history) == 2

    kept(tmp_path, story)
