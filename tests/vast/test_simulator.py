"""The client and the rehearsal market, which were written apart from the same description."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from choline_tui.kernel.errors import BadKey, MissingScope, OfferGone, QueryError, UnknownOutcome, VastError
from choline_tui.kernel.secret import Secret
from choline_tui.model.query import gpu_spec, parse_query
from choline_tui.simulator import Request, Simulator
from choline_tui.simulator.virtual import VirtualClock, VirtualLoop, run_virtual
from choline_tui.vast.client import VastClient
from choline_tui.vast.types import RentRequest
from tests.vast.fake import PUBLIC

QUERY = parse_query("duration>30", disk_gb=20)


class InProcess(httpx.AsyncBaseTransport):
    def __init__(self, sim: Simulator) -> None:
        self.sim = sim

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        query = request.url.query.decode()
        answer = await self.sim.handle(
            Request(request.method, request.url.path, query, dict(request.headers), body)
        )
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body, request=request)


def live(
    story: Callable[[VastClient, Simulator, VirtualClock], Awaitable[Any]],
    key: str = "account",
    sim_key: str | None = None,
    **options: Any,
) -> Any:
    """Run ``story`` against a small market that holds still and counts every endpoint's calls."""
    loop = VirtualLoop()
    clock = VirtualClock(loop)

    async def main() -> Any:
        settings: dict[str, Any] = {
            "offers": 300,
            "moving": False,
            "listen": False,
            "rate_limits": True,
            **options,
        }
        async with (
            Simulator(clock=clock, key=sim_key, **settings) as sim,
            VastClient(
                Secret(key), base_url="http://127.0.0.1:8070", transport=InProcess(sim), clock=clock
            ) as client,
        ):
            return await story(client, sim, clock)

    return run_virtual(main(), loop)


async def rented(client: VastClient, label: str = "choline-abcd-efgh-1", **more: Any) -> int:
    query = parse_query("duration>30", type="bid" if "price" in more else "on-demand")
    page = await client.search(query)
    request = RentRequest("pytorch/pytorch", 20, label, onstart="echo hi", env={"A": "b"}, **more)
    return (await client.rent(page.offers[0].id, request)).contract_id


@pytest.mark.parametrize("kind", ["on-demand", "interruptible"])
def test_prices_searched_are_the_prices_of_contracts(kind: str) -> None:
    async def story(client: VastClient, sim: Simulator, clock: VirtualClock) -> None:
        page = await client.search(parse_query("duration>30", type=kind, disk_gb=37))
        offer = page.offers[0]
        assert offer.price_at(37) == pytest.approx(offer.dph_total, abs=2e-6)
        bid = offer.min_bid if kind == "interruptible" else None
        made = await client.rent(offer.id, RentRequest("a/b", 37, "l", price=bid))
        found = await client.instance(made.contract_id)
        assert found is not None and found.label == "l" and found.machine_id == offer.machine_id
        assert found.total_per_hour == pytest.approx(offer.price_at(37), abs=2e-6)
        assert found.is_bid is (kind == "interruptible")

    live(story)


def test_every_offer_passes_the_filter_it_was_found_with() -> None:
    texts = [
        "num_gpus>=2 gpu_ram>=20",
        "gpu_name in [RTX_4090,RTX_3090] dph<2",
        "geolocation in [US,CA,SE]",
        "reliability>0.95 inet_down>200 cpu_ram>30",
        "driver_version>=550.0.0 cuda_vers>=12.2",
        "datacenter=true",
        "verified=any duration>10 direct_port_count>=1",
    ]

    async def story(client: VastClient, sim: Simulator, clock: VirtualClock) -> None:
        for text in texts:
            page = await client.search(parse_query(text, limit=64))
            assert page.listed > 0, text
            assert len(page.offers) == page.listed, text

    live(story)


def test_gpus_are_found_by_short_names() -> None:
    async def story(client: VastClient, sim: Simulator, clock: VirtualClock) -> None:
        names = await client.gpu_names()
        page = await client.search(parse_query("").with_conditions(*gpu_spec("2x4090", names)))
        assert page.offers
        assert {(each.gpu_name, each.num_gpus) for each in page.offers} == {("RTX 4090", 2)}
        with pytest.raises(QueryError):
            gpu_spec("abacus", names)

    live(story)


