"""The slider by keys, clicks, dragging and the wheel."""

import pytest
from textual import events
from textual.pilot import Pilot

from choline_tui.widgets.slider import PercentSlider
from tests.ui.widgets.host import Host, cells, lines


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ("right", 11),
        ("l l h", 11),
        ("left", 9),
        ("shift+right", 15),
        ("right L", 15),
        ("right shift+left", 10),
        ("H H H", 0),
        ("home", 0),
        ("home left", 0),
        ("end", 100),
        ("end right shift+right", 100),
    ],
)
async def test_keys(keys: str, value: int) -> None:
    slider = PercentSlider(10)
    app = Host(slider, PercentSlider.Changed)
    async with app.run_test(size=(60, 3)) as pilot:
        slider.focus()
        await press(pilot, *keys.split())
        assert slider.value == value
        assert app.seen[-1].value == value and app.seen[-1].control is slider
        assert f"{value:>3} %" in lines(app)[0]


async def test_the_mouse() -> None:
    slider = PercentSlider(0)
    app = Host(slider, PercentSlider.Changed)
    async with app.run_test(size=(107, 3)) as pilot:
        # 6 cells of number, 101 of track: a cell a percent
        await pilot.click(slider, offset=(6 + 40, 0))
        assert slider.value == 40
        await pilot.click(slider, offset=(2, 0))
        assert slider.value == 40
        await pilot.mouse_down(slider, offset=(6 + 40, 0))
        await pilot.hover(slider, offset=(6 + 60, 0))
        assert slider.value == 60
        await pilot.hover(app.screen, offset=(0, 2))
        assert slider.value == 0
        await pilot.mouse_up(app.screen, offset=(0, 2))
        await pilot.hover(slider, offset=(6 + 80, 0))
        assert slider.value == 0
        for kind, shift, value in (
            (events.MouseScrollUp, False, 1),
            (events.MouseScrollUp, True, 5),
            (events.MouseScrollDown, False, 4),
            (events.MouseScrollDown, True, 0),
        ):
            await pilot._post_mouse_events([kind], slider, (10, 0), shift=shift)
            await pilot.pause()
            assert slider.value == value
        await pilot.mouse_down(slider, offset=(106, 0))
        await pilot.mouse_up(slider, offset=(106, 0))
        assert slider.value == 100


@pytest.mark.parametrize("width", [1, 10, 20, 40, 80, 160])
@pytest.mark.parametrize("label", ["cap $0.52/h", "[/foo]\x1b[2J 日本語" * 9])
async def test_it_is_one_row_whatever_its_label_says(width: int, label: str) -> None:
    slider = PercentSlider(50, label=lambda value: label)
    app = Host(slider)
    async with app.run_test(size=(width, 3)) as pilot:
        await pilot.pause()
        assert set(cells(app)) == {width} and slider.size.height == 1
        first, *others = lines(app)
        assert not any(line.strip() for line in others) and "\x1b" not in first
        assert ("cap $0.52/h" in first) == (width >= 40 and label.startswith("cap"))
        if width >= 20:
            assert first.count("●") == 1


async def test_the_track_does_not_move_with_the_words() -> None:
    slider = PercentSlider(10, label=lambda value: "x" * value)
    app = Host(slider)
    app.ascii = True
    async with app.run_test(size=(80, 1)) as pilot:
        slider.focus()
        first = lines(app)[0]
        await press(pilot, "right")
        second = lines(app)[0]
        assert first.index("x") == second.index("x") and second.isascii() and "O" in second


def test_what_makes_no_sense_is_refused() -> None:
    for minimum, maximum, step, big in ((5, 5, 1, 5), (0, 100, 0, 5), (0, 100, 1, 0)):
        with pytest.raises(ValueError, match="slider"):
            PercentSlider(0, minimum, maximum, step, big)
    assert PercentSlider(500).value == 100


async def test_steps_and_other_ends() -> None:
    slider = PercentSlider(20, 10, 35, step=10, big=10)
    app = Host(slider)
    async with app.run_test(size=(32, 1)) as pilot:
        slider.focus()
        await press(pilot, "right", "right")
        assert slider.value == 35
        await press(pilot, "home", "left")
        assert slider.value == 10
        await pilot.click(slider, offset=(6 + 12, 0))
        assert slider.value == 20
        # told by the program: it moves as well
        slider.value = 33
        await pilot.pause()
        assert " 33 %" in lines(app)[0]
