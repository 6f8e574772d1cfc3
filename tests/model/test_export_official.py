"""What is exported means the same to Vast's own client: on a frozen market it lists the same offers.

``CHOLINE_FILTERS`` says over how many random filters; CI does a part of them, a nightly or a person 500.
"""

import asyncio
import contextlib
import json
import os
import random
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from choline_tui.kernel.errors import QueryError
from choline_tui.model.conditions import Query
from choline_tui.model.export import Likeness, api_json, like, matching, official_command
from choline_tui.model.query import parse_query
from choline_tui.simulator import NoRemotes, Simulator
from choline_tui.simulator.search import Search
from tests.support.official import official_client

FILTERS = int(os.environ.get("CHOLINE_FILTERS", "120"))

DRIVER = """
import contextlib, io, json, sys
from vastai.cli import main as cli
sys.argv = ["vastai", "--version"]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    cli.main()
for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            args = cli.parser.parse_args(json.loads(line))
            rows = args.func(args)
        except (Exception, SystemExit) as error:
            rows = repr(error)
    answer = [r["id"] for r in rows] if isinstance(rows, list) else f"{rows} {said.getvalue()}"
    print(json.dumps(answer), flush=True)
"""
"""The client's own command line and search, over and over in one process: starting it costs a second."""


@pytest.fixture(scope="module")
def vastai() -> Path:
    try:
        return official_client()
    except RuntimeError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the official client cannot be installed: {str(error)[-300:]}")


class Official:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ids(self, command: str) -> list[int]:
        program, *words = shlex.split(command)
        assert program == "vastai"
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([*words, "--raw"]).encode() + b"\n")
        async with asyncio.timeout(90):
            answer = json.loads(await self._process.stdout.readline())
        assert isinstance(answer, list), f"{command}: {answer}"
        return answer


