"""What a project's own files say of its packages: an ``Environment``, but for where torch comes from."""

import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from json import loads
from typing import Any

import yaml  # type: ignore[import-untyped]

from choline_tui.kernel.errors import ProjectError
from choline_tui.model.conda import from_conda
from choline_tui.model.environment import Environment
from choline_tui.model.locks import (
    Made,
    from_pipfile,
    from_pipfile_lock,
    from_poetry,
    read_uv_lock,
    specifier,
)
from choline_tui.model.wheels import Asks
from choline_tui.survey.environment import find_dependencies
from choline_tui.survey.tree import Tree

__all__ = ["Packages", "read_packages"]

MAX_FILE = 16 << 20
"""bytes of one file that is read"""
MAX_MADE = 512 << 10
"""bytes of requirements made at home: they travel in the set-up script"""
MAX_FILES = 50
"""requirements files that include one another"""


@dataclass(frozen=True)
class Packages:
    """``cuda``: a wish of the file's own (``cpu``, ``12.1``), '' for none; ``missing``: locked packages that
    no Linux machine on x86-64 could install."""

    environment: Environment
    asks: Asks
    cuda: str = ""
    missing: tuple[str, ...] = ()

    def no_wheels(self) -> ProjectError:
        """What there is to say of ``missing``."""
        python = f" and Python {self.environment.python}" if self.environment.python else ""
        which = ", ".join(self.missing[:5])
        return ProjectError(
            f"{self.environment.source} has no wheel of {which} for Linux on x86-64{python}",
            hint="Lock the project for Linux too, or choose another Python in [environment].",
        )


def read_packages(
    directory: str, source: str = "auto", *, python: str = "", extras: tuple[str, ...] = ()
) -> Packages:
    """What would be installed for the project in ``directory``. Blocks on the disk, runs nothing.

    Raises ProjectError, which names file and package, for what is not there or cannot be built.
    """
    if source == "image":
        return Packages(Environment(kind="image"), Asks())
    pyproject = _toml(directory, "pyproject.toml", there=False)
    if source == "auto":
        source = _found(directory, pyproject)
    name = os.path.basename(source)
    own = python or _own_python(directory, pyproject)
    if not source:
        return Packages(Environment(kind="pip", python=own), Asks())
    if name == "uv.lock":
        return _uv(directory, source, python, own, extras)
    if name.endswith(".txt"):
        return _requirements(directory, source, own)
    if name in ("pyproject.toml", "setup.py"):
        return _pyproject(directory, source, pyproject, own)
    made = _made(directory, source, pyproject, extras)
    if len(made.requirements) + len(made.constraints) > MAX_MADE:
        raise ProjectError(f"{source} has more packages than a set-up can take along")
    return _from_made(directory, source, made, python or made.python or own)


def _made(directory: str, source: str, pyproject: Mapping[str, Any], extras: tuple[str, ...]) -> Made:
    name = os.path.basename(source)
    if name == "poetry.lock":
        return from_poetry(_toml(directory, source), pyproject, extras)
    if name == "Pipfile.lock":
        return from_pipfile_lock(_json(directory, source))
    if name == "Pipfile":
        return from_pipfile(_toml(directory, source))
    return from_conda(_yaml(directory, source))


def _read(directory: str, path: str) -> bytes:
    try:
        with open(os.path.join(directory, path), "rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise ProjectError(
                f"[environment] takes its packages from {path}, which is not in the project",
                hint="Correct from in [environment], or make the file.",
            ) from None
        raise ProjectError(f"cannot read {path}: {error.strerror or error}") from None
    if len(data) > MAX_FILE:
        raise ProjectError(f"{path} is larger than such a file can be ({MAX_FILE >> 20} MiB)")
    return data


def _toml(directory: str, path: str, *, there: bool = True) -> dict[str, Any]:
    if not there and not os.path.isfile(os.path.join(directory, path)):
        return {}
    try:
        return tomllib.loads(_read(directory, path).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"{path} is not TOML: {str(error)[:120]}") from None


def _json(directory: str, path: str) -> dict[str, Any]:
    try:
        data = loads(_read(directory, path))
    except (ValueError, RecursionError):
        raise ProjectError(f"{path} is not JSON") from None
    if not isinstance(data, dict):
        raise ProjectError(f"{path} is no lock of Pipenv")
    return data


def _yaml(directory: str, path: str) -> Any:
    data = _read(directory, path)
    if len(data) > 1 << 20:
        raise ProjectError(f"{path} is larger than such a file can be")
    try:
        return yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ProjectError(f"{path} is not YAML") from None


