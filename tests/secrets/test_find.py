"""Secrets by name: the order of the places, what each file may look like, and that no value is ever told."""

from pathlib import Path
from typing import Any

import pytest

from choline_tui.kernel.errors import ConfigError, NotFound, UsageError
from choline_tui.secrets import Found, find, missing_error
from choline_tui.secrets.dotenv import read_dotenv
from choline_tui.secrets.ring import Keyring

VALUE = "s3cr3t/+ value=="


class Memory:
    """A backend of ``keyring``'s kind."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.broken = ""

    def get_password(self, service: str, name: str) -> str | None:
        if self.broken:
            raise RuntimeError(self.broken)
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, text: str) -> None:
        if self.broken:
            raise RuntimeError(f"{self.broken} {text}")
        self.kept[service, name] = text

    def delete_password(self, service: str, name: str) -> None:
        del self.kept[service, name]


@pytest.fixture
def ring() -> Keyring:
    return Keyring(Memory())


def look(names: list[str], project: Path | None, env: dict[str, str], ring: Keyring, **more: Any) -> Found:
    return find(names, project, env, ring=ring, **more)


def test_the_places_in_their_order(tmp_path: Path, ring: Keyring) -> None:
    project = tmp_path / "project"
    project.mkdir()
    env = {"HOME": str(tmp_path)}
    seen: list[tuple[str, str]] = []

    def expect(value: str, where: str) -> None:
        found = look(["HF_TOKEN"], project, env, ring)
        seen.append((found.revealed()["HF_TOKEN"], found.values["HF_TOKEN"].where))
        assert seen[-1] == (value, where) and found.places == {"HF_TOKEN": where}
        assert value not in repr(found)

    assert look(["HF_TOKEN"], project, env, ring).missing == ["HF_TOKEN"]
    ring.set("HF_TOKEN", "ring-value")
    expect("ring-value", "the keyring")
    (tmp_path / ".cache/huggingface").mkdir(parents=True)
    (tmp_path / ".cache/huggingface/token").write_text("login-value\n")
    expect("login-value", "~/.cache/huggingface/token")
    (tmp_path / ".netrc").write_text("machine huggingface.co\n  login user\n  password netrc-value\n")
    expect("netrc-value", "~/.netrc (huggingface.co)")
    (project / ".env").write_text("OTHER=1\nexport HF_TOKEN='dotenv-value' # mine\n")
    expect("dotenv-value", ".env")
    env["HF_TOKEN"] = "shell-value"
    expect("shell-value", "the environment")
    env["HF_TOKEN"] = "dotenv-value"
    expect("dotenv-value", ".env")  # the same: the place that outlives this shell
    env["HF_TOKEN"] = " "
    expect("dotenv-value", ".env")  # an empty one is none
    assert look(["HF_TOKEN"], None, env, ring, shell=False).places["HF_TOKEN"].startswith("~/.netrc")
    env["HF_TOKEN"] = "shell-value"
    assert look(["HF_TOKEN"], project, env, ring, shell=False).places["HF_TOKEN"] == ".env"


def test_machines_of_a_netrc(tmp_path: Path, ring: Keyring) -> None:
    own = tmp_path / "logins"
    own.write_text(
        "machine api.wandb.ai login user password wandb-value\n"
        "machine github.com login me password github-value\n"
        "machine wandb.mine.example login u password own-value\ndefault login x password y\n"
    )
    env = {"HOME": str(tmp_path), "NETRC": str(own)}
    names = ["WANDB_API_KEY", "GITHUB_TOKEN", "GH_TOKEN", "OPENAI_API_KEY"]
    found = look(names, None, env, ring)
    assert found.revealed() == {
        "WANDB_API_KEY": "wandb-value",
        "GITHUB_TOKEN": "github-value",
        "GH_TOKEN": "github-value",
    }
    assert found.missing == ["OPENAI_API_KEY"]
    env["WANDB_BASE_URL"] = "https://wandb.mine.example:8080"
    assert look(["WANDB_API_KEY"], None, env, ring).revealed() == {"WANDB_API_KEY": "own-value"}


def test_what_is_missing_is_told_with_all_places(tmp_path: Path, ring: Keyring) -> None:
    error = missing_error(look(["WANDB_API_KEY"], tmp_path, {"HOME": str(tmp_path)}, ring))
    for place in ("WANDB_API_KEY", "the environment", ".env", "~/.netrc (api.wandb.ai)", "the keyring"):
        assert place in error.message
    assert "choline secrets set WANDB_API_KEY" in error.hint


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=plain", "plain"),
        ("  export  A = spaced out  # why\n", "spaced out"),
        ("A=with#sign", "with#sign"),
        ("A=# nothing", ""),
        ("A='single $HOME \\n #'", "single $HOME \\n #"),
        ('A="double \\"q\\" \\n$HOME" # c', 'double "q" \n$HOME'),
        ('A="-----BEGIN\nB=2\n-----END"\nC=3', "-----BEGIN\nB=2\n-----END"),
        ("A=first\nA=last", "last"),
        ("# A=comment\nA=", ""),
        ('A="never closed', ""),
        ("\ufeffA=marked", "marked"),
        ("A=windows\r\nB=2\r\n", "windows"),
    ],
)
def test_lines_of_a_dotenv(text: str, value: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(text.encode())
    assert read_dotenv(tmp_path / ".env").get("A", "") == value


def test_a_file_that_cannot_be_read_is_told_without_its_text(tmp_path: Path, ring: Keyring) -> None:
    env = {"HOME": str(tmp_path)}
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai login user {VALUE} password\n")
    with pytest.raises(ConfigError) as caught:
        look(["WANDB_API_KEY"], tmp_path, env, ring)
    assert ".netrc" in caught.value.message and "s3cr3t" not in caught.value.message + caught.value.hint
    # it is not looked at for a name that cannot stand there, nor in the way of one that was found before
    assert look(["OTHER"], tmp_path, env, ring).missing == ["OTHER"]
    assert look(["WANDB_API_KEY"], tmp_path, {**env, "WANDB_API_KEY": "x"}, ring).missing == []
    (tmp_path / ".env").write_bytes(b"A=" + b"x" * (1 << 20))
    with pytest.raises(ConfigError, match="too large"):
        look(["A"], tmp_path, env, ring)
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        look(["A"], None, {**env, "A": "x" * (65 << 10)}, ring)
    with pytest.raises(UsageError):
        look(["A B"], None, env, ring)


def test_the_keyring_keeps_lists_and_forgets() -> None:
    backend = Memory()
    ring = Keyring(backend)
    assert ring.names() == [] and ring.get("A") == ("", "")
    ring.set("B", VALUE)
    ring.set("A", "2")
    assert ring.names() == ["A", "B"] and Keyring(backend).get("B") == (VALUE, "")
    ring.remove("B")
    assert ring.names() == ["A"] and ring.get("B") == ("", "")
    with pytest.raises(NotFound):
        ring.remove("B")
    backend.broken = "the collection is locked"
    assert ring.get("A") == ("", "RuntimeError: the collection is locked")
    with pytest.raises(ConfigError) as caught:
        ring.set("A", VALUE)
    assert "locked" in caught.value.message and VALUE not in caught.value.message


def test_a_computer_without_a_keyring_is_told_only_who_wants_to_keep_something(tmp_path: Path) -> None:
    # the null backend of the tests stands for it
    ring = Keyring()
    found = find(["A"], tmp_path, {"HOME": str(tmp_path)}, ring=ring)
    assert found.missing == ["A"] and "the keyring (this computer has none)" in found.looked["A"]
    assert ring.names() == []
    with pytest.raises(ConfigError, match="no system keyring"):
        ring.set("A", VALUE)
