"""What the real market was seen to do to contracts: late, lost, outbid, unpaid, ended. Weeks in no time."""

import pytest

from choline_tui.simulator import NoRemotes, Request
from choline_tui.simulator.faults import FaultPlan, Rule
from choline_tui.simulator.wire import Lost
from tests.simulator.market_client import KEY_LINE, on_virtual_time

LONG = {"gt": 40 * 86400}


class Keys(NoRemotes):
    def __init__(self):
        super().__init__()
        self.refused = []

    async def refuse_ssh(self, contract, refuse):
        self.refused.append((contract, refuse))


def with_faults(story, *rules, **options):
    return on_virtual_time(story, faults=FaultPlan([Rule(**rule) for rule in rules]), **options)


def test_ports_come_late_and_keys_later_still():
    remotes = Keys()

    async def story(sim, call, clock):
        await call("POST", "/api/v0/ssh/", {"ssh_key": KEY_LINE})
        c = await call.rented()
        await clock.sleep(20)
        row = await call.show(c)
        assert row["actual_status"] == "running" and row["ports"] is None and row["public_ipaddr"] is None
        assert remotes.launches[c].authorized_keys == []
        await clock.sleep(20)
        assert (await call.show(c))["ports"] and remotes.launches[c].authorized_keys == []
        await clock.sleep(30)
        assert remotes.launches[c].authorized_keys == [KEY_LINE]

    with_faults(
        story, {"what": "late-ports", "seconds": 30}, {"what": "late-key", "seconds": 60}, backend=remotes
    )


def test_the_proxy_is_closed_for_a_while():
    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(10)
        row = await call.show(c)
        direct = int(row["ports"]["22/tcp"][0]["HostPort"])
        assert row["ssh_port"] == 9 != direct
        await clock.sleep(40)
        assert (await call.show(c))["ssh_port"] == direct

    with_faults(story, {"what": "proxy-closed", "seconds": 40})


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("me/does-not-exist:1", "manifest unknown"),
        ("private/thing", "pull access denied"),
        ("a/b:broken", "OCI runtime create failed"),
    ],
)
def test_a_bad_image_never_becomes_terminal(image, words):
    async def story(sim, call, clock):
        c = await call.rented(image=image)
        await clock.sleep(10 * 3600)
        row = await call.show(c)
        assert (row["actual_status"], row["cur_state"], row["intended_status"]) == (
            "loading",
            "running",
            "running",
        )
        assert words in row["status_msg"]
        assert sim.contracts.billing_now() == pytest.approx(row["storage_total_cost"]), "the disk bills"
        await call("PUT", f"/api/v0/instances/{c}/", {"state": "stopped"})
        await clock.sleep(10)
        assert (await call.show(c))["cur_state"] == "stopped"
        await call("DELETE", f"/api/v0/instances/{c}/")

    on_virtual_time(story)


def test_an_image_and_a_start_that_fail_on_purpose():
    async def story(sim, call, clock):
        first = await call.rented(label="image")
        second = await call.rented(label="start")
        await clock.sleep(60)
        row = await call.show(first)
        assert row["actual_status"] == "loading" and row["status_msg"] == "denied"
        row = await call.show(second)
        assert row["actual_status"] == "loading" and "OCI runtime create failed" in row["status_msg"]

    with_faults(
        story,
        {"what": "bad-image", "on": "image", "text": "denied"},
        {"what": "start-fails", "on": "start"},
    )


def test_a_lost_host_bills_nothing_and_comes_back():
    remotes = Keys()

    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(60)
        spent = sim.contracts.spent()
        row = await call.show(c)
        assert row["actual_status"] == "offline" and row["gpu_util"] is None and row["uptime_mins"] is None
        assert sim.contracts.billing_now() == 0
        machine = sim.contracts.get(c).machine.id
        assert not [r for r in sim.market.rows() if r["machine_id"] == machine], "it is off the market"
        await call("PUT", f"/api/v0/instances/{c}/", {"state": "stopped"})
        await clock.sleep(600)
        assert (await call.show(c))["actual_status"] == "offline", "nothing reaches it"
        assert sim.contracts.spent() == spent
        await clock.sleep(400)
        assert (await call.show(c))["actual_status"] == "exited", "the stop was carried out when it came back"
        assert remotes.refused == [(c, True), (c, False)]

    with_faults(story, {"what": "host-lost", "delay_s": 30, "seconds": 1000}, backend=remotes)


def test_a_lost_host_while_booting_takes_the_boot_up_again():
    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(2)
        machine = sim.contracts.get(c).machine
        sim.contracts.lose_host(machine, "unknown")
        await clock.sleep(3600)
        assert (await call.show(c))["actual_status"] == "unknown"
        sim.contracts.find_host(machine)
        await clock.sleep(10)
        assert (await call.show(c))["actual_status"] == "running"

    on_virtual_time(story)


