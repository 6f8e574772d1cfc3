"""Setting up a project: look first, propose an answer for every question, write ``choline.toml``.

``choline init`` is these functions with flags and plain questions over them; ``project_check`` looks at what
stands there. All of them block on the disk: a screen calls them in a thread.
"""

import re
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from choline_tui.config.environment import readable_source
from choline_tui.config.home import load
from choline_tui.config.paths import Paths
from choline_tui.config.project import PROJECT_FILE
from choline_tui.config.schema import shipped_schema
from choline_tui.config.settings import RunSettings
from choline_tui.config.write import edit_text, new_text, read_raw, write_project
from choline_tui.kernel.errors import ProjectError, QueryError, UsageError
from choline_tui.model.gpu import gpu_names_for, split_gpu_spec
from choline_tui.model.image import cuda_of
from choline_tui.model.query import parse_query
from choline_tui.secrets import find
from choline_tui.survey import Older, Survey, read_older, survey
from choline_tui.survey.packages import read_packages

__all__ = [
    "QUESTIONS",
    "Answer",
    "Look",
    "as_pattern",
    "look",
    "propose",
    "rendered",
    "save",
]

GB = 1_000_000_000
PACKAGES_GB = 20
"""what an image's writable part and a set-up of torch take"""

QUESTIONS: dict[str, str] = {
    "command": "Command that trains",
    "environment.from": "Packages that uv installs there (a file; image: it has them)",
    "setup": "Set-up before it, in the shell",
    "gpu": "Number and kind of GPUs",
    "query": "More conditions over offers",
    "max_price": "Most $/h, disk included",
    "disk": "Disk in GB",
    "image": "Container image",
    "send": "Data to send beside the code",
    "results": "Directories that are results",
    "exclude": "Code that is not sent (patterns)",
    "secrets": "Secrets that it needs, by name (values stay where they are)",
}
"""asked in this order"""


@dataclass(frozen=True)
class Answer:
    """A proposal. ``value`` None: the key would not stand in the file; ``others``: what else was found."""

    key: str
    value: Any
    where: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Look:
    """What there is. ``text`` and ``current``: the project's file, None when there is none yet."""

    survey: Survey
    older: Older
    text: str | None
    current: dict[str, Any] | None
    settings: RunSettings
    secrets: Mapping[str, str] = field(default_factory=dict)
    """where the values are of the secrets that the code seems to need; '' for one that is missing"""


