"""The rest of the API: bulk calls, files, copies, templates, volumes, schedules, variables and the bill."""

import math
import shutil

import pytest

from choline_tui.kernel.errors import RemoteError
from choline_tui.simulator import NoRemotes, Simulator
from choline_tui.simulator.endpoints.schedule import next_hour
from choline_tui.simulator.remotes.disk import fill
from choline_tui.simulator.remotes.modelled import ModelledBackend
from choline_tui.simulator.virtual import START, VirtualClock, VirtualLoop, run_virtual
from tests.simulator.market_client import Caller, make, on_virtual_time
from tests.support import eventually

LONG = {"gt": 40 * 86400}


class Disks(NoRemotes):
    """Remotes that are a folder each."""

    def __init__(self, root):
        super().__init__()
        self.root = root

    def home(self, contract):
        return self.root / str(contract)

    async def create(self, launch):
        await super().create(launch)
        self.home(launch.contract).mkdir()

    async def destroy(self, contract):
        await super().destroy(contract)
        shutil.rmtree(self.home(contract))


async def result(call, answer):
    token = answer["result_url"].rpartition("/")[2]
    await call("GET", f"/results/{token}")
    status, text = await call("GET", f"/results/{token}")
    assert status == 200
    return text


# ---- renting


def test_several_at_once():
    async def story(sim, call, clock):
        offers = await call.search()
        seen = {}
        for offer in offers:
            seen.setdefault(offer["machine_id"], offer["id"])
        ids = list(seen.values())[:3]
        status, answer = await call("POST", "/api/v0/asks/bulk/", {"ids": [*ids, 5], "image": "a", "disk": 8})
        assert status == 200 and len(answer["new_contracts"]) == 3
        assert [row["ask_id"] for row in answer["failed"]] == [5]
        status, answer = await call("POST", "/api/v0/asks/bulk/", {"ids": [5, 6], "image": "a"})
        assert status == 404 and "no_such_ask" in answer["msg"]
        assert (await call("POST", "/api/v0/asks/bulk/", {"ids": [], "image": "a"}))[0] == 400
        numbers = [c.id for c in sim.contracts.alive()]
        status, answer = await call("POST", "/api/v0/instances/start/", {"IDs": numbers})
        assert answer == {"success": True}
        _, answer = await call("GET", "/api/v0/instances/count/")
        assert answer["count"] == 3

    on_virtual_time(story)


def test_search_and_rent_in_one():
    async def story(sim, call, clock):
        query = {"gpu_name": {"eq": "RTX 4090"}, "order": [["dph_total", "asc"]], "limit": 3}
        body = {"image": "a", "disk": 16, "q": query}
        status, answer = await call("PUT", "/api/v0/launch_instance/", body)
        assert status == 200
        assert (await call.show(answer["new_contract"]))["gpu_name"] == "RTX 4090"
        status, answer = await call(
            "PUT", "/api/v0/launch_instance/", {**body, "q": {"num_gpus": {"gt": 99}}}
        )
        assert status == 404 and answer["error"] == "no_such_ask"

    on_virtual_time(story)


def test_prepaying_lowers_the_price():
    async def story(sim, call, clock):
        c = await call.rented()
        base = (await call.show(c))["dph_base"]
        status, answer = await call("PUT", f"/api/v0/instances/prepay/{c}/", {"amount": base * 720 * 1.5})
        assert status == 200 and answer["discount_rate"] == 0.2 and answer["timescale"] == 1.5
        assert (await call.show(c))["dph_base"] == pytest.approx(base * 0.8)
        _, answer = await call("GET", f"/api/v0/instances/balance/{c}/")
        assert answer["refundable_deposit"] == pytest.approx(base * 720 * 1.5)
        status, answer = await call("PUT", f"/api/v0/instances/prepay/{c}/", {"amount": 1e9})
        assert (status, answer["error"]) == (411, "insufficient_credit")

    on_virtual_time(story, credit=10_000)


