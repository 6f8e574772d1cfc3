"""What opens the app and what does not, and the demo on a real terminal."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from choline_tui.app import CholineApp
from choline_tui.cli import screens
from choline_tui.cli.commands import run
from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import UsageError
from choline_tui.model.run import Outcome
from choline_tui.screens.wizard import Wanted
from choline_tui.services import Choline
from choline_tui.services.sample import STORIES, sample_history
from tests.cli.fakes import NOW, Bench, Terminal
from tests.support import needs, wait_until


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ([], "offers"),
        (["offers"], "offers"),
        (["runs"], "runs"),
        (["offers", "gpu_name=RTX_4090"], ""),
        (["offers", "--json"], ""),
        (["runs", "--json"], ""),
        (["status"], ""),
        (["--help"], ""),
    ],
)
def test_only_a_bare_word_on_a_terminal_opens_the_app(
    words: list[str], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert screens.wanted(words) == where
    monkeypatch.setenv("TERM", "dumb")
    assert screens.wanted(words) == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert screens.wanted(words) == ""


def test_runs_in_a_pipe_is_status(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("runs", "--json") == bench("status", "--json")
    assert run([]) == 0
    assert "choline [offers|runs]" in capsys.readouterr().out


def test_keys_are_set_and_unset_from_the_command_line(bench: Bench) -> None:
    bench.environ = dict(os.environ)
    assert bench("config", "set", "keys.app.help", "f3")[0] == 0
    assert bench("config", "set", "ui.theme", "choline-light")[0] == 0
    shown = bench("config", "show")[1]
    assert "keys.app.help" in shown and "choline-light" in shown
    assert bench("config", "unset", "keys.app.help")[0] == 0
    assert "keys.app.help" not in bench("config", "show")[1]
    with pytest.raises(UsageError, match="keys is a table"):
        bench("config", "set", "keys", "f3")
    with pytest.raises(UsageError, match=r"ui\.ascii"):
        bench("config", "set", "ui.ascii", "perhaps")
    Paths().config_file.write_text("[keys]\napp.help = 3\n")
    with pytest.raises(UsageError, match=r"keys\.app\.help"):
        bench("config", "show")


async def test_the_sample_history_has_every_outcome(tmp_path: Path) -> None:
    environ = {"CHOLINE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    sample_history(environ, tmp_path / "project", NOW)
    async with Choline(environ=environ, start_engine=False) as choline:
        views = choline.runs()
        assert {view.run.outcome for view in views} == set(Outcome) and len(views) == len(STORIES)
        assert all(view.gone for view in views), "an engine leaves all of it alone"
        money = choline.money(NOW)
        assert money.per_hour == 0 and 0 < money.today <= money.spent
        for view in views:
            assert choline.events(view.run.id)
            if view.attempts:
                assert choline.log_file(view.run.id, 1, "run").exists()


@pytest.mark.parametrize("how", ["quit", "the terminal is closed"])
def test_the_demo_opens_the_app_and_leaves_nothing(how: str, tmp_path: Path) -> None:
    needs("tmux", "git")
    tmux = ["tmux", "-S", str(tmp_path / "t"), "-f", "/dev/null"]
    program = f"{sys.executable} -m choline_tui demo --boot 1; echo ended $?; exec sleep 600"
    env = {**os.environ, "TMPDIR": str(tmp_path), "TERM": "xterm-256color"}

    def shown() -> str:
        return subprocess.run(
            [*tmux, "capture-pane", "-p"], capture_output=True, text=True, timeout=20, check=False, env=env
        ).stdout

    def press(key: str) -> None:
        subprocess.run([*tmux, "send-keys", key], timeout=20, check=True, env=env)

    subprocess.run(
        [*tmux, "new-session", "-d", "-x", "120", "-y", "36", program], env=env, timeout=20, check=True
    )
    try:
        wait_until(lambda: "simulator" in shown() and "/h now" in shown(), within=90, what="a run that bills")
        if how != "quit":
            subprocess.run([*tmux, "kill-server"], timeout=20, check=True, env=env)
            wait_until(lambda: not alive(str(tmp_path / "choline-demo")), within=60, what="no process of it")
            wait_until(lambda: not list(tmp_path.glob("choline-demo-*")), within=60, what="no file of it")
            return
        press("2")
        wait_until(lambda: "lr sweep" in shown() and " long " in shown(), within=60, what="the runs")
        press("q")
        wait_until(lambda: "ended 0" in shown(), within=60, what="the end")
        assert "nothing was spent" in shown()
        assert not list(tmp_path.glob("choline-demo-*"))
        nothing_alive(str(tmp_path / "choline-demo"))
    finally:
        subprocess.run([*tmux, "kill-server"], timeout=20, check=False, env=env)


def test_what_goes_on_after_the_app_ends_by_signals_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """``choline run`` opens the wizard and then follows the run for hours."""
    before = signal.getsignal(signal.SIGTERM)

    def run(app: CholineApp) -> str:
        signal.signal(signal.SIGTERM, lambda *_: None)
        return "saved"

    monkeypatch.setattr(CholineApp, "run", run)
    assert screens.open_wizard(Wanted(once=True))
    assert signal.getsignal(signal.SIGTERM) is before


def nothing_alive(folder: str) -> None:
    try:
        wait_until(lambda: not alive(folder), within=60, what="no process of it")
    except AssertionError as error:
        raise AssertionError(f"{error}: {alive(folder)}") from None


def alive(folder: str) -> list[str]:
    """Programs that run in the demo's home."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if folder.encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return found
