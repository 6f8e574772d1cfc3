"""Which Python, which packages, and which CUDA a project wants, and what this computer has."""

import os
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from choline_tui.model.wheels import TORCH
from choline_tui.survey.found import Finding, tellable
from choline_tui.survey.programs import Ask
from choline_tui.survey.tree import Tree, read_text

__all__ = ["find_cuda", "find_dependencies", "find_images", "find_packages", "find_python", "read_pyproject"]

MAX_LOCK = 16 << 20
MAX_PACKAGES = 5000
_VERSION = re.compile(r"\d+(\.\d+){0,2}")


def read_pyproject(tree: Tree) -> dict[str, Any]:
    """{} when there is none, or it is not TOML."""
    try:
        return tomllib.loads(tree.read("pyproject.toml"))
    except (ValueError, RecursionError):
        return {}


def _dig(data: Any, *keys: str) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def find_python(tree: Tree, pyproject: Mapping[str, Any], environ: Mapping[str, str]) -> list[Finding]:
    found = []
    line = next(iter(tree.read(".python-version").split()), "")
    if _VERSION.fullmatch(line):
        found.append(Finding(line, ".python-version"))
    for keys in (("project", "requires-python"), ("tool", "poetry", "dependencies", "python")):
        wanted = _dig(pyproject, *keys)
        if isinstance(wanted, str) and tellable(wanted):
            found.append(Finding(wanted, "pyproject.toml", ".".join(keys)))
    for directory, where in _environments(tree, environ):
        config = read_text(os.path.join(directory, "pyvenv.cfg"))
        said = re.search(r"^version(?:_info)?\s*=\s*(\d+\.\d+(?:\.\d+)?)", config, re.MULTILINE)
        if said:
            found.append(Finding(said[1], where, "the environment's own"))
    return found


