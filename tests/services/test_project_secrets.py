"""Secrets of a project: proposed from what its code reads, checked by name, and never read into an answer."""

from pathlib import Path

from choline_tui.config.paths import Paths
from choline_tui.services.project import look, propose
from choline_tui.services.project_check import check_file

VALUE = "s3cr3t-value-0123456789"
CODE = """\
import os
from huggingface_hub import login

login(os.environ["HF_TOKEN"])
client = OpenAI(api_key=os.getenv('OPENAI_API_KEY'))
seed = os.environ.get("SEED", "7")
key = os.environ["VAST_API_KEY"] + os.environ["CHOLINE_TOKEN"]
"""


def project(tmp_path: Path, toml: str = "") -> tuple[Path, dict[str, str]]:
    top = tmp_path / "project"
    top.mkdir()
    (top / "train.py").write_text(CODE)
    (top / ".env").write_text(f"HF_TOKEN={VALUE}\nSEED=7\n")
    (top / ".gitignore").write_text(".env\n")
    if toml:
        (top / "choline.toml").write_text(toml)
    home = tmp_path / "home"
    Paths(home).ensure()
    return top, {"HOME": str(home), "CHOLINE_HOME": str(home), "PATH": "/nowhere"}


def test_what_the_code_reads_is_proposed_where_it_has_a_value(tmp_path: Path) -> None:
    top, environ = project(tmp_path)
    seen = look(top, environ)
    assert [(f.value, f.where) for f in seen.survey.needs] == [
        ("HF_TOKEN", "train.py:2"),
        ("OPENAI_API_KEY", "train.py:5"),
    ]
    answer = next(a for a in propose(seen) if a.key == "secrets")
    assert answer.value == ["HF_TOKEN"] and answer.others == ("OPENAI_API_KEY",)
    assert "found in .env" in answer.where and "train.py:5" in answer.where
    assert VALUE not in repr(seen) + repr(answer)
    (top / ".env").write_text("HF_TOKEN=" + "x" * (2 << 20))  # none that can be read: nothing is proposed
    assert next(a for a in propose(look(top, environ)) if a.key == "secrets").value is None


def test_the_check_says_where_each_is_or_that_it_is_missing(tmp_path: Path) -> None:
    top, environ = project(tmp_path, 'command = "python train.py"\ngpu = "1x4090"\nsecrets = ["HF_TOKEN"]\n')
    checked = check_file(top, environ)
    assert checked.secrets == {"HF_TOKEN": ".env"} and checked.good
    words = [p.message for p in checked.problems]
    assert any("OPENAI_API_KEY" in word for word in words) and VALUE not in repr(checked)
    (top / ".env").unlink()
    checked = check_file(top, environ)
    problem = next(p for p in checked.problems if p.fatal)
    assert not checked.good and checked.secrets == {"HF_TOKEN": ""}
    assert (problem.key, problem.line) == ("secrets", 3) and "HF_TOKEN (looked in" in problem.message
