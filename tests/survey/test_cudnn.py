"""Which cuDNN: what is pinned, what is installed, what the computer has."""

from pathlib import Path

import pytest

from choline_tui.survey import Finding
from choline_tui.survey.cudnn import find_cudnn
from choline_tui.survey.tree import walk


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("uv.lock", '[[package]]\nname = "nvidia-cudnn-cu12"\nversion = "9.7.1.26"\n', 2),
        ("poetry.lock", '[[package]]\nname = "nvidia-cudnn-cu12"\nversion = "9.7.1.26"\n', 2),
        (
            "Pipfile.lock",
            '{"default": {\n"nvidia-cudnn-cu12": {"hashes": [], "version": "==9.7.1.26"}}}\n',
            2,
        ),
        ("requirements.txt", "numpy\nnvidia-cudnn-cu12==9.7.1.26\n", 2),
    ],
)
def test_what_is_pinned(name: str, text: str, line: int, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    tree = walk(str(tmp_path), lambda: 0.0)
    assert find_cudnn(tree, [], {}, str(tmp_path / "none")) == [
        Finding("9.7", f"{name}:{line}", "nvidia-cudnn")
    ]


def test_what_is_installed_and_what_is_here(tmp_path: Path) -> None:
    headers = tmp_path / "usr" / "include"
    headers.mkdir(parents=True)
    (headers / "cudnn_version.h").write_text("#define CUDNN_MAJOR 8\n#define CUDNN_MINOR 9\n")
    tree = walk(str(tmp_path), lambda: 0.0)
    installed = [Finding("numpy==2.1", ".venv"), Finding("nvidia-cudnn-cu12==9.1.0.70", ".venv")]
    assert find_cudnn(tree, installed, {"CUDA_HOME": str(tmp_path / "usr")}, "/nowhere") == [
        Finding("9.1", ".venv", "nvidia-cudnn"),
        Finding("8.9", "CUDA_HOME", "its headers"),
    ]
    assert find_cudnn(tree, [], {}, "/nowhere") == []
