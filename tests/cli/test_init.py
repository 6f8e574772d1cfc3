"""``choline init`` and ``choline check`` as a person types them."""

import io
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from choline_tui.cli.commands import run as run_command
from choline_tui.cli.context import Context
from choline_tui.cli.output import Output
from choline_tui.kernel.errors import MarketDown, NoOffer, ProjectError, UsageError
from choline_tui.model.request import PlanCard
from tests.cli.fakes import HOSTILE, NOW, Bench, FakeCholine, Terminal, forged, plan

TRAIN = 'import argparse\nif __name__ == "__main__":\n    pass\n'


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    top = tmp_path / "project"
    top.mkdir()
    (top / "train.py").write_text(TRAIN)
    (top / "requirements.txt").write_text("numpy\n")
    monkeypatch.chdir(top)
    return top


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    nowhere = {"CHOLINE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": str(tmp_path)}
    return Bench(environ=nowhere)


def values(top: Path) -> dict[str, Any]:
    return tomllib.loads((top / "choline.toml").read_text())


FOUND = {"command": "python train.py", "environment": {"from": "requirements.txt"}, "gpu": "1x4090"}


def test_unattended(bench: Bench, top: Path) -> None:
    code, out, err = bench("init", "--yes")
    assert code == 0 and out == f"{top}/choline.toml written\n"
    assert values(top) == FOUND
    assert "requirements.txt" in err and "choline check" in err
    assert json.loads((top / ".choline.schema.json").read_text())["title"] == "choline.toml"
    first = (top / "choline.toml").read_text()
    assert bench("init", "--yes")[1] == f"{top}/choline.toml is as it was\n"
    assert (top / "choline.toml").read_text() == first


def test_a_flag_for_every_answer(bench: Bench, top: Path) -> None:
    flags = "--gpu 2x3090 --max-price 0.9 --type interruptible --disk 60 --image a/b --name n --max-life 2h "
    flags += "--send /tmp --send ../x --results out --exclude *.pt --env SEED=7 --env A=b=c --no-schema"
    code, _, _ = bench(
        "init", "-y", "--command", "python x.py", "--env-from", "", "--query", "gpu_ram>=20", *flags.split()
    )
    assert code == 0
    assert values(top) == {
        "command": "python x.py", "gpu": "2x3090", "query": "gpu_ram>=20", "max_price": 0.9, "disk": 60,
        "type": "interruptible", "image": "a/b", "name": "n", "send": ["/tmp", "../x"], "results": ["out"],
        "exclude": ["*.pt"], "env": {"SEED": "7", "A": "b=c"}, "run": {"max_life": 7200},
    }  # fmt: skip
    assert not (top / ".choline.schema.json").exists()
    # the file is kept, but for what is said
    (top / "choline.toml").write_text("# mine\n" + (top / "choline.toml").read_text())
    assert bench("init", "-y", "--max-price", "-", "--gpu", "1x4090", "--exclude", "-")[0] == 0
    now = values(top)
    assert "max_price" not in now and "exclude" not in now and now["gpu"] == "1x4090"
    assert now["query"] == "gpu_ram>=20" and (top / "choline.toml").read_text().startswith("# mine\n")


def test_a_dry_run_and_json_write_nothing(bench: Bench, top: Path) -> None:
    code, out, _ = bench("init", "--dry-run")
    assert code == 0 and tomllib.loads(out) == FOUND
    code, out, _ = bench("init", "--dry-run", "--json")
    document = json.loads(out)
    assert not document["written"] and tomllib.loads(document["text"]) == FOUND
    assert document["found"]["commands"][0]["where"] == "train.py:2"
    assert {a["key"]: a["where"] for a in document["answers"]}["environment.from"] == "requirements.txt"
    assert sorted(p.name for p in top.iterdir()) == ["requirements.txt", "train.py"]
    code, out, _ = bench("init", "--yes", "--json")
    assert json.loads(out)["written"] and values(top) == FOUND


def test_values_that_cannot_be_are_refused_and_nothing_is_written(bench: Bench, top: Path) -> None:
    for words in (["--disk", "none"], ["--env", "A"], ["--type", "x"], ["--max-price", "-3"]):
        with pytest.raises(UsageError):
            bench("init", "-y", *words)
    for words in (["--results", "../up"], ["--env", "CHOLINE_X=1"], ["--env", "a b=1"]):
        with pytest.raises(ProjectError):
            bench("init", "-y", *words)
    with pytest.raises(ProjectError, match="no directory"):
        bench("init", "-y", "nowhere")
    with pytest.raises(UsageError, match="nobody can be asked"):
        bench("init")
    with pytest.raises(UsageError, match="asks nothing"):
        bench("init", "--json")
    assert not (top / "choline.toml").exists()


def asked(bench: Bench, words: list[str], answers: list[str]) -> tuple[int, str]:
    """A person answers the questions in turn; (exit code, what was shown)."""
    said: Iterator[str] = iter(answers)
    err = Terminal()

    def ask(prompt: str) -> str:
        try:
            return next(said)
        except StopIteration:
            raise EOFError from None

    out = Output(io.StringIO(), err, bench.environ, 80, False, False, 24, 80)
    context = Context(out, environ=bench.environ, now=lambda: NOW, ask=ask, interactive=True)
    code = run_command(words, context)
    assert next(said, None) is None, "not all answers were asked for"
    return code, err.getvalue()


