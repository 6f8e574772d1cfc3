"""What lock files of each kind say, and the requirements that are made out of them."""

import tomllib
from typing import Any

import pytest

from choline_tui.kernel.errors import ProjectError
from choline_tui.model.conda import from_conda
from choline_tui.model.locks import (
    from_pipfile,
    from_pipfile_lock,
    from_poetry,
    read_uv_lock,
    specifier,
)
from choline_tui.model.markers import holds


@pytest.mark.parametrize(
    ("marker", "python", "answer"),
    [
        ("sys_platform == 'linux'", "", True),
        ("sys_platform == 'win32'", "", False),
        ("'linux' == sys_platform", "", True),
        ("sys_platform != 'win32' and platform_machine == 'x86_64'", "", True),
        ("sys_platform == 'win32' or (os_name == 'posix' and implementation_name != 'pypy')", "", True),
        ("python_version < '3.11'", "3.10", True),
        ("python_full_version >= '3.12'", "3.11", False),
        ("python_full_version == '3.11.*'", "3.11", True),
        ("python_version < '3.11'", "", None),
        ("python_full_version < '3.11.4'", "3.11", None),
        ("python_version < '3.11' and sys_platform == 'win32'", "", False),
        ("extra == 'gpu' or sys_platform == 'linux'", "", True),
        ("extra == 'gpu'", "", None),
        ("(sys_platform == 'linux'", "", None),
        ("sys_platform == 'linux' and", "", None),
        ("sys_platform ==", "", None),
        ("!!", "", None),
        ("(" * 3000, "", None),
        ("sys_platform == 'linux'" + " " * 5000 + "x", "", None),
    ],
)
def test_markers(marker: str, python: str, answer: bool | None) -> None:
    assert holds(marker, python) is answer


UV = """
version = 1
revision = 3
requires-python = ">=3.10"

[[package]]
name = "net"
version = "0.1.0"
source = { editable = "." }
dependencies = [
    { name = "torch" },
    { name = "parts" },
    { name = "winonly", marker = "sys_platform == 'win32'" },
    { name = "old", version = "1.0", marker = "python_full_version < '3.11'" },
    { name = "old", version = "2.0", marker = "python_full_version >= '3.11'" },
]
[package.optional-dependencies]
train = [{ name = "only311" }]
[package.dev-dependencies]
dev = [{ name = "tester" }]

[[package]]
name = "parts"
version = "0.1.0"
source = { editable = "packages/parts" }

[[package]]
name = "torch"
version = "2.7.1"
source = { registry = "https://pypi.org/simple" }
dependencies = [
    { name = "nvidia-cuda-runtime-cu12", marker = "sys_platform == 'linux' and os_name == 'posix'" },
]
wheels = [
    { url = "https://x/torch-2.7.1-cp310-cp310-manylinux_2_28_x86_64.whl", size = 800 },
    { url = "https://x/torch-2.7.1-cp311-cp311-manylinux_2_28_x86_64.whl", size = 810 },
    { url = "https://x/torch-2.7.1-cp311-none-macosx_11_0_arm64.whl", size = 70 },
]

[[package]]
name = "nvidia-cuda-runtime-cu12"
version = "12.6.77"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://x/nvidia_cuda_runtime_cu12-12.6.77-py3-none-manylinux2014_x86_64.whl", size = 50 }]

[[package]]
name = "winonly"
version = "3"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://x/winonly-3-cp311-cp311-win_amd64.whl", size = 7000 }]

[[package]]
name = "old"
version = "1.0"
source = { registry = "https://pypi.org/simple" }
sdist = { url = "https://x/old-1.0.tar.gz", size = 3 }

[[package]]
name = "old"
version = "2.0"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://x/old-2.0-cp39-abi3-musllinux_1_2_x86_64.whl", size = 4 }]

[[package]]
name = "only311"
version = "1"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://x/only311-1-cp311-cp311-manylinux2014_x86_64.whl", size = 9 }]

[[package]]
name = "tester"
version = "1"
source = { git = "https://example.com/tester?rev=1#abc" }
"""


