"""The set-up script with the real uv and real wheels of an index on loopback: built, reused, broken, told."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from choline_tui.kernel.errors import ProjectError
from choline_tui.kernel.layout import ACTIVATE
from choline_tui.model.environment import Environment
from choline_tui.provision.environment import entering, setup_script, told, why_failed
from choline_tui.survey.packages import read_packages
from tests.support import needs
from tests.support.package_index import PackageIndex
from tests.support.uv import uv_program, with_uv

PYPROJECT = """
[project]
name = "net"
version = "0.1"
requires-python = ">=3.8"
dependencies = ["alpha"]
[project.scripts]
train-net = "net:main"
[build-system]
requires = ["tiny-backend"]
build-backend = "tiny_backend"
"""

BACKEND = """
import os, zipfile
def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "net-0.1-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as z:
        z.writestr("net.pth", os.path.join(os.getcwd(), "src") + chr(10))
        z.writestr("net-0.1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: net\\nVersion: 0.1\\n")
        z.writestr("net-0.1.dist-info/WHEEL",
                   "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        z.writestr("net-0.1.dist-info/entry_points.txt", "[console_scripts]\\ntrain-net = net:main\\n")
        z.writestr("net-0.1.dist-info/RECORD", "")
    return name
build_wheel = build_editable
"""


@dataclass
class Done:
    code: int
    text: str

    @property
    def how(self) -> str:
        said = told(self.text)
        return said[0] if said else ""


class Computer:
    """A remote's home: runs with code, and the shell that a supervisor gives a set-up to."""

    def __init__(self, root: Path, index: PackageIndex, path: str) -> None:
        self.home = root / "ho me"
        self.index = index
        self.path = path
        self.home.mkdir()

    def source(self, run: str, files: dict[str, str]) -> Path:
        src = self.home / "choline" / run / "src"
        src.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (src / name).parent.mkdir(parents=True, exist_ok=True)
            (src / name).write_text(text)
        return src

    def environment(self, run: str, source: str = "auto", **more: Any) -> Environment:
        found = read_packages(str(self.home / "choline" / run / "src"), source).environment
        return found.model_copy(update={"index": self.index.url, **more})

    def process(self, run: str, script: str, **env: str) -> "subprocess.Popen[str]":
        root = self.home / "choline" / run
        needed = {"CHOLINE_ROOT": str(root), "HOME": str(self.home), "PATH": self.path}
        quick = {"UV_HTTP_RETRIES": "0", "UV_PYTHON_PREFERENCE": "only-system", "PIP_CONFIG_FILE": os.devnull}
        return subprocess.Popen(
            ["/bin/sh", "-c", script], cwd=root / "src", env={**needed, **quick, **env},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def shell(self, run: str, script: str, **env: str) -> Done:
        process = self.process(run, script, **env)
        text, _ = process.communicate(timeout=120)
        return Done(process.returncode, text)

    def envs(self) -> list[Path]:
        return sorted(p for p in (self.home / "choline/.system/envs").iterdir() if p.is_dir())


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageIndex]:
    made = PackageIndex(tmp_path_factory.mktemp("index"))
    made.add("alpha", "1.0", requires=("beta>=1",))
    made.add("alpha", "2.0")
    made.add("beta", "1.2")
    made.add("tiny-backend", "1", modules={"tiny_backend.py": BACKEND})
    made.add_file("broken", "broken-3.1.tar.gz", b"this is no archive")
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
def computer(tmp_path: Path, index: PackageIndex) -> Computer:
    python = os.path.dirname(os.path.realpath(sys.executable))
    return Computer(tmp_path, index, f"{with_uv(tmp_path / 'bin')}:{python}:/usr/bin:/bin")


LOOK = 'python -c "import alpha, sys; print(alpha.__version__, sys.prefix)"'


def test_built_once_then_reused_and_offline(computer: Computer, index: PackageIndex) -> None:
    files = {
        "requirements.txt": "-r more.txt\nalpha==1.0\n",
        "more.txt": "beta\n",
        "out.py": "import alpha, beta",
    }
    computer.source("one", files)
    computer.source("two", files)
    environment = computer.environment("one")
    assert environment.files == ["requirements.txt", "more.txt"]
    first = computer.shell("one", setup_script(environment, LOOK + '; echo "in $VIRTUAL_ENV"'))
    assert first.code == 0 and first.how == "built", first.text
    assert re.search(r"(?m)^choline: environment: the packages are here \(\d+\.\d s\)$", first.text)
    (built,) = computer.envs()
    assert f"1.0 {built}" in first.text and f"in {built}" in first.text and built.name == environment.key
    # the command, and whoever enters the run, are in it too
    assert computer.shell("one", f"{entering(environment)[0]}\npython out.py && pip list").code == 0
    asked = len(index.asked)
    same = computer.environment("two")
    again = computer.shell("two", setup_script(same, LOOK), HTTP_PROXY="http://127.0.0.1:1")
    assert again.code == 0 and again.how == "reused" and f"1.0 {built}" in again.text
    assert len(index.asked) == asked and computer.envs() == [built]
    said = told(again.text)
    assert said is not None and said[1] < 2.0


def test_a_half_built_one_is_removed_and_other_bytes_are_another(computer: Computer) -> None:
    computer.source("one", {"requirements.txt": "beta\n"})
    environment = computer.environment("one")
    half = computer.home / "choline/.system/envs" / environment.key
    (half / "bin").mkdir(parents=True)
    (half / "left").write_text("over")
    done = computer.shell("one", setup_script(environment))
    assert done.how == "built" and "unfinished" in done.text
    assert (half / ".complete").is_file() and not (half / "left").exists()
    # what was sent is not what was planned with: it is built, and is not taken for the planned one
    computer.source("one", {"requirements.txt": "alpha==2.0\n"})
    other = computer.shell("one", setup_script(environment, LOOK))
    assert other.how == "built" and "2.0" in other.text and len(computer.envs()) == 2
    # one without its Python is none
    (half / "bin/python").unlink()
    computer.source("one", {"requirements.txt": "beta\n"})
    assert computer.shell("one", setup_script(environment)).how == "built"


def test_two_at_once_build_it_once(computer: Computer) -> None:
    names = ("one", "two", "three")
    for name in names:
        computer.source(name, {"requirements.txt": "alpha==1.0\n"})
    script = setup_script(computer.environment("one"), LOOK)
    running = [computer.process(name, script) for name in names]
    texts = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], texts
    how = sorted(said[0] for text in texts if (said := told(text)))
    assert how == ["built", "reused", "reused"] and len(computer.envs()) == 1


