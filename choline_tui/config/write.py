"""Writing ``choline.toml``: a new one explains every key; an old one keeps what a person wrote in it."""

import os
import re
import tempfile
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import BaseModel
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array, Table

from choline_tui.config.code import CodeTable
from choline_tui.config.environment import EnvironmentTable
from choline_tui.config.project import PROJECT_FILE, Project, read_project
from choline_tui.config.toml import read_toml
from choline_tui.kernel.errors import ProjectError

__all__ = ["SCHEMA_FILE", "edit_text", "new_text", "parse_text", "read_raw", "write_project"]

SCHEMA_FILE = ".choline.schema.json"
"""a copy of the schema beside the project's file, which editors complete from"""

_EXAMPLES: dict[str, Any] = {
    "command": "python train.py",
    "setup": "./prepare.sh",
    "gpu": "1x4090",
    "query": "gpu_ram>=40 inet_down>=500",
    "max_price": 0.9,
    "type": "interruptible",
    "disk": 40,
    "image": "pytorch/pytorch:2.7.1-cuda12.6-cudnn9-runtime",
    "send": ["../corpus"],
    "results": ["checkpoints"],
    "results_exclude": ["*.tmp", "wandb/"],
    "results_keep": 1,
    "results_also": "s3://bucket/runs",
    "exclude": ["*.ckpt"],
    "secrets": ["WANDB_API_KEY"],
    "name": "nightly",
    "tty": True,
}
"""what stands there, commented out, for a key that has no value"""

_TABLES: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    "environment": (
        EnvironmentTable,
        {"from": "uv.lock", "python": "3.11", "apt": ["ffmpeg"], "cuda": "12.6"},
    ),
    "code": (CodeTable, {"clone": True}),
}
"""tables that are there, commented out as a whole where nothing is said of them"""


def new_text(values: Mapping[str, Any], found: Mapping[str, str], *, schema: bool) -> str:
    """A new file. ``values``: by key, dotted for a table's; ``found``: where a value comes from."""
    lines = [f"#:schema ./{SCHEMA_FILE}"] if schema else []
    lines += ["# 'choline check' says whether this is right; 'choline create' runs it."]
    for key, example in _EXAMPLES.items():
        about = (Project.model_fields[key].description or "").replace("\n", " ")
        lines += ["", *_comment(about)]
        if key in values:
            if where := found.get(key):
                lines += _comment(f"from {where}")
            lines.append(f"{key} = {_toml(values[key])}")
        else:
            lines += [f"# {line}" for line in f"{key} = {_toml(example)}".split("\n")]
    for table in _TABLES:
        lines += _table_lines(table, values, found)
    text = "\n".join(lines) + "\n"
    tables = {k: v for k, v in values.items() if k not in _EXAMPLES and k.partition(".")[0] not in _TABLES}
    return edit_text(text, tables) if tables else text


def _table_lines(table: str, values: Mapping[str, Any], found: Mapping[str, str]) -> list[str]:
    model, examples = _TABLES[table]
    named = any(key.startswith(f"{table}.") for key in values)
    lines = ["", *_comment((Project.model_fields[table].description or "").replace("\n", " "))]
    lines.append(f"[{table}]" if named else f"# [{table}]")
    for key, field in model.model_fields.items():
        name = field.alias or key
        if f"{table}.{name}" in values:
            lines += _comment((field.description or "").replace("\n", " "))
            if where := found.get(f"{table}.{name}"):
                lines += _comment(f"from {where}")
            lines.append(f"{name} = {_toml(values[f'{table}.{name}'])}")
        elif name in examples:
            lines.append(f"# {name} = {_toml(examples[name])}")
    return lines


def _comment(text: str) -> list[str]:
    # foreign text must not end the comment: a line break or a control character would
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return [f"# {line}" for line in textwrap.wrap(plain, 100)]


def _toml(value: Any) -> str:
    if isinstance(value, str):
        value = _item(value)
    return str(tomlkit.item(value).as_string())


