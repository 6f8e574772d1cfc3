"""Offers and contracts out of foreign JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from choline_tui.kernel.errors import MarketDown
from choline_tui.kernel.session import Address
from choline_tui.model.instance import VITAL, Instance
from choline_tui.model.market_types import one_line, salvage
from choline_tui.model.offer import Offer, decode_offers, read_page
from choline_tui.model.query import parse_query
from tests.bench.bench_decode import make


def decode(*rows: Any) -> tuple[list[Offer], int]:
    return decode_offers(json.dumps({"offers": rows}).encode())


def test_a_whole_page_is_read_field_by_field() -> None:
    raw = make(50)
    offers, skipped = decode_offers(raw)
    rows = json.loads(raw)["offers"]
    assert skipped == 0
    for row, offer in zip(rows, offers, strict=True):
        for name, value in offer.model_dump(exclude_unset=True).items():
            assert value == row[name], name
    assert set(rows[0]) - set(Offer.model_fields) == {
        *("bundled_results", "gpu_ids", "instance", "logo", "rn", "search", "time_remaining"),
        *("time_remaining_isbid", "webpage"),
    }


def test_numbers_may_come_as_texts_and_everything_may_be_missing() -> None:
    (offer, bare), _ = decode(
        {"id": "7", "gpu_ram": "24564", "num_gpus": 2.0, "os_version": 22.04}, {"id": 8}
    )
    assert (offer.id, offer.gpu_ram, offer.num_gpus, offer.os_version) == (7, 24564, 2, "22.04")
    assert bare.price_at(10) is None
    assert bare.gpus == "?x unknown GPU"


def test_a_field_of_a_wrong_type_is_unknown_and_the_rest_stays() -> None:
    raw = b'{"offers":[{"id":1,"num_gpus":[],"dph_base":NaN,"gpu_ram":1e999,"gpu_name":"A10","score":{}}]}'
    (offer,), skipped = decode_offers(raw)
    assert (offer.num_gpus, offer.dph_base, offer.gpu_ram, offer.score) == (None, None, None, None)
    assert (offer.gpu_name, skipped) == ("A10", 0)


@pytest.mark.parametrize("row", [None, 5, [], {}, {"id": None}, {"id": 0}, {"id": 2**63}, {"id": "x"}])
def test_a_row_without_an_id_is_left_out_and_counted(row: Any) -> None:
    offers, skipped = decode({"id": 1}, row)
    assert ([each.id for each in offers], skipped) == ([1], 1)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"offers":',
        b'{"offers":5}',
        b'{"success":false,"offers":[]}',
        b"[" * 9999,
    ],
)
def test_what_is_no_list_of_offers_is_an_error(raw: bytes) -> None:
    with pytest.raises(MarketDown):
        decode_offers(raw)


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    with pytest.raises(MarketDown):
        decode_offers(raw)


def test_a_page_from_a_cache_is_the_page_from_the_network() -> None:
    raw = make(64)
    query = parse_query("num_gpus>=2", order="dph", disk_gb=20)
    page = read_page(raw, query, 5.0)
    assert page == read_page(page.raw, query, 5.0)
    assert 0 < len(page.offers) < 64
    assert not page.complete
    assert read_page(make(63), query, 5.0).complete
    assert "raw" not in repr(page)


def test_each_offer_comes_once() -> None:
    raw = json.dumps({"offers": [{"id": 1}, {"id": 1}, {"id": 2}]}).encode()
    assert [each.id for each in read_page(raw, parse_query(""), 0).offers] == [1, 2]


def test_what_people_look_at() -> None:
    offer = Offer(
        id=1, num_gpus=2, gpu_name="RTX 4090", cpu_cores=64, cpu_cores_effective=16, cpu_ram=512000,
        direct_port_count=0, geolocation="Sweden, SE", reliability2=0.98,
    )  # fmt: skip
    assert offer.gpus == "2x RTX 4090"
    assert (offer.cpu_share, offer.ram_share) == (0.25, 128000)
    assert not offer.has_direct_ports
    assert Offer(id=1, direct_port_count=3).has_direct_ports
    assert (offer.country, offer.trust) == ("SE", 0.98)
    assert Offer(id=1, geolocation="Atlantis").country is None
    assert Offer(id=1, gpu_frac=0.5, cpu_ram=100).ram_share == 50


def test_offers_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Offer(id=1).num_gpus = 3  # type: ignore[misc]


def test_foreign_text_becomes_one_line() -> None:
    assert one_line("a\x1b[31mb\r\nc\td") == "ab c d"
    assert one_line(None) == ""
    assert len(one_line("x" * 10**6)) == 300


# contracts


def contract(**fields: Any) -> Instance:
    found = salvage(Instance, {"id": 1, **fields}, vital=VITAL)
    assert found is not None
    return found


PORTS = {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": "20000"}], "8080/tcp": [{"HostPort": 31}]}


def test_ssh_answers_direct_first_then_by_proxy() -> None:
    found = contract(public_ipaddr=" 192.0.2.45\n", ports=PORTS, ssh_host="ssh6.vast.ai", ssh_port=10600)
    assert found.ssh_addresses() == [
        Address("192.0.2.45", 20000, "root", "direct"),
        Address("ssh6.vast.ai", 10600, "root", "proxy"),
    ]
    assert found.port("8080/tcp") == 31
    jupyter = contract(ssh_host="ssh6.vast.ai", ssh_port="10600", image_runtype="jupyter_direc ssh_direc")
    assert jupyter.ssh_addresses() == [Address("ssh6.vast.ai", 10601, "root", "proxy")]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ports": PORTS},
        {"public_ipaddr": "192.0.2.1"},
        {"public_ipaddr": "192.0.2.1", "ports": {"22/tcp": None}},
        {"public_ipaddr": "192.0.2.1", "ports": {"22/tcp": [{}, 5, {"HostPort": "x"}]}},
        {"public_ipaddr": "192.0.2.1", "ports": {"22/tcp": [{"HostPort": "70000"}]}},
        {"public_ipaddr": "192.0.2.1", "ports": [22]},
        {"public_ipaddr": "-oProxyCommand=x", "ports": PORTS},
        {"public_ipaddr": "a b", "ports": PORTS},
        {"ssh_host": "x;y", "ssh_port": 5},
        {"ssh_host": "x", "ssh_port": 0},
        {"ssh_host": "x", "ssh_port": "many"},
    ],
)
def test_no_address_is_made_of_what_is_none(fields: dict[str, Any]) -> None:
    assert contract(**fields).ssh_addresses() == []


@pytest.mark.parametrize(
    ("fields", "true"),
    [
        ({"actual_status": "running", "intended_status": "running", "cur_state": "running"}, {"running"}),
        ({"actual_status": "exited", "intended_status": "stopped", "cur_state": "stopped"}, {"stopped"}),
        ({"actual_status": "stopped", "intended_status": "stopped", "cur_state": "stopped"}, {"stopped"}),
        (
            {"actual_status": "exited", "intended_status": "stopped", "cur_state": "stopped", "is_bid": True},
            {"stopped", "outbid"},
        ),
        ({"actual_status": "exited", "intended_status": "running", "cur_state": "running"}, {"exited"}),
        ({"actual_status": "loading", "intended_status": "running", "cur_state": "stopped"}, {"queued"}),
        ({"actual_status": "offline", "intended_status": "running", "cur_state": "running"}, {"offline"}),
        ({"actual_status": "unknown", "intended_status": "running", "cur_state": "running"}, {"unknown"}),
        ({"actual_status": None, "intended_status": "running", "cur_state": "running"}, set()),
        ({"actual_status": "levitating"}, set()),
        ({}, set()),
    ],
)
def test_states(fields: dict[str, Any], true: set[str]) -> None:
    found = contract(**fields)
    names = ("running", "stopped", "outbid", "queued", "exited", "offline", "unknown")
    assert {name for name in names if getattr(found, f"is_{name}")} == true
    assert found.phase


@pytest.mark.parametrize(
    "text",
    [
        "Error response from daemon: manifest for a/b:c not found",
        "pull access denied for x, repository does not exist",
        "OCI runtime create failed: x",
        "write /var: no space left on device",
        "unexpected EOF",
    ],
)
def test_failures_in_the_status_text(text: str) -> None:
    assert contract(actual_status="loading", status_msg=text).fatal_message == text
    assert contract(actual_status="running", status_msg=text).fatal_message is None


def test_a_pull_is_no_failure_and_its_text_is_inert() -> None:
    found = contract(actual_status="loading", status_msg="5f: Pulling fs layer\x1b]0;x\x07\n6a: Waiting")
    assert found.fatal_message is None
    assert found.phase == "pulling the image: 5f: Pulling fs layer 6a: Waiting"
    assert len(contract(actual_status="x" * 3000, status_msg="y" * 10**6).phase) < 300


def test_prices_of_a_contract() -> None:
    assert contract(dph_total="0.41").total_per_hour == 0.41
    assert contract(search={"totalHour": 0.4}).total_per_hour == 0.4
    assert contract(search={"totalHour": "x"}).total_per_hour is None
    assert contract().total_per_hour is None
    assert contract(instance={"totalHour": 0.01}, dph_total=0.4).now_per_hour == 0.01
    assert contract(storage_cost=0.144, disk_space=100).disk_per_hour == pytest.approx(0.02)
    assert contract(storage_total_cost=0.5).disk_per_hour == 0.5
