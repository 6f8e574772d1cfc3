"""The table on a screen: every action by keys and by mouse, and what stays where when the records change."""

from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.pilot import Pilot
from textual.widgets import Input

from choline_tui.widgets.columns import GUTTER
from choline_tui.widgets.table import Column, Table
from tests.ui.widgets.host import Host, Row, cells, columns, lines, rows, table

KINDS = (Table.Highlighted, Table.Opened, Table.HeaderClicked, Table.MarksChanged)


def host(widget: Table[Row]) -> Host:
    return Host(widget, *KINDS)


def ids(records: list[Row]) -> list[int]:
    return [record.id for record in records]


def said(app: Host, kind: type[Any]) -> list[Any]:
    return [message for message in app.seen if type(message) is kind]


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


@pytest.mark.parametrize(
    ("keys", "row"),
    [
        ("down", 1),
        ("j j k", 1),
        ("down up up", 0),
        ("pagedown", 8),
        ("pagedown pageup", 0),
        ("ctrl+d ctrl+d ctrl+u", 4),
        ("end", 49),
        ("G k", 48),
        ("end home", 0),
        ("G g", 0),
        ("end down", 49),
    ],
)
async def test_keys_that_move(keys: str, row: int) -> None:
    widget = table(50)
    async with host(widget).run_test(size=(40, 9)) as pilot:
        widget.focus()
        await press(pilot, *keys.split())
        assert widget.cursor == row and widget.cursor_record == rows(50)[row]
        shown = [line for line in lines(pilot.app) if line.startswith("▸")]
        assert len(shown) == 1 and f"n{row} " in shown[0]


async def test_the_cursor_says_where_it_is_and_opens() -> None:
    widget = table(5)
    app = host(widget)
    async with app.run_test(size=(40, 9)) as pilot:
        widget.focus()
        await press(pilot, "down", "enter")
        assert said(app, Table.Highlighted)[-1].record == rows(5)[1]
        (opened,) = said(app, Table.Opened)
        assert opened.record == rows(5)[1] and opened.control is widget
        # the same record anew is told, the same object again is not
        before = len(said(app, Table.Highlighted))
        widget.set_filter(None)
        await pilot.pause()
        assert len(said(app, Table.Highlighted)) == before
        widget.set_records([Row(1, "new", 2.0)])
        await pilot.pause()
        assert said(app, Table.Highlighted)[-1].record.name == "new"
        widget.set_records([])
        await press(pilot, "enter", "space", "shift+down", "asterisk", "end")
        assert said(app, Table.Highlighted)[-1].record is None
        assert widget.chosen == [] and len(said(app, Table.Opened)) == 1


async def test_marks_by_keys() -> None:
    widget = table(20)
    app = host(widget)
    async with app.run_test(size=(40, 9)) as pilot:
        widget.focus()
        assert ids(widget.chosen) == [0]
        await press(pilot, "space", "j", "space")
        assert ids(widget.marked) == [0, 2] and widget.cursor == 3
        assert ids(widget.chosen) == [0, 2]
        assert sum("✓" in line for line in lines(app)) == 2
        await press(pilot, "shift+down", "shift+down", "shift+down", "shift+up")
        assert ids(widget.marked) == [0, 2, 3, 4, 5]
        # back over where it began: what was marked before stays, the rest loses its mark
        await press(pilot, *["shift+up"] * 4)
        assert sorted(ids(widget.marked)) == [0, 1, 2, 3]
        await press(pilot, "escape")
        assert widget.marked == []
        widget.set_filter(lambda r: r.id % 2 == 0)
        await press(pilot, "asterisk")
        assert len(widget.marked) == 10
        widget.set_filter(lambda r: r.id < 4)
        assert len(widget.marked) == 10 and widget.marked_hidden == 8
        await press(pilot, "asterisk")
        assert len(widget.marked) == 12
        await press(pilot, "asterisk")
        assert len(widget.marked) == 8 and said(app, Table.MarksChanged)[-1].count == 8


