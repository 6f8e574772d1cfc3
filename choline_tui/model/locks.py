"""What lock files say: which torch and CUDA they pin, how much is downloaded, what no machine could install,
and requirements made out of those that uv does not read. Pure functions over parsed files.

The formats, read on 2026-11-22: uv.lock version 1 (packages with ``source``, ``wheels`` and sizes),
poetry.lock 2.x (``package``, with ``source`` and, from 2.1, ``markers``), Pipfile.lock 6 (``default``,
``_meta.sources``).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from choline_tui.kernel.errors import ProjectError
from choline_tui.model.markers import holds
from choline_tui.model.wheels import Asks

__all__ = ["Locked", "Made", "from_pipfile", "from_pipfile_lock", "from_poetry", "read_uv_lock", "specifier"]


@dataclass(frozen=True)
class Locked:
    """``members``: packages that are part of the project, name to directory; ``download``: bytes, 0 when not
    known; ``missing``: packages that no Linux machine could install."""

    asks: Asks
    members: dict[str, str] = field(default_factory=dict)
    download: int = 0
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """Requirements out of another format; ``cuda``: a wish that the file expresses ('' for none)."""

    requirements: str
    constraints: str = ""
    asks: Asks = field(default_factory=Asks)
    python: str = ""
    index: str = ""
    extra_index: tuple[str, ...] = ()
    backend: str = ""
    members: dict[str, str] = field(default_factory=dict)
    exact: bool = False
    cuda: str = ""


# ------------------------------------------------------------------------------------------------ uv.lock


def read_uv_lock(lock: Mapping[str, Any], python: str = "", extras: tuple[str, ...] = ()) -> Locked:
    """``python``: the one asked for, as 3.11, '' when it is left to the machine. Raises ProjectError for a
    lock of a later format, and for a package of the project that lies outside of it."""
    if lock.get("version") != 1:
        raise ProjectError(
            f"uv.lock has version {str(lock.get('version'))[:20]}; this choline reads version 1"
        )
    packages = [
        p for p in _list(lock.get("package")) if isinstance(p, dict) and isinstance(p.get("name"), str)
    ]
    members = {}
    for each in packages:
        path = _local(each)
        if path is not None and _dict(each.get("source")).get("virtual") is None:
            members[each["name"]] = _inside(path, each["name"], "uv.lock")
    guess = python
    if not guess:
        said = re.search(r">=\s*(\d+\.\d+)|==\s*(\d+\.\d+)", str(lock.get("requires-python", "")))
        guess = (said[1] or said[2]) if said else ""
    sure, maybe = _reached(packages, guess, extras)
    # the least Python that the lock allows says how much there is about, not what there is not
    missing = [p for p in _reached(packages, python, extras)[0] if not _installable(p, python)]
    return Locked(
        _asks(sure or maybe, maybe, "uv.lock"),
        members,
        sum(_size(p, guess) for p in sure),
        tuple(sorted(f"{p['name']} {p.get('version', '')}".strip() for p in missing)),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _local(package: Mapping[str, Any]) -> str | None:
    source = _dict(package.get("source"))
    for kind in ("editable", "virtual", "directory"):
        if isinstance(source.get(kind), str):
            return str(source[kind])
    return None


def _inside(path: str, name: str, where: str) -> str:
    if path.startswith(("/", "~")) or ".." in path.split("/") or "\0" in path:
        raise ProjectError(
            f"{where} takes {name} from {path[:200]}, which is outside of the project and is not sent",
            hint="Move it into the project, or put choline.toml into a directory above both.",
        )
    return path


def _reached(
    packages: list[dict[str, Any]], python: str, extras: tuple[str, ...]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(what is installed for sure, what may be besides and before) from the project's own packages on."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for each in packages:
        by_name.setdefault(each["name"], []).append(each)
    roots = [p for p in packages if _local(p) in (".", "")] or [p for p in packages if _local(p) is not None]

    def walk(also: tuple[bool | None, ...]) -> list[dict[str, Any]]:
        seen: dict[int, dict[str, Any]] = {}
        queue = [(root, frozenset(extras), True) for root in roots]
        told: set[tuple[int, frozenset[str]]] = set()
        while queue:
            package, wanted, root = queue.pop()
            if (id(package), wanted) in told:
                continue
            told.add((id(package), wanted))
            seen[id(package)] = package
            for edge in _edges(package, wanted, root):
                marker = edge.get("marker")
                if marker is not None and holds(str(marker), python) not in also:
                    continue
                for target in by_name.get(str(edge.get("name")), []):
                    if edge.get("version") in (None, target.get("version")):
                        inner = frozenset(str(e) for e in _list(edge.get("extra")))
                        queue.append((target, inner, False))
        return list(seen.values())

    return walk((True,)), walk((True, None))


def _edges(package: Mapping[str, Any], extras: frozenset[str], root: bool) -> Iterator[dict[str, Any]]:
    found = list(_list(package.get("dependencies")))
    optional = _dict(package.get("optional-dependencies"))
    for extra in extras:
        found += _list(optional.get(extra))
    if root:
        found += _list(_dict(package.get("dev-dependencies")).get("dev"))
    yield from (edge for edge in found if isinstance(edge, dict))


def _asks(sure: list[dict[str, Any]], maybe: list[dict[str, Any]], where: str) -> Asks:
    def versions(*names: str) -> list[str]:
        for among in (sure, maybe):
            found = sorted({str(p.get("version", "")) for p in among if p["name"] in names})
            if found:
                return found
        return []

    torch = versions("torch")
    local = {v.partition("+")[2] for v in torch}
    runtime = versions("nvidia-cuda-runtime-cu11", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime")
    builds = [said for each in local if (said := re.fullmatch(r"cu(\d{2})(\d)", each))]
    jax = [n for n in ("11", "12", "13") if versions(f"jax-cuda{n}-plugin")]
    cuda, why = "", ""
    if len(builds) == 1:
        cuda, why = f"{builds[0][1]}.{builds[0][2]}", f"{where} (torch {torch[-1]})"
    elif len(runtime) == 1 and (said := re.match(r"\d+\.\d+", runtime[0])):
        cuda, why = said[0], f"{where} (nvidia-cuda-runtime {runtime[0]})"
    return Asks(
        torch=bool(torch),
        torch_version=torch[0] if len(torch) == 1 else "",
        cuda=cuda,
        cuda_where=why,
        cpu=bool(torch) and not cuda and local == {"cpu"},
        settled=True,
        jax=jax[0] if len(jax) == 1 else "",
    )


_WHEEL = re.compile(r"([\w.]+)-([\w.+!]+)(?:-\d[\w.]*)?-([\w.]+)-([\w.]+)-([\w.]+)\.whl$")


def _fitting(package: Mapping[str, Any], python: str) -> list[dict[str, Any]]:
    """Its wheels that a Linux machine with this Python could install; all Linux ones if it is not known."""
    found = []
    for wheel in _list(package.get("wheels")):
        name = str(_dict(wheel).get("url") or _dict(wheel).get("filename") or _dict(wheel).get("path") or "")
        said = _WHEEL.search(name.partition("#")[0].replace("%2B", "+").rpartition("/")[2])
        if said and _tags_fit(said[3], said[4], said[5], python):
            found.append(wheel)
    return found


def _tags_fit(pythons: str, abis: str, platforms: str, python: str) -> bool:
    linux = r"any|(many|musl)?linux(_\d+_\d+|1|2010|2014)?_x86_64"
    if not any(re.fullmatch(linux, p) for p in platforms.split(".")):
        return False
    if not python:
        return True
    number = python.replace(".", "")
    minor = int(python.partition(".")[2] or 0)
    for tag in pythons.split("."):
        if tag in ("py3", f"py{number}", f"cp{number}") or (
            (said := re.fullmatch(r"py3(\d+)", tag)) and int(said[1]) <= minor
        ):
            return True
        said = re.fullmatch(r"cp3(\d+)", tag)
        if said and "abi3" in abis.split(".") and int(said[1]) <= minor:
            return True
    return False


def _installable(package: Mapping[str, Any], python: str) -> bool:
    if not _list(package.get("wheels")) or package.get("sdist") is not None:
        return True  # from its source, from git, from a directory: uv builds it
    return bool(_fitting(package, python))


def _size(package: Mapping[str, Any], python: str) -> int:
    sizes = [w.get("size") for w in _fitting(package, python)]
    known = [size for size in sizes if isinstance(size, int) and 0 < size < 1 << 40]
    if not known and isinstance(size := _dict(package.get("sdist")).get("size"), int):
        known = [max(0, min(size, 1 << 40))]
    return max(known, default=0)


# ------------------------------------------------------------------------------------------------- poetry


def from_poetry(lock: Mapping[str, Any], pyproject: Mapping[str, Any], extras: tuple[str, ...] = ()) -> Made:
    """What ``poetry install --no-root`` installs: the project's requirements, at the versions of its lock.

    Raises ProjectError, with the package's name, for what cannot be said as requirements.
    """
    packages = [
        p for p in _list(lock.get("package")) if isinstance(p, dict) and isinstance(p.get("name"), str)
    ]
    names = [_normal(p["name"]) for p in packages]
    constraints, extra_index, members, backend = [], [], {}, ""
    for each in packages:
        name, version, markers = str(each["name"]), str(each.get("version", "")), each.get("markers")
        if names.count(_normal(name)) > 1 and not isinstance(markers, str):
            raise ProjectError(
                f"poetry.lock has {name} more than once, and in its format does not say when which",
                hint="Lock it again with Poetry 2, or use [environment] from = another file.",
            )
        source = _dict(each.get("source"))
        kind, url = str(source.get("type", "")), str(source.get("url", ""))
        line = f"{name}=={version}"
        if kind == "git":
            line = f"{name} @ git+{url}@{source.get('resolved_reference') or source.get('reference')}"
        elif kind == "url":
            line = f"{name} @ {url}"
        elif kind in ("directory", "file"):
            if kind == "file":
                raise ProjectError(
                    f"poetry.lock takes {name} from the file {url[:200]}, which uv cannot lock"
                )
            members[name] = _inside(url, name, "poetry.lock")
            continue
        elif url and (said := _PYTORCH.search(url)):
            backend = said[1]
        elif url and not _is_pypi(url):
            extra_index.append(url.rstrip("/"))
        constraints.append(f"{line} ; {markers}" if isinstance(markers, str) and markers else line)
    wanted = _poetry_wanted(pyproject, extras, set(members))
    python = _dict(_dict(_dict(pyproject.get("tool")).get("poetry")).get("dependencies")).get("python")
    requires = _dict(pyproject.get("project")).get("requires-python")
    said_python = requires if isinstance(requires, str) else python if isinstance(python, str) else ""
    asks = _asks(packages, packages, "poetry.lock")
    if backend and not asks.cuda:
        asks = _from_index(asks, backend, "poetry.lock")
    return Made(
        "".join(f"{line}\n" for line in wanted),
        "".join(f"{line}\n" for line in constraints),
        asks,
        specifier(said_python),
        extra_index=tuple(dict.fromkeys(extra_index)),
        backend=backend,
        members=members,
    )


_PYTORCH = re.compile(r"download\.pytorch\.org/whl/(cpu|cu\d{3})\b")


def _from_index(asks: Asks, backend: str, where: str) -> Asks:
    if backend == "cpu":
        return replace(asks, cpu=True, settled=True)
    cuda = f"{backend[2:4]}.{backend[4]}"
    return replace(asks, cuda=cuda, cuda_where=f"{where} ({backend})", settled=True)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_pypi(url: str) -> bool:
    return bool(re.match(r"https://(pypi\.org|pypi\.python\.org|files\.pythonhosted\.org)(/|$)", url))


def _poetry_wanted(pyproject: Mapping[str, Any], extras: tuple[str, ...], local: set[str]) -> list[str]:
    found = [str(line) for line in _list(_dict(pyproject.get("project")).get("dependencies"))]
    optional = _dict(_dict(pyproject.get("project")).get("optional-dependencies"))
    for extra in extras:
        found += [str(line) for line in _list(optional.get(extra))]
    poetry = _dict(_dict(pyproject.get("tool")).get("poetry"))
    tables = [(poetry.get("dependencies"), True)]
    for name, group in _dict(poetry.get("group")).items():
        if not _dict(group).get("optional") or name in extras:
            tables.append((_dict(group).get("dependencies"), False))
    tables.append((poetry.get("dev-dependencies"), False))
    named = {_normal(n) for extra in extras for n in _list(_dict(poetry.get("extras")).get(extra))}
    said = {_normal(re.split(r"[\s\[<>=!~;@(]", line, maxsplit=1)[0]) for line in found}
    ours = {_normal(name) for name in local}
    for table, main in tables:
        for name, value in _dict(table).items():
            if name == "python" or _normal(name) in ours or (main and _normal(name) in said):
                continue
            for one in value if isinstance(value, list) else [value]:
                line = _poetry_line(name, one, _normal(name) in named)
                if line:
                    found.append(line)
    return [line for line in found if _normal(re.split(r"[\s\[<>=!~;@(]", line, maxsplit=1)[0]) not in ours]


def _poetry_line(name: str, value: Any, asked: bool) -> str:
    """The version stands in the lock; what is left is the name, its extras and when it is wanted."""
    if not isinstance(value, dict):
        return name
    if value.get("optional") and not asked:
        return ""
    extras = ",".join(str(e) for e in _list(value.get("extras")))
    markers = [f"({value['markers']})"] if isinstance(value.get("markers"), str) else []
    if isinstance(value.get("python"), str):
        pieces = specifier(value["python"]).split(",")
        markers += [
            f'python_version {said[1]} "{said[2]}"'
            for p in pieces
            if (said := re.match(r"([<>=!~]+)(.+)", p))
        ]
    line = f"{name}[{extras}]" if extras else name
    return f"{line} ; {' and '.join(markers)}" if markers else line


def specifier(text: str) -> str:
    """A version range as PEP 440 has it, from Poetry's (``^3.10``, ``~3.10``, ``3.10.*``, ``*``); '' for any.
    What it does not know stays as it is."""
    found = []
    for piece in (p.strip() for p in text.split(",")):
        if piece in ("", "*"):
            continue
        said = re.fullmatch(r"([\^~])\s*(\d+)(?:\.(\d+))?(?:\.(\d+))?", piece)
        if said is None:
            found.append(f"=={piece}" if re.match(r"\d", piece) else piece.replace(" ", ""))
            continue
        major, minor = int(said[2]), int(said[3] or 0)
        low = ".".join(g for g in said.groups()[1:] if g is not None)
        if said[1] == "^" and (major or said[3] is None):
            high = f"{major + 1}"
        else:
            high = f"{major}.{minor + 1}" if said[3] is not None else f"{major + 1}"
        found.append(f">={low},<{high}")
    return ",".join(found)


# ------------------------------------------------------------------------------------------------- pipenv


def from_pipfile_lock(lock: Mapping[str, Any]) -> Made:
    """All of ``default``, at its versions, with its hashes where every package has some."""
    default = _dict(lock.get("default"))
    hashed = all(_list(_dict(entry).get("hashes")) for entry in default.values())
    lines: list[str] = []
    members: dict[str, str] = {}
    for name, entry in default.items():
        line = _pip_line(name, _dict(entry), "Pipfile.lock", members)
        hashes = [f"--hash={h}" for h in _list(_dict(entry).get("hashes"))] if hashed else []
        if line:
            lines.append(" \\\n    ".join([line, *map(str, hashes)]))
    packages = [
        {"name": _normal(n), "version": str(_dict(e).get("version", "")).lstrip("=")}
        for n, e in default.items()
    ]
    meta = _dict(lock.get("_meta"))
    return _with_sources(lines, _list(meta.get("sources")), _dict(meta.get("requires")),
                         _asks(packages, packages, "Pipfile.lock"), members, exact=True)  # fmt: skip


def from_pipfile(pipfile: Mapping[str, Any]) -> Made:
    """``[packages]`` as requirements."""
    lines: list[str] = []
    members: dict[str, str] = {}
    asks = Asks()
    for name, value in _dict(pipfile.get("packages")).items():
        entry = value if isinstance(value, dict) else {"version": str(value)}
        line = _pip_line(name, entry, "Pipfile", members)
        if line:
            lines.append(line)
        if _normal(name) == "torch":
            exact = re.fullmatch(r"==\s*([\w.+]+)", str(entry.get("version", "")))
            asks = Asks(torch=True, torch_version=exact[1] if exact else "")
    return _with_sources(
        lines, _list(pipfile.get("source")), _dict(pipfile.get("requires")), asks, members, exact=False
    )


def _pip_line(name: str, entry: Mapping[str, Any], where: str, members: dict[str, str]) -> str:
    extras = ",".join(str(e) for e in _list(entry.get("extras")))
    line = f"{name}[{extras}]" if extras else name
    if isinstance(entry.get("path"), str):
        members[name] = _inside(str(entry["path"]), name, where)
        return ""
    if isinstance(entry.get("git"), str):
        line += f" @ git+{entry['git']}" + (f"@{entry['ref']}" if entry.get("ref") else "")
    elif isinstance(entry.get("file"), str):
        line += f" @ {entry['file']}"
    elif entry.get("version") not in (None, "*"):
        version = str(entry["version"])
        line += version if re.match(r"[<>=!~]", version) else f"=={version}"
    return f"{line} ; {entry['markers']}" if isinstance(entry.get("markers"), str) else line


def _with_sources(
    lines: list[str],
    sources: list[Any],
    requires: Mapping[str, Any],
    asks: Asks,
    members: dict[str, str],
    *,
    exact: bool,
) -> Made:
    urls = [str(_dict(s).get("url")).rstrip("/") for s in sources if _dict(s).get("url")]
    backend = next((said[1] for url in urls if (said := _PYTORCH.search(url))), "")
    urls = [url for url in urls if not _PYTORCH.search(url)]
    if backend and not asks.cuda:
        asks = _from_index(asks, backend, "Pipfile")
    first = urls[0] if urls and not _is_pypi(urls[0]) else ""
    python = requires.get("python_full_version") or requires.get("python_version") or ""
    return Made(
        "".join(f"{line}\n" for line in lines),
        asks=asks,
        python=str(python)[:40],
        index=first,
        extra_index=tuple(url for url in urls[1:] if not _is_pypi(url)),
        backend=backend,
        members=members,
        exact=exact,
    )
