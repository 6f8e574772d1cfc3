"""What is said of a rental that may bill and is not as it should be."""

from choline_tui.screens.runs.cells import alarm, what_happens
from choline_tui.screens.runs.parts import warning_lines
from tests.cli.fakes import NOW, live_view, rental
from tests.ui.fake import FakeApp


def test_who_stopped_it_and_why() -> None:
    stopped = rental(stopped_since=NOW)
    assert alarm(stopped, True, NOW)[0].startswith("stopped by the market or its host; its disk bills $")
    asked = stopped.but(halted=NOW)
    text, colour = alarm(asked, True, NOW)
    assert text.startswith("stopped, because nobody reached it; its disk bills $") and colour == "warn"
    text, colour = alarm(asked.but(stranger=True), True, NOW)
    assert text.startswith("stopped, because its host key changed; its disk bills $") and colour == "warn"


WORDS = "paused: the machine's disk is full (0.4 GB free), and it bills"


def test_a_disk_that_is_full_is_said_before_the_last_line() -> None:
    view = live_view(disk_there=WORDS, disk_here="results wait on the machine")
    assert what_happens(view, NOW, "step 7") == f"{WORDS}; results wait on the machine"
    assert WORDS in "".join(text for line in warning_lines(view, NOW) for text, _ in line)
    assert what_happens(live_view(), NOW, "step 7") == "step 7"


async def test_a_toast_says_once_that_a_disk_fills() -> None:
    app = FakeApp("runs")
    async with app.run_test(size=(80, 24)) as pilot:
        told: list[str] = []
        app.warn = told.append  # type: ignore[method-assign]
        for words in ("", WORDS, WORDS, "", WORDS):
            app.fake.views = [live_view(disk_there=words)]
            app.fake_feed.touch()
            await pilot.pause()
        assert told == [f"{app.fake.views[0].run.id}: {WORDS}"] * 2
