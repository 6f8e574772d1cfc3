"""The schema that editors complete from is the one that the models make.

After a change of the models: ``UPDATE_SCHEMA=1 python -m pytest tests/config/test_schema.py``.
"""

import json
import os
from pathlib import Path

import choline_tui.config
from choline_tui.config.project import Project
from choline_tui.config.schema import make_schema, schema_text, shipped_schema
from choline_tui.config.settings import RunSettings

FILE = Path(choline_tui.config.__file__).with_name("choline.schema.json")


def test_the_shipped_schema_is_current() -> None:
    if os.environ.get("UPDATE_SCHEMA") and not os.environ.get("CI"):
        FILE.write_text(schema_text(), "utf-8")
    assert shipped_schema() == schema_text()
    assert json.loads(shipped_schema()) == make_schema()


def test_it_says_all_that_the_models_take() -> None:
    schema = make_schema()
    known = schema["properties"]
    assert set(known) == set(Project.model_fields)
    assert set(known["run"]["properties"]) == set(RunSettings.model_fields)
    assert all(each.get("description") for each in known.values())
    assert schema["additionalProperties"] is known["run"]["additionalProperties"] is False
    # what validators take besides
    assert {kind["type"] for kind in known["command"]["anyOf"]} == {"string", "array"}
    assert known["send"]["items"]["anyOf"][0]["type"] == "string"
    assert {kind["type"] for kind in known["run"]["properties"]["max_life"]["anyOf"]} == {"number", "string"}
    assert known["type"]["enum"] == ["on-demand", "interruptible"]
    assert known["disk"]["maximum"] == 100_000


def test_every_reference_leads_somewhere() -> None:
    schema = make_schema()

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if "$ref" in value else []
            return own + [r for inner in value.values() for r in references(inner)]
        return [r for inner in value for r in references(inner)] if isinstance(value, list) else []

    found = references(schema)
    assert found
    for each in found:
        name = each.removeprefix("#/definitions/")
        assert name != each and name in schema["definitions"]