def _found(directory: str, pyproject: Mapping[str, Any]) -> str:
    try:
        with os.scandir(directory) as entries:
            files = {entry.name: 0 for entry in entries if entry.is_file()}
    except OSError as error:
        raise ProjectError(f"cannot read {directory}: {error.strerror or error}") from None
    found = find_dependencies(Tree(directory, files), pyproject)
    return found[0].value if found else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _own_python(directory: str, pyproject: Mapping[str, Any]) -> str:
    file = os.path.join(directory, ".python-version")
    if os.path.isfile(file):
        said = re.match(
            r"\s*(\d+\.\d+(?:\.\d+)?)\s*$", _read(directory, ".python-version").decode("utf-8", "replace")
        )
        if said:
            return said[1]
    wanted = _dict(pyproject.get("project")).get("requires-python")
    if not isinstance(wanted, str):
        poetry = _dict(_dict(pyproject.get("tool")).get("poetry"))
        python = _dict(poetry.get("dependencies")).get("python")
        wanted = specifier(python) if isinstance(python, str) else ""
    wanted = wanted.replace(" ", "")
    return wanted if re.fullmatch(r"([<>=!~]{1,2}\d+(\.\d+)*(\.\*)?,?)+", wanted, re.ASCII) else ""


def _digest(directory: str, files: list[str]) -> str:
    whole = hashlib.sha256()
    for path in files:
        whole.update(_read(directory, path))
    return whole.hexdigest()


def _beside(source: str, *names: str) -> list[str]:
    where = os.path.dirname(source)
    return [os.path.join(where, name) if where else name for name in names]


def _there(directory: str, paths: list[str]) -> list[str]:
    return [path for path in paths if os.path.isfile(os.path.join(directory, path))]


def _uv(directory: str, source: str, python: str, own: str, extras: tuple[str, ...]) -> Packages:
    if os.path.dirname(source):
        raise ProjectError(
            f"{source} belongs to another project than this directory",
            hint="Put choline.toml beside it.",
        )
    files = [source, *_there(directory, ["pyproject.toml", ".python-version"])]
    if "pyproject.toml" not in files:
        raise ProjectError("uv.lock has no pyproject.toml beside it", hint="'uv lock' needs one too.")
    short = re.fullmatch(r"(\d+\.\d+)(\.\d+)?", python or own)
    read = read_uv_lock(_toml(directory, source), short[1] if short else "", extras)
    environment = Environment(
        kind="uv",
        source=source,
        files=files,
        digest=_digest(directory, files),
        python=python,
        members=read.members,
        download_bytes=read.download,
    )
    return Packages(environment, read.asks, missing=read.missing)


def _pyproject(directory: str, source: str, pyproject: Mapping[str, Any], python: str) -> Packages:
    files = [source, *_there(directory, ["setup.py", "setup.cfg"])]
    files = list(dict.fromkeys(files))
    project = _dict(pyproject.get("project"))
    lines = [str(line) for line in project.get("dependencies", []) if isinstance(line, str)]
    is_package = "build-system" in pyproject or "setup.py" in files or not project
    name = project.get("name")
    members = {name if isinstance(name, str) else "the project": "."} if is_package else {}
    return Packages(
        Environment(
            kind="pip",
            source=source,
            files=files,
            digest=_digest(directory, files),
            python=python,
            read=[source],
            members=members,
        ),
        _asks_of("\n".join(lines), source),
    )


def _requirements(directory: str, source: str, python: str) -> Packages:
    files: list[str] = []
    text, local, unread = _lines(directory, source, files)
    members = {os.path.basename(path) or path: path for path in local}
    environment = Environment(
        kind="pip",
        source=source,
        files=files,
        digest=_digest(directory, files),
        python=python,
        # local packages lie in a directory that each run has for itself: they are no part of what is shared
        read=[] if local else [source],
        requirements=text if local else "",
        members=members,
    )
    if local and unread:
        raise ProjectError(f"{source} names {local[0]} beside {unread}", hint="Put them into one file.")
    if local:
        own = _there(directory, [os.path.normpath(os.path.join(p, "pyproject.toml")) for p in local])
        more = [path for path in own if path not in files]
        environment = environment.model_copy(
            update={"read": own, "files": [*files, *more], "digest": _digest(directory, [*files, *more])}
        )
    return Packages(environment, _asks_of(text, source))


