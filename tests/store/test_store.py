"""The store: all or nothing, append-only events, and every older schema opens."""

import sqlite3
from pathlib import Path

import pytest

from choline_tui.kernel.errors import NotFound, StoreError
from choline_tui.model.run import Attempt, Event, Plan, Rental, RentalState, Run, RunState
from choline_tui.store import Store
from choline_tui.store.schema import VERSION

SAMPLES = Path(__file__).parent.parent / "samples" / "store"


def a_run(run: str = "abcdef", name: str = "first", created: float = 100.0) -> Run:
    plan = Plan(project="/p q/ü", command="python train.py", cap=0.5, name=name)
    return Run(id=run, plan=plan, created=created, updated=created)


def a_rental(run: str = "abcdef", n: int = 1) -> Rental:
    return Rental(
        id=f"{run}-{n}", run=run, attempt=n, label=f"choline-home1-{run}-{n}", offer_id=5, offer_price=0.4,
        disk_gb=20, cap=0.5, intended=101.0,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path):
    made = Store(tmp_path / "choline.db")
    yield made
    made.close()


def test_what_is_committed_is_read_back_by_another_reader(store: Store) -> None:
    store.commit(a_run(), Attempt(run="abcdef", n=1, rental="abcdef-1", created=101), a_rental(),
                 event=Event(at=100, kind="run", text="made", run="abcdef"))  # fmt: skip
    reader = Store(store.path, readonly=True)
    assert reader.run("abcdef") == a_run()
    assert reader.attempts("abcdef")[0].job == "abcdef-1"
    assert reader.rentals(run="abcdef", live=True) == [a_rental()]
    assert [e.text for e in reader.events(run="abcdef")] == ["made"]
    assert reader.busy_runs() == ["abcdef"]
    with pytest.raises(StoreError):
        reader.commit(a_run("other1"))
    reader.close()


def test_a_commit_is_all_or_nothing(store: Store) -> None:
    store.commit(a_run(), a_rental())
    again = a_rental().but(id="abcdef-2")  # the same label twice: refused
    with pytest.raises(StoreError):
        store.commit(a_run().but(state=RunState.ENDED), again, event=Event(at=1, kind="run", text="x"))
    assert store.run("abcdef").state is RunState.WAITING
    assert store.events() == []


def test_a_reader_sees_every_later_change_of_a_record(store: Store) -> None:
    reader = Store(store.path, readonly=True)
    store.commit(a_run(), a_rental())
    for state in (RunState.ACQUIRING, RunState.RUNNING):
        store.commit(a_run().but(state=state), a_rental().but(trouble=str(state)))
        for each in (store, reader):
            assert each.run("abcdef").state is state and each.runs()[0].state is state
            assert each.rental("abcdef-1").trouble == each.rentals()[0].trouble == str(state)
    reader.close()


def test_the_store_waits_for_the_disk_unless_told_otherwise(tmp_path: Path) -> None:
    for more, level in (({}, 2), ({"durable": False}, 0)):
        made = Store(tmp_path / "choline.db", **more)
        assert made._db.execute("PRAGMA synchronous").fetchone()[0] == level
        made.close()


def test_the_event_log_is_append_only(store: Store) -> None:
    store.commit(event=Event(at=1, kind="note", text="x"))
    for change in ("UPDATE events SET text = 'y'", "DELETE FROM events"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            store._db.execute(change)


def test_money_is_written_with_full_synchronisation(store: Store) -> None:
    assert store._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert store._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_runs_are_found_by_id_beginning_or_name(store: Store) -> None:
    store.commit(a_run("abcdef", "net"), a_run("abxxxx", "net", created=200.0), a_run("zz1234", "other"))
    assert store.find_run("abcdef").id == "abcdef"
    assert store.find_run("zz").id == "zz1234"
    assert store.find_run("net").id == "abxxxx"
    for text in ("ab", "nothing", "", "%"):
        with pytest.raises(NotFound):
            store.find_run(text)


def test_a_rental_that_is_gone_makes_nobody_busy(store: Store) -> None:
    store.commit(a_run().but(state=RunState.ENDED), a_rental().but(state=RentalState.RELEASING))
    assert store.busy_runs() == ["abcdef"]
    store.commit(a_rental().but(state=RentalState.GONE))
    assert store.busy_runs() == []


def test_searches_are_counted_by_day(store: Store) -> None:
    assert store.searches("2026-11-22") == 0
    assert [store.count_search("2026-11-22") for _ in range(3)] == [1, 2, 3]
    assert store.count_search("2026-11-23") == 1


def test_offers_are_cached_and_bounded(store: Store) -> None:
    for n in range(60):
        store.keep_offers(f"q{n}", float(n), True, b"[]", keep=50)
    assert store.offers("q0") is None
    assert store.offers("q59") == (59.0, True, b"[]")


def test_meta_is_set_once(store: Store) -> None:
    store.set_meta("home", "one")
    store.set_meta("home", "two")
    assert store.meta("home") == "one"


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "choline.db")
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="newer choline"):
        Store(tmp_path / "choline.db")


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "choline.db").write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(StoreError, match="cannot open the store"):
        Store(tmp_path / "choline.db")


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("v*.sql")), ids=lambda p: p.stem)
def test_every_older_store_opens(sample: Path, tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "choline.db")
    db.executescript(sample.read_text())
    db.close()
    store = Store(tmp_path / "choline.db")
    assert store.check() == []
    run = store.find_run("sample")
    assert (
        run.plan.command and store.attempts(run.id) and store.rentals(run=run.id) and store.events(run=run.id)
    )
    store.close()


def test_there_is_a_sample_of_every_version() -> None:
    assert {p.stem for p in SAMPLES.glob("v*.sql")} == {f"v{n}" for n in range(1, VERSION + 1)}
