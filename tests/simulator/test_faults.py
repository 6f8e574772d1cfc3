"""Faults on purpose: which request is hit, what comes of it, and that it repeats."""

import asyncio
import json

import httpx
import pytest

from choline_tui.kernel.errors import ConfigError, SshDropped, SshRefused
from choline_tui.simulator import NoRemotes, Request, Simulator
from choline_tui.simulator.bad_days import BAD_DAYS
from choline_tui.simulator.faults import CONTRACT_FAULTS, REQUEST_FAULTS, FaultPlan, Rule
from choline_tui.simulator.remotes.modelled import ModelledBackend
from choline_tui.simulator.spoil import REFUSING, SPOILING
from choline_tui.simulator.virtual import VirtualClock, VirtualLoop, run_virtual
from choline_tui.simulator.wire import Lost
from tests.simulator.market_client import Caller, make, on_virtual_time

LISTING = "GET", "/api/v1/instances/"


def plan(*rules, **options):
    return FaultPlan([Rule(**rule) for rule in rules], **options)


def story_with(story, *rules, **options):
    return on_virtual_time(story, faults=plan(*rules), **options)


# ---- every kind


@pytest.mark.parametrize("name", sorted(REFUSING))
@pytest.mark.parametrize("acted", [False, True])
def test_refusing_faults_answer_instead_of_the_market_or_after_it_acted(name, acted):
    async def story(sim, call, clock):
        offers = await call.search()
        status, answer = await call.rent(offers[0]["id"])
        digits = name.split("-")[0]
        assert (status == (int(digits) if digits.isdigit() else status) and status != 200) or "-200" in name
        if "-200" in name:
            assert status == 200 and answer["success"] is False
        assert len(sim.contracts.history) == acted
        assert (await call.rent(offers[1]["id"]))[0] == 200, "once only"
        assert [what for _, what, _ in sim.faults.fired] == [name]

    story_with(story, {"what": name, "on": "ask.create", "nth": (1,), "acted": acted})


def test_the_four_refusals_for_haste_and_the_quota():
    async def story(sim, call, clock):
        bodies = [await call("GET", "/api/v0/users/current") for _ in range(5)]
        assert [status for status, _ in bodies] == [429] * 4 + [200]
        assert bodies[0][1] == "API requests too frequent"
        assert bodies[1][1] == "API requests too frequent: endpoint threshold=2.0"
        assert bodies[2][1] == {"detail": "API requests too frequent endpoint threshold=2.0"}
        assert bodies[3][1]["error"] == "rate_limit_exceeded"

    forms = ["429-plain", "429-threshold", "429-detail", "429-json"]
    story_with(story, *({"what": form, "times": 1} for form in forms))


def whole(body):
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and set(answer) == {"success", "new_contract", "instance_api_key"}


@pytest.mark.parametrize("name", sorted(SPOILING))
def test_spoiling_faults_come_after_the_market_acted(name):
    async def story(sim, call, clock):
        offers = await call.search()
        began = clock.time()
        if name in ("lost", "reset"):
            with pytest.raises(Lost) as lost:
                await call.rent(offers[0]["id"])
            assert (lost.value.answer is None) == (name == "lost")
        else:
            body = json.dumps({"client_id": "me", "image": "a", "disk": 10}).encode()
            head = {"Authorization": "Bearer x"}
            path = f"/api/v0/asks/{offers[0]['id']}/"
            answer = await sim.handle(Request("PUT", path, "", head, body))
            assert answer.status == 200
            harmless = name in ("slow", "text", "huge") or name.startswith("rows")
            assert whole(answer.body) == harmless
            assert (len(answer.body) > 32 << 20) == (name == "huge")
        assert clock.time() - began == (60 if name == "slow" else 0)
        assert len(sim.contracts.history) == 1

    story_with(story, {"what": name, "on": "PUT /api/v0/asks/*"})


@pytest.mark.parametrize(
    ("what", "found", "total", "shown"),
    [
        ("rows-short", 3, 3, 1),
        ("rows-short-consistent", 1, 1, 1),
        ("rows-none", 0, 0, 0),
        ("rows-null", 3, 3, 3),
        ("rows-without-id", 3, 3, 3),
        ("rows-wrong-shape", None, None, 3),
    ],
)
def test_listings_that_lie(what, found, total, shown):
    async def story(sim, call, clock):
        for _ in range(3):
            await call.rented(label="x")
        _, body = await call(*LISTING)
        assert (body.get("instances_found"), body.get("total_instances")) == (found, total)
        assert len(body["instances"]) == shown
        if what == "rows-null":
            assert body["instances"][:2] == [None, None]
        if what == "rows-without-id":
            assert all("id" not in row and row["label"] == "x" for row in body["instances"])
        if what == "rows-short-consistent":
            assert body["label_counts"] == {"x": 1}
        sim.faults.active = False
        _, body = await call(*LISTING)
        assert len(body["instances"]) == 3

    story_with(story, {"what": what, "on": "instance.list", "rows": 2})


