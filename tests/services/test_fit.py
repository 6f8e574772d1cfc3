"""When a choline.toml no longer fits the project beside it."""

import os
from pathlib import Path

import pytest

from choline_tui.services.fit import misfits

GOOD = """\
command = "SEED=1 python train.py --x"
setup = "pip install -r requirements.txt"
results = ["checkpoints"]
"""


@pytest.fixture
def top(tmp_path: Path) -> Path:
    for name in ("train.py", "requirements.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "choline.toml").write_text(GOOD)
    return tmp_path


def test_what_fits_says_nothing(top: Path) -> None:
    assert misfits(top) == []
    (top / "runs").mkdir()
    (top / "checkpoints").mkdir()
    assert misfits(top) == [], "the results are where the file says"
    (top / "choline.toml").write_text("command =")
    assert misfits(top) == [], "the plan says what is wrong with it"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda top: (top / "train.py").rename(top / "main.py"), "train.py, which the command starts"),
        (
            lambda top: (top / "requirements.txt").unlink(),
            "requirements.txt, which the set-up needs, is gone",
        ),
        (lambda top: (top / "outputs").mkdir(), "there is no checkpoints, but outputs"),
        (lambda top: newer(top, "uv.lock"), "uv.lock is new"),
    ],
)
def test_what_does_not(change: object, said: str, top: Path) -> None:
    change(top)  # type: ignore[operator]
    found = misfits(top)
    assert len(found) == 1 and said in found[0]


def newer(top: Path, name: str) -> None:
    (top / name).write_text("")
    at = (top / "choline.toml").stat().st_mtime + 60
    os.utime(top / name, (at, at))


def test_an_environment_names_its_file(top: Path) -> None:
    (top / "choline.toml").write_text('command = "python train.py"\n[environment]\nfrom = "uv.lock"\n')
    assert misfits(top) == ["uv.lock, which the set-up needs, is gone"]
    newer(top, "uv.lock")
    assert misfits(top) == []
