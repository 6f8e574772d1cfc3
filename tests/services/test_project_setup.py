"""Proposals of three projects laid out like small public ones, and what a check says of files."""

import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from choline_tui.config import load_project
from choline_tui.kernel.errors import ProjectError
from choline_tui.services.project import Look, look, propose, rendered, save
from choline_tui.services.project_check import Checked, check_file, check_text
from tests.support import needs


def environ(tmp_path: Path) -> dict[str, str]:
    """A home of its own; git, but no nvcc and no nvidia-smi."""
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    git = next(Path(p) / "git" for p in os.environ["PATH"].split(":") if (Path(p) / "git").exists())
    if not (programs / "git").exists():
        (programs / "git").symlink_to(git)
    return {"CHOLINE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": str(programs)}


def project(tmp_path: Path, files: dict[str, str], *, git: bool = False) -> Path:
    top = tmp_path / "project"
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    if git:
        subprocess.run(["git", "init", "-q"], cwd=top, check=True)
    return top


def unattended(top: Path, tmp_path: Path, flags: dict[str, Any] | None = None) -> tuple[Look, dict[str, Any]]:
    """As ``choline init --yes``: what is written, read back."""
    seen = look(top, environ(tmp_path))
    answers = propose(seen)
    values = {a.key: a.value for a in answers if a.value is not None} | (flags or {})
    save(top, rendered(seen, values, {a.key: a.where for a in answers}))
    return seen, tomllib.loads((top / "choline.toml").read_text())


MAIN = 'import argparse\nimport torch\nif __name__ == "__main__":\n    argparse.ArgumentParser()\n'


def test_a_small_language_model_with_ignored_data(tmp_path: Path) -> None:
    needs("git")
    top = project(
        tmp_path,
        {
            "train.py": MAIN + "    a.add_argument('--out_dir', default='out')\n",
            "sample.py": MAIN,
            "README.md": "```\npython data/prep.py\ntorchrun --standalone --nproc_per_node=4 train.py\n```\n",
            "requirements.txt": "torch==2.8.0\n",
            ".gitignore": "/data/\n",
            "data/train.bin": "0" * 1000,
        },
        git=True,
    )
    _, written = unattended(top, tmp_path)
    assert written == {
        "command": "torchrun --standalone --nproc_per_node=4 train.py",
        "environment": {"from": "requirements.txt"},
        "setup": 'ln -sfn "$CHOLINE_DATA"/data data',
        "gpu": "4x4090",
        "query": "cuda_max_good>=12.8",
        "send": ["data"],
        "results": ["out"],
    }
    assert load_project(top).data()[0].path == str(top / "data")
    checked = check_file(top, environ(tmp_path))
    assert checked.good and not checked.problems
    assert checked.data == [(str(top / "data"), 1000, True)]


def test_a_package_with_a_lock(tmp_path: Path) -> None:
    top = project(
        tmp_path,
        {
            "pyproject.toml": '[project]\nname = "tool"\nrequires-python = ">=3.11"\n',
            "uv.lock": 'version = 1\n[[package]]\nname = "nvidia-cuda-runtime-cu12"\nversion = "12.4.127"\n',
            "scripts/train_model.py": MAIN,
            "src/tool/__init__.py": "",
            ".env": "HF_TOKEN=secret-value\n",
        },
    )
    seen, written = unattended(top, tmp_path)
    assert written == {
        "command": "python scripts/train_model.py",
        "environment": {"from": "uv.lock"},
        "gpu": "1x4090",
        "exclude": ["/.env"],
    }
    assert [(f.value, f.where) for f in seen.survey.secrets] == [("HF_TOKEN", ".env")]
    assert "secret-value" not in (top / "choline.toml").read_text()


def test_a_project_with_nothing_but_code_gives_no_command(tmp_path: Path) -> None:
    top = project(tmp_path, {"lib.py": "x = 1\n", "setup.py": "", "environment.yml": ""})
    _, written = unattended(top, tmp_path)
    assert written == {"environment": {"from": "setup.py"}, "gpu": "1x4090"}
    checked = check_file(top, environ(tmp_path))
    assert [p.key for p in checked.problems] == ["command"] and not checked.good


