"""The front door: every way a command can end is an exit code and at most two lines, never a traceback."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from choline_tui import __version__
from choline_tui.cli import main
from choline_tui.kernel.errors import BadKey, ConfigError, EngineError, NoOffer, RateLimited, TaskFailed


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for the commands; give it ``run``."""
    module = ModuleType("choline_tui.cli.commands")
    monkeypatch.setitem(sys.modules, "choline_tui.cli.commands", module)
    return module


def ends_with(command: ModuleType, what: BaseException | int) -> None:
    def run(argv: list[str]) -> int:
        if isinstance(what, int):
            return what
        raise what

    command.run = run  # type: ignore[attr-defined]


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_version(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    assert capsys.readouterr().out == f"choline {__version__}\n"


def test_the_words_and_the_code_go_through(command: ModuleType) -> None:
    seen: list[list[str]] = []

    def run(argv: list[str]) -> int:
        seen.append(argv)
        return 9

    command.run = run  # type: ignore[attr-defined]
    assert main(["run", "--", "a b"]) == 9
    assert seen == [["run", "--", "a b"]]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("m"), 2),
        (NoOffer("m"), 4),
        (BadKey("m"), 5),
        (RateLimited("m"), 6),
        (EngineError("m"), 7),
        (TaskFailed("m"), 1),
    ],
)
def test_an_error_of_ours_is_one_line_and_its_code(
    command: ModuleType, error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(command, error)
    assert main(["x"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "choline: m"


def test_the_hint_follows(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    ends_with(command, ConfigError("wrong", hint="Do that."))
    main(["x"])
    assert capsys.readouterr().err == "choline: wrong\nDo that.\n"


def test_foreign_text_in_a_message_cannot_forge_the_screen(
    command: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(command, ConfigError("a\x1b[2Jb\ncholine: all is well\r\udcff"))
    main(["x"])
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "\x1b" not in err
    assert "\r" not in err


def test_interrupt(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    ends_with(command, KeyboardInterrupt())
    assert main(["x"]) == 130
    assert capsys.readouterr().err == "choline: interrupted\n"


def test_a_fault_of_ours_is_kept_in_a_file_and_not_shown(
    command: ModuleType, isolated_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(command, ZeroDivisionError("oh"))
    assert main(["run", "--env", "TOKEN=hush"]) == 70
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 2
    (report,) = (isolated_home / "choline" / "crashes").iterdir()
    assert str(report) in err
    text = report.read_text()
    assert "ZeroDivisionError: oh" in text
    assert __version__ in text
    assert "hush" not in text
    assert stat.S_IMODE(report.stat().st_mode) == 0o600


def test_when_even_the_report_has_no_place_it_goes_to_the_temporary_folder(
    command: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHOLINE_HOME", str(tmp_path / "file" / "x"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ends_with(command, ZeroDivisionError("oh"))
    assert main(["x"]) == 70
    (report,) = tmp_path.glob("choline-*.txt")
    assert str(report) in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_fault() -> None:
    code = (
        "import sys, types\n"
        "from choline_tui.cli import main\n"
        "module = types.ModuleType('choline_tui.cli.commands')\n"
        "module.run = lambda argv: [print('line') for _ in range(100000)] and 0\n"
        "sys.modules[module.__name__] = module\n"
        "sys.exit(main(['offers']))\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=30
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 141


def test_version_into_a_closed_pipe_says_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "choline_tui", "--version"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
        )
    finally:
        os.close(writer)
    assert (done.stderr, done.returncode) == ("", 141)
