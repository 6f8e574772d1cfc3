"""Vast's own client takes the rehearsal market for Vast: the whole of a renter's day."""

import asyncio
import json
import os
import re
from pathlib import Path

import pytest

from choline_tui.simulator import NoRemotes, Simulator
from tests.simulator.market_client import KEY_LINE
from tests.support import eventually
from tests.support.official import official_client


@pytest.fixture(scope="session")
def vastai() -> Path:
    try:
        return official_client()
    except RuntimeError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the official client cannot be installed: {str(error)[-300:]}")


DRIVER = """
import json, os, signal, sys, tempfile
from vastai.cli.main import main
for line in sys.stdin:
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, number in ((null, 0), (out.fileno(), 1), (err.fileno(), 2)):
            os.dup2(fd, number)
        signal.alarm(60)
        sys.argv = ["vastai", *json.loads(line)]
        sys.exit(main())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    said = []
    for file in (out, err):
        file.seek(0)
        said.append(file.read().decode(errors="replace"))
    print(json.dumps([code, *said]), flush=True)
"""
"""Runs commands of the client, each in a process of its own that need not import everything again."""


class Client:
    def __init__(self, program: Path, sim: Simulator, home: Path, key: str = "account") -> None:
        self.program, self.sim, self.home, self.key = program, sim, home, key
        self._driver: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> "Client":
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "VAST_URL": self.sim.url,
            "VAST_API_KEY": self.key,
            "VASTAI_NO_UPDATE_CHECK": "1",
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        self._driver = await asyncio.create_subprocess_exec(
            str(self.program.with_name("python")),
            "-c",
            DRIVER,
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._driver is not None and self._driver.stdin is not None
        self._driver.stdin.close()
        await self._driver.wait()

    async def __call__(self, *args: str, fails: bool = False) -> str:
        driver = self._driver
        assert driver is not None and driver.stdin is not None and driver.stdout is not None
        async with self._turn, asyncio.timeout(90):
            driver.stdin.write(json.dumps(args).encode() + b"\n")
            line = await driver.stdout.readline()
        assert line, "the official client cannot be imported"
        code, out, err = json.loads(line)
        # it ends with 0 whatever the market refused: a failure is seen in its words
        failed = code != 0 or any(word in err for word in ("Failed with error", "Traceback", '"error"'))
        assert failed == fails, f"vastai {' '.join(args)}: {code} {out}{err}"
        return re.sub(r"\x1b\[[0-9;]*[mK]", "", out + (err if fails else ""))

    async def raw(self, *args: str) -> object:
        return json.loads(await self(*args, "--raw"))


async def test_a_renters_day_with_the_official_client(vastai, tmp_path):
    remotes = NoRemotes()
    async with (
        Simulator(offers=2000, boot=0.4, key="account", moving=False, backend=remotes) as sim,
        Client(vastai, sim, tmp_path) as client,
    ):
        # the first call fills its caches (GPU names, role)
        assert "account" not in await client("show", "user")
        user = await client.raw("show", "user")
        assert user["credit"] == 100

        many, cheap, small, new, table, nonsense = await asyncio.gather(
            client.raw(
                "search",
                "offers",
                "gpu_name=RTX_4090 num_gpus>=2 dph<5 reliability>0.9 gpu_ram>=20 cpu_ram>4 duration>3 "
                "geolocation in [US,CA,DE,SE] driver_version>=535.86.05 cuda_vers>=12.1",
            ),
            client.raw("search", "offers", "--type", "bid", "-o", "dph", "--limit", "5", "--storage", "50"),
            client.raw("search", "offers", "num_gpus in [1,2] gpu_name not in [RTX_3090] verified=any"),
            client.raw("search", "offers", "--new", "--limit", "3", "-o", "dph_total-"),
            client("search", "offers", "datacenter=true num_gpus>=4", "-n"),
            client("search", "offers", "gpu_ram=24 gpu_name=RTX_4090"),
        )
        assert many and all(o["gpu_name"] == "RTX 4090" and o["num_gpus"] >= 2 for o in many)
        assert all(o["geolocation"][-2:] in ("US", "CA", "DE", "SE") for o in many)
        totals = [o["dph_total"] for o in cheap]
        assert len(cheap) == 5 and totals == sorted(totals) and all(o["is_bid"] for o in cheap)
        assert all(o["num_gpus"] in (1, 2) and o["gpu_name"] != "RTX 3090" for o in small)
        assert len(small) == 64 and len(new) == 3
        assert new[0]["dph_total"] >= new[1]["dph_total"] >= new[2]["dph_total"]
        assert "$/hr" in table
        assert "RTX_4090" not in nonsense, "24 GB are 24564 MB: equality finds nothing, as on Vast"

        assert "'success': True" in await client("create", "ssh-key", KEY_LINE)
        assert KEY_LINE in await client("show", "ssh-keys")

        offer = next(o for o in small if o["duration"] > 86400)
        options = ["--image", "a/b:c", "--disk", "20", "--ssh", "--direct", "--env", "-e A=b -p 8080:8080"]
        made = await client.raw(
            "create", "instance", str(offer["id"]), *options, "--label", "job1", "--onstart-cmd", "echo hi"
        )
        assert made["success"]
        contract = made["new_contract"]
        gone = await client("create", "instance", str(offer["id"]), *options, fails=True)
        assert "410" in gone or "no_such_ask" in gone
        row = sim.contracts.get(contract)
        await eventually(lambda: row.published, what="ports")
        assert remotes.environment(contract)["A"] == "b"

        listed, shown, overview, address = await asyncio.gather(
            client.raw("show", "instances"),
            client.raw("show", "instance", str(contract)),
            client("show", "instances"),
            client("ssh-url", str(contract)),
        )
        assert [r["id"] for r in listed] == [contract]
        assert shown["label"] == "job1" and shown["actual_status"] == "running"
        assert "job1" in overview and "running" in overview
        assert address.strip() == f"ssh://root@127.0.0.1:{row.endpoint.port}"

        await client("label", "instance", str(contract), "other")
        assert row.label == "other"
        assert "started" in await client("logs", str(contract))
        await client("stop", "instance", str(contract))
        await eventually(lambda: row.actual == "exited", what="stopped")
        await client("start", "instance", str(contract))
        await eventually(lambda: row.actual == "running", what="started")
        await client("reboot", "instance", str(contract))
        await eventually(lambda: remotes.log(contract).count("stopped") == 2, what="reboot")

        await client("destroy", "instance", str(contract), "-y")
        assert sim.contracts.alive() == [] and sim.contracts.billing_now() == 0
        assert await client.raw("show", "instances") == []


async def test_bidding_and_failures_with_the_official_client(vastai, tmp_path):
    async with (
        Simulator(offers=300, boot=0.2, key="account", moving=False) as sim,
        Client(vastai, sim, tmp_path) as client,
        Client(vastai, sim, tmp_path, key="wrong") as stranger,
    ):
        offers = await client.raw("search", "offers", "--type", "bid", "--limit", "2", "-o", "dph")
        bid = offers[0]["min_bid"] * 1.1
        made = await client.raw(
            "create",
            "instance",
            str(offers[0]["id"]),
            "--image",
            "a",
            "--disk",
            "10",
            "--bid_price",
            str(bid),
        )
        contract = sim.contracts.get(made["new_contract"])
        assert contract.is_bid and contract.gpu_price == pytest.approx(bid)
        await client("change", "bid", str(contract.id), "--price", "0.9")
        assert contract.gpu_price == 0.9
        low = await client(
            *("create", "instance", str(offers[1]["id"]), "--image", "a", "--bid_price", "0.001"), fails=True
        )
        assert "400" in low
        assert len(sim.contracts.alive()) == 2, "a bid too low leaves a contract"
        ids = [str(c.id) for c in sim.contracts.alive()]
        missing, _ = await asyncio.gather(
            client("stop", "instance", "5", fails=True), client("destroy", "instances", *ids, "-y")
        )
        assert "404" in missing
        assert sim.contracts.alive() == []
        assert "Invalid user key" in await stranger("show", "instances", fails=True)