def test_a_lost_host_can_be_left_for_good():
    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(60)
        sim.contracts.lose_host(sim.contracts.get(c).machine)
        assert (await call("DELETE", f"/api/v0/instances/{c}/"))[0] == 200
        assert await call.show(c) is None and sim.contracts.alive() == []
        await clock.sleep(5)
        assert sim.backend.launches == {}

    on_virtual_time(story)


def test_a_machine_ends_itself_through_the_market_unless_its_host_is_lost():
    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(10)
        contract = sim.contracts.get(c)
        with pytest.raises(ConnectionError, match="502"):
            await sim.instance_request(c, "stop")
        sim.contracts.lose_host(contract.machine)
        with pytest.raises(Lost):
            await sim.instance_request(c, "stop")
        assert contract.intended == "running"
        sim.contracts.find_host(contract.machine)
        await sim.instance_request(c, "stop")
        assert contract.intended == "stopped"
        await sim.instance_request(c, "destroy")
        assert sim.contracts.alive() == []
        await sim.instance_request(c, "destroy")

    with_faults(story, {"what": "502", "on": "instance.state", "times": 1})


def test_outbid_on_purpose_looks_like_a_stop_and_resumes_by_itself():
    async def story(sim, call, clock):
        offer = (await call.search(type="bid", duration=LONG))[0]
        _, answer = await call.rent(offer["id"], price=offer["min_bid"] * 1.5)
        c = answer["new_contract"]
        await clock.sleep(10)
        assert (await call.show(c))["actual_status"] == "running"
        await clock.sleep(60)
        row = await call.show(c)
        assert row["actual_status"] == "exited"
        assert row["intended_status"] == row["cur_state"] == row["next_state"] == "stopped"
        disk = row["storage_total_cost"]
        assert sim.contracts.billing_now() == pytest.approx(disk)
        await clock.sleep(300)
        assert (await call.show(c))["actual_status"] == "running"

    with_faults(story, {"what": "outbid", "delay_s": 30, "seconds": 300})


def test_no_credit_stops_everything_and_deletes_it_in_the_end():
    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(86400)
        assert (await call.show(c))["actual_status"] == "exited"
        status, answer = await call("PUT", f"/api/v0/instances/{c}/", {"state": "running"})
        assert (status, answer["error"]) == (400, "missing_billing")
        await clock.sleep(5 * 86400)
        assert await call.show(c) is not None
        await clock.sleep(2 * 86400)
        assert await call.show(c) is None and sim.contracts.credit() < 0
        sim.contracts.deposit(20)
        assert await call.rented()

    on_virtual_time(story, credit=0.2)


def test_two_days_after_its_end_a_contract_is_deleted():
    async def story(sim, call, clock):
        offer = min(await call.search(order=[["duration", "asc"]]), key=lambda o: o["duration"])
        _, answer = await call.rent(offer["id"])
        c = answer["new_contract"]
        await clock.sleep(offer["duration"] + 47 * 3600)
        assert (await call.show(c))["actual_status"] == "exited"
        await clock.sleep(2 * 3600)
        assert await call.show(c) is None

    on_virtual_time(story, credit=1e6)


def test_a_price_increase_is_accepted_rejected_or_left():
    async def story(sim, call, clock):
        c, d = await call.rented(), await call.rented()
        await clock.sleep(60)
        before = await call.show(c)
        path = "/api/v0/instances/pending-price-increases/"
        _, answer = await call("GET", path)
        assert answer["count"] == 2
        rows = {row["contract_id"]: row for row in answer["pending_price_increases"]}
        assert rows[c]["new_gpu_costpersec"] == pytest.approx(1.5 * before["dph_base"] / 3600)
        assert rows[c]["ask_end_date"] > rows[c]["contract_end_date"] == before["end_date"]
        accept, reject = (f"/api/v0/instances/{verb}-price-increase/" for verb in ("accept", "reject"))
        number = {"pending_price_increase_id": rows[c]["pending_price_increase_id"]}
        assert (await call("PUT", accept, number | {"id": 1}))[0] == 400
        assert (await call("PUT", accept, number))[1]["contract_id"] == c
        row = await call.show(c)
        assert row["dph_base"] == pytest.approx(1.5 * before["dph_base"])
        assert row["end_date"] == rows[c]["ask_end_date"]
        status, answer = await call("PUT", accept, number)
        assert (status, answer["error"]) == (404, "no_pending_price_increase")
        number = {"pending_price_increase_id": rows[d]["pending_price_increase_id"]}
        price = (await call.show(d))["dph_base"]
        assert (await call("PUT", reject, number))[0] == 200
        row = await call.show(d)
        assert row["dph_base"] == price and row["end_date"] == rows[d]["contract_end_date"]

    with_faults(story, {"what": "price-increase", "factor": 1.5})


