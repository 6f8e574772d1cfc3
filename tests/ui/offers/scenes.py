"""What the fake services say in the tests of the offers screen."""

from choline_tui.model.request import PlanCard
from choline_tui.services.hosts import HostMemory
from tests.ui.fake import NOW, FakeCholine, live_view, offer, plan

__all__ = ["UNREACHABLE", "set_up"]

UNREACHABLE = (
    "the run goes on for 12 h without this computer; after that, or 0.5 h after its end, the machine stops "
    "itself (GPU off, disk kept and billed) until the results are home; once they are, it is destroyed. "
    "24 h after renting it ends whatever happens."
)


def set_up(fake: FakeCholine) -> FakeCholine:
    """A remembered machine or two, a plan and a run that starts."""
    fake.memory = {
        4003: HostMemory(refused="GPU 1 does not answer", runs=1, errors=1, last=NOW - 86400),
        4005: HostMemory(runs=4, succeeded=3, failed=1, last=NOW - 7200),
    }
    fake.card = PlanCard(
        plan=plan(ports=["6006"], cap=0.45),
        offer=offer(machine_id=4242),
        price=0.3871,
        offers=1,
        offers_seen=1,
        complete=True,
        commit="1a2b3c4d5e6f",
        branch="main",
        dirty=3,
        files=7,
        bytes=12_000,
        disk_per_day=0.1,
        warnings=["the host offers it for 1.5 more days only"],
        when_unreachable=UNREACHABLE,
        credit=25.0,
    )
    fake.after_start = live_view()
    return fake
