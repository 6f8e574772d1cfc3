"""``exec``, ``attach``, ``open``, ``forward``, ``ls``, ``cat``, ``rm``, ``prune`` and ``ssh-config``."""

import argparse
import io
import json
import os
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from choline_tui.cli.context import Context
from choline_tui.cli.files import cat
from choline_tui.cli.inside import attach, execute, forward, open_
from choline_tui.cli.output import Output
from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import SystemFault, UsageError
from choline_tui.services.choline import RunView
from choline_tui.services.verbs import Verbs
from tests.cli.fakes import (
    HOSTILE,
    NOW,
    Bench,
    FakeCholine,
    Terminal,
    attempt,
    ended_view,
    forged,
    live_view,
    rental,
    run,
)


@dataclass
class Inside(FakeCholine, Verbs):  # type: ignore[misc]
    """The fake with the verbs as they are: only the engine is not there."""

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    config: Path | None = None

    async def _call(self, method: str, **params: Any) -> Any:
        self._ask(method, params)
        return [{"run": name, "bytes": 2_000_000} for name in params["runs"]]

    def ssh_include(self, user_config: Path | None = None) -> Any:
        return super().ssh_include(user_config or self.config)


def talking(**plan: Any) -> RunView:
    return RunView(run(plan={"tty": True, **plan}), [attempt(submitted=NOW)], [rental()])


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A directory of programs that say what they were given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "ssh"
    program.write_text("#!/bin/sh\nprintf 'name\\033[2J\\n'; exit 3\n")
    program.chmod(0o755)
    return folder


def context(choline: FakeCholine, tools: Path) -> Context:
    output = Output(io.StringIO(), io.StringIO())
    return Context(output, {"PATH": str(tools)}, make=lambda start: choline)  # type: ignore[arg-type,return-value]


def test_exec_becomes_ssh(tools: Path) -> None:
    became: list[Any] = []
    args = argparse.Namespace(run="abc123", rest=["ls", "a b"], tty=None)
    execute(args, context(Inside([talking()]), tools), lambda *call: became.append(call))
    assert became[0][0] == str(tools / "ssh")
    assert became[0][1][-1].endswith("enter abc123-1 -- 'ls '\"'\"'a b'\"'\"''")
    assert "-t" not in became[0][1]
    execute(argparse.Namespace(run="abc123", rest=["top"], tty=True), context(Inside([talking()]), tools),
            lambda *call: became.append(call))  # fmt: skip
    assert "-t" in became[1][1]
    bench = Bench(Inside([talking()]), environ={"PATH": str(tools)})
    with pytest.raises(UsageError, match="no command"):
        bench("exec", "abc123", "--")
    with pytest.raises(SystemFault, match="not installed"):
        Bench(Inside([talking()]), environ={"PATH": "/nowhere"})("exec", "abc123", "--", "true")


def test_attach_says_how_to_leave_before_it_begins(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[Any] = []
    where = context(Inside([talking()]), tools)
    args = argparse.Namespace(run="abc123", key="ctrl+b")
    with pytest.raises(UsageError, match="needs a terminal"):
        attach(args, where, lambda *call: became.append(call))
    monkeypatch.setattr("choline_tui.cli.inside.on_terminal", lambda: True)
    attach(args, where, lambda *call: became.append(call))
    assert became[0][1][-1].endswith("attach abc123-1 --key 2")
    assert "ctrl+b leaves" in where.out.stderr.getvalue()  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="not run on a terminal"):
        attach(args, context(Inside([live_view()]), tools))


def test_forward_tells_the_address_and_asks_for_a_port_that_is_free(tools: Path) -> None:
    became: list[Any] = []
    where = context(Inside([talking()]), tools)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(UsageError, match="cannot be had"):
            forward(argparse.Namespace(run="abc123", ports=[port]), where)
    forward(argparse.Namespace(run="abc123", ports=[f"{port}:80"]), where, lambda *call: became.append(call))
    assert f"127.0.0.1:{port}:localhost:80" in became[0][1]
    assert f"http://127.0.0.1:{port}" in where.out.stderr.getvalue()  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="no port"):
        Bench(Inside([talking()]), environ={"PATH": str(tools)})("forward", "abc123", "http")