async def test_the_mouse_does_all_of_it() -> None:
    widget = table(50)
    app = host(widget)
    async with app.run_test(size=(40, 9)) as pilot:
        await pilot.click(widget, offset=(10, 3))
        assert widget.cursor == 2 and widget.has_focus and not said(app, Table.Opened)
        await pilot.click(widget, offset=(10, 4), times=2)
        await pilot.pause()
        assert [m.record.id for m in said(app, Table.Opened)] == [3]
        await pilot.click(widget, offset=(10, 5), control=True)
        await pilot.click(widget, offset=(1, 2))
        assert ids(widget.marked) == [4, 1]
        await pilot.click(widget, offset=(10, 4), shift=True)
        assert sorted(ids(widget.marked)) == [1, 2, 3, 4]
        price = next(line.index("$/h") for line in lines(app)[:1])
        await pilot.click(widget, offset=(price, 0))
        await pilot.click(widget, offset=(GUTTER, 0))
        assert [m.key for m in said(app, Table.HeaderClicked)] == ["price", "name"]
        await pilot._post_mouse_events([events.MouseScrollDown], widget=widget)
        await pilot.pause()
        assert widget.scroll_offset.y > 0 and widget.cursor == 3
        await pilot.click(widget, offset=(10, 8))
        assert widget.cursor == widget.scroll_offset.y + 7
        await pilot.hover(widget, offset=(10, 2))
        await pilot.hover(widget, offset=(10, 0))
        # below the last row there is nothing to click
        widget.set_records(rows(2))
        await pilot.click(widget, offset=(10, 6))
        assert widget.shown == 2


async def test_help_of_a_column_is_under_the_mouse() -> None:
    widget: Table[Row] = Table(columns(help="The [name] of it"), key=lambda r: r.id)
    async with host(widget).run_test(size=(40, 9)) as pilot:
        await pilot.hover(widget, offset=(GUTTER + 1, 0))
        assert str(widget.tooltip) == "The [name] of it"
        await pilot.hover(widget, offset=(GUTTER + 1, 3))
        assert widget.tooltip is None


async def test_the_cursor_stays_on_its_record_and_its_line() -> None:
    widget = table(200)
    async with host(widget).run_test(size=(40, 12)) as pilot:
        widget.focus()
        assert widget.move_to_key(100)
        await press(pilot, "up", "up")
        line = next(n for n, text in enumerate(lines(pilot.app)) if text.startswith("▸"))

        async def same() -> None:
            await pilot.pause()
            assert widget.cursor_record is not None and widget.cursor_record.id == 98
            assert "n98 " in lines(pilot.app)[line] and lines(pilot.app)[line].startswith("▸")

        widget.sort("price")
        await same()
        widget.sort("price")
        assert widget.reverse
        await same()
        widget.unsort()
        widget.set_filter(lambda r: r.id % 2 == 0)
        await same()
        widget.set_records([Row(n, f"n{n} ", -float(n)) for n in reversed(range(50, 400))])
        await same()
        widget.sort("price", reverse=True)
        widget.extend([Row(n, "early", 5.0) for n in range(1000, 1100)])
        await same()
        assert not widget.move_to_key(99)


async def test_a_record_the_filter_hid_gets_the_cursor_back() -> None:
    widget = table(50)
    async with host(widget).run_test(size=(40, 12)) as pilot:
        widget.focus()
        widget.move_to(30)
        widget.set_filter(lambda r: r.id < 20)
        assert widget.cursor == 19
        widget.set_filter(lambda r: r.id < 10)
        widget.set_filter(None)
        assert widget.cursor == 30
        # moved in between: that is where it is wanted now
        widget.set_filter(lambda r: r.id < 10)
        await press(pilot, "home", "down")
        widget.set_filter(None)
        assert widget.cursor == 1
        # gone for good: the row in its place
        widget.set_records(rows(50)[2:])
        assert widget.cursor == 1
        widget.set_records(rows(50), keep=False)
        assert widget.cursor == 0


