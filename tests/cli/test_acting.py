"""``stop``, ``destroy``, ``rentals``, ``ssh``, ``engine``, ``config`` and ``key``."""

import argparse
import io
import json
from pathlib import Path

import pytest

from choline_tui.cli import main
from choline_tui.cli.output import cell_width
from choline_tui.cli.shell import ssh
from choline_tui.kernel.errors import EngineError, SystemFault, UsageError
from choline_tui.model.run import Event, RentalState
from choline_tui.services.choline import Followed, RunView
from tests.cli.fakes import HOSTILE, NOW, Bench, FakeCholine, ended_view, forged, live_view, rental, run


def test_stop_says_what_it_will_do_and_asks() -> None:
    bench = Bench(FakeCholine([live_view()]), interactive=True, answer="n")
    code, _, err = bench("stop", "abc123")
    assert code == 130 and "stop" not in bench.choline.methods()
    assert "brings its results to /home/me/project/results/abc123, then destroys 2x RTX 4090" in err


def test_stop_in_a_script_needs_no_yes_unless_results_are_lost() -> None:
    stream = [Followed(event=Event(at=NOW, kind="rental", text="verified gone"))]
    bench = Bench(FakeCholine([live_view()], stream=stream))
    code, _, err = bench("stop", "abc123")
    assert code == 0 and "verified gone" in err
    assert next(p for m, p in bench.choline.asked if m == "stop") == ("abc123", {"drop_results": False})
    assert next(p for m, p in bench.choline.asked if m == "follow")[1]["until"] == "gone"
    with pytest.raises(UsageError) as caught:
        bench("stop", "abc123", "--drop-results")
    assert "-y" in caught.value.hint
    _, _, err = bench("stop", "abc123", "--drop-results", "-y")
    assert "LOST" in err
    assert [p for m, p in bench.choline.asked if m == "stop"][-1] == ("abc123", {"drop_results": True})


def test_stop_can_return_at_once() -> None:
    bench = Bench(FakeCholine([live_view()]))
    code, out, _ = bench("stop", "abc123", "--no-wait", "--json")
    assert code == 0 and "follow" not in bench.choline.methods()
    assert json.loads(out)["id"] == "abc123"


def test_stop_of_a_run_that_ended() -> None:
    with pytest.raises(UsageError) as caught:
        Bench(FakeCholine([ended_view()]))("stop", "abc123")
    assert "Nothing of it bills" in caught.value.hint
    held = RunView(ended_view().run, [], [rental(state=RentalState.HELD)])
    with pytest.raises(UsageError) as caught:
        Bench(FakeCholine([held]))("stop", "abc123")
    assert "'choline destroy abc123-1' ends it" in caught.value.hint


ROWS = [
    {
        "whose": "ours",
        "rental": "abc123-1",
        "run": "abc123",
        "contract": 9001,
        "label": "choline-h-abc123-1",
        "state": "releasing",
        "status": "exited",
        "price": 0.01,
        "gpu": "2x RTX 4090",
        "since": NOW - 60,
        "cost": 0.2,
        "keep_until": None,
        "reason": "the run ended",
        "listed": True,
    },
    {
        "whose": "other",
        "rental": None,
        "run": None,
        "contract": 9002,
        "label": HOSTILE,
        "state": None,
        "status": HOSTILE,
        "price": None,
        "gpu": HOSTILE,
        "since": None,
        "cost": None,
        "keep_until": None,
        "reason": "",
    },
    {
        "whose": "orphan",
        "rental": None,
        "run": "old",
        "contract": 9003,
        "label": "choline-h-old-1",
        "state": None,
        "status": "running",
        "price": 1.5,
        "gpu": "1x H100",
        "since": NOW - 9000,
        "cost": None,
        "keep_until": None,
        "reason": "",
    },
]


def test_rentals_tell_ours_others_and_orphans_apart() -> None:
    code, out, err = Bench(FakeCholine(rows=ROWS))("rentals")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["ours", "other", "orphan"]
    assert "releasing / exited" in out and "the run ended" in out
    assert "choline destroy 9003 --drop-results" in err
    assert forged(out) == []
    assert len(json.loads(Bench(FakeCholine(rows=ROWS))("rentals", "--json")[1])) == 3
    assert Bench()("rentals")[1].startswith("Nothing is rented:")


def test_rentals_fit_a_narrow_terminal_and_paint_what_may_bill() -> None:
    bench = Bench(FakeCholine(rows=ROWS), width=80)
    assert max(cell_width(line) for line in bench("rentals")[1].splitlines()) <= 80
    painted = Bench(FakeCholine(rows=ROWS), color=True)("rentals")[1]
    assert "\x1b[31mreleasing / exited" in painted


def test_a_listing_that_failed_is_said() -> None:
    rows = [{**ROWS[0], "listed": None, "trouble": "the market is down"}]
    assert "the market is down" in Bench(FakeCholine(rows=rows))("rentals")[2]


def test_destroy_asks_and_waits_until_it_is_gone() -> None:
    answer = {"rental": "abc123-1", "run": "abc123", "contract": 9001}
    choline = FakeCholine(answers={"destroy": answer})
    with pytest.raises(UsageError):
        Bench(choline)("destroy", "abc123-1")
    assert choline.methods() == []
    assert Bench(choline, interactive=True, answer="n")("destroy", "abc123-1")[0] == 130
    assert choline.methods() == []
    code, out, _ = Bench(choline)("destroy", "abc123-1", "-y", "--drop-results")
    assert code == 0 and "is gone: verified" in out
    assert choline.asked[0] == ("destroy", ("abc123-1", {"drop_results": True}))
    assert choline.methods() == ["destroy", "follow"]
    assert "verified" not in Bench(choline)("destroy", "abc123-1", "-y", "--no-wait")[1]