def test_recycle_and_update_make_the_container_anew():
    async def story(sim, call, clock):
        c = await call.rented()
        await clock.sleep(10)
        sim.backend.launches[c].env["MARK"] = "old"
        assert (await call("PUT", f"/api/v0/instances/recycle/{c}/", {}))[0] == 200
        states = []
        for _ in range(40):
            await clock.sleep(0.25)
            states.append((await call.show(c))["actual_status"])
        assert states[-1] == "running" and "loading" in states
        assert "MARK" not in sim.backend.launches[c].env and sim.contracts.get(c).held
        body = {"id": c, "image": "x/y:2", "env": {"A": "B"}, "onstart": "echo"}
        _, answer = await call("PUT", f"/api/v0/instances/update_template/{c}/", body)
        assert answer["updated_instance"]["image_uuid"] == "x/y:2"
        await clock.sleep(10)
        assert sim.backend.launches[c].image == "x/y:2" and sim.backend.launches[c].env["A"] == "B"
        await call("PUT", f"/api/v0/instances/{c}/", {"state": "stopped"})
        await clock.sleep(10)
        await call("PUT", f"/api/v0/instances/recycle/{c}/", {})
        await clock.sleep(10)
        assert (await call.show(c))["cur_state"] == "stopped", "a stopped one stays stopped"

    on_virtual_time(story, backend=NoRemotes())


# ---- files


def on_disks(remotes):
    """In real time: files are worked on in threads."""
    return Simulator(offers=100, moving=False, listen=False, boot=0.05, backend=remotes)


async def test_ls_du_rm_also_on_stopped_instances(tmp_path):
    remotes = Disks(tmp_path)
    async with on_disks(remotes) as sim:
        call = Caller(sim)
        c = await call.rented()
        await eventually(lambda: sim.contracts.get(c).booted)
        home = remotes.home(c)
        (home / "data").mkdir()
        (home / "data" / "big").write_bytes(b"x" * 100_000)
        (home / "data" / ".hidden").write_text("x")
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "mine").write_text("x")
        (home / "link").symlink_to(outside)
        (home / "data" / "out").symlink_to(outside)
        await call("PUT", f"/api/v0/instances/{c}/", {"state": "stopped"})
        await eventually(lambda: sim.contracts.get(c).actual == "exited")

        async def run(command):
            status, answer = await call("PUT", f"/api/v0/instances/command/{c}/", {"command": command})
            assert status == 200, answer
            return (await result(call, answer)).replace(answer["writeable_path"], "")

        assert await run("ls /workspace") == "data\nlink\n"
        assert (await run("ls -la /root/data")).splitlines()[0].endswith(" .hidden")
        assert "100000 big" in await run("ls -l /workspace/data/big")
        kilobytes, name = (await run("du -s /workspace/data")).split()
        assert 90 <= int(kilobytes) < 200 and name == "/workspace/data"
        assert "No such file" in await run("ls /etc")
        assert "No such file" in await run("ls /workspace/../../etc")
        for through in ("ls /workspace/link/", "rm /workspace/link/mine", "du /workspace/link"):
            assert "mine" not in (await run(through)) or "No" in await run(through)
        assert "directory" in (await run("rm /workspace/data")).lower()
        assert "refusing" in await run("rm -rf /workspace")
        assert await run("rm -rf /workspace/data /workspace/link /workspace/nothing") == ""
        assert await run("ls -a /workspace") == ""
        assert (outside / "mine").exists(), "no link was followed"
        for bad in ("cat x", "", "ls " + "x" * 600, "ls 'x"):
            assert (await call("PUT", f"/api/v0/instances/command/{c}/", {"command": bad}))[0] == 400


async def test_copies_between_instances(tmp_path):
    remotes = Disks(tmp_path)
    async with on_disks(remotes) as sim:
        call = Caller(sim)
        a, b = await call.rented(), await call.rented()
        await eventually(lambda: sim.contracts.get(a).booted and sim.contracts.get(b).booted)
        (remotes.home(a) / "out").mkdir()
        (remotes.home(a) / "out" / "f").write_text("hello")
        body = {"client_id": "me", "src_id": f"C.{a}", "dst_id": f"C.{b}", "src_path": "/workspace/out"}
        status, answer = await call(
            "PUT", "/api/v0/commands/copy_direct/", body | {"dst_path": "/workspace/in"}
        )
        assert status == 200 and answer["success"]
        await eventually(lambda: (remotes.home(b) / "in" / "out" / "f").exists())
        assert (remotes.home(b) / "in" / "out" / "f").read_text() == "hello"
        local = {"src_id": f"C.{a}", "dst_id": "local", "src_path": "/workspace/", "dst_path": "/d"}
        _, answer = await call("PUT", "/api/v0/commands/copy_direct/", local)
        assert answer["src_addr"] == "127.0.0.1" and answer["src_port"] > 0
        bare = {"src_id": str(a), "dst_id": None, "src_path": "/workspace/", "dst_path": "/d"}
        assert (await call("PUT", "/api/v0/commands/rsync/", bare))[0] == 200
        assert (await call("PUT", "/api/v0/commands/copy_direct/", body | {"dst_path": "/root"}))[0] == 400
        assert (await call("DELETE", "/api/v0/commands/copy_direct/", {"dst_id": str(b)}))[0] == 200
        assert (await call("POST", "/api/v0/commands/rclone/", {"instance_id": str(a), "selected": "1"}))[
            0
        ] == 404