def test_open_asks_before_it_changes_the_ssh_configuration(tools: Path, tmp_path: Path) -> None:
    (tools / "code").write_text("#!/bin/sh\n")
    (tools / "code").chmod(0o755)
    config = tmp_path / ".ssh" / "config"
    started: list[list[str]] = []

    def opens(answer: str, *, yes: bool = False, there: bool = True) -> int:
        choline = Inside([talking()], environ={"PATH": str(tools)}, config=config)
        choline.paths = Paths(tmp_path / "home", {})  # type: ignore[assignment]
        where = Context(
            Output(io.StringIO(), io.StringIO()), {"PATH": str(tools)}, make=lambda start: choline,  # type: ignore[arg-type,return-value]
            ask=lambda question: answer, interactive=there,
        )  # fmt: skip
        args = argparse.Namespace(run="abc123", editor="code", yes=yes)
        return open_(args, where, lambda command: started.append(command) or 0)  # type: ignore[func-returns-value]

    for refused in ({"answer": "n"}, {"answer": "y", "there": False}):
        with pytest.raises(UsageError, match="knows no machine"):
            opens(**refused)
        assert not config.exists() and started == []
    assert opens("y") == 0 and config.exists()
    assert started[0][1:3] == ["--remote", "ssh-remote+choline-abc123"]
    assert opens("n") == 0  # it is there now: nothing is asked


def test_what_a_machine_lists_is_inert(tools: Path) -> None:
    choline = Inside([talking()])
    code, out, _ = Bench(choline, environ={"PATH": str(tools)})("ls", "abc123", "results")
    assert (code, out) == (3, "name\n")
    assert choline.methods()[-1] == "ssh"


def test_an_ended_runs_files_are_those_that_came_home(tmp_path: Path) -> None:
    results = tmp_path / "abc123" / "results"
    results.mkdir(parents=True)
    (results / f"a{HOSTILE.replace(chr(0), '')}").write_text("x")
    (results / "deep").mkdir()
    (results / "log").write_bytes(b"one\x1b[2J\nt\xffwo")
    choline = Inside([ended_view(plan={"results_into": str(tmp_path / "abc123")})])
    code, out, _ = Bench(choline)("ls", "abc123", "results")
    assert code == 0 and "deep/\n" in out and forged(out) == [] and "ssh" not in choline.methods()
    screen = Terminal()
    where = Context(Output(screen, io.StringIO()), make=lambda start: choline)  # type: ignore[arg-type,return-value]
    assert cat(argparse.Namespace(run="abc123", path="results/log"), where) == 0
    assert "\x1b" not in screen.getvalue() and screen.getvalue().startswith("one\n")
    with pytest.raises(UsageError, match="is no file"):
        Bench(choline)("cat", "abc123", "results/deep")


def test_rm_says_what_goes_and_asks() -> None:
    view = ended_view()
    bench = Bench(Inside([view]), interactive=True, answer="n")
    code, _, err = bench("rm", "abc123", "--results")
    assert code == 130 and "rm" not in bench.choline.methods()
    assert "logs, evidence and frozen code" in err and "DELETES their results" in err
    bench.answer = "y"
    code, out, _ = bench("rm", "abc123", "--drop-results")
    assert code == 0 and "1 run removed" in out and "2.0 MB" in out
    assert bench.choline.asked[-1] == (
        "rm", {"runs": ["abc123"], "drop_results": True, "files": True, "results": False},
    )  # fmt: skip
    with pytest.raises(UsageError, match="needs a yes"):
        Bench(Inside([view]))("rm", "abc123")
    with pytest.raises(UsageError, match="exclude each other"):
        bench("rm", "abc123", "--keep-files", "--results")
    assert json.loads(Bench(Inside([view]))("rm", "abc123", "-y", "--keep-files", "--json")[1])


