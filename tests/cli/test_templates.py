"""``choline templates``, ``init --template``, and when the wizard opens by itself."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from choline_tui.cli import screens
from choline_tui.kernel.errors import NotFound, UsageError
from choline_tui.model.request import PlanCard
from tests.cli.fakes import HOSTILE, Bench, FakeCholine, forged, live_view, offer, plan

MINE = 'command = "python train.py"\ngpu = "2x3090"\nname = "mine"\n[run]\nmax_life = "2h"\n'


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    top = tmp_path / "project"
    top.mkdir()
    (top / "train.py").write_text('if __name__ == "__main__":\n    pass\n')
    monkeypatch.chdir(top)
    return top


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    nowhere = {"CHOLINE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": str(tmp_path)}
    card = PlanCard(plan=plan(), offer=offer(), price=0.72, offers=5)
    return Bench(FakeCholine(card=card, after_start=live_view()), environ={**nowhere, "TERM": "xterm"})


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A terminal on which the wizard, when it opens, writes a file at once."""
    seen: list[Any] = []

    def open_wizard(wanted: Any) -> bool:
        seen.append(wanted)
        (wanted.directory / "choline.toml").write_text(MINE)
        return True

    monkeypatch.setattr(screens, "on_terminal", lambda environ=None: True)
    monkeypatch.setattr(screens, "open_wizard", open_wizard)
    return seen


def test_kept_listed_shown_used_and_forgotten(bench: Bench, top: Path, tmp_path: Path) -> None:
    assert "No templates are kept" in bench("templates", "list")[2]
    (top / "choline.toml").write_text(MINE)
    code, _, err = bench("templates", "save", "llm")
    assert code == 0 and "choline init --template llm" in err and "not kept: name" in err
    code, out, _ = bench("templates", "list")
    assert code == 0 and "llm" in out and "2x3090" in out and "python train.py" in out
    assert json.loads(bench("templates", "list", "--json")[1])["llm"]["gpu"] == "2x3090"
    assert tomllib.loads(bench("templates", "show", "llm")[1])["run"] == {"max_life": "2h"}
    other = tmp_path / "other"
    other.mkdir()
    assert bench("templates", "use", "llm", str(other), "--yes")[0] == 0
    made = tomllib.loads((other / "choline.toml").read_text())
    assert made["gpu"] == "2x3090" and made["run"] == {"max_life": "2h"} and "name" not in made
    assert bench("templates", "rm", "llm")[0] == 0
    with pytest.raises(NotFound, match="no template"):
        bench("templates", "show", "llm")


def test_init_takes_one_and_flags_stand_over_it(bench: Bench, top: Path, tmp_path: Path) -> None:
    other = tmp_path / "their.toml"
    other.write_text(MINE)
    code, _, err = bench("init", "--yes", "--template", str(other), "--max-price", "0.9")
    assert code == 0 and 'gpu = "2x3090"' in err, "what comes from elsewhere is shown"
    made = tomllib.loads((top / "choline.toml").read_text())
    assert made["gpu"] == "2x3090" and made["max_price"] == 0.9 and made["run"] == {"max_life": "2h"}
    text = (top / "choline.toml").read_text()
    assert "# from template their.toml" in text
    # asked about first, where somebody can be asked
    bench.interactive = True
    code, _, err = bench("init", "--template", str(other))
    assert code == 130 and "Use this template? [y/N]" in err and "Nothing was written" in err
    bench.interactive = False


def test_a_hostile_template_is_drawn_inert(bench: Bench, top: Path, tmp_path: Path) -> None:
    other = tmp_path / "their.toml"
    escaped = "".join(c if c.isalnum() else f"\\u{ord(c):04x}" for c in HOSTILE if ord(c) < 0x10000)
    other.write_text(f'command = "python {escaped}"\n')
    for words in (["init", "--yes", "--template", str(other)], ["templates", "show", str(other)]):
        _, out, err = bench(*words)
        assert not forged(out + err)


def test_on_a_terminal_init_is_the_wizard(bench: Bench, top: Path, opened: list[Any]) -> None:
    bench.interactive = True
    code, out, err = bench("init", "--gpu", "1x4090", "--no-schema", "--history")
    assert code == 0 and out == f"{top}/choline.toml written\n" and "choline check" in err
    (wanted,) = opened
    assert wanted.directory == top and wanted.flags == {"gpu": "1x4090"} and wanted.once
    assert wanted.history and not wanted.schema
    for words in (["init", "--yes"], ["init", "--dry-run"]):
        assert bench(*words)[0] == 0
    bench.answer = ""
    assert bench("init", "--plain")[0] == 0
    assert len(opened) == 1, "no other way to say it opens it"


def test_a_run_without_a_project_begins_with_the_wizard(
    bench: Bench, top: Path, opened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"no choline\.toml"):
        bench("create", "--yes")
    assert bench("run", "--dry-run", "--", "true")[0] == 0
    assert opened == [], "nobody to ask, or a command of its own"
    bench.interactive = True
    bench.answer = "n"
    code, _, err = bench("create")
    assert len(opened) == 1 and "the wizard makes one" in err and "Nothing was rented." in err and code == 130
    assert bench.choline.asked[-1][0] == "plan", "the file is there now: on to the plan"
    (top / "choline.toml").unlink()
    monkeypatch.setattr(screens, "open_wizard", lambda wanted: False)
    asked = len(bench.choline.asked)
    code, _, err = bench("run")
    assert code == 130 and "Nothing was written" in err and len(bench.choline.asked) == asked


def test_a_run_asks_whether_the_file_is_up_to_date(bench: Bench, top: Path, opened: list[Any]) -> None:
    (top / "choline.toml").write_text(MINE.replace("train.py", "gone.py"))
    line = "may be out of date: gone.py, which the command starts, is not there"
    bench.interactive = True
    for answer, code, wizards in (("n", 130, 0), ("", 130, 0), ("w", 0, 1), ("y", 0, 1)):
        (top / "choline.toml").write_text(MINE.replace("train.py", "gone.py"))
        bench.answer = answer
        planned = len(bench.choline.asked)
        _, _, err = bench("run", "--detach") if answer else bench("create")
        assert line in err and len(opened) == wizards
        assert (len(bench.choline.asked) > planned) == (code == 0), answer
    (top / "choline.toml").write_text(MINE.replace("train.py", "gone.py"))
    bench.interactive = False
    for words in (["run", "--yes", "--detach"], ["create", "--dry-run"]):
        bench.questions = 0
        _, _, err = bench(*words)
        assert line in err and not bench.questions, "a line to read, nothing to answer"
    assert line not in bench("run", "--dry-run", "--", "true")[2], "it is not what this run is about"