def test_a_real_disk_is_never_filled(tmp_path):
    with pytest.raises(RemoteError, match="small file system"):
        fill(tmp_path / "ballast", True)
    fill(tmp_path / "ballast", False)


# ---- account


def test_variables_of_the_account_reach_new_containers():
    async def story(sim, call, clock):
        path = "/api/v0/secrets/"
        assert (await call("POST", path, {"key": "hf_token", "value": "s3cret"}))[0] == 200
        assert (await call("POST", path, {"key": "HF_TOKEN", "value": "x"}))[1]["error"] == "existing_key"
        assert (await call("PUT", path, {"key": "NONE", "value": "x"}))[1]["error"] == "nonexistent_key"
        assert (await call("POST", path, {"key": "A"}))[1]["error"] == "missing_input"
        assert (await call("POST", path, {"key": "A B", "value": ""}))[0] == 400
        assert (await call("GET", path))[1]["secrets"] == {"HF_TOKEN": "*****"}
        c = await call.rented(env={"OWN": "1"})
        await clock.sleep(10)
        env = sim.backend.environment(c)
        assert env["HF_TOKEN"] == "s3cret" and env["OWN"] == "1"
        assert (await call("DELETE", path, {"key": "HF_TOKEN"}))[0] == 200
        d = await call.rented()
        await clock.sleep(10)
        assert "HF_TOKEN" not in sim.backend.environment(d)

    on_virtual_time(story)


def test_the_bill_is_what_was_paid_to_the_second():
    loop = VirtualLoop()
    clock = VirtualClock(loop)

    async def main():
        market = make(clock, backend=ModelledBackend(clock), credit=1000, bill_pulls=False)
        async with market as sim:
            call = Caller(sim)
            c = await call.rented(disk=100)
            await clock.sleep(5 + 3600)
            await call("PUT", f"/api/v0/instances/{c}/", {"state": "stopped"})
            await clock.sleep(86_400)
            machine = sim.backend.machine(c)
            machine.bytes_out, machine.bytes_in = 3_000_000_000, 5_000_000_000
            contract = sim.contracts.get(c)
            window = {"day": {"gte": START, "lte": START + 30 * 86400}}
            _, bill = await call("GET", "/api/v0/charges/", select_filters=window)
            assert bill["total"] == bill["count"] == 2 and bill["next_token"] is None
            items = [item for row in bill["results"] for item in row["items"]]
            amount = {
                kind: sum(i["amount"] for i in items if i["type"] == kind)
                for kind in ("gpu", "disk", "bwu", "bwd")
            }
            seconds = sum(i["quantity"] for i in items if i["type"] == "gpu")
            assert seconds == pytest.approx(3600, abs=0.5)
            assert amount["gpu"] == pytest.approx(contract.gpu_price * seconds / 3600, abs=2e-6)
            disk_s = sum(i["quantity"] for i in items if i["type"] == "disk")
            assert disk_s == pytest.approx(clock.time() - contract.created)
            facts = contract.slice.row
            assert amount["bwu"] == pytest.approx(3 * facts["inet_up_cost"], abs=2e-6)
            assert amount["bwd"] == pytest.approx(5 * facts["inet_down_cost"], abs=2e-6)
            total = sum(row["amount"] for row in bill["results"])
            assert total == pytest.approx(sim.contracts.spent(), abs=1e-5)
            _, user = await call("GET", "/api/v0/users/current")
            assert user["credit"] == pytest.approx(1000 - total, abs=1e-5)
            await call("DELETE", f"/api/v0/instances/{c}/")
            await clock.sleep(3600)
            _, later = await call("GET", "/api/v0/charges/", select_filters=window)
            assert later["results"] == bill["results"], "what is gone bills no more and stays on the bill"

    run_virtual(main(), loop)


