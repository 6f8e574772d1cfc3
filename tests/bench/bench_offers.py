"""``choline offers`` against ``vastai search offers``, as commands, on the same rehearsal market.

The engine runs, as it does in daily use. Twice: another query each time (both go to the market), and the
same query again (the engine remembers for some seconds; the official client keeps nothing).
Run: ``python -m tests.bench.bench_offers [--quick]``. Aim: 3 times as fast.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from choline_tui.services import Choline
from choline_tui.simulator.rehearsal import Simulator
from tests.bench.report import Figure, main
from tests.support.official import official_client

AIM = 1 / 3
A_HOME = 8
"""searches one engine makes before the market's pace (10 a minute) holds it back"""


async def timed(env: dict[str, str], *words: str) -> float:
    begun = time.perf_counter()
    child = await asyncio.create_subprocess_exec(
        *words, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    took = time.perf_counter() - begun
    assert child.returncode == 0
    rows = json.loads(out)
    assert len(rows) == 64, f"{words[0]} printed {len(rows)} offers"
    return took


def ours() -> list[str]:
    installed = Path(sys.executable).with_name("choline")
    command = [str(installed)] if installed.exists() else [sys.executable, "-m", "choline_tui"]
    return [*command, "offers", "--limit", "64", "--raw"]


async def bench(rounds: int) -> list[Figure]:
    vastai = str(official_client())
    times: dict[str, list[float]] = {"fresh": [], "again": [], "peer": []}
    query = 0
    with tempfile.TemporaryDirectory() as name:
        async with Simulator(offers=2000, moving=False) as sim:
            base = {k: v for k, v in os.environ.items() if not k.startswith(("CHOLINE_", "VAST_"))}
            base |= {"VAST_URL": sim.url, "VAST_API_KEY": "rehearsal", "NO_COLOR": "1"}
            base["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
            peer = {k: v for k, v in base.items() if k != "PYTHONPATH"}
            peer |= {"HOME": f"{name}/peer", "VASTAI_NO_UPDATE_CHECK": "1"}
            Path(name, "peer").mkdir()
            await timed(peer, vastai, "search", "offers", "--raw")  # fills its caches
            while len(times["fresh"]) < rounds:
                home = Path(name, f"home{query}")
                env = {**base, "CHOLINE_HOME": str(home)}
                async with Choline(home, env) as choline:
                    await choline.engine_status()  # starts it
                    for _ in range(min(A_HOME, rounds - len(times["fresh"]))):
                        query += 1
                        text = f"dph<={100 + query}"
                        times["fresh"].append(await timed(env, *ours(), text))
                        times["peer"].append(await timed(peer, vastai, "search", "offers", text, "--raw"))
                        times["again"].append(await timed(env, *ours(), text))
                    await choline.engine_stop()
    middle = {who: statistics.median(found) for who, found in times.items()}
    best = {who: min(found) for who, found in times.items()}
    return [
        Figure("offers / vastai, median", middle["fresh"], middle["peer"], AIM),
        Figure("offers / vastai, best", best["fresh"], best["peer"], AIM),
        Figure("offers asked again, median", middle["again"], middle["peer"]),
    ]


def measure(quick: bool) -> list[Figure]:
    return asyncio.run(bench(1 if quick else 16))


if __name__ == "__main__":
    main(measure, __doc__)
