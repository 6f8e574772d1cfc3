"""``choline filters``, and filters taken by name."""

import json
from pathlib import Path

import pytest

from choline_tui.kernel.errors import NotFound, QueryError
from choline_tui.model.request import PlanCard
from tests.cli.fakes import Bench, plan


@pytest.fixture
def home(bench: Bench, tmp_path: Path) -> Bench:
    bench.environ = {"CHOLINE_HOME": str(tmp_path)}
    return bench


def test_save_list_show_and_forget(home: Bench) -> None:
    code, out, err = home("filters", "list")
    assert (code, out) == (0, "") and "No filters" in err
    words = ("gpu_ram=24", "geolocation=se", "--disk", "40", "--max-price", "$0.5", "-o", "dlperf-")
    code, out, err = home("filters", "save", "cheap", *words)
    assert code == 0 and "--filter cheap" in err and "24564 MB" in err, "the trap is told"
    home("filters", "save", "spot", "num_gpus=8", "--type", "interruptible")
    code, out, _ = home("filters", "list")
    assert out.splitlines()[1].split()[:3] == ["cheap", "gpu_ram=24", "geolocation=SE"] and "spot" in out
    _, out, _ = home("filters", "list", "--json")
    saved = {"query": "gpu_ram=24 geolocation=SE", "order": "dlperf-", "disk": 40.0, "max_price": 0.5}
    assert json.loads(out)["cheap"] == saved
    _, out, _ = home("filters", "show", "cheap")
    assert out.startswith("[filter]\n") and "disk = 40" in out
    _, out, _ = home("filters", "show", "spot", "--vastai")
    assert out == "vastai search offers num_gpus=8 --storage 20 --type bid --order=dph_total\n"
    assert home("filters", "rm", "cheap")[0] == 0
    with pytest.raises(NotFound, match="cheap"):
        home("filters", "show", "cheap")


def test_a_query_that_cannot_be_read_is_not_saved(home: Bench) -> None:
    with pytest.raises(QueryError, match="gpu_rom"):
        home("filters", "save", "x", "gpu_rom>2")
    with pytest.raises(QueryError):
        home("filters", "save", "a b", "num_gpus=1")
    assert home("filters", "list", "--json")[1] == "{}\n"


def test_offers_and_run_take_a_filter_and_flags_say_more(home: Bench) -> None:
    save = ("filters", "save", "cheap", "gpu_ram>=24", "--disk", "40", "--max-price", "0.5", "--type")
    home(*save, "interruptible")
    home("offers", "--filter", "cheap", "num_gpus=2", "--disk", "50")
    asked = home.choline.asked[-1][1]
    assert (asked["query"], asked["disk"], asked["type"]) == ("gpu_ram>=24 num_gpus=2", 50, "interruptible")
    home.choline.card = PlanCard(plan=plan())
    home("run", "--filter", "cheap", "--dry-run", "--", "true")
    request = home.choline.asked[-1][1]
    assert (request.query, request.disk, request.max_price) == ("gpu_ram>=24", 40, 0.5)
    home("run", "--filter", "cheap", "--premium", "5", "--dry-run", "--", "true")
    request = home.choline.asked[-1][1]
    assert (request.premium, request.max_price) == (5, None)
    with pytest.raises(NotFound):
        home("run", "--filter", "chaep", "--dry-run", "--", "true")
