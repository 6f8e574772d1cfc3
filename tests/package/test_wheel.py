"""The wheel as a stranger gets it: built, installed into a fresh environment, used outside the checkout."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(
    *words: str | Path, cwd: Path, within: float = 300, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=within,
        env={**os.environ, **(environ or {})},
    )
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist, and the wheel that is built from that sdist (as ``python -m build`` does)."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    return out


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin`` of a fresh environment with the wheel and, by pip, what it says it needs."""
    place = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", place / "venv", cwd=place)
    (wheel,) = dist.glob("*.whl")
    constraints = ROOT / ".ci" / "constraints.txt"
    run(
        place / "venv/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check",
        "-c", constraints, wheel, cwd=place,
    )  # fmt: skip
    return place / "venv/bin"


def tcss() -> set[str]:
    return {path.name for path in (ROOT / "styles").glob("*.tcss")}


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_styles_types_and_licence_and_no_tests(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    held = names(wheel)
    assert tcss()
    assert {f"choline_tui/styles/{name}" for name in tcss()} <= held
    assert "choline_tui/py.typed" in held
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in held)
    assert {name.split("/")[0] for name in held if ".dist-info" not in name} == {"choline_tui"}
    sources = {
        f"choline_tui/{f.relative_to(ROOT / 'choline_tui')}" for f in (ROOT / "choline_tui").rglob("*.py")
    }
    assert sources <= held


def test_sdist_holds_what_the_wheel_and_its_tests_need(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"styles/{name}" for name in tcss()} <= held
    assert {"LICENSE", "README.md", "pyproject.toml", "tests/conftest.py"} <= held


def test_wheel_straight_from_the_checkout_is_the_same(dist: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    (direct,), (through_sdist,) = tmp_path.glob("*.whl"), dist.glob("*.whl")
    assert names(direct) == names(through_sdist)


def test_installed_command_says_its_version(installed: Path, tmp_path: Path) -> None:
    from choline_tui import __version__

    assert run(installed / "choline", "--version", cwd=tmp_path).stdout == f"choline {__version__}\n"
    assert run(installed / "python", "-m", "choline_tui", "-V", cwd=tmp_path).stdout.endswith(
        f"{__version__}\n"
    )


def test_installed_package_lies_outside_the_checkout_with_its_styles(installed: Path, tmp_path: Path) -> None:
    code = "import choline_tui, pathlib; print(pathlib.Path(choline_tui.__file__).parent)"
    place = Path(run(installed / "python", "-c", code, cwd=tmp_path).stdout.strip())
    assert not place.is_relative_to(ROOT)
    assert {path.name for path in (place / "styles").glob("*.tcss")} == tcss()
    assert (place / "py.typed").is_file()


def test_installed_dependencies_are_enough_for_every_module(installed: Path, tmp_path: Path) -> None:
    sources = sorted((ROOT / "choline_tui").rglob("*.py"))
    dotted = [".".join(f.relative_to(ROOT).with_suffix("").parts) for f in sources]
    wanted = [name.removesuffix(".__init__") for name in dotted if not name.endswith("__main__")]
    run(installed / "python", "-c", "\n".join(f"import {name}" for name in wanted), cwd=tmp_path)


def test_installed_demo_does_the_whole_job(installed: Path, tmp_path: Path) -> None:
    home = tmp_path / "h"
    done = run(installed / "choline", "demo", "--headless", cwd=tmp_path, environ={"CHOLINE_HOME": str(home)})
    assert done.stdout.strip()