def test_ssh_becomes_openssh(tmp_path: Path) -> None:
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    bench = Bench(environ={"PATH": str(tmp_path)})
    became: list[tuple[str, list[str]]] = []
    for rest, last in (
        (None, "choline/abc123/src"),
        (["nvidia-smi", "-q x"], "nvidia-smi '-q x'"),
        (["ls | wc"], "; ls | wc"),
    ):
        code = ssh(
            argparse.Namespace(run="abc", rest=rest), _context(bench), lambda p, c: became.append((p, c))
        )
        assert code == 0
        assert became[-1][0] == str(program)
        assert last in became[-1][1][-1]
    assert became[0][1][:5] == ["ssh", "-F", "/keys/config", "-t", "choline-abc123"]
    assert "-t" not in became[1][1]


def _context(bench: Bench):  # type: ignore[no-untyped-def]
    from choline_tui.cli.context import Context
    from choline_tui.cli.output import Output

    return Context(
        Output(io.StringIO(), io.StringIO()),
        environ=bench.environ,
        make=lambda start: bench.choline,  # type: ignore[arg-type,return-value]
    )


def test_ssh_that_is_not_installed_is_said() -> None:
    bench = Bench(environ={"PATH": "/nonexistent"})
    with pytest.raises(SystemFault) as caught:
        bench("ssh", "abc123")
    assert "not installed" in caught.value.message and "choline pull" in caught.value.hint
    assert bench.choline.methods() == []


HELLO = {
    "pid": 7,
    "busy": True,
    "version": "0.1.0",
    "url": "http://x",
    "key": "",
    "home": "h",
    "started": NOW - 60,
}


def test_engine_status_and_stop() -> None:
    choline = FakeCholine(answers={"engine_status": HELLO})
    _, out, _ = Bench(choline)("engine", "status")
    assert "● running: has runs to look after" in out and "none" in out
    assert json.loads(Bench(choline)("engine", "start", "--json")[1]) == HELLO
    with pytest.raises(UsageError):
        Bench(choline)("engine", "stop")
    assert "engine_stop" not in choline.methods()
    assert Bench(choline)("engine", "stop", "-y")[0] == 0
    assert choline.methods()[-1] == "engine_stop"


def test_an_engine_that_does_not_run() -> None:
    choline = FakeCholine(fails={"engine_status": EngineError("no engine runs here")})
    with pytest.raises(EngineError) as caught:
        Bench(choline)("engine", "status")
    assert caught.value.exit_code == 7
    assert Bench(choline)("engine", "stop") == (0, "No engine runs here.\n", "")


def test_config_is_written_shown_and_taken_back(
    isolated_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["config", "path"]) == 0
    file = Path(capsys.readouterr().out.strip())
    assert file == isolated_home / "choline" / "config.toml"
    assert main(["config", "set", "run.max_price", "1.5"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("0123456789abcdef0123456789abcdef\n"))
    assert main(["config", "set", "vast.key", "-"]) == 0
    assert main(["config", "show", "--json"]) == 0
    out = capsys.readouterr().out
    shown = {row["key"]: row for row in json.loads(out)}
    assert (shown["run.max_price"]["value"], shown["run.max_price"]["origin"]) == ("1.5", "home")
    assert shown["vast.key"]["value"] == "****cdef" and "0123456789ab" not in out
    assert main(["config", "show", "run"]) == 0
    assert "run.max_price" in capsys.readouterr().out
    assert main(["config", "unset", "run.max_price"]) == 0
    assert main(["config", "unset", "run.max_price"]) == 0
    assert "was not set" in capsys.readouterr().err
    assert main(["config", "show", "nope"]) == 2
    assert main(["config", "set", "run.max_prize", "1"]) == 2
    assert "Did you mean 'run.max_price'?" in capsys.readouterr().err


def test_colours_follow_the_settings(isolated_home: Path) -> None:
    from choline_tui.cli.output import ui_color

    assert ui_color({"CHOLINE_HOME": str(isolated_home / "choline")}) == "auto"
    assert main(["config", "set", "ui.color", "never"]) == 0
    assert ui_color({"CHOLINE_HOME": str(isolated_home / "choline")}) == "never"


def test_key_check_is_exit_5_when_something_needed_is_missing() -> None:
    report = {
        "valid": True,
        "scopes": {"instance_read": "allowed", "instance_write": "denied", "billing_read": "unknown"},
        "needed": ["instance_read", "instance_write"],
        "advice": [HOSTILE],
        "account": {"credit": 12.5, "email": HOSTILE},
    }
    code, out, _ = Bench(FakeCholine(answers={"key_check": report}))("key", "check")
    assert code == 5 and "✘ the key lacks what choline needs" in out and "$12.50" in out
    assert forged(out) == []
    good = {**report, "needed": ["instance_read"]}
    assert Bench(FakeCholine(answers={"key_check": good}))("key", "check")[0] == 0
    assert Bench(FakeCholine(answers={"key_check": good}))("key", "check", "--json")[0] == 0
    # of a key the market does not know nothing can be told, so no table of question marks
    bad = {**report, "valid": False}
    code, out, _ = Bench(FakeCholine(answers={"key_check": bad}))("key", "check")
    assert code == 5 and "✘ not a valid key" in out and "instance_read" not in out


def test_a_rental_without_a_run_to_stop_is_nothing_to_lose() -> None:
    view = RunView(run(), [], [])
    _, _, err = Bench(FakeCholine([view]))("stop", "abc123", "--no-wait")
    assert "nothing is rented for it" in err
