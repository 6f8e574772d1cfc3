"""Marked offers become a filter: what each likeness asks for, and that it is never less than was marked."""

import json
import shlex
import tomllib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from choline_tui.kernel.errors import QueryError, UsageError
from choline_tui.model.conditions import Query
from choline_tui.model.export import (
    Likeness,
    api_json,
    cap_of,
    like,
    matching,
    official_command,
    run_command,
    toml_table,
)
from choline_tui.model.filters import Filter, check_name
from choline_tui.model.query import parse_query


def offer(**changes: Any) -> dict[str, Any]:
    return {
        "id": 77, "machine_id": 4242, "gpu_name": "RTX 4090", "num_gpus": 2, "gpu_ram": 24564,
        "dlperf": 187.4, "cpu_cores_effective": 16.0, "cpu_ram": 257_000, "inet_down": 812.3,
        "inet_up": 401.0, "reliability": 0.9871, "cuda_max_good": 12.4, "compute_cap": 890,
        "dph_total": 0.4123456,
        "geolocation": "Sweden, SE", "verification": "verified", "rentable": True, "disk_space": 500.0,
        "inet_down_cost": 0.0031, "inet_up_cost": 0.0, "disk_bw": 1234.5, **changes,
    }  # fmt: skip


def test_the_three_likenesses_in_words() -> None:
    base = parse_query("geolocation=SE dph<1", disk_gb=40)
    assert (
        like([offer()], Likeness.THIS, base, 10).text()
        == "geolocation=SE machine_id=4242 num_gpus=2 gpu_name=RTX_4090 dph_total<=0.453581"
    )
    assert like([offer()], Likeness.AS_GOOD, base, 0, keep=False).text() == (
        "num_gpus>=2 gpu_ram>=24 dlperf>=180 compute_cap>=890 cuda_max_good>=12.4 cpu_cores_effective>=16"
        " disk_bw>=1200 inet_down>=810 inet_up>=400 reliability>=0.98 inet_down_cost<=0.005"
        " inet_up_cost<=0.005 dph_total<=0.412346"
    )
    pair = [offer(), offer(id=78, gpu_name="RTX 3090", dph_total=0.3, machine_id=5)]
    anywhere = like(pair, Likeness.SAME_GPU, base, 100)
    assert anywhere.text() == "gpu_name in [RTX_4090,RTX_3090] num_gpus=2 dph_total<=0.824692"
    assert anywhere.disk_gb == 40


def test_a_users_own_tighter_bound_stays() -> None:
    made = like([offer()], Likeness.AS_GOOD, parse_query("gpu_ram>=24.5 inet_down>=100"))
    assert "gpu_ram>=24.5" in made.text() and "inet_down>=810" in made.text()
    assert like([offer()], Likeness.AS_GOOD, parse_query("num_gpus=2")).text().count("num_gpus") == 1


def test_what_offers_do_not_say_is_not_asked_for() -> None:
    bare = {"id": 9, "ask_contract_id": 9}
    assert like([bare], Likeness.THIS, Query()).text() == "ask_contract_id=9"
    assert like([bare], Likeness.AS_GOOD, Query()).text() == ""
    with pytest.raises(UsageError, match="no offer"):
        like([], Likeness.THIS, Query())


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                name: st.floats(0, 1e6, allow_subnormal=False)
                for name in ("dph_total", "dlperf", "inet_up", "cpu_cores_effective", "inet_up_cost")
            }
            | {"reliability": st.floats(0, 1), "num_gpus": st.integers(1, 16)}
            | {"gpu_ram": st.integers(1, 10**6)},
        ).map(lambda some: {**offer(), **some}),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(Likeness),
    st.floats(0, 200),
    st.booleans(),
)  # fmt: skip
@example([{**offer(), "dlperf": 5e-324}], Likeness.AS_GOOD, 0.0, False)
@example([{**offer(), "dlperf": 10.999999999883585}], Likeness.AS_GOOD, 0.0, False)
def test_every_marked_offer_is_in_its_own_filter(
    offers: list[dict[str, Any]], likeness: Likeness, premium: float, keep: bool
) -> None:
    made = like(offers, likeness, parse_query("geolocation in [SE,NO]"), premium, keep=keep)
    assert len(matching(offers, made)) == len(offers)
    again = parse_query(made.text(), disk_gb=made.disk_gb)
    assert again.filters() == made.filters()


