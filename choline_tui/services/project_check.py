"""Checking a project's ``choline.toml`` without the market: each mistake with its line, column and key."""

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from choline_tui.config.home import load
from choline_tui.config.locate import locate, syntax_error
from choline_tui.config.paths import Paths
from choline_tui.config.project import PROJECT_FILE, Project, read_project
from choline_tui.config.settings import RunSettings
from choline_tui.config.toml import checked as checked_values
from choline_tui.config.toml import read_toml
from choline_tui.config.write import parse_text
from choline_tui.kernel.errors import CholineError, ProjectError, QueryError, UsageError
from choline_tui.model.environment import Environment
from choline_tui.model.fit_environment import fit_environment, unpacked_bytes
from choline_tui.model.gpu import gpu_names_for, split_gpu_spec
from choline_tui.model.query import parse_query
from choline_tui.secrets import find, missing_error
from choline_tui.services.fit import differences, missing_script
from choline_tui.survey import Survey, size_of, survey
from choline_tui.survey.packages import read_packages

__all__ = ["Checked", "Problem", "check_file", "check_text"]

GB = 1_000_000_000


@dataclass(frozen=True)
class Problem:
    """``line`` and ``column`` count from 1; 0: no place in the file. ``fatal``: no run could start."""

    message: str
    key: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""
    fatal: bool = True


@dataclass
class Checked:
    """``project`` is None when the file cannot be read as one. Sizes in bytes."""

    file: str
    project: Project | None = None
    problems: list[Problem] = field(default_factory=list)
    environment: Environment | None = None
    """what would be built; None when the file asks for nothing, or it cannot be"""
    code_files: int = 0
    code_bytes: int = 0
    data: list[tuple[str, int, bool]] = field(default_factory=list)
    """(path, bytes, whether all of it could be counted) of what ``send`` names"""
    secrets: dict[str, str] = field(default_factory=dict)
    """where the value of each secret is; '' for one that is missing"""

    @property
    def good(self) -> bool:
        return not any(problem.fatal for problem in self.problems)


def check_file(
    directory: Path, environ: Mapping[str, str], *, clock: Callable[[], float] = time.monotonic
) -> Checked:
    """Everything about a project that can be said without the market. Mistakes are returned, each at its
    place; raises ProjectError only when there is no file to check, ConfigError for the home's own."""
    file = directory / PROJECT_FILE
    checked = Checked(str(file))
    try:
        text = file.read_text("utf-8", errors="replace") if file.stat().st_size <= 1 << 20 else ""
        data = read_toml(file, ProjectError)
    except FileNotFoundError:
        raise ProjectError(
            f"there is no {PROJECT_FILE} in {directory}", hint="'choline init' writes one."
        ) from None
    except OSError as error:
        raise ProjectError(f"cannot read {file}: {error.strerror or error}") from None
    except ProjectError as error:
        line, column = syntax_error(text) or (0, 0)
        checked.problems.append(Problem(_without(error, file), "", line, column, error.hint))
        return checked
    try:
        project = read_project(data, directory)
    except UsageError as error:
        checked.problems += _mistakes(text, data, error, file)
        return checked
    checked.project = project
    home = load(Paths(environ=environ), environ, project).settings.run
    _conditions(checked, project, data, text)
    if not project.command.strip():
        hint = 'Add command = "python train.py", or give it: choline run -- python train.py'
        checked.problems.append(Problem("command is missing: there is nothing to run", "command", hint=hint))
    for item in project.send:
        if not item.remote:
            _sent(checked, item.path, directory, text, clock)
    found = survey(str(directory), environ, exclude=project.excluded, clock=clock)
    checked.code_files, checked.code_bytes = found.sent_files, found.sent_bytes
    _environment(checked, project, home, text)
    _script(checked, project, text)
    hint = "Bring the file up to date: choline init"
    told = [problem.message for problem in checked.problems]
    checked.problems += [
        Problem(each, hint=hint, fatal=False)
        for each in differences(project)
        if not any(each.partition(",")[0] in message for message in told)
    ]
    _secrets(checked, project, environ, text)
    _unnamed(checked, project, found)
    _warnings(checked, found, home.disk, text)
    return checked


