"""What is loaded when the first frame is painted: nothing that takes long."""

from tests.package.test_layers import loaded_by
from tests.support import eventually
from tests.ui.conftest import screen_text
from tests.ui.fake import FakeApp

FIRST_FRAME = """
import asyncio
from choline_tui.app import CholineApp
seen = []
class First(CholineApp):
    def _wake(self):
        seen.extend(sys.modules)
        self.exit()
app = First("offers")
asyncio.run(app.run_async(headless=True, size=(80, 24)))
late = set(sys.modules) - set(seen)
assert seen, "no frame"
for name in late:
    sys.modules.pop(name, None)
"""


async def test_the_furniture_is_painted_before_the_screens_are_loaded() -> None:
    app = FakeApp("runs")
    app.SPLASH = True
    painted: list[str] = []
    begin = app._begin

    def look() -> None:
        painted.append(screen_text(app))
        begin()

    app._begin = look  # type: ignore[method-assign]
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(lambda: app.main_screen is not None and app.main_screen.is_mounted)
        await pilot.pause()
        assert painted and "Offers" in painted[0] and "Runs" in painted[0], painted
        assert app.main_screen.WHERE == "runs"


def test_the_first_frame_waits_for_nothing_heavy() -> None:
    loaded = loaded_by(FIRST_FRAME)
    assert "textual.app" in loaded
    assert "choline_tui.screens.offers" in loaded
    heavy = {
        "pydantic",
        "sqlite3",
        "httpx",
        "asyncssh",
        "git",
        "choline_tui.services.choline",
        "choline_tui.store",
    }
    assert not loaded & heavy
