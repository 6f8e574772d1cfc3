"""Which secrets a request needs, where they are looked for, and what goes to the engine with a start."""

import json
from pathlib import Path
from typing import Any

import pytest

from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import UsageError
from choline_tui.model.request import PlanCard
from choline_tui.model.run import Plan, Run
from choline_tui.services import Choline, launch
from choline_tui.store import Store
from tests.services.engine_double import ENVIRON, EngineDouble, result

VALUE = "s3cr3t-0123456789"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    paths = Paths(tmp_path / "home").ensure()
    old = tmp_path / "old"
    old.mkdir()
    (old / ".env").write_text(f"OLD={VALUE}\n")
    plan = Plan(project=str(old), command="true", cap=1.0, secrets={"OLD": ".env"})
    store = Store(paths.store)
    store.commit(Run(id="abc123", plan=plan, created=1.0, updated=1.0))
    store.close()
    project = tmp_path / "project"
    project.mkdir()
    (project / "choline.toml").write_text('secrets = ["MINE"]\n')
    (project / ".env").write_text("MINE=1-of-the-project\n")
    monkeypatch.setattr(launch, "start_process", lambda *given: None)
    return tmp_path / "home"


async def test_names_of_project_request_and_the_run_that_is_repeated(home: Path, tmp_path: Path) -> None:
    environ = {**ENVIRON, "HOME": str(tmp_path), "MORE": "of-the-shell"}
    async with Choline(home, environ) as choline:
        project = str(tmp_path / "project")
        found = await choline.find_secrets(choline.request(project=project, secrets=["MORE"]))
        assert found.places == {"MINE": ".env", "MORE": "the environment"}
        # a run again: its own names, from its own project
        again = choline.request(project=project, like="abc123", secrets=["MORE"])
        assert (await choline.find_secrets(again)).revealed() == {"OLD": VALUE, "MORE": "of-the-shell"}
        # on such a machine: the present project's, and the names go along
        like = choline.request(project=project, like="abc123", like_what="machine")
        assert (await choline.find_secrets(like)).missing == ["OLD"]
        with pytest.raises(UsageError, match="OLD \\(looked in"):
            await choline.handed_over(like)
        nothing = choline.request(project=str(tmp_path))
        assert await choline.handed_over(nothing) == {}


async def test_values_go_with_the_start_and_places_onto_the_card(home: Path, tmp_path: Path) -> None:
    environ = {**ENVIRON, "HOME": str(tmp_path)}
    plan = Plan(project=str(tmp_path / "project"), command="true", cap=1.0, secrets={"MINE": "", "GONE": ""})
    run = Run(id="new123", plan=plan, created=1.0, updated=1.0)
    asked: list[dict[str, Any]] = []

    def answer(message: dict[str, Any]) -> list[bytes]:
        asked.append(message)
        card = PlanCard(plan=plan).model_dump(mode="json")
        answers = {"plan": card, "give_secrets": {"run": "abc123", "names": ["OLD"]}}
        return result(message, answers.get(message["method"], run.model_dump(mode="json")))

    async with EngineDouble(Paths(home), answer), Choline(home, environ) as choline:
        request = choline.request(project=str(tmp_path / "project"))
        await choline.start(request)
        assert asked[-1]["params"]["secrets"] == {"MINE": "1-of-the-project"}
        assert "1-of-the-project" not in json.dumps(asked[-1]["params"]["request"])
        (tmp_path / "project/.env").write_text("")
        card = await choline.plan(request)
        assert card.secrets == {"MINE": ""} and "MINE (looked in" in card.warnings[-1]
        with pytest.raises(UsageError, match="MINE"):
            await choline.start(request)
        assert asked[-1]["method"] == "plan"  # nothing was asked for
        assert await choline.give_secrets("abc123") == ["OLD"]
        assert asked[-1]["params"] == {"run": "abc123", "secrets": {"OLD": VALUE}}