def check_text(text: str, directory: Path) -> list[Problem]:
    """What is wrong with a file of this text in ``directory``, as ``check_file`` says it but for sizes: quick
    enough for every key that is typed."""
    checked = Checked(str(directory / PROJECT_FILE))
    try:
        data = parse_text(text)
    except ProjectError as error:
        line, column = syntax_error(text) or (0, 0)
        message = re.sub(r" \((?:at line .*|at end of document)\)$", "", error.message)
        message = message.replace(f"{PROJECT_FILE} would not be TOML", "this is not TOML")
        return [Problem(message, "", line, column, 'Text needs quotes: key = "value".')]
    try:
        project = read_project(data, directory)
    except UsageError as error:
        return _mistakes(text, data, error, Path(checked.file))
    checked.project = project
    _conditions(checked, project, data, text)
    if not project.command.strip():
        hint = 'Add command = "python train.py", or give it: choline run -- python train.py'
        checked.problems.append(Problem("command is missing: there is nothing to run", "command", hint=hint))
    for item in project.send:
        if not item.remote:
            _there(checked, item.path, directory, text)
    _script(checked, project, text)
    return checked.problems


def _without(error: CholineError, file: Path) -> str:
    """The message without the file's name, which stands before it anyway."""
    return error.message.removeprefix(f"{file}").removeprefix(":").strip()


def _missing(data: Mapping[str, Any], key: str) -> bool:
    return key.partition("[")[0].partition(".")[0] not in data


def _key_of(error: CholineError, data: Mapping[str, Any]) -> str:
    key = str(error.details.get("key", ""))
    if key and _missing(data, key) and "[run]" in error.message:
        return f"run.{key}"
    if not key:  # two keys that exclude each other: the later words name them
        said = re.search(r": (\w+) (?:and|stands)", error.message)
        key = said[1] if said else ""
    return key


def _mistakes(text: str, data: Mapping[str, Any], error: CholineError, file: Path) -> list[Problem]:
    """All that a file's values are wrong in, in the order of the file."""
    errors = [error]
    run = data.get("run")
    if isinstance(run, Mapping) and "[run]" not in error.message:
        try:
            checked_values(RunSettings, run, f"{file}: [run]", ProjectError)
        except UsageError as other:
            errors.append(other)
    found = []
    for each in errors:
        found.append(_at(text, each, _key_of(each, data), file))
        for key, message, hint in each.details.get("more", ()):
            more = ProjectError(message, hint=hint, key=key)
            found.append(_at(text, more, _key_of(more, data), file))
    return sorted(found, key=lambda problem: (problem.line, problem.column))


def _at(text: str, error: CholineError, key: str, file: Path, offset: int | None = None) -> Problem:
    place = locate(text, key) if key else None
    line, column = (place.line, place.column) if place else (0, 0)
    if place and place.value and offset is not None:
        # a mistake inside the text of a value: exact where the text stands in one plain string
        column = place.value + 1 + offset
    message = _without(error, file)
    if key.startswith("run."):  # the key says it
        message = message.removeprefix("[run]:").strip().removeprefix(f"{key[4:]}:").strip()
    return Problem(message, key, line, column, error.hint)


def _conditions(checked: Checked, project: Project, data: Mapping[str, Any], text: str) -> None:
    file = Path(checked.file)
    if project.gpu:
        try:
            gpu_names_for(split_gpu_spec(project.gpu)[1])
        except QueryError as error:
            checked.problems.append(_at(text, error, "gpu", file))
    query = data.get("query")
    if isinstance(query, str):
        try:
            parse_query(query)
        except QueryError as error:
            column = error.details.get("column")
            checked.problems.append(
                _at(text, error, "query", file, int(column) if column is not None else None)
            )


def _there(checked: Checked, path: str, directory: Path, text: str) -> None:
    if "://" in path:
        return
    full = os.path.abspath(directory / Path(path).expanduser())  # noqa: PTH100 - links are kept
    if not Path(full).exists():
        place = locate(text, "send")
        line, column = (place.line, place.column) if place else (0, 0)
        hint = "Correct the path, or make the data first."
        checked.problems.append(Problem(f"there is no {full}", "send", line, column, hint))


def _sent(checked: Checked, path: str, directory: Path, text: str, clock: Callable[[], float]) -> None:
    full = os.path.abspath(directory / Path(path).expanduser())  # noqa: PTH100 - links are kept
    place = locate(text, "send")
    line, column = (place.line, place.column) if place else (0, 0)
    try:
        size, whole = size_of(full, clock)
    except FileNotFoundError:
        hint = "Correct the path, or make the data first."
        checked.problems.append(Problem(f"there is no {full}", "send", line, column, hint))
    except OSError as error:
        message = f"cannot read {full}: {error.strerror or error}"
        checked.problems.append(Problem(message, "send", line, column))
    else:
        checked.data.append((full, size, whole))