def _environments(tree: Tree, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """(directory, where it was named): the active environment, else the project's own."""
    named = [(environ[name], name) for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if environ.get(name)]
    own = [(os.path.join(tree.top, name), name) for name in (".venv", "venv")]
    return [each for each in (*named, *own) if os.path.isdir(each[0])][:1]


def find_packages(tree: Tree, environ: Mapping[str, str]) -> list[Finding]:
    """What is installed in the active environment, from the names of its ``.dist-info``; nothing is run."""
    found: dict[str, Finding] = {}
    for directory, where in _environments(tree, environ):
        lib = os.path.join(directory, "lib")
        try:
            pythons = sorted(name for name in os.listdir(lib) if name.startswith("python"))
            for python in pythons[:4]:
                for name in sorted(os.listdir(os.path.join(lib, python, "site-packages")))[:MAX_PACKAGES]:
                    said = re.fullmatch(r"([\w.]+)-(\d[\w.+!]*)\.dist-info", name)
                    if said:
                        found.setdefault(said[1], Finding(f"{said[1].replace('_', '-')}=={said[2]}", where))
        except OSError:
            continue
    return list(found.values())


def find_dependencies(tree: Tree, pyproject: Mapping[str, Any]) -> list[Finding]:
    """A lock first, then what is looser. The first is what a set-up would install."""
    found = []
    for name, kind in (("uv.lock", "uv"), ("poetry.lock", "poetry"), ("Pipfile.lock", "pipenv")):
        if name in tree.files:
            found.append(Finding(name, name, kind))
    loose = [p for p in tree.files if re.fullmatch(r"requirements([-_.][\w.-]+)?\.txt", p) and tellable(p)]
    aside = ("dev", "test", "doc", "lint")
    loose = [p for p in loose if not any(word in p for word in aside)]
    found += [Finding(p, p, "requirements") for p in sorted(loose, key=lambda p: (len(p), p))]
    if isinstance(_dig(pyproject, "project", "name"), str):
        found.append(Finding("pyproject.toml", "pyproject.toml", "pyproject"))
    elif isinstance(_dig(pyproject, "tool", "poetry", "name"), str):
        found.append(Finding("pyproject.toml", "pyproject.toml", "poetry"))
    elif "setup.py" in tree.files:
        found.append(Finding("setup.py", "setup.py", "pyproject"))
    if "Pipfile" in tree.files and "Pipfile.lock" not in tree.files:
        found.append(Finding("Pipfile", "Pipfile", "pipenv"))
    for name in ("environment.yml", "environment.yaml"):
        if name in tree.files:
            found.append(Finding(name, name, "conda"))
    return found


def find_cuda(tree: Tree, packages: list[Finding], ask: Ask) -> tuple[list[Finding], list[Finding]]:
    """(CUDA wanted or here, GPUs of this computer). What files pin comes before what is installed."""
    found: list[Finding] = []
    pinned = re.compile(r"requirements([-_.][\w.-]+)?\.txt|pyproject\.toml|Pipfile|environment\.ya?ml")
    locks = [p for p in ("uv.lock", "poetry.lock", "Pipfile.lock") if p in tree.files]
    for path in (*locks, *sorted(p for p in tree.files if pinned.fullmatch(p))):
        found += _wanted(read_text(os.path.join(tree.top, path), MAX_LOCK), path)
    installed = "\n".join(each.value for each in packages)
    found += _wanted(installed, packages[0].where if packages else "")
    text = (ask(("nvcc", "--version")) or b"").decode("utf-8", "replace")
    if said := re.search(r"release (\d+\.\d+)", text):
        found.append(Finding(said[1], "nvcc", "the toolkit of this computer"))
    gpus: list[Finding] = []
    names = ask(("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"))
    for line in (names or b"").decode("utf-8", "replace").split("\n")[:64]:
        name, _, driver = line.partition(",")
        if driver and tellable(name):
            gpus.append(Finding(name.strip(), "nvidia-smi", f"driver {driver.strip()[:20]}"))
    return found, gpus


def _wanted(text: str, where: str) -> list[Finding]:
    found = []
    # a lock: name = "nvidia-cuda-runtime-cu12" / version = "12.8.90"; requirements: name==version
    lock = r'"?nvidia-cuda-runtime(?:-cu\d+)?"?\s*(?:==|\n\s*version\s*=\s*")(\d+\.\d+)'
    if said := re.search(lock, text):
        found.append(Finding(said[1], _at(text, said, where), "nvidia-cuda-runtime"))
    for said in re.finditer(r"(?:download\.pytorch\.org/whl/|torch[^\n]{0,40}\+)cu(\d{2})(\d)\b", text):
        found.append(Finding(f"{said[1]}.{said[2]}", _at(text, said, where), f"cu{said[1]}{said[2]}"))
        break
    if said := re.search(r"jax(?:lib)?\[cuda(\d{2})", text):
        found.append(Finding(f"{said[1]}.0", _at(text, said, where), f"jax for CUDA {said[1]}"))
    torch = r"(?m)^\W{0,4}(?:name = )?\"?torch\"?\s*(?:===?|\n\s*version\s*=\s*\")\s*(\d+\.\d+)"
    if (said := re.search(torch, text)) and not found and said[1] in TORCH:
        found.append(Finding(TORCH[said[1]][0], _at(text, said, where), f"torch {said[1]} is built for it"))
    return found


def _at(text: str, said: re.Match[str], where: str) -> str:
    named = "." in where or where == "Pipfile"
    return f"{where}:{text.count(chr(10), 0, said.start()) + 1}" if named else where


def find_images(tree: Tree) -> list[Finding]:
    """What a Dockerfile starts from, if that is an image with CUDA or a framework."""
    found = []
    for name in ("Dockerfile", "docker/Dockerfile"):
        for number, line in enumerate(tree.read(name).split("\n"), 1):
            said = re.match(r"FROM\s+(?:--\S+\s+)?([\w./:@-]+)", line, re.IGNORECASE)
            if said and "/" in said[1] and re.search("cuda|pytorch|tensorflow|jax|nvcr", said[1]):
                found.append(Finding(said[1], f"{name}:{number}", "FROM"))
    return found[-1:]
