"""The answers about a project while they are being given, and the ``choline.toml`` they make.

``Draft`` is what the wizard edits: every answer begins with what was found, what is typed is checked at
once, and ``text`` is the file that would be written, to the letter. It knows no screen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from choline_tui.config.project import PROJECT_FILE, read_project
from choline_tui.config.templates import Template
from choline_tui.config.write import parse_text
from choline_tui.kernel.errors import CholineError, ProjectError, QueryError, UsageError
from choline_tui.model.duration import parse_duration
from choline_tui.model.gpu import gpu_names_for, split_gpu_spec
from choline_tui.model.query import parse_query
from choline_tui.model.tokens import is_secret_name
from choline_tui.secrets.find import recognised
from choline_tui.services.project import Answer, Look, propose, rendered, save
from choline_tui.services.project_check import Problem, check_text

__all__ = [
    "DOWN_COST", "GB", "UPLOAD_MBIT", "Draft", "Sending", "path_of", "read_value", "secret_places",
    "shown_value",
]  # fmt: skip

GB = 1_000_000_000
UPLOAD_MBIT = 20.0
"""Mbit/s that a home's line sends with: a common one, for saying how long an upload takes"""
DOWN_COST = 0.003
"""$/GB that a machine asks for what it receives: what most hosts on the market ask (0 to 0.02)"""

NUMBERS = {"max_price": "$/h", "disk": "GB", "premium": "%", "results_keep": "versions"}
SPANS = ("run.max_life", "run.lease", "run.grace")
LISTS = ("send", "results", "exclude", "secrets")


@dataclass(frozen=True)
class Sending:
    """What going to every machine takes: ``bytes``, ``seconds`` at ``UPLOAD_MBIT``, ``dollars`` at
    ``DOWN_COST``."""

    bytes: int

    @property
    def seconds(self) -> float:
        return self.bytes * 8 / (UPLOAD_MBIT * 1e6)

    @property
    def dollars(self) -> float:
        return self.bytes / GB * DOWN_COST