def _secrets(checked: Checked, project: Project, environ: Mapping[str, str], text: str) -> None:
    """Where each value is; none is told. A run would be refused without one."""
    if not project.secrets:
        return
    place = locate(text, "secrets")
    line, column = (place.line, place.column) if place else (0, 0)
    try:
        found = find(project.secrets, project.directory, environ)
    except UsageError as error:
        checked.problems.append(Problem(error.message, "secrets", line, column, error.hint))
        return
    checked.secrets = found.places
    if found.missing:
        missing = missing_error(found)
        checked.problems.append(Problem(missing.message, "secrets", line, column, missing.hint))


def _unnamed(checked: Checked, project: Project, found: Survey) -> None:
    for each in found.needs:
        if each.value not in project.secrets and each.value not in project.env:
            message = f"{each.where} seems to need {each.value}, which the run will not have"
            hint = f'If it does: secrets = ["{each.value}"]'
            checked.problems.append(Problem(message, "secrets", hint=hint, fatal=False))


def _environment(checked: Checked, project: Project, home: RunSettings, text: str) -> None:
    """Whether the packages could be had, would run on the query's machines, and fit on the disk."""
    table = project.environment
    if table is None:
        return
    place = locate(text, "environment.from") or locate(text, "environment")
    line, column = (place.line, place.column) if place else (0, 0)
    try:
        found = read_packages(
            str(project.directory), table.from_, python=table.python or "", extras=tuple(table.extras)
        )
        if found.missing:
            raise found.no_wheels()
        environment = found.environment.model_copy(update={"apt": list(table.apt)})
        if environment.built:
            environment = fit_environment(
                environment,
                found.asks,
                parse_query(project.query),
                home.image,
                cuda=table.cuda if table.cuda != "auto" else found.cuda or "auto",
                index=table.index or "",
                extra_index=table.extra_index,
            )
    except QueryError:
        return  # told where it stands
    except UsageError as error:
        checked.problems.append(Problem(error.message, "environment", line, column, error.hint))
        return
    checked.environment = environment
    packages = unpacked_bytes(environment)
    rest = checked.code_bytes + sum(size for _, size, _ in checked.data)
    if packages and rest <= home.disk * GB < rest + packages:
        place = locate(text, "disk")
        line, column = (place.line, place.column) if place else (0, 0)
        message = (
            f"the disk of {home.disk:g} GB is too small for {rest / GB:.1f} GB of code and data and about "
            f"{packages / GB:.1f} GB of packages"
        )
        checked.problems.append(Problem(message, "disk", line, column, "Make it larger: disk = ..."))


def _script(checked: Checked, project: Project, text: str) -> None:
    """A command whose script is not there would rent a machine to fail on it."""
    if script := missing_script(project):
        place = locate(text, "command")
        line, column = (place.line, place.column) if place else (0, 0)
        hint = "Correct the command, or make the script first."
        message = f"the command names {script}, which is not in the project"
        checked.problems.append(Problem(message, "command", line, column, hint, fatal=False))


def _warnings(checked: Checked, found: Survey, disk: float, text: str) -> None:
    total = checked.code_bytes + sum(size for _, size, _ in checked.data)
    if total > disk * GB:
        place = locate(text, "disk")
        line, column = (place.line, place.column) if place else (0, 0)
        message = f"the disk of {disk:g} GB is too small for {total / GB:.1f} GB of code and data"
        checked.problems.append(Problem(message, "disk", line, column, "Make it larger: disk = ..."))
    for each in found.secret_files:
        message = f"{each.value} holds {each.note} and goes with the code"
        checked.problems.append(Problem(message, "exclude", hint=f'exclude = ["/{each.value}"]', fatal=False))
    for each in found.large:
        message = f"{each.value} ({int(each.note) / 1e6:.0f} MB) goes with the code, to every machine"
        hint = "Name it in 'exclude', or in 'send' if it is data."
        checked.problems.append(Problem(message, "exclude", hint=hint, fatal=False))
    checked.problems += [Problem(note, fatal=False) for note in found.notes]