@pytest.mark.parametrize(
    ("line", "package", "says"),
    [
        ("broken==3.1", "broken", "uv could not install the packages"),
        ("nosuch>=2", "nosuch", "was not found in the package registry"),
        ("alpha==7", "alpha", "alpha==7"),
    ],
)
def test_a_package_that_cannot_be_had_is_named(
    computer: Computer, line: str, package: str, says: str
) -> None:
    computer.source("one", {"requirements.txt": f"beta\n{line}\n"})
    done = computer.shell("one", setup_script(computer.environment("one"), "echo never"))
    assert done.code == 1 and "never" not in done.text
    words = why_failed(done.text)
    assert words.startswith("the environment could not be built") and package in words and says in words
    assert len(words) <= 400 and "\n" not in words
    (left,) = computer.envs()
    assert not (left / ".complete").exists()


def test_a_python_that_cannot_be_had_is_named(computer: Computer, index: PackageIndex) -> None:
    computer.source("one", {"requirements.txt": "beta\n"})
    environment = computer.environment("one", python="3.9")
    away = {"UV_PYTHON_INSTALL_MIRROR": f"{index.host}/none", "UV_PYTHON_PREFERENCE": "managed"}
    done = computer.shell("one", setup_script(environment), **away)
    assert done.code == 1
    assert why_failed(done.text).endswith("Python 3.9 is not on this machine and could not be had")


def test_a_file_that_was_not_sent(computer: Computer) -> None:
    src = computer.source("one", {"requirements.txt": "beta\n"})
    script = setup_script(computer.environment("one"))
    (src / "requirements.txt").unlink()
    done = computer.shell("one", script)
    assert done.code == 1 and "requirements.txt is not among the files that were sent" in why_failed(
        done.text
    )


def programs(directory: Path, **scripts: str) -> str:
    directory.mkdir(exist_ok=True)
    for name, text in scripts.items():
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)
    return str(directory)