def test_what_an_older_file_says_comes_before_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    top = project(
        tmp_path,
        {
            "train.py": MAIN,
            "requirements.txt": "",
            "choline.yaml": "onStart: python train.py --big\nupload_locations: [../corpus]\nmax_life: 60\n"
            "hardware_filters: {gpu_name: RTX_9999, disk_space: '>1'}\nignore: ['*.pt']\n",
            ".env": "A=1\n",
        },
    )
    seen, written = unattended(top, tmp_path)
    assert written == {
        "command": "python train.py --big",
        "environment": {"from": "requirements.txt"},
        "gpu": "1x4090",  # there is no such card as the old file's
        "disk": 2,
        "send": ["../corpus"],
        "exclude": ["/.env", "*.pt"],
        "run": {"max_life": "60m"},
    }
    assert load_project(top).overrides()["max_life"] == "60m"
    (command,) = [a for a in propose(look(top, environ(tmp_path))) if a.key == "command"]
    assert command.where == "choline.toml" and command.value == "python train.py --big"
    assert seen.current is None


def test_an_existing_file_is_kept_but_for_what_is_said(tmp_path: Path) -> None:
    mine = '# mine\ncommand = "a"  # so\n\n[env]\nX = "1"\n'
    top = project(tmp_path, {"choline.toml": mine, "train.py": MAIN})
    seen = look(top, environ(tmp_path))
    assert rendered(seen, {}, {}) == mine
    assert rendered(seen, {"command": "a", "run.max_life": None, "disk": None}, {}) == mine
    assert rendered(seen, {"env.X": "2"}, {}) == mine.replace('"1"', '"2"')


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="no directory"):
        look(tmp_path / "none", environ(tmp_path))
    with pytest.raises(ProjectError, match=r"there is no choline\.toml"):
        check_file(tmp_path, environ(tmp_path))


def checked_text(tmp_path: Path, text: str, **files: str) -> Checked:
    top = project(tmp_path, {"choline.toml": text, **files})
    return check_file(top, environ(tmp_path))


@pytest.mark.parametrize(
    ("text", "key", "line", "column", "message", "hint"),
    [
        ('command = "a"\nqeury = "x"\n', "qeury", 2, 1, "no setting", "'query'"),
        ("command = 'a'\n[run]\nmax_lief = '3h'\n", "run.max_lief", 3, 1, "no setting", "max_life"),
        ('command = "a"\n  disk = "big"\n', "disk", 2, 3, "needs a number", "GB"),
        ("command = 'a'\n[run]\npremium = -1\n", "run.premium", 3, 1, "greater", "percent"),
        ('command = "a"\ncap = 1\nmax_price = 2\n', "cap", 2, 1, "the same", ""),
        ('command = "a"\nsend = [{path = "x", to = "y"}]\n', "send[0].to", 2, 1, "no setting", "into"),
        ('command = "a\n', "", 1, 13, "not TOML", "quotes"),
        ('command = "a"\ngpu = "2x4091"\n', "gpu", 2, 1, "no GPU", "4090"),
        ('command = "a"\nquery = "num_gpus=1 gpu_rma>=3"\n', "query", 2, 21, "gpu_rma", "gpu_ram"),
        ('command = "a"\nsend = ["nowhere"]\n', "send", 2, 1, "there is no", "Correct"),
        ('command = "a"\nresults = ["../up"]\n', "results[0]", 2, 1, "stays inside", ""),
        ('command = "a"\n[env]\n"A B" = "1"\n', "env", 2, 1, "not a name", ""),
    ],
)
def test_a_mistake_is_pointed_at(
    tmp_path: Path, text: str, key: str, line: int, column: int, message: str, hint: str
) -> None:
    checked = checked_text(tmp_path, text)
    problem = checked.problems[0]
    assert not checked.good
    assert (problem.key, problem.line, problem.column) == (key, line, column), problem
    assert message in problem.message and hint in problem.hint, problem
    assert str(tmp_path) not in problem.message.replace(str(tmp_path / "project" / "nowhere"), "")


def test_what_only_deserves_a_word_is_no_mistake(tmp_path: Path) -> None:
    checked = checked_text(tmp_path, 'command = "python gone.py --x"\n', **{".env": "A=1"})
    assert checked.good
    assert [(p.key, p.fatal) for p in checked.problems] == [("command", False), ("exclude", False)]
    assert "gone.py" in checked.problems[0].message