async def test_a_cursor_nobody_moved_stays_on_the_first_row() -> None:
    widget = table(10)
    async with host(widget).run_test(size=(40, 9)) as pilot:
        widget.sort("price", reverse=True)
        widget.extend([Row(99, "best", 99.0)])
        await pilot.pause()
        assert widget.cursor == 0 and widget.cursor_record is not None and widget.cursor_record.id == 99


async def test_marks_of_records_that_went_are_gone() -> None:
    widget = table(10)
    app = host(widget)
    async with app.run_test(size=(40, 9)) as pilot:
        widget.focus()
        await press(pilot, "space", "space", "space")
        widget.set_records(rows(10)[1:])
        await pilot.pause()
        assert ids(widget.marked) == [1, 2] and said(app, Table.MarksChanged)[-1].count == 2
        widget.set_records(rows(10), keep=False)
        await pilot.pause()
        assert widget.marked == [] and said(app, Table.MarksChanged)[-1].count == 0


async def test_the_header_shows_the_order() -> None:
    widget = table(30)
    async with host(widget).run_test(size=(60, 6)) as pilot:
        widget.sort("price")
        await pilot.pause()
        assert "$/h▲" in lines(pilot.app)[0] and widget.sort_key == "price" and not widget.reverse
        widget.sort("price")
        await pilot.pause()
        assert "$/h▼" in lines(pilot.app)[0]
        widget.sort("name")
        await pilot.pause()
        assert "Name▲" in lines(pilot.app)[0] and "▼" not in lines(pilot.app)[0]
        # numbers end under the end of their label
        header, first = lines(pilot.app)[:2]
        assert header.index("$/h") + 2 == first.index(".00") + 2
        with pytest.raises(KeyError):
            widget.sort("nothing")


@pytest.mark.parametrize("width", [1, 3, 5, 10, 15, 20, 27, 40, 80, 200])
async def test_every_width_is_filled_and_no_row_is_longer(width: int) -> None:
    widget = table(30)
    async with host(widget).run_test(size=(width, 8)) as pilot:
        await pilot.pause()
        assert set(cells(pilot.app)) == {width}
        keys = [column.key for column in widget.visible_columns]
        assert keys[:2] == ["name", "price"]
        assert ("id" in keys) == (width >= 27) and ("rest" in keys) == (width >= 40)


async def test_columns_change_with_the_terminal() -> None:
    widget = table(30)
    async with host(widget).run_test(size=(60, 8)) as pilot:
        assert len(widget.visible_columns) == 4
        widget.move_to(20)
        await pilot.resize_terminal(24, 5)
        await pilot.pause()
        assert len(widget.visible_columns) == 2
        assert any(line.startswith("▸") and "n20" in line for line in lines(pilot.app))


async def test_sideways_the_first_column_stays() -> None:
    widget = table(5)
    async with host(widget).run_test(size=(24, 8)) as pilot:
        widget.focus()
        widget.show("id")
        widget.show("rest")
        await pilot.pause()
        assert "x0" not in lines(pilot.app)[1]
        await press(pilot, "right", "l")
        header, first, *_ = lines(pilot.app)
        assert "Name" in header and "$/h" not in header and "Rest" in header
        assert first.startswith("▸   n0".replace("   ", "  ", 1)) and "x0" in first
        await press(pilot, "l", "l", "l", "left", "h", "h", "h")
        assert "$/h" in lines(pilot.app)[0] and widget.scroll_offset.x == 0


async def test_columns_hide_show_move_and_widen() -> None:
    widget = table(5)
    async with host(widget).run_test(size=(60, 8)) as pilot:

        def keys() -> list[str]:
            return [column.key for column in widget.visible_columns]

        widget.hide("price")
        widget.hide("name")
        assert keys() == ["name", "id", "rest"]
        widget.show("price")
        widget.move_column("price", 1)
        assert keys() == ["name", "id", "price", "rest"]
        widget.move_column("price", 9)
        widget.move_column("id", -9)
        widget.move_column("name", 1)
        assert keys() == ["name", "id", "rest", "price"]
        widget.resize_column("id", 6)
        await pilot.pause()
        assert lines(pilot.app)[0].index("Id") == GUTTER + 8 + 2 + 9
        assert widget.row_text(rows(5)[3]) == "n3\t3\tx3\t1.00"
        assert [column.key for column in widget.columns] == ["name", "id", "rest", "price"]


