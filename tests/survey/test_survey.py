"""What a survey finds in projects built by hand, and what it does with hostile ones."""

import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from choline_tui.kernel.errors import ProjectError
from choline_tui.survey import Survey, size_of, survey
from choline_tui.survey.programs import asker
from choline_tui.survey.sent import sent_files
from choline_tui.survey.tree import walk
from tests.support import needs

SECRET = "hunter2-very-secret"

TRAIN = """\
import argparse
import torch
import wandb

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", default="out/ckpt")
"""


def still() -> float:
    return 0.0


def looked_at(directory: Path, *, home: Path | None = None, **how: object) -> Survey:
    """Without the programs of this computer, git apart."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(home or directory / "nobody")}
    real = asker(str(directory), environ)
    return survey(
        str(directory),
        environ,
        clock=still,
        ask=lambda words: real(words) if words[0] == "git" else None,
        **how,  # type: ignore[arg-type]
    )


def write(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def git(directory: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *who, *words], cwd=directory, check=True, capture_output=True)


def commands(found: Survey) -> list[str]:
    return [each.value for each in found.commands]


def test_a_training_repository(tmp_path: Path) -> None:
    needs("git")
    write(
        tmp_path,
        {
            "train.py": TRAIN,
            "eval.py": TRAIN,
            "tests/test_train.py": 'if __name__ == "__main__":\n    pass\n',
            "README.md": "```\n$ python train.py \\\n    --lr 1e-3  # good\npython train.py --data <p>\n```",
            "requirements.txt": "numpy\ntorch==2.9.0\n",
            "requirements-dev.txt": "pytest\n",
            ".python-version": "3.11.4\n",
            ".gitignore": "data/\nruns/\n.env\n",
            ".env": f"export WANDB_API_KEY={SECRET}\n# no\nSEED=7\n",
            "data/a.bin": "x" * 5000,
            "runs/one/events": "y",
            "Dockerfile": "FROM nvidia/cuda:12.4.1-devel-ubuntu22.04 AS base\n",
        },
    )
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    found = looked_at(tmp_path)
    assert found.git is not None and found.git.note == "branch main" and len(found.git.value) == 8
    assert found.commands[0].value == "python train.py --lr 1e-3"
    assert found.commands[0].where == "README.md:2"
    assert commands(found).index("python train.py") < commands(found).index("python eval.py")
    assert [(f.value, f.where, f.note) for f in found.commands if f.value == "python train.py"] == [
        ("python train.py", "train.py:5", "has __main__ and argparse")
    ]
    assert [f.value for f in found.dependencies] == ["requirements.txt"]
    assert [(f.value, f.where) for f in found.python] == [("3.11.4", ".python-version")]
    assert [(f.value, f.where) for f in found.cuda] == [("12.8", "requirements.txt:2")]
    assert [(f.value, f.where) for f in found.images] == [
        ("nvidia/cuda:12.4.1-devel-ubuntu22.04", "Dockerfile:1")
    ]
    assert [(d.path, d.bytes, d.sent) for d in found.data] == [("data", 5000, 0)]
    assert [(d.path, d.why) for d in found.results] == [
        ("runs", "its name"),
        ("out/ckpt", "a default of the script"),
    ]
    assert [(f.value, f.where) for f in found.trackers] == [("wandb", "eval.py:3")]
    assert [(f.value, f.where) for f in found.secrets] == [("WANDB_API_KEY", ".env"), ("SEED", ".env")]
    assert found.secret_files == []  # git ignores it
    assert SECRET not in repr(asdict(found))
    assert found.sent_files == 9


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"train.py": "import x\nprint(1)\n"}, [("python train.py", "a script of that name")]),
        ({"fit.py": "for step in range(3):\n    pass\n"}, [("python fit.py", "the only script")]),
        ({"train.py": "def train():\n    pass\n"}, []),
        ({"train.py": "print(1\n"}, []),
        ({"net/train.py": "print(1)\n", "net/__init__.py": ""}, []),
        ({"a.py": "print(1)\n", "b.py": "print(2)\n"}, []),
        (
            {"eval.py": "print(1)\n", "train.py": "print('\\d')\n"},
            [("python train.py", "a script of that name")],
        ),
    ],
)
def test_scripts_without_main(tmp_path: Path, files: dict[str, str], expected: list[tuple[str, str]]) -> None:
    write(tmp_path, files)
    assert [(f.value, f.note) for f in looked_at(tmp_path).commands] == expected


def test_a_project_without_git_sends_all_but_litter_and_says_which_secrets(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pkg/__main__.py": "print(1)\n",
            "pkg/data/__init__.py": "",
            "pkg/data/loader.py": "",
            ".env": f"TOKEN={SECRET}\n",
            ".env.example": "TOKEN=\n",
            ".cholineignore": "*.log\n",
            "big.log": "x",
            "node_modules/a.js": "x",
        },
    )
    found = looked_at(tmp_path)
    assert found.git is None
    assert commands(found) == ["python -m pkg"]
    assert found.data == []  # a package called "data" is code
    assert [f.value for f in found.secret_files] == [".env"]
    assert found.sent_files == 6
    assert looked_at(tmp_path, exclude=["/.env"]).secret_files == []


@pytest.mark.parametrize(
    ("files", "kinds"),
    [
        ({"uv.lock": "", "pyproject.toml": '[project]\nname = "a"\n'}, ["uv", "pyproject"]),
        ({"pyproject.toml": '[tool.poetry]\nname = "a"\n'}, ["poetry"]),
        ({"Pipfile": "", "Pipfile.lock": "{}"}, ["pipenv"]),
        ({"environment.yml": "", "setup.py": ""}, ["pyproject", "conda"]),
        ({"pyproject.toml": "not = [toml", "requirements_gpu.txt": ""}, ["requirements"]),
    ],
)
def test_files_that_name_packages(tmp_path: Path, files: dict[str, str], kinds: list[str]) -> None:
    assert [f.note for f in looked_at(write(tmp_path, files)).dependencies] == kinds


@pytest.mark.parametrize(
    ("name", "text", "cuda", "line"),
    [
        ("requirements.txt", "--extra-index-url https://download.pytorch.org/whl/cu118\ntorch\n", "11.8", 1),
        ("requirements.txt", "a\njax[cuda12]==0.5\n", "12.0", 2),
        ("requirements.txt", "torch==2.6.0+cu126\n", "12.6", 1),
        ("uv.lock", '[[package]]\nname = "nvidia-cuda-runtime-cu12"\nversion = "12.8.90"\n', "12.8", 2),
        ("requirements.txt", "torchvision==2.9.0\npytorch-x==2.9\n", None, 0),
    ],
)
def test_cuda_that_is_pinned(tmp_path: Path, name: str, text: str, cuda: str | None, line: int) -> None:
    found = looked_at(write(tmp_path, {name: text})).cuda
    assert [(f.value, f.where) for f in found] == ([(cuda, f"{name}:{line}")] if cuda else [])


def test_the_active_environment_is_read_without_running_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".venv/pyvenv.cfg": "home = /usr/bin\nversion = 3.12.3\n",
            ".venv/lib/python3.12/site-packages/torch-2.9.1+cu128.dist-info/METADATA": "",
            ".venv/lib/python3.12/site-packages/typing_extensions-4.1.dist-info/METADATA": "",
        },
    )
    found = looked_at(tmp_path)
    assert [f.value for f in found.packages] == ["torch==2.9.1+cu128", "typing-extensions==4.1"]
    assert [(f.value, f.where) for f in found.python] == [("3.12.3", ".venv")]
    assert [(f.value, f.note) for f in found.cuda] == [("12.8", "cu128")]


def test_programs_of_this_computer(tmp_path: Path) -> None:
    def ask(words: object) -> bytes | None:
        said = {"nvcc": b"release 12.4, V12.4.99\n", "nvidia-smi": b"NVIDIA GeForce RTX 3090, 550.54\n"}
        return said.get(words[0])  # type: ignore[index]

    found = survey(str(tmp_path), {}, clock=still, ask=ask)
    assert [(f.value, f.where) for f in found.cuda] == [("12.4", "nvcc")]
    assert [(f.value, f.note) for f in found.gpus] == [("NVIDIA GeForce RTX 3090", "driver 550.54")]


def test_a_program_that_hangs_or_is_not_there_is_no_answer(tmp_path: Path) -> None:
    ask = asker(str(tmp_path), {"PATH": os.environ["PATH"]}, seconds=0.05)
    assert ask(("sleep", "30")) is None
    assert ask(("no-such-program-here",)) is None


def test_history_is_read_only_when_allowed(tmp_path: Path) -> None:
    home = write(
        tmp_path / "home",
        {
            ".bash_history": "ls\npython go.py --epochs 3\npython other.py\n",
            ".zsh_history": ": 1700000000:0;python go.py --epochs 9\n",
            ".netrc": f"machine api.wandb.ai\n login user\n password {SECRET}\n",
        },
    )
    project = write(tmp_path / "project", {"go.py": "steps = 1\n"})
    assert commands(looked_at(project, home=home)) == []
    found = looked_at(project, home=home, history=True)
    assert sorted(commands(found)) == ["python go.py --epochs 3", "python go.py --epochs 9"]
    assert [(f.value, f.where) for f in found.secrets] == [("api.wandb.ai", "~/.netrc")]
    assert SECRET not in repr(asdict(found))


def test_links_pipes_and_hostile_names_do_no_harm(tmp_path: Path) -> None:
    write(tmp_path, {"train\x1b[2J.py": TRAIN, "a b.py": TRAIN, "train.py": TRAIN})
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "README.md").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "requirements.txt")
    with open(os.fsencode(tmp_path) + b"/train\xff.py", "w") as file:
        file.write(TRAIN)
    found = looked_at(tmp_path)
    assert found.commands[0].value == "python train.py"
    assert "python 'a b.py'" in commands(found)
    assert all(each.value.isprintable() and each.value.isascii() for each in found.commands)
    assert found.dependencies == []


def test_readme_lines_that_do_more_than_start_a_program_are_left(tmp_path: Path) -> None:
    text = "python train.py | sh\npython train.py; rm -rf ~\npython no.py\ncurl x | sh\npython train.py `x`\n"
    found = looked_at(write(tmp_path, {"train.py": "", "README.md": text}))
    assert commands(found) == []


def test_a_huge_tree_is_cut_and_said(tmp_path: Path) -> None:
    for n in range(30):
        (tmp_path / f"f{n}").write_text("")
    assert walk(str(tmp_path), still, max_files=31).complete
    cut = walk(str(tmp_path), still, max_files=10)
    assert len(cut.files) == 10 and not cut.complete
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "g").write_text("")
    ticks = iter([0.0, 0.0, 99.0])
    late = walk(str(tmp_path), lambda: next(ticks))
    assert not late.complete and len(late.files) == 30


def test_a_repository_inside_and_a_deleted_file(tmp_path: Path) -> None:
    needs("git")
    write(tmp_path, {"a.py": "1", "gone.py": "22", "inner/b.py": "333"})
    git(tmp_path / "inner", "init", "-q")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "a.py", "gone.py")
    (tmp_path / "gone.py").unlink()
    tree = walk(str(tmp_path), still)
    ask = asker(str(tmp_path), dict(os.environ))
    assert sent_files(tree, ask, git=True) == {"a.py": 1, "inner/b.py": 3}


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="cannot read the directory"):
        looked_at(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        size_of(str(tmp_path / "none"), still)
    (tmp_path / "f").write_text("abc")
    assert size_of(str(tmp_path), still) == size_of(str(tmp_path / "f"), still) == (3, True)
