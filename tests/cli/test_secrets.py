"""``choline secrets``, ``--secret`` and what ``--env`` refuses: names are shown, values never."""

import io
import json
from pathlib import Path
from typing import Any

import keyring
import keyring.backend
import pytest

from choline_tui.cli.values import environment
from choline_tui.kernel.errors import ConfigError, NotFound, UsageError
from choline_tui.model.request import PlanCard
from choline_tui.secrets import Found, missing_error
from tests.cli.fakes import Bench, FakeCholine, plan

VALUE = "hf_0123456789abcdefghijABCDEFGHIJ01"


class Memory(keyring.backend.KeyringBackend):
    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Memory:
    backend = Memory()
    monkeypatch.setattr(keyring, "get_keyring", lambda: backend)
    monkeypatch.chdir(tmp_path)
    return backend


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_kept_listed_and_forgotten(
    bench: Bench, kept: Memory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench.environ = {"HOME": str(tmp_path)}
    typed(monkeypatch, VALUE + "\n")
    code, out, err = bench("secrets", "set", "HF_TOKEN", "-")
    assert code == 0 and kept.kept["choline", "HF_TOKEN"] == VALUE and VALUE not in out + err
    (tmp_path / "choline.toml").write_text('secrets = ["WANDB_API_KEY", "HF_TOKEN"]\n')
    code, out, err = bench("secrets")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert rows == [
        ["WANDB_API_KEY", "missing", "choline.toml"],
        ["HF_TOKEN", "the", "keyring", "choline.toml"],
    ]
    document = json.loads(bench("secrets", "list", "--json", "MINE")[1])
    assert document[-1] == {"name": "MINE", "where": None, "named": "asked for"} and VALUE not in out + err
    assert bench("secrets", "rm", "HF_TOKEN")[0] == 0 and ("choline", "HF_TOKEN") not in kept.kept
    with pytest.raises(NotFound):
        bench("secrets", "rm", "HF_TOKEN")


def test_what_is_no_name_is_not_repeated(bench: Bench, kept: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (
        ["secrets", "set", "my secret"], ["secrets", "set", "HF_TOKEN=s3cr3t"],
        ["secrets", "list", "s3-cr3t"], ["secrets", "set", "CHOLINE_RUN"],
        ["run", "--secret", "HF_TOKEN=s3cr3t", "--gpu", "1x4090", "--", "x"],
    ):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            bench(*words)
        assert "cr3t" not in caught.value.message + caught.value.hint
    typed(monkeypatch, "\n")
    with pytest.raises(UsageError, match="no value"):
        bench("secrets", "set", "HF_TOKEN", "-")
    assert kept.kept == {}


def test_without_a_keyring_nobody_is_asked_for_a_value(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, VALUE)
    with pytest.raises(ConfigError, match="no system keyring"):
        bench("secrets", "set", "HF_TOKEN", "-")
    assert "No secrets are named" in bench("secrets")[2]


@pytest.mark.parametrize("words", [[f"HF_TOKEN={VALUE}"], ["HF_TOKEN"], [f"X={VALUE}"]])
def test_a_variable_that_looks_like_a_secret_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        environment(words, {"HF_TOKEN": VALUE})
    assert "--secret" in caught.value.hint and VALUE[:12] not in caught.value.message + caught.value.hint


def test_names_go_along_and_a_missing_one_is_told_before_the_search() -> None:
    def card(**changes: Any) -> PlanCard:
        its = plan(secrets={"HF_TOKEN": "", "OTHER": ""})
        return PlanCard(plan=its, secrets={"HF_TOKEN": ".env", "OTHER": ""}, **changes)

    fake = FakeCholine(card=card())
    code, out, _ = Bench(fake, width=100)(
        "run", "--secret", "HF_TOKEN", "--dry-run", "--gpu", "1x4090", "--", "x"
    )
    assert code == 0 and "HF_TOKEN (.env), OTHER (missing)" in out
    assert next(asked for name, asked in fake.asked if name == "plan").secrets == ["HF_TOKEN"]
    found = Found(missing=["OTHER"], looked={"OTHER": ["the environment", ".env"]})
    fake = FakeCholine(card=card(), fails={"handed_over": missing_error(found)})
    with pytest.raises(UsageError, match="looked in the environment"):
        Bench(fake)("run", "-y", "--secret", "OTHER", "--gpu", "1x4090", "--", "x")
    assert fake.asked == []


def test_given_to_a_run() -> None:
    class Giving(FakeCholine):
        async def give_secrets(self, run: str) -> list[str]:
            self._ask("give", run)
            return ["HF_TOKEN"]

    fake = Giving()
    assert Bench(fake)("secrets", "give", "abc123")[2].strip() == "handed over: HF_TOKEN"
    assert fake.asked == [("give", "abc123")]
