"""What is said of a rental that may bill and is not as it should be."""

from choline_tui.screens.runs.cells import alarm
from tests.cli.fakes import NOW, rental


def test_who_stopped_it_and_why() -> None:
    stopped = rental(stopped_since=NOW)
    assert alarm(stopped, True, NOW)[0].startswith("stopped by the market or its host; its disk bills $")
    asked = stopped.but(halted=NOW)
    text, colour = alarm(asked, True, NOW)
    assert text.startswith("stopped, because nobody reached it; its disk bills $") and colour == "warn"
    text, colour = alarm(asked.but(stranger=True), True, NOW)
    assert text.startswith("stopped, because its host key changed; its disk bills $") and colour == "warn"
