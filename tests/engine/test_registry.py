"""An image that is not public: its password goes to the market with the rent call, and nowhere else."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from choline_tui.config.project import read_project
from choline_tui.kernel.errors import ProjectError
from choline_tui.model.run import Outcome, Registry
from tests.support.world import World, live

PASSWORD = "opaque-Value-0123456789"
GHCR = Registry(server="ghcr.io", user="me", secret="GHCR_TOKEN")


def lived(tmp_path: Path, value: str | None) -> tuple[Any, list[Any], str]:
    """(the run when it has ended, what rent calls said of a login, all that the store holds)"""
    sent: list[Any] = []
    seen: list[Any] = []

    async def story(world: World) -> None:
        async def note(request: httpx.Request) -> None:
            if request.method == "PUT" and "/asks/" in request.url.path:
                sent.append(json.loads(request.content).get("image_login"))

        world.market.before.append(note)
        if value is not None:
            world.secrets["GHCR_TOKEN"] = value
        world.secrets["OTHER"] = "another-Value-987654"
        run = world.start(
            registry=GHCR, secrets={"GHCR_TOKEN": ".env", "OTHER": ".env"}, image="ghcr.io/me/x"
        )
        ended = await world.ended(run)
        await world.quiet()
        assert world.store is not None
        handed = [e.text for e in world.store.events(run=run) if "secrets handed over" in e.text]
        seen.append((ended, handed))
        world.store.close()
        seen.append(b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()))

    live(tmp_path, story)
    (ended, handed), held = seen
    assert PASSWORD.encode() not in held
    return ended, sent, " ".join(handed)


def test_the_password_is_in_the_rent_call_alone(tmp_path: Path) -> None:
    ended, sent, handed = lived(tmp_path, PASSWORD)
    assert ended.outcome is Outcome.SUCCEEDED
    assert sent == [f"-u me -p {PASSWORD} ghcr.io"]
    assert "OTHER" in handed and "GHCR_TOKEN" not in handed


def test_what_is_no_password_rents_nothing(tmp_path: Path) -> None:
    ended, sent, _ = lived(tmp_path, "two words --privileged")
    assert ended.outcome is Outcome.ERROR and not sent
    assert "GHCR_TOKEN is no registry's password" in ended.reason and "words" not in ended.reason


def test_the_projects_file(tmp_path: Path) -> None:
    table = {"registry": {"user": "me", "password_secret": "DOCKER_TOKEN"}}
    project = read_project({"command": "true", **table}, tmp_path)
    assert project.secrets == ["DOCKER_TOKEN"]
    assert project.registry is not None and project.registry.server == "docker.io"
    for wrong, says in (
        ({"user": "me -v /:/host", "password_secret": "A"}, "without spaces"),
        ({"user": "-p", "password_secret": "A"}, "without spaces"),
        ({"user": "me", "password_secret": "a b"}, "is not a name"),
        ({"user": "me", "password_secret": "A", "server": "https://ghcr.io"}, "without https"),
        ({"user": "me"}, "password_secret"),
        ({"user": "me", "password": "x"}, "no setting"),
    ):
        with pytest.raises(ProjectError) as refused:
            read_project({"command": "true", "registry": wrong}, tmp_path)
        assert says in refused.value.message
