"""Hostile text in every field of an offer and of a plan card."""

from choline_tui.model.offer import Offer
from choline_tui.model.run import Plan
from tests.ui.fake import FakeCholine, market_rows, offer, offer_step
from tests.ui.offers.conftest import Open, screen_of, until
from tests.ui.test_hostile_fields import HOSTILE, frame, inert, texts_of


async def test_offers(opened: Open) -> None:
    names = texts_of(Offer)
    rows = [offer(id=n, price=0.01 * n, dph_total=0.01 * n) for n in range(1, len(names) + 1)]
    for n, name in enumerate(names):
        rows[n][name] = HOSTILE[n % len(HOSTILE)]
    all_bad = [
        offer(id=1000 + n, price=5.0 + n) | dict.fromkeys(names, text) for n, text in enumerate(HOSTILE)
    ]
    fake = FakeCholine(steps=[offer_step([*rows, *all_bad, *market_rows(5)])])
    async with opened((160, 50), fake=fake) as pilot:
        before = frame(inert(pilot.app))
        screen = screen_of(pilot)
        for row in (*rows, *all_bad):
            screen.table.move_to_key(row["id"])
            await pilot.pause()
            assert frame(inert(pilot.app)) == before, row["id"]
        for row in all_bad[::2]:
            screen.table.move_to_key(row["id"])
            for key in ("enter", "e"):
                await pilot.press(key)
                await pilot.pause()
                inert(pilot.app)
                await pilot.press("escape")
        assert not pilot.app.faults  # type: ignore[attr-defined]


async def test_the_plan_card_fails_and_draws_inertly(opened: Open) -> None:
    fake = FakeCholine()
    async with opened((80, 24), fake=fake) as pilot:
        assert fake.card is not None
        for bad in HOSTILE:
            plan = fake.card.plan.model_copy(
                update={**dict.fromkeys(texts_of(Plan), bad), "type": "on-demand", "ports": [bad]}
            )
            fake.card = fake.card.model_copy(
                update={"plan": plan, "offer": offer() | dict.fromkeys(texts_of(Offer), bad),
                        "warnings": [bad], "when_unreachable": bad, "branch": bad, "commit": bad}
            )  # fmt: skip
            await pilot.press("R")
            await until(pilot, lambda: getattr(pilot.app.screen, "card", None) is not None)
            await pilot.pause()
            assert "Cancel" in inert(pilot.app)
            await pilot.press("escape")
