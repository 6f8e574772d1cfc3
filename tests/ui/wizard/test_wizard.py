"""The wizard by keys alone, by the mouse alone, and what it writes."""

import tomllib
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Input

from choline_tui.config import load_project
from choline_tui.screens.dialogs import ConfirmScreen
from choline_tui.screens.offers import OffersScreen
from choline_tui.screens.wizard.steps import STEPS
from choline_tui.screens.wizard.toml_area import TomlArea
from choline_tui.services.looks import Looks
from tests.ui.conftest import screen_text
from tests.ui.fake import HOSTILE, FakeApp
from tests.ui.wizard.stage import drawn, open_wizard, project, seen, until, wizard_of

STEP = {step.id: n for n, step in enumerate(STEPS)}
REVIEW = len(STEPS)


async def press(pilot: Pilot[Any], *keys: str) -> None:
    """Keys, each after the step that the one before led to is there."""
    for key in keys:
        await pilot.press(key)
        if not drawn(pilot):
            await until(pilot, lambda: drawn(pilot))


async def type_in(pilot: Pilot[Any], text: str) -> None:
    box = pilot.app.focused
    assert isinstance(box, Input), box
    box.value = text
    await pilot.pause()


async def go(pilot: Pilot[Any], step: str) -> None:
    wizard = wizard_of(pilot)
    wizard.go_to(STEP[step] if step != "review" else REVIEW)
    await until(pilot, lambda: drawn(pilot))


def area(pilot: Pilot[Any]) -> TomlArea:
    return wizard_of(pilot).query_one("#wizard-text", TomlArea)


async def test_from_the_first_step_to_the_file_by_keys_alone(tmp_path: Path) -> None:
    top = project(tmp_path)
    async with open_wizard(top, seen(top), (80, 24)) as pilot:
        await type_in(pilot, "nightly")
        await press(pilot, "enter", "space", "enter")  # the machine clones it; on to the data
        assert wizard_of(pilot).at == STEP["data"]
        await press(pilot, "down", "space", "enter")
        await type_in(pilot, "train.py")
        await press(pilot, "enter", "enter")
        assert wizard_of(pilot).at == STEP["ignore"]
        await press(pilot, "asterisk", "ctrl+n", "ctrl+b", "ctrl+n")
        assert wizard_of(pilot).at == STEP["environment"]
        await press(pilot, "pagedown")
        await type_in(pilot, "")
        await press(pilot, "down", "enter")  # what else was found is taken from its list
        assert wizard_of(pilot).draft.typed("command").startswith("torchrun")  # type: ignore[union-attr]
        await press(pilot, "ctrl+n", "ctrl+n")
        assert wizard_of(pilot).at == STEP["hardware"]
        await type_in(pilot, "2x3090")
        await press(pilot, "enter", "enter")
        await type_in(pilot, "20")
        await press(pilot, "enter")
        await type_in(pilot, "80")
        await press(pilot, "enter", "down", "space", "enter")
        assert wizard_of(pilot).at == STEP["limits"]
        await type_in(pilot, "0.9")
        await press(pilot, "enter", "enter")
        await type_in(pilot, "2d")
        await press(pilot, "ctrl+n", "ctrl+r")
        assert wizard_of(pilot).reviewing
        shown = area(pilot).text
        await pilot.press("ctrl+s")
        await until(pilot, lambda: (top / "choline.toml").exists())
        await until(pilot, lambda: wizard_of_or_none(pilot) is None)
    written = (top / "choline.toml").read_text()
    assert written == shown, "what was reviewed is what is written"
    loaded = load_project(top)
    assert loaded.query == "cuda_max_good>=12.8 gpu_ram>=20"
    assert loaded.code is not None and loaded.code.clone
    assert loaded.name == "nightly" and loaded.gpu == "2x3090" and loaded.disk == 80
    assert [item.path for item in loaded.send] == ["data/corpus", "train.py"]
    assert loaded.exclude == ["/.env", "/weights/base.safetensors"]
    assert loaded.command.startswith("torchrun") and loaded.type == "interruptible"
    assert loaded.max_price == 0.9 and loaded.run == {"max_life": "2d"}
    assert (top / ".choline.schema.json").exists()


def wizard_of_or_none(pilot: Pilot[Any]) -> Any:
    return pilot.app.wizard  # type: ignore[attr-defined]