@contextlib.asynccontextmanager
async def official(program: Path, sim: Simulator, home: Path) -> AsyncIterator[Official]:
    process = await asyncio.create_subprocess_exec(
        str(program.with_name("python")),
        "-c",
        DRIVER,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "VAST_URL": sim.url,
            "VAST_API_KEY": "account",
            "VASTAI_NO_UPDATE_CHECK": "1",
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    try:
        yield Official(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def whole_market(sim: Simulator, query: Query) -> list[dict[str, Any]]:
    """Every offer there is at this query's disk and type, as its searches answer them: what a search does
    not say of verified, the market decides."""
    body: dict[str, Any] = {"type": "bid" if query.type == "interruptible" else "on-demand", "order": []}
    if any(c.field == "verified" for c in query.conditions):
        body["verified"] = {"in": [True, False]}
    search = Search(body, sim.clock.time())
    search.storage_gb, search.limit = query.disk_gb, 1 << 30
    return search.run(sim.market.rows(), random.Random(0))


TERMS = (
    "gpu_ram>={gb}", "gpu_ram>{gb}", "gpu_total_ram>={gb}", "gpu_ram<={gb}", "num_gpus={n}", "num_gpus>={n}",
    "num_gpus in [1,2,4]", "num_gpus!={n}", "geolocation in [{c},{d}]", "geolocation notin [{c}]",
    "geolocation={c}", "geolocation!={c}", "reliability>=0.9{digit}", "reliability<0.99{digit}",
    "cuda_vers>=12.{digit}", "inet_down>{mbit}", "inet_up>={mbit}.5", "dph<{price}", "dph>={price}",
    "dph>0.1 dph<{price}", "cpu_ram>{gb}", "cpu_cores_effective>={n}", "disk_space>{mbit}", "disk_bw>{mbit}",
    "gpu_name={g}", 'gpu_name="{G}"', "gpu_name in [{g},{h}]", 'gpu_name in ["{G}",{h}]', "gpu_name!={g}",
    "gpu_name notin [{g}]", "driver_version>=5{digit}5.86.05", "driver_version<580", "verified=false",
    "verified!=false", "verified in [true,false]", "verified=any verified!=false", "rented=false",
    "external=any", "datacenter=true", "datacenter!=true", "static_ip=true", "direct_port_count>{n}",
    "duration>{days}", "duration>={days}.5", "compute_cap>=8{digit}0", "dlperf>{days}", "dlperf_usd>{mbit}",
    "storage_cost<=0.{digit}", "inet_down_cost<0.0{digit}", "inet_up_cost<=0.000{digit}", "pci_gen>=4",
    "target_reliability>=0.9{digit}", "has_avx=true", "cpu_arch=amd64", "hosting_type=0", "os_version=22.04",
    "gpu_frac>=0.5", "min_bid<={price}", "total_flops>={mbit}", "gpu_max_power>={mbit}", "gpu_ram in [{gb}]",
)  # fmt: skip


def random_text(rng: random.Random, rows: list[dict[str, Any]]) -> str:
    names = sorted({r["gpu_name"] for r in rows})
    places = sorted({r["geolocation"][-2:] for r in rows})
    first, second = rng.choice(names), rng.choice(names)
    fill = {
        "g": first.replace(" ", "_"), "G": first, "h": second.replace(" ", "_"),
        "c": rng.choice(places), "d": rng.choice(places), "n": rng.choice((1, 2, 4, 8)),
        "gb": rng.choice((8, 11.5, 16, 24, 48, 80)), "digit": rng.randrange(1, 10),
        "mbit": rng.choice((50, 200, 800)), "price": rng.choice((0.2, 0.35, 0.5123, 1, 4.5)),
        "days": rng.choice((1, 5, 30)),
    }  # fmt: skip
    return " ".join(term.format(**fill) for term in rng.sample(TERMS, rng.choice((0, 1, 1, 2, 3))))


def random_filter(rng: random.Random, sim: Simulator, rows: list[dict[str, Any]]) -> Query:
    base = parse_query(
        random_text(rng, rows),
        order=rng.choice(("dph_total", "dlperf_usd-", "num_gpus-,dph_total", "gpu_name,dph", "-inet_down")),
        type=rng.choice(("on-demand", "interruptible")),
        disk_gb=rng.choice((5, 20, 40.5, 333)),
        limit=rng.choice((None, None, None, 7)),
    )  # fmt: skip
    found = matching(whole_market(sim, base), base)
    if not found or rng.random() < 0.2:
        return base
    marked = rng.sample(found, min(len(found), rng.choice((1, 1, 2, 4))))
    premium = rng.choice((0, 0, 1, 10, 33.3, 100))
    made = like(marked, rng.choice(list(Likeness)), base, premium, keep=rng.random() < 0.7)
    listed = {each["id"] for each in matching(whole_market(sim, made), made)}
    assert {each["id"] for each in marked} <= listed, f"{base.text()} -> {made.text()}"
    return made


async def test_the_official_client_lists_what_the_preview_shows(vastai: Path, tmp_path: Path) -> None:
    rng = random.Random(20)
    told = {"listed": 0, "full": 0, "empty": 0, "said no": 0}
    async with (
        Simulator(offers=500, key="account", moving=False, backend=NoRemotes()) as sim,
        official(vastai, sim, tmp_path) as client,
    ):
        rows = whole_market(sim, Query())
        while told["listed"] + told["empty"] < FILTERS:
            query = random_filter(rng, sim, rows)
            try:
                command = official_command(query)
            except QueryError:
                told["said no"] += 1
                continue
            preview = [each["id"] for each in matching(whole_market(sim, query), query)][: query.page_size]
            theirs = await client.ids(command)
            assert theirs == preview, command
            # the JSON asks for the same
            body = json.loads(api_json(query))
            api = Search(body, sim.clock.time()).run(sim.market.rows(), random.Random(0))
            assert [each["id"] for each in api] == preview, body
            told["listed" if theirs else "empty"] += 1
            told["full"] += len(theirs) == 64
    assert (
        told["listed"] > FILTERS // 2 and told["full"] > FILTERS // 50 and told["said no"] < FILTERS // 10
    ), told