def look(
    directory: Path,
    environ: Mapping[str, str],
    *,
    history: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Look:
    """Look at a project; ``history``: the shells' histories too. Blocks for seconds at most.

    Raises ProjectError when the directory, or a ``choline.toml`` in it, cannot be read; ConfigError.
    """
    if not directory.is_dir():
        raise ProjectError(f"there is no directory {directory}", hint="Give one that is there.")
    raw = read_raw(directory)
    exclude = raw[1].get("exclude", []) if raw else []
    patterns = [p for p in exclude if isinstance(p, str)] if isinstance(exclude, list) else []
    found = survey(str(directory), environ, history=history, exclude=patterns, clock=clock)
    settings = load(Paths(environ=environ), environ).settings.run
    text, current = raw if raw else (None, None)
    needed = _places([each.value for each in found.needs], directory, environ)
    return Look(found, read_older(str(directory)), text, current, settings, needed)


def _places(names: list[str], directory: Path, environ: Mapping[str, str]) -> dict[str, str]:
    try:
        return find(names, directory, environ).places if names else {}
    except UsageError:  # a file that cannot be read: the check says so, for those that are named
        return dict.fromkeys(names, "")


def propose(seen: Look) -> list[Answer]:
    """An answer for every question, and for keys that only an older file has. What stands in the project's
    file comes first, then what an older generation left, then what was found."""
    made = {answer.key: answer for answer in _found(seen)}
    for taken in seen.older.taken:
        value = _checked_older(taken.key, taken.value)
        if value is not None:
            before = made.get(taken.key)
            others = (str(before.value),) if before is not None and before.value is not None else ()
            if taken.key in ("send", "exclude") and before is not None:
                value, others = list(dict.fromkeys([*before.value, *value])), ()
                made[taken.key] = Answer(taken.key, value, f"{before.where}; {taken.where}")
                continue
            if taken.key == "disk" and before is not None and isinstance(before.value, int):
                value = max(value, before.value)
            made[taken.key] = Answer(taken.key, value, taken.where, others)
    if seen.current is not None:
        table = seen.current.get("environment")
        inner = {f"environment.{k}": v for k, v in table.items()} if isinstance(table, dict) else {}
        if "environment.from" in made and "environment.from" not in inner:
            # an empty table takes what is found, and without one the set-up is the person's own
            offered = made["environment.from"]
            made[offered.key] = Answer(offered.key, None, "", (str(offered.value), *offered.others))
        for key, value in {**seen.current, **inner}.items():
            if key in QUESTIONS:
                others = (str(made[key].value),) if key in made and made[key].value is not None else ()
                made[key] = Answer(key, value, PROJECT_FILE, others)
    extra = [answer for key, answer in made.items() if key not in QUESTIONS]
    return [made.get(key) or Answer(key, None, "") for key in QUESTIONS] + extra


def _checked_older(key: str, value: Any) -> Any:
    """None for what today's file would refuse."""
    try:
        if key == "gpu":
            gpu_names_for(split_gpu_spec(value)[1])
        elif key == "query":
            parse_query(value)
        elif key == "disk" and not 1 <= value <= 100_000:
            return None
    except QueryError:
        return None
    return value


def _found(seen: Look) -> list[Answer]:
    found = seen.survey
    command, setup = _command(found), _setup(found)
    packages = None if any(taken.key == "setup" for taken in seen.older.taken) else _packages(found)
    answers = [command, setup, _gpu(found, str(command.value or "")), _query(seen)]
    answers += [packages, *_python(found)] if packages is not None else []
    send = [d for d in found.data if d.sent < d.bytes]
    gigabytes = (sum(d.bytes for d in send) + found.sent_bytes) / GB
    disk = 10 * -(-(PACKAGES_GB + 2.5 * gigabytes) // 10) if gigabytes >= 0.5 else seen.settings.disk
    if disk > seen.settings.disk:
        answers.append(
            Answer("disk", int(disk), f"{gigabytes:.1f} GB to send, packages and room for results")
        )
    if found.images:
        answers.append(Answer("image", found.images[0].value, found.images[0].where))
    if send:
        where = ", ".join(f"{d.path} ({d.bytes / 1e6:.0f} MB, {d.why})" for d in send)
        answers.append(Answer("send", [d.path for d in send], where))
    results = [d for d in found.results if d.path != "results"]
    if results:
        where = ", ".join(f"{d.path} ({d.why})" for d in results)
        answers.append(Answer("results", [d.path for d in results], where))
    if found.secret_files:
        where = "secrets that would go with the code"
        answers.append(Answer("exclude", ["/" + as_pattern(f.value) for f in found.secret_files], where))
    return answers + _secrets(seen)


def _python(found: Survey) -> list[Answer]:
    """The active environment's own, where no file of the project says which: what ran here runs there."""
    said = [f for f in found.python if f.where in (".python-version", "pyproject.toml")]
    if said or not found.python:
        return []
    first = found.python[0]
    return [
        Answer("environment.python", ".".join(first.value.split(".")[:2]), f"{first.where}: {first.note}")
    ]


def as_pattern(path: str) -> str:
    """A pattern of ignore rules that means this path and nothing else."""
    return re.sub(r"([*?\[\\])", r"\\\1", path)


def _secrets(seen: Look) -> list[Answer]:
    """Those that have a value here: one without would keep every run from starting."""
    needs = {each.value: each.where for each in seen.survey.needs}
    here = [name for name in needs if seen.secrets.get(name)]
    there = [name for name in needs if not seen.secrets.get(name)]
    words = [f"{needs[name]} needs {name} (found in {seen.secrets[name]})" for name in here]
    words += [f"{needs[name]} seems to need {name}, which has no value here" for name in there]
    return [Answer("secrets", here or None, "; ".join(words), tuple(there))] if needs else []


def _command(found: Survey) -> Answer:
    if not found.commands:
        return Answer("command", None, "")
    first = found.commands[0]
    where = f"{first.where}: {first.note}" if first.note else first.where
    return Answer("command", first.value, where, tuple(f.value for f in found.commands[1:6]))


def _packages(found: Survey) -> Answer | None:
    """The first file that an environment can be built from; those that cannot are told with the reason."""
    names, refused = [each.value for each in found.dependencies], []
    for at, name in enumerate(names):
        try:
            readable_source(name)
            if (Path(found.directory) / name).is_file():
                read_packages(found.directory, name)
        except (ProjectError, ValueError) as error:
            refused.append(error.message if isinstance(error, ProjectError) else str(error))
            continue
        where = "; ".join([found.dependencies[at].where, *refused])
        return Answer("environment.from", name, where, (*names[at + 1 : at + 4], "image"))
    return Answer("environment.from", None, "; ".join(refused), ("image",)) if refused else None


def _setup(found: Survey) -> Answer:
    """Links from where the code looks for data to where it lies."""
    steps, where = [], []
    for place in found.data:
        # part of it in the code: a link cannot stand where a directory is
        if place.sent == 0 and place.bytes:
            parent, _, name = place.path.rpartition("/")
            link = f'ln -sfn "$CHOLINE_DATA"/{shlex.quote(name)} {shlex.quote(place.path)}'
            steps.append(f"mkdir -p {shlex.quote(parent)} && {link}" if parent else link)
            where.append(f"a link to where {place.path} is sent to")
    return Answer("setup", " && ".join(steps) or None, ", ".join(where))


def _gpu(found: Survey, command: str) -> Answer:
    said = re.search(r"--(?:nproc[-_]per[-_]node|num[-_]processes|num[-_]gpus)[= ](\d{1,2})\b", command)
    count = int(said[1]) if said and 1 <= int(said[1]) <= 64 else 1
    for gpu in found.gpus:
        try:
            names = gpu_names_for(gpu.value)
        except QueryError:
            continue
        return Answer("gpu", f"{max(count, len(found.gpus))}x{names[0]}", f"{gpu.where}: {gpu.value} is here")
    where = "a common one; nothing found says which"
    return Answer("gpu", f"{count}x4090", f"the command's {said[0].strip()}; {where}" if said else where)


def _query(seen: Look) -> Answer:
    """The driver that pinned packages need, where the image does not ask for it already."""
    image = seen.survey.images[0].value if seen.survey.images else seen.settings.image
    has = _version(cuda_of(image) or "0")
    for each in seen.survey.cuda:
        if each.where != "nvcc" and _version(each.value) > has:
            return Answer("query", f"cuda_max_good>={each.value}", f"{each.where}: {each.note}")
    return Answer("query", None, "")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def rendered(seen: Look, values: Mapping[str, Any], found: Mapping[str, str], *, schema: bool = True) -> str:
    """The file as it would be written. ``values`` by key (dotted for a table's), None for a key that is not
    to stand there; ``found``: where each comes from. An existing file is edited, all else in it stays."""
    if seen.text is None:
        return new_text({k: v for k, v in values.items() if v is not None}, found, schema=schema)
    current = seen.current or {}
    changed = {k: v for k, v in values.items() if _dug(current, k) != v}
    return edit_text(seen.text, changed) if changed else seen.text


def _dug(data: Mapping[str, Any], key: str) -> Any:
    value: Any = data
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def save(directory: Path, text: str, *, schema: bool = True) -> Path:
    """Write the file, and beside it the schema that it names; checked first. Raises ProjectError."""
    return write_project(directory, text, schema=shipped_schema() if schema else "")