def test_the_next_version_of_the_api():
    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(3)
        row = await call.show(c)
        assert row["actual_status"] == "preparing" and row["num_gpus"] == str(int(row["num_gpus"]))
        assert row["schema_revision"] and "cpu_name" not in row and row["disk_bw"] is None

    story_with(story, {"what": "api-v2", "on": "instance.*"})


# ---- which request


def test_exact_requests_probabilities_and_times():
    async def story(sim, call, clock):
        seen = [(await call(*LISTING))[0] for _ in range(6)]
        assert seen == [200, 502, 200, 502, 200, 200]
        assert (await call("GET", "/api/v1/instances"))[0] == 200, "the other form counts as well"
        await clock.sleep(100)
        assert [(await call("GET", "/api/v0/users/current"))[0] for _ in range(3)] == [503, 503, 200]
        await clock.sleep(100)
        assert (await call("GET", "/api/v0/users/current"))[0] == 200

    story_with(
        story,
        {"what": "502", "on": "get /api/v1/instances/", "nth": (2, 4)},
        {"what": "503", "on": "user.*", "from_s": 100, "until_s": 200, "times": 2},
    )


def test_chances_are_seeded():
    async def statuses(sim, call, clock):
        return [(await call(*LISTING))[0] for _ in range(300)]

    def run(seed):
        return on_virtual_time(statuses, faults=plan({"what": "502", "chance": 0.2}, seed=seed))

    first = run(1)
    assert first == run(1) != run(2)
    assert 30 < first.count(502) < 90


def test_the_first_rule_that_fits_hits_and_all_count():
    async def story(sim, call, clock):
        seen = [(await call(*LISTING))[0] for _ in range(3)]
        assert seen == [502, 503, 200]

    story_with(story, {"what": "502", "nth": (1,)}, {"what": "503", "nth": (1, 2)})


# ---- plans as files


def test_a_plan_from_toml(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'seed = 3\n[[fault]]\nwhat = "slow"\non = "search"\nnth = 2\nseconds = 1.5\n'
        '[[fault]]\nwhat = "ssh-refused"\nchance = 0.5\n'
    )
    made = FaultPlan.load(str(file))
    assert made.name == "mine"
    assert made.rules == [
        Rule("slow", on="search", nth=(2,), seconds=1.5),
        Rule("ssh-refused", chance=0.5),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[fault]]\nwhat = 'lots'", "did you mean lost"),
        ("[[fault]]\nwhat = 'lost'\nchances = 1", "did you mean chance"),
        ("[[fault]]\nwhat = 'lost'\nchance = 2", "0 to 1"),
        ("[[fault]]\nwhat = 'lost'\nchance = true", "chance cannot be"),
        ("[[fault]]\nwhat = 'lost'\ntimes = 'x'", "times cannot be"),
        ("[[fault]]\nwhat = 'lost'\nnth = 0", "from 1"),
        ("[[fault]]\nwhat = 'slow'\nseconds = -1", "no sense"),
        ("[[fault]]\nnth = 1", "needs 'what'"),
        ("fault = 3", "[[fault]]"),
        ("faults = []", "did you mean fault"),
        ("seed = 'x'", "number"),
        ("[[fault", "not TOML"),
    ],
)
def test_plans_that_make_no_sense(text, words):
    with pytest.raises(ConfigError) as refused:
        FaultPlan.from_toml(text)
    assert words in str(refused.value)


def test_plans_that_are_not_there(tmp_path):
    with pytest.raises(ConfigError) as refused:
        FaultPlan.load("flaky-munday")
    assert "did you mean flaky-monday" in str(refused.value)
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError):
        FaultPlan.load(str(tmp_path / "x"))


def test_every_name_is_documented():
    from choline_tui.simulator import faults, mishaps

    text = f"{faults.__doc__}{mishaps.__doc__}"
    assert [name for name in REQUEST_FAULTS | CONTRACT_FAULTS if f"``{name}``" not in text] == []


@pytest.mark.parametrize("day", sorted(BAD_DAYS))
def test_a_bad_day_is_bad_and_repeats(day):
    async def story(sim, call, clock):
        seen = []
        for n in range(40):
            try:
                offers = (await call("POST", "/api/v0/bundles/", {"type": "bid" if n % 2 else "on-demand"}))[
                    1
                ]
                rows = [o for o in offers["offers"] if o] if isinstance(offers, dict) else []
                price = float(rows[0]["min_bid"]) * 1.2 if n % 2 else None
                seen.append((await call.rent(rows[0]["id"], price=price))[0])
                seen.append((await call(*LISTING))[0])
            except (Lost, KeyError, IndexError, ValueError) as error:
                seen.append(type(error).__name__)
            await clock.sleep(60)
        return seen, [what for _, what, _ in sim.faults.fired]

    def run():
        return on_virtual_time(story, faults=FaultPlan.load(day), credit=1e6, backend=NoRemotes(), offers=400)

    seen, fired = run()
    assert (seen, fired) == run()
    assert len(set(fired)) >= 3


