"""Reading a TOML file against a pydantic model: every mistake becomes one clear line."""

import difflib
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import tomli_w
from pydantic import BaseModel, SecretStr, ValidationError

from choline_tui.kernel.errors import ConfigError, UsageError

__all__ = ["MAX_FILE", "checked", "fields_of", "leaves", "nearest", "read_toml", "write_toml"]

MAX_FILE = 1 << 20
"""bytes; a settings file larger than this is not one"""

MOST_MISTAKES = 50

M = TypeVar("M", bound=BaseModel)


def read_toml(path: Path, error: type[UsageError] = ConfigError) -> dict[str, Any]:
    """The file's content; ``error`` with file, line and column when it cannot be read or is not TOML.

    A file that does not exist raises ``FileNotFoundError``: only the caller knows what that means.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise error(f"cannot read {path}: {fault.strerror or fault}") from None
    if len(raw) > MAX_FILE:
        raise error(f"{path} is larger than a settings file can be ({MAX_FILE >> 20} MiB)")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise error(f"{path} is not UTF-8 text", hint="Save it as UTF-8.") from None
    except (tomllib.TOMLDecodeError, RecursionError) as fault:
        # the parser quotes a bad piece of the file in some messages; a line may hold a key
        reason = re.sub(r"['\"].*['\"]", "...", str(fault))
        raise error(f"{path} is not TOML: {reason}", hint='Text needs quotes: key = "value".') from None


def write_toml(path: Path, data: Mapping[str, Any]) -> None:
    """Replace the file at once, readable by its owner only; ``ConfigError`` when that fails."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # a link (dotfiles kept elsewhere) stays a link: what it points to is replaced
        target = path.resolve()
        handle, name = tempfile.mkstemp(prefix=".config-", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(tomli_w.dumps(data).encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as fault:
        raise ConfigError(f"cannot write {path}: {fault.strerror or fault}") from None


def nearest(word: str, known: list[str]) -> str:
    """ "Did you mean 'x'?", or what there is, as a hint."""
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.8)
    if not close:  # the right name in the wrong table
        close = [name for name in known if name.rpartition(".")[2] == word.rpartition(".")[2]][:1]
    close = close or difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"There is: {', '.join(sorted(known))}."


def fields_of(model: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """Names of a model's fields; the value is the model of a field that is a table, or a list of them."""
    return {field.alias or name: _table(field.annotation) for name, field in model.model_fields.items()}


def _table(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _table(inner))), None)


def leaves(model: type[BaseModel], prefix: str = "") -> list[str]:
    """All dotted keys of a model."""
    found: list[str] = []
    for name, table in fields_of(model).items():
        plain = table is not None and model.model_fields[name].annotation is table
        found += leaves(table, f"{prefix}{name}.") if table and plain else [prefix + name]
    return found


def checked(
    model: type[M],
    data: Any,
    where: str,
    error: type[UsageError] = ConfigError,
    known: tuple[str, ...] = (),
) -> M:
    """``data`` as ``model``; the first mistake as ``error``: ``where: key: what is wrong``. ``known``: keys
    besides the model's own that an unknown one may have meant. Other mistakes are told in its
    ``details["more"]``, each as (key, message, hint)."""
    try:
        return model.model_validate(data, strict=True)
    except ValidationError as fault:
        # an unknown key first: it is often the cause of the others
        mistakes = fault.errors(include_url=False)
        mistakes.sort(key=lambda m: m["type"] != "extra_forbidden")
        told: dict[str, tuple[str, str]] = {}
        for each in mistakes[:MOST_MISTAKES]:
            key = _dotted(model, each["loc"])
            if key in told:  # what may be of several kinds is wrong as each of them
                continue
            if each["type"] == "extra_forbidden":
                hint = _other(model, each["loc"], key, known)
                told[key] = (f"{where}: there is no setting '{_short(key)}'", hint)
            else:
                told[key] = (f"{where}: {key}: {_complaint(dict(each))}", _hint(model, each["loc"]))
        (key, (message, hint)), *rest = told.items()
        more = [[other, text, about] for other, (text, about) in rest]
        raise error(message, hint=hint, key=key, **({"more": more} if more else {})) from None


def _dotted(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """A pydantic location as a key a person wrote."""
    parts: list[str] = []
    table: type[BaseModel] | None = model
    for piece in loc:
        if isinstance(piece, int):
            parts[-1:] = [f"{parts[-1]}[{piece}]"] if parts else [str(piece)]
        elif table is not None:
            parts.append(piece)
            table = fields_of(table).get(piece)
        else:
            parts.append(piece)
    return ".".join(parts)


def _other(model: type[BaseModel], loc: tuple[int | str, ...], key: str, known: tuple[str, ...]) -> str:
    """What an unknown key may have meant: a key of its own table, of another one, or a table."""
    table: type[BaseModel] | None = model
    for piece in loc[:-1]:
        if isinstance(piece, str) and table is not None:
            table = fields_of(table).get(piece)
    if any(isinstance(piece, int) for piece in loc):
        return nearest(str(loc[-1]), list(fields_of(table)) if table else [])
    names = [*leaves(model), *known]
    tables = [name for name, inner in fields_of(model).items() if inner]
    hint = nearest(key, names)
    if hint.startswith("There") and "." not in key:
        return nearest(key, tables + names)
    return hint


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _complaint(mistake: dict[str, Any]) -> str:
    kind, value = mistake["type"], mistake["input"]
    if kind == "value_error":
        return str(mistake["ctx"]["error"])
    given = "" if isinstance(value, (dict, list, SecretStr)) else f", not {_short(repr(value))}"
    wanted = {
        "string_type": "needs text in quotes",
        "float_type": "needs a number",
        "int_type": "needs a whole number",
        "int_from_float": "needs a whole number",
        "bool_type": "needs true or false",
        "list_type": "needs a list [...]",
        "dict_type": "needs a table",
        "model_type": "needs a table",
        "missing": "is missing",
        "finite_number": "needs a finite number",
    }.get(kind)
    if kind == "missing":
        return "is missing"
    if wanted is None:
        wanted = str(mistake["msg"]).replace("Input should be", "must be").replace("String should", "must")
    return wanted + given


def _hint(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """The first sentence of the field's description: unit and default."""
    table: type[BaseModel] | None = model
    for piece in loc:
        if table is None or not isinstance(piece, str):
            return ""
        inner = fields_of(table).get(piece)
        if inner is None:
            field = next((f for n, f in table.model_fields.items() if (f.alias or n) == piece), None)
            return f"{piece}: {field.description}." if field is not None and field.description else ""
        table = inner
    return ""
