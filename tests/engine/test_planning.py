"""From a request to a plan: what a cap is, what a repeated run keeps, what is refused in words."""

from pathlib import Path
from typing import Any

import pytest

from choline_tui.config.paths import Paths
from choline_tui.engine.api import Api
from choline_tui.engine.checked import read_request
from choline_tui.engine.planning import ANY_PRICE, cap_from, draft
from choline_tui.kernel.errors import ConfigError, NoOffer, ProjectError, UsageError
from choline_tui.model.choose import plan_price
from choline_tui.model.offer import Offer, OfferPage
from choline_tui.model.request import RunRequest
from choline_tui.model.run import Plan, Run
from choline_tui.places.vast import VastPlace
from tests.support.world import World, live

STORAGE = 0.36
"""$/GB/month: 20 GB cost $0.01/h"""


def offer(number: int, base: float, **more: Any) -> Offer:
    fields = {"id": number, "machine_id": number, "dph_base": base, "min_bid": base / 2,
              "storage_cost": STORAGE, "gpu_name": "RTX 4090", "num_gpus": 1}  # fmt: skip
    return Offer(**(fields | more))


def page(*offers: Offer, type: Any = "on-demand") -> OfferPage:
    return OfferPage(offers=offers, seen_at=0.0, disk_gb=20.0, type=type, complete=True)


MARKET = page(offer(1, 0.39), offer(2, 0.42), offer(3, 0.99))
"""$0.40, $0.43 and $1.00 an hour with 20 GB"""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    home = tmp_path / "home"
    home.mkdir()
    return Paths(home, {})


def asked(directory: Path, **fields: Any) -> RunRequest:
    return read_request({"project": str(directory), "command": "true", "gpu": "1x4090", **fields})


def planned(paths: Paths, request: RunRequest, market: OfferPage = MARKET, like: Run | None = None) -> Any:
    made, _settings = draft(request, paths, {}, like)
    plan, offers = cap_from(made, market, set())
    return plan, [o.id for o in offers]


def before(**changes: Any) -> Run:
    plan = Plan(
        project="/nowhere/at/all",
        command="python train.py",
        name="old",
        cap=0.41,
        query="num_gpus=1",
        env={"A": "1", "B": "2"},
        results_into="/nowhere/at/all/results/oldrun",
        image="old/image",
    )
    return Run(id="oldrun", plan=plan.but(**changes), created=0.0, updated=0.0)


# ---------------------------------------------------------------------------------------------- caps


def test_a_premium_is_over_the_first_offers_price(paths: Paths, tmp_path: Path) -> None:
    plan, offers = planned(paths, asked(tmp_path, premium=10))
    assert plan.cap == pytest.approx(0.44) and offers == [1, 2]


def test_a_cap_of_ones_own_is_carried_unchanged(paths: Paths, tmp_path: Path) -> None:
    plan, offers = planned(paths, asked(tmp_path, max_price=0.9))
    assert plan.cap == 0.9 and offers == [1, 2]


@pytest.mark.parametrize(("max_price", "cap"), [(0.41, 0.41), (5.0, 0.44)])
def test_of_a_cap_and_a_premium_the_lower_one_holds(
    paths: Paths, tmp_path: Path, max_price: float, cap: float
) -> None:
    assert planned(paths, asked(tmp_path, max_price=max_price, premium=10))[0].cap == pytest.approx(cap)


def test_no_premium_at_all_still_takes_the_offer_shown(paths: Paths, tmp_path: Path) -> None:
    plan, offers = planned(paths, asked(tmp_path, premium=0))
    assert plan.cap == 0.4 and offers == [1]
    spot = page(offer(1, 0.39, is_bid=True), type="interruptible")
    plan, offers = planned(paths, asked(tmp_path, premium=0, type="interruptible"), spot)
    assert offers == [1]


def test_a_cap_below_everything_says_what_the_cheapest_costs(paths: Paths, tmp_path: Path) -> None:
    with pytest.raises(
        NoOffer, match=r"none under the cap of \$0\.1000/h; the cheapest costs \$0\.4000/h"
    ) as e:
        planned(paths, asked(tmp_path, max_price=0.1))
    assert "--max-price" in e.value.hint


def test_no_offers_at_all_says_what_was_asked(paths: Paths, tmp_path: Path) -> None:
    with pytest.raises(NoOffer, match=r"no on-demand offer matches: .*4090"):
        planned(paths, asked(tmp_path), page())