def uv(old: str = "", new: str = "") -> dict[str, Any]:
    assert old in UV
    return tomllib.loads(UV.replace(old, new) if old else UV)


def test_a_uv_lock() -> None:
    found = read_uv_lock(uv(), "3.11")
    assert found.members == {"net": ".", "parts": "packages/parts"}
    assert (found.asks.torch_version, found.asks.cuda, found.asks.settled) == ("2.7.1", "12.6", True)
    assert found.asks.cuda_where == "uv.lock (nvidia-cuda-runtime 12.6.77)"
    assert found.download == 810 + 50 + 4 and found.missing == ()
    assert read_uv_lock(uv(), "3.10").download == 800 + 50 + 3
    assert read_uv_lock(uv(), "3.11", ("train",)).download == 810 + 50 + 4 + 9
    # a Python that was not named: about as much as for the least, and nothing is called missing for it
    assert read_uv_lock(uv(), "", ("train",)).missing == ()


def test_what_no_machine_could_install_is_named() -> None:
    assert read_uv_lock(uv(), "3.13").missing == ("torch 2.7.1",)
    assert set(read_uv_lock(uv(), "3.12", ("train",)).missing) == {"torch 2.7.1", "only311 1"}
    assert read_uv_lock(uv("py3-none-manylinux2014_x86_64", "py3-none-win_amd64")).missing == (
        "nvidia-cuda-runtime-cu12 12.6.77",
    )


@pytest.mark.parametrize(
    ("version", "cuda", "cpu"),
    [("2.7.1+cu118", "11.8", False), ("2.7.1+cpu", "", True), ("2.7.1", "", False)],
)
def test_the_build_of_torch(version: str, cuda: str, cpu: bool) -> None:
    lock = {
        "version": 1,
        "package": [
            {"name": "x", "source": {"virtual": "."}, "dependencies": [{"name": "torch"}]},
            {"name": "torch", "version": version, "source": {"registry": "https://x"}},
        ],
    }
    found = read_uv_lock(lock)
    assert (found.asks.cuda, found.asks.cpu, found.members) == (cuda, cpu, {})


@pytest.mark.parametrize(
    ("lock", "says"),
    [
        ({"version": 2}, "has version 2"),
        ({}, "has version None"),
        (
            {"version": 1, "package": [{"name": "up", "source": {"editable": "../up"}}]},
            r"takes up from \.\./up, which is outside",
        ),
    ],
)
def test_a_uv_lock_that_cannot_be_used(lock: dict[str, Any], says: str) -> None:
    with pytest.raises(ProjectError, match=says):
        read_uv_lock(lock)


def test_a_uv_lock_of_nonsense_is_survived() -> None:
    for package in (
        1,
        "x",
        [1],
        [{"name": 1}],
        [{"name": "x", "dependencies": 1, "wheels": [1], "source": 2}],
    ):
        read_uv_lock({"version": 1, "package": package})


POETRY = """
[[package]]
name = "requests"
version = "2.31.0"
[[package]]
name = "torch"
version = "2.1.2+cu118"
[package.source]
type = "legacy"
url = "https://download.pytorch.org/whl/cu118"
[[package]]
name = "mine"
version = "0.1"
[package.source]
type = "git"
url = "https://example.com/mine.git"
reference = "main"
resolved_reference = "abc123"
[[package]]
name = "inside"
version = "0.1"
[package.source]
type = "directory"
url = "libs/inside"
[[package]]
name = "internal"
version = "4"
[package.source]
type = "legacy"
url = "https://pypi.example.org/simple/"
"""

