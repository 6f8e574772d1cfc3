"""Every command of the official client that somebody who rents would use, against the rehearsal market.

Its quirks are held as they are (``execute`` crashes after the market answered, most failures end with 0):
who points it at this market sees what they would see at Vast.
"""

import asyncio
import json
import re
from pathlib import Path

from choline_tui.simulator import NoRemotes, Simulator
from choline_tui.simulator.faults import FaultPlan, Rule
from tests.simulator.market_client import KEY_LINE
from tests.simulator.test_official_client import Client, vastai  # noqa: F401 - the fixture
from tests.support import eventually


def market(**options: object) -> Simulator:
    settings: dict = {"offers": 600, "boot": 0.3, "key": "account", "moving": False, **options}
    return Simulator(**settings)


async def first_offer(client: Client, *more: str) -> dict:
    offers = await client.raw(
        "search", "offers", "num_gpus=1 duration>30", "-o", "dph", "--storage", "20", *more
    )
    return offers[0]


async def rented(client: Client, sim: Simulator, *more: str) -> int:
    offer = await first_offer(client)
    made = await client.raw(
        *("create", "instance", str(offer["id"]), "--image", "a/b:c", "--disk", "20", "--ssh", "--direct"),
        *more,
    )
    contract = made["new_contract"]
    await eventually(lambda: sim.contracts.get(contract).published, what="ports")
    return contract


async def test_looking_around(vastai: Path, tmp_path: Path) -> None:  # noqa: F811
    async with market() as sim, Client(vastai, sim, tmp_path) as client:
        await client("show", "user")
        volumes, templates, _, current, trends, places, names = await asyncio.gather(
            client.raw("search", "volumes", "disk_space>50"),
            client.raw("search", "templates", "recommended=True"),
            client("search", "templates", "recommended=True"),
            client("show", "gpu-metrics"),
            client("show", "gpu-trends", "RTX_4090"),
            client.raw("show", "gpu-locations"),
            client.raw("show", "ipaddrs"),
        )
        assert volumes and all(offer["disk_space"] > 50 for offer in volumes)
        assert len(templates) >= 3 and all(t["hash_id"] for t in templates)
        assert "RTX 4090" in current or "RTX_4090" in current
        assert "tflops" in trends
        assert places and names[0]["ip"] == "127.0.0.1"
        assert await client.raw("show", "audit-logs") == []
        assert await client.raw("show", "connections") == []


async def test_a_bill_in_the_official_clients_words(vastai: Path, tmp_path: Path) -> None:  # noqa: F811
    async with market() as sim, Client(vastai, sim, tmp_path) as client:
        contract = await rented(client, sim)
        charges, invoices, deposit = await asyncio.gather(
            client.raw("show", "invoices-v1", "--charges"),
            client.raw("show", "invoices-v1", "--invoices"),
            client.raw("show", "deposit", str(contract)),
        )
        text = json.dumps(charges)
        assert f"instance-{contract}" in text and "gpu" in text
        assert "100" in json.dumps(invoices)
        assert deposit["success"] and deposit["refundable_deposit"] == 0


async def test_the_life_of_an_instance(vastai: Path, tmp_path: Path) -> None:  # noqa: F811
    remotes = NoRemotes()
    plan = FaultPlan([Rule("price-increase", on="dear", factor=1.5)])
    async with market(backend=remotes, faults=plan) as sim, Client(vastai, sim, tmp_path) as client:
        await client("create", "env-var", "HF_TOKEN", "s3cret")
        await client("update", "env-var", "HF_TOKEN", "s3cret2")
        shown = await client("show", "env-vars")
        assert "HF_TOKEN" in shown and "s3cret" not in shown
        c = await rented(client, sim, "--label", "dear", "--onstart-cmd", "echo hi")
        assert remotes.environment(c)["HF_TOKEN"] == "s3cret2"
        await client("delete", "env-var", "HF_TOKEN")
        number = str(c)

        await client("recycle", "instance", number)
        await eventually(lambda: "HF_TOKEN" not in remotes.launches[c].env, what="recycled")
        await eventually(lambda: sim.contracts.get(c).published, what="up again")
        await client(
            "update", "instance", number, "--image", "x/y:1", "--env", '{"A": "B"}', "--onstart", "echo"
        )
        await eventually(lambda: remotes.launches[c].image == "x/y:1", what="updated")
        await client("prepay", "instance", number, "5")
        assert sim.contracts.get(c).prepaid == 5
        scp = await client("scp-url", number)
        assert scp.startswith("scp://root@127.0.0.1")
        login = ("--docker_login_user", "u", "--docker_login_pass", "p")
        told = await client("take", "snapshot", number, "--repo", "me/x", *login, fails=True)
        assert "Failed with error 400" in told, "the server refuses the id that the client sends"

        await client("attach", "ssh", number, KEY_LINE)
        assert [key.key for key in sim.contracts.get(c).ssh_keys] == [KEY_LINE]
        key_id = sim.contracts.get(c).ssh_keys[0].id
        await client("detach", "ssh", number, str(key_id))
        assert sim.contracts.get(c).ssh_keys == []

        pending = await client.raw("show", "pending-price-increases")
        assert pending["count"] == 1
        await client("accept", "price-increase", number, "--yes")
        assert sim.contracts.get(c).increase is None

        crash = await client("execute", number, "ls /workspace", fails=True)
        assert "AttributeError" in crash, "a bug of the client, from 1.0.13 to 1.9.1 at least"
        await client("stop", "instances", number)
        await eventually(lambda: sim.contracts.get(c).actual == "exited", what="stopped")
        await client("start", "instances", number)
        await eventually(lambda: sim.contracts.get(c).actual == "running", what="started")
        await client("destroy", "instance", number, "-y")
        assert sim.contracts.alive() == []
        assert "not found or no longer exists" in await client("show", "instance", number, fails=True)


