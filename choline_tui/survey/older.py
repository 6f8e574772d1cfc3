"""What older generations of the tool, and the cluster scheduler it learned from, left in a project.

``.choline.json`` (also ``choline.json``), ``choline.yaml`` in all its versions, ``.pitrequest.txt`` with
``.compute``. Every key is either taken or told as not taken, with the reason. Secrets in them are never
read into an answer.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml  # type: ignore[import-untyped]

from choline_tui.survey.found import tellable
from choline_tui.survey.tree import read_text

__all__ = ["Older", "Taken", "read_older"]

MAX_FILE = 1 << 20
_FILES = ("choline.yaml", "choline.yml", ".choline.json", "choline.json")
_UPLOADS = ("upload_locations", "checkpoint_upload_locations", "direct_copy_upload_locations")
_FILTERS = ("hardware_filters", "gpu_filters", "gpuFilters")
_SECRET = re.compile(r"token|api_?key|password|secret|username", re.IGNORECASE)
_RECORDED = ("python_version", "conda_version", "local_cuda_version", "requirements")
_BOUND = re.compile(r"\s*(>=|<=|>|<|=|==)?\s*(\d{1,6})(?:\.\d+)?\s*(?:gb)?\s*", re.IGNORECASE)
_REQUEST = re.compile(r"(?:(\d{1,3})\s*:\s*)?\[([^\[\]]*)\]")


@dataclass(frozen=True)
class Taken:
    """One key of ``choline.toml``: ``value`` as it would stand there."""

    key: str
    value: Any
    where: str


@dataclass
class Older:
    files: list[str] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """what could not be taken, and why"""

    def take(self, key: str, value: Any, where: str) -> None:
        if all(each.key != key for each in self.taken):
            self.taken.append(Taken(key, value, where))


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Without aliases: a small file must not grow when it is read."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def read_older(directory: str) -> Older:
    """Raises nothing: a file that cannot be read is told."""
    found = Older()
    for name in _FILES:
        text = read_text(os.path.join(directory, name), MAX_FILE)
        if not text.strip():
            continue
        found.files.append(name)
        try:
            data = json.loads(text) if name.endswith("json") else yaml.load(text, _Loader)  # noqa: S506
        except (ValueError, RecursionError, yaml.YAMLError):
            kind = "JSON" if name.endswith("json") else "plain YAML"
            found.told.append(f"{name} cannot be read: it is not {kind}")
            continue
        if isinstance(data, Mapping):
            _settings(found, {str(k): v for k, v in data.items()}, name, directory)
        else:
            found.told.append(f"{name} holds no settings")
    _cluster(found, directory)
    return found


def _text(value: Any) -> str:
    """A value as one line of text, '' when it is none."""
    line = str(value).strip() if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""
    return line if tellable(line) else ""


def _settings(found: Older, data: dict[str, Any], name: str, directory: str) -> None:
    for key, value in data.items():
        where = f"{name}: {key[:60]}"
        if key == "image":
            if image := _text(value):
                found.take("image", image, where)
        elif key in ("onStart", "onstart", "on_start"):
            _command(found, value, where)
        elif key in _UPLOADS:
            _uploads(found, value, where, directory)
        elif key in _FILTERS:
            _hardware(found, value, where)
        elif key == "ignore":
            patterns = [p for p in map(_text, value if isinstance(value, list) else []) if p]
            if patterns:
                found.take("exclude", patterns, where)
        elif key == "max_life":
            minutes = _text(value)
            if minutes.isdecimal() and int(minutes):
                found.take("run.max_life", f"{int(minutes)}m", where)
        elif key == "setup_script":
            _setup(found, value, where)
        elif _SECRET.search(key):
            found.told.append(f"{where} is a secret: it was not read. Take it out of the file.")
        elif key in _RECORDED:
            found.told.append(f"{where} only recorded what was on the old computer; it is looked up again")
        elif value not in (None, "", [], {}, False):
            found.told.append(f"{where} has nothing that corresponds")


def _command(found: Older, value: Any, where: str) -> None:
    text = value.strip() if isinstance(value, str) else ""
    if not text or "choline_setup" in text:
        if text:
            found.told.append(f"{where} is the old tool's own start-up script; choline has its own")
    elif tellable(text):
        found.take("command", text, where)
    else:
        found.told.append(f"{where} has several lines: put them in a script, and name that as the command")


def _uploads(found: Older, value: Any, where: str, directory: str) -> None:
    items = value if isinstance(value, list) else str(value).split(",") if value else []
    wanted: list[str] = []
    for item in items[:1000]:
        path = _text(item)
        # answers to "y/n" and empty ones were written among the paths
        if not path or path.lower() in ("y", "n"):
            continue
        full = os.path.abspath(os.path.join(directory, os.path.expanduser(path)))
        if os.path.commonpath([full, directory]) == directory:
            if full != directory:
                found.told.append(f"{where}: {path} lies in the project and goes with the code, or as data")
        elif not os.path.exists(full):
            found.told.append(f"{where}: there is no {path} any more")
        elif path not in wanted:
            wanted.append(path)
    if wanted:
        earlier = next((t for t in found.taken if t.key == "send"), None)
        if earlier is not None:
            found.taken.remove(earlier)
            wanted = list(dict.fromkeys([*earlier.value, *wanted]))
        found.take("send", wanted, where)


def _hardware(found: Older, value: Any, where: str) -> None:
    if isinstance(value, str):
        if query := _text(value):
            found.take("query", query, where)
        return
    if not isinstance(value, Mapping):
        return
    terms = []
    count = _text(value.get("num_gpus")) or "1"
    names = [n.strip() for n in re.split(r"[|,]", _text(value.get("gpu_name"))) if n.strip()]
    if len(names) == 1 and names[0].lower() != "any" and count.isdecimal():
        found.take("gpu", f"{int(count)}x{names[0].replace('_', ' ')}", f"{where}.gpu_name")
    else:
        if len(names) > 1:
            listed = ",".join(n.replace(" ", "_") for n in names)
            terms.append(f"gpu_name in [{listed}]")
        if count.isdecimal():
            terms.append(f"num_gpus={int(count)}")
    if ram := _BOUND.fullmatch(_text(value.get("cpu_ram"))):
        terms.append(f"cpu_ram{ram[1] or '>='}{ram[2]}")
    if disk := _BOUND.fullmatch(_text(value.get("disk_space"))):
        found.take("disk", int(disk[2]) + (disk[1] == ">"), f"{where}.disk_space")
    if terms:
        found.take("query", " ".join(terms), where)
    for key in value:
        if key not in ("gpu_name", "num_gpus", "cpu_ram", "disk_space"):
            found.told.append(f"{where}.{str(key)[:60]} has nothing that corresponds")


def _setup(found: Older, value: Any, where: str) -> None:
    """The packages it installs, one line each; the rest cloned, waited and started by itself."""
    packages: list[str] = []
    for line in str(value).split("\n"):
        said = re.match(r"\s*(?:python3?\s+-m\s+)?pip3?\s+install\s+([^|&;]+)", line)
        if said and tellable(said[1].strip()):
            packages.append(said[1].strip())
    if packages:
        found.take("setup", " && ".join(f"pip install {each}" for each in packages), where)
    found.told.append(
        f"{where}: of the script only its pip lines are taken ({len(packages)}); choline sends code and"
        " starts the command itself"
    )


def _cluster(found: Older, directory: str) -> None:
    """``[8:gtx1070]``, ``2:[8:gtx1070]``, ``[]``: processes, each with its GPUs."""
    name = ".pitrequest.txt"
    text = " ".join(read_text(os.path.join(directory, name), 10_000).split())
    if text:
        found.files.append(name)
        groups = list(_REQUEST.finditer(text))
        first = groups[0] if groups and groups[0].start() == 0 else None
        if first is None:
            found.told.append(f"{name} cannot be read: it holds no [request]")
        else:
            gpus = [p for p in first[2].split(",") if p.strip() and not p.strip().lower().startswith("cpu")]
            said = re.fullmatch(r"\s*(?:(\d{1,3})\s*:\s*)?([\w. -]{1,60}?)\s*", gpus[0]) if gpus else None
            if said and int(said[1] or 1):
                found.take("gpu", f"{int(said[1] or 1)}x{said[2]}", name)
            elif gpus:
                found.told.append(f"{name}: {gpus[0].strip()[:60]!r} is no number of GPUs")
            if len(groups) > 1 or int(first[1] or 1) > 1 or len(gpus) > 1:
                found.told.append(f"{name} asks for several processes; a run is one, on one machine")
    script = read_text(os.path.join(directory, ".compute"), MAX_FILE)
    if script.strip():
        found.files.append(".compute")
        found.take("command", "bash .compute", ".compute")
        names = sorted(set(re.findall(r"\$\{?((?:SHARED|USER|JOB|SRC|\w+_GROUP)_DIR)\b", script)))
        if names:
            found.told.append(
                f".compute uses {', '.join(names)[:200]}: now CHOLINE_DATA, CHOLINE_KEEP, CHOLINE_RESULTS"
            )
