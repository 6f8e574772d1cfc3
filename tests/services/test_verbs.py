"""What services give for entering, reaching and repeating a run: command lines and requests."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import NotFound, RemoteError, SystemFault, UsageError
from choline_tui.model.run import RentalState
from choline_tui.services.choline import RunView, SshAccess
from choline_tui.services.verbs import Verbs, control_key, port_pair
from tests.cli.fakes import NOW, attempt, ended_view, live_view, rental, run


class Some(Verbs):
    def __init__(
        self, *views: RunView, home: Path = Path("/home/me/choline"), path: str = "/nowhere"
    ) -> None:
        self.paths = Paths(home, {})
        self.environ: Mapping[str, str] = {"PATH": path}
        self.views = list(views)
        self.asked: list[tuple[str, Any]] = []

    async def _call(self, method: str, **params: Any) -> Any:
        self.asked.append((method, params))
        return []

    def runs(self) -> list[RunView]:
        return self.views

    def show(self, run: str) -> RunView:
        for view in self.views:
            if view.run.id == run:
                return view
        raise NotFound(f"there is no run {run!r}")

    async def ssh(self, run: str) -> SshAccess:
        return SshAccess(
            "/c f/x.conf", "choline-xyz", "203.0.113.9", 41022, "root", f"choline/{run}", "/root"
        )


def talking(**plan: Any) -> RunView:
    return RunView(run(plan={"tty": True, **plan}), [attempt(submitted=NOW)], [rental()])


@pytest.mark.parametrize(
    ("text", "key"),
    [("ctrl+\\", 28), ("ctrl+b", 2), ("Ctrl+A", 1), ("^]", 29), ("ctrl+_", 31), (" ctrl+z ", 26)],
)
def test_keys_to_leave_with(text: str, key: int) -> None:
    assert control_key(text) == key


@pytest.mark.parametrize(
    "text", ["", "b", "ctrl", "ctrl+", "ctrl+[", "ctrl+m", "^J", "ctrl+bb", "ctrl+1", "alt+b"]
)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        control_key(text)
    assert "ctrl+b" in caught.value.hint


def test_ports() -> None:
    assert port_pair("6006") == (6006, 6006) and port_pair("8080:80") == (8080, 80)
    for wrong in ("", "x", "0", "65536", "1:", ":1", "1:2:3", "-1", "80:0", "٣", "123456789"):
        with pytest.raises(UsageError):
            port_pair(wrong)


async def test_attaching() -> None:
    command = await Some(talking()).attach_command("abc123", key="ctrl+b")
    assert command == [
        "ssh", "-F", "/c f/x.conf", "-t", "choline-xyz",
        "cd && exec sh choline/.system/run attach abc123-1 --key 2",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="not run on a terminal") as caught:
        await Some(live_view()).attach_command("abc123")
    assert "--tty" in caught.value.hint and "tty = true" in caught.value.hint
    with pytest.raises(UsageError, match="has ended"):
        await Some(ended_view()).attach_command("abc123")
    with pytest.raises(RemoteError, match="not begun"):
        await Some(RunView(talking().run, [attempt()], [])).attach_command("abc123")
    with pytest.raises(UsageError, match="no key"):
        await Some(talking()).attach_command("abc123", key="x")


async def test_commands_reach_the_machine_as_they_were_given() -> None:
    some = Some(talking(env={"TOKEN": "hidden"}))
    for words, text in (
        (("ls | wc -l",), "ls | wc -l"),
        (("printf", "%s", "a b", "$c", "-x"), "printf %s 'a b' '$c' -x"),
        (("-x",), "-x"),
    ):
        command = await some.exec_command("abc123", *words)
        assert command[:4] == ["ssh", "-F", "/c f/x.conf", "choline-xyz"] and len(command) == 5
        inner = shlex.split(command[4])
        assert inner[-4:] == ["enter", "abc123-1", "--", text]
        assert "hidden" not in command[4]  # variables lie on the machine already
    shell = await some.exec_command("abc123")
    assert "-t" in shell and shell[-1].endswith("enter abc123-1")
    assert "-t" in await some.exec_command("abc123", "top", tty=True)
    with pytest.raises(RemoteError):
        await Some(live_view()).exec_command("abc123", "true")


async def test_ports_are_this_computers_alone() -> None:
    command = await Some(talking()).forward_command("abc123", "6006", "8080:80")
    assert [w for w in command if "localhost" in w] == [
        "127.0.0.1:6006:localhost:6006", "127.0.0.1:8080:localhost:80",
    ]  # fmt: skip
    assert "ExitOnForwardFailure=yes" in command and command[-1] == "choline-xyz" and "-N" in command
    with pytest.raises(UsageError):
        await Some(talking()).forward_command("abc123")


async def test_files_are_named_from_the_runs_directory() -> None:
    some = Some(talking())
    assert (await some.ls_command("abc123"))[-1] == "cd choline/abc123 && ls -la -- ."
    assert (await some.cat_command("abc123", "re sults/$x"))[
        -1
    ] == "cd choline/abc123 && cat -- 're sults/$x'"
    assert (await some.ssh_command("abc123"))[-2] == "choline-xyz"


def test_what_came_home_is_looked_at_there(tmp_path: Path) -> None:
    view = ended_view(plan={"results_into": str(tmp_path / "abc123")})
    (tmp_path / "abc123" / "results").mkdir(parents=True)
    (tmp_path / "abc123" / "results" / "model").write_text("m")
    (tmp_path / "other").write_text("o")
    some = Some(view)
    assert some.at_home("abc123", "results/model") == tmp_path / "abc123" / "results" / "model"
    assert some.at_home("abc123") == tmp_path / "abc123"
    for there in ("src", "../other", "results/../../other", str(tmp_path / "other")):
        assert some.at_home("abc123", there) is None
    assert Some(live_view()).at_home("abc123", "results") is None


async def test_an_editor_needs_a_program_and_the_name(tmp_path: Path) -> None:
    some = Some(talking(), home=tmp_path / "home", path=str(tmp_path))
    config = tmp_path / "ssh" / "config"
    for editor in ("code", "no such", "x;y"):
        with pytest.raises(SystemFault, match="no program"):
            await some.open_command("abc123", editor, user_config=config)
    (tmp_path / "code").write_text("#!/bin/sh\n")
    (tmp_path / "code").chmod(0o755)
    with pytest.raises(UsageError) as caught:
        await some.open_command("abc123", user_config=config)
    assert "ssh-config install" in caught.value.hint
    some.ssh_include(config).install()
    assert await some.open_command("abc123", user_config=config) == [
        str(tmp_path / "code"), "--remote", "ssh-remote+choline-abc123", "/root/choline/abc123/src",
    ]  # fmt: skip
    with pytest.raises(NotFound):
        await some.open_command("nosuch", user_config=config)


@pytest.mark.parametrize(
    ("user", "home", "place"),
    [
        ("root", "/data/root", "/data/root/r"),
        ("root", "", "/root/r"),
        ("", "", "/root/r"),
        ("me", "", "/home/me/r"),
    ],
)
def test_where_a_run_lies(user: str, home: str, place: str) -> None:
    assert SshAccess("", "", "", 22, user, "r", home).absolute == place


def test_repeating_is_a_request_that_spends_nothing(tmp_path: Path) -> None:
    some = Some(ended_view())
    again = some.again("abc123", gpu="1x3090")
    assert (again.like, again.same_code, again.like_what, again.gpu) == ("abc123", True, "plan", "1x3090")
    assert again.project == "/home/me/project" and again.command == ""
    assert not some.again("abc123", same_code=False).same_code
    like = some.like("abc123", project=str(tmp_path), command="true")
    assert (like.like, like.like_what, like.same_code, like.project) == (
        "abc123", "machine", False, str(tmp_path),
    )  # fmt: skip
    assert some.asked == []


async def test_putting_away() -> None:
    done = ended_view(run_id="abc123", ended=NOW - 100)
    older = ended_view(run_id="def456", ended=NOW - 200)
    lost = ended_view(run_id="ghi789", ended=NOW - 300, results_complete=False)
    lost = RunView(lost.run, [attempt("ghi789", submitted=NOW - 400)], lost.rentals)
    held = RunView(ended_view(run_id="jkl234").run, [], [rental("jkl234", state=RentalState.HELD)])
    some = Some(done, older, lost, held, RunView(run("mno567"), [], []))
    assert [v.run.id for v in some.prunable(100, NOW)] == ["def456", "abc123"]
    assert [v.run.id for v in some.prunable(101, NOW)] == ["def456"]
    assert some.why_not_removed(done) == ""
    assert "never came home" in some.why_not_removed(lost)
    unsure = RunView(lost.run, [attempt("ghi789", sent=NOW - 400)], lost.rentals)  # its answer was lost
    assert "never came home" in some.why_not_removed(unsure)
    assert some.why_not_removed(lost, drop_results=True) == ""
    assert "it may bill" in some.why_not_removed(held, drop_results=True)
    assert "still running" in some.why_not_removed(RunView(run(), [], []), drop_results=True)
    await some.rm("abc123", "def456", results=True)
    assert some.asked == [
        ("rm", {"runs": ["abc123", "def456"], "drop_results": False, "files": True, "results": True})
    ]
