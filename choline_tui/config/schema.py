"""The JSON Schema of ``choline.toml``, made from the models that read it, for editors to complete from."""

import json
from importlib.resources import files
from typing import Any

from pydantic.fields import FieldInfo

from choline_tui.config.project import _OVERRIDES, Project
from choline_tui.config.settings import RunSettings
from choline_tui.model.duration import parse_duration

__all__ = ["make_schema", "schema_text", "shipped_schema"]


def make_schema() -> dict[str, Any]:
    """From the models; what their validators take besides (a list of words, ``24h``) is added."""
    schema = Project.model_json_schema()
    properties: dict[str, Any] = schema["properties"]
    words = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    _either(properties["command"], {"type": "string", "maxLength": 1 << 20}, words)
    item = properties["send"]["items"]
    properties["send"]["items"] = {"anyOf": [{"type": "string", "minLength": 1}, item]}
    run = RunSettings.model_json_schema()
    for name, field in RunSettings.model_fields.items():
        if _is_duration(field):
            _either(run["properties"][name], {"type": "number"}, {"type": "string"})
    about = properties["run"]["description"]
    properties["run"] = {
        "type": "object",
        "description": about,
        "properties": run["properties"],
        "additionalProperties": False,
    }
    for name in (*_OVERRIDES, "cap"):
        bounds = dict(run["properties"]["max_price" if name == "cap" else name])
        for key in ("default", "title", "description"):
            bounds.pop(key, None)
        own = properties[name]
        properties[name] = {"description": own["description"], **bounds}
    schema["$schema"] = "http://json-schema.org/draft-07/schema#"
    schema["title"] = "choline.toml"
    schema["description"] = "A project of choline: its command, what it needs, what is sent and comes home."
    schema["definitions"] = schema.pop("$defs")
    whole: dict[str, Any] = json.loads(json.dumps(schema).replace("#/$defs/", "#/definitions/"))
    return whole


def _either(place: dict[str, Any], *kinds: dict[str, Any]) -> None:
    for key in ("type", "items", "maxLength", "exclusiveMinimum", "minimum", "maximum"):
        place.pop(key, None)
    place["anyOf"] = list(kinds)


def _is_duration(field: FieldInfo) -> bool:
    return any(getattr(piece, "func", None) is parse_duration for piece in field.metadata)


def schema_text() -> str:
    """As it lies in the package; ``tests/config/test_schema.py`` holds it current."""
    return json.dumps(make_schema(), indent=1, sort_keys=True) + "\n"


def shipped_schema() -> str:
    """The file that comes with the package."""
    return files("choline_tui.config").joinpath("choline.schema.json").read_text("utf-8")