def shown_value(value: Any) -> str:
    """A value as a person would type it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(each if isinstance(each, str) else str(each.get("path", each)) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_value(key: str, typed: str) -> Any:
    """What was typed for ``key``; None for nothing. Raises UsageError (QueryError for a query)."""
    said = typed.strip()
    if not said:
        return None
    if key in NUMBERS:
        try:
            number = float(said.removeprefix("$").removesuffix("%").removesuffix("GB").strip())
        except ValueError:
            raise UsageError(f"{said[:40]!r} is no number ({NUMBERS[key]})") from None
        if number != number or abs(number) > 1e9:
            raise UsageError(f"{said[:40]!r} is no number ({NUMBERS[key]})")
        return int(number) if number.is_integer() else number
    if key in SPANS:
        try:
            parse_duration(said)
        except ValueError as error:
            raise UsageError(str(error)) from None
        return said
    if key == "gpu":
        gpu_names_for(split_gpu_spec(said)[1])
    elif key == "query":
        parse_query(said)
    return said


def _nested(key: str, value: Any) -> dict[str, Any]:
    table, _, name = key.partition(".")
    return {table: {name: value}} if name else {table: value}


class Draft:
    """``values`` by key, dotted for a table's (None: not to stand in the file); ``others``: what else was
    found; ``wrong``: by key, what was typed that cannot be, and why.

    Nothing here blocks but ``save``.
    """

    def __init__(
        self,
        directory: Path,
        seen: Look,
        *,
        flags: Mapping[str, Any] | None = None,
        schema: bool = True,
    ) -> None:
        self.directory = directory
        self.seen = seen
        self.schema = schema
        self.values: dict[str, Any] = {}
        self._came: dict[str, tuple[Any, str]] = {}
        """by key, a value and what it comes from"""
        self.others: dict[str, tuple[str, ...]] = {}
        self.wrong: dict[str, tuple[str, str]] = {}
        self.templates: Mapping[str, Template] = {}
        """what there is to begin with, by name"""
        self.template = ""
        """name of the one that was taken"""
        self._before: dict[str, tuple[Any, tuple[Any, str] | None, Any]] = {}
        """by key, what a template replaced: value, where it was from, and the template's"""
        self._start(propose(seen))
        for key, value in (flags or {}).items():
            self.values[key] = value
            self._came[key] = (value, "the command line")
        self._touched = bool(flags)

    def _start(self, answers: list[Answer]) -> None:
        if self.seen.current is not None:
            self._read(self.seen.current)
        for answer in answers:
            found = shown_value(answer.value)
            if self.seen.current is None:
                if answer.value is not None:
                    self.values[answer.key] = answer.value
                    self._came[answer.key] = (answer.value, answer.where)
                self.others[answer.key] = tuple(dict.fromkeys(o for o in (found, *answer.others) if o))
            elif answer.key in self.values:
                # the file's own: what was found beside it is in the answer's others
                self._came[answer.key] = (self.values[answer.key], PROJECT_FILE)
                self.others[answer.key] = tuple(dict.fromkeys(o for o in (found, *answer.others) if o))
            elif found:
                self.others[answer.key] = (found, *answer.others)
                self._came[answer.key] = (None, f"not in the file; found: {answer.where}")

    def _read(self, data: Mapping[str, Any]) -> None:
        """All that the file says, as flat keys."""
        self.values = {}
        for key, value in data.items():
            if isinstance(value, Mapping) and key != "filter":
                self.values |= {f"{key}.{name}": inner for name, inner in value.items()}
            else:
                self.values[key] = value

    # ----------------------------------------------------------------------------------- answers

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def where(self, key: str) -> str:
        """What the answer comes from; '' for one that was typed."""
        value, where = self._came.get(key, (None, ""))
        return where if value == self.values.get(key) else ""

    def came_from(self, key: str, value: Any, where: str) -> None:
        """An answer that was not typed."""
        self.values[key] = value
        self._came[key] = (value, where)

    def typed(self, key: str) -> str:
        """What stands in the line of ``key``: what was typed, right or wrong."""
        return self.wrong[key][0] if key in self.wrong else shown_value(self.get(key))

    def put(self, key: str, value: Any) -> str:
        """Take an answer: text as typed, or a list. What is wrong with it, '' for nothing; a wrong one does
        not get into the file, and stays in ``wrong`` until it is put right."""
        try:
            read = read_value(key, value) if isinstance(value, str) else (value or None)
            if read is not None:
                read_project(_nested(key, read), self.directory)
        except CholineError as error:
            message = _about(error, self.directory, key)
            self.wrong[key] = (value if isinstance(value, str) else shown_value(value), message)
            self._touched = True
            return message
        self.wrong.pop(key, None)
        before = self.values.get(key)
        if isinstance(read, list) and isinstance(before, list):
            # what stays keeps its place, and so the comments beside it
            read = [v for v in before if v in read] + [v for v in read if v not in before]
        if read != before:
            self._touched = True
            self.values[key] = read
            if key == "environment.from" and read is None:
                # a table that is there without it would mean: what is found
                self.values.update({k: None for k in self.values if k.startswith("environment.")})
        return ""

    def env(self) -> dict[str, str]:
        """The variables, by name."""
        return {
            key.partition(".")[2]: str(value)
            for key, value in self.values.items()
            if key.startswith("env.") and value is not None
        }

    def put_env(self, name: str, value: str | None) -> str:
        """Set or (None) take out a variable; what is wrong, '' for nothing."""
        if value is not None:
            try:
                read_project({"env": {name: value}}, self.directory)
            except CholineError as error:
                return _about(error, self.directory, "env")
        self._touched = True
        self.values[f"env.{name}"] = value
        return ""

    def apply(self, name: str, values: Mapping[str, Any]) -> None:
        """Take a template's answers over what was found; what a template does not say stays. ``name`` '':
        none any more; what it brought, and nobody changed since, goes back to what it was."""
        for key, (value, came, taken) in self._before.items():
            if came is not None:
                self._came[key] = came
            else:
                self._came.pop(key, None)
            if self.values.get(key) == taken:
                self.values[key] = value
        self._before = {}
        for key, value in values.items():
            self._before[key] = (self.values.get(key), self._came.get(key), value)
            self.came_from(key, value, f"template {name}")
            self.wrong.pop(key, None)
        self.template = name
        self._touched = True

    def data(self) -> dict[str, Any]:
        """What the file would hold. Raises ProjectError as ``text``."""
        return parse_text(self.text())

    # -------------------------------------------------------------------------------------- file

    @property
    def new(self) -> bool:
        """There is no file yet."""
        return self.seen.text is None or not (self.directory / PROJECT_FILE).exists()

    @property
    def touched(self) -> bool:
        """Something would be lost by leaving."""
        return self._touched

    def text(self) -> str:
        """The file as it would be written. Raises ProjectError when the file that is there is none that can
        be edited."""
        found = {key: where for key in self.values if (where := self.where(key))}
        return rendered(self.seen, self.values, found, schema=self.schema)

    def take_text(self, text: str) -> None:
        """The file as a person edited it is what counts from now on. Raises ProjectError for what is no
        TOML: the answers could not be told from it."""
        if text == self.text():
            return
        data = parse_text(text)
        self.seen = replace(self.seen, text=text, current=data)
        before = dict(self.values)
        self._read(data)
        for key, value in self.values.items():
            if value != before.get(key):
                self._came[key] = (value, "edited by hand")
        self.wrong.clear()
        self._touched = True

    def check(self, text: str) -> list[Problem]:
        """What is wrong with ``text``, each at its place. Blocks on the disk for a moment."""
        return check_text(text, self.directory)

    def save(self, text: str) -> Path:
        """Write it. Raises ProjectError, and nothing is written, when it cannot be."""
        if self.wrong:
            key, (typed, message) = next(iter(self.wrong.items()))
            raise ProjectError(f"{key}: {message}", hint=f"Correct {typed[:60]!r}, or take it out.")
        file = save(self.directory, text, schema=self.schema and "#:schema" in text)
        self.seen = replace(self.seen, text=text, current=parse_text(text))
        self._touched = False
        return file

    # ------------------------------------------------------------------------------- what is sent

    def sending(self) -> Sending:
        """Code and data as they were found. Of paths outside the project nobody has counted the bytes."""
        total = self.seen.survey.sent_bytes
        sizes = {each.path: each.bytes - each.sent for each in self.seen.survey.data}
        for item in self.get("send") or ():
            total += sizes.get(path_of(item), 0)
        return Sending(total)


def secret_places(seen: Look) -> dict[str, list[str]]:
    """Names of variables that hold secrets, each with the places of its value; likely ones first. A machine
    of ``.netrc`` stands under the variable that is known for it."""
    places = {name: [where] for name, where in seen.secrets.items() if where}
    for each in seen.survey.secrets:
        name = recognised(each.value) if each.where == "~/.netrc" else each.value
        if name and each.where not in places.setdefault(name, []):
            places[name].append(each.where)
    # the account's own key never leaves home
    places.pop("VAST_API_KEY", None)
    return dict(sorted(places.items(), key=lambda item: not is_secret_name(item[0])))


def path_of(item: Any) -> str:
    """The path of an entry of ``send``."""
    return str(item.get("path", "")) if isinstance(item, Mapping) else str(item)


def _about(error: CholineError, directory: Path, key: str) -> str:
    """Without the file's name and the key: they stand beside it."""
    message = error.message
    for start in (str(directory / PROJECT_FILE), ":", " [run]", ":", f" {key}", f" {key.partition('.')[2]}"):
        message = message.removeprefix(start)
    message = message.lstrip(": ")
    return f"{message}. {error.hint}" if error.hint and isinstance(error, QueryError) else message
