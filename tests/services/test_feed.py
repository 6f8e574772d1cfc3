"""The live picture: what changed in the store is seen, only that is read again, and the engine's state."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import BadKey, MarketDown
from choline_tui.model.run import Event, Outcome, RentalState, RunState
from choline_tui.services import feed as feed_module
from choline_tui.services.choline import Choline, Closed, money_of
from choline_tui.services.feed import Feed, MarketState, Snapshot, day_start
from choline_tui.store import Store
from tests.cli.fakes import NOW, attempt, rental, run
from tests.services.engine_double import ENVIRON, EngineDouble, result


class Clock:
    """Its time stands; a sleep ends at once."""

    now = NOW
    ticks = 0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        # the engine's answers come over a real socket
        await asyncio.sleep(0.002)
        self.ticks += 1


class Home:
    def __init__(self, root: Path) -> None:
        self.clock = Clock()
        self.choline = Choline(home=root, environ=ENVIRON, start_engine=False)
        self.feed = Feed(self.choline, self.clock)
        self.store = Store(Paths(root).ensure().store)
        self.pictures = self.feed.watch()

    async def until(self, condition: Any) -> Snapshot:
        async with asyncio.timeout(30):
            async for picture in self.pictures:
                if condition(picture):
                    return picture
        raise AssertionError("the feed ended")


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    made = Home(tmp_path / "home")
    yield made
    await made.pictures.aclose()  # type: ignore[attr-defined]
    await made.feed.close()
    await made.choline.close()
    made.store.close()


def told(run_id: str, text: str = "something") -> Event:
    return Event(at=NOW, kind="run", run=run_id, text=text)


async def test_a_home_without_a_store_has_nothing(tmp_path: Path) -> None:
    feed = Feed(Choline(home=tmp_path / "none", environ=ENVIRON, start_engine=False), Clock())
    picture = await anext(feed.watch())
    assert picture.runs == () and picture.money.rentals == 0 and picture.trouble is None
    await feed.close()


async def test_what_others_write_is_seen(home: Home) -> None:
    assert (await anext(home.pictures)).runs == ()
    home.store.commit(run("r1"), attempt("r1"), rental("r1"), event=told("r1"))
    picture = await home.until(lambda p: p.runs)
    (view,) = picture.runs
    assert view.run.id == "r1" and view.rental is not None and picture.money.per_hour == pytest.approx(0.72)
    home.store.commit(view.run.but(phase="pulling image 3/9"))
    await home.until(lambda p: p.runs[0].run.phase == "pulling image 3/9")
    ended = view.run.but(state=RunState.ENDED, outcome=Outcome.SUCCEEDED)
    home.store.commit(ended, view.rentals[0].but(state=RentalState.RELEASING), event=told("r1"))
    picture = await home.until(lambda p: not p.runs[0].run.live)
    assert picture.money.releasing == 1
    home.store.commit(view.rentals[0].but(state=RentalState.GONE, gone=NOW), event=told("r1"))
    picture = await home.until(lambda p: p.money.rentals == 0)
    # one that has ended long ago is changed with an event only (a note, results brought home)
    home.store.commit(ended.but(results_complete=True), event=told("r1", "results are home"))
    await home.until(lambda p: p.runs[0].run.results_complete)
    home.store._db.execute("DELETE FROM rentals")
    home.store._db.execute("DELETE FROM attempts")
    home.store._db.execute("DELETE FROM runs")
    await home.until(lambda p: p.runs == ())


async def test_what_was_put_away_and_bills_again_is_in_sight(home: Home) -> None:
    """A contract that was thought gone was found again after its run had been put away: no list had it."""
    away = run("r1").but(state=RunState.ENDED, outcome=Outcome.SUCCEEDED, archived=NOW)
    gone = rental("r1").but(state=RentalState.GONE, gone=NOW)
    home.store.commit(away, attempt("r1"), gone, event=told("r1"))
    assert (await anext(home.pictures)).runs == () and home.choline.runs() == []
    home.store.commit(gone.but(state=RentalState.RELEASING, gone=None), event=told("r1"))
    picture = await home.until(lambda p: p.money.rentals == 1)
    assert [v.run.id for v in picture.runs] == [v.run.id for v in home.choline.runs()] == ["r1"]
    assert [v.run.id for v in home.choline.runs(states={"billing"})] == ["r1"]
    assert home.choline.runs(states={"live"}) == []
    home.store.commit(gone, event=told("r1"))
    assert (await home.until(lambda p: p.money.rentals == 0)).runs == ()


async def test_only_what_changed_is_decoded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(30):
        done = n >= 3
        state = {"state": RunState.ENDED, "outcome": Outcome.FAILED} if done else {}
        home.store.commit(
            run(f"r{n:02}", created=NOW - n, **state),
            rental(f"r{n:02}", state=RentalState.GONE if done else RentalState.UP),
            event=told(f"r{n:02}"),
        )
    assert len((await home.until(lambda p: p.runs)).runs) == 30
    decoded: list[str] = []
    decode = Feed._decode

    def counting(self: Feed, run_id: str, name: str, doc: str, kind: Any) -> bool:
        new = decode(self, run_id, name, doc, kind)
        decoded.extend([f"{run_id}/{name}"] * new)
        return new

    monkeypatch.setattr(Feed, "_decode", counting)
    home.store.commit(run("r01", created=NOW - 1, phase="x"))
    before = home.feed._views["r02"]
    picture = await home.until(lambda p: p.runs[1].run.phase == "x")
    assert decoded == ["r01/run"]
    assert picture.runs[2] is before, "an unchanged run is the same object"


async def test_a_damaged_store_is_told_and_forgiven(home: Home) -> None:
    home.store.commit(run("r1"), event=told("r1"))
    await home.until(lambda p: p.runs)
    home.store._db.execute("ALTER TABLE runs RENAME TO gone_runs")
    picture = await home.until(lambda p: p.trouble is not None)
    assert "cannot be read" in str(picture.trouble) and picture.runs
    home.store._db.execute("ALTER TABLE gone_runs RENAME TO runs")
    picture = await home.until(lambda p: p.trouble is None)
    assert picture.runs


async def test_the_engine_is_up_then_gone_then_back(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "KNOCK", 0.0)
    assert (await home.until(lambda p: p.engine.state == "down")).credit is None

    def answer(message: dict[str, Any]) -> list[bytes]:
        return result(message, {"credit": 12.5})

    paths = home.choline.paths
    async with EngineDouble(paths, answer, searches_today=7, ration=1000):
        picture = await home.until(lambda p: p.engine.state == "up" and p.credit is not None)
        assert picture.credit == 12.5 and picture.market.state == "ok" and picture.market.simulator
        assert (picture.engine.searches, picture.engine.ration) == (7, 1000)
    await home.until(lambda p: p.engine.state == "down")
    async with EngineDouble(paths, answer):
        await home.until(lambda p: p.engine.state == "up")


@pytest.mark.parametrize(
    ("error", "state"), [(BadKey("no key"), "no-key"), (MarketDown("no answer"), "offline")]
)
async def test_why_the_credit_is_not_known(home: Home, error: Any, state: str) -> None:
    import json

    def answer(message: dict[str, Any]) -> list[bytes]:
        return [json.dumps({"id": message["id"], "error": error.to_wire()}).encode() + b"\n"]

    async with EngineDouble(home.choline.paths, answer):
        picture = await home.until(lambda p: p.market.state == state)
        assert picture.credit is None and type(picture.market.error) is type(error)
        assert picture.engine.state == "up"


async def test_money_moves_by_itself_while_something_bills(home: Home) -> None:
    home.store.commit(run("r1"), rental("r1"), event=told("r1"))
    first = await home.until(lambda p: p.runs)
    home.clock.now += 3600
    later = await home.until(lambda p: p.at > first.at)
    assert later.money.spent - first.money.spent == pytest.approx(0.72)


def test_today_is_what_was_spent_since_midnight() -> None:
    midnight = day_start(NOW)
    assert 0 <= NOW - midnight < 86400
    whole = rental(billed_from=midnight - 7200, price=1.0)
    assert whole.cost_since(midnight, midnight + 3600) == pytest.approx(1.0)
    booked = whole.but(cost=3.0, cost_at=midnight + 3600)
    assert booked.cost_since(midnight, midnight + 7200) == pytest.approx(1.0 + 1.0)
    over = whole.but(gone=midnight - 60)
    assert over.cost_since(midnight, midnight + 7200) == 0.0
    fresh = rental(billed_from=midnight + 60, price=1.0)
    assert fresh.cost_since(midnight, midnight + 3660) == pytest.approx(fresh.cost_until(midnight + 3660))
    assert rental(billed_from=None).cost_since(midnight, NOW) == 0.0


def test_what_gone_rentals_cost_is_worked_out_once_and_rightly() -> None:
    hour, day = 3600.0, 86400.0
    gone = rental(id="a", state=RentalState.GONE, price=0.72, billed_from=0.0, gone=2 * hour)
    up = rental(id="b", price=0.36, billed_from=hour)
    closed: dict[str, Closed] = {}
    for now, midnight in ((3 * hour, 0.0), (4 * hour, 0.0), (day + hour, day), (day + 2 * hour, day)):
        assert money_of([gone, up], now, midnight, closed) == money_of([gone, up], now, midnight)
    assert closed["a"].today == 0.0 and closed["a"].spent == pytest.approx(1.44)
    again = gone.but(gone=4 * hour)  # a contract that came back, and went
    assert money_of([again], day, 0.0, closed).spent == pytest.approx(2.88)


@pytest.mark.parametrize(
    ("url", "rehearsal"),
    [
        ("http://127.0.0.1:8070", True),
        ("http://localhost", True),
        ("http://[::1]:8070/x", True),
        ("https://console.vast.ai", False),
        ("https://127.evil.example", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_a_market_on_this_computer_is_a_rehearsal(url: str, rehearsal: bool) -> None:
    assert MarketState(url=url).simulator is rehearsal
