"""Logs as they come, events, and transfers; and the logs that are at home."""

import io
import math
from pathlib import Path

import pytest

from choline_tui.cli.follow import Follower
from choline_tui.cli.output import Output
from choline_tui.cli.progress import Screen, Transfers
from choline_tui.kernel.errors import NotFound, UsageError
from choline_tui.model.run import Event, Outcome
from choline_tui.services.choline import Followed
from tests.cli.fakes import (
    HOSTILE,
    NOW,
    Bench,
    FakeCholine,
    FakePaths,
    Terminal,
    ended_view,
    forged,
    live_view,
)


def streams(terminal: bool = False) -> tuple[Output, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), Terminal() if terminal else io.StringIO()
    return Output(out, err, {}), out, err


def test_the_log_is_whole_lines_made_inert() -> None:
    output, out, _ = streams()
    follower = Follower(output)
    raw = HOSTILE.encode() + b"\n\xe6\x97"
    for at in range(len(raw)):
        follower.log(raw[at : at + 1], "run", 1)
    follower.log(b"\xa5 half", "run", 1)
    follower.finish()
    lines = out.getvalue().splitlines()
    assert forged(out.getvalue()) == []
    assert lines[-1] == "日 half"


def test_sources_and_attempts_are_told_apart() -> None:
    output, out, _ = streams()
    follower = Follower(output, source="run", attempt=2)
    follower.log(b"no\n", "setup", 2)
    follower.log(b"no\n", "run", 1)
    follower.log(b"yes\n", "run", 2)
    assert out.getvalue() == "yes\n"
    output, out, _ = streams()
    follower = Follower(output)
    follower.log(b"of one, ", "setup", 1)
    follower.log(b"of two\n", "run", 1)
    follower.log(b"whole\n", "setup", 1)
    assert out.getvalue() == "of two\nof one, whole\n"


def test_events_have_relative_times_and_are_not_said_twice() -> None:
    output, out, err = streams()
    follower = Follower(output)
    for at, text in (
        (NOW, "asked for"),
        (NOW + 1.25, HOSTILE),
        (NOW + 2, "done"),
        (NOW + 2, "done"),
        (NOW + 700, "x"),
    ):
        follower.event(Event(at=at, kind="run", text=text))
    lines = err.getvalue().splitlines()
    assert lines[0] == "   0.0s  asked for" and lines[2:] == ["   2.0s  done", " 11m40s  x"]
    assert forged(err.getvalue()) == [] and out.getvalue() == ""


def test_a_half_line_is_drawn_on_a_terminal_and_taken_away_again() -> None:
    output, out, err = streams(terminal=True)
    follower = Follower(output)
    follower.log(b"epoch 1:  10%\repoch 1:  60%", "run", 1)
    assert err.getvalue().endswith("epoch 1:  60%")
    follower.log(b"\repoch 1: 100%\n", "run", 1)
    assert out.getvalue() == "epoch 1: 100%\n"
    follower.finish()
    assert err.getvalue().endswith("\r\x1b[K")


def progress(done: int, total: int = 1_000_000, what: str = "sending") -> dict[str, object]:
    return {
        "what": what, "bytes_done": done, "bytes_total": total, "files_done": done // 100_000,
        "files_total": 10, "seconds_left": 3.0,
    }  # fmt: skip


def test_a_pipe_gets_a_line_every_few_seconds() -> None:
    output, _, err = streams()
    time = [0.0]
    transfers = Transfers(Screen(output), clock=lambda: time[0])
    for second in range(21):
        time[0] = 100.0 + second
        transfers.show(progress(second * 50_000))
    lines = err.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[0].split("  ")[0].strip() == "sending"
    assert (
        " 25%" in lines[0]
        and "250.0 kB of 1.0 MB" in lines[0]
        and "50.0 kB/s" in lines[0]
        and "3s left" in lines[0]
    )
    assert "100%" in lines[-1]


def test_a_transfer_says_what_the_machine_costs_meanwhile() -> None:
    output, _, err = streams()
    time = [100.0]
    transfers = Transfers(Screen(output), clock=lambda: time[0])
    for dollars in (0.01, 0.0266, math.nan, "x", None):
        time[0] += 10
        transfers.show({**progress(500_000), "what": "fetching", "dollars": dollars})
    lines = err.getvalue().splitlines()
    assert lines[0].startswith("fetching") and lines[0].endswith("3s left  $0.03 so far")
    assert all(line.endswith("3s left") for line in lines[1:]) and len(lines) == 4


