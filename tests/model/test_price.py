"""Money: hourly prices, caps, bids, costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from choline_tui.kernel.errors import UsageError
from choline_tui.model.offer import Offer
from choline_tui.model.price import bid_for, cap_for, cost, disk_price, hourly_price


def spot(min_bid: float | None = 0.2, storage: float | None = 0.144) -> Offer:
    return Offer(id=1, is_bid=True, min_bid=min_bid, dph_base=9.0, storage_cost=storage)


def solid(base: float | None = 0.4, storage: float | None = 0.144) -> Offer:
    return Offer(id=1, is_bid=False, min_bid=0.1, dph_base=base, storage_cost=storage)


def test_the_markets_own_sample_adds_up() -> None:
    offer = Offer(id=1, dph_base=0.24666, storage_cost=0.0013333, min_bid=0.2)
    assert offer.price_at(5) == 0.246669
    assert hourly_price(0.4, 0.15, 40) == 0.408333
    assert disk_price(0.15, 40) == 0.008333


def test_the_type_decides_which_price_holds() -> None:
    assert solid().price_at(100) == 0.42
    assert spot().price_at(100) == 0.22


def test_what_the_market_does_not_say_has_no_price() -> None:
    assert solid(base=None).price_at(10) is None
    assert solid(storage=None).price_at(10) is None
    assert spot(min_bid=None).price_at(10) is None
    assert cap_for(solid(base=None), 20, 10) is None
    assert Offer(id=1, dph_total=0.5, storage_total_cost=0.1, storage_cost=0.0).price_at(10) == 0.4


def test_caps() -> None:
    assert cap_for(solid(), 0, 100) == 0.42
    assert cap_for(solid(), 10, 100) == 0.462
    assert cap_for(solid(0.1, 0.0), 33.33333, 0) == 0.133334
    for premium, disk in ((-1, 10), (10, -1), (float("nan"), 10), (10, float("inf"))):
        with pytest.raises(UsageError):
            cap_for(solid(), premium, disk)


@pytest.mark.parametrize(
    ("cap", "override", "bid"),
    [
        (1.0, None, 0.21),
        (0.225, None, 0.205),
        (0.22, None, 0.2),
        (0.2199, None, None),
        (0.0, None, None),
        (1.0, 0.5, 0.5),
        (0.3, 0.5, 0.28),
        (1.0, 0.2, 0.2),
        (1.0, 0.19, None),
    ],
)
def test_bids(cap: float, override: float | None, bid: float | None) -> None:
    assert bid_for(spot(), cap, 100, override) == bid


def test_a_bid_needs_known_prices_and_is_one_the_market_takes() -> None:
    assert bid_for(spot(min_bid=None), 1, 10) is None
    assert bid_for(spot(storage=None), 1, 10) is None
    assert bid_for(spot(min_bid=0.0), 1, 10) == 0.00105
    assert bid_for(spot(min_bid=127.0), 999, 10) == 128
    assert bid_for(spot(min_bid=130.0), 999, 10) is None
    with pytest.raises(UsageError):
        bid_for(spot(), 1, 10, float("nan"))


MONEY = st.floats(0, 50, allow_nan=False)


@given(MONEY, st.floats(0, 1), MONEY, st.floats(0, 2000), st.none() | MONEY)
def test_no_bid_is_above_the_cap_less_disk_nor_below_the_minimum(
    min_bid: float, storage: float, cap: float, disk_gb: float, override: float | None
) -> None:
    offer = spot(min_bid, storage)
    bid = bid_for(offer, cap, disk_gb, override)
    disk = offer.disk_per_hour(disk_gb)
    assert disk is not None
    if bid is not None:
        assert bid + disk <= cap + 1e-8
        assert bid >= min_bid - 1e-8
    elif override is None:
        assert max(min_bid, 0.001) > cap - disk - 2e-6


@given(MONEY, st.floats(0, 1), st.floats(0, 100), st.floats(0, 2000))
def test_a_cap_is_never_below_the_price_it_was_made_of(
    base: float, storage: float, premium: float, disk_gb: float
) -> None:
    offer = solid(base, storage)
    cap, price = cap_for(offer, premium, disk_gb), offer.price_at(disk_gb)
    assert cap is not None and price is not None
    assert price <= cap <= price * (1 + premium / 100) + 2e-6


def test_costs_are_gpu_disk_and_bytes() -> None:
    offer = Offer(id=1, dph_base=0.4, storage_cost=0.144, inet_up_cost=0.01, inet_down_cost=0.02)
    spent = cost(offer, 10, gb_up=3, gb_down=50, disk_gb=100)
    assert (spent.gpu, spent.disk, spent.up, spent.down) == (4.0, 0.2, 0.03, 1.0)
    assert spent.total == spent.known == 5.23
    assert cost(offer, 10, bid=0.1).gpu == 1.0


def test_an_unknown_part_makes_the_total_unknown_but_not_what_is_known() -> None:
    offer = Offer(id=1, dph_base=0.4, storage_cost=0.144)
    assert cost(offer, 1).total == 0.4
    spent = cost(offer, 1, gb_up=1)
    assert (spent.total, spent.known) == (None, 0.4)
    with pytest.raises(UsageError):
        cost(offer, -1)