def test_a_disk_that_is_too_small(tmp_path: Path) -> None:
    top = project(tmp_path, {"choline.toml": 'command = "a"\ndisk = 1\nsend = ["../d"]\n'})
    (tmp_path / "d").mkdir()
    with open(tmp_path / "d" / "sparse", "wb") as file:
        file.truncate(2_000_000_000)
    checked = check_file(top, environ(tmp_path))
    assert [(p.key, p.line) for p in checked.problems] == [("disk", 2)] and not checked.good
    # and init proposes one that is large enough, of data that is not code
    (top / "choline.toml").unlink()
    project(tmp_path, {"data/.gitkeep": "", ".gitignore": "data\n"}, git=True)
    os.rename(tmp_path / "d" / "sparse", top / "data" / "sparse")
    _, written = unattended(top, tmp_path)
    assert written["disk"] == 30 and written["send"] == ["data"]


@pytest.mark.parametrize(
    ("table", "files", "key", "says"),
    [
        ('from = "poetry.lock"', {}, "environment", "poetry.lock, which is not in the project"),
        ("", {"environment.yml": "dependencies: [gcc]"}, "environment", "gcc is not known to be the same"),
        ('cuda = "12.8"', {"requirements.txt": "torch==2.12.0"}, "environment", "no wheels of torch 2.12.0"),
        ("", {"requirements.txt": "torch==2.9.1+cu130"}, "environment", "needs a driver with CUDA 13.0"),
    ],
)
def test_packages_that_cannot_be_had_are_told_without_the_market(
    tmp_path: Path, table: str, files: dict[str, str], key: str, says: str
) -> None:
    head = 'command = "true"\nquery = "cuda_max_good<=12.8"\n'
    top = project(tmp_path, {"choline.toml": f"{head}[environment]\n{table}\n", **files})
    checked = check_file(top, environ(tmp_path))
    (problem,) = checked.problems
    assert (problem.key, problem.fatal, checked.environment) == (key, True, None)
    assert says in problem.message and problem.line >= 3 and problem.hint


def test_packages_and_data_that_the_disk_cannot_hold(tmp_path: Path) -> None:
    toml = 'command = "true"\ndisk = 9\n[environment]\napt = ["git"]\n'
    top = project(tmp_path, {"choline.toml": toml, "requirements.txt": "torch==2.7.1\n"})
    assert check_file(top, environ(tmp_path)).good
    with open(top / "weights.bin", "wb") as file:
        file.truncate(2_000_000_000)
    checked = check_file(top, environ(tmp_path))
    (problem,) = [p for p in checked.problems if p.fatal]
    assert problem.line == 2 and "2.0 GB of code and data and about 7.7 GB of packages" in problem.message
    assert checked.environment is not None and checked.environment.apt == ["git"]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = 'disk = "big"\ncomand = "x"\nsend = [3]\n[run]\nmax_life = "soon"\ngrcae = 3\n'
    top = project(tmp_path, {"choline.toml": text})
    checked = check_file(top, environ(tmp_path))
    assert [(p.line, p.key) for p in checked.problems] == [
        (1, "disk"), (2, "comand"), (3, "send[0]"), (5, "run.max_life"), (6, "run.grcae"),
    ]  # fmt: skip
    assert checked.problems[1].hint == "Did you mean 'command'?" and not checked.good
    assert checked.problems[3].message.startswith("'soon' is not a duration")
    assert [p.key for p in check_text(text, top)] == [p.key for p in checked.problems]


def test_a_file_that_no_longer_fits_is_told(tmp_path: Path) -> None:
    text = 'command = "python train.py"\nsetup = "pip install -r requirements.txt"\n'
    top = project(tmp_path, {"choline.toml": text, "train.py": MAIN})
    (found,) = [p for p in check_file(top, environ(tmp_path)).problems if "requirements" in p.message]
    assert "is gone" in found.message and not found.fatal


def test_the_python_that_ran_here_is_written_where_no_file_says_one(tmp_path: Path) -> None:
    top = project(tmp_path, {"train.py": MAIN, "requirements.txt": "numpy==2.1.0\n"})
    (top / ".venv").mkdir()
    (top / ".venv" / "pyvenv.cfg").write_text("version = 3.11.7\n")
    _, written = unattended(top, tmp_path)
    assert written["environment"] == {"from": "requirements.txt", "python": "3.11"}
    (top / "choline.toml").unlink()
    (top / ".python-version").write_text("3.12\n")
    assert unattended(top, tmp_path)[1]["environment"] == {"from": "requirements.txt"}
