"""``python -m tests.simulator.full_disk DIR``: a rental whose disk is full for a while, with machines on the
small file system DIR. Ends with status 0 when it was full and had room again."""

import asyncio
import os
import sys
from pathlib import Path

from choline_tui.simulator.faults import Rule
from choline_tui.simulator.remotes import ProcessBackend
from tests.simulator.test_faults_process import connect, market, rented
from tests.support import eventually

WRITE = "head -c 100000 /dev/zero > x"


async def main(root: Path) -> None:
    backend = ProcessBackend(root / "market")
    async with market(backend, Rule("disk-full", delay_s=0.5, seconds=3600)) as sim:
        number, port = await rented(sim)
        async with await connect(port) as conn:
            # a file written before would make room for itself
            await eventually(lambda: os.statvfs(root).f_bavail == 0, what="the disk filled")
            assert "No space left on device" in str((await conn.run(WRITE)).stderr)
            await backend.fill_disk(number, False)
            assert (await conn.run(WRITE)).exit_status == 0
            print("space again")
        assert sim.contracts.faults == []


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
