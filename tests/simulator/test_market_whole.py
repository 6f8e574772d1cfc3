"""The market with real remotes behind it: what onstart is given, and that it can end its own instance."""

from choline_tui.simulator import Simulator
from choline_tui.simulator.remotes import ProcessBackend
from tests.simulator.market_client import KEY_LINE, Caller
from tests.support import eventually

END_SELF = """
echo "container $CONTAINER_ID"
python3 - <<'PY'
import json, os, urllib.request
url = "%s/api/v0/instances/%s/" % (os.environ["VAST_URL"], os.environ["CONTAINER_ID"])
head = {"Authorization": "Bearer " + os.environ["CONTAINER_API_KEY"], "Content-Type": "application/json"}
print(urllib.request.urlopen(urllib.request.Request(url, b'{"state": "stopped"}', head, method="PUT")).read())
PY
"""


async def test_onstart_can_stop_its_own_instance(tmp_path):
    async with Simulator(offers=60, boot=0.3, moving=False, backend=ProcessBackend(tmp_path)) as sim:
        call = Caller(sim)
        await call("POST", "/api/v0/ssh/", {"ssh_key": KEY_LINE})
        c = await call.rented(onstart=END_SELF)
        contract = sim.contracts.get(c)
        await eventually(lambda: contract.booted and contract.actual == "exited", what="stopped by itself")
        assert contract.intended == "stopped" and f"container {c}" in sim.backend.log(c)
        assert sim.contracts.faults == []
        await call("DELETE", f"/api/v0/instances/{c}/")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "no disk is left"