PYPROJECT = """
[tool.poetry.dependencies]
python = "^3.10"
requests = {version = "^2.28", extras = ["socks"]}
torch = {version = "2.1.2", source = "pytorch"}
mine = {git = "https://example.com/mine.git"}
inside = {path = "libs/inside", develop = true}
internal = {version = "*", python = "~3.11", markers = "sys_platform == 'linux'"}
later = {version = "1", optional = true}
also = {version = "1", optional = true}
[tool.poetry.extras]
more = ["also"]
[tool.poetry.group.dev.dependencies]
tester = "*"
[tool.poetry.group.docs]
optional = true
[tool.poetry.group.docs.dependencies]
writer = "*"
"""


def test_a_poetry_lock() -> None:
    made = from_poetry(tomllib.loads(POETRY), tomllib.loads(PYPROJECT), ("more",))
    assert made.requirements.splitlines() == [
        "requests[socks]", "torch", "mine",
        "internal ; (sys_platform == 'linux') and python_version >= \"3.11\" and python_version < \"3.12\"",
        "also", "tester",
    ]  # fmt: skip
    assert made.constraints.splitlines() == [
        "requests==2.31.0", "torch==2.1.2+cu118", "mine @ git+https://example.com/mine.git@abc123",
        "internal==4",
    ]  # fmt: skip
    assert made.members == {"inside": "libs/inside"} and made.backend == "cu118"
    assert made.extra_index == ("https://pypi.example.org/simple",) and made.python == ">=3.10,<4"
    assert made.asks.cuda == "11.8"


def test_a_poetry_lock_that_knows_one_package_twice() -> None:
    twice = [{"name": "numpy", "version": "1"}, {"name": "numpy", "version": "2"}]
    with pytest.raises(ProjectError, match="has numpy more than once"):
        from_poetry({"package": twice}, {})
    marked = [{**p, "markers": f'python_version >= "3.{n}"'} for n, p in enumerate(twice)]
    made = from_poetry({"package": marked}, {"project": {"dependencies": ["numpy>=1"]}})
    assert made.constraints.splitlines() == [
        'numpy==1 ; python_version >= "3.0"', 'numpy==2 ; python_version >= "3.1"',
    ]  # fmt: skip
    assert made.requirements == "numpy>=1\n"
    file = [{"name": "a", "version": "1", "source": {"type": "file", "url": "a.whl"}}]
    with pytest.raises(ProjectError, match="takes a from the file"):
        from_poetry({"package": file}, {})


@pytest.mark.parametrize(
    ("poetry", "pep440"),
    [
        ("^3.10", ">=3.10,<4"), ("^0.3.1", ">=0.3.1,<0.4"), ("~3.11", ">=3.11,<3.12"), ("~3", ">=3,<4"),
        ("^2", ">=2,<3"), ("*", ""), ("", ""), (">=3.8, <3.12", ">=3.8,<3.12"), ("3.11.*", "==3.11.*"),
        ("3.10", "==3.10"),
    ],
)  # fmt: skip
def test_poetrys_ranges(poetry: str, pep440: str) -> None:
    assert specifier(poetry) == pep440


CU121 = "https://download.pytorch.org/whl/cu121"


def test_pipenv() -> None:
    lock = {
        "_meta": {
            "requires": {"python_version": "3.11"},
            "sources": [{"url": url} for url in ("https://pypi.org/simple", CU121)],
        },
        "default": {
            "torch": {"version": "==2.3.0", "hashes": ["sha256:aa"]},
            "requests": {"version": "==2.31.0", "extras": ["socks"], "hashes": ["sha256:bb", "sha256:cc"],
                         "markers": "python_version >= '3.7'"},
        },
        "develop": {"tester": {"version": "==1"}},
    }  # fmt: skip
    made = from_pipfile_lock(lock)
    assert made.requirements == (
        "torch==2.3.0 \\\n    --hash=sha256:aa\n"
        "requests[socks]==2.31.0 ; python_version >= '3.7' \\\n    --hash=sha256:bb "
        "\\\n    --hash=sha256:cc\n"
    )
    assert made.exact and made.python == "3.11" and made.backend == "cu121" and made.asks.cuda == "12.1"
    assert made.index == "" and made.extra_index == ()
    lock["default"]["mine"] = {"git": "https://example.com/x.git", "ref": "abc"}  # type: ignore[index]
    lock["default"]["here"] = {"path": "./libs/here", "editable": True}  # type: ignore[index]
    made = from_pipfile_lock(lock)
    assert (
        "--hash" not in made.requirements and "mine @ git+https://example.com/x.git@abc" in made.requirements
    )
    assert made.members == {"here": "./libs/here"}
    pipfile = {
        "source": [{"url": "https://pypi.example.org/simple"}],
        "packages": {"numpy": "*", "torch": "==2.4.0", "x": {"version": ">=1", "extras": ["y"]}},
    }
    made = from_pipfile(pipfile)
    assert made.requirements == "numpy\ntorch==2.4.0\nx[y]>=1\n" and not made.exact
    assert made.index == "https://pypi.example.org/simple" and made.asks.torch_version == "2.4.0"