def test_questions_are_filled_in_with_what_was_found(bench: Bench, top: Path) -> None:
    (top / "main.py").write_text(TRAIN)
    answers = [
        "1",  # command: the first of the others
        "image", "",  # packages: the image has them; setup: none
        "9x9999", "2x3090",  # gpu: wrong, then right
        "gpu_rma>3", "gpu_ram>=20",
        "cheap", "0.5",
        "60", "", "/tmp, ../y", "out", "", "y",
    ]  # fmt: skip
    code, shown = asked(bench, ["init"], answers)
    assert code == 0
    assert values(top) == {
        "command": "python main.py", "gpu": "2x3090", "query": "gpu_ram>=20", "max_price": 0.5, "disk": 60,
        "send": ["/tmp", "../y"], "results": ["out"], "environment": {"from": "image"},
    }  # fmt: skip
    assert "Command that trains [python train.py]: " in shown
    assert "train.py:2: has __main__ and argparse" in shown and "1: python main.py" in shown
    assert "Did you mean" in shown and "not a price" in shown
    assert 'command = "python main.py"' in shown  # the review


def test_no_means_no_and_so_does_the_end_of_input(bench: Bench, top: Path) -> None:
    code, shown = asked(bench, ["init"], [""] * 11 + ["n"])
    assert code == 130 and "Nothing was written." in shown
    with pytest.raises(UsageError, match="not answered"):
        asked(bench, ["init"], [""] * 4)
    assert asked(bench, ["init"], [""] * 11)[0] == 130
    assert not (top / "choline.toml").exists()


def test_again_shows_only_the_difference_and_asks_with_what_stands_there(bench: Bench, top: Path) -> None:
    mine = '# mine\ncommand = "python a.py"  # so\nsetup = "true"\ngpu = "1x3090"\n'
    (top / "choline.toml").write_text(mine)
    code, shown = asked(bench, ["init"], ["python b.py"] + [""] * 10 + [""])
    assert code == 0 and "[python a.py]" in shown and '+command = "python b.py"' in shown
    assert "gpu = " not in shown.partition("as it would be")[2].replace(' gpu = "1x3090"', "")
    text = (top / "choline.toml").read_text()
    assert text == mine.replace("a.py", "b.py")


def test_names_from_a_hostile_project_are_drawn_as_plain_text(bench: Bench, top: Path) -> None:
    (top / "Dockerfile").write_text(f"FROM x/cuda{HOSTILE}\n")
    (top / "choline.yaml").write_text(
        f'"{HOSTILE.encode("unicode_escape").decode()}": 1\nonStart: "x\\e[2J"\n'
    )
    (top / ".env").write_text("TOKEN=sekret\n")
    for words in (["init", "--dry-run"], ["init", "--yes"]):
        _, out, err = bench(*words)
        assert not forged(out + err) and "sekret" not in out + err
    assert "sekret" not in (top / "choline.toml").read_text()


# ---------------------------------------------------------------------------------------------- check


def card(**changes: Any) -> PlanCard:
    base: dict[str, Any] = {"price": 0.31, "offers": 12, "files": 3, "bytes": 2048, "complete": False}
    return PlanCard(plan=plan(cap=0.34), **{**base, **changes})


def test_a_good_project_and_its_market(bench: Bench, top: Path) -> None:
    (top / "choline.toml").write_text('command = "python train.py"\nsend = ["requirements.txt"]\n')
    (top / "below").mkdir()
    bench.choline = FakeCholine(card=card())
    code, out, _ = bench("check", "below")
    assert code == 0
    assert "at least 12 offers now, from $0.31" in out and "✔ right, and the market has it" in out
    (method, request) = bench.choline.asked[0]
    assert method == "plan" and request.project == str(top)
    code, out, _ = bench("check", "--json")
    document = json.loads(out)
    assert document["good"] and document["market"]["price"] == 0.31 and document["code"]["bytes"] == 2048
    assert document["data"] == [{"path": f"{top}/requirements.txt", "bytes": 6, "complete": True}]


def test_offline_asks_nobody(bench: Bench, top: Path) -> None:
    (top / "choline.toml").write_text('command = "python train.py"\n')
    code, out, _ = bench("check", "--offline")
    assert code == 0 and "not asked (--offline)" in out and not bench.choline.asked
    assert "about 3 files" in out


def test_a_mistake_has_its_place_and_the_market_is_not_asked(bench: Bench, top: Path) -> None:
    (top / "choline.toml").write_text('command = "python train.py"\nqeury = "x"\n')
    code, out, _ = bench("check")
    assert code == 2 and not bench.choline.asked
    assert f"✘ {top}/choline.toml:2:1: qeury: there is no setting" in out and "Did you mean 'query'?" in out
    code, out, _ = bench("check", "--json")
    (problem,) = json.loads(out)["problems"]
    assert code == 2 and (problem["line"], problem["column"], problem["fatal"]) == (2, 1, True)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (NoOffer("nothing under $0.10"), 4, "no such machine now: nothing under $0.10"),
        (MarketDown("no answer"), 3, "could not be asked: no answer"),
    ],
)
def test_what_the_market_says_is_the_exit_code(
    bench: Bench, top: Path, error: Exception, code: int, said: str
) -> None:
    (top / "choline.toml").write_text('command = "python train.py"\n')
    bench.choline = FakeCholine(fails={"plan": error})
    found, out, _ = bench("check")
    assert found == code and said in out and "✔" not in out
    found, out, _ = bench("check", "--json")
    document = json.loads(out)
    assert found == document["exit_code"] == code and document["market"]["error"] == type(error).__name__


def test_no_project_says_init(bench: Bench, top: Path) -> None:
    for words in (["check"], ["create"]):
        with pytest.raises(UsageError) as caught:
            bench(*words)
        assert "choline init" in caught.value.hint