# ---- over a socket


async def test_lost_and_reset_over_the_socket():
    rules = [
        {"what": "lost", "on": "ask.create", "nth": (1,)},
        {"what": "reset", "on": "search", "nth": (2,)},
        {"what": "refused", "on": "user.current"},
        {"what": "cut", "on": "instance.list"},
        {"what": "slow", "on": "gpu_names", "seconds": 0.2},
    ]
    async with (
        Simulator(offers=100, moving=False, faults=plan(*rules)) as sim,
        httpx.AsyncClient(base_url=sim.url, headers={"Authorization": "Bearer x"}) as client,
    ):
        offers = (await client.post("/api/v0/bundles/", json={})).json()["offers"]
        with pytest.raises(httpx.TransportError):
            await client.put(f"/api/v0/asks/{offers[0]['id']}/", json={"image": "a", "disk": 10})
        assert len(sim.contracts.alive()) == 1, "it was done, nobody was told"
        with pytest.raises(httpx.TransportError):
            await client.post("/api/v0/bundles/", json={})
        with pytest.raises(httpx.TransportError):
            await client.get("/api/v0/users/current")
        cut = await client.get("/api/v1/instances/")
        with pytest.raises(json.JSONDecodeError):
            cut.json()
        began = asyncio.get_running_loop().time()
        assert (await client.get("/api/v0/gpu_names/unique/")).status_code == 200
        assert asyncio.get_running_loop().time() - began >= 0.2


# ---- contracts and the market


def test_the_contract_costs_more_than_the_offer():
    async def story(sim, call, clock):
        offer = (await call.search(allocated_storage=10))[0]
        _, answer = await call.rent(offer["id"])
        row = await call.show(answer["new_contract"])
        assert row["dph_base"] == pytest.approx(3 * offer["dph_base"])
        assert row["dph_total"] == pytest.approx(3 * offer["dph_base"] + offer["storage_total_cost"])

    story_with(story, {"what": "wrong-price", "factor": 3})


def test_a_race_lost_is_a_refusal_or_a_leftover_that_starts_later():
    async def story(sim, call, clock):
        offers = await call.search(duration={"gt": 40 * 86400})
        status, answer = await call.rent(offers[0]["id"], cancel_unavail=True)
        assert (status, answer["error"]) == (410, "no_such_ask") and not sim.contracts.history
        status, answer = await call.rent(offers[1]["id"])
        assert status == 200 and answer["success"]
        await clock.sleep(30)
        row = await call.show(answer["new_contract"])
        assert (row["actual_status"], row["cur_state"], row["intended_status"]) == (
            "loading",
            "stopped",
            "running",
        )
        assert row["status_msg"] is None and row["instance"]["gpuCostPerHour"] == 0
        assert sim.contracts.billing_now() == pytest.approx(row["storage_total_cost"])
        await clock.sleep(600)
        row = await call.show(answer["new_contract"])
        assert row["actual_status"] == "running", "they left, and the queued start fired"

    story_with(story, {"what": "taken", "on": "ask.create", "seconds": 300})


def test_ssh_refused_dropped_and_a_full_disk_on_modelled_remotes():
    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(6)
        with pytest.raises(SshRefused):
            sim.backend.session(c)
        await clock.sleep(60)
        session = sim.backend.session(c)
        assert (await session.probe()).disk_free_bytes > 0
        await clock.sleep(60)
        with pytest.raises(SshDropped):
            await session.probe()
        session = sim.backend.session(c)
        assert (await session.probe()).disk_free_bytes > 0
        await clock.sleep(60)
        assert (await session.probe()).disk_free_bytes == 0
        await clock.sleep(60)
        assert (await session.probe()).disk_free_bytes > 0
        assert sim.contracts.faults == []

    rules = [
        {"what": "ssh-refused", "seconds": 50},
        {"what": "ssh-dropped", "delay_s": 110},
        {"what": "disk-full", "delay_s": 160, "seconds": 60},
    ]
    loop = VirtualLoop()
    clock = VirtualClock(loop)

    async def main():
        async with make(clock, faults=plan(*rules), backend=ModelledBackend(clock)) as sim:
            await story(sim, Caller(sim), clock)

    run_virtual(main(), loop)