def edit_text(text: str, changes: Mapping[str, Any]) -> str:
    """``text`` with these keys set (None: taken out); comments, order and spacing of the rest stay. A dotted
    key is one of a table. Raises ProjectError for text that is not TOML."""
    changes = dict(changes)
    for key in [k for k, v in changes.items() if v is not None and "." not in k]:
        if (filled := _uncommented(text, key, changes[key])) is not None:
            text = filled
            del changes[key]
    try:
        document = tomlkit.parse(text)
        for key, value in changes.items():
            table, _, name = key.rpartition(".")
            place: Any = document
            if table:
                if table not in document:
                    if value is None:
                        continue
                    document[table] = tomlkit.table()
                place = document[table]
            if value is None:
                place.pop(name, None)
                if table == "environment" and not place.as_string().strip():
                    # an empty one means: build what is found
                    document.pop(table)
            elif isinstance(value, list) and isinstance(place.get(name), Array):
                _edit_list(place[name], value)
            elif isinstance(place, Table) or place is document:
                place[name] = _item(value)
            else:
                place[name] = value
        changed = tomlkit.dumps(document)
    except (TOMLKitError, RecursionError) as fault:
        raise ProjectError(f"{PROJECT_FILE} cannot be edited: {fault}"[:300]) from None
    return changed


def _edit_list(array: Array, wanted: list[Any]) -> None:
    """Entries that stay keep the comments beside them."""
    for at in reversed(range(len(array))):
        if array[at] not in wanted:
            del array[at]
    for at, value in enumerate(wanted):
        if value not in array:
            array.insert(at, _item(value))
    if list(array.unwrap()) != wanted:  # another order, or the same twice
        array.clear()
        array.extend(wanted)


def _uncommented(text: str, key: str, value: Any) -> str | None:
    """``text`` with the value in place of the commented-out example of a key that it does not have."""
    example = re.compile(rf"^# {re.escape(key)} = .*$", re.MULTILINE)
    written = f"{key} = {_toml(value)}"
    changed = example.sub(lambda _: written, text, count=1)
    try:
        before, after = tomllib.loads(text), tomllib.loads(changed)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    # such a line may stand in a text of several lines, or below a table's head
    return changed if key not in before and after == {**before, key: value} else None


def _item(value: Any) -> Any:
    """As a person would write it: lines as lines, and quotes without backslashes where that can be."""
    if not isinstance(value, str):
        return value
    if "\n" in value:
        return tomlkit.string(value, multiline=True)
    plain = ('"' in value or "\\" in value) and "'" not in value and value.isprintable()
    return tomlkit.string(value, literal=plain)


def read_raw(directory: Path) -> tuple[str, dict[str, Any]] | None:
    """(text, values) of a project's file; None when there is none. Raises ProjectError."""
    file = directory / PROJECT_FILE
    try:
        values = read_toml(file, ProjectError)
        return file.read_text("utf-8"), values
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise ProjectError(f"cannot read {file}: {fault.strerror or fault}") from None


def write_project(directory: Path, text: str, *, schema: str = "") -> Path:
    """Replace the project's file at once, after checking that it can be read as one; ``schema`` goes beside
    it. Raises ProjectError, and nothing is written, when it cannot."""
    file = directory / PROJECT_FILE
    read_project(parse_text(text), directory)
    if schema:
        _replace(directory / SCHEMA_FILE, schema)
    _replace(file, text)
    return file


def parse_text(text: str) -> dict[str, Any]:
    """What a project's file of this text would hold. Raises ProjectError for text that is not TOML."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as fault:
        raise ProjectError(f"{PROJECT_FILE} would not be TOML: {fault}"[:300]) from None


def _replace(file: Path, text: str) -> None:
    try:
        # a link stays a link: what it points to is replaced, with the mode it had
        target = file.resolve()
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        handle, name = tempfile.mkstemp(prefix=".choline-", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            os.chmod(name, mode)
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    except (OSError, UnicodeEncodeError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise ProjectError(f"cannot write {file}: {reason}") from None


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