def test_pages_of_charges_and_invoices():
    async def story(sim, call, clock):
        await call.rented()
        await clock.sleep(10 * 86400)
        sim.contracts.deposit(50, "top-up")
        rows, token = [], ""
        for _ in range(10):
            _, page = await call("GET", "/api/v0/charges/", limit="4", after_token=token, latest_first="true")
            rows += page["results"]
            token = page["next_token"] or ""
            if not token:
                break
        assert page["total"] == len(rows) == 10
        starts = [row["start"] for row in rows]
        assert starts == sorted(starts, reverse=True) and len(set(starts)) == 10
        assert (await call("GET", "/api/v0/charges/", after_token="x"))[0] == 400
        kinds = {"type": {"in": ["volume"]}}
        assert (await call("GET", "/api/v0/charges/", select_filters=kinds))[1]["results"] == []
        assert (await call("GET", "/api/v1/invoices/"))[1]["msg"] == "Invalid date range"
        when = {"when": {"gte": 0, "lte": clock.time()}}
        _, page = await call("GET", "/api/v1/invoices/", select_filters=when)
        assert [row["amount"] for row in page["results"]] == [1000, 50]

    on_virtual_time(story, credit=1000)


# ---- templates, volumes, schedules, metrics


def test_templates_and_their_hashes():
    async def story(sim, call, clock):
        path = "/api/v0/template/"
        fields = {"name": "mine", "image": "a/b", "tag": "1", "env": "-e A=1 -p 80:80", "onstart": "echo hi"}
        _, answer = await call("POST", path, fields)
        made = answer["template"]
        found = {"hash_id": {"eq": made["hash_id"]}}
        _, answer = await call("GET", path, select_cols=["*"], select_filters=found)
        assert [row["name"] for row in answer["templates"]] == ["mine"]
        _, answer = await call("GET", path, select_filters={"recommended": {"eq": True}})
        assert answer["templates_found"] >= 3
        c = await call.rented(
            image=None, template_hash_id=made["hash_id"], env={"B": "2"}, runtype=None, label="t"
        )
        await clock.sleep(10)
        row = await call.show(c)
        assert row["image_uuid"] == "a/b:1" and row["onstart"] == "echo hi"
        assert row["template_hash_id"] == made["hash_id"]
        env = sim.backend.environment(c)
        assert env["A"] == "1" and env["B"] == "2" and ["-p 80:80", "1"] in row["extra_env"]
        _, answer = await call("PUT", "/api/v1/template/", {**made, "name": "better"})
        assert answer["template"]["hash_id"] != made["hash_id"], "an edit is another version"
        offers = await call.search()
        status, answer = await call.rent(offers[0]["id"], image=None, template_hash_id=made["hash_id"])
        assert (status, answer["error"]) == (400, "invalid_args")
        assert (await call("DELETE", path, {"template_id": made["id"]}))[0] == 200
        assert (await call("DELETE", path, {"template_id": made["id"]}))[0] == 404
        for bad in ({"name": "x"}, {"image": "x"}, {"name": "x", "image": "y", "env": "-q 1"}):
            assert (await call("POST", path, bad))[0] == 400

    on_virtual_time(story)


def test_volumes_outlive_instances_and_bill():
    async def story(sim, call, clock):
        status, answer = await call("POST", "/api/v0/volumes/search/", {"disk_space": {"gt": "50"}})
        offer = answer["offers"][0]
        assert status == 200 and offer["disk_space"] > 50
        body = {"size": 40, "id": offer["id"], "name": "data"}
        _, made = await call("PUT", "/api/v0/volumes/", body)
        number = made["volume_id"]
        assert made["volume_name"] == f"V.{number}"
        ask = (await call.search(machine_id={"eq": offer["machine_id"]}))[0]
        _, answer = await call.rent(ask["id"], env={f"-v V.{number}:/data": "1"})
        c = answer["new_contract"]
        assert (await call.show(c))["volume_info"][0]["mount_path"] == "/data"
        other = next(o for o in await call.search() if o["machine_id"] != offer["machine_id"])
        status, _ = await call.rent(other["id"], env={f"-v V.{number}:/data": "1"})
        assert status == 400, "a volume is bound to its machine"
        assert (await call("DELETE", "/api/v0/volumes/", id=str(number)))[1]["error"] == "volume_in_use"
        await call("DELETE", f"/api/v0/instances/{c}/")
        spent = sim.contracts.spent()
        await clock.sleep(720 * 3600)
        assert sim.contracts.spent() - spent == pytest.approx(40 * offer["storage_cost"])
        _, listed = await call("GET", "/api/v0/volumes", owner="me", type="all_volume")
        assert [(v["id"], v["label"], v["disk_space"]) for v in listed["volumes"]] == [(number, "data", 40)]
        kinds = {"type": {"in": ["volume"]}}
        _, bill = await call("GET", "/api/v0/charges/", select_filters=kinds)
        assert sum(r["amount"] for r in bill["results"]) == pytest.approx(
            40 * offer["storage_cost"], abs=1e-4
        )
        assert (await call("DELETE", "/api/v0/volumes/", {}, id=str(number)))[0] == 200
        assert (await call("DELETE", "/api/v0/volumes/", {}, id=str(number)))[0] == 404

    on_virtual_time(story, credit=1000)


