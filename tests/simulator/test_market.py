"""The market in time: determinism, slices, drift, renting, speed."""

import time

import pytest

from choline_tui.simulator.catalog import MODELS, PLACES
from choline_tui.simulator.machines import driver_number, make_machine
from choline_tui.simulator.market import Market


class Hand:
    """A clock moved by hand."""

    def __init__(self, now: float = 1_795_000_000.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("the market itself never waits")


def rows(market):
    return {row["id"]: row for row in market.rows()}


def test_catalog_is_wide_and_plausible():
    assert len(MODELS) >= 40 and len({m.name for m in MODELS}) == len(MODELS)
    assert len(PLACES) >= 30
    for place in PLACES:
        name, country = place.text.rsplit(", ", 1)
        assert name and country == place.country and len(country) == 2
    for model in MODELS:
        assert 8000 <= model.memory_mib <= 200_000 and 0.01 < model.price < 10
    assert next(m for m in MODELS if m.name == "RTX 4090").memory_mib == 24564


def test_same_seed_same_market_whenever_it_is_looked_at():
    first, second = Hand(1e9), Hand(1.7e9)
    a, b = Market(first, seed=3, offers=300), Market(second, seed=3, offers=300)
    assert [(r["id"], r["base_price"], r["min_bid"]) for r in a.rows()] == [
        (r["id"], r["base_price"], r["min_bid"]) for r in b.rows()
    ]
    # one looks every hour, the other only at the end
    for _ in range(48):
        first.now += 3600
        list(a.rows())
    second.now += 48 * 3600
    assert [(r["id"], r["base_price"], r["min_bid"]) for r in a.rows()] == [
        (r["id"], r["base_price"], r["min_bid"]) for r in b.rows()
    ]


def test_other_seed_other_market():
    clock = Hand()
    assert not rows(Market(clock, seed=1, offers=100)).keys() & rows(Market(clock, seed=2, offers=100)).keys()


def test_number_of_offers_and_bounds():
    clock = Hand()
    assert len(rows(Market(clock, offers=500))) >= 500
    assert rows(Market(clock, offers=0)) == {}
    with pytest.raises(ValueError, match="offers"):
        Market(clock, offers=-1)


def test_machines_are_sliced_in_powers_of_two():
    for index in range(300):
        machine = make_machine(7, index)
        sizes = machine.sizes
        assert sizes[-1] == machine.num_gpus
        for size in sizes[:-1]:
            assert size in [machine.unit * 2**k for k in range(5)]
    many = [m for m in rows(Market(Hand(), offers=1000)).values() if m["gpu_frac"] < 1]
    assert many and all(len(r["gpu_ids"]) == r["num_gpus"] for r in many)


def test_time_moves_prices_and_offers_but_not_when_frozen():
    clock = Hand()
    market, frozen = Market(clock, offers=400), Market(clock, offers=400, moving=False)
    before, still = rows(market), rows(frozen)
    clock.now += 6 * 3600
    after = rows(market)
    both = before.keys() & after.keys()
    assert before.keys() - after.keys(), "some offers went"
    assert after.keys() - before.keys(), "some offers came"
    assert any(before[i]["base_price"] != after[i]["base_price"] for i in both)
    assert any(before[i]["min_bid"] != after[i]["min_bid"] for i in both)
    unchanged = rows(frozen)
    assert all(unchanged[i]["base_price"] == still[i]["base_price"] for i in still.keys() & unchanged.keys())
    assert len(still.keys() & unchanged.keys()) > 0.9 * len(still), "only terms that ended give new ids"


def test_market_stays_populated_for_months():
    clock = Hand()
    market = Market(clock, offers=400)
    for _ in range(6):
        clock.now += 30 * 86400
        assert 250 < len(rows(market)) < 600
        assert all(r["end_date"] > clock.now for r in market.rows())


def test_clock_set_back_gives_the_earlier_market_again():
    clock = Hand()
    market = Market(clock, offers=200)
    before = rows(market)
    clock.now += 86400
    assert rows(market) != before
    clock.now -= 86400
    assert rows(market) == before


def test_renting_a_slice_takes_every_overlapping_offer_and_giving_it_back_lists_it_anew():
    clock = Hand()
    market = Market(clock, offers=600, moving=False)
    row = next(r for r in market.rows() if r["num_gpus"] == 1 and r["gpu_frac"] < 0.6)
    found = market.find(row["id"])
    market.hold(found.machine, found.gpus, 1)
    assert market.find(row["id"]) is None and market.was_listed(row["id"])
    assert not market.free(found.machine, found.gpus)
    for other in market.rows():
        if other["machine_id"] == found.machine.id:
            assert not set(other["gpu_ids"]) & set(found.gpus)
    with pytest.raises(ValueError, match="held"):
        market.hold(found.machine, found.gpus, 2)
    market.release(found.machine, 1)
    again = [r for r in market.rows() if r["machine_id"] == found.machine.id and r["num_gpus"] == 1]
    assert again and again[0]["gpu_ids"] == list(found.gpus) and again[0]["id"] != row["id"]


def test_disk_in_use_is_not_offered():
    market = Market(Hand(), offers=50, moving=False)
    row = next(iter(market.rows()))
    machine = market.find(row["id"]).machine
    market.use_disk(machine, 50)
    less = next(r for r in market.rows() if r["machine_id"] == machine.id and r["gpu_ids"] == row["gpu_ids"])
    assert less["disk_space"] == pytest.approx(row["disk_space"] - 50 * row["gpu_frac"], abs=0.02)
    market.use_disk(machine, -50)
    assert market.find(row["id"]).row["disk_space"] == row["disk_space"]


def test_unknown_offers_are_told_from_gone_ones():
    market = Market(Hand(), offers=20)
    assert market.find(1) is None and not market.was_listed(1)


def test_driver_numbers():
    assert driver_number("535.86.05") == 535086005
    assert driver_number("550.90") == 550090000


def test_a_large_market_is_quick_to_look_at():
    clock = Hand()
    market = Market(clock, offers=5000)
    clock.now += 30
    list(market.rows())
    best = 1.0
    for _ in range(3):
        clock.now += 5
        start = time.perf_counter()
        assert len(list(market.rows())) > 4000
        best = min(best, time.perf_counter() - start)
    assert best < 0.1
