"""Search: operators, coercion, virtual fields, order, totals, refusals."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choline_tui.simulator.market import Market
from choline_tui.simulator.search import Search, time_text
from choline_tui.simulator.wire import Refusal

NOW = 1_795_000_000.0


class Still:
    def time(self):
        return NOW

    def monotonic(self):
        return NOW


MARKET = Market(Still(), seed=7, offers=400, moving=False)
ROWS = list(MARKET.rows())
ALL = {"verified": {"in": [True, False]}, "order": [["dph_total", "asc"]]}


def ids(offers):
    return {offer["id"] for offer in offers}


def search(**body):
    return Search({**ALL, **body}, NOW).run(ROWS, Random(1))


def everything(**body):
    """All offers found, past the cap: in slices of machine ids."""
    wanted = Search({**ALL, **body}, NOW)
    wanted.limit = 10**6
    return wanted.run(ROWS, Random(1))


def refused(**body):
    with pytest.raises(Refusal) as caught:
        Search(body, NOW)
    assert caught.value.response.status == 400
    answer = caught.value.response.json()
    assert answer["error"] == "invalid_request"
    return answer["msg"]


PYTHON = {
    "eq": lambda a, b: a == b,
    "neq": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}
NUMERIC = ["num_gpus", "gpu_ram", "cpu_cores", "inet_down", "reliability", "dph_total", "min_bid", "dlperf"]
TOTALS = {offer["id"]: offer for offer in everything()}


@given(
    field=st.sampled_from(NUMERIC),
    op=st.sampled_from(sorted(PYTHON)),
    pick=st.integers(0, len(ROWS) - 1),
    nudge=st.sampled_from([0, 0, 0.5, -0.5]),
    as_text=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_numeric_operators_are_pythons(field, op, pick, nudge, as_text):
    value = list(TOTALS.values())[pick][field] + nudge
    found = everything(**{field: {op: repr(value) if as_text else value}})
    assert ids(found) == {i for i, offer in TOTALS.items() if PYTHON[op](offer[field], value)}


@given(names=st.lists(st.sampled_from([*sorted({r["gpu_name"] for r in ROWS}), "No Such GPU"]), max_size=5))
@settings(max_examples=50, deadline=None)
def test_in_and_notin_divide_the_market(names):
    inside, outside = everything(gpu_name={"in": names}), everything(gpu_name={"notin": names})
    assert {o["gpu_name"] for o in inside} <= set(names)
    assert not {o["gpu_name"] for o in outside} & set(names)
    assert len(inside) + len(outside) == len(TOTALS)


@given(
    body=st.dictionaries(
        st.sampled_from(
            [*NUMERIC, "gpu_name", "verified", "order", "limit", "type", "geolocation", "nonsense"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=5),
            lambda x: (
                st.lists(x, max_size=3)
                | st.dictionaries(st.sampled_from([*PYTHON, "in", "notin", "x"]), x, max_size=3)
            ),
            max_leaves=6,
        ),
        max_size=4,
    )
)
@settings(max_examples=300, deadline=None)
def test_any_body_is_answered_or_refused(body):
    try:
        found = Search(body, NOW).run(ROWS[:40], Random(1))
    except Refusal as refusal:
        assert refusal.response.status == 400
    else:
        assert ids(found) <= TOTALS.keys()


def test_several_operators_on_one_field():
    found = everything(dph_total={"gt": "0.2", "lt": 0.5})
    assert found and all(0.2 < o["dph_total"] < 0.5 for o in found)


def test_default_filters_and_their_removal():
    plain = Search({}, NOW).run(ROWS, Random(1))
    assert plain and all(o["verification"] == "verified" and o["rentable"] and not o["rented"] for o in plain)
    assert any(o["verification"] != "verified" for o in everything())
    own = ROWS[0] | {"rented": True, "rentable": False}
    assert ids(Search({**ALL, "rented": {"eq": True}}, NOW).run([*ROWS, own], Random(1))) == {own["id"]}
    assert own["id"] not in ids(Search(ALL, NOW).run([own], Random(1)))


def test_cap_and_limit():
    assert len(search()) == 64
    assert len(search(limit=5)) == 5 and len(search(limit="7")) == 7
    assert len(search(limit=5000)) == 64 and search(limit=0) == []


def test_filter_by_id_matches_nothing_but_ask_contract_id_does():
    wanted = ROWS[3]["id"]
    assert search(id={"eq": wanted}) == []
    assert ids(search(ask_contract_id={"eq": str(wanted)})) == {wanted}


def test_unknown_fields_are_ignored():
    assert len(everything(no_such_field={"eq": 1})) == len(TOTALS)


@pytest.mark.parametrize("value", ["x", ["x"], [1, 2]])
def test_a_condition_that_is_no_object(value):
    assert refused(num_gpus=value) == "0 is not a valid search op"


def test_unknown_operator_type_and_order_are_refused():
    assert refused(num_gpus={"like": 1}) == "like is not a valid search op"
    assert "search type" in refused(type="cheap")
    assert "order" in refused(order="dph_total")
    assert "list" in refused(gpu_name={"in": "RTX 4090"})
    assert "allocated_storage" in refused(allocated_storage="much")


def test_order_is_by_several_fields_and_none_comes_last():
    found = everything(order=[["num_gpus", "desc"], ["dph_total", "asc"]])
    keys = [(-o["num_gpus"], o["dph_total"]) for o in found]
    assert keys == sorted(keys)
    for direction in ("asc", "desc"):
        values = [o["cuda_max_good"] for o in everything(order=[["cuda_max_good", direction]])]
        known = [v for v in values if v is not None]
        assert None in values and values[: len(known)] == sorted(known, reverse=direction == "desc")
        names = [o["gpu_name"] for o in everything(order=[["gpu_name", direction]])]
        assert names == sorted(names, reverse=direction == "desc")


def test_order_by_score_is_noisy_and_repeatable():
    def order(seed):
        return [o["id"] for o in Search({}, NOW).run(ROWS, Random(seed))]

    assert order(1) == order(1) != order(2)
    scores = [o["score"] for o in Search({}, NOW).run(ROWS, Random(1))]
    assert scores != sorted(scores, reverse=True)
    assert scores[0] > scores[-1]


def test_price_arithmetic_at_a_disk_size():
    small = search(allocated_storage=10, limit=1)[0]
    large = next(o for o in everything(allocated_storage=100.0) if o["id"] == small["id"])
    for offer, disk in ((small, 10), (large, 100)):
        assert offer["storage_total_cost"] == pytest.approx(disk * offer["storage_cost"] / 720)
        assert offer["dph_total"] == pytest.approx(offer["dph_base"] + offer["storage_total_cost"])
        assert offer["dlperf_per_dphtotal"] == pytest.approx(offer["dlperf"] / offer["dph_total"])
        assert offer["search"]["totalHour"] == pytest.approx(offer["dph_total"])
    assert large["dph_base"] == small["dph_base"]


def test_allocated_storage_is_a_filter_too():
    assert all(o["disk_space"] >= 900 for o in everything(allocated_storage="900"))


def test_rental_types():
    usual = {o["id"]: o for o in everything(type="ondemand", allocated_storage=8)}
    bids = {o["id"]: o for o in everything(type="bid", allocated_storage=8)}
    reserved = {o["id"]: o for o in everything(type="reserved", allocated_storage=8)}
    assert usual.keys() == bids.keys() == reserved.keys()
    for i, offer in usual.items():
        assert not offer["is_bid"] and bids[i]["is_bid"]
        assert bids[i]["dph_base"] == bids[i]["min_bid"] == offer["min_bid"] < offer["dph_base"]
        assert bids[i]["dph_total"] == pytest.approx(bids[i]["min_bid"] + bids[i]["storage_total_cost"])
        assert reserved[i]["dph_base"] < offer["dph_base"]


def test_virtual_fields_and_aliases():
    assert all(o["country_code"] == "US" for o in everything(geolocation={"eq": "us"}))
    assert {o["country_code"] for o in everything(geolocation={"in": ["US", "SE"]})} == {"US", "SE"}
    assert "US" not in {o["country_code"] for o in everything(geolocation={"notin": ["US"]})}
    assert all(o["hosting_type"] == 1 for o in everything(datacenter={"eq": True}))
    assert all(o["hosting_type"] == 0 for o in everything(datacenter={"eq": "false"}))
    assert all(o["verification"] == "unverified" for o in everything(verified={"eq": False}))
    long = everything(duration={"gt": 30 * 86400.0})
    assert long and all(o["end_date"] - NOW > 30 * 86400 for o in long)
    assert ids(everything(reliability2={"gt": 0.99})) == ids(everything(reliability={"gt": 0.99}))
    assert ids(everything(gpu_totalram={"gt": 50_000})) == ids(everything(gpu_total_ram_GB={"gt": 50}))
    assert all(o["expected_reliability"] >= 0.99 for o in everything(target_reliability=0.99))
    new = everything(driver_version={"gte": 560035003})
    assert new and ids(new) == ids(everything(driver_version={"gte": "560.35.03"}))
    assert all(o["driver_vers"] >= 560035003 for o in new)


def test_external_null_means_no():
    found = everything(external={"eq": False})
    assert {o["external"] for o in found} == {None, False} and len(found) == len(TOTALS)
    assert everything(external={"eq": True}) == []


def test_time_text():
    assert time_text(384 * 86400 + 16 * 3600) == "12 Mon 24 D 16 Hr"
    assert time_text(10) == ""
