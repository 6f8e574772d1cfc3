"""What home forecasts for an offer (``model.price.cost``) and what it thinks a run has cost, held against the
market's bill: to the cent."""

from pathlib import Path
from typing import Any

import pytest

from choline_tui.engine.context import Timing
from choline_tui.model.price import cost
from choline_tui.model.query import parse_query
from choline_tui.simulator.life import image_bytes
from choline_tui.simulator.remotes.job_model import JobModel
from tests.support.world import World, live

CENT = 0.01


@pytest.mark.parametrize(
    ("hours", "megabytes", "disk_gb", "type"),
    [
        (0.2, 1, 20, "on-demand"),
        (3.0, 20, 500, "on-demand"),
        (30.0, 2, 64, "on-demand"),
        (5.0, 5, 40, "interruptible"),
    ],
)
def test_the_forecast_is_the_bill(
    tmp_path: Path, hours: float, megabytes: int, disk_gb: float, type: Any
) -> None:
    weights = b"w" * 1_000_000

    async def story(world: World) -> None:
        world.model = JobModel(
            duration_s=hours * 3600,
            log_lines=["done"],
            result_files={f"part-{n}.bin": weights for n in range(megabytes)},
        )
        world.engine.ctx.timing = Timing(watch=300.0)  # type: ignore[union-attr]
        page = await world.client.search(parse_query("num_gpus=1"))  # type: ignore[union-attr]
        offers = {offer.id: offer for offer in page.offers}
        run = world.start(disk_gb=disk_gb, type=type, cap=2.0, max_life_s=3 * 86400.0)
        await world.ended(run)
        await world.quiet()
        (rental,) = world.store.rentals(run=run)  # type: ignore[union-attr]
        (contract,) = world.sim.contracts.history
        days = contract.bill.days.values()
        offer = offers[rental.offer_id]

        # the bytes are those that crossed the wire, and the image's
        up_gb = sum(day.up_bytes for day in days) / 1e9
        down_gb = sum(day.down_bytes for day in days) / 1e9
        assert up_gb >= megabytes * 1e6 / 1e9
        assert down_gb >= image_bytes(contract.order.image) / 1e9

        # as long as it ran, and as long as its disk was there
        ran, stood = (sum(getattr(day, kind) for day in days) / 3600 for kind in ("gpu_s", "disk_s"))
        assert hours <= ran <= stood
        card = cost(offer, ran, up_gb, down_gb, disk_gb, bid=rental.bid)
        waiting = cost(offer, stood - ran, disk_gb=disk_gb, bid=0.0)
        assert card.total is not None and waiting.total is not None
        assert card.total + waiting.total == pytest.approx(contract.paid, abs=CENT / 10)
        charged = sum(day.total for day in days)
        assert charged == pytest.approx(contract.paid, abs=1e-6)

        # the hourly price on the card is the bill's
        hourly = rental.offer_price * ran + rental.disk_per_hour * (stood - ran)
        bytes_cost = contract.paid - sum(day.gpu + day.disk for day in days)
        assert hourly == pytest.approx(contract.paid - bytes_cost, abs=CENT)

        # home counts no bytes, and the GPU from the rent call on until it is verified gone: never too little
        more = rental.offer_price * (stood - ran) + CENT
        estimate = rental.cost_until(world.clock.time())
        assert contract.paid - bytes_cost - CENT <= estimate <= contract.paid - bytes_cost + more

    live(tmp_path, story, seed=11, offers=200, credit=10_000.0)