async def test_keys_and_jobs_and_templates(vastai: Path, tmp_path: Path) -> None:  # noqa: F811
    async with market() as sim, Client(vastai, sim, tmp_path) as client:
        await client("create", "ssh-key", KEY_LINE)
        literal = await client("create", "ssh-key", str(tmp_path / "k.pub"), fails=True)
        assert "400" in literal or "not exist" in literal or "Failed" in literal
        keys = await client.raw("show", "ssh-keys")
        await client("delete", "ssh-key", str(keys[0]["id"]))
        assert await client.raw("show", "ssh-keys") == []

        rights = tmp_path / "rights.json"
        rights.write_text('{"api": {"misc": {}, "instance_read": {}}}')
        told = await client("create", "api-key", "--name", "reader", "--permission_file", str(rights))
        secret = re.search(r"'key': '([0-9a-f]{64})'", told)
        async with Client(vastai, sim, tmp_path, key=secret[1]) as reader:
            assert await reader.raw("show", "instances") == []
            known = json.dumps(await client.raw("show", "api-keys"))
            assert "reader" in known and secret[1] not in known
            await client("delete", "api-key", re.search(r"'id': (\d+)", told)[1])
            assert "Invalid user key" in await reader("show", "instances", fails=True)

        c = await rented(client, sim)
        daily = ("--schedule", "DAILY", "--day", "*", "--hour", "3")
        await client("reboot", "instance", str(c), *daily, "--end_date", "12/30/2096")
        jobs = await client.raw("show", "scheduled-jobs")
        assert [(job["frequency"], job["hour_of_the_day"]) for job in jobs] == [("DAILY", 3)]
        assert str(jobs[0]["id"]) in await client("show", "scheduled-jobs")
        await client("delete", "scheduled-job", str(jobs[0]["id"]))
        assert await client.raw("show", "scheduled-jobs") == []

        await client("create", "template", "--name", "mine", "--image", "a/b", "--image_tag", "1", "--ssh")
        mine = await client.raw("search", "templates", "name=mine")
        assert [t["image"] for t in mine] == ["a/b"]
        offer = await first_offer(client)
        made = await client.raw(
            "create", "instance", str(offer["id"]), "--template_hash", mine[0]["hash_id"], "--disk", "20"
        )
        assert sim.contracts.get(made["new_contract"]).order.image == "a/b:1"
        await client("update", "template", mine[0]["hash_id"], "--name", "mine", "--image", "a/c")
        fresh = await client.raw("search", "templates", "name=mine")
        assert fresh[0]["hash_id"] != mine[0]["hash_id"]
        await client("delete", "template", "--hash-id", fresh[0]["hash_id"])


async def test_several_and_whatever_is_cheapest_and_volumes(vastai: Path, tmp_path: Path) -> None:  # noqa: F811
    async with market() as sim, Client(vastai, sim, tmp_path) as client:
        offers = await client.raw("search", "offers", "num_gpus=1", "-o", "dph")
        ids = [str(offer["id"]) for offer in offers[:2]]
        await client("create", "instances", *ids, "--image", "a", "--disk", "10", "--ssh")
        assert len(sim.contracts.alive()) == 2
        await client("launch", "instance", "-g", "RTX_4090", "-n", "1", "-i", "a/b", "-d", "16")
        assert sim.contracts.alive()[-1].slice.row["gpu_name"] == "RTX 4090"
        numbers = [str(c.id) for c in sim.contracts.alive()]
        await client("destroy", "instances", *numbers, "-y")
        assert sim.contracts.alive() == []

        volumes = await client.raw("search", "volumes", "disk_space>50")
        made = await client("create", "volume", str(volumes[0]["id"]), "--size", "20", "--name", "data")
        assert "V." in made or "success" in made.lower()
        listed = await client.raw("show", "volumes")
        assert [(v["label"], v["disk_space"]) for v in listed] == [("data", 20)]
        await client("delete", "volume", str(listed[0]["id"]))
        assert await client.raw("show", "volumes") == []


async def test_refusals_are_told_as_the_client_tells_them(vastai: Path, tmp_path: Path) -> None:  # noqa: F811
    rules = [
        Rule("429-threshold", on="user.current", nth=(2, 3)),
        Rule("502", on="secret.list", times=1),
        Rule("quota", on="search", from_s=0, nth=(1,)),
        Rule("no-such-ask-200", on="ask.create"),
    ]
    async with market(faults=FaultPlan(rules)) as sim, Client(vastai, sim, tmp_path) as client:
        await client("show", "user")
        assert (await client.raw("show", "user"))["credit"] == 100, "it tries again by itself"
        await client("show", "env-vars")
        told = await client("search", "offers", "num_gpus=1", fails=True)
        assert "Daily search quota exceeded" in told
        offer = await first_offer(client)
        said = await client("create", "instance", str(offer["id"]), "--image", "a", "--disk", "10")
        assert said.startswith("Started.") and "'success': False" in said, "it says Started all the same"
        assert sim.contracts.alive() == []