async def test_by_the_mouse_alone(tmp_path: Path) -> None:
    top = project(tmp_path)
    async with open_wizard(top, seen(top), (120, 40)) as pilot:
        await pilot.click("#wizard-next")
        await until(pilot, lambda: drawn(pilot) and wizard_of(pilot).at == STEP["data"])
        await pilot.click("#field-send", offset=(2, 1))
        await pilot.pause()
        assert wizard_of(pilot).draft.get("send") == ["data/corpus"]  # type: ignore[union-attr]
        await pilot.click("#wizard-steps", offset=(4, STEP["command"]))
        await until(pilot, lambda: drawn(pilot) and wizard_of(pilot).at == STEP["command"])
        await pilot.click(".others", offset=(6, 0))
        await pilot.pause()
        assert wizard_of(pilot).draft.typed("command").startswith("torchrun")  # type: ignore[union-attr]
        await pilot.click("#wizard-back")
        await until(pilot, lambda: drawn(pilot) and wizard_of(pilot).at == STEP["environment"])
        line = str(pilot.app.screen.query_one("#key-line").render())
        await pilot.click("#key-line", offset=(line.index("Review") + 1, 0))
        await until(pilot, lambda: drawn(pilot) and wizard_of(pilot).reviewing)
        line = str(pilot.app.screen.query_one("#key-line").render())
        await pilot.click("#key-line", offset=(line.index("Save") + 1, 0))
        await until(pilot, lambda: (top / "choline.toml").exists())
    assert tomllib.loads((top / "choline.toml").read_text())["send"] == ["data/corpus"]


MINE = """\
# my own words
command = "python train.py"   # this one

exclude = [
  "*.ckpt",  # too large
]

[run]
max_life = "2h"  # never longer
"""


async def test_what_a_person_wrote_by_hand_stays(tmp_path: Path) -> None:
    top = project(tmp_path, MINE)
    async with open_wizard(top, seen(top, MINE), (80, 24)) as pilot:
        draft = wizard_of(pilot).draft
        assert draft is not None and draft.text() == MINE and not wizard_of(pilot).unsaved
        await go(pilot, "ignore")
        await press(pilot, "space")  # the file of secrets
        await go(pilot, "limits")
        await type_in(pilot, "0.5")
        await go(pilot, "review")
        # edited in place as well; the steps show it afterwards
        edit = area(pilot)
        edit.insert('name = "by hand"  # so\n', (0, 0))
        await pilot.pause()
        await press(pilot, "ctrl+b")
        await go(pilot, "code")
        assert wizard_of(pilot).query_one("#field-name", Input).value == "by hand"
        await type_in(pilot, "typed")
        await press(pilot, "ctrl+r")
        shown = area(pilot).text
        await pilot.press("ctrl+s")
        await until(pilot, lambda: (top / "choline.toml").read_text() != MINE)
    written = (top / "choline.toml").read_text()
    assert written == shown and 'name = "typed"  # so' in written
    for comment in ("# my own words", "# this one", "# too large", "# never longer"):
        assert comment in written
    now = tomllib.loads(written)
    assert now["exclude"] == ["*.ckpt", "/.env"] or now["exclude"] == ["/.env", "*.ckpt"]
    assert now["max_price"] == 0.5 and now["run"] == {"max_life": "2h"}


async def test_what_is_wrong_is_said_as_it_is_typed_and_never_written(tmp_path: Path) -> None:
    top = project(tmp_path)
    async with open_wizard(top, seen(top), (120, 30)) as pilot:
        await go(pilot, "hardware")
        for wrong, said in (("2x9999", "no GPU is called"), ("99x4090", "cannot be rented at once")):
            await type_in(pilot, wrong)
            assert said in screen_text(pilot.app)
        await go(pilot, "limits")
        for wrong, said in (("cheap", "is no number"), ("-1", "greater than 0"), ("0.4", "")):
            await type_in(pilot, wrong)
            assert said in screen_text(pilot.app)
        await go(pilot, "secrets")
        line = wizard_of(pilot).query_one("#field-env-add", Input)
        line.focus()
        line.value = "SEED"
        await press(pilot, "enter")
        assert "write NAME=VALUE" in screen_text(pilot.app)
        await go(pilot, "review")
        await until(
            pilot, lambda: "no GPU is called" in screen_text(pilot.app) or "at once" in screen_text(pilot.app)
        )
        await pilot.press("ctrl+s")
        await until(pilot, lambda: pilot.app.faults)  # type: ignore[attr-defined]
        assert not (top / "choline.toml").exists()
        # back there the line still holds what was typed; put right, it is gone
        await go(pilot, "hardware")
        assert wizard_of(pilot).query_one("#field-gpu", Input).value == "99x4090"
        await type_in(pilot, "8x4090")
        await go(pilot, "review")
        area(pilot).load_text('command = "python gone.py"\ngpu = 4\n')
        await until(pilot, lambda: "line 2: gpu" in screen_text(pilot.app))
        area(pilot).load_text("command =\n")
        await until(pilot, lambda: "not TOML" in screen_text(pilot.app))
        await pilot.press("ctrl+b")
        await pilot.pause()
        assert wizard_of(pilot).reviewing, "it cannot be read: there is nothing to go back to"
        area(pilot).load_text('command = "python gone.py"\n')
        await until(pilot, lambda: "gone.py, which is not in the project" in screen_text(pilot.app))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: (top / "choline.toml").exists())