def test_uv_is_got_from_the_index_when_it_is_not_there(computer: Computer, tmp_path: Path) -> None:
    own = PackageIndex(tmp_path / "own")
    program = f'#!/bin/sh\nexec {uv_program()} "$@"\n'
    own.add("uv", "0.8.9", modules={"uv/__init__.py": ""}, scripts={"uv": program})
    own.add("beta", "1.2")
    computer.source("one", {"requirements.txt": "beta\n"})
    python = f'exec {sys.executable} "$@"'
    own.start()
    try:
        script = setup_script(computer.environment("one", index=own.url))
        # neither uv nor pip, and nobody who may install one; an old uv is none
        without = f'case "$*" in "-m pip"*) exit 1;; esac; {python}'
        bare = programs(tmp_path / "bare", python3=without, id="echo 1000", uv="echo uv 0.4.1")
        computer.path = f"{bare}:/usr/bin:/bin"
        if subprocess.run(["/usr/bin/python3", "-m", "pip", "--version"], capture_output=True).returncode:
            refused = computer.shell("one", script)
            assert refused.code == 1 and "neither uv nor pip is here" in why_failed(refused.text)
        computer.path = f"{programs(tmp_path / 'with', python3=python)}:/usr/bin:/bin"
        done = computer.shell("one", script)
        assert done.how == "built" and "getting uv" in done.text, done.text
        assert (computer.home / "choline/.system/tools/bin/uv").exists()
        again = computer.shell("one", script)
        assert again.how == "reused" and "getting uv" not in again.text
    finally:
        own.stop()


NET = "import importlib.metadata\ndef main(): print('trained', importlib.metadata.version('net'), __file__)\n"


def test_the_projects_own_package_is_each_runs_own(computer: Computer) -> None:
    files = {"pyproject.toml": PYPROJECT, "src/net.py": NET}
    for run in ("one", "two"):
        src = computer.source(run, files)
    environment = computer.environment("two")
    assert environment.members == {"net": "."} and environment.python == ">=3.8"
    script = setup_script(environment)
    use = f"{ACTIVATE}\ntrain-net && python -c 'import net; net.main()'"
    for run, how in (("one", "built"), ("two", "reused")):
        done = computer.shell(run, script)
        assert done.how == how, done.text
        said = computer.shell(run, use)
        mine = computer.home / "choline" / run / "src/src/net.py"
        assert said.text == f"trained 0.1 {mine}\n" * 2
    # editable: what changes in the code is what runs
    (src / "src/net.py").write_text("def main(): print('changed')\n")
    assert computer.shell("two", use).text == "changed\n" * 2


def test_a_uv_lock(computer: Computer) -> None:
    files = {"pyproject.toml": PYPROJECT.replace('"alpha"', '"alpha<2"'), "src/net.py": NET}
    src = computer.source("one", files)
    subprocess.run(
        [uv_program(), "lock", "-q", "--default-index", computer.index.url, "-p", sys.executable],
        cwd=src, check=True, env={**os.environ, "UV_CACHE_DIR": str(computer.home / "cache")},
    )  # fmt: skip
    environment = computer.environment("one")
    assert environment.kind == "uv" and environment.members == {"net": "."}
    script = setup_script(environment, f"{LOOK}; uv run --frozen train-net; uv pip list")
    done = computer.shell("one", script, UV_INDEX="", UV_DEFAULT_INDEX=computer.index.url)
    assert done.how == "built" and "\n1.0 " in done.text and "trained 0.1" in done.text, done.text
    assert computer.shell("one", script, HTTP_PROXY="http://127.0.0.1:1").how == "reused"


def test_what_was_made_at_home_is_installed_and_belongs_to_its_lock(computer: Computer) -> None:
    pipfile = json.dumps(
        {
            "_meta": {"sources": [{"url": computer.index.url}], "requires": {}},
            "default": {"alpha": {"version": "==1.0"}, "beta": {"version": "==1.2"}},
        }
    )
    src = computer.source("one", {"Pipfile.lock": pipfile})
    environment = computer.environment("one")
    done = computer.shell("one", setup_script(environment, LOOK))
    assert done.how == "built" and "\n1.0 " in done.text
    (src / "Pipfile.lock").write_text(pipfile.replace("1.2", "1.1"))
    refused = computer.shell("one", setup_script(environment, LOOK))
    assert refused.code == 1 and "is not the one that this run was planned with" in why_failed(refused.text)


POETRY = """
[[package]]
name = "alpha"
version = "1.0"
[[package]]
name = "beta"
version = "1.2"
[[package]]
name = "elsewhere"
version = "9"
"""


def test_the_versions_of_a_poetry_lock(computer: Computer) -> None:
    pyproject = '[tool.poetry.dependencies]\npython = "^3.8"\nalpha = "*"\n'
    computer.source("one", {"poetry.lock": POETRY, "pyproject.toml": pyproject})
    done = computer.shell("one", setup_script(computer.environment("one"), f"{LOOK}; pip list"))
    assert done.how == "built" and "\n1.0 " in done.text and "elsewhere" not in done.text, done.text


