"""The lives of contracts on the clock, and what they cost; weeks in no time."""

import pytest

from choline_tui.simulator import NoRemotes
from tests.simulator.market_client import KEY_LINE, on_virtual_time


class Recorder(NoRemotes):
    """Remotes that only note what was asked of them."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.fail = None

    async def _note(self, what, contract):
        self.calls.append((what, contract))
        if self.fail == what:
            raise RuntimeError("the host broke")

    async def create(self, launch):
        await self._note("create", launch.contract)
        await super().create(launch)

    async def start(self, contract):
        await self._note("start", contract)
        return await super().start(contract)

    async def stop(self, contract):
        await self._note("stop", contract)
        await super().stop(contract)

    async def destroy(self, contract):
        await self._note("destroy", contract)
        await super().destroy(contract)


async def states(call, clock, contract, seconds, step=0.25):
    seen = []
    for _ in range(int(seconds / step)):
        row = await call.show(contract)
        state = (row["actual_status"], row["ports"] is not None)
        if not seen or seen[-1] != state:
            seen.append(state)
        await clock.sleep(step)
    return seen


def test_boot_in_five_seconds_and_ports_a_second_later():
    async def story(sim, call, clock):
        contract = await call.rented()
        began = clock.time()
        seen = await states(call, clock, contract, 7)
        assert seen == [
            (None, False),
            ("created", False),
            ("loading", False),
            ("running", False),
            ("running", True),
        ]
        row = await call.show(contract)
        assert row["uptime_mins"] * 60 == pytest.approx(clock.time() - began - 5, abs=0.01)
        assert row["public_ipaddr"] == "127.0.0.1" and row["ssh_host"] == "127.0.0.1"
        assert row["ports"]["22/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": str(row["ssh_port"])}]

    on_virtual_time(story)


def test_loading_says_how_the_pull_goes_and_the_figures_come_with_running():
    async def story(sim, call, clock):
        contract = await call.rented()
        await clock.sleep(3)
        row = await call.show(contract)
        assert row["actual_status"] == "loading" and ": " in row["status_msg"]
        assert row["disk_usage"] == -1 and row["gpu_util"] is None and row["uptime_mins"] is None
        assert row["instance"]["gpuCostPerHour"] == 0 < row["search"]["gpuCostPerHour"]
        await clock.sleep(3)
        row = await call.show(contract)
        assert row["status_msg"].startswith("success, running a/b:c")
        assert row["instance"] == row["search"]

    on_virtual_time(story)


def test_stop_start_reboot_destroy_in_order_for_the_remote():
    remotes = Recorder()

    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(10)
        assert (await call("PUT", f"/api/v0/instances/{c}/", {"state": "stopped"}))[1]["success"]
        row = await call.show(c)
        assert (row["intended_status"], row["cur_state"], row["next_state"]) == (
            "stopped",
            "running",
            "stopped",
        )
        await clock.sleep(2)
        row = await call.show(c)
        assert row["actual_status"] == "exited" and row["ports"] is None
        assert row["intended_status"] == row["cur_state"] == row["next_state"] == "stopped"
        assert (await call("PUT", f"/api/v0/instances/{c}/", {"state": "running"})) == (
            200,
            {"success": True},
        )
        seen = await states(call, clock, c, 5)
        assert [s for s, _ in seen][-3:] == ["loading", "running", "running"]
        assert (await call("PUT", f"/api/v0/instances/reboot/{c}/", {}))[0] == 200
        seen = await states(call, clock, c, 5)
        assert ("rebooting", False) in seen and seen[-1] == ("running", True)
        assert (await call("DELETE", f"/api/v0/instances/{c}/", {})) == (200, {"success": True})
        assert await call.show(c) is None
        await clock.sleep(1)
        assert remotes.calls == [
            (what, c) for what in ("create", "start", "stop", "start", "stop", "start", "destroy")
        ]

    on_virtual_time(story, backend=remotes)


def test_destroy_while_booting_never_starts_it():
    remotes = Recorder()

    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(2)
        await call("DELETE", f"/api/v0/instances/{c}/")
        await clock.sleep(20)
        assert [what for what, _ in remotes.calls] == ["create", "destroy"]
        assert sim.contracts.alive() == [] and sim.contracts.billing_now() == 0

    on_virtual_time(story, backend=remotes)


def test_closing_destroys_what_is_left():
    remotes = Recorder()

    async def story(sim, call, clock):
        await call.rented()
        await call.rented(label="two")
        await clock.sleep(10)
        await sim.contracts.close()
        status, answer = await call.rent((await call.search())[0]["id"])
        assert status == 503 and answer["error"] == "server_error"
        return sim

    sim = on_virtual_time(story, backend=remotes)
    assert sim.contracts.alive() == [] and sim.contracts.billing_now() == 0
    assert [c.label for c in sim.contracts.history] == [None, "two"]
    assert all(c.destroyed is not None and c.created < c.destroyed for c in sim.contracts.history)
    assert sorted(what for what, _ in remotes.calls) == ["create"] * 2 + ["destroy"] * 2 + ["start"] * 2


def test_the_gpu_bills_while_running_and_the_disk_always():
    async def story(sim, call, clock):
        c = await call.rented(disk=100)
        contract = sim.contracts.get(c)
        disk = 100 * contract.machine.storage_cost / 720
        assert sim.contracts.billing_now() == pytest.approx(disk)
        await clock.sleep(5 + 3600)
        assert sim.contracts.billing_now() == pytest.approx(disk + contract.gpu_price)
        spent = contract.gpu_price + disk * 3605 / 3600
        assert sim.contracts.spent() == pytest.approx(spent, abs=0.01)
        _, user = await call("GET", "/api/v0/users/current")
        assert user["credit"] == pytest.approx(100 - spent, abs=0.01)
        await call("PUT", f"/api/v0/instances/{c}/", {"state": "stopped"})
        await clock.sleep(10)
        before = sim.contracts.spent()
        await clock.sleep(7200)
        assert sim.contracts.spent() - before == pytest.approx(2 * disk)
        await call("DELETE", f"/api/v0/instances/{c}/")
        final = sim.contracts.spent()
        await clock.sleep(86400)
        assert sim.contracts.spent() == final == sim.contracts.history[0].paid

    on_virtual_time(story, bill_pulls=False)


def test_a_wall_clock_that_jumps_bills_the_time():
    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(10)
        clock.jump(3600)
        contract = sim.contracts.get(c)
        assert contract.paid >= contract.gpu_price
        paid = contract.paid
        clock.jump(-3600)
        assert sim.contracts.get(c).paid == paid

    on_virtual_time(story)


def test_an_empty_account_stops_everything_and_a_deposit_starts_it_again():
    async def story(sim, call, clock):
        c = await call.rented()
        price = sim.contracts.get(c).rate() + sim.contracts.get(c).gpu_price
        await clock.sleep(0.2 / price * 3600 - 60)
        assert (await call.show(c))["actual_status"] == "running"
        await clock.sleep(120)
        assert (await call.show(c))["actual_status"] == "exited"
        assert sim.contracts.credit() == pytest.approx(0, abs=0.01)
        status, answer = await call.rent((await call.search())[0]["id"])
        assert (status, answer["error"]) == (400, "insufficient_credit")
        await clock.sleep(5 * 86400)
        assert sim.contracts.credit() < 0, "the disk bills on"
        sim.contracts.deposit(50)
        await clock.sleep(10)
        assert (await call.show(c))["actual_status"] == "running"

    on_virtual_time(story, credit=0.2, bill_pulls=False)


def test_the_end_date_ends_it():
    async def story(sim, call, clock):
        offer = min(await call.search(order=[["duration", "asc"]]), key=lambda o: o["duration"])
        _, answer = await call.rent(offer["id"])
        c = answer["new_contract"]
        await clock.sleep(offer["duration"] - 60)
        assert (await call.show(c))["actual_status"] == "running"
        await clock.sleep(120)
        row = await call.show(c)
        assert row["actual_status"] == "exited" and row["duration"] == 0
        _, answer = await call("PUT", f"/api/v0/instances/{c}/", {"state": "running"})
        assert answer["error"] == "resources_unavailable"

    on_virtual_time(story, credit=1e6)


def test_starting_when_the_gpu_is_taken_is_queued_and_happens_later():
    async def story(sim, call, clock):
        first = await call.rented()
        await clock.sleep(10)
        await call("PUT", f"/api/v0/instances/{first}/", {"state": "stopped"})
        await clock.sleep(5)
        machine = sim.contracts.get(first).machine.id
        gpus = sim.contracts.get(first).slice.gpus
        again = next(
            r for r in sim.market.rows() if r["machine_id"] == machine and set(r["gpu_ids"]) & set(gpus)
        )
        _, answer = await call.rent(again["id"])
        status, refusal = await call("PUT", f"/api/v0/instances/{first}/", {"state": "running"})
        assert status == 200 and refusal["success"] is False
        assert refusal["error"] == "resources_unavailable"
        row = await call.show(first)
        assert row["intended_status"] == "running" and row["cur_state"] == "stopped"
        await call("DELETE", f"/api/v0/instances/{answer['new_contract']}/")
        await clock.sleep(10)
        assert (await call.show(first))["actual_status"] == "running"

    on_virtual_time(story, credit=1e6)


def test_outbid_stops_it_and_a_higher_bid_brings_it_back():
    async def story(sim, call, clock):
        offer = (await call.search(type="bid", duration={"gt": 40 * 86400}))[0]
        _, answer = await call.rent(offer["id"], price=offer["min_bid"] * 1.05)
        c = answer["new_contract"]
        await clock.sleep(10)
        row = await call.show(c)
        assert row["actual_status"] == "running" and row["is_bid"]
        assert row["dph_base"] == pytest.approx(offer["min_bid"] * 1.05)
        for _ in range(24 * 20):
            await clock.sleep(3600)
            row = await call.show(c)
            if row["actual_status"] == "exited":
                break
        assert row["actual_status"] == "exited"
        assert row["intended_status"] == row["cur_state"] == row["next_state"] == "stopped"
        status, answer = await call(
            "PUT", f"/api/v0/instances/bid_price/{c}/", {"client_id": "me", "price": offer["min_bid"] * 20}
        )
        assert status == 200 and answer["success"]
        await clock.sleep(2 * 86400)
        assert (await call.show(c))["actual_status"] == "running"

    on_virtual_time(story, moving=True, credit=1e6)


def test_what_the_container_is_given():
    remotes = Recorder()

    async def story(sim, call, clock):
        await call("POST", "/api/v0/ssh/", {"ssh_key": KEY_LINE})
        offer = (await call.search(num_gpus={"eq": 2}, gpu_name={"eq": "RTX 4090"}))[0]
        env = {"HF_TOKEN": "x y", "-p 8080:8080": "1", "CONTAINER_ID": "9"}
        _, answer = await call.rent(offer["id"], env=env, onstart="echo hi", disk=33)
        await clock.sleep(7)
        c = answer["new_contract"]
        launch = remotes.launches[c]
        assert launch.image == "a/b:c" and launch.onstart == "echo hi" and launch.disk_gb == 33
        assert launch.authorized_keys == [KEY_LINE] and launch.machine_id == offer["machine_id"]
        assert [(g.name, g.memory_mib) for g in launch.gpus] == [("RTX 4090", 24564)] * 2
        assert launch.gpus[0].driver == offer["driver_version"]
        assert launch.env["HF_TOKEN"] == "x y" and launch.env["CONTAINER_ID"] == str(c)
        assert launch.env["VAST_CONTAINERLABEL"] == f"C.{c}" and launch.env["GPU_COUNT"] == "2"
        assert launch.env["CONTAINER_API_KEY"] == answer["instance_api_key"]
        assert launch.env["VAST_URL"] == sim.url and launch.env["PUBLIC_IPADDR"] == "127.0.0.1"
        assert not [name for name in launch.env if name.startswith("-")]
        assert answer["instance_api_key"] not in repr(launch) + repr(sim.contracts.history)
        row = await call.show(c)
        assert ["-p 8080:8080", "1"] in row["extra_env"] and row["ports"]["8080/tcp"]

    on_virtual_time(story, backend=remotes)


def test_a_host_that_breaks_leaves_a_contract_that_says_so():
    remotes = Recorder()
    remotes.fail = "start"

    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(30)
        row = await call.show(c)
        assert row["actual_status"] == "loading" and "Error response from daemon" in row["status_msg"]
        assert "the host broke" in sim.contracts.faults[0]
        assert sim.contracts.billing_now() == pytest.approx(row["storage_total_cost"])
        await call("DELETE", f"/api/v0/instances/{c}/")
        await clock.sleep(1)
        assert remotes.calls[-1] == ("destroy", c)

    on_virtual_time(story, backend=remotes)


def test_thousand_hours_of_forty_contracts_take_little_time():
    async def story(sim, call, clock):
        for _ in range(40):
            await call.rented()
        await clock.sleep(1000 * 3600)
        assert len(sim.contracts.alive()) == 40

    on_virtual_time(story, credit=1e7, offers=800)


def test_virtual_time_goes_on_for_years():
    async def story(sim, call, clock):
        began = clock.time()
        for _ in range(100):
            await clock.sleep(30 * 86400 + 0.1)
            await clock.sleep(0.3)
        assert clock.time() - began == pytest.approx(100 * (30 * 86400 + 0.4))

    on_virtual_time(story)
