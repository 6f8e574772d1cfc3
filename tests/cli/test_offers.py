"""``choline offers``."""

import json
import re

import pytest

from choline_tui.cli.output import cell_width
from choline_tui.kernel.errors import QueryError, UsageError
from tests.cli.fakes import HOSTILE, Bench, FakeCholine, forged, offer, offers


def bench_with(*rows: dict[str, object], **changes: object) -> Bench:
    return Bench(FakeCholine(found=offers(*rows, **changes)))


def test_the_table_has_units_and_what_a_slice_really_gets() -> None:
    code, out, err = bench_with(offer())("offers", "--gpu", "2x4090")
    title, row = out.splitlines()
    assert code == 0
    assert "$/h (20 GB)" in title
    cells = re.split(r"\s{2,}", row.strip())
    # 16 of 64 threads, so a quarter of 256 GB; $ per TB from $ per GB
    assert cells == [
        "63799840", "0.3871", "RTX 4090", "2", "24", "16", "64", "812", "0.150", "812", "401", "3.00",
        "5.00", "98.7", "12.4", "Sweden, SE", "10.0", "50",
    ]  # fmt: skip
    assert err.startswith("1 offer, on-demand, seen 12s ago")
    assert "3 of 1000 searches today" in err


def test_flags_reach_the_search() -> None:
    bench = bench_with()
    bench(
        "offers", "gpu_ram>=40", "inet_down>500", "-o", "dlperf-", "--type", "interruptible", "--disk", "80",
        "--limit", "5", "--all", "-n",
    )  # fmt: skip
    assert bench.choline.asked == [
        (
            "offers",
            {
                "query": "gpu_ram>=40 inet_down>500", "gpu": "", "order": "dlperf-", "type": "interruptible",
                "disk": 80.0, "limit": 5, "everything": True, "no_default": True,
            },
        )
    ]  # fmt: skip


def test_a_count_that_is_not_whole_says_so() -> None:
    _, _, err = bench_with(offer(), offer(id=2), complete=False, warnings=["gpu_ram is in GB"], stale="429")(
        "offers"
    )
    assert err.splitlines()[0].startswith("at least 2 offers")
    assert "! not fresh: 429" in err and "! gpu_ram is in GB" in err


def test_nothing_found_is_said_and_is_no_failure() -> None:
    code, out, err = bench_with()("offers")
    assert (code, out) == (0, "")
    assert "0 offers" in err and "loosen" in err


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_it_fits_a_narrow_terminal_and_keeps_what_matters(width: int) -> None:
    bench = bench_with(offer(), offer(geolocation="日本の遠いところ, JP"))
    bench.width = width
    _, out, _ = bench("offers")
    assert max(cell_width(line) for line in out.splitlines()) <= width
    assert "63799840" in out and "0.3871" in out and "$/h (20 GB)" in out


def test_hostile_and_missing_fields_do_no_harm() -> None:
    foul = dict.fromkeys(offer(), HOSTILE)
    bare = {"id": 5}
    code, out, err = bench_with(foul, bare, warnings=[HOSTILE], stale=HOSTILE, type=HOSTILE)("offers")
    assert code == 0
    assert forged(out) == [] and forged(err) == []
    assert len(out.splitlines()) == 3
    assert "?" in out.splitlines()[2]


def test_json_is_the_whole_answer_and_raw_the_rows() -> None:
    bench = bench_with(offer(geolocation=HOSTILE), complete=False)
    _, out, err = bench("offers", "--json")
    document = json.loads(out)
    assert document["rows"][0]["geolocation"] == HOSTILE
    assert (document["complete"], document["disk_gb"]) == (False, 20.0)
    assert err == ""
    assert json.loads(bench("offers", "--raw")[1]) == [offer(geolocation=HOSTILE)]
    with pytest.raises(UsageError):
        bench("offers", "--raw", "--json")


def test_errors_of_the_query_pass_through() -> None:
    bench = Bench(
        FakeCholine(fails={"offers": QueryError("no field 'gpuram'", hint="Did you mean gpu_ram?")})
    )
    with pytest.raises(QueryError):
        bench("offers", "gpuram>3")


def test_low_reliability_is_painted_and_still_a_number() -> None:
    bench = bench_with(offer(reliability2=0.9))
    bench.color = True
    assert "\x1b[33m 90.0\x1b[0m" in bench("offers")[1]