async def test_texts_are_drawn_anew_only_when_told_and_only_the_visible_ones() -> None:
    factor, drawn = 1.0, 0

    def text(record: Row) -> str:
        nonlocal drawn
        drawn += 1
        return f"{(record.price or 0) * factor:.2f}"

    widget: Table[Row] = Table(
        [
            Column("name", "Name", 8, lambda r: r.name, lambda r: r.name),
            Column("p", "P", 8, lambda r: r.price, text),
        ],
        key=lambda r: r.id,
        row_style=lambda r: "dim" if factor > 1 and (r.price or 0) > 5 else "",
    )
    async with host(widget).run_test(size=(40, 9)) as pilot:
        widget.set_records(rows(10_000))
        await pilot.pause()
        assert drawn < 60
        before = drawn
        factor = 2.0
        widget.repaint()
        await pilot.pause()
        assert "14.00" in lines(pilot.app)[2] and drawn - before <= 16


@pytest.mark.parametrize("count", [0, 1, 60_000])
async def test_none_one_and_many(count: int) -> None:
    widget = table(
        count, empty=lambda: "Nothing matches.\nTry [less] of it, or wait until there is more to see."
    )
    async with host(widget).run_test(size=(40, 9)) as pilot:
        widget.focus()
        await press(pilot, "end", "pageup", "down")
        text = "\n".join(lines(pilot.app))
        assert widget.shown == count
        assert ("Nothing matches." in text and "[less]" in text) == (count == 0)
        assert set(cells(pilot.app)) == {40}
        widget.sort("price", reverse=True)
        widget.set_filter(lambda r: r.id % 7 == 0)
        assert widget.shown == len(range(0, count, 7))
        assert widget.shown_records == sorted(rows(count)[::7], key=lambda r: (-(r.price or 0), r.id))
        widget.set_empty("Now [this]")
        widget.set_records([])
        await pilot.pause()
        assert "Now [this]" in "\n".join(lines(pilot.app))


async def test_without_unicode_there_is_none() -> None:
    widget = table(9)
    app = host(widget)
    app.ascii = True
    async with app.run_test(size=(40, 12)) as pilot:
        widget.focus()
        widget.set_records([Row(1, "a long name, cut", 1.0), *rows(9)[2:]])
        widget.sort("price")
        await press(pilot, "space", "j")
        body = "\n".join(line[:-1] for line in lines(app))
        assert body.isascii()
        assert "\n>" in body and "\n * " in body and "a long ~" in body and "$/h^" in body


async def test_styles_are_of_the_theme_and_the_cursor_wins() -> None:
    widget: Table[Row] = Table(
        columns(style=lambda r: ("good", "warn", "bad", "dim", "accent", "")[r.id]),
        key=lambda r: r.id,
        row_style=lambda r: "dim" if r.id == 5 else "",
    )
    widget.set_records(rows(6))
    async with host(widget).run_test(size=(40, 9)) as pilot:
        widget.focus()
        widget.move_to(0)
        await pilot.pause()

        def look(row: int) -> Any:
            # the first piece of text of the row's name
            return next(s.style for s in widget.render_line(row + 1) if f"n{row}" in s.text)

        cursor, *others = [look(row) for row in range(6)]
        assert len({style.color for style in others[:3]}) == 3
        assert cursor.bgcolor != others[0].bgcolor and cursor.color not in {s.color for s in others[:3]}
        before = look(2).color
        pilot.app.theme = "textual-light"
        await pilot.pause()
        assert look(2).color != before


HOSTILE = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="ab日é́\u200b\u202e[]/\x1b\x9b\n\t\r👩🇩\ufe0f", max_size=20),
    st.sampled_from(["[/foo]", "[b]x", "\x1b[2J\x1b[31m", "e" + "\u0301" * 40, "日本語" * 9, "\x07\x00\x7f"]),
)