def test_the_life_of_a_contract() -> None:
    async def story(client: VastClient, sim: Simulator, clock: VirtualClock) -> None:
        assert await client.add_ssh_key(PUBLIC) is True
        assert await client.add_ssh_key(PUBLIC) is False
        contract = await rented(client)
        assert (await client.listing()).labelled("choline-abcd-efgh-1")[0].id == contract
        for _ in range(30):
            found = await client.instance(contract)
            assert found is not None
            if found.is_running and len(found.ssh_addresses()) == 2:
                break
            await clock.sleep(1)
        assert [each.kind for each in found.ssh_addresses()] == ["direct", "proxy"]
        await client.attach_ssh_key(contract, PUBLIC)
        await client.label(contract, "other")
        assert isinstance(await client.logs(contract), str)
        await client.stop(contract)
        await clock.sleep(30)
        found = await client.instance(contract)
        assert found is not None and found.is_stopped and found.label == "other"
        await client.start(contract)
        await clock.sleep(30)
        await client.reboot(contract)
        await clock.sleep(30)
        found = await client.instance(contract)
        assert found is not None and found.is_running
        assert await client.destroy(contract) is True
        await clock.sleep(30)
        assert await client.instance(contract) is None
        assert await client.destroy(contract) is True
        assert (await client.listing()).instances == ()
        account = await client.account()
        assert account.credit is not None and account.credit < 100

    live(story)


def test_many_contracts_are_one_listing() -> None:
    async def story(client: VastClient, sim: Simulator, clock: VirtualClock) -> None:
        ids = [await rented(client, f"choline-abcd-efgh-{n}") for n in range(1, 31)]
        listing = await client.listing()
        assert [each.id for each in listing.instances] == sorted(ids)

    live(story, credit=10_000.0)


def test_an_offer_is_rented_once() -> None:
    async def story(client: VastClient, sim: Simulator, clock: VirtualClock) -> None:
        offer = (await client.search(QUERY)).offers[0]
        await client.rent(offer.id, RentRequest("a/b", 20, "l"))
        with pytest.raises(OfferGone):
            await client.rent(offer.id, RentRequest("a/b", 20, "l"))
        assert len((await client.listing()).instances) == 1

    live(story)


def test_a_bid_too_low_is_refused_and_what_it_leaves_behind_is_named() -> None:
    async def story(client: VastClient, sim: Simulator, clock: VirtualClock) -> None:
        page = await client.search(parse_query("duration>30", type="bid"))
        with pytest.raises(VastError) as caught:
            await client.rent(page.offers[0].id, RentRequest("a/b", 20, "l", price=0.001))
        assert not isinstance(caught.value, UnknownOutcome)
        left = caught.value.details.get("contract")
        assert [each.id for each in (await client.listing()).instances] == ([] if left is None else [left])

    live(story)


def test_the_instance_key_may_end_its_contract_and_nothing_else() -> None:
    async def story(client: VastClient, sim: Simulator, clock: VirtualClock) -> None:
        offer = (await client.search(QUERY)).offers[0]
        made = await client.rent(offer.id, RentRequest("a/b", 20, "l"))
        assert made.instance_api_key is not None
        transport = InProcess(sim)
        async with VastClient(
            made.instance_api_key, base_url="http://127.0.0.1:1", transport=transport, clock=clock
        ) as guard:
            for refused in (guard.listing(), guard.account(), guard.rent(5, RentRequest("a/b", 20, "l"))):
                with pytest.raises((MissingScope, BadKey)):
                    await refused
            assert await guard.destroy(made.contract_id) is True
        await clock.sleep(10)
        assert await client.instance(made.contract_id) is None

    live(story)


def test_keys_are_checked() -> None:
    async def story(client: VastClient, sim: Simulator, clock: VirtualClock) -> None:
        report = await client.key_check()
        assert report.valid
        assert report.scopes["instance_read"] == "allowed"
        assert report.missing == ()

    live(story)

    async def wrong(client: VastClient, sim: Simulator, clock: VirtualClock) -> None:
        with pytest.raises(BadKey):
            await client.listing()
        assert not (await client.key_check()).valid

    live(wrong, key="other", sim_key="account")
