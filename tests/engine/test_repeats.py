"""A run again, and another one on what that was rented by: which part comes from where."""

from pathlib import Path
from typing import Any

import pytest

from choline_tui.config.paths import Paths
from choline_tui.engine.checked import read_request
from choline_tui.engine.planning import cap_from, draft
from choline_tui.kernel.errors import UsageError
from choline_tui.model.offer import Offer, OfferPage
from choline_tui.model.run import Plan, Rental, Run


def before(**changes: Any) -> Run:
    plan = {
        "project": "/nowhere/at/all", "command": "python old.py", "setup": "old setup", "name": "old",
        "cap": 0.41, "image": "old/image", "query": "gpu_name=RTX_4090 num_gpus=2 inet_down>500",
        "disk_gb": 40.0, "env": {"A": "1"}, "ports": ["6006"],
        "results_into": "/nowhere/at/all/results/oldrun",
        "max_life_s": 7200.0, "tries": 3, "wait_s": 77.0, "keep_s": 600.0,
    }  # fmt: skip
    return Run(id="oldrun", plan=Plan(**{**plan, **changes}), created=0.0, updated=0.0)


def rented(**changes: Any) -> Rental:
    fields = {
        "id": "oldrun-1", "run": "oldrun", "attempt": 1, "label": "l", "offer_id": 77, "gpu_name": "RTX 4090",
        "num_gpus": 2, "offer_price": 0.4, "disk_gb": 40.0, "cap": 0.41, "intended": 0.0,
    }  # fmt: skip
    return Rental(**{**fields, **changes})


def drafted(project: Path, like: Run, rental: Rental | None = None, **fields: Any) -> Any:
    request = read_request({"project": str(project), "like": like.id, **fields})
    (project / "home").mkdir(exist_ok=True)
    made, _ = draft(request, Paths(project / "home", {}), {}, like, rental)
    return made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "choline.toml").write_text(
        'command = "python new.py"\nsetup = "new setup"\nname = "new"\ngpu = "1x3060"\n'
        'results_dir = "out"\ntty = true\n[env]\nB = "2"\n'
    )
    return tmp_path


def test_like_takes_the_machine_of_then_and_the_project_of_now(project: Path) -> None:
    made = drafted(project, before(), like_what="machine")
    plan = made.plan
    assert (plan.command, plan.setup, plan.name, plan.env) == (
        "python new.py", "new setup", "new", {"B": "2"},
    )  # fmt: skip
    assert plan.results_into == str(project / "out") and plan.ports == [] and plan.tty
    assert "gpu_name=RTX_4090" in plan.query and "num_gpus=2" in plan.query and "inet_down>500" in plan.query
    assert "3060" not in plan.query
    assert (plan.cap, plan.disk_gb, plan.image, made.capped) == (0.41, 40.0, "old/image", True)
    assert (plan.max_life_s, plan.tries, plan.wait_s) == (7200.0, 3, 77.0)
    assert plan.keep_s == 0.0  # to keep a machine costs: that is said each time


def test_what_is_said_now_stands_over_what_was_then(project: Path) -> None:
    made = drafted(
        project, before(bid=0.2, type="interruptible"), like_what="machine", gpu="1x3090", disk=60.0,
        image="new/image", max_price=0.9, type="on-demand", command="true", tty=False,
    )  # fmt: skip
    plan = made.plan
    assert "RTX_3090" in plan.query and "inet_down" not in plan.query
    assert (plan.disk_gb, plan.image, plan.cap, plan.type, plan.bid) == (
        60.0, "new/image", 0.9, "on-demand", None,
    )  # fmt: skip
    assert plan.command == "true" and not plan.tty
    assert drafted(project, before(bid=0.2, type="interruptible"), like_what="machine").plan.bid == 0.2


def test_a_premium_is_over_the_prices_of_now(project: Path) -> None:
    made = drafted(project, before(), like_what="machine", premium=10)
    gpus = {"gpu_name": "RTX 4090", "num_gpus": 2, "inet_down": 900}
    dear = Offer(**{"id": 1, "machine_id": 1, "dph_base": 0.98, "storage_cost": 0.36, **gpus})
    page = OfferPage(offers=(dear,), seen_at=0.0, disk_gb=40.0, type="on-demand", complete=True)
    plan, offers = cap_from(made, page, set())
    assert plan.cap == pytest.approx(1.1) and [o.id for o in offers] == [1]


def test_the_projects_own_image_is_the_projects(project: Path) -> None:
    file = project / "choline.toml"
    file.write_text('image = "project/image"\n' + file.read_text())
    assert drafted(project, before(), like_what="machine").plan.image == "project/image"


def test_without_a_command_it_says_how_the_old_one_is_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no command") as caught:
        drafted(tmp_path, before(), like_what="machine")
    assert "choline again oldrun" in caught.value.hint


@pytest.mark.parametrize("what", ["plan", "machine"])
def test_of_an_offer_that_is_gone_its_gpus_are_asked_for(tmp_path: Path, what: str) -> None:
    like = before(query="ask_contract_id=77", offer_id=77)
    fields = {"like_what": what, "command": "true"}
    plan = drafted(tmp_path, like, rented(), **fields).plan
    assert plan.offer_id is None and "ask_contract_id" not in plan.query
    assert "gpu_name=RTX_4090" in plan.query and "num_gpus=2" in plan.query
    # without it, whatever is cheapest would be rented: nobody asked for that
    with pytest.raises(UsageError, match="offer 77 alone") as caught:
        drafted(tmp_path, like, None, **fields)
    assert "--gpu" in caught.value.hint
    assert "RTX_3060" in drafted(tmp_path, like, None, gpu="1x3060", **fields).plan.query


def test_again_keeps_the_terminal_unless_told_otherwise(tmp_path: Path) -> None:
    assert drafted(tmp_path, before(tty=True)).plan.tty
    assert not drafted(tmp_path, before(tty=True), tty=False).plan.tty
    assert drafted(tmp_path, before(), tty=True).plan.tty