def test_two_tenants_on_one_offer_and_the_one_who_pays_more_has_it():
    async def story(sim, call, clock):
        offer = (await call.search(type="bid", duration=LONG, num_gpus={"eq": 1}))[0]
        bid = offer["min_bid"] * 1.2
        _, answer = await call.rent(offer["id"], price=bid)
        first = answer["new_contract"]
        await clock.sleep(10)
        again = (await call.search(type="bid", ask_contract_id={"eq": offer["id"]}))[0]
        assert again["min_bid"] > bid, "still on offer, for more"
        status, answer = await call.rent(offer["id"], price=bid, cancel_unavail=True)
        assert (status, answer["error"]) == (410, "no_such_ask")
        status, answer = await call.rent(offer["id"])
        assert status == 200
        second = answer["new_contract"]
        await clock.sleep(10)
        assert (await call.show(second))["actual_status"] == "running"
        row = await call.show(first)
        assert row["actual_status"] == "exited" and row["intended_status"] == "stopped"
        assert not await call.search(ask_contract_id={"eq": offer["id"]}), "on demand gives way to nobody"
        await call("DELETE", f"/api/v0/instances/{second}/")
        await clock.sleep(10)
        assert (await call.show(first))["actual_status"] == "running"

    on_virtual_time(story, contested=True)


def test_a_raised_bid_is_what_others_have_to_beat():
    async def story(sim, call, clock):
        offer = (await call.search(type="bid", duration=LONG, num_gpus={"eq": 1}))[0]
        _, answer = await call.rent(offer["id"], price=offer["min_bid"] * 1.1)
        first = answer["new_contract"]
        await clock.sleep(10)
        await call("PUT", f"/api/v0/instances/bid_price/{first}/", {"price": offer["min_bid"] * 2})
        _, answer = await call.rent(offer["id"], price=offer["min_bid"] * 1.5, cancel_unavail=True)
        assert answer["error"] == "no_such_ask"
        _, answer = await call.rent(offer["id"], price=offer["min_bid"] * 2.5)
        await clock.sleep(10)
        assert (await call.show(answer["new_contract"]))["actual_status"] == "running"
        assert (await call.show(first))["actual_status"] == "exited"

    on_virtual_time(story, contested=True)


def test_other_people_are_seeded_and_get_in_the_way():
    async def story(sim, call, clock):
        contracts = [await call.rented(label=str(n)) for n in range(3)]
        seen = []
        for _ in range(24 * 5):
            await clock.sleep(3600)
            rows = [await call.show(c) for c in contracts]
            offers = await call.search(order=[["dph_total", "asc"]])
            seen.append(([row["actual_status"] for row in rows], offers[0]["id"]))
        return seen, sim.strangers.rents

    def run(people):
        return on_virtual_time(story, people=people, credit=1e6)

    seen, rents = run(60.0)
    assert (seen, rents) == run(60.0)
    assert rents > 1000
    assert {state for states, _ in seen for state in states} & {"offline", "unknown"}
    assert len({offer for _, offer in seen}) > 10
    still, none = run(0.0)
    assert none == 0 and len({offer for _, offer in still}) == 1


def test_the_daily_search_quota():
    async def story(sim, call, clock):
        await clock.sleep(3600)
        statuses = [(await call("POST", "/api/v0/bundles/", {}))[0] for _ in range(4)]
        assert statuses == [200, 200, 200, 429]

        answer = await sim.handle(
            Request("POST", "/api/v0/bundles/", "", {"authorization": "Bearer account"})
        )
        assert answer.json()["error"] == "search_quota_exceeded"
        reset = int(answer.headers["x-ratelimit-reset"])
        assert reset % 86400 == 0 and 0 < reset - clock.time() <= 86400
        await clock.sleep(reset - clock.time() + 1)
        assert (await call("POST", "/api/v0/bundles/", {}))[0] == 200

    on_virtual_time(story, search_quota=3)


def test_all_four_refusals_for_haste():
    async def story(sim, call, clock):
        await call("GET", "/api/v1/instances/")
        bodies = [(await call("GET", "/api/v1/instances/"))[1] for _ in range(4)]
        assert [type(body) for body in bodies] == [dict, str, str, dict]
        assert "detail" in bodies[0] and "threshold" not in bodies[1] and "threshold" in bodies[2]
        assert bodies[3]["error"] == "rate_limit_exceeded"

    on_virtual_time(story, rate_limits=True)
