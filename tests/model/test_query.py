"""The query language: what is sent, what matches, what is a mistake and where."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choline_tui.kernel.errors import QueryError
from choline_tui.model.conditions import DEFAULTS, Condition, Query
from choline_tui.model.gpu import gpu_names_for
from choline_tui.model.market_types import GPU_NAMES
from choline_tui.model.offer import Offer
from choline_tui.model.offer_fields import FIELDS, Kind
from choline_tui.model.query import gpu_spec, parse_order, parse_query

DEFAULT_FILTERS = {"verified": {"eq": True}, "external": {"eq": False}, "rentable": {"eq": True}}


def test_the_official_clients_example_is_sent_as_it_sends_it_but_with_numbers() -> None:
    query = parse_query(
        "gpu_name=RTX_4090 num_gpus>=2 dph<0.5 reliability>0.98 gpu_ram>=24 cpu_ram>32 duration>3 "
        "geolocation in [US,CA] driver_version>=535.86.05 cuda_vers>=12.1",
        order="score-",
        disk_gb=5,
    )
    assert query.to_filters() == {
        "verified": {"eq": True},
        "external": {"eq": False},
        "rentable": {"eq": True},
        "gpu_name": {"eq": "RTX 4090"},
        "num_gpus": {"gte": 2},
        "dph_total": {"lt": 0.5},
        "reliability": {"gt": 0.98},
        "gpu_ram": {"gte": 24000.0},
        "cpu_ram": {"gt": 32000.0},
        "duration": {"gt": 259200.0},
        "geolocation": {"in": ["US", "CA"]},
        "driver_version": {"gte": 535086005},
        "cuda_max_good": {"gte": 12.1},
        "order": [["score", "desc"]],
        "type": "on-demand",
        "limit": 64,
        "allocated_storage": 5.0,
    }
    assert query.warnings == ()


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("num_gpus=2", {"num_gpus": {"eq": 2}}),
        ("num_gpus==2", {"num_gpus": {"eq": 2}}),
        ("num_gpus eq 2", {"num_gpus": {"eq": 2}}),
        ("num_gpus != 2", {"num_gpus": {"neq": 2}}),
        ("num_gpus neq 2", {"num_gpus": {"neq": 2}}),
        ("num_gpus noteq 2", {"num_gpus": {"neq": 2}}),
        ("num_gpus not eq 2", {"num_gpus": {"neq": 2}}),
        ("num_gpus < 2", {"num_gpus": {"lt": 2}}),
        ("num_gpus lt 2", {"num_gpus": {"lt": 2}}),
        ("num_gpus<=2", {"num_gpus": {"lte": 2}}),
        ("num_gpus lte 2", {"num_gpus": {"lte": 2}}),
        ("num_gpus>2", {"num_gpus": {"gt": 2}}),
        ("num_gpus gt 2", {"num_gpus": {"gt": 2}}),
        ("num_gpus gte 2", {"num_gpus": {"gte": 2}}),
        ("num_gpus in [1,2, 4]", {"num_gpus": {"in": [1, 2, 4]}}),
        ("num_gpus in 1,2", {"num_gpus": {"in": [1, 2]}}),
        ("num_gpus in 1", {"num_gpus": {"in": [1]}}),
        ("gpu_name not in [H100_SXM]", {"gpu_name": {"notin": ["H100 SXM"]}}),
        ("gpu_name nin [H100_SXM]", {"gpu_name": {"notin": ["H100 SXM"]}}),
        ("gpu_name notin H100_SXM", {"gpu_name": {"notin": ["H100 SXM"]}}),
        ('gpu_name="RTX 4090"', {"gpu_name": {"eq": "RTX 4090"}}),
        ("gpu_name='RTX 4090'", {"gpu_name": {"eq": "RTX 4090"}}),
        ('gpu_name in ["RTX 4090", RTX_3090]', {"gpu_name": {"in": ["RTX 4090", "RTX 3090"]}}),
        ("gpu_name=[RTX_4090,RTX_3090]", {"gpu_name": {"in": ["RTX 4090", "RTX 3090"]}}),
        ("geolocation=us", {"geolocation": {"eq": "US"}}),
        ("dph>0.1 dph<0.5", {"dph_total": {"gt": 0.1, "lt": 0.5}}),
        ("dphtotal<1", {"dph_total": {"lt": 1}}),
        ("gpu_ram_GB>=10", {"gpu_ram": {"gte": 10000.0}}),
        ("static_ip=true", {"static_ip": {"eq": True}}),
        ("static_ip=1", {"static_ip": {"eq": True}}),
        ("datacenter=True", {"datacenter": {"eq": True}}),
        ("cluster_id=None", {"cluster_id": {"eq": None}}),
        ("driver_version>=550.90", {"driver_version": {"gte": 550090000}}),
        ("driver_version>=535086005", {"driver_version": {"gte": 535086005}}),
        ("ubuntu_version>=22.04", {"os_version": {"gte": "22.04"}}),
        ("id=5", {"ask_contract_id": {"eq": 5}}),
    ],
)
def test_every_operator_alias_and_literal(text: str, filters: dict[str, Any]) -> None:
    assert parse_query(text, defaults=False).filters() == filters


@pytest.mark.parametrize("word", ["any", "?", "*", "ANY"])
def test_any_takes_a_default_and_earlier_conditions_away(word: str) -> None:
    query = parse_query(f"num_gpus>2 verified={word} num_gpus={word}")
    assert query.filters() == {"external": {"eq": False}, "rentable": {"eq": True}}
    assert "verified=any" in query.text()


def test_a_condition_replaces_the_default_of_its_field() -> None:
    assert parse_query("verified!=true").filters()["verified"] == {"neq": True}
    assert parse_query("verified=false").filters()["verified"] == {"eq": False}


def test_no_defaults() -> None:
    assert parse_query("", defaults=False).filters() == {}
    assert parse_query("").filters() == DEFAULT_FILTERS


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("num_gpu>=2", 0, "num_gpus"),
        ("num_gpus>=2 gpu_nmae=x", 12, "gpu_name"),
        ("num_gpus=>2", 8, ">="),
        ("num_gpus", 8, "= != <"),
        ("num_gpus 2", 9, "= != <"),
        ("num_gpus>=", 10, ""),
        ("num_gpus>=two", 10, "without its unit"),
        ("gpu_ram>=24GB", 9, "without its unit"),
        ("dph<nan", 4, ""),
        ("dph<1e999", 4, ""),
        ("num_gpus in [1,2", 16, "]"),
        ("num_gpus in []", 13, ""),
        ("num_gpus in [1,,2]", 15, ""),
        ("num_gpus in 1,", 12, "[a,b]"),
        ("num_gpus in [1 2]", 13, "without its unit"),
        ('gpu_name="RTX', 9, ""),
        ("gpu_name>RTX", 8, "!="),
        ("verified=maybe", 9, ""),
        ("num_gpus>[1,2]", 9, "in or notin"),
        ("num_gpus>=2 3", 12, "field op value"),
        ("driver_version>=new", 16, "535.86.05"),
        ("os_version>=jammy", 12, "22.04"),
        ("allocated_storage>=50", 0, "--disk"),
        ("dph<None", 4, ""),
        ('gpu_name=""', 9, ""),
        ("&", 0, "field op value"),
    ],
)
def test_a_mistake_says_where_and_what_to_do(text: str, column: int, words: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(text)
    assert caught.value.details["column"] == column
    assert words in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpu_ram=24", "gpu_ram>=24"),
        ("gpu_ram in [24,48]", "gpu_ram>=24"),
        ("gpu_ram>=24564", "in GB"),
        ("reliability>98", "0 to 1"),
        ("reliability=0.99", "reliability>=0.99"),
        ("dph=0.5", "dph_total<=0.5"),
        ("duration>86400", "in days"),
        ("compute_cap>=8", "890"),
        ("geolocation=Sweden", "two-letter"),
        ("gpu_name=rtx_4090", "RTX_4090"),
        ("gpu_name=RTX_4091", "did you mean RTX_409"),
        ("num_gpus>=2 num_gpus>=4", "twice"),
        ("num_gpus=1,2", "read as 'in'"),
    ],
)
def test_traps_are_warned_of(text: str, words: str) -> None:
    assert any(words in line for line in parse_query(text).warnings)


@pytest.mark.parametrize(
    "text", ["gpu_ram>=24", "num_gpus=2", "gpu_frac=1", "gpu_name=RTX_4090", "duration>3"]
)
def test_what_is_no_trap_is_not_warned_of(text: str) -> None:
    assert parse_query(text).warnings == ()


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("dph_total,num_gpus-", [["dph_total", "asc"], ["num_gpus", "desc"]]),
        ("-dph", [["dph_total", "desc"]]),
        ("+dph+, dlperf_usd-", [["dph_total", "asc"], ["dlperf_per_dphtotal", "desc"]]),
    ],
)
def test_orders(text: str, order: list[list[str]]) -> None:
    query = parse_query("", order=text)
    assert query.to_filters()["order"] == order
    assert parse_order(query.order_text()) == query.order


@pytest.mark.parametrize(("text", "column"), [("dph,bogus", 4), ("", 0), ("dph,,", 4), ("-", 0)])
def test_an_order_that_is_none(text: str, column: int) -> None:
    with pytest.raises(QueryError) as caught:
        parse_order(text)
    assert caught.value.details["column"] == column


@pytest.mark.parametrize("limit", [None, 5, 64, 5000])
def test_no_more_than_the_market_gives_is_asked_for(limit: int | None) -> None:
    assert parse_query("", limit=limit).to_filters()["limit"] == min(limit or 64, 64)


@pytest.mark.parametrize(
    "bad", [{"limit": 0}, {"disk_gb": 0}, {"disk_gb": float("nan")}, {"type": "reserved"}]
)
def test_controls_that_make_no_sense(bad: dict[str, Any]) -> None:
    with pytest.raises(QueryError):
        parse_query("", **bad)


def test_types_by_any_name() -> None:
    assert parse_query("", type="bid").type == parse_query("", type="spot").type == "interruptible"
    assert parse_query("", type="interruptible").to_filters()["type"] == "bid"
    assert parse_query("", type="ondemand").to_filters()["type"] == "on-demand"


# matching

OFFER: dict[str, Any] = {
    "id": 5,
    "num_gpus": 2,
    "gpu_name": "RTX 4090",
    "gpu_ram": 24564,
    "dph_total": 0.5,
    "reliability2": 0.99,
    "geolocation": "Quebec, CA",
    "driver_version": "550.90.07",
    "os_version": "22.04",
    "verification": "verified",
    "hosting_type": 1,
    "duration": 4 * 86400.0,
    "disk_space": 100.0,
    "external": None,
    "has_avx": 1,
    "cuda_max_good": 12.4,
}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", True),
        ("num_gpus=2", True),
        ("num_gpus!=2", False),
        ("num_gpus>2", False),
        ("num_gpus in [1,2]", True),
        ("num_gpus notin [1,2]", False),
        ("gpu_name=RTX_4090", True),
        ("gpu_name=RTX_4090D", False),
        ("gpu_ram>=24", True),
        ("gpu_ram=24", False),
        ("gpu_ram>=25", False),
        ("dph<0.5", False),
        ("dph<=0.5", True),
        ("reliability>0.98", True),
        ("reliability>0.99", False),
        ("target_reliability>=0.98", True),
        ("geolocation in [US,CA]", True),
        ("geolocation notin [US,CA]", False),
        ("driver_version>=535.86.05", True),
        ("driver_version>550.90.07", False),
        ("os_version>=20.04", True),
        ("os_version<9.10", False),
        ("verified=false", False),
        ("datacenter=true", True),
        ("duration>3", True),
        ("duration>5", False),
        ("has_avx=true", True),
        ("ask_contract_id=5", True),
        ("id=6", False),
        ("rented=false", True),
        ("static_ip=true", False),
        ("inet_down>100", False),
        ("inet_down!=100", True),
        ("cpu_name=None", True),
        ("cuda_max_good>=12.4", True),
    ],
)
def test_offers_are_filtered_again_here(text: str, match: bool) -> None:
    query = parse_query(text, disk_gb=50)
    assert query.matches(OFFER) is match
    assert query.matches(Offer.model_validate(OFFER)) is match


def test_the_disk_must_fit() -> None:
    assert not parse_query("", disk_gb=101).matches(OFFER)
    assert parse_query("", disk_gb=100).matches(OFFER)


@pytest.mark.parametrize(
    "junk",
    ["x", [], {}, object(), "9" * 5000, 10**400, float("nan"), float("inf")],
    ids=lambda junk: repr(junk)[:20],
)
@pytest.mark.parametrize(
    "text", ["num_gpus>=1", "gpu_ram>=1", "geolocation=US", "static_ip=true", "driver_version>1.1.1"]
)
def test_hostile_values_do_not_match_and_do_not_raise(text: str, junk: Any) -> None:
    offer = dict.fromkeys([*FIELDS, "driver_vers", "verification", "hosting_type"], junk)
    assert not parse_query(text, defaults=False).matches(offer | {"disk_space": 100})


def test_sorting_puts_the_unknown_last() -> None:
    offers = [{"id": 1, "dph_total": 2}, {"id": 2}, {"id": 3, "dph_total": 1}, {"id": 4, "dph_total": "2"}]
    up = parse_query("", order="dph").sorted(offers)
    down = parse_query("", order="dph-,ask_contract_id-").sorted(offers)
    assert [each["id"] for each in up] == [3, 1, 4, 2]
    assert [each["id"] for each in down] == [4, 1, 3, 2]


def test_the_deeper_page_begins_at_a_price() -> None:
    query = parse_query("dph>=0.2 dph<1", order="score-")
    deeper = query.from_price(0.4)
    assert deeper.filters()["dph_total"] == {"gte": 0.4, "lt": 1}
    assert deeper.to_filters()["order"] == [["dph_total", "asc"]]
    assert query.from_price(0.1).filters()["dph_total"]["gte"] == 0.2


# round trip

WORDS = st.text(
    st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"], exclude_characters='"_'), min_size=1
)
NUMBERS = st.integers(0, 10**9) | st.floats(0, 1e9, allow_nan=False)


def _value(kind: Kind) -> st.SearchStrategy[Any]:
    if kind is Kind.BOOL:
        return st.booleans()
    if kind in (Kind.NUMBER, Kind.WHOLE):
        return NUMBERS
    if kind in (Kind.DRIVER, Kind.VERSION):
        return st.from_regex(r"\A[1-9][0-9]{1,2}[.][0-9]{1,2}\Z")
    return WORDS.map(lambda text: " ".join(text.split())).filter(
        lambda text: text and (kind is not Kind.COUNTRY or len(text) != 2)
    )


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    about = draw(st.sampled_from([f for f in FIELDS.values() if f.name != "allocated_storage"]))
    op = draw(st.sampled_from(["eq", "neq", "in", "notin"] + ["lt", "gte"] * about.kind.ordered))
    if op in ("in", "notin"):
        return Condition(about.name, op, tuple(draw(st.lists(_value(about.kind), min_size=1, max_size=4))))
    return Condition(
        about.name, op, draw(_value(about.kind) | (st.none() if op in ("eq", "neq") else st.nothing()))
    )


@settings(deadline=None)
@given(st.lists(conditions(), max_size=5), st.booleans())
def test_text_says_the_same_again(found: list[Condition], defaults: bool) -> None:
    query = Query(DEFAULTS if defaults else ()).with_conditions(*found)
    # the same slot twice in one call: the last one counts, as in a text
    slots = {(each.field, each.op): each for each in query.conditions}
    query = Query(tuple(slots.values()))
    again = parse_query(query.text())
    assert again.filters() == query.filters()
    assert parse_query(again.text()) == again


@settings(deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="gpu_name=<>![],\"' 24RTXinot", max_size=60))
def test_no_text_raises_anything_but_a_query_error(text: str) -> None:
    try:
        parse_query(text).to_filters()
    except QueryError as error:
        assert 0 <= error.details["column"] <= len(text)


# GPUs


@pytest.mark.parametrize(
    ("spec", "count", "names"),
    [
        ("2x4090", 2, ("RTX 4090",)),
        ("4090", 1, ("RTX 4090",)),
        ("rtx4090", 1, ("RTX 4090",)),
        ("4x3090", 4, ("RTX 3090",)),
        ("8 x RTX_3090_Ti", 8, ("RTX 3090 Ti",)),
        ("h100", 1, ("H100 PCIE", "H100 SXM", "H100 NVL")),
        ("2xH100_SXM", 2, ("H100 SXM",)),
        ("a100 sxm", 1, ("A100 SXM", "A100 SXM4")),
        ("A100", 1, ("A100 PCIE", "A100 SXM4", "A100 SXM", "A100X")),
        ("nvidia rtx 4090", 1, ("RTX 4090",)),
        ("v100", 1, ("Tesla V100",)),
        ("a6000", 1, ("RTX A6000",)),
        ("rtx 6000 ada", 1, ("RTX 6000Ada",)),
        ("l40s", 1, ("L40S",)),
        ("l4", 1, ("L4",)),
    ],
)
def test_short_gpu_names(spec: str, count: int, names: tuple[str, ...]) -> None:
    name, number = gpu_spec(spec)
    assert number == Condition("num_gpus", "eq", count)
    assert (name.value if name.op == "in" else (name.value,)) == names
    assert parse_query("").with_conditions(name, number).filters()["num_gpus"] == {"eq": count}


@pytest.mark.parametrize(
    ("spec", "hint"),
    [("4091", "4090"), ("gtx4090", "RTX 4090"), ("309", "3090"), ("", "2x4090"), ("0x4090", "1 to")],
)
def test_an_unknown_gpu_is_an_error_with_suggestions(spec: str, hint: str) -> None:
    with pytest.raises(QueryError) as caught:
        gpu_spec(spec)
    assert hint in caught.value.hint


def test_every_name_of_the_market_means_itself() -> None:
    for name in GPU_NAMES:
        assert gpu_names_for(name)[0] == name
        assert gpu_names_for(name.replace(" ", "_").lower())[0].lower() == name.lower()


@given(st.text(max_size=20))
def test_no_spec_raises_anything_but_a_query_error(spec: str) -> None:
    try:
        gpu_spec(spec)
    except QueryError as error:
        assert error.message


@pytest.mark.parametrize("value", ["<", "=x", "!a", ">=3"])
def test_a_value_that_begins_like_an_operator_is_quoted(value: str) -> None:
    query = Query((Condition("cpu_arch", "eq", value),))
    assert parse_query(query.text(), defaults=False).conditions == query.conditions