# many hostile rows an example: starting an app is what takes the time
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(st.lists(st.tuples(HOSTILE, HOSTILE), min_size=40, max_size=40))
async def test_hostile_text_changes_nothing_but_itself(texts: list[tuple[str, str]]) -> None:
    """The rows around it, and the columns beside it, stay where they are."""

    def cell(which: int) -> Any:
        return lambda r: texts[r // 2][which] if r & 1 else f"n{r}"

    made: Table[int] = Table(
        [
            Column("a", "A", 7, cell(0), cell(0)),
            Column("end1", "E", 3, int, lambda r: "|e|"),
            Column("b", "B", 9, cell(1), cell(1), right=True),
            Column("end2", "F", 3, int, lambda r: "|f|"),
        ],
        key=int,
        empty=texts[0][0],
    )
    first, last = GUTTER + 9, GUTTER + 9 + 5 + 11
    async with Host(made).run_test(size=(40, 90)) as pilot:
        await pilot.pause()
        assert set(cells(pilot.app)) == {40}
        made.set_records(list(range(80)))
        made.sort("a")
        made.unsort()
        await pilot.pause()
        drawn = lines(pilot.app)[1:81]
        assert set(cells(pilot.app)) == {40}
        for row, line in enumerate(drawn):
            if not row & 1:
                assert line[1:].startswith(f"  {f'n{row}':<9}|e|") and line[last:].startswith("|f|")
            for sign, place in (("|e|", first), ("|f|", last)):
                assert place in [cell_len(line[:n]) for n in range(len(line)) if line.startswith(sign, n)]
        assert not any(ord(char) < 32 or char in "\u202e\u200b" for line in drawn for char in line)


async def test_keys_the_table_does_not_use_reach_others() -> None:
    widget = table(3)
    heard: list[str] = []

    class Listening(Host):
        BINDINGS: ClassVar[list[BindingType]] = [
            Binding("escape,e,space", "heard", id="heard", show=False),
        ]

        def action_heard(self) -> None:
            heard.append("heard")

    app = Listening(widget)
    async with app.run_test(size=(40, 9)) as pilot:
        widget.focus()
        await press(pilot, "escape", "e")
        assert heard == ["heard"] * 2
        # without a mark escape is not the table's
        await press(pilot, "space", "escape")
        assert heard == ["heard"] * 2 and widget.marked == []
        await press(pilot, "escape")
        assert heard == ["heard"] * 3


async def test_the_cursor_says_whether_the_table_has_the_focus() -> None:
    widget = table(5)

    class Two(Host):
        def compose(self) -> ComposeResult:
            yield widget
            yield Input()

    app = Two(widget)
    async with app.run_test(size=(40, 12)) as pilot:
        widget.styles.height = 8

        def look() -> Any:
            return next(iter(widget.render_line(1))).style

        widget.focus()
        await pilot.pause()
        focused = look()
        app.query_one(Input).focus()
        await pilot.pause()
        blurred = look()
        widget.focus()
        await pilot.pause()
        assert focused.bgcolor != blurred.bgcolor and look() == focused


@pytest.mark.parametrize("right", [True, False])
async def test_the_sign_of_the_order_is_seen_in_the_last_column_as_well(right: bool) -> None:
    widget: Table[Row] = Table(
        [
            Column("a", "A", 4, lambda r: r.id, lambda r: "a"),
            Column("b", "Label", 6, lambda r: r.id, lambda r: "123456", right=right, grow=1),
        ],
        key=lambda r: r.id,
    )
    widget.set_records(rows(3))
    async with host(widget).run_test(size=(30, 6)) as pilot:
        for reverse, sign in ((False, "▲"), (True, "▼")):
            widget.sort("b", reverse)
            await pilot.pause()
            assert sign in lines(pilot.app)[0] and "Label" in lines(pilot.app)[0]
            assert set(cells(pilot.app)) == {30}