def test_a_transfer_that_is_over_at_once_is_silent_in_a_pipe() -> None:
    output, _, err = streams()
    transfers = Transfers(Screen(output), clock=lambda: 100.0)
    transfers.show(progress(10, 100))
    transfers.show(progress(100, 100))
    assert err.getvalue() == ""


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    output, _, err = streams(terminal=True)
    time = [100.0]
    transfers = Transfers(Screen(output), clock=lambda: time[0])
    transfers.show(progress(500_000))
    assert "━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌" in err.getvalue() and "\n" not in err.getvalue()
    time[0] += 1
    transfers.show(progress(1_000_000))
    assert err.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("value", [None, "x", float("nan"), float("inf"), -5, {}])
def test_odd_progress_does_no_harm(value: object, terminal: bool) -> None:
    output, _, err = streams(terminal)
    time = [0.0]
    transfers = Transfers(Screen(output), clock=lambda: time[0])
    for second in range(0, 30, 10):
        time[0] = float(second + 1)
        transfers.show(dict.fromkeys(("bytes_done", "bytes_total", "files_done", "seconds_left"), value))
        transfers.show({"what": HOSTILE, "bytes_done": 1})
    transfers.end()
    assert forged(err.getvalue().replace("\r\x1b[K", "")) == []


def files(root: Path, attempts: int = 1) -> FakeCholine:
    for n in range(1, attempts + 1):
        folder = root / "abc123" / f"attempt-{n}"
        folder.mkdir(parents=True)
        (folder / "setup.log").write_bytes(f"setup {n}\n".encode())
        (folder / "run.log").write_bytes(f"run {n}\n".encode() + HOSTILE.encode() + b"\nlast\n")
    view = live_view()
    view.attempts[:] = [view.attempts[0].but(n=n) for n in range(1, attempts + 2)]
    return FakeCholine([view], paths=FakePaths(root))


def test_logs_at_home_are_those_of_the_newest_attempt_that_has_any(tmp_path: Path) -> None:
    bench = Bench(files(tmp_path, 2))
    code, out, _ = bench("logs", "abc123")
    lines = out.splitlines()
    assert code == 0
    assert (lines[0], lines[1], lines[-1]) == ("setup 2", "run 2", "last")
    assert forged(out) == []
    assert bench("logs", "abc123", "--attempt", "1", "--source", "setup")[1] == "setup 1\n"
    assert bench("logs", "abc123", "--tail", "1")[1] == "last\n"


def test_logs_that_are_not_there(tmp_path: Path) -> None:
    bench = Bench(files(tmp_path, 0))
    for words in (["logs", "abc123"], ["logs", "abc123", "--attempt", "9"]):
        with pytest.raises(NotFound):
            bench(*words)


def test_raw_logs_are_for_pipes_only(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    from choline_tui.cli.commands import run as run_command
    from choline_tui.cli.context import Context

    choline = files(tmp_path)
    context = Context(Output(), make=lambda start: choline)  # type: ignore[arg-type,return-value]
    assert run_command(["logs", "abc123", "--source", "run", "--raw"], context) == 0
    assert capsysbinary.readouterr().out == b"run 1\n" + HOSTILE.encode() + b"\nlast\n"
    terminal = Context(Output(Terminal(), io.StringIO()), make=lambda start: choline)  # type: ignore[arg-type,return-value]
    with pytest.raises(UsageError):
        run_command(["logs", "abc123", "--raw"], terminal)


def test_following_ends_with_the_runs_own_exit_code() -> None:
    stream = [Followed(log=b"a\nb", source="run", attempt=1)]
    choline = FakeCholine([ended_view(Outcome.FAILED)], stream=stream)
    code, out, err = Bench(choline)("logs", "-f", "abc123")
    assert (code, out) == (1, "a\nb\n")
    assert "✘ failed abc123" in err
    choline.fails["follow"] = KeyboardInterrupt()
    assert Bench(choline)("logs", "-f", "abc123")[0] == 130


def test_the_container_log_is_inert_too() -> None:
    choline = FakeCholine(answers={"container_log": "one\n" + HOSTILE + "\nthree\n"})
    _, out, _ = Bench(choline)("logs", "abc123", "--source", "container", "--tail", "2")
    assert forged(out) == [] and out.endswith("three\n") and "one" not in out
    for flags in (["-f", "--tail", "3"], ["-f", "--source", "container"]):
        with pytest.raises(UsageError):
            Bench(choline)("logs", "abc123", *flags)