async def test_leaving_asks_before_answers_are_lost(tmp_path: Path) -> None:
    top = project(tmp_path)
    async with open_wizard(top, seen(top), once=True) as pilot:
        await type_in(pilot, "x")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        await pilot.press("escape")
        await until(pilot, lambda: drawn(pilot))
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: drawn(pilot) and not wizard_of(pilot).unsaved)
        await pilot.press("escape")
        await until(pilot, lambda: not pilot.app.is_running or pilot.app._exit)
    assert pilot.app.return_value is None and not (top / "choline.toml").exists()


async def test_a_read_only_choline_does_not_write(tmp_path: Path) -> None:
    top = project(tmp_path)
    async with open_wizard(top, seen(top), looks=Looks(readonly=True)) as pilot:
        await go(pilot, "review")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: pilot.app.faults)  # type: ignore[attr-defined]
        assert "read-only" in pilot.app.faults[-1].message  # type: ignore[attr-defined]
        assert not (top / "choline.toml").exists()


async def test_hardware_is_chosen_on_the_market(tmp_path: Path) -> None:
    top = project(tmp_path)
    app = FakeApp("offers")
    async with open_wizard_from(app, top) as pilot:
        await go(pilot, "hardware")
        await pilot.press("ctrl+f")
        await until(pilot, lambda: isinstance(app.main_screen, OffersScreen) and app.main_screen._began)
        offers = app.main_screen
        await until(pilot, lambda: "num_gpus=1" in offers.bar.text)
        assert "gpu_name=RTX_4090" in offers.bar.text and "cuda_max_good>=12.8" in offers.bar.text
        offers.set_text("gpu_name=RTX_3090 num_gpus=2 inet_down>=500")
        await pilot.press("t")  # interruptible
        await pilot.pause()
        offers.table.focus()
        await pilot.press("i")
        await until(pilot, lambda: app.current_mode == "wizard" and drawn(pilot))
        draft = wizard_of(pilot).draft
        assert draft is not None
        assert draft.get("gpu") == "2xRTX 3090" and draft.get("query") == "inet_down>=500"
        assert draft.get("type") == "interruptible" and "chosen on the market" in screen_text(app)


def open_wizard_from(app: FakeApp, top: Path) -> Any:
    """Opened by its key, from the offers."""
    app._where = "wizard"
    return open_wizard(top, seen(top), app=app)


async def test_a_project_is_really_looked_at_from_the_key(tmp_path: Path, monkeypatch: Any) -> None:
    top = project(tmp_path)
    (top / "deeper").mkdir()
    (top / "choline.toml").write_text(MINE)
    monkeypatch.chdir(top / "deeper")
    environ = {"CHOLINE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": str(tmp_path)}
    app = FakeApp("runs", environ=environ)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.main_screen is not None and app.snapshot is not None)
        await pilot.press("i")
        await until(pilot, lambda: drawn(pilot))
        assert wizard_of(pilot).draft.directory == top  # type: ignore[union-attr]
        await pilot.press("escape")
        await until(pilot, lambda: app.current_mode == "runs")
        (top / "choline.toml").write_text("command =\n")
        await pilot.press("i")
        await until(pilot, lambda: app.faults)
        assert "is not TOML" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: app.current_mode == "runs")


async def test_hostile_names_are_drawn_inert(tmp_path: Path) -> None:
    from choline_tui.kernel.text import plain
    from choline_tui.survey import Directory, Finding

    top = project(tmp_path)
    bad = HOSTILE + "[/red]\x1b]0;x\x07\u202e"
    look = seen(
        top,
        data=[Directory(bad, 10, 1, 0, bad)],
        results=[Directory(bad, 10, 1, 0, bad)],
        secret_files=[Finding(bad, bad, bad)],
        secrets=[Finding(bad, bad)],
        large=[Finding(bad, bad, "200000000")],
        trackers=[Finding(bad, bad)],
        commands=[Finding(bad, bad, bad), Finding("b" + bad, bad)],
        git=Finding(bad, "git", bad),
        python=[Finding(bad, bad)],
        dependencies=[Finding(bad, bad, "requirements")],
        notes=[bad],
    )
    async with open_wizard(top, look, (100, 30)) as pilot:
        for n in range(REVIEW + 1):
            wizard_of(pilot).go_to(n)
            await until(pilot, lambda: drawn(pilot))
            text = screen_text(pilot.app)
            assert plain(text) == text, n