def test_nothing_but_python_and_nothing_at_all(computer: Computer) -> None:
    computer.source("one", {"train.py": ""})
    done = computer.shell("one", setup_script(computer.environment("one"), "python -c 'print(1)'"))
    assert done.how == "built" and done.text.endswith("1\n")
    assert setup_script(None, "make") == "make" and entering(None) == []
    image = Environment(kind="image")
    assert setup_script(image, "make") == "make" and entering(image) == []


def test_apt_packages_are_only_asked_for_where_they_are_missing(computer: Computer, tmp_path: Path) -> None:
    computer.source("one", {})
    log = tmp_path / "apt"
    here = 'case "$3" in there) echo "install ok installed";; *) exit 1;; esac'
    apt = f'echo "$@" >> {log}; case "$*" in *nosuch*) exit 100;; esac'
    fakes = {"dpkg-query": here, "apt-get": apt}
    environment = Environment(kind="image", apt=["there", "gone=1.0"])
    for user, code in (("0", 0), ("1000", 1)):
        log.write_text("")
        directory = programs(tmp_path / f"as{user}", id=f"echo {user}", **fakes)
        computer.path = f"{directory}:/usr/bin:/bin"
        done = computer.shell("one", setup_script(environment, "echo after"))
        assert (done.code, "after" in done.text) == (code, not code), done.text
        if code:
            assert "this user may not install them: gone" in why_failed(done.text) and not log.read_text()
        else:
            assert log.read_text().split("\n")[1].endswith("--no-install-recommends gone=1.0")
    computer.path = f"{tmp_path / 'as0'}:/usr/bin:/bin"
    failed = computer.shell("one", setup_script(Environment(kind="image", apt=["nosuch"])))
    assert failed.code == 1 and "apt-get could not install nosuch" in why_failed(failed.text)
    log.write_text("")
    assert computer.shell("one", setup_script(Environment(kind="image", apt=["there"]))).code == 0
    assert not log.read_text()


HOSTILE = "a'b\"$(touch x)`touch x`; touch x\n-r.txt"


def test_names_from_a_hostile_project_are_only_names(computer: Computer) -> None:
    needs("sh")
    src = computer.source("one", {HOSTILE: "beta\n"})
    environment = Environment(
        kind="pip", source=HOSTILE, files=[HOSTILE], read=[], members={HOSTILE: HOSTILE}, python=HOSTILE,
        index=f"http://127.0.0.1:1/{HOSTILE}", extra_index=[HOSTILE], backend=HOSTILE, apt=[HOSTILE],
        extras=[HOSTILE], groups=[HOSTILE],
        requirements=f"{HOSTILE}\nCHOLINE_REQUIREMENTS\ntouch x\n", constraints=HOSTILE,
    )  # fmt: skip
    fakes = programs(computer.home / "fakes", **{"dpkg-query": "echo install ok installed"})
    computer.path = f"{fakes}:{computer.path}"
    for kind in ("pip", "uv"):
        done = computer.shell("one", setup_script(environment.model_copy(update={"kind": kind})))
        assert done.code == 1 and "syntax" not in done.text.lower(), done.text
        assert sorted(p.name for p in src.iterdir()) == [HOSTILE]


def test_what_a_log_says_is_made_inert_and_short() -> None:
    assert told("choline: environment built in 41.2 s\n") == ("built", 41.2)
    assert told("x choline: environment built in 41.2 s\n") is None
    assert told("choline: environment burnt in 41.2 s\n") is None
    assert why_failed("make: no rule\n") == ""
    assert why_failed("choline: environment: building\ncholine: environment built in 1.0 s\nmake: no\n") == ""
    hostile = "choline: environment: \x1b]0;x\x07building\n\u202eerror: \x1b[2J" + "y" * 9000
    words = why_failed(hostile)
    assert len(words) <= 400 and words.isprintable()


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"requirements\.txt, which is not in the project"):
        read_packages(str(tmp_path), "requirements.txt")
    (tmp_path / "uv.lock").write_text("version = 1")
    with pytest.raises(ProjectError, match=r"has no pyproject\.toml beside it"):
        read_packages(str(tmp_path))
    (tmp_path / "requirements.txt").write_text("-r ../up.txt")
    with pytest.raises(ProjectError, match="outside of the project"):
        read_packages(str(tmp_path), "requirements.txt")