@pytest.mark.parametrize(
    ("dependency", "requirement"),
    [
        ("numpy", "numpy"), ("numpy=1.26", "numpy==1.26.*"), ("numpy==1.26.4", "numpy==1.26.4"),
        ("numpy>=1.2,<2", "numpy>=1.2,<2"), ("numpy >= 1.2", "numpy>=1.2"), ("numpy=1.26.*", "numpy==1.26.*"),
        ("numpy 1.26.*", "numpy==1.26.*"), ("conda-forge::scikit-learn=1.4", "scikit-learn==1.4.*"),
        ("pytorch==2.1.2", "torch==2.1.2"), ("PyYAML", "pyyaml"),
    ],
)  # fmt: skip
def test_a_conda_package_that_pypi_has(dependency: str, requirement: str) -> None:
    assert from_conda({"dependencies": ["python=3.11", dependency]}).requirements == f"{requirement}\n"


@pytest.mark.parametrize(
    ("dependency", "says"),
    [
        ("cudatoolkit=11.3", "cudatoolkit is not known to be the same on PyPI"),
        ("gcc", "gcc is not known"),
        ("numpy=1.26.4=py311h64a7726_0", "numpy=1.26.4=py311h64a7726_0 names a build of conda"),
        ("numpy 1.26.4 py311h64a7726_0", "names a build of conda"),
        ("numpy~=1.2", "cannot be said exactly"),
        ("numpy>=1|<0.5", "cannot be said exactly"),
        ("python=3.11=h1", "cannot be said exactly"),
        ("pytorch-cuda", "does not name one CUDA"),
        ("$(x)", "is no package"),
        ({"npm": ["x"]}, "is no package"),
        ({"pip": [1]}, "is no requirement"),
        (3, "is no package"),
    ],
)
def test_a_conda_package_that_is_refused(dependency: Any, says: str) -> None:
    with pytest.raises(ProjectError) as refused:
        from_conda({"dependencies": [dependency]})
    assert says in refused.value.message


def test_a_conda_environment() -> None:
    made = from_conda(
        {
            "name": "x",
            "channels": ["pytorch", "nvidia"],
            "dependencies": [
                "python>=3.10,<3.12", "pytorch=2.1", "pytorch-cuda=12.1", "pip",
                {"pip": ["wandb==0.16", " einops "]},
            ],
        }
    )  # fmt: skip
    assert made.requirements == "torch==2.1.*\npip\nwandb==0.16\neinops\n"
    assert (made.python, made.cuda, made.asks.torch_version) == (">=3.10,<3.12", "12.1", "2.1")
    assert from_conda({"dependencies": ["pytorch", "cpuonly"]}).cuda == "cpu"
    assert from_conda({"dependencies": [{"pip": ["torch==2.3.0"]}]}).asks.torch_version == "2.3.0"
    wrong: tuple[Any, ...] = (None, [], {"dependencies": "x"})
    for data in wrong:
        with pytest.raises(ProjectError, match="no list of dependencies"):
            from_conda(data)