def test_the_cap_is_the_dearest_and_the_premium_and_never_below_a_price() -> None:
    assert cap_of([offer(dph_total=0.2), offer(dph_total=0.4)], 25) == 0.5
    assert cap_of([{"id": 1}], 10) is None
    with pytest.raises(UsageError):
        cap_of([offer()], float("nan"))


@given(st.floats(1e-6, 1e4), st.floats(0, 1000))
def test_an_offer_is_under_its_own_cap(price: float, premium: float) -> None:
    cap = cap_of([offer(dph_total=price)], premium)
    assert cap is not None and price <= cap <= price * (1 + premium / 100) + 3e-6


def test_the_official_client_is_given_what_it_can_read() -> None:
    def said(text: str, **more: Any) -> str:
        return official_command(parse_query(text, **more))

    assert said("") == "vastai search offers --storage 20 --order=dph_total"
    assert said("gpu_ram>=24", disk_gb=40.5, type="bid", order="-dlperf,dph", limit=5) == (
        "vastai search offers 'gpu_ram>=24' --storage 40.5 --type bid --order=dlperf-,dph_total --limit 5"
    )
    # a default of its own would stay beside another operator; three-part drivers only; digits only
    assert "'verified=any verified!=false'" in said("verified!=false")
    assert "driver_version>=550090000" in said("driver_version>=550.90")
    assert "inet_up_cost<0.00001" in said("inet_up_cost<1e-5")
    assert "gpu_ram=24 " in f"{shlex.split(said('gpu_ram in [24]'))[3]} "
    for text in ("gpu_ram in [24,48]", 'hostname="any"', "hostname in [a,None]", 'hostname in ["a,b",c]'):
        with pytest.raises(QueryError, match="no words"):
            said(text)


def test_toml_json_and_command_say_the_same() -> None:
    query = like([offer()], Likeness.SAME_GPU, parse_query("", disk_gb=40, type="bid"), 10)
    table = tomllib.loads(toml_table(query, 0.5))["filter"]
    assert table == {
        "query": "gpu_name=RTX_4090 num_gpus=2 dph_total<=0.453581", "order": "dph_total",
        "type": "interruptible", "disk": 40, "max_price": 0.5,
    }  # fmt: skip
    assert Filter(**table).as_query().to_filters() == query.to_filters() == json.loads(api_json(query))
    words = shlex.split(run_command(query, 0.5, "python train.py"))
    assert words[:6] == ["choline", "run", "--query", table["query"], "--disk", "40"]
    assert words[6:] == ["--type", "interruptible", "--max-price", "0.5", "--", "python", "train.py"]


@given(st.text(max_size=40).filter(lambda t: '"' not in t))
def test_any_text_in_a_name_survives_toml(text: str) -> None:
    try:
        query = parse_query(f'gpu_name="{text}"')
    except QueryError:
        return
    table = tomllib.loads(toml_table(query))["filter"]
    assert parse_query(table["query"]).filters() == query.filters()


def test_a_filters_name_and_content_are_checked() -> None:
    assert check_name("cheap-4090.v2") == "cheap-4090.v2"
    for bad in ("", "a b", "../x", "[red]", "a" * 61):
        with pytest.raises(QueryError):
            check_name(bad)
    for wrong in ({"query": "gpu_rom>=2"}, {"order": "x"}, {"disk": 0}, {"type": "spot"}, {"extra": 1}):
        with pytest.raises(ValueError):
            Filter(**wrong)
