"""What is loaded when the first frame is painted: nothing that takes long."""

from tests.package.test_layers import loaded_by

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
