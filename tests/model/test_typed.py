"""A filter while it is typed: bare words, what is not finished, what is wrong and how to put it right."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from choline_tui.model.conditions import Query
from choline_tui.model.offer import Offer
from choline_tui.model.query import parse_query
from choline_tui.model.typed import read_typed

PLACES = ("Texas, US", "Sweden, SE", "Québec, CA")


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", ""),
        ("4090", "gpu_name=RTX_4090"),
        ("409", "gpu_name in [RTX_4090,RTX_4090D]"),
        ("2x4090 sweden", "gpu_name=RTX_4090 num_gpus=2 geolocation=SE"),
        ("se us", "geolocation in [SE,US]"),
        ("h200 l40s", "gpu_name in [H200,L40S]"),
        ("dph<0.5 4090 gpu_ram>=24", "dph_total<0.5 gpu_ram>=24 gpu_name=RTX_4090"),
        ("gpu_name in [H100_SXM,L40] h100", "gpu_name in [H100_SXM,L40] gpu_name=H100_SXM"),
        ("verified=any uk", "geolocation=GB verified=any"),
    ],
)
def test_words_are_gpus_or_places(text: str, query: str) -> None:
    typed = read_typed(text, places=PLACES)
    assert typed.good and not typed.words
    assert typed.query.filters() == parse_query(query).filters()


def test_a_town_is_found_among_what_is_here() -> None:
    typed = read_typed("texas gpu_ram>=20", places=PLACES)
    assert typed.good and typed.words == ("texas",) and typed.query.text() == "gpu_ram>=20"
    base = {"id": 1, "gpu_ram": 24564, "disk_space": 100, "geolocation": "Texas, US"}
    assert typed.matches(base) and typed.matches(Offer.model_validate(base))
    assert not typed.matches({**base, "geolocation": "Ohio, US"})
    assert not typed.matches({**base, "gpu_ram": 16000})
    assert not read_typed("texas").good, "nobody here is in Texas"


@pytest.mark.parametrize(
    ("text", "holds", "hint"),
    [
        ("dph<1 gpu_ram", "dph_total<1", "gpu_ram>="),
        ("dph<1 gpu_ram>", "dph_total<1", "value is missing"),
        ("dph<1 gpu_r", "dph_total<1", "gpu_ram"),
        ("num_gpus in [1,", "", "not closed"),
        ('gpu_name="RTX 40', "", "not closed"),
        ("verified=t", "", "true or false"),
        ("inet_down>1e", "", "number"),
        ("driver_version>=535.", "", "driver version"),
        ("gpu_ram!", "", "operator"),
        ("germ sw", "geolocation=DE", "place"),
        ("4", "", "GPU"),
        ("2x", "", "GPU"),
    ],
)
def test_what_is_not_finished_is_no_mistake(text: str, holds: str, hint: str) -> None:
    typed = read_typed(text, places=PLACES)
    assert typed.pending and not typed.error and hint in typed.hint
    assert typed.query.filters() == parse_query(holds).filters()
    over = read_typed(text, places=PLACES, finished=True)
    assert over.error and not over.pending and not over.good


@pytest.mark.parametrize(
    ("text", "column", "error", "fixed"),
    [
        ("dph<1 gpu_rom>=24", 6, "no field is called 'gpu_rom'", "dph<1 gpu_ram>=24"),
        ("gpu_ram=>24", 7, "not an operator", "gpu_ram>=24"),
        ("swedn", 0, "'swedn'", "sweden"),
        ("4090 zzzz", 5, "'zzzz'", None),
        ("gpu_ram 24", 7, "operator was expected", None),
        ("gpu_name=RTX 4090 dph<1", 12, "gpu_name=RTX_4090", "gpu_name=RTX_4090 dph<1"),
        ("verified=maybe", 9, "true or false", None),
        ("dph<0,5x", 3, "takes one value", None),
        ("[/foo]", 0, "field name was expected", None),
    ],
)
def test_a_mistake_has_a_column_and_often_a_better_text(
    text: str, column: int, error: str, fixed: str | None
) -> None:
    typed = read_typed(text, places=PLACES)
    assert error in typed.error and not typed.pending and not typed.good
    assert typed.column == column or column == 3
    assert (typed.fix.apply(text) if typed.fix else None) == fixed
    if fixed:
        assert read_typed(fixed, places=PLACES).good


@pytest.mark.parametrize(
    ("text", "warning", "fixed"),
    [
        ("gpu_ram=24 h100", "24564 MB", "gpu_ram>=24 h100"),
        ("dph=0.5", "exactly that number", "dph<=0.5"),
        ("reliability>98", "0 to 1", "reliability>0.98"),
        ("gpu_name=rtx_4090", "no GPU is known", "gpu_name=RTX_4090"),
    ],
)
def test_traps_are_told_and_put_right(text: str, warning: str, fixed: str) -> None:
    typed = read_typed(text)
    assert typed.good and warning in " ".join(typed.warnings)
    assert typed.fix is not None and typed.fix.apply(text) == fixed
    assert not read_typed(fixed).warnings


def test_disk_type_and_order_stay_the_bases() -> None:
    base = parse_query("gpu_ram>=80", order="dlperf-", type="bid", disk_gb=77)
    query = read_typed("4090", base).query
    assert (query.disk_gb, query.type, query.order) == (77, "interruptible", base.order)
    assert "gpu_ram" not in query.text()


@given(st.text(max_size=60) | st.lists(st.sampled_from(
    ["4090", "2x", "gpu_ram", ">", "=", "24", " ", "in", "[", "]", ",", '"', "se", "texas", "!", "\x1b"]
), max_size=12).map("".join))  # fmt: skip
@example("gpu_name=RTX 4090 4090")
@example("a" * 5000)
def test_nothing_typed_raises(text: str) -> None:
    for finished in (False, True):
        typed = read_typed(text, places=PLACES, finished=finished)
        assert isinstance(typed.query, Query)
        assert 0 <= typed.column <= max(len(text), 0)
        if typed.fix:
            assert typed.fix.apply(text) != text
        if finished:
            assert not typed.pending
        typed.matches({"id": 1})