def test_rm_of_a_live_run_is_refused_before_anybody_is_asked() -> None:
    # the engine was asked, to say it; had the run ended by then, it went with nobody having agreed
    choline = Inside([live_view()])
    bench = Bench(choline, interactive=True, answer="y")
    with pytest.raises(UsageError, match="still running") as caught:
        bench("rm", "abc123")
    assert bench.questions == 0 and "rm" not in choline.methods()
    assert "choline stop abc123" in caught.value.hint


def test_prune_shows_takes_and_leaves() -> None:
    old = ended_view(run_id="old123", ended=NOW - 40 * 86400)
    new = ended_view(run_id="new123", ended=NOW - 3600)
    choline = Inside([new, old])
    code, out, _ = Bench(choline)("prune", "--dry-run")
    assert code == 0 and "old123" in out and "new123" not in out and "rm" not in choline.methods()
    assert [row["run"] for row in json.loads(Bench(choline)("prune", "--dry-run", "--json")[1])] == ["old123"]
    assert "No run ended more than" in Bench(Inside([new]))("prune", "-y")[1]
    Bench(choline)("prune", "--older-than", "30m", "-y")
    assert choline.asked[-1][1]["runs"] == ["old123", "new123"]
    assert choline.asked[-1][1]["drop_results"] is False


def test_the_line_for_other_tools(tmp_path: Path) -> None:
    choline = Inside([talking()], config=tmp_path / "ssh" / "config")
    choline.paths = Paths(tmp_path / "home", {})  # type: ignore[assignment]
    choline.paths.ssh_names.parent.mkdir(parents=True)  # type: ignore[attr-defined]
    choline.paths.ssh_names.write_text("# ours\nHost choline-abc123\n  Port 1\n")  # type: ignore[attr-defined]
    bench = Bench(choline)
    assert "is not in" in bench("ssh-config", "show")[2]
    assert "added to" in bench("ssh-config", "install")[1]
    assert "already" in bench("ssh-config", "install")[1]
    _, out, err = bench("ssh-config", "show")
    assert out.splitlines()[1] == "choline-abc123" and "is in" in err
    assert stat.S_IMODE((tmp_path / "ssh" / "config").stat().st_mode) == 0o600
    assert "taken out" in bench("ssh-config", "remove")[1]
    assert "does not have" in bench("ssh-config", "remove")[1]
    elsewhere = tmp_path / "other"
    bench("ssh-config", "install", "--file", str(elsewhere))
    assert "Include" in elsewhere.read_text()


def test_like_takes_the_machine_again_the_plan() -> None:
    from tests.cli.test_launch import job

    for words, what, tty in (
        (["run", "--like", "abc", "--tty"], "machine", True),
        (["again", "abc", "--no-tty"], "plan", False),
        (["again", "abc"], "plan", None),
    ):
        bench = Bench(job())
        bench(*words, "--dry-run")
        asked = next(p for m, p in bench.choline.asked if m == "plan")
        assert (asked.like, asked.like_what, asked.tty) == ("abc", what, tty)


def test_a_terminal_is_told_on_the_card_and_in_show() -> None:
    from tests.cli.fakes import plan
    from tests.cli.test_launch import card

    _, out, _ = Bench(FakeCholine(card=card(plan(tty=True))))("run", "--gpu", "4090", "--dry-run")
    assert "choline attach RUN" in out
    _, out, _ = Bench(FakeCholine(card=card(plan())))("run", "--gpu", "4090", "--dry-run")
    assert "attach" not in out
    away = ended_view(archived=NOW - 60)
    _, out, _ = Bench(FakeCholine([away]))("show", "abc123")
    assert "archived" in out and "terminal" not in out
    assert "choline attach abc123" in Bench(FakeCholine([talking()]))("show", "abc123")[1]