_OPTION = re.compile(r"(?:-r|--requirement|-c|--constraint)(?:\s+|=)?(\S+)")
_LOCAL = re.compile(
    r"(?:(?:-e|--editable)(?:\s+|=)?)?((?:\.{1,2})(?:/[^\s\[;#]*)?|[^\s\[;#:@]*/[^\s\[;#:@]*)(?:\[[^\]]*\])?\s*(?:[;#].*)?"
)


def _lines(directory: str, path: str, files: list[str]) -> tuple[str, list[str], str]:
    """(all requirements but directories of the project; these; a constraints file that is included)."""
    path = os.path.normpath(path)
    if path in files:
        return "", [], ""
    if path.startswith("..") or os.path.isabs(path):
        raise ProjectError(f"{path[:200]} is outside of the project, and is not sent")
    if len(files) >= MAX_FILES:
        raise ProjectError("the requirements files include more than 50 others")
    files.append(path)
    text, local, unread = [], [], ""
    joined = _read(directory, path).decode("utf-8", "replace").replace("\\\n", " ")
    for line in joined.splitlines():
        plain = line.strip()
        if included := _OPTION.fullmatch(plain.partition(" #")[0].strip()):
            other = os.path.join(os.path.dirname(path), included[1])
            if re.match(r"[a-z]+://", included[1]):
                text.append(plain)
                continue
            inner, also, beside = _lines(directory, other, files)
            if plain.startswith(("-c", "--c")):
                unread = other
            else:
                text.append(inner)
                local += also
            unread = unread or beside
        elif (said := _LOCAL.fullmatch(plain)) and not plain.startswith("#") and not _is_file(plain):
            where = os.path.normpath(os.path.join(os.path.dirname(path), said[1]))
            if where.startswith("..") or os.path.isabs(where):
                raise ProjectError(
                    f"{path} takes {said[1][:200]}, which is outside of the project and is not sent"
                )
            local.append(where)
        else:
            text.append(plain)
    return "\n".join(text) + "\n", local, unread


def _is_file(line: str) -> bool:
    return line.partition(";")[0].strip().endswith((".whl", ".tar.gz", ".zip"))


def _from_made(directory: str, source: str, made: Made, python: str) -> Packages:
    files = [source]
    if os.path.basename(source) == "poetry.lock":
        files += _there(directory, _beside(source, "pyproject.toml"))
    environment = Environment(
        kind="pip",
        source=source,
        files=files,
        digest=_digest(directory, files),
        python=python,
        requirements=made.requirements,
        constraints=made.constraints,
        exact=made.exact,
        index=made.index,
        extra_index=list(made.extra_index),
        backend=made.backend,
        members=made.members,
    )
    asks = made.asks
    if os.path.basename(source).startswith("environment"):
        asks = _asks_of(made.requirements, source)
    return Packages(environment, asks, cuda=made.cuda)


def _asks_of(text: str, where: str) -> Asks:
    """What a requirements file asks of torch, jax and CUDA."""
    torch = re.search(
        r"(?mi)^\s*torch(?:\[[^\]]*\])?\s*(?:(?:===?)\s*([\w.+]+))?\s*(?:$|[;#<>=!~,@\s])", text
    )
    version = (torch[1] or "") if torch else ""
    version = "" if "*" in version else version
    if torch and not version and (star := re.search(r"(?mi)^\s*torch==(\d+\.\d+)\.\*", text)):
        version = star[1]
    backend = re.search(r"download\.pytorch\.org/whl/(cpu|cu(\d{2})(\d))\b", text)
    local = re.search(r"(?mi)^\s*torch\s*===?\s*[\w.]+\+(cpu|cu(\d{2})(\d))", text)
    runtime = re.search(r"(?mi)^\s*nvidia-cuda-runtime(?:-cu\d+)?\s*==\s*(\d+\.\d+)", text)
    jax = re.search(r"(?mi)^\s*jax\[[^\]]*cuda(\d{2})", text)
    cuda, why = "", ""
    for said in (local, backend):
        if said and said[1] != "cpu" and not cuda:
            cuda, why = f"{said[2]}.{said[3]}", f"{where} ({said[1]})"
    if runtime and not cuda:
        cuda, why = runtime[1], f"{where} (nvidia-cuda-runtime)"
    return Asks(
        torch=torch is not None,
        torch_version=version,
        cuda=cuda,
        cuda_where=why,
        cpu=any(said is not None and said[1] == "cpu" for said in (local, backend)),
        settled=backend is not None,
        jax=jax[1] if jax else "",
    )
