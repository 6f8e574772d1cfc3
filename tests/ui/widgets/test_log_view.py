"""The log on a screen: batches, following, search, wrapping, sources, copying; by keys and by mouse."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from choline_tui.widgets import log_pane
from choline_tui.widgets.log_view import LogView
from tests.ui.widgets.host import Host, cells, lines, until


def host(log: LogView) -> Host:
    return Host(log, LogView.StateChanged, LogView.CopyRequested)


async def read(pilot: Pilot[None], log: LogView) -> None:
    """What was fed is on the screen."""
    await until(pilot, lambda: not log.pane._waiting and log.pane._timer is None)


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


def some(first: int, last: int) -> bytes:
    return b"".join(b"line %d\n" % n for n in range(first, last))


def body(app: Any) -> list[str]:
    return [line[:-1].rstrip() for line in lines(app)]


async def filled(pilot: Pilot[None], log: LogView, count: int = 100) -> None:
    log.focus()
    log.feed("run", some(0, count))
    await read(pilot, log)


async def test_it_follows_until_somebody_scrolls_and_again_from_the_end() -> None:
    log = LogView()
    app = host(log)
    async with app.run_test(size=(50, 10)) as pilot:
        assert body(app)[0] == "No output yet."
        await filled(pilot, log)
        assert body(app) == [f"line {n}" for n in range(90, 100)] and log.following
        # down while it follows changes nothing
        await press(pilot, "down", "pagedown", "ctrl+d")
        assert log.following
        await press(pilot, "up")
        assert not log.following and body(app)[0] == "line 89"
        log.feed("run", some(100, 1334))
        await read(pilot, log)
        assert log.unseen == 1234 and body(app)[0] == "line 89"
        assert lines(app)[-1].rstrip("▁▂▃▄▅▆▇█ ").endswith("↓ +1,234 lines, End")
        await press(pilot, "end")
        assert log.following and log.unseen == 0 and body(app)[-1] == "line 1333"
        await press(pilot, "k", "pageup", "ctrl+u", "j", "pagedown", "home")
        assert body(app)[0] == "line 0"
        await press(pilot, "G")
        assert log.following and app.seen[-1].control is log


async def test_the_mouse_scrolls_and_the_words_at_the_end_can_be_clicked() -> None:
    log = LogView()
    app = host(log)
    async with app.run_test(size=(50, 10)) as pilot:
        await filled(pilot, log)
        await pilot._post_mouse_events([events.MouseScrollDown], log.pane, (5, 5))
        assert log.following
        await pilot._post_mouse_events([events.MouseScrollUp], log.pane, (5, 5))
        await pilot.pause()
        assert not log.following and body(app)[0] == "line 87"
        log.feed("run", some(100, 120))
        await read(pilot, log)
        await pilot.click(log.pane, offset=(5, 9))
        assert not log.following
        await pilot.click(log.pane, offset=(45, 9))
        await pilot.pause()
        assert log.following and body(app)[-1] == "line 119"
        # the scrollbar: its upper end, by a click
        await pilot.click(offset=(49, 0))
        await until(pilot, lambda: not log.following)
        log.follow()
        log.feed("run", b"\x1b[1m" + b"wide " * 40 + b"\n")
        await read(pilot, log)
        await pilot._post_mouse_events([events.MouseScrollDown], log.pane, (5, 5), shift=True)
        await pilot.pause()
        assert log.pane.left == 8


async def test_search_as_one_types_and_go_from_match_to_match() -> None:
    log = LogView()
    app = host(log)
    async with app.run_test(size=(60, 10)) as pilot:
        await filled(pilot, log, 200)
        log.feed("run", b"Here [/foo] it is\n")
        await read(pilot, log)
        await press(pilot, "slash", "1", "5")
        assert isinstance(app.focused, Input)
        await until(pilot, lambda: log.found_words.endswith("of 12"))
        await press(pilot, "7")
        # from what is on the screen on, and round the end
        await until(pilot, lambda: log.found_words == "1 of 1")
        assert "line 157" in "\n".join(body(app)) and not log.following
        assert "1 of 1" in body(app)[-1] or "1 of 1" in lines(app)[-1]
        await press(pilot, "backspace", "enter")
        assert log.pane.has_focus
        await until(pilot, lambda: log.found_words.endswith("of 12"))
        begun = log.pane.current
        await press(pilot, "n")
        assert log.pane.current == begun % 12 + 1
        await press(pilot, "N")
        assert log.pane.current == begun
        for _ in range(12):
            await press(pilot, "n")
        assert log.pane.current == begun
        # marked where it stands, more than the words around it
        row = next(n for n, line in enumerate(body(app)) if line == "line 15" or line.startswith("line 15"))
        found = [s for s in log.pane.render_line(row) if s.text == "15"]
        plain = [s for s in log.pane.render_line(row) if s.text.startswith("line")]
        assert found and plain and found[0].style != plain[0].style
        # new lines are searched as they come
        log.feed("run", b"and 15 more\n")
        await read(pilot, log)
        assert log.found_words.endswith("of 13")
        await press(pilot, "escape")
        assert log.found_words == ""
        # capitals count when there are any
        log.search("here")
        await until(pilot, lambda: log.found_words == "1 of 1")
        log.search("HERE")
        await until(pilot, lambda: log.found_words == "no match")
        log.search("[/foo]")
        await until(pilot, lambda: log.found_words == "1 of 1")


async def test_escape_closes_the_search_line_and_ends_the_search() -> None:
    log = LogView()
    app = host(log)
    async with app.run_test(size=(60, 10)) as pilot:
        await filled(pilot, log)
        await press(pilot, "slash", "9", "escape")
        assert app.focused is log.pane and log.found_words == "" and not log.has_class("-searching")
        assert len(body(app)[-1]) < 20
        await press(pilot, "slash")
        assert log.query_one(Input).value == ""


async def test_lines_wrap_and_what_was_on_top_stays_there() -> None:
    log = LogView()
    app = host(log)
    async with app.run_test(size=(41, 10)) as pilot:
        log.focus()
        log.feed("run", b"".join(b"%03d " % n + b"abcdefghi " * 9 + b"\n" for n in range(60)))
        await read(pilot, log)
        assert body(app)[0].startswith("050 ") and len(body(app)[0]) == 40
        await press(pilot, "home", *["down"] * 20)
        assert body(app)[0].startswith("020 ")
        await press(pilot, "w")
        assert log.wrap and body(app)[0].startswith("020 ") and body(app)[3].startswith("021 ")
        assert (
            "".join(line.ljust(40) for line in body(app)[:3]).rstrip() == ("020 " + "abcdefghi " * 9).rstrip()
        )
        await press(pilot, "right")
        assert body(app)[0].startswith("020 ")
        await pilot.resize_terminal(81, 10)
        await pilot.pause()
        assert body(app)[2].startswith("021 ") or body(app)[1].startswith("021 ")
        await press(pilot, "w", "right", "l")
        assert not log.wrap and body(app)[0].startswith("bcdefghi abc")
        await press(pilot, "left", "h", "h")
        assert body(app)[0].startswith("020 ")


async def test_wide_characters_wrap_whole() -> None:
    log = LogView()
    app = host(log)
    async with app.run_test(size=(12, 6)) as pilot:
        log.set_wrap(True)
        text = "日本語" * 5
        log.feed("run", f"x{text}\nend\n".encode())
        await read(pilot, log)
        assert set(cells(app)) == {12}
        assert "".join(body(app)).startswith(f"x{text}end")


async def test_sources_side_by_side_and_one_alone() -> None:
    log = LogView()
    app = host(log)
    async with app.run_test(size=(50, 12)) as pilot:
        await filled(pilot, log, 3)
        assert body(app)[0] == "line 0"
        log.feed("build", b"step 1\nstep 2\n")
        log.feed("a very long name of a worker", b"partly")
        await read(pilot, log)
        assert body(app)[:6] == [
            "run        line 0",
            "run        line 1",
            "run        line 2",
            "build      step 1",
            "build      step 2",
            "a very lo… partly",
        ]
        assert log.sources == ("run", "build", "a very long name of a worker") and log.source is None
        await press(pilot, "s", "s")
        assert log.source == "build" and body(app)[:3] == ["step 1", "step 2", ""]
        log.search("step 2")
        await until(pilot, lambda: log.found_words == "1 of 1")
        log.show_source("run")
        await until(pilot, lambda: log.found_words == "no match")
        await press(pilot, "s", "s", "s")
        assert log.source is None
        log.show_source("nobody")
        await pilot.pause()
        assert "line" not in "\n".join(body(app))
        log.show_source(None)
        log.finish("a very long name of a worker")
        await read(pilot, log)
        assert log.line_count == 6


async def test_a_bar_that_draws_itself_anew_is_one_line() -> None:
    log = LogView()
    app = host(log)
    async with app.run_test(size=(50, 8)) as pilot:
        for n in range(10):
            log.feed("run", b"\r%d0%%" % n)
            await read(pilot, log)
        assert body(app)[:2] == ["90%", ""] and log.line_count == 0
        log.feed("run", b"\rdone\n")
        await read(pilot, log)
        assert body(app)[:2] == ["done", ""] and log.line_count == 1


async def test_old_lines_go_and_what_is_read_stays_in_its_place() -> None:
    log = LogView(max_lines=80)
    app = host(log)
    async with app.run_test(size=(60, 6)) as pilot:
        await filled(pilot, log, 80)
        await press(pilot, "up", "up")
        top = body(app)[0]
        log.feed("run", some(80, 110))
        await read(pilot, log)
        assert body(app)[0] == top and log.dropped == 30 and log.line_count == 80
        await press(pilot, "home")
        assert body(app)[0].startswith("line 30") and "30 older lines dropped" in lines(app)[0]
        log.feed("run", some(110, 300))
        await read(pilot, log)
        assert log.line_count <= 80 and body(app)[0].startswith(f"line {log.dropped}")
        log.clear()
        await pilot.pause()
        assert log.line_count == 0 and body(app)[0] == "No output yet."
        log.set_empty("Nothing [yet]")
        await pilot.pause()
        assert body(app)[0] == "Nothing [yet]"


async def test_what_cannot_be_read_in_time_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_pane, "_MAX_WAITING", 3 * 2**20)
    log = LogView()
    app = host(log)
    async with app.run_test(size=(60, 6)) as pilot:
        log.focus()
        for _ in range(5):
            log.feed("run", b"x" * 100 + b"\n" + b"y" * (2**20 - 101))
        assert log.pane.lost_bytes == 2 * 2**20 and log.pane._waiting_size == 3 * 2**20
        await read(pilot, log)
        await press(pilot, "home")
        assert "2 MiB unread dropped" in lines(app)[0]


async def test_copy_the_screen_or_what_is_selected() -> None:
    log = LogView()
    app = host(log)
    async with app.run_test(size=(50, 4)) as pilot:
        log.focus()
        await press(pilot, "y")
        assert not [m for m in app.seen if isinstance(m, LogView.CopyRequested)]
        log.feed("run", b"\x1b[31mone\x1b[0m [/foo]\ntwo\nthree\n" + b"long " * 30 + b"\n")
        await read(pilot, log)
        await press(pilot, "y")
        asked = app.seen[-1]
        assert asked.text == "one [/foo]\ntwo\nthree\n" + "long " * 30 and asked.control is log
        await pilot.mouse_down(log.pane, offset=(1, 0))
        await pilot.hover(log.pane, offset=(2, 2))
        await pilot.mouse_up(log.pane, offset=(3, 2))
        await pilot.pause()
        await press(pilot, "y")
        assert app.seen[-1].what == "the selected text"
        assert app.seen[-1].text.startswith("ne [/foo]\ntwo\nthr")
        # what is selected can be seen
        assert len({segment.style for segment in log.pane.render_line(0)}) >= 2


HOSTILE = st.one_of(
    st.binary(max_size=60),
    st.text(alphabet="ab[/]\x1b\x9b\r\b\t\u202e日é\u0301\ufe0f👩", max_size=60).map(str.encode),
    st.sampled_from(
        [b"\x1b[2J\x1b[H", b"\x1b]52;c;aGk=\x07", b"[/foo]", b"\x1b[31m" * 20, b"\xff\xfe", b"\x1bc"]
    ),
)


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(st.lists(HOSTILE, min_size=15, max_size=15), st.booleans())
async def test_hostile_output_changes_nothing_but_its_own_lines(outputs: list[bytes], wrap: bool) -> None:
    log = LogView()
    app = host(log)
    async with app.run_test(size=(30, 100)) as pilot:
        log.set_wrap(wrap)
        for number, output in enumerate(outputs):
            log.feed("evil", output.replace(b"\n", b"") + b"\n")
            log.feed("good", b"<%d>\n" % number)
        await read(pilot, log)
        drawn = lines(app)
        assert set(cells(app)) == {30}
        assert not any(ord(char) < 32 or char in "\u202e\u200b\x9b" for line in drawn for char in line)
        good = [line for line in drawn if line.startswith("good <")]
        assert [line.split()[1] for line in good] == [f"<{n}>" for n in range(15)]
        log.search("[/foo]")
        await until(pilot, lambda: not log.pane.searching)


async def test_a_million_lines_stay_bounded_and_can_be_walked() -> None:
    """Straight into the store: what reading them takes is the benchmark's."""
    log = LogView(max_lines=20_000)
    app = host(log)
    async with app.run_test(size=(50, 10)) as pilot:
        await filled(pilot, log, 10)
        for n in range(60_000):
            log.pane.store.append(0, f"step {n}")
        log.pane.bring_in_line()
        await pilot.pause()
        assert body(app)[-1] == "step 59999" and 19_000 < log.line_count <= 20_000
        assert log.pane.store.memory < 20 * log.line_count
        await press(pilot, "home", "pagedown", "end")
        assert body(app)[-1] == "step 59999"
        log.search("step 59998")
        await until(pilot, lambda: log.found_words == "1 of 1")
        assert "step 59998" in body(app)