def test_scheduled_jobs_fire_at_their_hour():
    remotes = NoRemotes()

    async def story(sim, call, clock):
        c = await call.rented()
        path = "/api/v0/commands/schedule_job/"
        body = {
            "start_time": clock.time(),
            "end_time": clock.time() + 3 * 86400,
            "api_endpoint": f"/api/v0/instances/reboot/{c}/",
            "request_method": "PUT",
            "request_body": {"instance_id": c},
            "day_of_the_week": None,
            "hour_of_the_day": 3,
            "frequency": "DAILY",
            "instance_id": c,
        }
        _, made = await call("POST", path, body)
        number = made["scheduled_job_id"]
        status, again = await call("POST", path, body)
        assert status == 422 and again["scheduled_job_id"] == number
        await clock.sleep(10)
        assert remotes.log(c).count("stopped") == 0
        await clock.sleep(3 * 3600)
        assert remotes.log(c).count("stopped") == 1
        await clock.sleep(86400)
        assert remotes.log(c).count("stopped") == 2
        _, rows = await call("GET", path)
        assert [(row["id"], row["frequency"], row["hour_of_the_day"]) for row in rows] == [
            (number, "DAILY", 3)
        ]
        assert (await call("PUT", f"{path}{number}/", body | {"hour_of_the_day": 5}))[0] == 200
        await clock.sleep(86400)
        assert remotes.log(c).count("stopped") == 3
        _, answer = await call("DELETE", f"{path}{number}/", {})
        assert answer["msg"] == f"Scheduled job {number} deleted successfully"
        for bad in ({"frequency": "MONTHLY"}, {"api_endpoint": "/api/v0/asks/1/"}, {"hour_of_the_day": 24}):
            assert (await call("POST", path, body | bad))[0] == 400

    on_virtual_time(story, backend=remotes, credit=1000)


def test_weekly_jobs_and_their_end():
    # 2026-11-22 is a Sunday, day 0
    job = {"start_time": 0.0, "end_time": math.inf, "frequency": "WEEKLY"}
    tuesday = job | {"day_of_the_week": 2, "hour_of_the_day": 4}
    assert next_hour(tuesday, START) == START + 2 * 86400 + 4 * 3600
    assert next_hour(job | {"day_of_the_week": 0, "hour_of_the_day": 0}, START + 1) == START + 7 * 86400
    assert next_hour(tuesday | {"end_time": START + 86400}, START) is None
    hourly = job | {"frequency": "HOURLY", "day_of_the_week": None, "hour_of_the_day": None}
    assert next_hour(hourly, START + 1) == START + 3600


def test_what_gpus_cost_now_and_lately():
    async def story(sim, call, clock):
        await clock.sleep(10 * 86400)
        _, answer = await call("GET", "/api/v0/metrics/gpu/current/", verified="true", num_gpus="1")
        row = next(row for row in answer["gpus"] if row["gpu_name"] == "RTX 4090")
        assert 0 < row["price_p10"] <= row["price_median"] <= row["price_p90"]
        _, answer = await call("GET", "/api/v0/metrics/gpu/history/", gpu_name="RTX_4090", step="86400")
        pricing = answer["gpus"]["RTX 4090"]["pricing"]
        assert list(answer["gpus"]) == ["RTX 4090"]
        assert len(pricing["timestamps"]) == len(pricing["avail_median"]) == 8
        assert len(set(pricing["avail_median"])) > 3, "prices moved"
        _, answer = await call("GET", "/api/v0/metrics/gpu/locations/")
        assert {"gpu_name", "geolocation", "machine_id"} <= set(answer["locations"][0])

    on_virtual_time(story, moving=True, offers=400)