@pytest.mark.parametrize("cap", [0.3, 0.2, 0.15])
def test_a_bid_and_its_disk_never_cost_more_than_the_cap(paths: Paths, tmp_path: Path, cap: float) -> None:
    spot = page(offer(1, 0.39, is_bid=True), offer(2, 0.20, is_bid=True), type="interruptible")
    made, _ = draft(asked(tmp_path, type="interruptible", max_price=cap, bid=0.5), paths, {}, None)
    for each in spot.offers:
        priced = plan_price(each, made.plan)
        if priced is None:
            assert each.min_bid + 0.01 > cap  # type: ignore[operator]
        else:
            price, bid = priced
            assert bid is not None and price <= cap + 1e-9 and price == pytest.approx(bid + 0.01)


# -------------------------------------------------------------------------------------- what is sent


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_price", 0), ("max_price", -1), ("max_price", float("nan")), ("max_price", float("inf")),
        ("premium", -5), ("premium", float("nan")), ("bid", 0), ("disk", 0), ("disk", float("nan")),
        ("keep_s", -1), ("keep_s", float("inf")), ("max_life_s", 0), ("tries", 0), ("tries", 10**9),
        ("type", "cheap"), ("env", ["A"]), ("ports", "80"), ("nonsense", 1),
    ],
)  # fmt: skip
def test_numbers_that_are_none_are_refused_in_one_line(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(UsageError) as e:
        asked(tmp_path, **{field: value})
    assert field in e.value.message and "\n" not in e.value.message


def test_a_secret_is_not_repeated_in_the_refusal(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as e:
        asked(tmp_path, env={"TOKEN": {"hidden": "hunter2"}})
    assert "hunter2" not in e.value.message + e.value.hint


@pytest.mark.parametrize("directory", ["relative", "", "/nowhere/at/all"])
def test_a_project_that_is_none_is_refused_in_words(paths: Paths, directory: str) -> None:
    with pytest.raises(ProjectError):
        draft(RunRequest(project=directory, command="true", gpu="4090"), paths, {}, None)


def test_without_a_gpu_or_a_command_it_is_said_what_to_give(paths: Paths, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which GPU") as e:
        draft(RunRequest(project=str(tmp_path), command="true"), paths, {}, None)
    assert "--gpu" in e.value.hint
    with pytest.raises(UsageError, match="no command"):
        draft(RunRequest(project=str(tmp_path), gpu="4090"), paths, {}, None)


# ------------------------------------------------------------------------------------------ projects


def test_a_project_says_what_was_not_said(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "choline.toml").write_text(
        'command = "python a.py"\ngpu = "1x4090"\ncap = 0.5\ndisk = 44\nresults = ["out"]\n'
        '[env]\nSEED = "7"\n'
    )
    made, _ = draft(RunRequest(project=str(tmp_path)), paths, {}, None)
    plan, offers = cap_from(made, MARKET, set())
    assert (plan.command, plan.cap, plan.disk_gb, plan.env) == ("python a.py", 0.5, 44, {"SEED": "7"})
    assert plan.results == ["out"] and [o.id for o in offers] == [1, 2]
    made, _ = draft(
        RunRequest(project=str(tmp_path), max_price=0.41, disk=20, env={"SEED": "8"}), paths, {}, None
    )
    assert (made.plan.cap, made.plan.disk_gb, made.plan.env) == (0.41, 20, {"SEED": "8"})


def test_a_project_that_cannot_be_read_is_refused(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "choline.toml").write_text("gpu = [")
    with pytest.raises((ConfigError, ProjectError)):
        draft(RunRequest(project=str(tmp_path)), paths, {}, None)


# ---------------------------------------------------------------------------------------------- like


def test_a_repeated_run_keeps_its_cap_and_more(paths: Paths, tmp_path: Path) -> None:
    plan, offers = planned(paths, RunRequest(project=str(tmp_path), like="oldrun"), like=before(machine_id=1))
    assert (plan.cap, plan.command, plan.image, plan.env) == (
        0.41, "python train.py", "old/image", {"A": "1", "B": "2"},
    )  # fmt: skip
    assert plan.machine_id == 1 and offers == [1]
    assert plan.results_into == "/nowhere/at/all/results"


def test_a_repeated_run_on_an_offer_that_is_gone_takes_another_like_it(paths: Paths, tmp_path: Path) -> None:
    old = before(query="num_gpus=1 ask_contract_id=77", offer_id=77)
    plan, offers = planned(paths, RunRequest(project=str(tmp_path), like="oldrun"), like=old)
    assert plan.offer_id is None and "ask_contract_id" not in plan.query and offers == [1]


def test_a_repeated_run_with_another_gpu_leaves_its_machine(paths: Paths, tmp_path: Path) -> None:
    request = RunRequest(project=str(tmp_path), like="oldrun", gpu="1x4090", env={"B": "3"})
    plan, _ = planned(paths, request, like=before(machine_id=3))
    assert plan.machine_id is None and plan.env == {"A": "1", "B": "3"}


def test_a_premium_given_anew_is_over_the_price_of_now(paths: Paths, tmp_path: Path) -> None:
    dear = page(offer(1, 0.59), offer(2, 0.62))
    with pytest.raises(NoOffer):
        planned(paths, RunRequest(project=str(tmp_path), like="oldrun"), dear, before())
    plan, offers = planned(
        paths, RunRequest(project=str(tmp_path), like="oldrun", premium=10), dear, before()
    )
    assert plan.cap == pytest.approx(0.66) and offers == [1, 2]
    plan, _ = planned(
        paths, RunRequest(project=str(tmp_path), like="oldrun", premium=10, max_price=0.61), dear, before()
    )
    assert plan.cap == 0.61 < ANY_PRICE


# ----------------------------------------------------------------------------------------------- api


def api_of(world: World, home: Path) -> Api:
    assert world.engine is not None
    place = world.engine.ctx.place
    assert isinstance(place, VastPlace)
    home.mkdir(exist_ok=True)
    paths = Paths(home, {})
    return Api(world.engine, place, paths, {}, {}, ssh_config=lambda rental: ("", ""), stop=lambda: None)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("offers", {"disk": "much"}), ("offers", {"disk": float("nan")}), ("offers", {"limit": -1}),
        ("offers", {"colour": "red"}), ("plan", {"request": "x"}), ("plan", {"request": {}}), ("plan", {}),
        ("stop", {"run": {"a": 1}}), ("stop", {"run": "x", "drop_results": "perhaps"}),
        ("run", {"run": None}),
        ("follow", {"run": "x", "offsets": {"1/run": -5}}), ("follow", {"run": "x", "until": "never"}),
        ("destroy", {"target": 7.5}), ("rentals", {"x": 1}),
    ],
)  # fmt: skip
def test_what_clients_send_is_checked(tmp_path: Path, method: str, params: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        with pytest.raises(UsageError) as e:
            answer: Any = api_of(world, tmp_path / "home").methods()[method](**params)
            await answer
        assert "\n" not in e.value.message

    live(tmp_path, story)


def test_what_the_card_shows_is_what_is_rented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(work: Any, /, *args: Any, **more: Any) -> Any:
        return work(*args, **more)

    # a virtual loop waits for no thread
    monkeypatch.setattr("choline_tui.engine.api.asyncio.to_thread", at_once)

    async def story(world: World) -> None:
        project = tmp_path / "project"
        project.mkdir()
        methods = api_of(world, tmp_path / "home").methods()
        request = {"project": str(project), "command": "true", "query": "num_gpus=1", "premium": 5}
        card: Any = await methods["plan"](request=request)  # type: ignore[misc]
        assert card["price"] <= card["plan"]["cap"] <= card["price"] * 1.05 + 1e-6
        assert not world.sim.contracts.history and card["disk_per_day"] > 0
        again = {**request, "max_price": card["plan"]["cap"], "premium": None}
        started: Any = await methods["start"](request=again)  # type: ignore[misc]
        assert started["plan"]["cap"] == card["plan"]["cap"]
        await world.ended(started["id"])
        await world.quiet()
        assert world.store is not None
        rental = world.store.rentals(run=started["id"])[0]
        assert rental.cap == card["plan"]["cap"] and rental.price is not None and rental.price <= rental.cap
        repeated: Any = await methods["start"](  # type: ignore[misc]
            request={"project": str(project), "like": started["id"], "same_code": True}
        )
        assert repeated["plan"]["cap"] == rental.cap and repeated["code"] == started["code"]
        assert repeated["like"] == started["id"] and repeated["id"] != started["id"]
        await world.ended(repeated["id"])
        await world.quiet()

    live(tmp_path, story)


def test_other_peoples_contracts_are_never_destroyed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        run = world.start(keep_s=3600.0)
        await world.ended(run)
        contract = world.sim.contracts.alive()[0]
        methods = api_of(world, tmp_path / "home").methods()
        for label in ("choline-otherhm-runabc-1", None, "mine"):
            contract.label = label
            rental = world.store.rentals(run=run)[0]  # type: ignore[union-attr]
            world.engine.ctx.ledger.rental(rental.id, contract=1)  # type: ignore[union-attr]
            with pytest.raises(UsageError, match="not rented by this home"):
                await methods["destroy"](target=str(contract.id), drop_results=True)  # type: ignore[misc]
        contract.label = "choline-testhome-unknown-1"
        with pytest.raises(UsageError, match="no run is known"):
            await methods["destroy"](target=str(contract.id))  # type: ignore[misc]
        rows: Any = await methods["rentals"]()  # type: ignore[misc]
        assert "orphan" in {r["whose"] for r in rows}
        await methods["destroy"](target=str(contract.id), drop_results=True)  # type: ignore[misc]
        assert not world.sim.contracts.alive()

    live(tmp_path, story)


# --------------------------------------------------------------------------------------------- image


def conditions(paths: Paths, request: RunRequest, like: Run | None = None) -> str:
    made, _settings = draft(request, paths, {}, like)
    assert made.plan.query == made.query.text()
    return made.plan.query


def test_offers_whose_driver_would_refuse_the_image_are_left_out(paths: Paths, tmp_path: Path) -> None:
    image = "nvidia/cuda:12.8.1-devel-ubuntu22.04"
    assert "cuda_max_good>=12.8" in conditions(paths, asked(tmp_path, image=image))
    assert "cuda" not in conditions(paths, asked(tmp_path, image="ubuntu:22.04"))


def test_who_says_something_of_cuda_or_which_offer_has_the_last_word(paths: Paths, tmp_path: Path) -> None:
    image = "pytorch/pytorch:2.7.1-cuda12.6-cudnn9-runtime"
    for query in ("cuda_vers>=12.9", "cuda_max_good=any"):
        assert "12.6" not in conditions(paths, asked(tmp_path, image=image, query=query))
    assert "cuda" not in conditions(paths, asked(tmp_path, image=image, gpu="", offer=4711))


def test_a_repeated_run_with_another_image_asks_for_its_cuda(paths: Paths, tmp_path: Path) -> None:
    like = before(query="num_gpus=1 cuda_max_good>=12.4")
    request = read_request({"project": str(tmp_path), "image": "nvidia/cuda:12.8.1-base", "like": "oldrun"})
    assert "cuda_max_good>=12.8" in conditions(paths, request, like)
    same = read_request({"project": str(tmp_path), "like": "oldrun"})
    assert "cuda_max_good>=12.4" in conditions(paths, same, like)


def test_what_was_rehearsed_here_is_rented_under_a_cap_of_now(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    old = before(place="here", cap=0.0, lease_s=1e9, project=str(tmp_path / "p"))
    again = {"like": "oldrun", "like_what": "plan", "gpu": "", "command": ""}
    made, _ = draft(asked(tmp_path, **again), paths, {}, old)
    assert (made.plan.place, made.plan.cap) == ("here", 0.0), "again is where it was"
    plan, offers = planned(paths, asked(tmp_path, **again, place="vast", premium=10), like=old)
    assert plan.place == "vast" and plan.cap == pytest.approx(0.44) and offers == [1, 2]
    assert plan.lease_s < 1e6, "a rented machine ends itself"
    plan, _ = planned(paths, asked(tmp_path, **again, place="vast", max_price=0.41), like=old)
    assert plan.cap == 0.41
    with pytest.raises(UsageError, match="which GPU"):
        draft(asked(tmp_path, **again, place="vast"), paths, {}, old.but(plan=old.plan.but(query="")))
    fresh, _ = draft(asked(tmp_path, gpu="", place="here"), paths, {}, None)
    assert fresh.plan.place == "here" and fresh.plan.cap == 0, "nothing says which GPU, and nothing has to"
